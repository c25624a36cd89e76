"""What the clock said when, so that a life is counted in time that passed and not in what a clock was set to.

A clock that is set begins a new stretch. Within a stretch it runs true; between two of them nothing is known of it. A
time is judged by the clock it was taken from, as that clock would have gone on: what was stamped at noon is an hour old
at one o'clock of the same stretch, whatever the clock says by then. Where two stretches hold the same time, as they do
after a clock was set back, the younger counts: nothing is ever taken for older than it is. Pure: whoever asks says what
the clock says, and for how long all of it has lasted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from coterie.limits import CLOCK_SET_S, CLOCK_STRETCHES_MAX


@dataclass(slots=True)
class Stretch:
    """A time in which nobody set the clock."""

    wall: float
    """What the clock said when it began, in seconds since 1970."""
    lived: float
    """The lived time then."""
    end: float = inf
    """What the clock said when it was set."""

    def now(self, lived: float) -> float:
        """What this clock would say at the lived time `lived`."""
        return self.wall + (lived - self.lived)

    def began(self) -> float:
        """The least that it can have said: differences of CLOCK_SET_S are no setting, and stamps follow them."""
        return self.wall - CLOCK_SET_S

    def ended(self, lived: float) -> float:
        """More than it said, at the lived time `lived` or before."""
        return min(self.end, self.now(lived)) + CLOCK_SET_S


@dataclass(frozen=True, slots=True)
class Span:
    """Times by the clock, from `low` on and before `high`, that are judged as if it were `now`."""

    low: float
    high: float
    now: float


class Timeline:
    """The stretches of one clock, and lived time: seconds that passed, counted on from the first time there was."""

    def __init__(self, stretches: Iterable[Stretch]) -> None:
        self.stretches = list(stretches)
        assert self.stretches

    @classmethod
    def begin(cls, wall: float) -> Timeline:
        """One on which the clock was never set. Lived time begins with what the clock says."""
        return cls([Stretch(wall, wall)])

    def is_set(self, wall: float, lived: float) -> bool:
        """Whether a clock that says `wall` at the lived time `lived` was set since it was looked at last."""
        return abs(self.stretches[-1].now(lived) - wall) > CLOCK_SET_S

    def note(self, wall: float, lived: float) -> bool:
        """Begin a new stretch if the clock was set. Returns whether it was, and by how much is in the stretches."""
        if not self.is_set(wall, lived):
            return False
        last = self.stretches[-1]
        last.end = last.now(lived)
        self.stretches = [*self.stretches, Stretch(wall, lived)][-CLOCK_STRETCHES_MAX:]
        return True

    def spans(self, lived: float) -> list[Span]:
        """All times, in order and without a gap, each with the moment that it is judged by."""
        edges = sorted({edge for stretch in self.stretches for edge in (stretch.began(), stretch.ended(lived))})
        edges = [-inf, *edges[1:], inf]  # What was before the first clock is judged by it.
        found: list[Span] = []
        for low, high in pairwise(edges):
            now = min(stretch.now(lived) for stretch in self._holding(low, high, lived))
            if found and abs(found[-1].now - now) <= CLOCK_SET_S:
                last = found.pop()
                low, now = last.low, min(last.now, now)
            found.append(Span(low, high, now))
        return found

    def older_than(self, seconds: float, lived: float) -> list[tuple[float, float]]:
        """The times by the clock, from the first on and before the second, that are surely so long ago."""
        found = [(span.low, min(span.high, span.now - seconds)) for span in self.spans(lived)]
        return [(low, high) for low, high in found if low < high]

    def _holding(self, low: float, high: float, lived: float) -> list[Stretch]:
        """The stretches that these times are in; where none is, those beside them."""
        lowest = min(stretch.began() for stretch in self.stretches)
        if low == -inf:
            low = lowest
        ends = [(stretch, stretch.ended(lived)) for stretch in self.stretches]
        holding = [stretch for stretch, end in ends if stretch.began() <= low and high <= end]
        if holding:
            return holding
        before = max((end for _, end in ends if end <= low), default=-inf)
        after = min((stretch.began() for stretch in self.stretches if stretch.began() >= high), default=inf)
        return [stretch for stretch, end in ends if end == before or stretch.began() == after]
