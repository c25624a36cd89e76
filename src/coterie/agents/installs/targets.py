"""A file that an installation edits: what is in it, what would be in it, and what would be in it without us."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coterie.agents.installs.changes import Change, Format, changed, empty_before, with_emptied
from coterie.agents.installs.entries import Entry, State
from coterie.agents.installs.record import Kept, Record, digest
from coterie.errors import CoterieError, Refused
from coterie.texts import BadText

BYTES_MAX = 64 << 20
"""A configuration beyond this is something else. Claude Code's own file grows to a few megabytes."""


class Edit(NamedTuple):
    """What happens to one file."""

    path: str
    before: bytes | None
    """None: there is no such file."""
    after: bytes | None
    what: tuple[str, ...]
    kept: Kept
    """What is remembered about it, for the day when it is taken back."""
    source: str = ""
    """The file of ours that it is a copy of, where it is one."""


class Standing(NamedTuple):
    """How one entry stands."""

    path: str
    what: str
    state: State


class Target:
    """A configuration file, and the entries that are ours in it."""

    def __init__(self, path: str, form: Format, entries: Sequence[Entry]) -> None:
        self.path = path
        self._form = form
        self._entries = entries

    def standing(self) -> list[Standing]:
        """How each entry stands. Raises `CoterieError` if the file cannot be read."""
        data = self._parsed(_text(self.path, read(self.path)))
        return [Standing(self.path, entry.what, self._state(entry, data)) for entry in self._entries]

    def _state(self, entry: Entry, data: object) -> State:
        try:
            return entry.state(data)
        except BadText as error:
            raise broken(self.path, error) from None

    def _takes(self, data: object) -> dict[Entry, list[Change]]:
        """What each entry would take out of the data."""
        try:
            return {entry: entry.take(data) for entry in self._entries}
        except BadText as error:
            raise broken(self.path, error) from None

    def put(self, record: Record, *, force: bool = False) -> Edit | None:
        """What brings every entry in, or up to date; None if nothing is to be done. Raises `Refused` for a foreign
        entry under our name.
        """
        before = read(self.path)
        text = _text(self.path, before)
        what: list[str] = []
        changes: list[Change] = []
        for entry in self._entries:
            data = self._parsed(text)
            state = self._state(entry, data)
            if state is State.FOREIGN and not force:
                raise Refused(
                    f"{self.path} has another {entry.what}, which is not ours",
                    "look at it; --force puts ours in its place (a backup is kept)",
                )
            if state is State.PRESENT:
                continue
            ours = entry.put(data)
            what.append(f"{'add' if state is State.MISSING else 'update'} {entry.what}")
            changes += ours
            text = self._changed(text, ours)
        if not changes:
            return None
        # What stood there already is asked of the data as they were; some of the later paths lead through our own.
        empty = empty_before(self._parsed(_text(self.path, before)), changes)
        after = text.encode()
        return Edit(
            self.path, before, after, tuple(what), record.keeping(self.path, before, after, empty, self._clean(before))
        )

    def take(self, record: Record) -> Edit | None:
        """What takes every entry out; None if none is there. The very bytes of before come back where nothing else
        changed the file.
        """
        before = read(self.path)
        if before is None:
            return None
        text = _text(self.path, before)
        what = [entry.what for entry, changes in self._takes(self._parsed(text)).items() if changes]
        if not what:
            return None
        kept = record.of(self.path)
        if kept.after == digest(before) and kept.known:
            after = record.original(kept)
        else:
            for entry in self._entries:
                data = self._parsed(text)
                text = self._changed(text, with_emptied(data, entry.take(data), kept.empty))
            after = None if kept.created and self._parsed(text) == {} else text.encode()
        return Edit(self.path, before, after, tuple(f"remove {name}" for name in what), Kept())

    def _clean(self, before: bytes | None) -> bool:
        """Whether nothing of ours was in it."""
        data = self._parsed(_text(self.path, before))
        return not any(self._takes(data).values())

    def _parsed(self, text: str) -> object:
        try:
            return self._form.parse(text)
        except BadText as error:
            raise broken(self.path, error) from None

    def _changed(self, text: str, changes: list[Change]) -> str:
        try:
            return changed(text, changes, self._form)
        except BadText as error:
            raise Refused(
                f"{self.path} was left as it is: {error.message}", "edit it by hand, or simplify it"
            ) from None


class WholeFile:
    """A file that is ours from beginning to end."""

    def __init__(self, path: str, content: bytes, what: str, mark: bytes, source: str) -> None:
        self.path = path
        self._source = source
        self._content = content
        self._what = what
        self._mark = mark
        """Something that only a file of ours has."""

    def standing(self) -> list[Standing]:
        """Whether it is there, as it should be."""
        return [Standing(self.path, self._what, self._state(read(self.path)))]

    def _state(self, there: bytes | None) -> State:
        if there is None:
            return State.MISSING
        if self._mark not in there:
            return State.FOREIGN
        return State.PRESENT if there == self._content else State.OUTDATED

    def put(self, record: Record, *, force: bool = False) -> Edit | None:
        """What writes it."""
        before = read(self.path)
        state = self._state(before)
        if state is State.PRESENT:
            return None
        if state is State.FOREIGN and not force:
            raise Refused(f"{self.path} is not ours", "move it away; --force overwrites it (a backup is kept)")
        verb = "add" if state is State.MISSING else "update"
        kept = record.keeping(self.path, before, self._content, set(), state in (State.MISSING, State.FOREIGN))
        return Edit(self.path, before, self._content, (f"{verb} {self._what}",), kept, self._source)

    def take(self, record: Record) -> Edit | None:
        """What removes it, or brings back what stood in its place."""
        before = read(self.path)
        if before is None or self._state(before) is State.FOREIGN:
            return None
        kept = record.of(self.path)
        after = record.original(kept) if kept.after == digest(before) and kept.known else None
        return Edit(self.path, before, after, (f"remove {self._what}",), Kept(), self._source)


def read(path: str) -> bytes | None:
    """The bytes of a file, or None if there is none. Raises `CoterieError` for one that cannot be read."""
    try:
        with open(path, "rb") as file:
            content = file.read(BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CoterieError(f"cannot read {path}: {error.strerror}", "make it readable, and try again") from None
    if len(content) > BYTES_MAX:
        raise Refused(f"{path} is larger than {BYTES_MAX >> 20} MiB", "look at what it is")
    return content


def _text(path: str, content: bytes | None) -> str:
    try:
        return (content or b"").decode()
    except UnicodeDecodeError as error:
        line = (content or b"").count(b"\n", 0, error.start) + 1
        raise Refused(f"{path} is not UTF-8 (line {line})", "mend it, and try again; it was left as it is") from None


def broken(path: str, error: BadText) -> Refused:
    """A file that does not parse."""
    return Refused(f"{path} cannot be understood: {error.message}", "mend it, and try again; it was left as it is")
