"""What can go wrong, each kind by its name, and how often it really did."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coterie.testing.sim.sites import Site

POINTS = ("before-write", "before-commit", "after-commit", "before-push", "after-push", "before-answer")
"""The crash points of a daemon that serves; those of a migration are tested elsewhere."""

POINTS_BETWEEN = ("outbox-stored", "envelope-sent", "arrival-stored")
"""Those of one that has to do with other devices."""

KINDS = (
    *(f"killed {point}" for point in POINTS),
    "daemon killed",
    "daemon told to leave",
    "torn tail",
    "disk full",
    "disk error",
    "slow disk",
    "request cut",
    "answer cut",
    "answer lost",
    "agent killed",
    "adapter killed",
    "pid used again",
    "inbox fails",
    "inbox hangs",
    "inbox drops",
    "hook dies before it printed",
    "hook dies before its report",
    "prompt taken back",
    "turn interrupted",
    "clock set forward",
    "clock set back",
    "machine asleep",
    "burst",
)
"""Every kind on one device. One that never happens in a whole run of seeds is a test that tests nothing, and fails."""

BETWEEN = (
    *(f"killed {point}" for point in POINTS_BETWEEN),
    "connection broken",
    "line cut in half",
    "bytes repeated",
    "dead connection",
    "nothing gets through",
    "nothing gets through one way",
    "hours of nothing",
    "slow way",
    "frame lost",
    "frame lost, and told",
    "frame late",
    "frame repeated",
    "device asleep",
    "device forgotten",
    "right withdrawn",
    "message held",
)
"""Every kind between devices."""


class Faults:
    """Those that are to come, and those that came."""

    def __init__(self) -> None:
        self.happened: Counter[str] = Counter()
        self._armed: Counter[str] = Counter()
        self._until: dict[tuple[str, str], float] = {}
        """When it is over, by the kind and the device, and by that device's time."""

    def arm(self, kind: str, times: int = 1) -> None:
        """Let it happen at the next occasions."""
        assert kind in KINDS or kind in BETWEEN, kind
        self._armed[kind] = times

    def last(self, kind: str, site: Site, seconds: float) -> None:
        """Let it be so on a device from now on."""
        assert kind in KINDS or kind in BETWEEN, kind
        self._until[kind, site.name] = site.time.running + seconds

    def strikes(self, kind: str) -> bool:
        """Whether it happens on this occasion; it is counted if it does."""
        if not self._armed[kind]:
            return False
        self._armed[kind] -= 1
        self.happened[kind] += 1
        return True

    def lasts(self, kind: str, site: Site) -> bool:
        """Whether it is so now on a device; it is counted if it is."""
        on = site.time.running < self._until.get((kind, site.name), 0.0)
        self.happened[kind] += on
        return on

    def count(self, kind: str) -> None:
        """It happened."""
        assert kind in KINDS or kind in BETWEEN, kind
        self.happened[kind] += 1

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._armed.clear()
        self._until.clear()
