"""What `coterie doctor` says: the verdict first, then a block for each agent, one line for each finding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from coterie.agents.installs.checks.finding import Finding, Mark
from coterie.cli import say
from coterie.cli.table import wrapped

COLOURS = {Mark.OK: "32", Mark.NOTE: "33", Mark.TROUBLE: "31"}
MARK_CHARS = max(map(len, Mark))
INDENT = 2
LEAST = 16
"""Columns for the text of a finding; on a terminal too narrow for that, lines are longer than it."""
ARROW = "> "
"""Before a line that says what to do."""


class Session(NamedTuple):
    """A session that is here, and what was found of it."""

    card: dict[str, Any]
    findings: list[Finding]


class Block(NamedTuple):
    """An agent, or the machine itself (whose agent is None)."""

    agent: str | None
    title: str
    findings: list[Finding]
    sessions: list[Session]

    def all(self) -> Iterator[Finding]:
        """Its findings and those of its sessions."""
        yield from self.findings
        for session in self.sessions:
            yield from session.findings


class Report(NamedTuple):
    """Everything that was found."""

    blocks: list[Block]
    absent: list[str]
    """The agents that are not on this machine, by their titles."""

    def count(self, mark: Mark) -> int:
        """How many findings are of this kind."""
        return sum(finding.mark is mark for block in self.blocks for finding in block.all())

    @property
    def ok(self) -> bool:
        """Whether nothing is in trouble."""
        return self.count(Mark.TROUBLE) == 0

    def as_json(self) -> dict[str, Any]:
        """Its stable form."""
        checks = [finding.as_json(block.agent) for block in self.blocks for finding in block.findings]
        sessions = [_session_as_json(session) for block in self.blocks for session in block.sessions]
        return {"ok": self.ok, "checks": checks, "sessions": sessions}


def _session_as_json(session: Session) -> dict[str, Any]:
    kept = {key: session.card[key] for key in ("id", "name", "kind", "state", "cwd", "reach", "unread", "hooked")}
    return {**kept, "checks": [finding.as_json(session.card["kind"]) for finding in session.findings]}


def show(report: Report, *, verbose: bool) -> None:
    """Print it for a person."""
    say.result(say.bold(_verdict(report)))
    for block in report.blocks:
        say.result("")
        _show_block(block, verbose=verbose)
    if report.absent:
        say.result("")
        say.result("\n".join(_laid("not on this machine: " + ", ".join(report.absent), 0, INDENT)))


def _verdict(report: Report) -> str:
    troubles, notes = report.count(Mark.TROUBLE), report.count(Mark.NOTE)
    if not troubles:
        return "all is well" + (f" ({say.count(notes, 'note')})" if notes else "")
    return say.count(troubles, "trouble") + (f", {say.count(notes, 'note')}" if notes else "")


def _show_block(block: Block, *, verbose: bool) -> None:
    say.result(say.bold(say.plain(block.title)))
    for finding in block.findings:
        if verbose or not finding.detail:
            _show_finding(finding, INDENT)
    for session in block.sessions:
        card = session.card
        title = f"session {say.plain(card['name'])} ({card['id']}, {say.plain(card['state'])})"
        say.result("\n".join(_laid(title, INDENT, INDENT * 2)))
        for finding in session.findings:
            _show_finding(finding, INDENT * 2)


def _show_finding(finding: Finding, indent: int) -> None:
    """The mark and the evidence; on a wide terminal in columns of their own."""
    width = say.width()
    narrow = width is not None and width - indent - MARK_CHARS - 2 < LEAST * 2
    mark = f"{finding.mark}:" if narrow else finding.mark.ljust(MARK_CHARS + 1)
    text = 2 * INDENT + indent if narrow else indent + len(mark) + 1
    # Wrapped with the mark, as it takes room, and painted when that is done.
    lines = _laid(f"{mark} {say.plain(finding.evidence)}", indent, text)
    say.result(lines[0].replace(mark, _painted(mark, finding.mark), 1))
    more = _laid(ARROW + say.plain(finding.todo), text, text + len(ARROW)) if finding.todo else []
    for line in lines[1:] + more:
        say.result(line)


def _laid(text: str, indent: int, further: int) -> list[str]:
    """A text in lines that the terminal has room for, those after the first indented further."""
    width = say.width()
    if width is None:
        return [" " * indent + text]
    first, *_ = wrapped(text, max(width - indent, LEAST))
    rest = text[len(first) :].lstrip()
    more = wrapped(rest, max(width - further, LEAST)) if rest else []
    return [" " * indent + first, *(" " * further + line for line in more)]


def _painted(text: str, mark: Mark) -> str:
    """`text` in the colour of a mark, where anything may be styled."""
    return text if say.bold(text) == text else f"\x1b[{COLOURS[mark]}m{text}\x1b[0m"
