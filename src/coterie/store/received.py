"""What came from other devices in the database: which envelopes, and what their origins know of them.

An envelope is remembered for longer than any message lives, so that one that is sent again is not taken in twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import NamedTuple

from coterie.envelopes import Receipt
from coterie.limits import ACKNOWLEDGED_KEPT_S, DAY_S, MESSAGE_LIFE_MAX_S
from coterie.messages import Carrier, State
from coterie.store import messages as stored
from coterie.store.messages import NewMessage

KEPT_S = max(MESSAGE_LIFE_MAX_S, ACKNOWLEDGED_KEPT_S) + 7 * DAY_S
"""How long an envelope is remembered: no device sends one again whose life is over."""


class Verdict(Enum):
    """What became of an envelope."""

    STORED = auto()
    KNOWN = auto()
    """It came before."""
    EARLY = auto()
    """The one before it is not here yet."""


class Arrival(NamedTuple):
    """An envelope that is about to be taken in."""

    device: str
    envelope: str
    after: str | None
    """The envelope that must be here first."""
    message: NewMessage
    answers: str | None
    """The message that it acknowledges."""


_INSERT = "INSERT INTO received (device, envelope, message, at) VALUES (?, ?, ?, ?)"
_FIND = "SELECT message FROM received WHERE device = ? AND envelope = ?"
_OPEN = """
SELECT envelope, state, reason,
       (SELECT count(*) + count(closed_at) FROM offers WHERE offers.message = messages.id) AS n
FROM received JOIN messages ON messages.id = received.message
"""
_UNTOLD = _OPEN + "WHERE device = ? AND received.told <> state LIMIT ?"
_ONE = _OPEN + "WHERE received.message = ?"
_NOTED = "UPDATE received SET told = ? WHERE device = ? AND envelope = ?"
_UNREAD = """
SELECT messages.id, recipient FROM received JOIN messages ON messages.id = received.message
WHERE device = ? AND state IN ('queued', 'offered')
"""
_THREAD_WITH = """
SELECT 1 FROM messages WHERE thread = ?1 AND (
    EXISTS (SELECT 1 FROM outbox WHERE outbox.message = messages.id AND outbox.device = ?2)
    OR EXISTS (SELECT 1 FROM received WHERE received.message = messages.id AND received.device = ?2)
) LIMIT 1
"""
_PRUNE = "DELETE FROM received WHERE at >= ? AND at < ? AND message NOT IN (SELECT id FROM messages)"


def accept(connection: sqlite3.Connection, arrival: Arrival) -> Verdict:
    """Store the message of an envelope, once and in its order. Raises `sqlite3.IntegrityError` if its id is taken."""
    if find(connection, arrival.device, arrival.envelope):
        return Verdict.KNOWN
    if arrival.after and not find(connection, arrival.device, arrival.after):
        return Verdict.EARLY
    message = arrival.message
    stored.insert(connection, message)
    connection.execute(_INSERT, (arrival.device, arrival.envelope, message.id, message.accepted_at))
    if arrival.answers:
        stored.move(connection, arrival.answers, State.ACKNOWLEDGED, f"answered by {message.id}", message.accepted_at)
    return Verdict.STORED


def find(connection: sqlite3.Connection, device: str, envelope: str) -> str | None:
    """The message that an envelope of a device became; None if it did not come."""
    row = connection.execute(_FIND, (device, envelope)).fetchone()
    return row["message"] if row else None


def envelope_of(connection: sqlite3.Connection, message: str) -> tuple[str, str] | None:
    """The device and the envelope that a message came in; None for one of this device."""
    row = connection.execute("SELECT device, envelope FROM received WHERE message = ?", (message,)).fetchone()
    return (row["device"], row["envelope"]) if row else None


def is_thread_with(connection: sqlite3.Connection, device: str, thread: str) -> bool:
    """Whether a thread has a message to or from a device."""
    return connection.execute(_THREAD_WITH, (thread, device)).fetchone() is not None


def untold(connection: sqlite3.Connection, device: str, limit: int) -> list[Receipt]:
    """What became of the messages of a device that it has not confirmed to know."""
    return [_receipt(row) for row in connection.execute(_UNTOLD, (device, limit))]


def receipt(connection: sqlite3.Connection, message: str) -> Receipt | None:
    """What became of one message of another device."""
    row = connection.execute(_ONE, (message,)).fetchone()
    return _receipt(row) if row else None


def _receipt(row: sqlite3.Row) -> Receipt:
    carrier = row["reason"] if row["reason"] in list(Carrier) else ""
    return Receipt(row["envelope"], row["state"], carrier, row["n"])


def noted(connection: sqlite3.Connection, device: str, states: Iterable[tuple[str, str]]) -> None:
    """A device knows the state (second) of its messages (first)."""
    connection.executemany(_NOTED, [(state, device, envelope) for envelope, state in states])


def unread(connection: sqlite3.Connection, device: str) -> list[tuple[str, str]]:
    """The unread messages of a device, each with its recipient."""
    return [(row["id"], row["recipient"]) for row in connection.execute(_UNREAD, (device,))]


def prune(connection: sqlite3.Connection, times: Sequence[tuple[float, float]]) -> int:
    """Forget what came at one of these times (from, before) and is no longer here. Returns how many went."""
    return sum(connection.execute(_PRUNE, (max(low, -1e300), before)).rowcount for low, before in times)
