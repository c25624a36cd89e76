"""Every database that a release has ever written is opened by this one, and the mail in it is read."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from conftest import Place
from coterie.limits import DAY_S
from coterie.store.migrations import newest_version
from upgrade.make import ACKNOWLEDGED, ANSWER, EXPIRED, FOR_LAPTOP, FROM_LAPTOP, SHOWN, TO_BOTH, TO_LAPTOP, WAITING

RELEASED = sorted(Path(__file__).parent.glob("schema*.db"))
QUOTED_SHOWN = SHOWN.replace("\n", "\n| ")

DEVICES_SINCE = 4
"""The schema with which other devices came."""

released = pytest.mark.parametrize("database", RELEASED, ids=lambda path: path.stem)


def as_on_its_day(database: Path, later_s: float = 60.0) -> str:
    """A daemon's clock that goes on where the file ends: mail waits for a month at most."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as connection:
        last = connection.execute("SELECT max(changed_at) FROM messages").fetchone()[0]
    return f"import time; now = time.time; ahead = {last + later_s} - now(); time.time = lambda: now() + ahead"


@pytest.fixture
def old(place: Place, database: Path) -> Place:
    """A home with a copy of an old database."""
    shutil.copyfile(database, place.home.database)
    Path(place.home.database).chmod(0o600)
    return place


def test_the_schema_of_this_release_is_among_them() -> None:
    versions = {path.stem for path in RELEASED}
    assert versions == {f"schema{version}" for version in range(1, newest_version() + 1)}


@released
def test_its_unread_mail_reaches_the_sessions_that_come_back(old: Place, database: Path) -> None:
    old.start(patch=as_on_its_day(database))
    assert old.row("PRAGMA user_version")[0] == newest_version()
    alice, bob, carol = old.agent("session-alice"), old.agent("session-bob"), old.agent("session-carol", inbox=False)
    assert ANSWER in alice.wait_inbox(ANSWER)[1]
    assert TO_BOTH in bob.wait_inbox(TO_BOTH)[1]
    mail = carol.tool("check_messages")
    assert mail.count("[coterie message ") == 2
    assert WAITING in mail
    assert TO_BOTH in mail
    assert EXPIRED not in mail
    listed = alice.tool("list_peers")
    assert "bob" in listed
    assert "reviewer" in listed


@released
def test_its_schema_becomes_the_schema_of_a_fresh_one(old: Place) -> None:
    """Whoever edits a step that is released, instead of adding one, is told here."""
    old.start()
    (old.root / "fresh").mkdir()
    fresh = Place(old.root / "fresh")
    fresh.start()
    try:
        query = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
        assert old.rows(query) == fresh.rows(query)
    finally:
        fresh.close()


@released
def test_what_was_read_stays_read_and_can_be_looked_up(old: Place, database: Path) -> None:
    old.start(patch=as_on_its_day(database))
    states = dict(old.rows("SELECT text, state FROM messages"))
    assert (states[ACKNOWLEDGED], states[SHOWN], states[EXPIRED]) == ("acknowledged", "shown", "expired")
    bob = old.agent("session-bob")
    bob.wait_inbox(TO_BOTH)
    shown = old.row("SELECT id FROM messages WHERE text = ?", SHOWN)[0]
    assert QUOTED_SHOWN in bob.tool("check_messages", message_id=shown)
    assert ACKNOWLEDGED in bob.tool("check_messages", history=20)
    assert not any("green again" in text for _, text in bob.inbox)


@pytest.mark.parametrize("database", RELEASED[DEVICES_SINCE - 1 :], ids=lambda path: path.stem)
def test_other_devices_and_the_mail_for_them_are_known(old: Place, database: Path) -> None:
    old.start(patch=as_on_its_day(database))
    alice = old.agent("session-alice")
    listed = alice.tool("list_peers", scope="network")
    assert "laptop" in listed
    states = dict(old.rows("SELECT text, state FROM messages"))
    assert [states[text] for text in (TO_LAPTOP, FROM_LAPTOP, FOR_LAPTOP)] == ["shown", "shown", "queued"]
    waits = "SELECT text FROM outbox JOIN messages ON messages.id = message WHERE outbox.state = 'waits'"
    assert old.rows(waits) == [(FOR_LAPTOP,)]
    assert "waits here for laptop" in alice.tool("send_message", to="dave@laptop", message="and one more")


@released
@pytest.mark.parametrize("later_s", [60.0, 40 * DAY_S, 3650 * DAY_S], ids=["at once", "next month", "in ten years"])
def test_it_goes_on_with_new_mail(old: Place, database: Path, later_s: float) -> None:
    old.start(patch=as_on_its_day(database, later_s))
    alice, bob = old.agent("session-alice"), old.agent("session-bob")
    alice.tool("send_message", to="bob", message="as good as new")
    bob.wait_inbox("as good as new")
    assert old.row("PRAGMA integrity_check")[0] == "ok"


@released
def test_the_file_itself_is_one_whole_file_and_is_not_touched(database: Path) -> None:
    assert not stat.S_ISLNK(database.lstat().st_mode)
    assert not database.with_name(database.name + "-wal").exists()
    with contextlib.closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == int(database.stem.removeprefix("schema"))
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
