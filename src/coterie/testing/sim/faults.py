"""What can go wrong, each kind by its name, and how often it really did."""

from __future__ import annotations

from collections import Counter

POINTS = ("before-write", "before-commit", "after-commit", "before-push", "after-push", "before-answer")
"""The crash points of a daemon that serves; those of a migration are tested elsewhere."""

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
"""Every kind. One that never happens in a whole run of seeds is a test that tests nothing, and fails."""


class Faults:
    """Those that are to come, and those that came."""

    def __init__(self) -> None:
        self.happened: Counter[str] = Counter()
        self._armed: Counter[str] = Counter()
        self._until: dict[str, float] = {}

    def arm(self, kind: str, times: int = 1) -> None:
        """Let it happen at the next occasions."""
        assert kind in KINDS, kind
        self._armed[kind] = times

    def last(self, kind: str, until: float) -> None:
        """Let it be so until then."""
        assert kind in KINDS, kind
        self._until[kind] = until

    def strikes(self, kind: str) -> bool:
        """Whether it happens on this occasion; it is counted if it does."""
        if not self._armed[kind]:
            return False
        self._armed[kind] -= 1
        self.happened[kind] += 1
        return True

    def lasts(self, kind: str, now: float) -> bool:
        """Whether it is so now; it is counted if it is."""
        on = now < self._until.get(kind, 0.0)
        self.happened[kind] += on
        return on

    def count(self, kind: str) -> None:
        """It happened."""
        assert kind in KINDS, kind
        self.happened[kind] += 1

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._armed.clear()
        self._until.clear()
