"""A disk that takes nothing while a test says so."""

from __future__ import annotations

from conftest import Place

FULL_DISK = """
import os, sqlite3
import coterie.store.db as db
commit = db.Store._transaction
def maybe(self, jobs):
    if os.path.exists(os.path.join(os.environ["HOME"], "full")):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
        raise error
    return commit(self, jobs)
db.Store._transaction = maybe
"""
"""What the daemon of such a disk runs first: the disk is full while there is a file that says so."""


def fill(place: Place) -> None:
    """From now on the disk takes nothing."""
    (place.root / "full").touch()


def make_room(place: Place) -> None:
    """It takes what it is given again."""
    (place.root / "full").unlink()
