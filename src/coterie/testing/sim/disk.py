"""The store on a disk that is slow, full, broken, or cut off in the middle of a write. The SQLite on it is real."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from coterie.files import Home
from coterie.store.db import Store

if TYPE_CHECKING:
    from coterie.testing.sim.sites import Site

COMMIT_S = 0.002
"""The most that a commit takes on a disk that is well."""
TOLD_S = 0.0005
"""The most that lies between a commit and its being told."""
SLOW_S = 8.0
"""The most that a commit takes on a slow disk: more than a hook waits."""
SECTOR = 512
"""What a disk writes whole, or not at all."""
KEPT = ("coterie.db", "coterie.db-wal")
WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT")


class Crash(SystemExit):
    """The simulated daemon was killed. Raised where it happens, it ends the loop: nothing catches it on its way."""


class FaultyWriter:
    """The writing connection, before which the disk's faults stand."""

    def __init__(self, connection: sqlite3.Connection, site: Site, place: Home) -> None:
        self._connection = connection
        self._site = site
        self._wal = place.database + "-wal"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        """One statement, unless the disk does not take it."""
        self._before(sql)
        if sql == "COMMIT" and self._site.faults.strikes("torn tail"):
            self._tear()
        return self._connection.execute(sql, values)

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
        """One statement with many rows."""
        self._before(sql)
        return self._connection.executemany(sql, rows)

    def _before(self, sql: str) -> None:
        if not sql.lstrip().startswith(WRITES):
            return
        if self._site.faults.lasts("disk full", self._site):
            raise _error("database or disk is full", sqlite3.SQLITE_FULL, "SQLITE_FULL")
        if self._site.disk_fails():
            raise _error("disk I/O error", sqlite3.SQLITE_IOERR_WRITE, "SQLITE_IOERR_WRITE")

    def _tear(self) -> None:
        """A power cut in the middle of the commit: of the sectors that it writes, the disk has some."""
        before = _read(self._wal)
        self._connection.execute("COMMIT")
        after = _read(self._wal)
        sectors = [
            (after if self._site.random.random() < 0.5 else before)[start : start + SECTOR]
            for start in range(0, len(after), SECTOR)
        ]
        self._site.torn = b"".join(sector.ljust(SECTOR, b"\0") for sector in sectors)[: len(after)]
        raise Crash("in the middle of a commit")


def _error(message: str, code: int, name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


class _Wake:
    """In the place of what the writer's thread waits for."""

    def __init__(self, woken: Callable[[], None]) -> None:
        self._woken = woken

    def put(self, item: None) -> None:
        """Wake it."""
        self._woken()


class SimStore(Store):
    """The store, which commits on the loop after a while, where the real one has a thread for that."""

    site: Site
    _waiting = False
    _more = True
    """Whether the end of what is to be written has not come yet."""

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection, site: Site, place: Home) -> None:
        self.site = site
        super().__init__(FaultyWriter(writer, site, place), reader)  # type: ignore[arg-type]

    def _start(self) -> None:
        """No thread: whoever wakes the writer has it write after a while."""
        self._wake = _Wake(self._write_soon)  # type: ignore[assignment]

    def check_beside(self, place: Home) -> None:
        """It was looked through at the start."""

    def _write_soon(self) -> None:
        if not self._waiting and not self._closing:
            self._waiting = True
            self._loop.call_later(self._takes(), self._write_waiting)

    def _takes(self) -> float:
        slow = self.site.faults.lasts("slow disk", self.site)
        return self.site.random.random() * (SLOW_S if slow else COMMIT_S)

    def _write_waiting(self) -> None:
        self._waiting = False
        if not self._more or self._jobs.empty():
            return
        batch, self._more = self._next_batch()
        results = self._commit(batch)
        self._loop.call_later(self.site.random.random() * TOLD_S, self._tell, results)

    async def _finish(self) -> None:
        await asyncio.sleep(self._takes())
        while self._more:
            batch, self._more = self._next_batch()
            if batch:
                self._loop.call_soon(self._tell, self._commit(batch))

    def abandon(self) -> None:
        """Its process was killed; whatever is open is let go of, after the files were copied."""
        if self._reader:
            self._reader.close()
        self._writer.close()


def opener(site: Site) -> Callable[[Home, float], Store]:
    """What opens the store of a simulated daemon."""

    def open_store(place: Home, now: float) -> Store:
        class Here(SimStore):
            def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
                super().__init__(writer, reader, site, place)

        return Here.open(place, now)

    return open_store


def after_crash(before: Home, folder: str, torn: bytes | None) -> None:
    """Put what the disk holds after a crash into a fresh `folder`: all that was synced, and of the rest some."""
    os.mkdir(folder, 0o700)
    if os.path.isdir(before.device):
        shutil.copytree(before.device, os.path.join(folder, os.path.basename(before.device)))
    for entry in _files(before.folder):
        shutil.copyfile(os.path.join(before.folder, entry), os.path.join(folder, entry))
        os.chmod(os.path.join(folder, entry), 0o600)
    if torn is not None:
        with open(os.path.join(folder, KEPT[1]), "wb") as wal:
            wal.write(torn)


def _files(folder: str) -> Sequence[str]:
    """What lasts of a home: all but what only the living share."""
    entries = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    return [entry for entry in entries if not entry.endswith(("-shm", ".lock", ".log"))]
