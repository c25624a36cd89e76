"""What the guards ask the database, asked of one that is filled by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import count

import pytest

from conftest import Place
from coterie.messages import Carrier, Change, Offer, Outcome, State
from coterie.peers import PERSON
from coterie.store import counts
from coterie.store import messages as stored
from coterie.store.db import connect
from coterie.store.messages import NewMessage

NUMBERS = count(1)


@pytest.fixture
def books(daemon: Place) -> Iterator[sqlite3.Connection]:
    """A database, written by nobody else any more."""
    daemon.kill()
    connection = connect(daemon.home.database)
    yield connection
    connection.close()


def send(
    books: sqlite3.Connection,
    sender: str,
    *to: str,
    thread: str = "",
    kind: str = "claude",
    cause: str | None = None,
    at: float = 100.0,
) -> str:
    name = f"m_{next(NUMBERS):012}"
    fresh = [
        NewMessage(
            id=name if number == 1 else f"{name}.{number}",
            sender=sender,
            sender_name=sender,
            sender_kind=kind,
            recipient=recipient,
            thread=thread or name,
            reply_to=None,
            text="hello",
            accepted_at=at,
            expires_at=at + 1_000,
            cause=cause,
            path=sender,
        )
        for number, recipient in enumerate(to, start=1)
    ]
    stored.accept(books, name, fresh, None)
    return name


def give(books: sqlite3.Connection, message: str, at: float) -> None:
    offer = Offer(message, 1, Carrier.TOOL, "call", 0, written=True)
    stored.apply(books, [Change(message, State.OFFERED, "", offer, Outcome.OPEN)], at)


def test_a_thread_counts_what_agents_sent_since_a_person_did(books: sqlite3.Connection) -> None:
    first = send(books, "p_a", "p_b", "p_c")
    send(books, "p_b", "p_a", thread=first)
    send(books, "p_b", "p_a")
    assert counts.thread(books, first) == 2  # Copies are one send.
    send(books, "coterie", "p_me", thread=first, kind="coterie")
    assert counts.thread(books, first) == 2
    send(books, "p_me", "p_a", thread=first, kind=PERSON)
    assert counts.thread(books, first) == 0
    send(books, "p_c", "p_a", thread=first)
    assert counts.thread(books, first) == 1
    assert counts.thread(books, "m_unknown") == 0


def test_an_exchange_counts_both_ways_since_a_word_to_either(books: sqlite3.Connection) -> None:
    for _ in range(3):
        send(books, "p_a", "p_b", "p_c", at=100)
        send(books, "p_b", "p_a", at=200)
    send(books, "p_a", "p_a", at=200)
    assert counts.exchange(books, "p_a", "p_b", 0.0) == 6
    assert counts.exchange(books, "p_a", "p_c", 0.0) == 3
    assert counts.exchange(books, "p_a", "p_a", 0.0) == 1
    assert counts.exchange(books, "p_a", "p_b", 150.0) == 3
    send(books, "p_me", "p_c", kind=PERSON)
    assert counts.exchange(books, "p_a", "p_b", 0.0) == 6
    assert counts.exchange(books, "p_a", "p_c", 0.0) == 0
    send(books, "p_me", "p_b", kind=PERSON)
    assert counts.exchange(books, "p_a", "p_b", 0.0) == 0


def test_what_was_given_last_is_found_unless_it_answers_what_its_reader_began(books: sqlite3.Connection) -> None:
    assert counts.last_given(books, "p_a", 0.0) is None
    older, newer, waits = (send(books, "p_b", "p_a") for _ in range(3))
    own = send(books, "p_a", "p_b")
    answer = send(books, "p_b", "p_a", thread=own)
    give(books, newer, 300.0)
    give(books, older, 310.0)  # The one that came later is the cause, whichever was sent first.
    give(books, answer, 320.0)
    found = counts.last_given(books, "p_a", 0.0)
    assert found
    assert (found["id"], found["path"], found["given"]) == (older, "p_b", 310.0)
    assert counts.last_given(books, "p_a", 310.0) is None
    assert stored.find(books, waits)
    word = send(books, "p_me", "p_a", kind=PERSON)
    give(books, word, 330.0)
    found = counts.last_given(books, "p_a", 0.0)
    assert found
    assert found["sender_kind"] == PERSON


def test_whom_a_cause_reached_is_told_apart_by_who_passed_it_on(books: sqlite3.Connection) -> None:
    cause = send(books, "p_a", "p_b", "p_c")
    send(books, "p_b", "p_d", "p_e", cause=cause)
    send(books, "p_b", "p_d", cause=cause)
    send(books, "p_c", "p_f", cause=cause)
    assert sorted(counts.reached(books, cause, "p_b")) == ["p_d", "p_e"]
    assert counts.reached(books, cause, "p_a") == []


def test_notices_that_wait_are_those_of_coterie_itself(books: sqlite3.Connection) -> None:
    unread, read = (send(books, "coterie", "p_me", kind="coterie") for _ in range(2))
    send(books, "p_a", "p_me")
    stored.move(books, read, State.ACKNOWLEDGED, "", 1.0)
    assert [row["id"] for row in counts.notices(books, "p_me")] == [unread]
