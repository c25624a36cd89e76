"""The schema, as numbered steps. A fresh database takes every step, so it ends where a migrated one does.

Each step is one transaction together with its number (``PRAGMA user_version``): a database is at one version or the
next, never between. Before the first step on a database that holds something, it is copied to the backups.
"""

from __future__ import annotations

import os
import re
import sqlite3
from importlib import resources

from coterie.errors import NewerDatabase, StoreFailed
from coterie.files import Home, make_folder
from coterie.points import point
from coterie.store import copies, seals

APPLICATION_ID = 0x436F7465
"""Marks the file as ours ("Cote"), at offset 68 of the file; SQLite's file format, section 1.3."""


def steps() -> list[tuple[int, str]]:
    """Every step: its number and its SQL, in order, without a gap."""
    folder = resources.files("coterie.store") / "schema"
    found = sorted((entry.name, entry.read_text("utf-8")) for entry in folder.iterdir() if entry.name.endswith(".sql"))
    numbered = [(int(name[:4]), sql) for name, sql in found]
    assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1))
    return numbered


def newest_version() -> int:
    """The version that this code works with."""
    return steps()[-1][0]


def examine(path: str) -> None:
    """Raises `NewerDatabase` for a database that a newer coterie wrote, and `StoreFailed` for one that is not ours,
    without changing a byte of it: settling it into WAL would, and so would closing it after a crash.
    """
    if not os.path.getsize(path):
        return
    # Where a crash left a WAL, the version may stand only in there; where there is none, none is made.
    crashed = os.path.exists(path + "-wal") and os.path.getsize(path + "-wal")
    connection = copies.opened(path, alone=not crashed)
    try:
        version = version_of(connection)
        _refuse(version, path)
        _check_ours(connection, version, path)
    finally:
        connection.close()


def _refuse(version: int, path: str) -> None:
    known = newest_version()
    if version > known:
        raise NewerDatabase(
            f"{path} was written by a newer coterie (schema {version}; this one knows {known})",
            "install the newer coterie again; this one left the file untouched",
        )


def version_of(connection: sqlite3.Connection) -> int:
    """The number of the last step taken."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, place: Home, now: float) -> None:
    """Take every step that is missing."""
    version = version_of(connection)
    missing = [(number, sql) for number, sql in steps() if number > version]
    if not missing:
        return
    if version:
        back_up(connection, place, version, now)
    for number, sql in missing:
        take(connection, number, sql)
    # A migrated database is one whole file again, as a backup of it should be.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _check_ours(connection: sqlite3.Connection, version: int, path: str) -> None:
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if mark != APPLICATION_ID and (version or tables):
        raise StoreFailed(f"{path} is not a coterie database", f"move it out of the way: mv {path} {path}.old")


def take(connection: sqlite3.Connection, number: int, sql: str) -> None:
    """Take one step: whole, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements(sql):
            point("migration-statement")
            connection.execute(statement)
        if number == seals.SINCE:
            point("migration-statement")
            seals.seal_all(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def statements(sql: str) -> list[str]:
    """The statements of a step; one at a time, since executescript would commit on its own."""
    found, statement = [], ""
    for piece in re.split(r"(;)", sql):
        statement += piece
        if piece == ";" and sqlite3.complete_statement(statement):
            found.append(statement.strip())
            statement = ""
    return found


def back_up(connection: sqlite3.Connection, place: Home, version: int, now: float) -> str:
    """Copy the database as it is to the backups, mode 0600. Returns the path."""
    make_folder(place.backups)
    path = os.path.join(place.backups, f"coterie-schema{version}-{copies.stamp(now)}.db")
    copies.write(connection, path)
    return path
