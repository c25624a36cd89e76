"""What Coterie has in an agent's configuration, entry by entry, and how each is told from what is not ours. Pure."""

from __future__ import annotations

import os.path
import shlex
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from coterie.agents.installs.changes import Change, value_at
from coterie.texts import APPEND, BadText, Path

ADAPTER, HOOK = "coterie-mcp", "coterie-hook"
"""Our programs; whatever runs another one is not ours."""
SERVER = "coterie"
"""What our MCP server is called in every configuration: the names of the tools follow from it."""
CORE_TOOLS = ("list_peers", "send_message", "check_messages", "set_summary")


class State(StrEnum):
    """How an entry stands."""

    PRESENT = "present"
    OUTDATED = "outdated"
    """Ours, and not as it would be written now."""
    MISSING = "missing"
    FOREIGN = "foreign"
    """Somebody else's under our name."""


class Entry:
    """One thing that Coterie has in a file."""

    def __init__(self, what: str) -> None:
        self.what = what
        """In a person's words."""

    def state(self, data: Any) -> State:
        """How it stands in the data of the file."""
        raise NotImplementedError

    def put(self, data: Any) -> list[Change]:
        """What brings it in, or up to date."""
        raise NotImplementedError

    def take(self, data: Any) -> list[Change]:
        """What takes it out; nothing if it is not there, or not ours."""
        raise NotImplementedError


class Server(Entry):
    """The registration of the MCP server."""

    def __init__(self, path: Path, value: dict[str, Any], fixed: Mapping[Path, Any]) -> None:
        """`value` is what a new one says; of one that is there only `fixed` (paths below it) is set: the rest may be
        the person's own choice.
        """
        super().__init__(f"MCP server {SERVER}")
        self._path = path
        self._value = value
        self._fixed = fixed

    def state(self, data: Any) -> State:
        """Ours is what runs our adapter."""
        there = value_at(data, self._path)
        if there is None:
            return State.MISSING
        if not _runs_adapter(there):
            return State.FOREIGN
        return State.OUTDATED if self._differing(there) else State.PRESENT

    def put(self, data: Any) -> list[Change]:
        """One that is there keeps what the person added."""
        there = value_at(data, self._path)
        if there is None or not _runs_adapter(there):
            return [Change(self._path, self._value)]
        return self._differing(there)

    def _differing(self, there: Any) -> list[Change]:
        return [
            Change(self._path + below, value) for below, value in self._fixed.items() if value_at(there, below) != value
        ]

    def take(self, data: Any) -> list[Change]:
        """The whole of it."""
        there = value_at(data, self._path)
        return [Change(self._path, out=True)] if there is not None and _runs_adapter(there) else []


def _runs_adapter(server: Any) -> bool:
    command = server.get("command") if isinstance(server, dict) else None
    program = command[0] if isinstance(command, list) and command else command
    return isinstance(program, str) and os.path.basename(program) == ADAPTER


class Table(Server):
    """The registration of the MCP server in TOML, where each value is a line of its own."""

    def __init__(self, path: Path, fixed: Mapping[Path, Any], once: Mapping[Path, Any]) -> None:
        """`once` is set where nothing is said yet: what the person chose there is theirs."""
        super().__init__(path, {}, fixed)
        self._once = once

    def put(self, data: Any) -> list[Change]:
        """The lines that are missing, or say something else."""
        there = value_at(data, self._path)
        if there is not None and not _runs_adapter(there):
            return [Change(self._path, out=True), *self._differing({})]
        return self._differing(there)

    def _differing(self, there: Any) -> list[Change]:
        once = [Change(self._path + below, v) for below, v in self._once.items() if value_at(there, below) is None]
        return super()._differing(there) + once


class Hook(Entry):
    """The hook of one event, in the form that Claude Code has brought up and others took over:
    ``{"hooks": {EVENT: [{"matcher"?, "hooks": [{"type": "command", "command"}]}]}}``.
    """

    def __init__(self, event: str, command: str, kind: str, label: str = "") -> None:
        """`label`: how the client shows the hook while it runs, where it would show the command."""
        super().__init__(f"hook {event}")
        self._label = label
        self._path: Path = ("hooks", event)
        self._command = command
        self._kind = kind

    def state(self, data: Any) -> State:
        """Present if it stands there once, with the command as it is now."""
        commands = [value_at(data, (*place, "command")) for place in self._ours(data)]
        if not commands:
            return State.MISSING
        return State.PRESENT if commands == [self._command] else State.OUTDATED

    def put(self, data: Any) -> list[Change]:
        """A second one of ours goes: the event would be told twice."""
        first, *others = self._ours(data) or [()]
        if not first:
            label = {"name": self._label} if self._label else {}
            group = {"hooks": [{**label, "type": "command", "command": self._command}]}
            is_first = value_at(data, self._path) is None
            return [Change(self._path, [group]) if is_first else Change((*self._path, APPEND), group)]
        renewed = (
            [Change((*first, "command"), self._command)] if value_at(data, (*first, "command")) != self._command else []
        )
        return renewed + self._out(data, others)

    def take(self, data: Any) -> list[Change]:
        """Others' hooks for the same event stay."""
        return self._out(data, self._ours(data))

    def _out(self, data: Any, places: list[Path]) -> list[Change]:
        """The last first, as the numbers of those behind change. A group goes with the last of its hooks."""
        left = {place[:-2]: len(value_at(data, place[:-1])) for place in places}
        changes: list[Change] = []
        for place in reversed(places):
            group = place[:-2]
            left[group] -= 1
            changes.append(Change(place if left[group] else group, out=True))
        return changes

    def _ours(self, data: Any) -> list[Path]:
        return [
            (*self._path, number, "hooks", index)
            for number, group in enumerate(_list(data, self._path))
            for index, hook in enumerate(_list(group, ("hooks",)))
            if isinstance(hook, dict) and runs_hook(hook.get("command"), self._kind)
        ]


def _list(data: Any, path: Path) -> list[Any]:
    there = value_at(data, path)
    if there is not None and not isinstance(there, list):
        raise BadText(f"{'.'.join(map(str, path))} is not a list")
    return there or []


def hook_command(program: str, kind: str, settings: Mapping[str, str]) -> str:
    """The shell line of a hook; `settings` are variables that it needs."""
    given = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    return " ".join([*given, shlex.quote(program), kind])


def runs_hook(command: Any, kind: str) -> bool:
    """Whether a shell line is a hook of ours for this kind of agent."""
    try:
        words = shlex.split(command) if isinstance(command, str) else []
    except ValueError:  # A quote that nobody closes: not a line of ours.
        return False
    while words and "=" in words[0]:
        words.pop(0)
    return len(words) == 2 and os.path.basename(words[0]) == HOOK and words[1] == kind


class StrayHooks(Entry):
    """Hooks of ours for events that are not asked for (any more)."""

    def __init__(self, wanted: tuple[str, ...], kind: str) -> None:
        super().__init__("hooks that are not needed")
        self._wanted = wanted
        self._kind = kind

    def state(self, data: Any) -> State:
        """There is nothing to be missing."""
        return State.OUTDATED if self.take(data) else State.PRESENT

    def put(self, data: Any) -> list[Change]:
        """They go."""
        return self.take(data)

    def take(self, data: Any) -> list[Change]:
        """All of them."""
        return [change for event in self._stray(data) for change in Hook(event, "", self._kind).take(data)]

    def _stray(self, data: Any) -> Iterator[str]:
        hooks = value_at(data, ("hooks",))
        for event, groups in (hooks if isinstance(hooks, dict) else {}).items():
            if event not in self._wanted and isinstance(groups, list):
                yield event


class Permission(Entry):
    """The right to call our tools without being asked, which only the person gives."""

    def __init__(self, path: Path, names: tuple[str, ...], *, wanted: bool) -> None:
        super().__init__("permission to call the coterie tools without asking")
        self._path = path
        self._names = names
        self._wanted = wanted

    def state(self, data: Any) -> State:
        """Nothing is missing that was not asked for."""
        missing = set(self._names) - set(_texts(data, self._path))
        return State.MISSING if missing and self._wanted else State.PRESENT

    def put(self, data: Any) -> list[Change]:
        """Those that are missing."""
        there = value_at(data, self._path)
        if there is None:
            return [Change(self._path, list(self._names))]
        listed = _texts(data, self._path)
        return [Change((*self._path, APPEND), name) for name in self._names if name not in listed]

    def take(self, data: Any) -> list[Change]:
        """All that name our tools: without the tools they mean nothing."""
        listed = list(enumerate(_texts(data, self._path)))
        return [Change((*self._path, number), out=True) for number, name in reversed(listed) if name in self._names]


def _texts(data: Any, path: Path) -> list[str]:
    return [item if isinstance(item, str) else "" for item in _list(data, path)]
