"""What of the history goes, and how much at a time."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from coterie import ids
from coterie.files import Home
from coterie.limits import HISTORY_STEP_GOING, HISTORY_STEP_ROWS
from coterie.messages import State
from coterie.store import db, history, migrations
from coterie.store import messages as stored
from coterie.store.messages import NewMessage

NOW = 1_000_000.0
TEXT = "x" * 10


@pytest.fixture
def books(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    place = Home(str(tmp_path))
    Path(place.database).touch(0o600)
    with contextlib.closing(db.connect(place.database)) as connection:
        migrations.migrate(connection, place, NOW)
        yield connection


def add(books: sqlite3.Connection, count: int, state: State, at: float) -> None:
    books.execute("BEGIN")
    for _ in range(count):
        message = ids.new_message_id()
        new = NewMessage(message, "p_ann", "ann", "claude", "p_bob", message, None, TEXT, at, at + 1)
        stored.accept(books, message, [new], None)
        if state is not State.QUEUED:
            stored.move(books, message, state, "", at)
    books.execute("COMMIT")


def walk(books: sqlite3.Connection, bytes_max: int = 1 << 40, before: float = NOW) -> list[int]:
    """Go to the end; how many each step removed."""
    steps, found = [], history.Walk([(0.0, before)], bytes_max)
    while not found.over:
        removed = found.removed
        history.forget_old(books, found)
        steps.append(found.removed - removed)
        assert len(steps) < 100
    return steps


def left(books: sqlite3.Connection) -> dict[str, int]:
    return dict(books.execute("SELECT state, count(*) FROM messages GROUP BY state").fetchall())


def test_what_ended_long_ago_goes_and_nothing_else(books: sqlite3.Connection) -> None:
    for state in (State.QUEUED, State.SHOWN, State.ACKNOWLEDGED, State.EXPIRED, State.DEAD):
        add(books, 2, state, NOW - 10)
        add(books, 1, state, NOW + 10)
    assert sum(walk(books)) == 6
    assert left(books) == {"queued": 3, "shown": 3, "acknowledged": 1, "expired": 1, "dead": 1}


def test_beyond_the_size_the_oldest_go_but_never_unread_mail(books: sqlite3.Connection) -> None:
    add(books, 3, State.QUEUED, NOW)
    add(books, 5, State.SHOWN, NOW)
    newest = books.execute("SELECT id FROM messages ORDER BY seq DESC LIMIT 2").fetchall()
    assert sum(walk(books, bytes_max=2 * len(TEXT))) == 3
    assert left(books) == {"queued": 3, "shown": 2}
    kept = books.execute("SELECT id FROM messages WHERE state = 'shown' ORDER BY seq DESC").fetchall()
    assert [row["id"] for row in kept] == [row["id"] for row in newest]


def test_what_goes_by_age_does_not_count_for_the_size(books: sqlite3.Connection) -> None:
    add(books, 2, State.SHOWN, NOW)
    add(books, 5, State.ACKNOWLEDGED, NOW - 10)
    walk(books, bytes_max=2 * len(TEXT))
    assert left(books) == {"shown": 2}


def test_a_step_removes_no_more_than_its_share(books: sqlite3.Connection) -> None:
    add(books, 2 * HISTORY_STEP_GOING + 1, State.ACKNOWLEDGED, NOW - 10)
    assert walk(books) == [HISTORY_STEP_GOING, HISTORY_STEP_GOING, 1]
    assert left(books) == {}


def test_a_step_looks_at_no_more_than_its_share(books: sqlite3.Connection) -> None:
    add(books, HISTORY_STEP_ROWS, State.SHOWN, NOW)
    assert walk(books) == [0, 0]


def test_an_empty_history(books: sqlite3.Connection) -> None:
    assert walk(books) == [0]
