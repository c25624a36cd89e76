"""How the database is, for `coterie doctor`: asked in a process of its own, so that one that hangs or is damaged can
harm nobody, and without a daemon too. It reads, and changes nothing.

usage: python -m coterie.store.health PATH, which prints one JSON object
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from coterie.errors import CoterieError
from coterie.files import Home
from coterie.limits import DATABASE_CHECK_S
from coterie.store import copies, migrations, soundness, wal, ways
from coterie.store.db import SQLITE_VERSION


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
        told["schema"], told["whole"], wrong = _looked_through(path, wait_s)
    except CoterieError as error:
        told["problem"] = _problem(error.message, error.hint)
    except soundness.UNREADABLE as error:
        told["problem"] = _damage(path, soundness.words(error))
    else:
        if wrong:
            told["problem"] = _damage(path, wrong)
    return told


def _looked_through(path: str, wait_s: float) -> tuple[int, bool | None, str | None]:
    """The schema's number, whether all is as it was stored (None if that took too long), and what is not."""
    lost = wal.lost_commits(path)
    # Without a log beside it nobody has it open, and SQLite would make one to look.
    connection = copies.opened(path, alone=not os.path.exists(path + "-wal"))
    deadline = time.monotonic() + wait_s
    try:
        version = migrations.version_of(connection)
        if lost:
            return version, False, f"its log lost {wal.words(lost)}"
        wrong = soundness.check(connection, lambda: time.monotonic() > deadline)
    except soundness.Unfinished:
        return version, None, None
    finally:
        connection.close()
    return version, wrong is None, wrong


def _problem(message: str, hint: str) -> dict[str, str]:
    return {"message": message, "hint": hint}


def _damage(path: str, what: str) -> dict[str, str]:
    return _problem(f"{path} is damaged: {what}", ways.way_back(Home(os.path.dirname(path))))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(health(sys.argv[1])) + "\n")
