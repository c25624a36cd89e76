"""The ways back from a database that cannot be used: the copies that there are, and the line to type."""

from __future__ import annotations

import os
import shlex
import time

from coterie.errors import CoterieError
from coterie.files import Home
from coterie.store import migrations, soundness

SUFFIX = ".db"
REPLACED = "coterie-replaced-"
"""How the name of a database begins that a restored one took the place of: it may be the damaged one."""


def copies(place: Home) -> list[str]:
    """The files in the backups folder that are named like copies, newest first."""
    try:
        names = [name for name in os.listdir(place.backups) if name.endswith(SUFFIX)]
    except FileNotFoundError:
        return []
    paths = [os.path.join(place.backups, name) for name in names]
    return sorted(paths, key=lambda path: (os.path.getmtime(path), path), reverse=True)


def newest(place: Home) -> str | None:
    """The newest copy that looks like one of ours. Whether it is sound is looked at when it is restored."""
    made = (path for path in copies(place) if not os.path.basename(path).startswith(REPLACED))
    return next((path for path in made if _is_ours(path)), None)


def _is_ours(path: str) -> bool:
    try:
        migrations.examine(path)
    except (CoterieError, *soundness.UNREADABLE, OSError):
        return False
    return os.path.getsize(path) > 0


def way_back(place: Home) -> str:
    """What a person can type when the database cannot be used."""
    path = newest(place)
    salvage = "coterie restore --salvage keeps what can still be read"
    if path is None:
        return f"{salvage}; to begin anew: mv {place.database} {place.database}.damaged"
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(os.path.getmtime(path)))
    return f"{salvage}; coterie restore {shlex.quote(os.path.basename(path))} puts the copy of {made} in its place"
