"""What a disk does to a database: bytes changed, a log cut off, no room at the k-th statement."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

WAL_HEADER, FRAME_HEADER = 32, 24
"""SQLite's file format, sections 4.1 and 4.2."""


class Frame(NamedTuple):
    """One page in the log."""

    start: int
    end: int
    commits: bool


def frames(wal: bytes) -> list[Frame]:
    """The frames of a log."""
    size = int.from_bytes(wal[8:12], "big") + FRAME_HEADER
    starts = range(WAL_HEADER, len(wal) - size + 1, size)
    return [Frame(at, at + size, wal[at + 4 : at + 8] != b"\0\0\0\0") for at in starts]


def flipped(content: bytes, at: int, mask: int) -> bytes:
    """`content` with some bits of one byte changed."""
    return content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]


def flips(seed: int, size: int, count: int) -> Iterator[tuple[int, int]]:
    """Places and masks, the same ones for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.randrange(size), chance.randrange(1, 256)


def full() -> sqlite3.OperationalError:
    """What SQLite says when the disk takes no more."""
    return _error("database or disk is full", sqlite3.SQLITE_FULL, "SQLITE_FULL")


def broken() -> sqlite3.OperationalError:
    """What it says when the disk failed."""
    return _error("disk I/O error", sqlite3.SQLITE_IOERR, "SQLITE_IOERR")


def _error(text: str, code: int, name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


class Failing:
    """A connection whose k-th statement from now on fails, and with `lasting` all that follow."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.statements = 0
        self._at = 0
        self._error = full()
        self._lasting = False

    def fail_at(self, statement: int, error: sqlite3.OperationalError, *, lasting: bool) -> None:
        """Have the `statement`-th (from 1) fail; none for 0."""
        self.statements, self._at, self._error, self._lasting = 0, statement, error, lasting

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        self._count()
        return self._connection.execute(sql, values)

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
        self._count()
        return self._connection.executemany(sql, rows)

    def _count(self) -> None:
        self.statements += 1
        if self.statements == self._at or (self._lasting and 0 < self._at < self.statements):
            raise self._error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def put(folder: Path, files: dict[str, bytes]) -> None:
    """Make these the files of a database, and no others."""
    for old in folder.glob("coterie.db*"):
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
