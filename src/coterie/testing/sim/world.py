"""The whole of a simulated world: its devices, and the time that passes for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from hashlib import sha256
from random import Random
from typing import Any, NamedTuple
from unittest import mock

from coterie import ids, points
from coterie.limits import HEARTBEAT_S, RECONNECT_MAX_S, SILENT_INTERVALS
from coterie.testing.sim import direct
from coterie.testing.sim.clock import BEGIN, Time
from coterie.testing.sim.daemons import Defects
from coterie.testing.sim.faults import Faults
from coterie.testing.sim.history import History
from coterie.testing.sim.loop import VirtualLoop
from coterie.testing.sim.machine import installed
from coterie.testing.sim.roads import Roads
from coterie.testing.sim.sites import Site

ROUNDS_MAX = 100_000
"""Rounds of the loops of one device in one run, which takes some thousands; more never come to rest."""
IN_MEMORY = "/dev/shm"
"""Where the files lie if there is such a folder: thousands of runs must not wear a disk out."""
NAMES = "abc"


class Pace(NamedTuple):
    """How soon relays notice that a link is dead, and call again."""

    heartbeat_s: float
    reconnect_max_s: float
    healed_s: float
    """Within so long of healing everything has arrived."""


PACES = (Pace(5, 20, 30), Pace(HEARTBEAT_S, RECONNECT_MAX_S, SILENT_INTERVALS * HEARTBEAT_S + 30))
"""Set to be quick, and as by default. A connection that died without a word is noticed after three intervals."""
YEARS_S = 10 * 365 * 86_400.0
"""How far the wall clocks of two devices may lie apart."""
DRIFT = 0.01
"""How much faster or slower one counts the seconds than another."""


class Stuck(AssertionError):
    """The simulated programs go round and round without time passing."""


class World:
    """One device, or several that are joined."""

    def __init__(self, seed: int, devices: int = 1) -> None:
        self.random = Random(seed)
        self.faults = Faults()
        self._numbers = 0
        self._rounds = 0
        self._root = tempfile.mkdtemp(prefix="coterie-sim-", dir=IN_MEMORY if os.path.isdir(IN_MEMORY) else None)
        self.time = Time()
        """The time of the story: that of its device, if there is only one."""
        self.history = History(self.time)
        self.pace = Random(f"{seed} pace").choice(PACES)
        self.direct = Random(f"{seed} fabric").random() < 0.5
        """Whether the shipped fabric carries the frames, or that of the simulator."""
        self.roads = Roads(self)
        self.sites = [self._site(number, seed, devices) for number in range(devices)]
        self.outside = VirtualLoop(self.time) if devices > 1 else self.sites[0].outside
        """Runs the story, and whatever lies between devices."""
        self._awake = asyncio.Event()
        self._awake.set()
        self.here = self.sites[0]
        """The device of which something runs now."""

    def _site(self, number: int, seed: int, devices: int) -> Site:
        if devices == 1:
            return Site(self, "", self.time, Random(seed + 1), self._root)
        odd = Random(f"{seed} {number}")
        begin = BEGIN + odd.choice((0.0, odd.uniform(-YEARS_S, YEARS_S)))
        time = Time(begin, 1 + odd.choice((0.0, odd.uniform(-DRIFT, DRIFT))))
        site = Site(self, NAMES[number], time, odd, os.path.join(self._root, NAMES[number]))
        site.identify(sha256(f"{seed} {number}".encode()).digest())
        site.host = f"10.0.0.{number + 1}"
        site.configure(self.pace)
        return site

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """It is this world in which the code runs."""
        chance = Random(self.random.random())
        logger, handler = logging.getLogger("coterie"), Defects(lambda: self.here)
        level, passed_on = logger.level, logger.propagate
        running = installed(lambda: self.here.processes, lambda: self.here.person)
        with running, direct.installed(self.random), mock.patch.object(ids, "entropy", chance.randbytes):
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
        for site in self.sites:
            self.here = site
            site.close()
        if len(self.sites) > 1:
            self.outside.discard()
        shutil.rmtree(self._root)

    def device(self, device: str) -> Site:
        """The device with this id."""
        return next(site for site in self.sites if site.device == device)

    def number(self) -> int:
        """A fresh number."""
        self._numbers += 1
        return self._numbers

    # --- time ------------------------------------------------------------------------------------------------------

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Let time pass until `story` is told."""
        telling = self.outside.create_task(story)
        while not telling.done():
            self._settle()
            if not telling.done():
                self._pass()
        telling.result()

    def _pass(self) -> None:
        """It is the moment in which something is due next, for all who are awake."""
        awake = [site for site in self.sites if not site.asleep]
        clocks = [(site.time, site.next_due()) for site in awake]
        if len(self.sites) > 1:
            clocks.append((self.time, self.outside.next_due()))
        due = [(time.when(when), number, when) for number, (time, when) in enumerate(clocks) if when is not None]
        if not due:
            raise Stuck("nothing is due, and the story is not over")
        now, first, when = min(due)
        for number, (time, _) in enumerate(clocks):
            if number == first:
                time.advance(when)
            else:
                time.reach(now)

    def _settle(self) -> None:
        """Let everybody do what is due now."""
        while self._rounds < ROUNDS_MAX * len(self.sites):
            self._rounds += 1
            if not self._turn():
                return
        raise Stuck(f"{self._rounds} rounds, and it is not over at {self.time.running:g} s")

    def _turn(self) -> bool:
        if len(self.sites) > 1 and self.outside.is_due():
            self.outside.round()
            return True
        for site in self.sites:
            if not site.asleep:
                self.here = site
                if site.turn():
                    return True
        return False

    def suspend(self, site: Site, seconds: float) -> None:
        """A device sleeps for so long, in the middle of whatever it does, while the others go on."""
        if len(self.sites) == 1:
            site.time.sleep(seconds)
        elif not site.asleep:
            site.asleep = True
            self._awake.clear()
            self.outside.call_later(seconds, self._wake, site, seconds)

    def _wake(self, site: Site, seconds: float) -> None:
        site.asleep = False
        site.time.sleep(seconds)
        self.history.note("woke", site.called("world"))
        self.roads.pump()
        if not any(site.asleep for site in self.sites):
            self._awake.set()

    async def all_awake(self) -> None:
        """Return when no device sleeps."""
        await self._awake.wait()

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self.faults.heal()
        for site in self.sites:
            site.heal()
        self.roads.heal()
        points.disarm()
