"""The messages to other devices in the database, each until the device of its recipient has confirmed it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from coterie.store import messages as stored
from coterie.store.messages import NewMessage
from coterie.timeline import Span

WAITS = "waits"
"""It is sent again and again."""
STORED = "stored"
"""The other device has it: what becomes of it is that one's word."""
HELD = "held"
"""The same, and it waits there for a word of the person."""
OVER = "over"
"""It is sent no more: refused there, or given up here."""


class Posting(NamedTuple):
    """A message that is about to be accepted for another device."""

    message: str
    device: str
    there: str
    """The recipient, as its device names it."""
    size: int
    """Bytes of its text."""


_INSERT = "INSERT INTO outbox (message, device, there, size) VALUES (?, ?, ?, ?)"
# What ended here, as its life was over, is not sent any more.
_WAITS = "outbox.state = 'waits' AND messages.state IN ('queued', 'offered')"
_LOADS = f"""
SELECT device, count(*) AS messages, sum(size) AS size FROM outbox JOIN messages ON messages.id = outbox.message
WHERE {_WAITS} GROUP BY device
"""  # noqa: S608 (a constant of ours)
_NEXT = f"""
SELECT messages.*, outbox.seq AS number, outbox.there, outbox.size FROM outbox
JOIN messages ON messages.id = outbox.message
WHERE outbox.device = ? AND outbox.seq > ? AND {_WAITS} ORDER BY outbox.seq LIMIT ?
"""  # noqa: S608
_UNREAD = """
SELECT outbox.message, recipient, outbox.state FROM outbox JOIN messages ON messages.id = outbox.message
WHERE outbox.device = ? AND messages.state IN ('queued', 'offered') ORDER BY outbox.seq
"""
_UNHEARD = """
SELECT messages.id, recipient, outbox.device FROM outbox JOIN messages ON messages.id = outbox.message
WHERE outbox.state IN ('stored', 'held') AND messages.state IN ('queued', 'offered')
AND accepted_at >= ? AND accepted_at < ? AND expires_at <= ?
"""
_MARK = "UPDATE outbox SET state = ? WHERE message = ? AND state = 'waits' RETURNING size"


def accept(
    connection: sqlite3.Connection,
    send_id: str,
    fresh: Sequence[NewMessage],
    answers: str | None,
    postings: Sequence[Posting],
) -> list[sqlite3.Row]:
    """`stored.accept` for a send of which some goes to other devices."""
    before = stored.accept(connection, send_id, fresh, answers)
    if not before:
        connection.executemany(_INSERT, [(p.message, p.device, p.there, p.size) for p in postings])
    return before


def loads(connection: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """How many messages wait for each device that has any, and the bytes of their texts."""
    return {row["device"]: (row["messages"], row["size"]) for row in connection.execute(_LOADS)}


def following(connection: sqlite3.Connection, device: str, after: int, limit: int) -> list[sqlite3.Row]:
    """The messages that wait for a device, in the order in which they were accepted, after the number `after`: each
    with its `number`, the recipient `there` and its `size`.
    """
    return connection.execute(_NEXT, (device, after, limit)).fetchall()


def device_of(connection: sqlite3.Connection, message: str) -> tuple[str, str] | None:
    """The device that a message of ours goes to, and how far it is; None for one that stays here."""
    row = connection.execute("SELECT device, state FROM outbox WHERE message = ?", (message,)).fetchone()
    return (row["device"], row["state"]) if row else None


def unread(connection: sqlite3.Connection, device: str) -> list[sqlite3.Row]:
    """What went, or is to go, to a device and was not read as far as is known: `message`, `recipient`, `state`."""
    return connection.execute(_UNREAD, (device,)).fetchall()


def unheard(connection: sqlite3.Connection, spans: Sequence[Span], after_s: float) -> list[sqlite3.Row]:
    """Messages that other devices have and did not tell of for so long after their life was over: `id`, `recipient`,
    `device`.
    """
    return [row for s in spans for row in connection.execute(_UNHEARD, (s.low, s.high, s.now - after_s))]


def mark(connection: sqlite3.Connection, messages: Iterable[str], state: str) -> list[int]:
    """These messages wait no longer. Returns the size of each that did until now."""
    rows = [row for message in messages for row in connection.execute(_MARK, (state, message)).fetchall()]
    return [row["size"] for row in rows]
