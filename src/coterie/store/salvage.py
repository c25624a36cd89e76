"""What can still be read of a damaged database, in a fresh one.

Each table is read from its beginning up to the damage and from its end back to it, and what lies between is asked for
row by row. A row that its seal contradicts is left behind: nobody is shown words that were not sent.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from coterie.errors import Damaged
from coterie.files import Home
from coterie.store import copies, migrations, seals, soundness
from coterie.store.restores import LOG, ready_at

Row = tuple[object, ...]


class Table(NamedTuple):
    """A table, and its key, if its rows have no numbers of their own."""

    name: str
    key: tuple[str, str] | None = None


TABLES = (
    Table("peers"),
    Table("sessions"),
    Table("messages"),
    Table("offers", ("message", "number")),
    Table("devices"),
    Table("neighbours"),
    Table("outbox"),
    Table("received", ("device", "envelope")),
    Table("requests"),
)
"""Those that others refer to come first."""
HOLES_MAX = 100_000
"""Rows asked for one by one where a table cannot be read in its order."""


def salvage(place: Home) -> dict[str, int]:
    """Make ready a fresh database with what can be read; returns how many rows of each table it has. Raises `Damaged`
    if nothing can be.
    """
    ready = ready_at(place)
    copies.begin(ready)
    with contextlib.closing(sqlite3.connect(ready, isolation_level=None)) as fresh:
        seals.teach(fresh)
        for number, sql in migrations.steps():
            migrations.take(fresh, number, sql)
        with contextlib.closing(_damaged(place)) as damaged:
            kept = _copied(damaged, fresh)
    if not any(kept.values()):
        copies.discard(ready)
        raise Damaged(
            f"nothing can be read of {place.database}", f"to begin anew: mv {place.database} {place.database}.damaged"
        )
    copies.finish(ready)
    return kept


def _damaged(place: Home) -> sqlite3.Connection:
    connection = copies.opened(place.database, alone=not os.path.exists(place.database + LOG))
    connection.text_factory = bytes  # A text that is no UTF-8 any more must not hide the others.
    connection.row_factory = sqlite3.Row
    return connection


def _copied(damaged: sqlite3.Connection, fresh: sqlite3.Connection) -> dict[str, int]:
    kept = {}
    sealed = _version(damaged) >= seals.SINCE
    fresh.execute("BEGIN")
    for table in TABLES:
        known = {row[1]: row[2] for row in fresh.execute(f"PRAGMA table_info({table.name})")}
        blobs = {name for name, kind in known.items() if kind == "BLOB"}
        for row in _rows(damaged, table) if _has(damaged, table.name) else ():
            _keep(fresh, table.name, {name: row[name] for name in known if name in row.keys()}, blobs, sealed=sealed)  # noqa: SIM118 (a Row is not a dict)
        kept[table.name] = fresh.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]  # noqa: S608 (ours)
    if not sealed:
        seals.seal_all(fresh)
    fresh.execute("COMMIT")
    return kept


def _version(damaged: sqlite3.Connection) -> int:
    try:
        return migrations.version_of(damaged)
    except soundness.UNREADABLE:
        return seals.SINCE


def _has(damaged: sqlite3.Connection, table: str) -> bool:
    """Whether a table is there, as far as can be seen: an older database lacks some."""
    try:
        return damaged.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is not None
    except soundness.UNREADABLE:
        return True


def _keep(fresh: sqlite3.Connection, table: str, row: dict[str, object], blobs: set[str], *, sealed: bool) -> None:
    """Store a row if it says what was stored; what the schema does not take was damaged too."""
    try:
        texts = {name: value.decode() for name, value in row.items() if isinstance(value, bytes) and name not in blobs}
    except UnicodeDecodeError:
        return
    values = {**row, **texts}
    if sealed and not all(_is_as_stored(values, *seal) for seal in seals.SEALS if seal[0] == table):
        return
    names = ", ".join(values)
    places = ", ".join("?" * len(values))
    with contextlib.suppress(sqlite3.IntegrityError):
        fresh.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", list(values.values()))  # noqa: S608 (ours)


def _is_as_stored(values: dict[str, object], table: str, seal: str, columns: tuple[str, ...]) -> bool:
    try:
        return values[seal] == seals.sealed(*[values[column] for column in columns])  # type: ignore[arg-type]
    except (KeyError, ValueError, TypeError, UnicodeEncodeError):
        return False


def _rows(damaged: sqlite3.Connection, table: Table) -> Iterator[sqlite3.Row]:
    """Every row that can be had; some may come twice."""
    number = "" if table.key else "rowid AS number,"
    ends: list[int | None] = []
    for direction in ("ASC", "DESC"):
        last = None
        order = ", ".join(f"{key} {direction}" for key in table.key or ("rowid",))
        try:
            for row in damaged.execute(f"SELECT {number} * FROM {table.name} NOT INDEXED ORDER BY {order}"):  # noqa: S608 (names of ours)
                last = None if table.key else row["number"]
                yield row
        except soundness.UNREADABLE:  # Here is the damage: the rest is read from the other end.
            ends.append(last)
        else:
            return
    if not table.key:
        yield from _between(damaged, table.name, *ends)


def _between(damaged: sqlite3.Connection, table: str, low: int | None, high: int | None) -> Iterator[sqlite3.Row]:
    """The rows in the hole that both readings left."""
    first = (low or 0) + 1
    for number in range(first, min(high or first + HOLES_MAX, first + HOLES_MAX)):
        with contextlib.suppress(*soundness.UNREADABLE):
            yield from damaged.execute(f"SELECT * FROM {table} WHERE rowid = ?", (number,))  # noqa: S608 (names of ours)
