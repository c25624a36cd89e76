"""The schema's two roads meet, a migration is all or nothing with a backup first, and what is not ours is untouched."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from conftest import Place
from coterie.errors import Damaged, NewerDatabase, StoreFailed, Unsafe
from coterie.store import migrations, seals
from coterie.store.db import Store
from coterie.store.migrations import APPLICATION_ID, newest_version, statements, steps

NOW = 1_800_000_000.0
STAMP = "20270115T080000Z"
OUR_STEPS = steps()
PEER = "INSERT INTO peers (id, name, kind, state, since, seen) VALUES ('p_1', 'bob', 'x', 'live', 1, 2)"
NEXT = (
    """
-- A comment; with a semicolon in it.
CREATE TABLE colours (name TEXT PRIMARY KEY, code TEXT NOT NULL DEFAULT ';') STRICT;
ALTER TABLE peers ADD COLUMN colour TEXT REFERENCES colours(name);
INSERT INTO colours (name, code) VALUES ('red', '#f00');
CREATE TRIGGER no_green BEFORE INSERT ON colours WHEN new.name = 'green' BEGIN
    SELECT raise(ABORT, 'no green');
    SELECT 1;
END;
""",
    """
CREATE TABLE shades (colour TEXT NOT NULL REFERENCES colours(name)) STRICT;
INSERT INTO shades SELECT name FROM colours;
DROP TRIGGER no_green;
""",
)
"""Two steps of a release to come."""


def connection(path: str | Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None))


def schema(path: str | Path) -> tuple[object, ...]:
    """All that makes a schema: the version, the mark, and every object as it was written."""
    with connection(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
        marks = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")]
        return (*marks, database.execute(query).fetchall())


def build(path: str, known: list[tuple[int, str]]) -> None:
    """Make a database by its steps, run by SQLite's own reader of scripts and not by ours."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with connection(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        for number, sql in known:
            database.executescript(sql)
            database.execute(f"PRAGMA user_version = {number}")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def add_data(path: str) -> None:
    with connection(path) as database:
        database.execute(PEER)
        if database.execute("PRAGMA user_version").fetchone()[0] >= seals.SINCE:
            seals.teach(database)
            seals.seal_all(database)


def has_data(path: str | Path) -> bool:
    with connection(path) as database:
        return database.execute("SELECT name FROM peers").fetchall() == [("bob",)]


def open_and_close(place: Place) -> None:
    async def main() -> None:
        store = Store.open(place.home, NOW)
        await store.close()

    asyncio.run(main())


def fresh_schema(place: Place) -> tuple[object, ...]:
    """The schema of a database that was made just now."""
    root = place.root / "fresh"
    root.mkdir()
    fresh = Place(root)
    open_and_close(fresh)
    return schema(fresh.home.database)


def contents(folder: str) -> dict[str, str]:
    """Every file and the digest of its bytes. SQLite's index of the WAL is no data: it is made anew by each reader."""
    names = sorted(os.listdir(folder))
    digest = {name: hashlib.sha256(Path(folder, name).read_bytes()).hexdigest() for name in names}
    return {name: "" if name.endswith("-shm") else digest[name] for name in names}


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Coterie as of a later release, with two more steps; returns the folder that holds its schema folder."""
    package = tmp_path / "later"
    folder = package / "schema"
    folder.mkdir(parents=True)
    for number, sql in OUR_STEPS:
        (folder / f"{number:04}_known.sql").write_text(sql)
    for number, sql in enumerate(NEXT, start=len(OUR_STEPS) + 1):
        (folder / f"{number:04}_next.sql").write_text(sql)
    (folder / "notes.txt").write_text("not a step")
    monkeypatch.setattr(migrations, "resources", SimpleNamespace(files=lambda name: package))
    return package


# --- two roads -----------------------------------------------------------------------------------------------------


def test_every_step_is_read_whole() -> None:
    """A last statement without its semicolon would be left out silently."""
    for number, sql in OUR_STEPS:
        rest = sql
        for statement in statements(sql):
            rest = rest.partition(statement)[2]
        left = [line for line in rest.splitlines() if line.strip() and not line.startswith("--")]
        assert not left, f"step {number} ends in something that is no statement: {left}"


def test_statements_end_where_sqlite_says() -> None:
    found = statements(NEXT[0])
    assert [statement.split()[0] for statement in found] == ["--", "ALTER", "INSERT", "CREATE"]
    assert found[-1].endswith("SELECT 1;\nEND;")


@pytest.mark.parametrize("version", range(1, newest_version() + 1))
def test_a_fresh_schema_is_a_migrated_schema(place: Place, version: int) -> None:
    build(place.home.database, OUR_STEPS[:version])
    add_data(place.home.database)
    open_and_close(place)
    assert schema(place.home.database) == fresh_schema(place)
    assert schema(place.home.database)[:2] == (newest_version(), APPLICATION_ID)
    assert has_data(place.home.database)


def test_the_roads_of_a_later_release_meet_too(place: Place, later: Path) -> None:
    newest = len(OUR_STEPS) + 2
    assert newest_version() == newest
    build(place.home.database, OUR_STEPS)
    add_data(place.home.database)
    open_and_close(place)
    assert schema(place.home.database) == fresh_schema(place)
    assert schema(place.home.database)[0] == newest
    assert has_data(place.home.database)
    with connection(place.home.database) as database:
        assert database.execute("SELECT colour FROM shades").fetchall() == [("red",)]


# --- the backup ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("D4")
def test_a_backup_is_made_first(place: Place, later: Path) -> None:
    build(place.home.database, OUR_STEPS)
    add_data(place.home.database)
    before = schema(place.home.database)
    umask = os.umask(0)
    try:
        open_and_close(place)
    finally:
        os.umask(umask)
    name = f"coterie-schema{len(OUR_STEPS)}-{STAMP}.db"
    assert os.listdir(place.home.backups) == [name]
    assert stat.S_IMODE(os.lstat(place.home.backups).st_mode) == 0o700
    backup = Path(place.home.backups, name)
    assert stat.S_IMODE(backup.lstat().st_mode) == 0o600
    assert schema(backup) == before
    assert has_data(backup)


def test_a_backup_is_a_database_that_can_be_put_back(place: Place, later: Path) -> None:
    build(place.home.database, OUR_STEPS)
    add_data(place.home.database)
    open_and_close(place)
    (backup,) = Path(place.home.backups).iterdir()
    shutil.copy2(backup, place.home.database)
    open_and_close(place)
    assert schema(place.home.database)[0] == len(OUR_STEPS) + 2
    assert has_data(place.home.database)


def test_what_an_interrupted_backup_left_is_no_obstacle(place: Place, later: Path) -> None:
    build(place.home.database, OUR_STEPS)
    os.mkdir(place.home.backups, 0o700)
    Path(place.home.backups, f"coterie-schema{len(OUR_STEPS)}-{STAMP}.db.partial").write_text("half")
    open_and_close(place)
    assert os.listdir(place.home.backups) == [f"coterie-schema{len(OUR_STEPS)}-{STAMP}.db"]


@pytest.mark.promise("D4")
def test_without_its_backup_nothing_is_migrated(place: Place, later: Path) -> None:
    build(place.home.database, OUR_STEPS)
    before = schema(place.home.database)
    os.symlink(place.root, place.home.backups)
    with pytest.raises(Unsafe):
        open_and_close(place)
    assert schema(place.home.database) == before


def test_nothing_to_migrate_makes_no_backup(place: Place) -> None:
    open_and_close(place)
    open_and_close(place)
    assert os.listdir(place.home.folder) == ["coterie.db"]


# --- all or nothing ------------------------------------------------------------------------------------------------

INTERRUPTED = """
import asyncio, sys
from pathlib import Path
from types import SimpleNamespace
from coterie import points
from coterie.files import Home
from coterie.store import migrations, seals
from coterie.store.db import Store
package, home, visit = Path(sys.argv[1]), Home(sys.argv[2]), int(sys.argv[3])
migrations.resources = SimpleNamespace(files=lambda name: package)
points.arm("migration-statement", visit)
async def main():
    await Store.open(home, 1.8e9).close()
asyncio.run(main())
"""


def interrupt(place: Place, package: Path, visit: int) -> int:
    """Open the database in a process that is killed at the `visit`-th statement of a migration."""
    command = [sys.executable, "-c", INTERRUPTED, str(package), place.home.folder, str(visit)]
    return subprocess.run(command, check=False, env=place.environ).returncode


def stages(folder: Path, package: Path) -> dict[int, tuple[object, ...]]:
    """What a database looks like at each version."""
    folder.mkdir()
    found: dict[int, tuple[object, ...]] = {}
    known = steps()
    for version in range(1, len(known) + 1):
        path = str(folder / f"{version}.db")
        build(path, known[:version])
        found[version] = schema(path)
    return found


def test_a_migration_killed_at_any_statement_is_whole_and_goes_on(place: Place, later: Path, tmp_path: Path) -> None:
    first = len(OUR_STEPS)
    whole = stages(tmp_path / "stages", later)
    statements_each = [len(statements(sql)) for _, sql in steps()[first:]]
    for visit in range(1, sum(statements_each) + 1):
        for name in os.listdir(place.home.folder):
            if name.startswith("coterie.db"):
                os.unlink(os.path.join(place.home.folder, name))
        build(place.home.database, OUR_STEPS)
        add_data(place.home.database)
        assert interrupt(place, later, visit) == -signal.SIGKILL
        found = schema(place.home.database)
        assert found == whole[first if visit <= statements_each[0] else first + 1], f"killed at statement {visit}"
        assert has_data(place.home.database)
        open_and_close(place)
        assert schema(place.home.database) == whole[first + 2]
        assert has_data(place.home.database)


def test_a_first_start_killed_at_any_statement_is_no_obstacle(place: Place, later: Path, tmp_path: Path) -> None:
    whole = stages(tmp_path / "stages", later)
    count = sum(len(statements(sql)) for _, sql in steps())
    for visit in range(1, count + 1, 3):
        for name in os.listdir(place.home.folder):
            os.unlink(os.path.join(place.home.folder, name))
        assert interrupt(place, later, visit) == -signal.SIGKILL
        open_and_close(place)
        assert schema(place.home.database) == whole[newest_version()]
        shutil.rmtree(place.home.backups, ignore_errors=True)


def test_a_step_that_fails_leaves_the_version_before_it(place: Place, later: Path) -> None:
    build(place.home.database, OUR_STEPS)
    add_data(place.home.database)
    before = schema(place.home.database)
    broken = later / "schema" / f"{len(OUR_STEPS) + 1:04}_next.sql"
    broken.write_text(broken.read_text() + "CREATE TABLE peers (id);")
    with pytest.raises(StoreFailed, match="already exists"):
        open_and_close(place)
    assert schema(place.home.database) == before
    assert has_data(place.home.database)


# --- what is not ours, or no longer --------------------------------------------------------------------------------


def refused(place: Place, kind: type[StoreFailed]) -> StoreFailed:
    """The refusal, after which every byte is as it was."""
    before = contents(place.home.folder)
    with pytest.raises(kind) as caught:
        open_and_close(place)
    assert type(caught.value) is kind
    assert contents(place.home.folder) == before
    return caught.value


@pytest.mark.promise("D4")
def test_a_newer_database_is_refused_and_untouched(place: Place) -> None:
    newer = newest_version() + 1
    build(place.home.database, [*OUR_STEPS, (newer, "CREATE TABLE later (x);")])
    error = refused(place, NewerDatabase)
    assert f"schema {newer}" in error.message
    assert f"knows {newest_version()}" in error.message
    assert error.hint.startswith("install the newer coterie again")


KILLED = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
for statement in sys.argv[2:]:
    database.execute(statement)
os.kill(os.getpid(), signal.SIGKILL)
"""


# As the columns of the row above are; those that it does not name are empty.
BOB = {
    "id": "p_1",
    "name": "bob",
    "kind": "x",
    "state": "live",
    "since": 1,
    "seen": 2,
    **dict.fromkeys(("named", "one_shot", "recall_due", "hooked"), 0),
    **dict.fromkeys(("summary_at", "prompted", "heard")),
}


def leave_in_the_wal(path: str, *what: str) -> None:
    """Run statements in a process that is killed before it could bring them from the WAL into the file."""
    main = Path(path).read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED, path, *what], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert Path(path).read_bytes() == main
    assert os.path.getsize(path + "-wal") > 0


@pytest.mark.promise("D4")
def test_a_newer_version_that_only_the_wal_knows_is_refused_and_untouched(place: Place) -> None:
    """A newer daemon was killed right after its migration."""
    build(place.home.database, OUR_STEPS)
    leave_in_the_wal(place.home.database, "CREATE TABLE later (x)", f"PRAGMA user_version = {newest_version() + 1}")
    refused(place, NewerDatabase)


def test_what_a_killed_daemon_left_in_the_wal_is_taken_up(place: Place) -> None:
    build(place.home.database, OUR_STEPS)
    leave_in_the_wal(
        place.home.database,
        PEER,
        f"UPDATE peers SET seal = {seals.sealed(*[BOB.get(column, '') for column in seals.PEER])}",
    )
    open_and_close(place)
    assert has_data(place.home.database)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_database_of_something_else_is_refused_and_untouched(place: Place, journal: str) -> None:
    os.close(os.open(place.home.database, os.O_CREAT | os.O_RDWR, 0o600))
    with connection(place.home.database) as database:
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.execute("CREATE TABLE bookmarks (url)")
    error = refused(place, StoreFailed)
    assert "is not a coterie database" in error.message
    assert error.hint == f"move it out of the way: mv {place.home.database} {place.home.database}.old"


@pytest.mark.parametrize("damage", ["text", "cut header", "garbage after the magic"])
def test_a_damaged_file_is_refused_with_a_way_back(place: Place, damage: str) -> None:
    build(place.home.database, OUR_STEPS)
    whole = Path(place.home.database).read_bytes()
    broken = {
        "text": b"this is no database at all\n" * 40,
        "cut header": whole[:50],
        "garbage after the magic": whole[:16] + b"\xff" * (len(whole) - 16),
    }
    Path(place.home.database).write_bytes(broken[damage])
    error = refused(place, Damaged)
    assert error.message.startswith(f"{place.home.database} cannot be used: ")
    assert f"mv {place.home.database} {place.home.database}.damaged" in error.hint
    assert "coterie restore --salvage" in error.hint
    os.rename(place.home.database, place.home.database + ".damaged")
    open_and_close(place)
