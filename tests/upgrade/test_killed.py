"""An upgrade from every earlier schema, killed at every statement, is whole or undone; the next start finishes it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Place
from coterie.store import copies, migrations, seals, soundness
from store import mail
from upgrade.test_upgrade import RELEASED, as_on_its_day

EARLIER = [path for path in RELEASED if path.stem != f"schema{migrations.newest_version()}"]

UPGRADE = """
import asyncio, sys
from coterie import points
from coterie.files import Home
from coterie.store.db import Store
points.arm(sys.argv[2], int(sys.argv[3]))
async def main():
    await Store.open(Home(sys.argv[1]), 1.8e9).close()
asyncio.run(main())
"""


def version_of(path: Path) -> int:
    return int(path.stem.removeprefix("schema"))


def upgrade(place: Place, point: str, visit: int) -> int:
    """Open the database in a process that is killed there; returns how it ended."""
    command = [sys.executable, "-P", "-c", UPGRADE, place.home.folder, point, str(visit)]
    return subprocess.run(command, check=False, env=place.environ, timeout=60).returncode


def put(place: Place, database: Path) -> None:
    """A home with a copy of an old database and nothing else."""
    shutil.rmtree(place.home.backups, ignore_errors=True)
    for old in Path(place.home.folder).glob("coterie.db*"):
        old.unlink()
    shutil.copyfile(database, place.home.database)
    Path(place.home.database).chmod(0o600)


def said(path: str | Path) -> tuple[int, list[Any]]:
    """The version of a database, and all that the first schema tells of its mail and its peers."""
    alone = not Path(f"{path}-wal").exists()
    with contextlib.closing(copies.opened(str(path), alone=alone)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        messages = (
            "SELECT seq, id, sender, recipient, thread, text, state, reason, accepted_at FROM messages ORDER BY seq"
        )
        offers = "SELECT message, number, carrier, outcome, reason FROM offers ORDER BY message, number"
        peers = "SELECT id, name, kind, state, role, summary FROM peers ORDER BY id"
        found = [connection.execute(query).fetchall() for query in (messages, offers, peers)]
        return migrations.version_of(connection), found


def statements_between(version: int) -> list[int]:
    """The version that each statement of an upgrade leads away from."""
    found = []
    for number, sql in migrations.steps()[version:]:
        count = len(migrations.statements(sql)) + (number == seals.SINCE)
        found += [number - 1] * count
    return found


@pytest.mark.promise("D12")
@pytest.mark.parametrize("database", EARLIER, ids=lambda path: path.stem)
def test_killed_at_every_statement(place: Place, database: Path) -> None:
    mail_then = said(database)[1]
    expected = statements_between(version_of(database))
    assert len(expected) > 5
    for visit, version in enumerate(expected, start=1):
        put(place, database)
        assert upgrade(place, "migration-statement", visit) == -signal.SIGKILL
        assert said(place.home.database) == (version, mail_then), f"killed at statement {visit}"
        (backup,) = Path(place.home.backups).glob("*.db")
        assert said(backup) == (version_of(database), mail_then), "the backup made first is whole"
        finish(place, mail_then)


@pytest.mark.parametrize("database", EARLIER, ids=lambda path: path.stem)
def test_killed_before_its_backup_has_a_name(place: Place, database: Path) -> None:
    put(place, database)
    assert upgrade(place, "copy-written", 1) == -signal.SIGKILL
    assert list(Path(place.home.backups).glob("*.db")) == [], "what is not known to be whole has no name"
    assert said(place.home.database) == said(database)
    finish(place, said(database)[1])


def finish(place: Place, mail_then: list[Any]) -> None:
    """The next start ends what was begun; every row is sealed."""

    async def nothing(store: Any) -> None:
        pass

    mail.using(place.home, nothing)
    assert said(place.home.database) == (migrations.newest_version(), mail_then)
    with contextlib.closing(copies.opened(place.home.database)) as connection:
        assert soundness.check(connection, lambda: False) is None


@pytest.mark.parametrize("database", EARLIER, ids=lambda path: path.stem)
def test_a_daemon_that_was_killed_in_it_is_followed_by_one_that_serves(place: Place, database: Path) -> None:
    put(place, database)
    place.start("--crash-at", "migration-statement:5", patch=as_on_its_day(database))
    assert place.daemons[-1].wait(20) == -signal.SIGKILL
    place.start(patch=as_on_its_day(database))
    assert place.connect().call("daemon.status")["schema"] == migrations.newest_version()
