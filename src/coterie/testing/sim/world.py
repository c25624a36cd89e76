"""The whole of a simulated machine: its time, its processes, its disk, its daemon, and all who use it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any
from unittest import mock

from coterie import ids, points
from coterie.daemon.main import Daemon
from coterie.files import Home
from coterie.testing.sim.clock import Time
from coterie.testing.sim.daemons import Defects, Life
from coterie.testing.sim.disk import Crash, after_crash
from coterie.testing.sim.faults import Faults
from coterie.testing.sim.history import History
from coterie.testing.sim.loop import VirtualLoop
from coterie.testing.sim.machine import Processes

START_S = 0.2
"""What a daemon takes to start."""
ROUNDS_MAX = 100_000
"""Rounds of the loops in one run, which takes some thousands; more are programs that never come to rest."""
IN_MEMORY = "/dev/shm"
"""Where the files lie if there is such a folder: thousands of runs must not wear a disk out."""


class Stuck(AssertionError):
    """The simulated programs go round and round without time passing."""


class World:
    """One machine."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.time = Time()
        self.history = History(self.time)
        self.faults = Faults()
        self.processes = Processes(Random(seed + 1))
        self.outside = VirtualLoop(self.time)
        """Runs everything but the daemon."""
        self.life: Life | None = None
        self.torn: bytes | None = None
        self._fails_in: int | None = None
        self._numbers = 0
        self._lives = 0
        self._rounds = 0
        self._starting = False
        self._root = tempfile.mkdtemp(prefix="coterie-sim-", dir=IN_MEMORY if os.path.isdir(IN_MEMORY) else None)
        self._place = self._home(0)
        os.mkdir(self._place.folder, 0o700)

    def _home(self, number: int) -> Home:
        place = Home(os.path.join(self._root, str(number)))
        place.config = os.path.join(place.folder, "config.toml")
        return place

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """It is this world in which the code runs."""
        chance = Random(self.random.random())
        logger, handler = logging.getLogger("coterie"), Defects(self)
        level, passed_on = logger.level, logger.propagate
        with self.processes.installed(), mock.patch.object(ids, "entropy", chance.randbytes):
            logger.addHandler(handler)
            logger.propagate = False
            logger.setLevel(logging.ERROR)
            try:
                yield
            finally:
                logger.removeHandler(handler)
                logger.setLevel(level)
                logger.propagate = passed_on
                points.disarm()
                self._close()

    def _close(self) -> None:
        if self.life and self.life.running:
            self.life.killed("the end")
        self.outside.discard()
        shutil.rmtree(self._root)

    def number(self) -> int:
        """A fresh number."""
        self._numbers += 1
        return self._numbers

    # --- time ------------------------------------------------------------------------------------------------------

    def at(self, when: float, callback: Callable[..., Any], *arguments: Any) -> None:
        """Have something happen outside the daemon, at that time."""
        self.outside.call_at(when, callback, *arguments)

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Let time pass until `story` is told."""
        telling = self.outside.create_task(story)
        while not telling.done():
            self._settle()
            if telling.done():
                break
            due = [when for when in (self.outside.next_due(), self._daemon_due()) if when is not None]
            if not due:
                raise Stuck("nothing is due, and the story is not over")
            self.time.advance(min(due))
        telling.result()

    def _daemon_due(self) -> float | None:
        return self.life.loop.next_due() if self.life and self.life.running else None

    def _settle(self) -> None:
        """Let everybody do what is due now."""
        while self._rounds < ROUNDS_MAX:
            self._rounds += 1
            life = self.life
            if self.outside.is_due():
                self.outside.round()
            elif life and life.running and life.loop.is_due():
                life.round()
            else:
                return
        raise Stuck(f"{ROUNDS_MAX} rounds, and it is not over at {self.time.running:g} s")

    # --- the daemon ------------------------------------------------------------------------------------------------

    def tuned(self, daemon: Daemon) -> None:
        """A daemon was made. A test may change something in it."""

    def serving(self) -> Life | None:
        """The daemon, if one takes connections."""
        return self.life if self.life and self.life.running and self.life.accepting else None

    def start_daemon(self) -> None:
        """Somebody needs it. Of any number of starters one starts it."""
        if not self._starting and not (self.life and self.life.running):
            self._starting = True
            self.at(self.time.running + START_S * self.random.random(), self._begin_life)

    def _begin_life(self) -> None:
        self._starting = False
        self._lives += 1
        self.history.note("start", "daemon", life=self._lives)
        self.life = Life(self, self._place)

    def disk_after_crash(self, before: Home) -> None:
        """What the next daemon finds."""
        torn, self.torn = self.torn, None
        self._place = self._home(self._lives)
        after_crash(before, self._place.folder, torn)

    def kill_daemon(self) -> bool:
        """It is killed between two things that it does."""
        if self.life is None or not self.life.running:
            return False
        self.life.killed("between two steps")
        return True

    def kill_at(self, point: str) -> None:
        """It is killed when it comes to a point, some visits from now."""

        def end() -> None:
            self.faults.count(f"killed {point}")
            raise Crash(point)

        points.disarm()
        points.arm(point, self.random.randint(1, 4), end)

    # --- the disk --------------------------------------------------------------------------------------------------

    def fail_disk(self, statement: int) -> None:
        """The disk fails at the statement of this number, counted from now."""
        self._fails_in = statement

    def disk_fails(self) -> bool:
        """Whether it fails at this one."""
        if self._fails_in is None:
            return False
        self._fails_in -= 1
        if self._fails_in > 0:
            return False
        self._fails_in = None
        self.faults.count("disk error")
        return True

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self.faults.heal()
        self._fails_in = None
        points.disarm()
