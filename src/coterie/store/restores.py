"""Putting a copy in the place of the database: whole, or not at all.

The copy is made ready beside the database while the daemon may still serve. Then, under the daemon's lock, it gets the
name ``coterie.db.restored``: with that the restore is decided, and whoever holds the lock next completes it, this
process or the next daemon. What it replaces, its log included, is moved to the backups, since a damaged database is
evidence, and one that was replaced by mistake is mail.
"""

from __future__ import annotations

import contextlib
import os

from coterie.errors import StoreFailed
from coterie.files import Home, check_file, make_folder
from coterie.points import point
from coterie.store import copies, soundness, ways

DECIDED = ".restored"
LOG, INDEX = "-wal", "-shm"


def decide(place: Home) -> str | None:
    """Put the copy that was made ready in the place of the database; the lock must be held. Returns the path of what
    it replaced.
    """
    ready, decided = ready_at(place), place.database + DECIDED
    if not check_file(ready):
        raise StoreFailed("the copy that was made ready is gone", "try again")
    point("restore-step")
    os.replace(ready, decided)
    copies.sync(place.folder)
    point("restore-step")
    return complete(place)


def ready_at(place: Home) -> str:
    """Where a copy is made ready."""
    return place.database + DECIDED + copies.PARTIAL


def complete(place: Home) -> str | None:
    """Finish a restore that was decided, if one was; the lock must be held. Returns the path of what it replaced, or
    None if nothing was there. It can be ended at any point, and is then finished by the next call.
    """
    decided = place.database + DECIDED
    if not check_file(decided):
        return None
    make_folder(place.backups)
    # Named by the copy, to the microsecond, so that it has the same name if this begins again, and no other has it.
    seconds, rest = divmod(os.stat(decided).st_mtime_ns, 10**9)
    aside = os.path.join(place.backups, f"{ways.REPLACED}{copies.stamp(seconds)}-{rest // 1000:06}{ways.SUFFIX}")
    for end in (LOG, ""):
        _move(place.database + end, aside + end)
        point("restore-step")
    copies.discard(place.database + INDEX)  # It is made anew from the log.
    copies.sync(place.backups)
    point("restore-step")
    os.replace(decided, place.database)
    copies.sync(place.folder)
    point("restore-step")
    return aside if os.path.lexists(aside) else None


def _move(path: str, to: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, to)


# --- making a copy ready ----------------------------------------------------------------------------------------------

_LOST = "SELECT count(*) FROM now.messages WHERE id NOT IN (SELECT id FROM main.messages)"
_AGAIN = """
SELECT count(*) FROM main.messages AS copied JOIN now.messages AS later ON later.id = copied.id
WHERE copied.state IN ('queued', 'offered') AND later.state NOT IN ('queued', 'offered')
"""


def compare(copy: str, place: Home) -> dict[str, int | None]:
    """What is lost with a copy, as far as the database can be read: messages that it lacks, and messages that were
    read since and are unread in it.
    """
    unknown: dict[str, int | None] = {"lost": None, "again": None}
    if not os.path.exists(place.database) or not os.path.getsize(place.database):
        return {"lost": 0, "again": 0}
    alone = not os.path.exists(place.database + LOG)
    with contextlib.closing(copies.opened(copy, alone=True)) as connection:
        try:
            connection.execute("ATTACH ? AS now", (copies.uri(place.database, alone=alone),))
            return {
                "lost": connection.execute(_LOST).fetchone()[0],
                "again": connection.execute(_AGAIN).fetchone()[0],
            }
        except soundness.UNREADABLE:  # The damaged one cannot be asked, and that is why it is replaced.
            return unknown


def make_ready(source: str, place: Home) -> None:
    """Copy a backup to the folder of the database, sound and on the disk."""
    alone = not os.path.exists(source + LOG)
    with contextlib.closing(copies.opened(source, alone=alone)) as connection:
        copies.write(connection, place.database + DECIDED + copies.PARTIAL)
