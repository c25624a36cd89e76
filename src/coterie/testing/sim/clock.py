"""Virtual time: three clocks that a machine has, which pass only when the simulation says so."""

from __future__ import annotations

BEGIN = 1_790_000_000.0
"""What the wall clock says first: a day in September 2026."""


class Time:
    """The time of one simulated machine."""

    def __init__(self, begin: float = BEGIN, rate: float = 1.0) -> None:
        self.running = 0.0
        """Seconds that it ran: what timers go by."""
        self._asleep = 0.0
        self._set = begin
        self._rate = rate
        """How many seconds its clocks count in a second of the world: no two quartzes are alike."""

    def advance(self, to: float) -> None:
        """It ran for `to` seconds."""
        self.running = max(self.running, to)

    def reach(self, now: float) -> None:
        """The world is `now` seconds old, and it was awake."""
        self.advance((now - self._asleep) * self._rate)

    def when(self, running: float) -> float:
        """How old the world is when it has run for so many seconds, if it stays awake."""
        return running / self._rate + self._asleep

    def sleep(self, seconds: float) -> None:
        """The machine was suspended for so long."""
        self._asleep += seconds

    def jump(self, seconds: float) -> None:
        """Somebody set the wall clock."""
        self._set += seconds

    def wall(self) -> float:
        """What the wall clock says."""
        return self._set + self.lived()

    def lived(self) -> float:
        """Seconds since the start, suspension included."""
        return self.running + self._asleep
