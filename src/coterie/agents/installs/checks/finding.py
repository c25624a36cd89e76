"""What a check found: one line for a person, and what to do about it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Mark(StrEnum):
    """How something stands."""

    OK = "ok"
    NOTE = "note"
    """It works, or is nobody's business but the person's; worth a look."""
    TROUBLE = "trouble"
    """Something does not work."""


class Finding(NamedTuple):
    """The outcome of one check."""

    name: str
    """What was looked at, in a word; stable, for other programs."""
    mark: Mark
    evidence: str
    """What was seen. Never the contents of a file beyond entries of ours."""
    todo: str = ""
    """What to do: a line to type where one will do."""
    detail: bool = False
    """Whether a person wants to see it only on request."""

    def as_json(self, agent: str | None) -> dict[str, str | None]:
        """Its stable form."""
        return {"agent": agent, "name": self.name, "state": self.mark, "evidence": self.evidence, "todo": self.todo}


def ok(name: str, evidence: str, *, detail: bool = False) -> Finding:
    """It works."""
    return Finding(name, Mark.OK, evidence, "", detail)


def note(name: str, evidence: str, todo: str = "") -> Finding:
    """It is worth a look."""
    return Finding(name, Mark.NOTE, evidence, todo)


def trouble(name: str, evidence: str, todo: str) -> Finding:
    """It does not work."""
    return Finding(name, Mark.TROUBLE, evidence, todo)
