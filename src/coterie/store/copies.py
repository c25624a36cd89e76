"""Whole copies of a database: written beside what is there, checked, on the disk before they have their name."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time

from coterie.errors import CoterieError, Damaged, DiskFull, StoreFailed
from coterie.files import FILE_MODE, NO_ROOM
from coterie.points import point
from coterie.store import seals, soundness

PARTIAL = ".partial"


def stamp(now: float) -> str:
    """A moment as it stands in the name of a copy."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def uri(path: str, *, alone: bool = False) -> str:
    """A database to be read and not written. `alone`: nobody has it open, and it has no log."""
    escaped = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file:{escaped}?mode=ro{'&immutable=1' if alone else ''}"


def opened(path: str, *, alone: bool = False) -> sqlite3.Connection:
    """A connection that reads and never writes."""
    connection = sqlite3.connect(uri(path, alone=alone), uri=True, isolation_level=None)
    seals.teach(connection)
    return connection


def write(connection: sqlite3.Connection, path: str) -> None:
    """Copy what `connection` sees to the new file `path`, mode 0600 from birth. It has this name once it is whole and
    on the disk, and not before. Raises `DiskFull`, `Damaged` or `StoreFailed`; then nothing is left.
    """
    partial = path + PARTIAL
    try:
        begin(partial)
        connection.execute("VACUUM INTO ?", (partial,))
        point("copy-written")
        finish(partial)
    except (OSError, *soundness.UNREADABLE) as error:
        discard(partial)
        raise _why(error, path) from error
    except CoterieError:
        discard(partial)
        raise
    os.replace(partial, path)
    sync(os.path.dirname(path))


def begin(partial: str) -> None:
    """An empty file for a copy; what an interrupted one left goes."""
    if os.path.lexists(partial):
        os.unlink(partial)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE))


def finish(partial: str) -> None:
    """Bring a copy to the disk, and look whether it is sound. Raises `Damaged`."""
    sync(partial)
    with contextlib.closing(opened(partial, alone=True)) as copy:
        wrong = soundness.check(copy, lambda: False)
    if wrong:
        raise Damaged(f"the copy is not sound: {wrong}", "coterie doctor says how the database is")


def sync(path: str) -> None:
    """Return when a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(path: str) -> None:
    """Remove a file that may be there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _why(error: OSError | sqlite3.DatabaseError | UnicodeDecodeError, path: str) -> StoreFailed:
    code = getattr(error, "sqlite_errorcode", 0) or 0
    # SQLite reports a disk without room for the copy's first page as a disk that failed.
    full = code & 0xFF == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno in NO_ROOM)
    if full:
        return DiskFull(f"there is no room for {path}: nothing was kept of it", "make room, or name another place")
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Damaged(f"the database cannot be copied: {soundness.words(error)}", "coterie doctor says how it is")
    return StoreFailed(f"{path} cannot be written: {soundness.words(error)}", "name another place")
