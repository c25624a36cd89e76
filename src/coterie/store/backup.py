"""Copies of the database, for ``coterie backup`` and ``coterie restore``: made and put back by a process of its own, so
that neither a long copy nor a damaged file can hold up or harm the daemon.

A copy is read on a connection of its own that never writes: writers do not wait for readers, and the one connection of
the daemon stays the only one that writes and checkpoints. `put` alone changes the database, under the daemon's lock,
which its caller took and hands over: if that one is killed, the lock is still held until this process has ended.

usage: python -m coterie.store.backup make TARGET | list | look FILE | ready FILE | salvage | drop | put, which prints
one JSON object, with ``error`` in it if it could not be done. The home is that of the environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any

from coterie.errors import CoterieError, Damaged, StoreFailed
from coterie.files import Home, home, make_folder
from coterie.store import copies, migrations, restores, salvage, soundness, ways

_HOLDS = """
SELECT count(*) AS messages, count(*) FILTER (WHERE state IN ('queued', 'offered')) AS unread,
       min(accepted_at) AS first_at, max(accepted_at) AS last_at, (SELECT count(*) FROM peers) AS peers
FROM messages
"""


def make(target: str, place: Home) -> dict[str, Any]:
    """Copy the database, as it is at this moment, to the new file `target`; without a name, to the backups."""
    if not os.path.exists(place.database) or not os.path.getsize(place.database):
        raise StoreFailed("there is no database to copy yet", "the first session or command makes one")
    if not target:
        make_folder(place.backups)
        target = _unused(os.path.join(place.backups, f"coterie-{copies.stamp(time.time())}"))
    if os.path.lexists(target):
        raise StoreFailed(f"{target} is there already", "name another file")
    with contextlib.closing(copies.opened(place.database)) as connection:
        copies.write(connection, target)
    return holds(target)


def _unused(start: str) -> str:
    """A name that no file has yet: there may be two copies of one second."""
    names = (f"{start}{number}{ways.SUFFIX}" for number in ("", *(f"-{number}" for number in range(2, 100))))
    return next((name for name in names if not os.path.lexists(name)), start + ways.SUFFIX)


def holds(path: str) -> dict[str, Any]:
    """What a database holds. Raises `StoreFailed` if it is none of ours, or cannot be read."""
    try:
        migrations.examine(path)
        with contextlib.closing(_opened(path)) as connection:
            connection.row_factory = sqlite3.Row
            found = dict(connection.execute(_HOLDS).fetchone())
            return {"file": path, "bytes": os.path.getsize(path), "schema": migrations.version_of(connection), **found}
    except soundness.UNREADABLE as error:
        raise Damaged(
            f"{path} cannot be read: {soundness.words(error)}", "coterie backup --list shows the others"
        ) from error
    except OSError as error:
        raise StoreFailed(
            f"{path} cannot be read: {error.strerror}", "coterie backup --list shows those there are"
        ) from None


def _opened(path: str) -> sqlite3.Connection:
    return copies.opened(path, alone=not os.path.exists(path + restores.LOG))


def listed(place: Home) -> dict[str, Any]:
    """Every copy in the backups folder, newest first."""
    return {"folder": place.backups, "backups": [_told(path) for path in ways.copies(place)]}


def _told(path: str) -> dict[str, Any]:
    made_at = os.path.getmtime(path)
    try:
        return {**holds(path), "made_at": made_at, "problem": None}
    except CoterieError as error:
        return {"file": path, "made_at": made_at, "problem": error.message}


def look(path: str) -> dict[str, Any]:
    """What a copy holds, after a look at every row of it. Raises `Damaged` if it is not sound."""
    found = holds(path)
    if not found["schema"]:
        raise StoreFailed(f"{path} is empty", "coterie backup --list shows the copies that there are")
    with contextlib.closing(_opened(path)) as connection:
        wrong = soundness.check(connection, lambda: False)
    if wrong:
        raise Damaged(f"{path} is damaged: {wrong}", "coterie backup --list shows the others")
    return found


def ready(path: str, place: Home) -> dict[str, Any]:
    """Make a copy ready to take the place of the database, and tell what it holds and what is lost with it."""
    look(path)
    restores.make_ready(path, place)
    return _prepared(place)


def salvaged(place: Home) -> dict[str, Any]:
    """Make ready what can be read of a damaged database."""
    kept = salvage.salvage(place)
    return {**_prepared(place), "kept": kept}


def _prepared(place: Home) -> dict[str, Any]:
    copy = restores.ready_at(place)
    return {**holds(copy), **restores.compare(copy, place)}


def drop(place: Home) -> dict[str, Any]:
    """Remove what was made ready."""
    copies.discard(restores.ready_at(place))
    return {}


def put(place: Home) -> dict[str, Any]:
    """Put what was made ready in the place of the database; the caller holds the lock."""
    return {"replaced": restores.decide(place), "file": place.database}


def main(arguments: list[str]) -> dict[str, Any]:
    """Do what one command line says."""
    os.umask(0o077)
    place = home()
    todo: dict[str, Callable[[], dict[str, Any]]] = {
        "make": lambda: make(arguments[1], place),
        "list": lambda: listed(place),
        "look": lambda: look(arguments[1]),
        "ready": lambda: ready(arguments[1], place),
        "salvage": lambda: salvaged(place),
        "drop": lambda: drop(place),
        "put": lambda: put(place),
    }
    try:
        return todo[arguments[0]]()
    except CoterieError as error:
        return {"error": error.to_wire()}
    except OSError as error:
        return {"error": StoreFailed(f"the system refused: {error}", "coterie status says where all lies").to_wire()}
    except soundness.UNREADABLE as error:
        return {
            "error": StoreFailed(
                f"the database refused: {soundness.words(error)}", "coterie doctor says how it is"
            ).to_wire()
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])) + "\n")
