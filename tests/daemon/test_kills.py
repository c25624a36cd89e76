"""Kills, at random moments and at every named point: no accepted message is lost, none is shown twice."""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import pytest

from conftest import Place, a_place
from ordeal import EVERY_WAY, endure, judge

KILLS = 200
KILLS_A_ROUND = 500
"""After so many another home: mail that is never read makes each start longer."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.promise("D1")
def test_two_hundred_kills_lose_nothing_and_show_nothing_twice(place: Place) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    ordeal = endure(place, KILLS, seed)
    print(ordeal.kills)
    assert set(ordeal.kills) == EVERY_WAY
    judge(ordeal)


@pytest.mark.soak
def test_a_great_many_kills() -> None:
    """COTERIE_SOAK_KILLS of them: a thousand each night, ten thousand before a release."""
    wanted = int(os.environ.get("COTERIE_SOAK_KILLS", "1000"))
    kills: Counter[str] = Counter()
    accepted, begun = 0, time.monotonic()
    while kills.total() < wanted:
        seed = random.SystemRandom().randrange(1 << 32)
        with a_place() as place:
            ordeal = endure(place, min(KILLS_A_ROUND, wanted - kills.total()), seed)
            judge(ordeal)
        kills += ordeal.kills
        accepted += len(ordeal.accepted())
        rate = kills.total() / (time.monotonic() - begun)
        print(f"{kills.total():,} kills ({rate:.1f} a second), {accepted:,} accepted, 0 lost, 0 twice; seed {seed}")
    assert set(kills) == EVERY_WAY
    print(f"at random {kills['random']:,}, at points {kills.total() - kills['random']:,}")
