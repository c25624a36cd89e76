"""The database: durable settings, group commit, neighbours that cannot hurt each other, and what failures mean."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from conftest import Place
from coterie.errors import BadInput, Defect, DiskFull, StoreFailed, Unavailable
from coterie.limits import BATCH_MAX, BUSY_MS, WAL_BYTES_MAX
from coterie.store import db
from coterie.store.db import Store

NOW = 1_800_000_000.0
TABLE = "CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY CHECK (number < 1000)) STRICT"
WAIT_S = 20


@contextlib.asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Store]:
    """The store of a home, with a table for the test."""
    store = Store.open(place.home, NOW)
    try:
        await store.write(lambda connection: connection.execute(TABLE))
        yield store
    finally:
        await store.close()


def run(place: Place, use: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    """Run `use` with the store of a home."""

    async def main() -> None:
        async with opened(place) as store:
            await asyncio.wait_for(use(store), WAIT_S)

    asyncio.run(main())


def insert(number: int) -> Callable[[sqlite3.Connection], int]:
    """A job that stores a number."""

    def job(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        return number

    return job


def fail(error: BaseException) -> Callable[[sqlite3.Connection], None]:
    """A job that stores a number of its own and then fails."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES (666)")
        raise error

    return job


def on_disk(place: Place) -> list[int]:
    """The numbers that another process would find."""
    with contextlib.closing(sqlite3.connect(f"file:{place.home.database}?mode=ro", uri=True)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number")]


class Gate:
    """A job that holds the writer's thread, so that what is written meanwhile is one batch."""

    def __init__(self, store: Store) -> None:
        self.statements: list[str] = []
        self._entered, self._open = threading.Event(), threading.Event()
        self.passed = store.write(self._hold)
        assert self._entered.wait(WAIT_S)

    def _hold(self, connection: sqlite3.Connection) -> None:
        self._entered.set()
        assert self._open.wait(WAIT_S)
        connection.set_trace_callback(self.statements.append)

    def open(self) -> None:
        self._open.set()

    def commits(self) -> int:
        """Commits since it opened, its own not counted."""
        return self.statements.count("COMMIT") - 1


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.promise("D1")
def test_a_commit_returns_after_its_fsync(place: Place) -> None:
    """The settings as they are in force on the connection that writes, not as they were asked for."""

    async def use(store: Store) -> None:
        def settings(connection: sqlite3.Connection) -> dict[str, object]:
            names = ("journal_mode", "foreign_keys", "busy_timeout", "journal_size_limit")
            return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

        assert await store.write(settings) == {
            "journal_mode": "wal",
            "foreign_keys": 1,
            "busy_timeout": BUSY_MS,
            "journal_size_limit": WAL_BYTES_MAX,
        }

    run(place, use)


@pytest.mark.promise("D1")
def test_synchronous_is_full(place: Place) -> None:
    async def use(store: Store) -> None:
        # Asked for outside a transaction, where it is what the next commit will do.
        assert store._writer.execute("PRAGMA synchronous").fetchone()[0] == 2

    run(place, use)


def test_macos_is_told_to_flush_the_drive_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    os.close(os.open(place.home.database, os.O_CREAT | os.O_RDWR, 0o600))
    with contextlib.closing(db.connect(place.home.database)) as connection:
        for setting in ("fullfsync", "checkpoint_fullfsync"):
            assert connection.execute(f"PRAGMA {setting}").fetchone()[0] == 1


@pytest.mark.promise("D5")
def test_the_reading_connection_cannot_write(place: Place) -> None:
    async def use(store: Store) -> None:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            store.reader.execute("DELETE FROM numbers")

    run(place, use)


def test_a_home_whose_name_means_something_in_a_uri(place: Place) -> None:
    odd = os.path.join(place.root, "100%?mode=ro#home")
    os.mkdir(odd, 0o700)
    place.home.database = os.path.join(odd, "coterie.db")

    async def use(store: Store) -> None:
        await store.write(insert(1))

    run(place, use)
    assert on_disk_of(place.home.database) == [1]


def on_disk_of(path: str) -> list[int]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers")]


def test_its_files_are_ours_alone_whatever_the_umask(place: Place) -> None:
    before = os.umask(0)
    try:

        async def use(store: Store) -> None:
            await store.write(insert(1))
            found = {name: os.lstat(f"{place.home.folder}/{name}").st_mode for name in os.listdir(place.home.folder)}
            assert {name: oct(stat.S_IMODE(mode)) for name, mode in found.items()} == {
                "coterie.db": "0o600",
                "coterie.db-wal": "0o600",
                "coterie.db-shm": "0o600",
            }

        run(place, use)
    finally:
        os.umask(before)


# --- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("D1")
def test_a_write_is_on_the_disk_when_it_is_answered(place: Place) -> None:
    async def use(store: Store) -> None:
        for number in range(5):
            assert await store.write(insert(number)) == number
            assert on_disk(place) == list(range(number + 1))

    run(place, use)


def test_writes_that_wait_together_share_a_commit(place: Place) -> None:
    async def use(store: Store) -> None:
        gate = Gate(store)
        written = [store.write(insert(number)) for number in range(100)]
        gate.open()
        assert await asyncio.gather(*written) == list(range(100))
        assert gate.commits() == 1

    run(place, use)
    assert on_disk(place) == list(range(100))


def test_a_batch_is_bounded(place: Place) -> None:
    async def use(store: Store) -> None:
        gate = Gate(store)
        written = [store.write(insert(number)) for number in range(BATCH_MAX + 1)]
        gate.open()
        await asyncio.gather(*written)
        assert gate.commits() == 2

    run(place, use)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadInput("the job says no"), BadInput),
        (sqlite3.IntegrityError("a constraint"), StoreFailed),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), Defect),
        (ZeroDivisionError("a defect in the job"), Defect),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_job_that_fails_fails_alone(place: Place, error: Exception, kind: type[Exception]) -> None:
    """Its neighbours in the batch are stored, nothing of its own is, and the writer lives on."""

    async def use(store: Store) -> None:
        gate = Gate(store)
        before, failing, after = store.write(insert(1)), store.write(fail(error)), store.write(insert(2))
        gate.open()
        with pytest.raises(kind) as caught:
            await failing
        assert type(caught.value) is kind
        assert await asyncio.gather(before, after) == [1, 2]
        assert await store.write(insert(3)) == 3

    run(place, use)
    assert on_disk(place) == [1, 2, 3]


def test_what_the_details_of_a_defect_were_stays_in_the_log(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def use(store: Store) -> None:
        with pytest.raises(Defect) as caught:
            await store.write(fail(ZeroDivisionError("the secret detail")))
        assert "secret" not in str(caught.value)

    run(place, use)
    assert "the secret detail" in caplog.text


def test_a_caller_that_gave_up_keeps_nobody_from_their_answer(place: Place) -> None:
    async def use(store: Store) -> None:
        gate = Gate(store)
        given_up, other = store.write(insert(1)), store.write(insert(2))
        given_up.cancel()
        gate.open()
        assert await other == 2

    run(place, use)
    assert on_disk(place) == [1, 2]


# --- closing -------------------------------------------------------------------------------------------------------


def test_closing_finishes_what_is_queued_and_refuses_what_comes_later(place: Place) -> None:
    async def main() -> None:
        async with opened(place) as store:
            gate = Gate(store)
            queued = [store.write(insert(number)) for number in range(BATCH_MAX + 10)]
            closing = asyncio.ensure_future(store.close())
            await asyncio.sleep(0)  # It has begun.
            with pytest.raises(Unavailable):
                await store.write(insert(999))
            gate.open()
            await asyncio.wait_for(closing, WAIT_S)
            assert await asyncio.gather(*queued) == list(range(BATCH_MAX + 10))
            with pytest.raises(Unavailable):
                await store.write(insert(999))

    asyncio.run(main())
    assert os.listdir(place.home.folder) == ["coterie.db"], "closing leaves one whole file"
    assert on_disk(place) == list(range(BATCH_MAX + 10))


# --- trouble -------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_lies_about_nothing(place: Place) -> None:
    """A disk without room, as SQLite itself makes one: at each size, what was accepted is what is stored."""

    async def use(store: Store) -> None:
        accepted = []
        await store.write(lambda connection: connection.execute("CREATE TABLE texts (number INTEGER, text TEXT)"))

        def put(number: int) -> Callable[[sqlite3.Connection], object]:
            row = (number, "x" * 3000)
            return lambda connection: connection.execute("INSERT INTO texts VALUES (?, ?)", row) and None

        for number in range(60):
            pages = store._writer.execute("PRAGMA page_count").fetchone()[0] + number % 2
            store._writer.execute(f"PRAGMA max_page_count = {pages}")
            error = (await asyncio.gather(store.write(put(number)), return_exceptions=True))[0]
            assert error is store.failure
            if error is None:
                accepted.append(number)
            else:
                assert isinstance(error, DiskFull)
                assert "nothing was stored" in error.message
                assert error.hint == "make room, and send it again"
        assert 0 < len(accepted) < 60
        assert [n for (n,) in store.reader.execute("SELECT number FROM texts ORDER BY 1")] == accepted

    run(place, use)


def test_the_trouble_is_over_when_a_write_succeeded_and_not_before(place: Place) -> None:
    async def use(store: Store) -> None:
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        with pytest.raises(DiskFull) as caught:
            await store.write(fail(full))
        with pytest.raises(BadInput):
            await store.write(fail(BadInput("not the disk's fault, and no proof of room")))
        assert store.failure is caught.value
        await store.write(insert(1))
        assert store.failure is None

    run(place, use)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, DiskFull),
        (sqlite3.SQLITE_IOERR | 3 << 8, StoreFailed),  # SQLITE_IOERR_WRITE: no promise of what is stored
        (sqlite3.SQLITE_BUSY, StoreFailed),
        (None, StoreFailed),
    ],
)
def test_what_failures_of_sqlite_mean(code: int | None, kind: type[StoreFailed]) -> None:
    error = sqlite3.OperationalError("as SQLite says it")
    if code is not None:
        error.sqlite_errorcode = code
        error.sqlite_errorname = "SQLITE_NAME"
    found = db.translate(error)
    assert type(found) is kind
    assert ("SQLITE_NAME" if code is not None else "OperationalError") in found.message
