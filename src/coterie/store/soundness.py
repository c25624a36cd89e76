"""Whether a database says what was stored: pages, indexes and every row's seal."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from coterie.store import seals

STEPS = 20_000
"""Instructions of SQLite between two looks at the clock: about a millisecond."""

PORTION = 2_000
"""Rows that are looked at in one transaction: some milliseconds."""
KEYS = {"messages": "seq", "offers": "message, number", "peers": "id", "devices": "id"}
"""By what the rows of each table are walked."""

_DISK = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM)
"""What says nothing of the database."""

UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged database raises. Python's module fails to decode SQLite's own complaint where that quotes what
is damaged.
"""

Stop = Callable[[], bool]


class Unfinished(Exception):
    """There was no time to look at everything."""


def is_no_text(error: BaseException) -> bool:
    """Whether a text is no UTF-8 any more. Python's module says it without a code."""
    if isinstance(error, UnicodeDecodeError):
        return True
    return isinstance(error, sqlite3.Error) and not hasattr(error, "sqlite_errorcode") and "decode" in str(error)


def words(error: BaseException) -> str:
    """What an error says, without the text that could not be read: Python's module quotes it, and it may be mail."""
    return "a text in it is no UTF-8 any more" if is_no_text(error) else str(error)


def check(connection: sqlite3.Connection, stop: Stop) -> str | None:
    """What is wrong with the database, or None. Raises `Unfinished` once `stop` says so, and `sqlite3.OperationalError`
    if the disk does not let it be looked at.
    """
    connection.set_progress_handler(stop, STEPS)
    try:
        return _pages(connection) or _rows(connection)
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_INTERRUPT:
            raise Unfinished from None
        if code in _DISK:
            raise
        return words(error)
    except UNREADABLE as error:
        return words(error)
    finally:
        connection.set_progress_handler(None, 0)


def _pages(connection: sqlite3.Connection) -> str | None:
    found: str = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    return None if found == "ok" else " ".join(found.removeprefix("*** in database main ***").split())


def _rows(connection: sqlite3.Connection) -> str | None:
    """The first kind of row that its checksum contradicts."""
    for table, seal, columns in seals.at(connection.execute("PRAGMA user_version").fetchone()[0]):
        contradicts = f"{seal} <> {seals.call(columns)}"
        if count := sum(_contradicted(connection, table, contradicts)):
            return f"{count} of the rows in {table} do not say what was stored"
    return None


def _contradicted(connection: sqlite3.Connection, table: str, contradicts: str) -> Iterator[int]:
    """How many rows of each portion are contradicted by their checksums. One long look would hold the log back."""
    key = KEYS[table]
    after: tuple[object, ...] = ()
    while True:
        beyond = f"WHERE ({key}) > ({', '.join('?' * len(after))})" if after else ""
        portion = f"SELECT {key}, {contradicts} FROM {table} {beyond} ORDER BY {key} LIMIT {PORTION}"  # noqa: S608 (ours)
        rows = connection.execute(portion, after).fetchall()
        yield sum(row[-1] for row in rows)
        if len(rows) < PORTION:
            return
        after = tuple(rows[-1][:-1])
