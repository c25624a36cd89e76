"""Virtual time: three clocks that a machine has, which pass only when the simulation says so."""

from __future__ import annotations

BEGIN = 1_790_000_000.0
"""What the wall clock says first: a day in September 2026."""


class Time:
    """The time of one simulated machine."""

    def __init__(self) -> None:
        self.running = 0.0
        """Seconds that it ran: what timers go by."""
        self._asleep = 0.0
        self._set = BEGIN

    def advance(self, to: float) -> None:
        """It is `to` seconds since the start, asleep or not."""
        self.running = max(self.running, to)

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
