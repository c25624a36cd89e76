"""The log cut off or torn at any place: it opens clean, with every commit before that and none after. A byte changed in
it: the same, or it is told that commits are lost; and that is told of nothing else.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conftest import Place
from coterie import ids
from coterie.errors import Damaged, StoreFailed
from coterie.files import Home
from coterie.store import messages as stored
from coterie.store import wal
from coterie.store.db import Store
from store import faults, mail

SEED = 31_415
SENT = 8


class Cut(NamedTuple):
    """A database and its log as a killed daemon left them."""

    home: Home
    database: bytes
    log: bytes
    frames: list[faults.Frame]
    stored: dict[int, list[str]]
    """The messages after each commit, by where its last frame ends; before the first under 0."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Mail that was accepted by a daemon, which was killed before it could bring the log into the file."""
    root = tmp_path_factory.mktemp("t")
    root.chmod(0o700)
    place = Place(root)
    try:
        place.start()
        connection = place.connect()
        sent = [ids.new_message_id() for _ in range(SENT)]
        for message in sent:
            connection.call("messages.send", {"id": message, "to": "me", "text": f"this is {message}"})
        place.kill()
    finally:
        place.close()
    database, log = (Path(place.home.database + end).read_bytes() for end in ("", "-wal"))
    found = faults.frames(log)
    ends = [0, *(frame.end for frame in found if frame.commits)]
    stored = {end: as_sqlite_reads(tmp_path_factory.mktemp("c"), database, log[:end]) for end in ends}
    assert stored[ends[-1]] == sent, "every accepted message is in the log"
    assert len(ends) > SENT
    return Cut(place.home, database, log, found, stored)


def as_sqlite_reads(folder: Path, database: bytes, log: bytes) -> list[str]:
    """The messages in a log that ends with a commit, in order."""
    faults.put(folder, {"coterie.db": database, "coterie.db-wal": log})
    with contextlib.closing(sqlite3.connect(folder / "coterie.db")) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'messages'").fetchone():
            return []
        return [row[0] for row in connection.execute("SELECT id FROM messages ORDER BY seq")]


def opened(cut: Cut, log: bytes) -> list[str]:
    """The messages that the daemon finds after this happened to the log; all else is as good as before."""
    faults.put(Path(cut.home.folder), {"coterie.db": cut.database, "coterie.db-wal": log})

    async def look(store: Any) -> list[str]:
        found = [row["id"] for row in store.reader.execute("SELECT id FROM messages ORDER BY seq")]
        texts = {row["id"]: row["text"] for row in store.reader.execute("SELECT id, text FROM messages")}
        assert all(texts[message] == f"this is {message}" for message in found)
        assert store.reader.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        await store.write(lambda connection: connection.execute("UPDATE indexed SET upto = upto"))
        return found

    return list(mail.using(cut.home, look))


def opened_or_told(cut: Cut, log: bytes) -> list[str] | str:
    """What it finds, or what it says of the damage; it says so again and again, and leaves the log as it is."""
    try:
        return opened(cut, log)
    except Damaged as error:
        told = error
    assert "coterie restore --salvage" in told.hint
    assert Path(cut.home.database + "-wal").read_bytes() == log
    return told.message


def expected(cut: Cut, damaged_at: int) -> list[str]:
    """What was stored by the last commit that lies before the damage."""
    return cut.stored[max(end for end in cut.stored if end <= damaged_at)]


def edges(cut: Cut) -> list[int]:
    """The edge of every frame, the last byte before and the first after it; and those of the log's own header."""
    ends = [0, faults.WAL_HEADER, *(frame.end for frame in cut.frames)]
    near = sorted({at for end in ends for at in (end - 1, end, end + 1)})
    return [at for at in near if 0 <= at <= len(cut.log)]


@pytest.mark.promise("D10")
def test_cut_off_at_commits_and_beside_them(killed: Cut) -> None:
    ends = set(killed.stored)
    for at in (at for at in edges(killed) if {at - 1, at, at + 1} & ends):
        assert opened(killed, killed.log[:at]) == expected(killed, at), f"cut off at {at}"


@pytest.mark.soak
def test_cut_off_at_every_frame_and_beside_it(killed: Cut) -> None:
    for at in edges(killed):
        assert opened(killed, killed.log[:at]) == expected(killed, at), f"cut off at {at}"


def flip(cut: Cut, at: int, mask: int) -> None:
    # What a frame says is only believed with the whole of it.
    start = max((frame.start for frame in cut.frames if frame.start <= at), default=0)
    behind = sum(frame.commits for frame in cut.frames if frame.start >= start)
    ends = any(frame.commits for frame in cut.frames if frame.start == start)
    found = opened_or_told(cut, faults.flipped(cut.log, at, mask))
    if behind > 2 or (behind == 2 and not ends):
        assert "is damaged" in found, f"byte {at} ^ {mask:#x}: {behind} commits are lost, and nobody is told"
    elif "is damaged" not in found:
        assert found == expected(cut, start), f"byte {at} ^ {mask:#x}"


def flips(cut: Cut, count: int) -> None:
    for at, mask in faults.flips(SEED, len(cut.log), count):
        flip(cut, at, mask)


def test_a_byte_changed_in_it(killed: Cut) -> None:
    flips(killed, 20)


FIELDS = {"page": 3, "size": 7, "salt": 12, "checksum": 20}
"""A byte of each field in a frame's header."""


@pytest.mark.parametrize("field", FIELDS)
def test_a_byte_changed_in_the_header_of_a_frame(killed: Cut, field: str) -> None:
    *_, before, _, _ = killed.stored
    for frame in (frame for frame in killed.frames if frame.start >= before):  # Of the last two commits.
        flip(killed, frame.start + FIELDS[field], 1)


@pytest.mark.promise("D10")
@pytest.mark.soak
def test_bytes_changed_all_over_it(killed: Cut) -> None:
    flips(killed, 1_000)


def test_a_tail_that_was_never_written(killed: Cut) -> None:
    """File systems may keep a file's length and lose its bytes."""
    for end in list(killed.stored)[1:]:
        assert opened(killed, killed.log[:end] + b"\0" * (len(killed.log) - end)) == killed.stored[end]


# --- nothing is lost ---------------------------------------------------------------------------------------------


SECTOR = 512
"""What a disk writes whole, or not at all."""
TEARS = 12


class Torn(NamedTuple):
    """What a power cut in the middle of a commit left."""

    database: bytes
    log: bytes
    kept: str
    """The message that was accepted before it."""
    torn: str
    """The message in the commit that it tore."""


async def torn(store: Store, path: Path, chance: random.Random) -> Torn:
    """Have a message accepted, and the next one torn: of the sectors that its commit writes, the disk has some."""
    kept = await mail.send(store, 0)
    log = Path(f"{path}-wal")
    before = log.read_bytes()
    messages = [mail.new_message(0, "x" * chance.randrange(20_000)) for _ in range(chance.randrange(1, 4))]
    await store.write(lambda connection: stored.accept(connection, messages[0].id, messages, None))
    after = log.read_bytes()
    sectors = [
        (after if chance.random() < 0.7 else before)[at : at + SECTOR].ljust(SECTOR, b"\0")
        for at in range(0, len(after), SECTOR)
    ]
    return Torn(path.read_bytes(), b"".join(sectors)[: len(after)], kept, messages[0].id)


@pytest.mark.promise("D10")
@pytest.mark.parametrize("seed", range(3))
def test_torn_again_and_again(place: Place, seed: int) -> None:
    """Tails of torn commits stay in the log behind what is written next; they are no lost commits."""
    chance = random.Random(seed)
    path = Path(place.home.database)
    kept: list[str] = []
    maybe = ""

    async def once(store: Store) -> Torn:
        found = [row["id"] for row in store.reader.execute("SELECT id FROM messages ORDER BY seq")]
        assert [message for message in found if message in kept] == kept
        if maybe in found:
            kept.append(maybe)
        return await torn(store, path, chance)

    for _ in range(TEARS):
        left = mail.using(place.home, once)
        kept.append(left.kept)
        maybe = left.torn
        faults.put(path.parent, {"coterie.db": left.database, "coterie.db-wal": left.log})
    assert wal.lost_commits(str(path)) == 0


def test_what_the_database_has_is_not_lost_with_the_log(killed: Cut, tmp_path: Path) -> None:
    """All of it was brought into the database, and then the log was damaged where it begins."""
    faults.put(tmp_path, {"coterie.db": killed.database, "coterie.db-wal": killed.log})
    with contextlib.closing(sqlite3.connect(tmp_path / "coterie.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        database = (tmp_path / "coterie.db").read_bytes()
        log = (tmp_path / "coterie.db-wal").read_bytes()
    assert log == killed.log
    everything = list(killed.stored.values())[-1]
    for at in (3, 10, 17, 29, faults.WAL_HEADER + 3, faults.WAL_HEADER + 20, faults.WAL_HEADER + 3_000):
        assert opened(killed._replace(database=database), faults.flipped(log, at, 1)) == everything, f"byte {at}"


ASKS = """
import sys
from coterie.store import wal
print(sum(wal.lost_commits(sys.argv[1]) for _ in range(1_000)))
"""


def test_what_is_being_written_is_not_lost(place: Place) -> None:
    """Asked by another process while a daemon writes, brings the log into the database, and begins it anew."""

    async def begin(store: Store) -> None:
        await mail.send(store, 0)

    async def write(store: Store) -> None:
        await store.write(lambda connection: connection.execute("PRAGMA wal_autocheckpoint = 8").fetchone())
        while asks.poll() is None:
            await mail.send(store, 0)

    mail.using(place.home, begin)
    command = [sys.executable, "-P", "-c", ASKS, place.home.database]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asks:
        mail.using(place.home, write)
        assert asks.stdout
        assert asks.stdout.read() == "0\n"
    assert asks.returncode == 0


def test_what_came_while_it_was_looked_at_is_not_lost(
    place: Place, killed: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(place.home.database)
    faults.put(path.parent, {"coterie.db": killed.database, "coterie.db-wal": killed.log})
    look = wal._lost
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:

        def late(*seen: Any) -> int:
            for number in range(3):
                connection.execute(f"CREATE TABLE more{number} (x)")
            assert look(*seen) == 2, "or nothing is shown"
            return look(*seen)

        monkeypatch.setattr(wal, "_lost", late)
        assert wal.lost_commits(str(path)) == 0


# --- written and not synced --------------------------------------------------------------------------------------


def test_what_a_killed_daemon_did_not_sync_is_synced_before_it_is_read(
    killed: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a message that is sent again would be answered for as stored, and a power cut could still take it."""
    synced = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    faults.put(Path(killed.home.folder), {"coterie.db": killed.database, "coterie.db-wal": killed.log})
    log = os.stat(killed.home.database + "-wal").st_ino

    async def look(store: Store) -> None:
        assert log in synced

    mail.using(killed.home, look)


def test_a_log_that_cannot_be_synced_is_not_read(killed: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    faults.put(Path(killed.home.folder), {"coterie.db": killed.database, "coterie.db-wal": killed.log})
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StoreFailed, match="cannot be brought to the disk"):
        mail.using(killed.home, lambda store: store.write(lambda connection: None))
