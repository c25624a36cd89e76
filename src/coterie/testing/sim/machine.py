"""The processes of a simulated machine. They stand in for `coterie.daemon.processes` while a simulation runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from unittest import mock

from coterie.daemon import callers, processes
from coterie.peers import Process

FIRST_PID = 1_000
PERSON_NAME = "person"
REUSED = 0.3
"""How often a new process gets the pid of one that has ended."""


@dataclass(slots=True)
class _Running:
    process: Process
    parent: int
    environ: dict[str, str] = field(default_factory=dict)


class Processes:
    """Who runs, who is whose child, and who watches for an end."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._running: dict[int, _Running] = {}
        self._free: list[int] = []
        self._started = 0
        self.watches: list[Watch] = []
        self.reused = 0

    def start(self, parent: int = 1, environ: Mapping[str, str] | None = None) -> int:
        """A process begins. Returns its pid, which another one may have had before."""
        self._started += 1
        if self._free and self._random.random() < REUSED:
            pid = self._free.pop(0)
            self.reused += 1
        else:
            pid = FIRST_PID + self._started
        self._running[pid] = _Running(Process(pid, f"sim:{self._started}"), parent, dict(environ or {}))
        return pid

    def end(self, pid: int) -> None:
        """A process ends; whoever watches it hears of it."""
        ended = self._running.pop(pid, None)
        if ended is None:
            return
        self._free.append(pid)
        for watch in self.watches:
            watch.ended(ended.process)

    # --- what the daemon asks --------------------------------------------------------------------------------------

    def identify(self, pid: int) -> Process | None:
        """The process with this pid now."""
        found = self._running.get(pid)
        return found.process if found else None

    def parent(self, pid: int) -> int:
        """The pid of its parent."""
        found = self._running.get(pid)
        return found.parent if found else 0

    def environment(self, pid: int) -> dict[str, str]:
        """The environment it was started with."""
        found = self._running.get(pid)
        return dict(found.environ) if found else {}

    def watch(self, on_end: Callable[[Process], None]) -> Watch:
        """Somebody wants to hear of ends."""
        return Watch(self, on_end)


@contextlib.contextmanager
def installed(here: Callable[[], Processes], person: Callable[[], str]) -> Iterator[None]:
    """The processes of the device that runs now are the machine's, as far as its daemon can tell."""
    patched = mock.patch.multiple(
        processes,
        identify=lambda pid: here().identify(pid),
        parent=lambda pid: here().parent(pid),
        environment=lambda pid: here().environment(pid),
        arguments=lambda pid: [],
        program=lambda pid: "",
        has_terminal=lambda pid: True,
        boot=lambda: "sim",
        Watch=lambda on_end: here().watch(on_end),
    )
    with patched, mock.patch.object(callers, "person_name", person):
        yield


class Watch:
    """In the place of `processes.Watch`."""

    def __init__(self, machine: Processes, on_end: Callable[[Process], None]) -> None:
        self._machine = machine
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._watched: dict[Process, bool] = {}
        machine.watches.append(self)

    def add(self, process: Process) -> None:
        """Watch a process; one that has ended already is reported soon."""
        if process in self._watched:
            return
        self._watched[process] = True
        if self._machine.identify(process.pid) != process:
            self._loop.call_soon(self._end, process)

    def remove(self, process: Process) -> None:
        """Stop watching a process."""
        self._watched.pop(process, None)

    def close(self) -> None:
        """Stop watching all."""
        self._watched.clear()
        if self in self._machine.watches:
            self._machine.watches.remove(self)

    def ended(self, process: Process) -> None:
        """The machine tells of an end."""
        if process in self._watched:
            self._loop.call_soon(self._end, process)

    def _end(self, process: Process) -> None:
        if process in self._watched:
            self.remove(process)
            self._on_end(process)
