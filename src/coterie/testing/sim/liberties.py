"""The liberties that a fabric may take with a frame: it loses it, with and without telling, repeats it, or is late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from coterie.net.fabric import Json

if TYPE_CHECKING:
    from coterie.testing.sim.sites import Site

LATE_S = 5.0
"""The most that a frame is late which others may overtake."""


class Sorted(frozenset[str]):
    """A set that is gone through in the same order in every run."""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__()))


def lost(site: Site) -> bool | None:
    """What is said of a frame that is lost when it is sent; None for one that is not."""
    if site.faults.strikes("frame lost, and told"):
        return False
    return True if site.faults.strikes("frame lost") else None


def bring(site: Site, frame: Json, receive: Callable[[Json], None]) -> None:
    """Hand over a frame that came; it may be late, or come twice."""
    loop = asyncio.get_running_loop()
    if site.faults.strikes("frame late"):
        loop.call_later(site.random.random() * LATE_S, receive, frame)
        return
    if site.faults.strikes("frame repeated"):
        loop.call_later(site.random.random() * LATE_S, receive, frame)
    receive(frame)
