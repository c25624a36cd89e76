"""The daemon's lives: it is started when somebody needs it, serves, leaves, or is killed."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from coterie import points
from coterie.daemon.clock import Clock
from coterie.daemon.git import Repositories
from coterie.daemon.local import LocalServer
from coterie.daemon.main import Daemon, Machine, Starter
from coterie.daemon.usage import Usage
from coterie.daemon.watch import Watch
from coterie.errors import CoterieError
from coterie.files import Home
from coterie.testing.sim.disk import Crash, SimStore, opener
from coterie.testing.sim.links import SimRelay
from coterie.testing.sim.loop import VirtualLoop

if TYPE_CHECKING:
    from coterie.testing.sim.sites import Site
    from coterie.testing.sim.wires import Wire


class _Server(LocalServer):
    """Takes connections that are handed to it."""

    def __init__(self, life: Life, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._life = life
        life.server = self

    async def listen(self) -> None:
        """From now on whoever comes is served."""
        self._life.accepting = True


class _NoUsage(Usage):
    """The processes are simulated ones, of which nothing could be measured."""

    def came(self) -> None:
        """No look at them."""


class _NoRepositories(Repositories):
    """No folder lies in a repository."""

    async def common_dir(self, folder: str) -> str:
        """None."""
        return ""

    async def top_level(self, folder: str) -> str:
        """None."""
        return ""

    async def branch(self, folder: str) -> str:
        """None."""
        return ""


class _NoWatch(Watch):
    """Nobody changes the settings."""

    def start(self) -> None:
        """Nothing to look at."""


class Defects(logging.Handler):
    """Hears what the daemon logs, and notes each exception that is no error of ours: a defect."""

    def __init__(self, here: Callable[[], Site]) -> None:
        super().__init__(logging.ERROR)
        self._here = here

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        error = record.exc_info[1] if record.exc_info else None
        site = self._here()
        life = site.life
        # A daemon that leaves answers nothing that failed because its store is closed: the next one is asked.
        leaving = life is not None and hasattr(life, "server") and life.server.leaving
        if error is not None and not isinstance(error, CoterieError) and not leaving:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{os.path.basename(place.filename)}:{place.lineno}"
            who = site.called("daemon")
            site.history.note("defect", who, error=repr(error), log=record.getMessage(), where=where)


class Life:
    """One run of the daemon, from its start to its end."""

    def __init__(self, site: Site, place: Home) -> None:
        self._site = site
        self.place = place
        self.loop = VirtualLoop(site.time)
        self.loop.set_exception_handler(self._defect)
        self.running = True
        self.accepting = False
        self._left = False
        self.server: LocalServer
        self.daemon: Daemon
        self.wires: list[Wire] = []
        self.loop.call_soon(self._begin)

    def _begin(self) -> None:
        time = self._site.time
        machine = Machine(
            clock=lambda place: Clock(place, time.wall, time.lived),
            store=opener(self._site),
            server=partial(_Server, self),
            repositories=_NoRepositories,
            usage=lambda roster: _NoUsage(roster, dict),
            relay=partial(SimRelay, self._site, self),
            watch=_NoWatch,
        )
        try:
            self.daemon = Daemon(self.place, None, False, machine)
        except CoterieError as error:
            self._note("defect", error=str(error), log="it could not start")
            self._over()
            return
        self._site.tuned(self.daemon)
        serving = self.loop.create_task(self.daemon.serve(Starter(None)))
        serving.add_done_callback(self._ended)

    def _note(self, kind: str, **what: Any) -> None:
        self._site.history.note(kind, self._site.called("daemon"), **what)

    def soon(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """Have something happen in the daemon."""
        if self.running:
            self.loop.call_soon(callback, *arguments)

    def round(self) -> None:
        """Let it do what is due."""
        try:
            self.loop.round()
        except Crash as crash:
            self.killed(str(crash))
        else:
            if self._left:
                self.loop.end()

    def leave(self) -> None:
        """It is told to end in good order."""
        if self.accepting:
            self.soon(self.daemon.leave)

    def killed(self, where: str) -> None:
        """It is no more, from one instant to the next."""
        self._over()
        points.disarm()
        self._note("crash", where=where)
        self._site.disk_after_crash(self.place)
        self.loop.discard()
        if hasattr(self, "daemon") and isinstance(self.daemon.store, SimStore):
            self.daemon.store.abandon()
        self._site.world.roads.ended(self)
        for wire in self.wires:
            wire.broken()

    def _ended(self, serving: asyncio.Task[None]) -> None:
        if not serving.cancelled() and serving.exception():
            self._note("defect", error=repr(serving.exception()), log="it ended")
        self._note("left")
        self._over()
        self._left = True
        self._site.world.roads.ended(self)
        for wire in self.wires:
            wire.broken()

    def _over(self) -> None:
        self.running = self.accepting = False
        for watch in list(self._site.processes.watches):
            watch.close()

    def _defect(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        leaving = hasattr(self, "server") and self.server.leaving
        if not isinstance(error, CoterieError) and not leaving:
            self._note("defect", error=repr(error), log=context.get("message"))
