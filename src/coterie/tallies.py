"""Counts that the store knows, held in memory with what is on its way there, so that no limit is passed meanwhile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from coterie.limits import COUNTS_KEPT_MAX

Key = TypeVar("Key", bound=Hashable)


class Tally(Generic[Key]):
    """Counts that the store knows, and what is on its way there. The least used are forgotten, and loaded again."""

    def __init__(self, load: Callable[[Key], int], keep: int = COUNTS_KEPT_MAX) -> None:
        self._load = load
        self._keep = keep
        self._counts: OrderedDict[Key, list[int]] = OrderedDict()
        """For each key how many there are, and how many of these are under way."""

    def count(self, key: Key) -> int:
        """How many there are."""
        return (self._counts.get(key) or self._fetch(key))[0]

    def add(self, key: Key) -> None:
        """One more is in the store. What is not held here is counted there when it is asked for."""
        if key in self._counts:
            self._counts[key][0] += 1

    def begin(self, key: Key) -> None:
        """One more is on its way to the store."""
        count = self._counts.get(key) or self._fetch(key)
        self._counts.move_to_end(key)
        count[0] += 1
        count[1] += 1

    def done(self, key: Key, *, stored: bool) -> None:
        """It arrived, or did not."""
        count = self._counts[key]
        count[1] -= 1
        if not stored:
            count[0] -= 1

    def reset(self, wanted: Callable[[Key], bool]) -> None:
        """A person spoke: of these only what is under way counts, as it comes after that word."""
        for key, count in self._counts.items():
            if wanted(key):
                count[0] = count[1]

    def restart(self, key: Key) -> None:
        """The same for one."""
        if key in self._counts:
            self._counts[key][0] = self._counts[key][1]

    def _fetch(self, key: Key) -> list[int]:
        count = self._counts[key] = [self._load(key), 0]
        if len(self._counts) > self._keep:
            oldest = next(iter(self._counts))
            if not self._counts[oldest][1]:  # What is under way is not in the store yet, and would be missed.
                del self._counts[oldest]
        return count

    def __len__(self) -> int:
        return len(self._counts)
