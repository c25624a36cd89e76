"""How the database is, told without changing it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Place
from coterie import ids
from coterie.store import health, soundness
from coterie.store.migrations import newest_version


@pytest.fixture
def database(place: Place) -> Path:
    """The database of a daemon that ended in good order."""
    daemon = place.start()
    place.connect().call("messages.send", {"id": ids.new_message_id(), "to": "me", "text": "a note"})
    daemon.terminate()
    daemon.wait()
    return Path(place.home.database)


def asked(path: Path) -> dict[str, Any]:
    """As the command asks."""
    command = [sys.executable, "-P", "-m", "coterie.store.health", str(path)]
    told: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    return told


def beside(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}


def test_one_that_is_whole_is_left_as_it_is(database: Path) -> None:
    before = beside(database)
    told = asked(database)
    assert (told["whole"], told["schema"], told["problem"]) == (True, newest_version(), None)
    assert told["bytes"] == database.stat().st_size
    assert told["sqlite"] == sqlite3.sqlite_version
    assert beside(database) == before


def test_one_that_a_daemon_has_open_is_looked_at_with_its_log(place: Place) -> None:
    place.start()
    place.connect().call("messages.send", {"id": ids.new_message_id(), "to": "me", "text": "a note"})
    told = health.health(place.home.database)
    assert (told["whole"], told["schema"]) == (True, newest_version())
    assert told["bytes"] > Path(place.home.database).stat().st_size


@pytest.mark.parametrize("content", [None, b""])
def test_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "c.db").write_bytes(content)
    told = health.health(str(tmp_path / "c.db"))
    assert (told["bytes"], told["problem"]) == (None, None)


def test_a_damaged_page(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\xff" * 4096 * 2
    database.write_bytes(content)
    told = asked(database)
    assert f"{database} is damaged: " in told["problem"]["message"]
    salvage, anew = told["problem"]["hint"].split("; ")
    assert salvage == "coterie restore --salvage keeps what can still be read"
    assert anew == f"to begin anew: mv {database} {database}.damaged"


def test_somebody_elses(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "c.db")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    assert "is not a coterie database" in health.health(str(tmp_path / "c.db"))["problem"]["message"]


def test_a_newer_one(database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "written by a newer coterie (schema 99" in asked(database)["problem"]["message"]


def test_one_that_takes_too_long_is_neither_whole_nor_damaged(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundness, "STEPS", 1)
    told = health.health(str(database), wait_s=-1)
    assert (told["schema"], told["whole"], told["problem"]) == (newest_version(), None, None)
