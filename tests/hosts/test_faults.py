"""A rough wire and rough machines: every message that was accepted arrives once, and soon after all is well again."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from conftest import running, wait_for
from hosts.pairs import connected, pair, wait_link
from hosts.rig import Rig
from hosts.traffic import HEALED_S, Traffic

COUNT = 40
KILLS = 12
VISITS = (1, 2, 9)
"""Of a point at which a daemon is killed."""
IN_VAIN = 100


@pytest.fixture
def traffic(rig: Rig) -> Traffic:
    """Two paired hosts, each with a session that writes to one of the other."""
    Traffic.prepare(rig["ann"], rig["bob"])
    pair(rig["ann"], rig["bob"])
    return Traffic(rig["ann"], rig["bob"])


@pytest.mark.promise("L3")
@pytest.mark.promise("L3")
def test_a_cut_wire_heals(rig: Rig, traffic: Traffic) -> None:
    traffic.write(COUNT)
    rig.cut("ann", "bob")
    traffic.write(COUNT)
    traffic.all_accepted()
    for one, other in (("ann", "bob"), ("bob", "ann")):
        wait_link(rig[one], rig[other], there=False)
    rig.wait_counted("cut")
    assert traffic.missing() >= COUNT
    rig.heal()
    traffic.write(COUNT)
    assert traffic.arrived() < HEALED_S
    traffic.judge()


@pytest.mark.promise("L3")
@pytest.mark.parametrize(("sender", "to"), [("ann", "bob"), ("bob", "ann")])
def test_a_wire_that_is_deaf_in_one_direction_heals(rig: Rig, traffic: Traffic, sender: str, to: str) -> None:
    traffic.write(COUNT)
    rig.one_way(sender, to, cut=True)
    traffic.write(COUNT)
    for one, other in (("ann", "bob"), ("bob", "ann")):
        wait_link(rig[one], rig[other], there=False)
    assert rig.counts(sender, to)["cut"]
    assert not rig.counts(to, sender).get("cut")
    rig.heal()
    assert traffic.arrived() < HEALED_S
    traffic.judge()


@pytest.mark.promise("L3")
@pytest.mark.promise("N3")
def test_a_slow_wire_that_loses_repeats_and_reorders_loses_no_message(rig: Rig, traffic: Traffic) -> None:
    rig.faults(delay_s=0.2, jitter_s=0.05, loss=0.1, duplicate=0.1, reorder=0.1)
    for _ in range(5):
        traffic.write(COUNT)
        time.sleep(0.2)
    traffic.all_accepted()
    for what in ("delayed", "lost", "duplicated", "overtaken"):
        rig.wait_counted(what, 10)
    rig.heal()
    assert traffic.arrived() < HEALED_S
    traffic.judge()


@pytest.mark.promise("L3")
@pytest.mark.slow
@pytest.mark.promise("N3")
def test_either_daemon_killed_at_random_loses_no_message(rig: Rig, traffic: Traffic) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(KILLS):
        traffic.write(10)
        time.sleep(chance.uniform(0, 0.5))
        pid = traffic.sides[number % 2].host.pid()
        traffic.kill(number % 2, signal.SIGKILL)
        wait_for(lambda: not running(pid), "it is dead")  # noqa: B023
        if number % 3 == 0:
            traffic.arrived()
    traffic.write(10)
    assert traffic.arrived() < HEALED_S
    traffic.judge()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_rough_wire_and_rough_machines_for_long(rig: Rig, traffic: Traffic) -> None:
    """All at once: a wire that is never well, cut now and then, and COTERIE_SOAK_KILLS daemons that are killed."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ways = [("ann", "bob"), ("bob", "ann")]
    for _ in range(int(os.environ.get("COTERIE_SOAK_KILLS", "1000")) // 10):
        rig.faults(delay_s=0.02, jitter_s=0.05, loss=chance.choice([0, 0.02, 0.1]), duplicate=0.05, reorder=0.05)
        for _ in range(10):
            traffic.write(chance.randint(1, 20))
            rig.one_way(*chance.choice(ways), cut=chance.random() < 0.5)
            time.sleep(chance.uniform(0, 1))
            traffic.kill(chance.randrange(2), signal.SIGKILL)
        rig.heal()
        took = traffic.arrived()
        print(f"{sum(side.leave for side in traffic.sides):,} messages, healed in {took:.1f} s")
    traffic.judge()


@pytest.mark.parametrize(("side", "point"), [(0, "outbox-stored"), (0, "envelope-sent"), (1, "arrival-stored")])
def test_a_daemon_killed_at_a_point_of_the_way_loses_no_message(traffic: Traffic, side: int, point: str) -> None:
    for visit in VISITS:
        armed = traffic.arm(side, f"{point}:{visit}")
        for _ in range(IN_VAIN):
            traffic.sides[0].let_write(3)
            traffic.all_accepted()
            if armed.poll() is not None:
                break
        assert armed.wait(20) == -signal.SIGKILL
    assert traffic.arrived() < HEALED_S
    traffic.judge()


@pytest.mark.promise("L3")
@pytest.mark.promise("L3")
def test_a_host_that_slept_accuses_nobody_and_catches_up(rig: Rig, traffic: Traffic) -> None:
    ann, bob = rig["ann"], rig["bob"]
    traffic.write(5)
    traffic.arrived()
    pid = bob.pid()
    traffic.kill(1, signal.SIGSTOP)
    for _ in range(3):
        traffic.sides[0].let_write(COUNT)
    wait_link(ann, bob, there=False)
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: connected(ann, bob) and connected(bob, ann), "both are together again", HEALED_S)
    assert traffic.arrived() < HEALED_S
    traffic.judge()
    assert bob.pid() == pid


def test_a_daemon_that_ends_in_good_order_and_comes_back(rig: Rig, traffic: Traffic) -> None:
    traffic.write(COUNT)
    traffic.kill(0, signal.SIGTERM)
    traffic.write(COUNT)
    assert traffic.arrived() < HEALED_S
    traffic.judge()
