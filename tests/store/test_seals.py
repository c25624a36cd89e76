"""Checksums of rows: every statement that changes one keeps them, and whatever else changes one is seen."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import pytest

from conftest import Place
from coterie.files import Home
from coterie.messages import Carrier, Change, Offer, Outcome, State
from coterie.peers import Peer, Process
from coterie.store import copies, seals, soundness
from coterie.store import messages as stored
from coterie.store import peers as stored_peers
from store import mail


def sound(connection: sqlite3.Connection) -> None:
    assert soundness.check(connection, lambda: False) is None


def test_whatever_becomes_of_a_row_its_seals_hold(place: Place) -> None:
    async def use(store: Any) -> None:
        first, second, *_ = await mail.fill(store, 6)
        offer = Offer(first, 1, Carrier.TOOL, "c_1", 3)
        again = Offer(first, 1, Carrier.TOOL, "c_1", 5, written=True, stops=2)

        def peer(connection: sqlite3.Connection) -> None:
            known = Peer(id="p_bob", name="bob2", kind="claude", since=mail.NOW, seen=mail.NOW + 1, summary_at=5)
            known.agent, known.heard, known.one_shot = Process(1, "boot:1"), 7, True
            stored_peers.save(connection, known)

        for job in (
            lambda c: stored.apply(c, [Change(first, State.OFFERED, "tool", offer, Outcome.OPEN)], 5),
            lambda c: stored.apply(c, [Change(first, None, "", again, Outcome.OPEN)], 6),
            lambda c: stored.apply(c, [Change(first, State.SHOWN, "a hook saw it", again, Outcome.SHOWN)], 7.5),
            lambda c: stored.told(c, [(first, "shown")]),
            lambda c: stored.readdress(c, "p_carol", "p_dave"),
            lambda c: stored.move(c, second, State.EXPIRED, "it could not be offered in time", 8),
            peer,
        ):
            await store.write(job)
            sound(store.reader)

    mail.using(place.home, use)


TABLES = [(table, seal, column) for table, seal, columns in seals.SEALS for column in columns]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("home")
    folder.chmod(0o700)
    home = Home(str(folder))
    mail.using(home, lambda store: mail.fill(store, 6))
    return home.database


@pytest.mark.promise("D9")
@pytest.mark.parametrize(("table", "seal", "column"), TABLES)
def test_no_column_that_is_sealed_changes_unseen(filled: str, table: str, seal: str, column: str) -> None:
    """Here something else writes, with indexes and all as SQLite wants them."""
    with contextlib.closing(sqlite3.connect(filled, isolation_level=None)) as connection:
        seals.teach(connection)
        sound(connection)
        connection.execute("BEGIN")
        kind = next(row[2] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] == column)
        other = f"coalesce({column}, '') || 'x'" if kind in ("TEXT", "BLOB") else f"coalesce({column}, 0) + 1"
        other = f"CAST({other} AS BLOB)" if kind == "BLOB" else other
        key = "message" if table == "offers" else "id"
        connection.execute(f"UPDATE {table} SET {column} = {other} WHERE {key} = (SELECT min({key}) FROM {table})")
        wrong = soundness.check(connection, lambda: False)
        connection.execute("ROLLBACK")
    assert wrong == f"1 of the rows in {table} do not say what was stored"


def test_numbers_count_as_what_the_column_makes_of_them() -> None:
    assert seals.sealed(5, True, None, "x") == seals.sealed(5.0, 1, None, "x")
    assert len({seals.sealed(None), seals.sealed(""), seals.sealed(0), seals.sealed("", "")}) == 4


def test_a_copy_has_the_same_seals(filled: str, tmp_path: Any) -> None:
    with contextlib.closing(copies.opened(filled)) as connection:
        copies.write(connection, str(tmp_path / "copy.db"))
    assert mail.read(str(tmp_path / "copy.db")) == mail.read(filled)
