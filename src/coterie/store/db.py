"""The database: opened safely, migrated with a backup first, written by one thread with group commit.

An accepted write is on the disk: WAL with synchronous=FULL means that a commit returns after its fsync. Writes that
wait together share a commit, which makes that honesty cheap. One connection writes, and it alone checkpoints (SQLite
before 3.51.3 can corrupt a WAL database that two connections write to and checkpoint at once); the event loop reads
through a second, read-only one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from coterie.errors import CoterieError, Damaged, Defect, DiskFull, StoreFailed, Unavailable
from coterie.files import Home, open_private
from coterie.limits import BATCH_MAX, BUSY_MS, CHECK_START_S, COMPANY_S, WAL_BYTES_MAX
from coterie.points import point
from coterie.store import copies, migrations, restores, seals, soundness, wal
from coterie.store.ways import way_back

Row = sqlite3.Row
SQLITE_VERSION = sqlite3.sqlite_version

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Job = Callable[[sqlite3.Connection], Result]
Told = Callable[[Any, CoterieError | None], None]
Waiting = tuple[Job[Any], Told]
Done = tuple[Told, Any, CoterieError | None]


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in our settings. The file must exist."""
    uri = copies.uri(path) if read_only else copies.uri(path).replace("?mode=ro", "?mode=rw")
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    seals.teach(connection)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    if not read_only:
        _settle(connection)
    return connection


def _settle(connection: sqlite3.Connection) -> None:
    for setting in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"journal_size_limit = {WAL_BYTES_MAX}",
    ):
        connection.execute(f"PRAGMA {setting}")
    if sys.platform == "darwin":
        # Without it macOS answers an fsync before the bytes are on the disk.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")


def translate(error: sqlite3.Error | UnicodeDecodeError) -> StoreFailed:
    """What a failure of SQLite means for whoever waits for the write."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    if code & 0xFF == sqlite3.SQLITE_FULL:
        return DiskFull(f"the disk took no more ({name}): nothing was stored", "make room, and send it again")
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or soundness.is_no_text(error):
        return Damaged(f"the database is damaged ({name}): nothing was stored", "the person can type: coterie doctor")
    if code & 0xFF == sqlite3.SQLITE_IOERR:
        return StoreFailed(
            f"the disk failed ({name}): it is not known what it holds", "see the system's log for the disk"
        )
    return StoreFailed(f"the database refused ({name}): nothing was stored", "coterie status says where it lies")


def tell(future: asyncio.Future[Result], result: Result, error: Exception | None) -> None:
    """Bring an outcome to a future; whoever waited for it may have given it up."""
    if future.done():
        return
    if error:
        future.set_exception(error)
    else:
        future.set_result(result)


def _unusable(error: sqlite3.DatabaseError | UnicodeDecodeError, place: Home) -> StoreFailed:
    failed = translate(error)
    if isinstance(failed, DiskFull):
        return failed
    kind = Damaged if isinstance(failed, Damaged) else StoreFailed
    return kind(f"{place.database} cannot be used: {soundness.words(error)}", way_back(place))


def damaged(error: Exception, place: Home) -> StoreFailed | None:
    """What to say if it is the database that stands in the way; damage may show only when a page is read."""
    return _unusable(error, place) if isinstance(error, soundness.UNREADABLE) else None


def _is_sound(connection: sqlite3.Connection, place: Home) -> bool:
    """Whether all was looked at and is as it was stored; False if there was no time for it. Raises `Damaged`."""
    deadline = time.monotonic() + CHECK_START_S
    try:
        wrong = soundness.check(connection, lambda: time.monotonic() > deadline)
    except soundness.Unfinished:
        return False
    if wrong:
        connection.close()
        raise Damaged(f"{place.database} is damaged: {wrong}", way_back(place))
    return True


def _keep_log(place: Home) -> None:
    """Raises `Damaged` if the log lost commits, and brings the rest to the disk. It is looked at before a connection
    that writes is open: that would bring in what can be read when it closes, and remove what cannot.
    """
    if lost := wal.lost_commits(place.database):
        raise Damaged(f"{place.database}-wal is damaged: it lost {wal.words(lost)}", way_back(place))
    wal.sync(place.database)


def unreadable(error: BaseException) -> StoreFailed | None:
    """What to answer if the database could not be read."""
    return translate(error) if isinstance(error, (sqlite3.Error, UnicodeDecodeError)) else None


class Store:
    """The open database."""

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader: sqlite3.Connection | None = reader
        self._jobs: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        """What the writer waits for; apart from the jobs, as some may wait for others to share their commit."""
        self._woken_later = False
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self.failure: StoreFailed | None = None
        """Why the last write failed; None once one succeeded again. What `coterie status` shows."""
        self.damage: Damaged | None = None
        """What was found to be wrong with the database while it served."""
        self._start()

    @classmethod
    def open(cls, place: Home, now: float) -> Store:
        """Open the database in `place`, making or migrating it. Raises `Unsafe` or `StoreFailed`; a database that
        a newer coterie wrote is left untouched.
        """
        restores.complete(place)
        os.close(open_private(place.database, os.O_RDWR))
        try:
            migrations.examine(place.database)
            _keep_log(place)
            writer = connect(place.database)
            checked = _is_sound(writer, place)
            migrations.migrate(writer, place, now)
            reader = connect(place.database, read_only=True)
        except soundness.UNREADABLE as error:
            raise _unusable(error, place) from error
        store = cls(writer, reader)
        if not checked:
            store.check_beside(place)
        return store

    @property
    def reader(self) -> sqlite3.Connection:
        """What reads. Raises `Unavailable` once the store is closed: the next daemon can be asked."""
        if self._reader is None:
            raise Unavailable("the daemon is leaving", "try again")
        return self._reader

    def write(self, job: Job[Result], *, soon: bool = False) -> asyncio.Future[Result]:
        """Have `job` run in the writer's thread. The future is done when its commit is on the disk, and fails with
        `StoreFailed` if nothing of it was stored. Jobs run in the order of the calls; one that need only be done `soon`
        waits COMPANY_S for others to share a commit with.
        """
        future: asyncio.Future[Result] = self._loop.create_future()
        self.write_then(job, partial(tell, future), soon=soon)
        return future

    def write_then(self, job: Job[Any], told: Told, *, soon: bool = False) -> None:
        """The same for who wants no future: `told` is called with the result, or with the error in its place."""
        if self._closing:
            told(None, Unavailable("the daemon is leaving", "try again"))
            return
        self._jobs.put((job, told))
        if not soon:
            self._wake.put(None)
        elif not self._woken_later:
            self._woken_later = True
            self._loop.call_later(COMPANY_S, self._wake_now)

    def _wake_now(self) -> None:
        self._woken_later = False
        self._wake.put(None)

    def check_beside(self, place: Home) -> None:
        """Look through the database in a thread of its own, on a connection that only reads."""
        threading.Thread(target=self._check, args=(place,), name="store-checker", daemon=True).start()

    def _check(self, place: Home) -> None:
        try:
            with contextlib.closing(copies.opened(place.database)) as connection:
                wrong = soundness.check(connection, lambda: self._closing)
        except (soundness.Unfinished, sqlite3.Error):  # It leaves; or it cannot be opened, which the work notices too.
            return
        if wrong:
            self.damage = Damaged(f"{place.database} is damaged: {wrong}", way_back(place))
            log.error("%s", self.damage)

    async def close(self) -> None:
        """Finish what is queued, and close. Later writes are refused."""
        self._closing = True
        self._jobs.put(None)
        self._wake.put(None)
        await self._finish()
        if self._reader:
            self._reader.close()
            self._reader = None
        self._writer.close()

    # --- the writer's thread ---------------------------------------------------------------------------------

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._write_all, name="store-writer", daemon=True)
        self._thread.start()

    async def _finish(self) -> None:
        await asyncio.to_thread(self._thread.join)

    def _write_all(self) -> None:
        more = True
        while more:
            self._wake.get()
            with contextlib.suppress(queue.Empty):  # Whoever else woke us has put its job there before.
                while True:
                    self._wake.get_nowait()
            batch, more = self._next_batch()
            if batch:
                results = self._commit(batch)
                self._loop.call_soon_threadsafe(self._tell, results)

    def _next_batch(self) -> tuple[list[Waiting], bool]:
        """Everything that waits; False when it is time to end."""
        batch: list[Waiting] = []
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._jobs.get_nowait()
                if item is None:
                    return batch, False
                batch.append(item)
                if len(batch) >= BATCH_MAX:
                    self._wake.put(None)  # There may be more, and whoever woke us for it is heard already.
                    break
        return batch, True

    def _commit(self, batch: list[Waiting]) -> list[Done]:
        """Run the batch in one transaction; if any of it fails, each by itself, so that one cannot fail another."""
        point("before-write")
        try:
            results = self._transaction([job for job, _ in batch])
        except Exception as error:  # noqa: BLE001 (it goes to whoever waits for the job; the writer must live on)
            if len(batch) == 1:
                return [(batch[0][1], None, _blame(error))]
            return [done for item in batch for done in self._commit([item])]
        return [(told, result, None) for (_, told), result in zip(batch, results, strict=True)]

    def _transaction(self, jobs: list[Job[Any]]) -> list[Any]:
        if self._writer.in_transaction:  # A disk that failed may have refused the rollback too.
            self._writer.execute("ROLLBACK")
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            results = [job(self._writer) for job in jobs]
            point("before-commit")
            self._writer.execute("COMMIT")
        except BaseException:
            # A full disk has already rolled back; a second rollback would be an error of its own.
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        point("after-commit")
        return results

    def _tell(self, results: list[Done]) -> None:
        for told, result, error in results:
            if error is None:
                self.failure = None
            elif isinstance(error, StoreFailed):
                self.failure = error
            try:
                told(result, error)
            except Exception:
                log.exception("a defect in what follows a write")


def _blame(error: Exception) -> CoterieError:
    if isinstance(error, CoterieError):
        return error
    if isinstance(error, sqlite3.Error):
        return translate(error)
    log.error("a defect in a write", exc_info=error)
    return Defect("coterie made a mistake and stored nothing; the details are in the daemon's log")
