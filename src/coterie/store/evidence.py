"""What the database can prove about the mail of a peer, for `coterie doctor`."""

from __future__ import annotations

import sqlite3

# By the order of messages, which their index has: the newest that was shown is the last proof.
_LAST_SHOWN = """
SELECT messages.id, offers.carrier, offers.closed_at FROM messages
JOIN offers ON offers.message = messages.id AND offers.outcome = 'shown'
WHERE messages.recipient = ? ORDER BY messages.seq DESC LIMIT 1
"""
_WAITING = """
SELECT min(accepted_at) FROM messages WHERE recipient = ? AND state IN ('queued', 'offered')
"""


def last_shown(connection: sqlite3.Connection, peer: str) -> sqlite3.Row | None:
    """The newest message that was shown to a peer: its id, the carrier, and when."""
    row: sqlite3.Row | None = connection.execute(_LAST_SHOWN, (peer,)).fetchone()
    return row


def waiting_since(connection: sqlite3.Connection, peer: str) -> float | None:
    """Since when the oldest unread message of a peer waits; None if there is none."""
    since: float | None = connection.execute(_WAITING, (peer,)).fetchone()[0]
    return since
