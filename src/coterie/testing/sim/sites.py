"""One device of a simulated world: its time, its processes, its disk, its daemon, and all who use it."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from coterie import points
from coterie.daemon.main import Daemon
from coterie.files import Home
from coterie.links import End as Identified
from coterie.net.identity import Identity, load_or_make
from coterie.testing.sim.clock import Time
from coterie.testing.sim.daemons import Life
from coterie.testing.sim.disk import Crash, after_crash
from coterie.testing.sim.loop import VirtualLoop
from coterie.testing.sim.machine import PERSON_NAME, Processes

if TYPE_CHECKING:
    from coterie.testing.sim.world import Pace, World

CONFIG = """[relay]
enabled = true
listen_addr = "{host}"
listen_port = {port}
name = "{name}"
heartbeat_interval_secs = {pace.heartbeat_s}
reconnect_max_secs = {pace.reconnect_max_s}
"""
PORT = 9847
START_S = 0.2
"""What a daemon takes to start."""


class Site:
    """One device."""

    def __init__(self, world: World, name: str, time: Time, chance: Random, folder: str) -> None:
        self.world = world
        self.name = name
        """Empty for the only one of its world."""
        self.time = time
        self.random = world.random
        self.history = world.history
        self.faults = world.faults
        self.number = world.number
        self.processes = Processes(chance)
        self.outside = VirtualLoop(time)
        """Runs everything but the daemon."""
        self.life: Life | None = None
        self.host = ""
        """Where others reach it."""
        self.asleep = False
        """Whether it is suspended: nothing of it runs."""
        self.torn: bytes | None = None
        self.identity: Identity | None = None
        """Its key and certificate, if it has to do with others."""
        self._folder = folder
        self._fails_in: int | None = None
        self._lives = 0
        self._starting = False
        self._place = self._home(0)
        os.makedirs(self._place.folder, 0o700)

    def _home(self, number: int) -> Home:
        place = Home(os.path.join(self._folder, str(number)))
        place.config = os.path.join(place.folder, "config.toml")
        return place

    def called(self, who: str) -> str:
        """What somebody who is on every device is called in the history."""
        return f"{who}-{self.name}" if self.name else who

    def identify(self, key: bytes) -> None:
        """Give it a key of its own, which is the same in every run."""
        folder = self._place.device
        os.mkdir(folder, 0o700)
        descriptor = os.open(os.path.join(folder, "key.pem"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, pem(key))
        finally:
            os.close(descriptor)
        self.identity = load_or_make(folder)

    def configure(self, pace: Pace) -> None:
        """Have its daemon listen for others."""
        descriptor = os.open(self._place.config, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, CONFIG.format(host=self.host, port=PORT, name=self.name, pace=pace).encode())
        finally:
            os.close(descriptor)

    @property
    def device(self) -> str:
        """Its id."""
        return self.identity.id if self.identity else ""

    def identified(self) -> Identified:
        """What a link knows it by."""
        assert self.identity
        return Identified(self.identity.id, self.identity.fingerprint)

    @property
    def person(self) -> str:
        """The name of its person."""
        return self.called(PERSON_NAME)

    def close(self) -> None:
        """The run is over."""
        if self.life and self.life.running:
            self.life.killed("the end")
        self.outside.discard()

    # --- time ------------------------------------------------------------------------------------------------------

    def at(self, when: float, callback: Callable[..., Any], *arguments: Any) -> None:
        """Have something happen outside the daemon, at that time."""
        self.outside.call_at(when, callback, *arguments)

    def next_due(self) -> float | None:
        """When something here is to be done, by its own time."""
        loops = [self.outside, *([self.life.loop] if self.life and self.life.running else [])]
        due = [when for when in (loop.next_due() for loop in loops) if when is not None]
        return min(due, default=None)

    def turn(self) -> bool:
        """Do what is due now, once. False if there is nothing."""
        if self.outside.is_due():
            self.outside.round()
            return True
        life = self.life
        if life and life.running and life.loop.is_due():
            life.round()
            return True
        return False

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
        self.history.note("start", self.called("daemon"), life=self._lives)
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
        """From now on its disk fails no more."""
        self._fails_in = None


def kill_at(world: World, point: str) -> None:
    """The daemon that comes to a point, some visits from now, is killed there."""

    def end() -> None:
        world.faults.count(f"killed {point}")
        raise Crash(point)

    points.disarm()
    points.arm(point, world.random.randint(1, 4), end)


def pem(key: bytes) -> bytes:
    """A device key as its file holds it."""
    private = Ed25519PrivateKey.from_private_bytes(key)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
