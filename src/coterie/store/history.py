"""What of the history goes: what ended long ago, and the oldest beyond a size. A step at a time, as agents write
meanwhile, and as one large transaction would fill the write-ahead log far beyond its bounds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from coterie.limits import HISTORY_STEP_GOING, HISTORY_STEP_ROWS
from coterie.messages import UNREAD, State

_NEXT = """
SELECT seq, state, changed_at, length(CAST(text AS BLOB)) AS size FROM messages
WHERE seq < ? ORDER BY seq DESC LIMIT ?
"""
_DELETE = "DELETE FROM messages WHERE seq = ?"
_ENDS = frozenset({State.ACKNOWLEDGED, State.EXPIRED, State.REFUSED, State.DEAD})
_NEWEST = 1 << 62


@dataclass(slots=True)
class Walk:
    """A walk through the history, from the newest message to the oldest."""

    times: Sequence[tuple[float, float]]
    """What ended at one of these times (from, before) goes."""
    bytes_max: int
    """Of what stays, the oldest beyond so much text goes too."""
    below: int = _NEWEST
    """The number of the message that was looked at last."""
    kept_bytes: int = 0
    removed: int = 0
    over: bool = False


def forget_old(connection: sqlite3.Connection, walk: Walk) -> None:
    """Go a step: look at some messages, and remove those that are to go. Unread messages are never touched.

    Raises `sqlite3.Error`; then nothing of this step was done, and the walk is of no use any more.
    """
    rows = connection.execute(_NEXT, (walk.below, HISTORY_STEP_ROWS)).fetchall()
    going: list[tuple[int]] = []
    for row in rows:
        if len(going) == HISTORY_STEP_GOING:
            break
        walk.below = row["seq"]
        if row["state"] not in UNREAD and _goes(walk, row):
            going.append((row["seq"],))
    else:
        walk.over = len(rows) < HISTORY_STEP_ROWS
    connection.executemany(_DELETE, going)
    walk.removed += len(going)


def _goes(walk: Walk, row: sqlite3.Row) -> bool:
    if row["state"] in _ENDS and any(since <= row["changed_at"] < before for since, before in walk.times):
        return True
    walk.kept_bytes += row["size"]
    return walk.kept_bytes > walk.bytes_max
