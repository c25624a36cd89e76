"""CPU and memory of sessions: whose processes count, over which time, and that nobody's count twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from conftest import Place, wait_for
from coterie.daemon import processes
from coterie.daemon.usage import Share, Taken, Usage, cpu_between, table, total, trees
from coterie.limits import MIB
from coterie.peers import Peer, Process, State

SPIN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


def taken(parent: int, cpu_s: float = 0.0, memory: int = 0, start: str = "1") -> Taken:
    return Taken(parent, start, cpu_s, memory)


def peer(name: str, pid: int, kind: str = "claude", state: State = State.LIVE) -> Peer:
    return Peer(f"p_{name}", name, kind, state, agent=Process(pid, "1"))


# --- the sums --------------------------------------------------------------------------------------------------------


def test_a_tree_is_a_process_and_all_below_it() -> None:
    table = {1: taken(0), 2: taken(1), 3: taken(2), 4: taken(3), 5: taken(1), 6: taken(6)}
    assert {root: set(tree) for root, tree in trees(table, [2, 5, 6, 9]).items()} == {
        2: {2, 3, 4},
        5: {5},
        6: {6},
        9: set(),
    }


def test_the_time_of_ended_and_of_new_children_counts() -> None:
    before = {2: taken(1, 1.0), 3: taken(2, 5.0)}
    # 3 ended: what it took came to its parent. 4 is new.
    now = {2: taken(1, 1.5 + 5.25), 4: taken(2, 0.5)}
    assert cpu_between(before, now, now) == pytest.approx(1.25)


def test_a_process_that_left_the_tree_takes_its_time_with_it() -> None:
    before = {2: taken(1, 1.0), 3: taken(2, 5.0)}
    now = {2: taken(1, 1.5)}
    assert cpu_between(before, now, {**now, 3: taken(1, 9.0)}) == pytest.approx(0.5)
    # Another process with its pid: 3 itself ended, and nobody waited for it.
    assert cpu_between(before, now, {**now, 3: taken(1, 9.0, start="2")}) == 0.0


def test_what_sessions_share_or_hold_within_each_other_counts_once() -> None:
    peers = [peer("a", 2), peer("b", 2), peer("inner", 3), peer("other", 7), peer("gone", 8)]
    outer = Share(30.0, 1.0, 300, frozenset({2, 3, 4}))
    shares = {
        "p_a": outer,
        "p_b": outer,
        "p_inner": Share(10.0, 1.0, 100, frozenset({3, 4})),
        "p_other": Share(None, None, 50, frozenset({7})),
    }
    assert total(shares, peers) == {"cpu_percent": 30.0, "memory_bytes": 350, "processes": 4}
    assert total({}, peers) == {"cpu_percent": None, "memory_bytes": 0, "processes": 0}


class Machine:
    """A machine whose processes and clock a test sets."""

    def __init__(self, *peers: Peer) -> None:
        self.peers = list(peers)
        self.processes: dict[int, Taken] = {}
        self.now = 100.0
        self.usage = Usage(lambda: self.peers, lambda: dict(self.processes), lambda: self.now)

    def look(self) -> dict[str, Share]:
        return asyncio.run(self.usage.of(self.peers))


def test_a_share_is_of_one_core_since_the_last_look() -> None:
    machine = Machine(peer("a", 2))
    machine.processes = {2: taken(1, 1.0, 10)}
    assert machine.look() == {"p_a": Share(None, None, 10, frozenset({2}))}
    machine.now += 4
    machine.processes = {2: taken(1, 2.0, 20), 3: taken(2, 1.0, 5)}
    assert machine.look()["p_a"] == Share(50.0, 4.0, 25, frozenset({2, 3}))
    machine.now += 0.5  # So soon that it says little: the look before it stays the one to compare with.
    assert machine.look()["p_a"].cpu_percent == 0.0
    machine.now += 0.5
    machine.processes[2] = taken(1, 2.5, 20)
    assert machine.look()["p_a"][:2] == (50.0, 1.0)


def test_another_process_of_a_session_is_measured_anew() -> None:
    machine = Machine(peer("a", 2))
    machine.processes = {2: taken(1, 1.0)}
    machine.look()
    machine.now += 2
    machine.processes = {2: taken(1, 9.0, start="2")}
    assert machine.look()["p_a"].cpu_percent is None
    machine.peers = [peer("a", 5)]
    machine.processes = {2: taken(1, 9.0), 5: taken(1, 3.0)}
    assert machine.look()["p_a"].cpu_percent is None


def test_who_has_no_process_has_no_share_and_is_forgotten() -> None:
    machine = Machine(peer("a", 2), peer("away", 2, state=State.AWAY), Peer("p_me", "me", "person"), peer("ended", 3))
    machine.processes = {2: taken(1, 1.0)}
    assert set(machine.look()) == {"p_a"}
    machine.peers[0].state = State.AWAY
    assert machine.look() == {}
    machine.peers[0].state = State.LIVE
    machine.peers[1].state = State.LIVE
    assert machine.look()["p_a"].cpu_percent is None


# --- real processes --------------------------------------------------------------------------------------------------


def test_the_table_knows_this_process_as_the_kernel_does() -> None:
    found = table()[os.getpid()]
    assert found.parent == os.getppid()
    identity = processes.identify(os.getpid())
    assert identity
    assert identity.start.endswith(found.start)
    assert found.memory > 10 * MIB
    times = os.times()
    assert found.cpu_s == pytest.approx(sum(times[:4]), abs=0.5)


def test_a_command_that_ended_counts_for_whoever_waited_for_it() -> None:
    me = os.getpid()
    before = trees(table(), [me])[me]
    subprocess.run([sys.executable, "-c", SPIN.format(seconds=0.3)], check=True)
    now = table()
    assert cpu_between(before, trees(now, [me])[me], now) >= 0.29


def test_both_ways_to_read_it_agree() -> None:
    from coterie.daemon import usage

    one, other = usage.table()[os.getpid()], usage._by_psutil()[os.getpid()]
    assert one.parent == other.parent
    assert one.cpu_s == pytest.approx(other.cpu_s, abs=0.5)
    assert one.memory == pytest.approx(other.memory, rel=0.3)


def listing(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = place.connect().call("peers.list", {"usage": True})
    return found


def test_the_first_look_is_taken_when_a_session_comes(daemon: Place) -> None:
    agent = daemon.named("api")
    came = time.monotonic()
    looked: dict[str, Any] = {}

    def has_looked() -> bool:
        looked.update(listing(daemon)["peers"][0])
        return looked["cpu_over_s"] is not None

    wait_for(has_looked, "somebody looked before")
    assert looked["cpu_over_s"] < time.monotonic() - came
    assert looked["processes"] == 2, "the agent and its adapter"
    assert looked["shared_by"] == 1
    assert looked["memory_bytes"] > 15 * MIB
    spun = agent.run(sys.executable, "-c", SPIN.format(seconds=0.4))
    assert spun["status"] == 0
    now = listing(daemon)
    card = now["peers"][0]
    assert card["cpu_percent"] / 100 * card["cpu_over_s"] >= 0.38
    assert now["total"]["cpu_percent"] == card["cpu_percent"]
    assert now["me"]["memory_bytes"] is None


def test_sessions_of_one_process_say_so_and_count_once(daemon: Place) -> None:
    for name in ("one", "two"):
        window = daemon.connect("adapter")
        window.call("peers.register", {"kind": "codex", "cwd": "/", "session": f"session-{name}"})
    found = listing(daemon)
    first, second = found["peers"]
    assert first["shared_by"] == second["shared_by"] == 2
    assert first["processes"] == second["processes"]
    assert found["total"]["processes"] == first["processes"]
    assert found["total"]["memory_bytes"] == first["memory_bytes"]


def test_a_plain_list_looks_at_nothing(daemon: Place) -> None:
    daemon.named("api")
    assert "cpu_percent" not in daemon.connect().call("peers.list")["peers"][0]
