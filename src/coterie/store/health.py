"""How the database is, for `coterie doctor`: asked in a process of its own, so that one that hangs or is damaged can
harm nobody, and without a daemon too. It reads, and changes nothing.

usage: python -m coterie.store.health PATH, which prints one JSON object
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from typing import Any

from coterie.errors import CoterieError
from coterie.limits import DATABASE_CHECK_S
from coterie.store import migrations
from coterie.store.db import SQLITE_VERSION

STEPS = 10_000
"""Instructions of SQLite between two looks at the clock: about a millisecond."""


def health(path: str, wait_s: float = DATABASE_CHECK_S) -> dict[str, Any]:
    """What can be said of a database. `problem` is null, or says what is wrong and what to do; `whole` is null if
    there was no time to look at every page.
    """
    told: dict[str, Any] = {
        "sqlite": SQLITE_VERSION,
        "newest": migrations.newest_version(),
        "schema": None,
        "bytes": None,
        "whole": None,
        "problem": None,
    }
    if not os.path.exists(path) or not os.path.getsize(path):
        return told
    told["bytes"] = sum(os.path.getsize(path + end) for end in ("", "-wal") if os.path.exists(path + end))
    try:
        migrations.examine(path)
        told["schema"], told["whole"] = _looked_through(path, wait_s)
    except CoterieError as error:
        told["problem"] = _problem(error.message, error.hint)
    except sqlite3.DatabaseError as error:
        told["problem"] = _damage(path, str(error))
    else:
        if told["whole"] is False:
            told["problem"] = _damage(path, "its pages contradict each other")
    return told


def _looked_through(path: str, wait_s: float) -> tuple[int, bool | None]:
    """The schema's number, and whether every page is as it should be; None if that took too long."""
    # Without a log beside it nobody has it open, and SQLite would make one to look.
    immutable = "" if os.path.exists(path + "-wal") else "&immutable=1"
    connection = sqlite3.connect(f"file:{migrations.quoted(path)}?mode=ro{immutable}", uri=True, isolation_level=None)
    deadline = time.monotonic() + wait_s
    try:
        version = migrations.version_of(connection)
        connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
        return version, _is_whole(connection)
    finally:
        connection.close()


def _is_whole(connection: sqlite3.Connection) -> bool | None:
    try:
        return [row[0] for row in connection.execute("PRAGMA quick_check(1)")] == ["ok"]
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            return None
        raise


def _problem(message: str, hint: str) -> dict[str, str]:
    return {"message": message, "hint": hint}


def _damage(path: str, what: str) -> dict[str, str]:
    return _problem(f"{path} is damaged: {what}", f"to begin anew: mv {path} {path}.damaged")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(health(sys.argv[1])) + "\n")
