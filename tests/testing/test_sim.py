"""The simulator: seeds that must pass, faults that must have happened, histories that are the same again, and a checker
that finds what is broken on purpose.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from coterie import ids
from coterie.daemon.handlers import messages as sending
from coterie.daemon.inboxes import Inboxes
from coterie.daemon.post import Post
from coterie.limits import DAY_S
from coterie.messages import Mailbox, Signal, State
from coterie.store import db
from coterie.store import messages as stored
from coterie.testing.sim.checker import check
from coterie.testing.sim.history import Event
from coterie.testing.sim.runs import run, run_many

SEEDS = 40
SEEDS_FOR_A_MUTANT = 25
"""Of so many seeds one at least must expose each mutation; most are exposed by the first ones."""


def test_seeds() -> None:
    runs = run_many(range(SEEDS), devices=1)
    assert [one.told() for one in runs.failed] == []
    assert runs.never() == [], "a fault that never happens is not tested"


def test_a_seed_is_a_history() -> None:
    assert list(map(str, run(3, devices=1).events)) == list(map(str, run(3, devices=1).events))


def test_a_seed_is_the_same_history_in_every_process() -> None:
    command = [sys.executable, "-m", "coterie.testing.sim", "--seed", "5", "--devices", "1", "--history"]
    told = [
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, timeout=60)
        for seed in ("1", "2")
    ]
    assert [one.returncode for one in told] == [0, 0], told[0].stdout[-2000:] + told[0].stderr
    assert told[0].stdout == told[1].stdout
    assert told[0].stdout.count("\n") > 200


# --- the checker has teeth: each of these breaks the shipped code, and some seed must show it -----------------------


Patch = pytest.MonkeyPatch


def answer_before_commit(patch: Patch) -> None:
    """A batch is told as stored when its transaction is open, and committed with the next one."""

    def transaction(self: db.Store, jobs: list[Any]) -> list[Any]:
        if self._writer.in_transaction:
            self._writer.execute("COMMIT")
        self._writer.execute("BEGIN IMMEDIATE")
        return [job(self._writer) for job in jobs]

    patch.setattr(db.Store, "_transaction", transaction)


def forget_offers_at_restart(patch: Patch) -> None:
    real = stored.mailbox

    def mailbox(*arguments: Any) -> Mailbox:
        box = real(*arguments)
        for entry in box.entries.values():
            entry.offer, entry.state = None, State.QUEUED
        return box

    patch.setattr(stored, "mailbox", mailbox)


def shown_when_written(patch: Patch) -> None:
    real = Mailbox.written

    def written(self: Mailbox, offer_id: str) -> list[Any]:
        changes = real(self, offer_id)
        return [*changes, *self.show(changes[0].offer.call)] if changes and changes[0].offer else changes

    patch.setattr(Mailbox, "written", written)


def offer_again_after_shown(patch: Patch) -> None:
    real = Mailbox._shown

    def shown(self: Mailbox, entry: Any, offer: Any) -> Iterator[Any]:
        yield from real(self, entry, offer)
        entry.state = State.QUEUED
        self.entries[entry.id] = entry

    patch.setattr(Mailbox, "_shown", shown)


def drop_on_full_disk(patch: Patch) -> None:
    real = sending._arrive

    def arrive(daemon: Any, request: Any, fresh: Any, before: Any, failure: Exception | None) -> Any:
        return real(daemon, request, fresh, before, None)

    patch.setattr(sending, "_arrive", arrive)


def store_twice_when_sent_again(patch: Patch) -> None:
    real = stored.accept

    def accept(connection: Any, send_id: str, fresh: Any, **others: Any) -> Any:
        before = real(connection, send_id, fresh, **others)
        if before:
            again = ids.new_message_id()
            real(connection, again, [replace(one, id=again, offer=None) for one in fresh[:1]], **others)
        return before

    patch.setattr(stored, "accept", accept)


def newest_first(patch: Patch) -> None:
    real = Mailbox.waiting
    patch.setattr(Mailbox, "waiting", lambda self: real(self)[::-1])


def two_carriers(patch: Patch) -> None:
    def candidates(self: Mailbox, call: str, main: bool) -> list[str]:
        for entry in self.entries.values():
            entry.offer = None
            entry.state = State.QUEUED
        return self.waiting() if main else []

    patch.setattr(Mailbox, "candidates", candidates)


def never_lapse_at_a_stop(patch: Patch) -> None:
    patch.setattr(Mailbox, "_count_stop", lambda self: [])


def forget_a_lost_connection(patch: Patch) -> None:
    patch.setattr(Post, "connection_gone", lambda *_: None)


def forget_the_unwritten_at_restart(patch: Patch) -> None:
    patch.setattr(Post, "nobody_writes", lambda *_: None)
    patch.setattr(Post, "adapter_came", lambda self, peer, *_: self.push(peer))


def forget_a_failed_post(patch: Patch) -> None:
    patch.setattr(Inboxes, "try_later", lambda *_: None)
    patch.setattr(Mailbox, "failed", lambda *_: [])


def answers_do_not_acknowledge(patch: Patch) -> None:
    real = stored.accept

    def accept(connection: Any, send_id: str, fresh: Any, **others: Any) -> Any:
        return real(connection, send_id, fresh, **{**others, "answers": None})

    patch.setattr(stored, "accept", accept)


def expire_early(patch: Patch) -> None:
    real = stored.expired

    def expired(connection: Any, spans: Any) -> Any:
        return real(connection, [replace(span, now=span.now + 10 * DAY_S) for span in spans])

    patch.setattr(stored, "expired", expired)


def evidence_of_the_same_step(patch: Patch) -> None:
    real = Mailbox.signal

    def signal(self: Mailbox, kind: Signal, *arguments: Any, **named: Any) -> Any:
        return [*self._show(o for o in self.open_offers() if o.written), *real(self, kind, *arguments, **named)]

    patch.setattr(Mailbox, "signal", signal)


MUTATIONS: list[Callable[[Patch], None]] = [
    answer_before_commit,
    forget_offers_at_restart,
    shown_when_written,
    offer_again_after_shown,
    drop_on_full_disk,
    store_twice_when_sent_again,
    newest_first,
    two_carriers,
    never_lapse_at_a_stop,
    forget_a_lost_connection,
    forget_the_unwritten_at_restart,
    forget_a_failed_post,
    answers_do_not_acknowledge,
    expire_early,
    evidence_of_the_same_step,
]


@contextmanager
def broken(how: Callable[[Patch], None]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        how(patch)
        yield


@pytest.mark.parametrize("how", MUTATIONS, ids=lambda how: how.__name__)
def test_what_is_broken_on_purpose_is_found(how: Callable[[Patch], None]) -> None:
    with broken(how):
        runs = (run(seed, devices=1) for seed in range(SEEDS_FOR_A_MUTANT))
        found = next((one for one in runs if one.wrong), None)
    assert found, "the checker is blind to this"


def test_an_empty_history_is_in_order() -> None:
    assert check([]) == []


def test_a_message_that_is_nowhere() -> None:
    events = [
        Event(0.0, "send", "a", {"body": "x", "to": "b"}),
        Event(1.0, "accepted", "a", {"body": "x", "ids": ["m_1"]}),
    ]
    assert check(events) == ["accepted is kept: m_1 is nowhere: 1.000  a         accepted   body=x ids=m_1"]


# --- what is let pass, and what is not -----------------------------------------------------------------------------


def one_carrier(*happened: str) -> list[str]:
    """What the rule says of a session to which this happened; at each "out" it is given the same message."""
    session = Event(0.0, "session", "s", {"hooks": True, "inbox": True, "resumable": True})
    out = {"carrier": "inbox", "ids": ["m_1"]}
    events = [Event(float(at), kind, "s", out if kind == "out" else {}) for at, kind in enumerate(happened, start=1)]
    return [what for what in check([session, *events]) if what.startswith("one carrier at a time")]


def test_a_text_may_go_out_again_after_two_stops_and_not_before() -> None:
    assert one_carrier("out", "stop", "stopped", "stop", "out") == []
    assert one_carrier("out", "stop", "stopped", "out") != []
    assert one_carrier("stop", "stopped", "out", "stop", "out") != [], "the first stop was heard of before"


def test_a_stop_counts_if_it_may_have_been_heard_of_after_the_text() -> None:
    assert one_carrier("stop", "out", "stopped", "stop", "out") == []
    assert one_carrier("stop", "out", "stopped", "out") != []
    assert one_carrier("stop", "killed", "out", "stop", "out") != [], "its hook ended with it"
