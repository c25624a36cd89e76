"""The simulator with several devices: the same promises when sessions write to each other across a network that breaks,
and a checker that finds what is broken on purpose between them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from coterie import ids
from coterie.daemon.arrivals import Arrivals
from coterie.daemon.neighbours import Neighbours
from coterie.daemon.outbox import Outbox
from coterie.daemon.receipts import Receipts
from coterie.envelopes import Posted
from coterie.links import Backoff, Dead, Link
from coterie.peers import State as Standing
from coterie.store import received
from coterie.testing.sim.checker import check
from coterie.testing.sim.faults import BETWEEN
from coterie.testing.sim.history import Event
from coterie.testing.sim.runs import Run, devices_of, run, run_many

SEEDS = 40
SEEDS_FOR_A_MUTANT = 40
"""Of so many seeds one at least must expose each mutation; most are exposed by the first ones."""


def test_seeds() -> None:
    runs = run_many(range(SEEDS), devices=2)
    assert [one.told() for one in runs.failed] == []
    assert set(runs.never()) & set(BETWEEN) == set(), "a fault that never happens is not tested"


def test_three_devices() -> None:
    runs = run_many(range(SEEDS, SEEDS + 5), devices=3)
    assert [one.told() for one in runs.failed] == []


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_two_hundred_seeds() -> None:
    runs = run_many(range(1_000, 1_200), devices=2)
    assert [one.told() for one in runs.failed] == []
    assert runs.never() == []


def test_half_of_all_seeds_have_several_devices() -> None:
    devices = [devices_of(seed) for seed in range(60)]
    assert [devices.count(count) for count in (1, 2, 3)] == [30, 20, 10]


def test_a_seed_is_the_same_history_in_every_process() -> None:
    command = [sys.executable, "-m", "coterie.testing.sim", "--seed", "5", "--devices", "3", "--history"]
    told = [
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, timeout=60)
        for seed in ("1", "2")
    ]
    assert [one.returncode for one in told] == [0, 0], told[0].stdout[-2000:] + told[0].stderr
    assert told[0].stdout == told[1].stdout
    assert "paired" in told[0].stdout


# --- the checker has teeth: each of these breaks the shipped code, and some seed must show it -----------------------


Patch = pytest.MonkeyPatch


def confirm_before_commit(patch: Patch) -> None:
    real = Arrivals._store_it

    def store_it(self: Arrivals, device: Any, gate: Any, posted: Posted) -> None:
        real(self, device, gate, posted)
        self._confirm(device.id, gate, posted.envelope.id)

    patch.setattr(Arrivals, "_store_it", store_it)


def take_in_twice(patch: Patch) -> None:
    """What came before is taken for new when it is sent again."""
    real = received.accept

    def accept(connection: Any, arrival: received.Arrival) -> received.Verdict:
        if not received.find(connection, arrival.device, arrival.envelope):
            return real(connection, arrival)
        message = arrival.message._replace(id=ids.new_message_id(), offer=None)
        return real(connection, arrival._replace(envelope=ids.new_message_id(), message=message))

    patch.setattr(received, "accept", accept)
    patch.setattr(Arrivals, "_take", Arrivals._store_it)


def send_once(patch: Patch) -> None:
    """What is not confirmed is not sent again, as long as the link lives."""
    patch.setattr(Outbox, "_again", lambda *_: None)


def forget_what_flew(patch: Patch) -> None:
    """On a new link what was under way on the old one is not sent again."""
    real = Outbox.came

    def came(self: Outbox, device: str) -> None:
        lane = self._lane(device)
        upto = lane.upto
        real(self, device)
        lane.upto = upto

    patch.setattr(Outbox, "came", came)
    patch.setattr(Outbox, "left", lambda *_: None)


def ignore_what_must_come_before(patch: Patch) -> None:
    real = Arrivals._take

    def take(self: Arrivals, device: Any, gate: Any, posted: Posted) -> None:
        real(self, device, gate, replace(posted, after=None))

    patch.setattr(Arrivals, "_take", take)


def receipts_ahead(patch: Patch) -> None:
    """What was given to a session is taken for what it has read."""
    real = Receipts._learn

    def learn(self: Receipts, device: str, receipt: Any) -> Any:
        return real(self, device, replace(receipt, state="shown") if receipt.state == "offered" else receipt)

    patch.setattr(Receipts, "_learn", learn)


def tell_once(patch: Patch) -> None:
    """A receipt that got lost is not told again."""
    patch.setattr(Receipts, "_tell_unknown", lambda *_: None)


def keep_the_mail_of_the_forgotten(patch: Patch) -> None:
    patch.setattr(Arrivals, "_quarantine", lambda *_: None)


def forget_by_halves(patch: Patch) -> None:
    """What forgetting began is not finished by the next daemon."""
    patch.setattr(Arrivals, "load", lambda *_: None)


def write_without_a_right(patch: Patch) -> None:
    patch.setattr(Arrivals, "_hold", lambda *_: None)


def gone_when_out_of_reach(patch: Patch) -> None:
    real = Neighbours.left

    def left(self: Neighbours, device: str) -> None:
        real(self, device)
        for peer in self._roster.remotes(device):
            peer.state = Standing.ENDED

    patch.setattr(Neighbours, "left", left)


def never_dead(patch: Patch) -> None:
    """A link of which nothing is heard lives on."""
    real = Link.tick

    def tick(self: Link, now: float) -> bytes | Dead | None:
        found = real(self, now)
        if isinstance(found, Dead) and self.proved:
            self._heard = now
            return None
        return found

    patch.setattr(Link, "tick", tick)


def never_call_again(patch: Patch) -> None:
    patch.setattr(Backoff, "next", lambda *_: 1e6)


MUTATIONS: list[Callable[[Patch], None]] = [
    confirm_before_commit,
    take_in_twice,
    send_once,
    forget_what_flew,
    ignore_what_must_come_before,
    receipts_ahead,
    tell_once,
    keep_the_mail_of_the_forgotten,
    forget_by_halves,
    write_without_a_right,
    gone_when_out_of_reach,
    never_dead,
    never_call_again,
]


def exposed(how: Callable[[Patch], None], seeds: Iterable[int]) -> Run | None:
    with pytest.MonkeyPatch.context() as patch:
        how(patch)
        return next((one for one in map(partial(run, devices=2), seeds) if one.wrong), None)


@pytest.mark.parametrize("how", MUTATIONS, ids=lambda how: how.__name__)
def test_what_is_broken_on_purpose_is_found(how: Callable[[Patch], None]) -> None:
    assert exposed(how, range(SEEDS_FOR_A_MUTANT)), "the checker is blind to this"


# --- the rules between devices, on histories as short as can be ------------------------------------------------------


def crossing(*more: Event, state: str = "shown", arrived: str = "shown") -> list[str]:
    """What is said of a message from `a0` on one device to `b0` on another, after which this happened as well."""
    kept = {"id": "m_1", "body": "x", "to": "b0@b", "to_id": "p_far", "from": "a0", "from_id": "p_a", "seq": 1}
    there = {**kept, "to": "b0", "to_id": "p_b", "from": "a0@a", "from_id": "p_far", "site": "b", "state": arrived}
    events = [
        Event(0.0, "session", "a0", {"site": "a"}),
        Event(0.0, "session", "b0", {"site": "b", "inbox": True, "hooks": True, "resumable": True}),
        Event(0.0, "send", "a0", {"body": "x", "to": "b0@b"}),
        Event(1.0, "accepted", "a0", {"body": "x", "ids": ["m_1"]}),
        Event(2.0, "out", "b0", {"carrier": "inbox", "ids": ["m_1"]}),
        Event(3.0, "read", "b0", {"ids": ["m_1"]}),
        *more,
        Event(99.0, "kept", "person-a", {**kept, "site": "a", "state": state, "life": 1e6}),
        Event(99.0, "kept", "person-b", {**there, "life": 1e6}),
    ]
    return check(events)


def test_a_message_that_arrived_is_in_order() -> None:
    assert crossing() == []


def test_books_that_differ() -> None:
    assert crossing(arrived="acknowledged") == [
        "books agree: m_1 is shown where it comes from, and acknowledged where it is"
    ]


def test_what_is_late_after_the_world_healed() -> None:
    healed = Event(4.0, "healed", "world", {})
    assert crossing(healed, Event(40.0, "books", "person-b", {"site": "b", "ids": ["m_1"]})) == []
    late = crossing(healed, Event(40.0, "books", "person-b", {"site": "b", "ids": []}))
    assert late == ["arrives in time: m_1 is not on b yet: 1.000  a0        accepted   body=x ids=m_1"]


def test_what_is_given_out_after_its_device_was_forgotten() -> None:
    forgot = Event(2.5, "forgot", "world-b", {"site": "b", "other": "a"})
    again = Event(9.0, "out", "b0", {"carrier": "inbox", "ids": ["m_1"]})
    assert crossing(forgot) == []
    assert any(what.startswith("nothing of the forgotten") for what in crossing(forgot, again))


def test_whom_a_device_calls_gone_or_does_not_know() -> None:
    sees = Event(4.0, "sees", "person-a", {"site": "a", "of": "b", "name": "b0", "state": "ended"})
    assert [what.partition(":")[0] for what in crossing(sees)] == ["nobody is called gone"]
    assert crossing(Event(3.5, "killed", "b0", {}), sees) == []
    own = Event(90.0, "own", "person-b", {"site": "b", "name": "b0", "state": "live"})
    other = Event(90.0, "own", "person-a", {"site": "a", "name": "a0", "state": "live"})
    knows = Event(90.0, "knows", "person-b", {"site": "b", "of": "a", "name": "a0", "state": "live"})
    assert crossing(own, other, knows) == ["knows who is there: a knows of [] on b, where ['b0'] are"]
