"""The daemon's clock: what the wall clock says, and beside it the time that really passed, which nobody can set.

Lived time goes by the system's clock that counts from boot, suspension included, and so goes on exactly from one daemon
to the next. Only across a boot is the wall clock all there is; it is then believed within bounds. What is known stands
in a small file: it is written when the clock was set, once a day and at the end, and read at the start.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from math import inf, isfinite
from typing import Any

from coterie.daemon import processes
from coterie.errors import CoterieError
from coterie.files import Home, open_private
from coterie.jsonline import decode, encode
from coterie.limits import MACHINE_OFF_S
from coterie.timeline import Span, Stretch, Timeline

log = logging.getLogger(__name__)

BYTES_MAX = 65_536
"""Of the file; it has a line of a few hundred."""
LOOKS = 3
"""How often two clocks are looked at that do not agree: a process that stood still between two looks is no jump."""
_RUNNING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS counts sleep in CLOCK_MONOTONIC.


def running() -> float:
    """Seconds since boot, suspension included."""
    return time.clock_gettime(_RUNNING)


class Clock:
    """Says what time it is. Whoever asks has it notice that the wall clock was set, so nothing needs to look."""

    def __init__(
        self, place: Home, wall: Callable[[], float] | None = None, uptime: Callable[[], float] | None = None
    ) -> None:
        self._path = place.clock
        self._wall = wall or time.time
        self._running = uptime or running
        self._boot = processes.boot()
        now = self._wall()
        known = self._read()
        self._timeline = known[0] if known else Timeline.begin(now)
        self._ahead = (known[1] if known else now) - self._running()
        """What lived time is ahead of the time since boot."""
        self._is_set()

    def __call__(self) -> float:
        """What the wall clock says: what everything is stamped with that a person reads."""
        wall = self._wall()
        if self._timeline.is_set(wall, self._running() + self._ahead) and self._is_set():
            self.keep()
        return wall

    def lived(self) -> float:
        """Seconds that passed, counted on from what the wall clock said when it was first asked."""
        return self._running() + self._ahead

    def said(self, lived: float) -> float:
        """What the clock would have said at the lived time `lived`, were it set as it is now: for a person to read."""
        return self() - (self.lived() - lived)

    def spans(self) -> list[Span]:
        """Times of the wall clock, each with the moment that it is judged by."""
        self()
        return self._timeline.spans(self.lived())

    def age(self, at: float) -> float:
        """How many seconds ago it was what the wall clock called `at`."""
        span = next(span for span in self.spans() if span.low <= at < span.high)
        return max(0.0, span.now - at)

    def older_than(self, seconds: float) -> list[tuple[float, float]]:
        """Times of the wall clock (from, before) that are surely so many seconds ago."""
        self()
        return self._timeline.older_than(seconds, self.lived())

    def keep(self) -> None:
        """Write down what is known, for the next daemon."""
        stretches = [[s.wall, s.lived, s.end if isfinite(s.end) else None] for s in self._timeline.stretches]
        known = {
            "boot": self._boot,
            "running": self._running(),
            "lived": self.lived(),
            "wall": self._wall(),
            "stretches": stretches,
        }
        try:
            self._write(encode(known))
        except (OSError, CoterieError) as error:
            log.warning("what the clock said cannot be kept: %s", error)

    def _is_set(self) -> bool:
        """Whether the clock was set; looked at more than once, as this process may have stood still in between."""
        for _ in range(LOOKS):
            lived, wall = self.lived(), self._wall()
            if not self._timeline.is_set(wall, lived):
                return False
        before = self._timeline.stretches[-1].now(lived)
        self._timeline.note(wall, lived)
        log.warning("the clock was set by %+.0f s; what waits, waits as long as it would have", wall - before)
        return True

    def _write(self, line: bytes) -> None:
        new = f"{self._path}.new"
        descriptor = open_private(new, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, self._path)

    def _read(self) -> tuple[Timeline, float] | None:
        """The timeline as the last daemon left it, and the lived time now. None if nothing (sensible) is known."""
        try:
            descriptor = open_private(self._path, os.O_RDONLY)
            try:
                said = os.read(descriptor, BYTES_MAX)
            finally:
                os.close(descriptor)
        except (OSError, CoterieError) as error:
            log.warning("what the clock said before is not known: %s", error)
            return None
        if not said:
            return None
        try:
            return self._understood(decode(said))
        except (CoterieError, LookupError, TypeError, ValueError) as error:
            log.warning("what the clock said before cannot be read: %s", error)
            return None

    def _understood(self, known: Any) -> tuple[Timeline, float]:
        told = known["stretches"]
        stretches = [Stretch(float(wall), float(at), inf if end is None else float(end)) for wall, at, end in told]
        lived, wall, up = (float(known[key]) for key in ("lived", "wall", "running"))
        if not stretches:
            raise ValueError("no stretches")
        return Timeline(stretches), lived + self._passed(str(known["boot"]), wall, up)

    def _passed(self, boot: str, wall: float, up: float) -> float:
        """The seconds since the last daemon looked."""
        now = self._running()
        known = bool(boot and self._boot)
        if known and boot == self._boot:
            return now - up
        # Perhaps another boot, surely if it is younger. So long it lasted at least; of the time before, no more counts
        # than can be believed.
        least = now if known or now < up else now - up
        return min(max(self._wall() - wall, least), least + MACHINE_OFF_S)
