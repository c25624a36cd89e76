"""What waits for other devices, and what came from them, as the database has it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Place
from coterie.devices import Device, Standing
from coterie.messages import Change, State
from coterie.store import devices, outbox, peers, received, requests, seals, soundness
from coterie.store import messages as stored
from coterie.store.messages import NewMessage
from coterie.store.outbox import Posting
from coterie.store.received import Arrival, Verdict
from coterie.store.requests import Request
from coterie.timeline import Span
from store import mail

LAPTOP, TOWER = "A" * 56, "B" * 56
ALWAYS = [Span(float("-inf"), float("inf"), mail.NOW + 100)]


def use(place: Place, work: Callable[[Any, Callable[..., Any]], None]) -> None:
    """Open the store with two devices in it; `work` gets its reader and what writes."""

    async def main(store: Any) -> None:
        jobs: list[Any] = []

        def write(job: Callable[[sqlite3.Connection], Any]) -> Any:
            """In the writer's place: the test waits for each."""
            found = job(store._writer)
            jobs.append(found)
            return found

        for device in (Device(id_, id_[0], b"\x30", Standing.PAIRED) for id_ in (LAPTOP, TOWER)):
            await store.write(lambda database, device=device: devices.save(database, device))
        work(store.reader, write)
        assert soundness.check(store.reader, lambda: False) is None

    mail.using(place.home, main)


def posted(write: Callable[..., Any], number: int, device: str = LAPTOP) -> str:
    """Accept a message for a device; its id."""
    message = mail.new_message(number, "x" * (number + 1))
    posting = Posting(message.id, device, "p_there", len(message.text))
    assert write(lambda database: outbox.accept(database, message.id, [message], None, [posting])) == []
    return message.id


def test_what_waits_comes_in_its_order_and_no_longer_once_it_is_marked(place: Place) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        first, second, third = (posted(write, number) for number in range(3))
        other = posted(write, 7, TOWER)
        assert outbox.loads(reader) == {LAPTOP: (3, 6), TOWER: (1, 8)}
        rows = outbox.following(reader, LAPTOP, 0, 10)
        assert [row["id"] for row in rows] == [first, second, third]
        assert [row["id"] for row in outbox.following(reader, LAPTOP, rows[0]["number"], 1)] == [second]
        assert all(seals.is_sealed(row) for row in rows)
        assert write(lambda database: outbox.mark(database, [first, first, "m_nothing"], outbox.STORED)) == [1]
        assert write(lambda database: outbox.mark(database, [first], outbox.OVER)) == []
        assert outbox.device_of(reader, first) == (LAPTOP, outbox.STORED)
        assert outbox.loads(reader) == {LAPTOP: (2, 5), TOWER: (1, 8)}
        write(lambda database: stored.move(database, second, State.EXPIRED, "late", mail.NOW))
        assert [row["id"] for row in outbox.following(reader, LAPTOP, 0, 10)] == [third]
        assert [row["message"] for row in outbox.unread(reader, LAPTOP)] == [first, third]
        assert outbox.device_of(reader, other) == (TOWER, outbox.WAITS)
        assert outbox.device_of(reader, "m_nothing") is None

    use(place, work)


def test_a_send_that_comes_again_is_posted_once(place: Place) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        message = mail.new_message(1)
        posting = Posting(message.id, LAPTOP, "p_there", 3)
        for known in (0, 1):
            before = write(lambda database: outbox.accept(database, message.id, [message], None, [posting]))
            assert len(before) == known
        assert outbox.loads(reader) == {LAPTOP: (1, 3)}

    use(place, work)


@pytest.mark.parametrize("state", [outbox.STORED, outbox.HELD])
def test_what_another_device_has_expires_there_unless_nothing_is_heard(place: Place, state: str) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        waits, there = posted(write, 1), posted(write, 2)
        write(lambda database: outbox.mark(database, [there], state))
        late = [Span(float("-inf"), float("inf"), mail.NOW + 700_000)]
        assert [message for message, _ in stored.expired(reader, late)] == [waits]
        assert outbox.unheard(reader, late, 200_000) == []
        assert [row["id"] for row in outbox.unheard(reader, late, 50_000)] == [there]
        write(lambda database: stored.move(database, waits, State.EXPIRED, "late", mail.NOW))
        assert stored.next_expiry(reader, late) is None
        write(lambda database: stored.move(database, there, State.SHOWN, "inbox", mail.NOW))
        assert outbox.unheard(reader, late, 0) == []

    use(place, work)


# --- what comes ------------------------------------------------------------------------------------------------------


def arrival(number: int, after: str | None = None, device: str = LAPTOP, answers: str | None = None) -> Arrival:
    """An envelope, and the message that it becomes."""
    message: NewMessage = mail.new_message(number)
    return Arrival(device, f"m_envelope{number:04}", after, message._replace(sender_name="x@laptop"), answers)


def test_an_envelope_is_taken_in_once_and_after_the_one_before_it(place: Place) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        first, second = arrival(1), arrival(2, after="m_envelope0001")
        assert write(lambda database: received.accept(database, second)) is Verdict.EARLY
        assert write(lambda database: received.accept(database, first)) is Verdict.STORED
        assert write(lambda database: received.accept(database, first)) is Verdict.KNOWN
        assert write(lambda database: received.accept(database, second)) is Verdict.STORED
        assert received.find(reader, LAPTOP, first.envelope) == first.message.id
        assert received.find(reader, TOWER, first.envelope) is None, "another device's envelope is another one"
        assert received.envelope_of(reader, first.message.id) == (LAPTOP, first.envelope)
        with pytest.raises(sqlite3.IntegrityError):
            received.accept(mail_connection(place), first._replace(device=TOWER))

    use(place, work)


def mail_connection(place: Place) -> sqlite3.Connection:
    """A connection beside, on which nothing is committed."""
    connection = sqlite3.connect(place.home.database)
    connection.row_factory = sqlite3.Row
    seals.teach(connection)
    return connection


def test_an_answer_acknowledges_in_the_same_transaction(place: Place) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        asked = posted(write, 1)
        answer = arrival(2, answers=asked)
        write(lambda database: received.accept(database, answer))
        row = stored.find(reader, asked)
        assert row
        assert (row["state"], row["reason"]) == ("acknowledged", f"answered by {answer.message.id}")

    use(place, work)


def test_what_is_not_noted_is_told_with_numbers_that_rise(place: Place) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        came = arrival(1)
        write(lambda database: received.accept(database, came))
        message = came.message.id
        assert received.untold(reader, LAPTOP, 10) == []
        box = stored.mailbox(reader, came.message.recipient)
        seen = [received.receipt(reader, message)]
        for step in ("offer", "lapse", "offer"):
            changes = box.offer(message, "inbox", step, True) if step == "offer" else box.lapse("ended")  # type: ignore[arg-type]
            write(lambda database, changes=changes: stored.apply(database, changes, mail.NOW))
            seen.append(received.receipt(reader, message))
        assert [(r.state, r.n) for r in seen if r] == [("queued", 0), ("offered", 1), ("queued", 2), ("offered", 3)]
        assert received.untold(reader, LAPTOP, 10) == seen[-1:]
        assert received.untold(reader, TOWER, 10) == []
        write(lambda database: received.noted(database, LAPTOP, [(came.envelope, "offered")]))
        assert received.untold(reader, LAPTOP, 10) == []

    use(place, work)


def test_what_is_held_is_in_no_mailbox(place: Place) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        came = arrival(1)
        held = Request("r_1", LAPTOP, True, "message", mail.NOW, message=came.message.id)
        write(lambda database: (received.accept(database, came), requests.save(database, held)))
        assert stored.is_held(reader, came.message.id)
        assert not stored.mailbox(reader, came.message.recipient).entries
        assert received.unread(reader, LAPTOP) == [(came.message.id, came.message.recipient)]
        held.state = requests.Verdict.APPROVED
        write(lambda database: requests.save(database, held))
        assert not stored.is_held(reader, came.message.id)
        assert list(stored.mailbox(reader, came.message.recipient).entries) == [came.message.id]

    use(place, work)


def test_what_goes_elsewhere_or_is_held_is_unread_by_nobody_here(place: Place) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        posted(write, 0)
        held, came = arrival(0), arrival(3)
        request = Request("r_1", LAPTOP, True, "message", mail.NOW, message=held.message.id)
        for each in (held, came):
            write(lambda database, each=each: received.accept(database, each))
        write(lambda database: requests.save(database, request))
        assert peers.unread_counts(reader) == {came.message.recipient: 1}
        assert peers.oldest_unread(reader) == {came.message.recipient: came.message.accepted_at}

    use(place, work)


def test_an_envelope_is_remembered_longer_than_its_message(place: Place) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        came, gone = arrival(1), arrival(2)
        for each in (came, gone):
            write(lambda database, each=each: received.accept(database, each))
        write(lambda database: database.execute("DELETE FROM messages WHERE id = ?", (gone.message.id,)))
        assert received.find(reader, LAPTOP, gone.envelope)
        assert write(lambda database: received.prune(database, [(float("-inf"), mail.NOW)])) == 0
        assert write(lambda database: received.prune(database, [(float("-inf"), mail.NOW + 100)])) == 1
        assert received.find(reader, LAPTOP, came.envelope), "its message is still here"

    use(place, work)


def test_a_thread_is_shared_with_those_who_wrote_in_it(place: Place) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        went, came = posted(write, 1), arrival(2)
        write(lambda database: received.accept(database, came))
        own = mail.new_message(3)
        write(lambda database: stored.accept(database, own.id, [own], None))
        assert received.is_thread_with(reader, LAPTOP, went)
        assert received.is_thread_with(reader, LAPTOP, came.message.thread)
        assert not received.is_thread_with(reader, LAPTOP, own.id)
        assert not received.is_thread_with(reader, TOWER, went)

    use(place, work)


def test_a_mailbox_of_elsewhere_learns_what_is_told(place: Place) -> None:
    def work(reader: sqlite3.Connection, write: Callable[..., Any]) -> None:
        message = posted(write, 1)
        row = stored.find(reader, message)
        assert row
        box = stored.mailbox(reader, row["recipient"])
        assert box.learn(message, State.OFFERED, "inbox") == [Change(message, State.OFFERED, "inbox")]
        assert box.learn(message, State.OFFERED, "inbox") == []
        assert box.learn(message, State.QUEUED, "") == [Change(message, State.QUEUED, "")]
        assert box.learn(message, State.SHOWN, "hook") == [Change(message, State.SHOWN, "hook")]
        assert (box.entries, box.size) == ({}, 0)
        assert box.learn(message, State.ACKNOWLEDGED, "x") == [Change(message, State.ACKNOWLEDGED, "x")]

    use(place, work)
