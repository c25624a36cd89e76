"""A copy takes the place of the database whole or not at all, wherever it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Place
from coterie import ids
from coterie.errors import Damaged, StoreFailed
from coterie.messages import State
from coterie.store import backup, copies, migrations, restores, salvage, ways
from coterie.store import messages as stored
from store import faults, mail

IN_THE_LOG = ids.new_message_id()
INTERRUPTED = """
import sys
from coterie import points
from coterie.store import backup
if sys.argv[1:2]:
    points.arm(sys.argv[1], int(sys.argv[2]))
print(backup.main(sys.argv[3:]))
"""


def run(place: Place, point: str, visit: int, *arguments: str) -> int:
    """One step of a restore, in a process that is killed at a point."""
    command = [sys.executable, "-P", "-c", INTERRUPTED, point, str(visit), *arguments]
    return subprocess.run(command, check=False, env=place.environ, timeout=60, capture_output=True).returncode


async def _ids(store: Any) -> list[str]:
    return [row["id"] for row in store.reader.execute("SELECT id FROM messages ORDER BY seq")]


async def _more(store: Any) -> str:
    return await mail.send(store, 4)


def leave_a_log(place: Place) -> list[str]:
    """Mail that only the log of a killed daemon knows; returns all ids that there are then."""
    place.start()
    place.connect().call("messages.send", {"id": IN_THE_LOG, "to": "me", "text": "only in the log"})
    place.kill()
    assert os.path.getsize(place.home.database + "-wal") > 0
    return read_aside(place.home.database)


def read_aside(path: str) -> list[str]:
    """The messages in a database with its log, if it has one."""
    alone = not os.path.exists(path + "-wal")
    connection = copies.opened(path, alone=alone)
    try:
        return [row[0] for row in connection.execute("SELECT id FROM messages ORDER BY seq")]
    finally:
        connection.close()


@pytest.fixture
def copied(place: Place) -> tuple[list[str], str]:
    """A database with a copy of it, and the ids in both."""
    there = mail.using(place.home, lambda store: mail.fill(store, 6))
    made = backup.make("", place.home)
    return there, made["file"]


@pytest.mark.promise("D11")
def test_killed_at_any_point_it_is_the_old_or_the_new_one(place: Place, copied: tuple[list[str], str]) -> None:
    before, copy = copied
    now = [*before, IN_THE_LOG]
    assert leave_a_log(place) == now
    files = {name: Path(place.home.folder, name).read_bytes() for name in ("coterie.db", "coterie.db-wal")}
    outcomes = []
    for visit in range(1, 20):
        faults.put(Path(place.home.folder), files)
        backup.ready(copy, place.home)
        ended = run(place, "restore-step", visit, "put")
        found = mail.using(place.home, _ids)
        assert found in (now, before), f"killed at step {visit}"
        outcomes.append(found == before)
        kept = [path for path in ways.copies(place.home) if ways.REPLACED in path]
        if found == before:
            assert read_aside(kept[0]) == now, "what was replaced is kept, its log included"
        for path in kept:
            Path(path).unlink()
            copies.discard(path + "-wal")
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    else:
        pytest.fail("it never came to its end")
    assert outcomes == sorted(outcomes), "from one step on it is the new one"
    assert len(outcomes) > 5
    assert outcomes[0] is False
    assert outcomes[-1] is True


@pytest.mark.promise("D11")
@pytest.mark.parametrize("point", ["copy-written"])
def test_killed_while_a_copy_is_made_nothing_has_its_name(
    place: Place, copied: tuple[list[str], str], point: str
) -> None:
    before, copy = copied
    for arguments in (("make", ""), ("ready", copy)):
        assert run(place, point, 1, *arguments) == -signal.SIGKILL
        assert ways.copies(place.home) == [copy]
        assert mail.using(place.home, _ids) == before
        backup.make(str(place.root / arguments[0]), place.home)  # What it left is no obstacle.


def test_a_copy_is_private_whole_and_left_alone(place: Place, copied: tuple[list[str], str]) -> None:
    umask = os.umask(0)
    try:
        made = backup.make(str(place.root / "mine.db"), place.home)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.lstat(made["file"]).st_mode) == 0o600
    assert (made["messages"], made["peers"], made["schema"]) == (6, 3, migrations.newest_version())
    assert mail.read(made["file"]) == mail.read(place.home.database)
    with pytest.raises(StoreFailed, match="is there already"):
        backup.make(made["file"], place.home)
    assert os.listdir(place.root / "home" / "backups") == [os.path.basename(copied[1])]


def test_what_is_lost_is_counted(place: Place, copied: tuple[list[str], str]) -> None:
    mail.using(place.home, _more)
    ready = backup.ready(copied[1], place.home)
    assert (ready["messages"], ready["lost"], ready["again"]) == (6, 1, 0)
    assert os.path.exists(restores.ready_at(place.home))
    backup.drop(place.home)
    assert not os.path.exists(restores.ready_at(place.home))


def test_what_was_read_since_is_counted(place: Place, copied: tuple[list[str], str]) -> None:
    unread = mail.using(place.home, _first_unread)
    ready = backup.ready(copied[1], place.home)
    assert (ready["lost"], ready["again"]) == (0, 1)
    restores.decide(place.home)
    assert mail.read(place.home.database)["counts"]["queued"] > 0
    assert unread in {message for box in mail.read(place.home.database)["unread"] for message in box}


async def _first_unread(store: Any) -> str:
    query = "SELECT id FROM messages WHERE state = 'queued' ORDER BY seq LIMIT 1"
    message = str(store.reader.execute(query).fetchone()["id"])
    await store.write(lambda connection: stored.move(connection, message, State.EXPIRED, "it was late", mail.NOW))
    return message


def test_a_damaged_copy_is_refused(place: Place, copied: tuple[list[str], str]) -> None:
    path = Path(copied[1])
    path.write_bytes(path.read_bytes().replace(b"the port is 8001", b"the port is 8007"))
    with pytest.raises(Damaged, match="do not say what was stored"):
        backup.ready(str(path), place.home)
    assert not os.path.exists(restores.ready_at(place.home))


@pytest.mark.parametrize("content", [b"", b"no database" * 500], ids=["empty", "text"])
def test_what_is_no_copy_is_refused(place: Place, copied: tuple[list[str], str], content: bytes) -> None:
    other = place.root / "other"
    other.write_bytes(content)
    with pytest.raises(StoreFailed):
        backup.ready(str(other), place.home)
    with pytest.raises(StoreFailed, match="cannot be read"):
        backup.ready(str(place.root / "none"), place.home)


def test_a_damaged_database_makes_no_copy(place: Place, copied: tuple[list[str], str]) -> None:
    path = Path(place.home.database)
    path.write_bytes(path.read_bytes().replace(b"the port is 8001", b"the port is 8007"))
    with pytest.raises(Damaged):
        backup.make(str(place.root / "copy.db"), place.home)
    assert os.listdir(place.root) == ["home"]


def test_the_newest_good_copy_is_named(place: Place, copied: tuple[list[str], str]) -> None:
    later = Path(place.home.backups, "coterie-later.db")
    later.write_bytes(b"no database" * 500)
    assert ways.newest(place.home) == copied[1]
    assert f"coterie restore {os.path.basename(copied[1])}" in ways.way_back(place.home)


# --- salvage ----------------------------------------------------------------------------------------------------------


def salvaged(place: Place) -> list[str]:
    salvage.salvage(place.home)
    restores.decide(place.home)
    return list(mail.using(place.home, _ids))


def test_a_row_that_was_changed_is_left_behind_and_the_others_are_kept(place: Place) -> None:
    there = mail.using(place.home, lambda store: mail.fill(store, 30))
    path = Path(place.home.database)
    path.write_bytes(path.read_bytes().replace(b"the port is 8001", b"the port is 8007"))
    assert salvaged(place) == [message for number, message in enumerate(there) if number != 1]


def test_pages_that_were_destroyed_take_only_their_own_rows(place: Place) -> None:
    there = mail.using(place.home, lambda store: mail.fill(store, 200))
    path = Path(place.home.database)
    content = path.read_bytes()
    lost = content.index(b"the port is 8100") // 4096
    path.write_bytes(content[: lost * 4096] + b"\xee" * 4096 + content[(lost + 1) * 4096 :])
    with pytest.raises(Damaged):
        mail.using(place.home, _ids)
    found = salvaged(place)
    assert set(found) <= set(there)
    assert found == sorted(found, key=there.index)
    assert len(found) >= 170


def test_nothing_that_can_be_read_is_said_so(place: Place) -> None:
    mail.using(place.home, lambda store: mail.fill(store, 3))
    path = Path(place.home.database)
    path.write_bytes(b"\xee" * path.stat().st_size)
    told = subprocess.run(
        [sys.executable, "-P", "-m", "coterie.store.backup", "salvage"],
        env=place.environ,
        check=True,
        capture_output=True,
    )
    error = json.loads(told.stdout)["error"]
    assert "nothing can be read" in error["message"] or "cannot be" in error["message"]
    assert told.stderr == b""
    assert not os.path.exists(restores.ready_at(place.home))
