"""What edits of JSON and TOML texts share, and those of TOML. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from coterie.errors import Refused

Path = tuple[str | int, ...]
"""The way to a value: names of members, numbers of elements."""
APPEND = -1
"""As the last step of a path: behind the last element."""


class BadText(Refused):
    """A text that cannot be edited: it does not parse, or something else stands where ours belongs."""

    def __init__(self, why: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {why}" if line else why)


def misshapen(path: Path) -> BadText:
    """Something stands at `path` that is neither an object nor an array, as would be needed."""
    return BadText(f"{'.'.join(map(str, path)) or 'the whole'} is not of the kind that it should be")


def must_not_stand_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object from its members. Raises `BadText` for one that stands twice: clients disagree about which counts."""
    members = dict(pairs)
    if len(members) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise BadText(f"the member {twice[:40]!r} stands twice in one object")
    return members


def newline_of(text: str) -> str:
    """How a text ends its lines, by its first one."""
    end = text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"
