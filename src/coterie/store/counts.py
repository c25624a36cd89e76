"""What the guards ask the database: how much agents wrote among themselves, and what made one of them write."""

from __future__ import annotations

import sqlite3

from coterie.limits import EXCHANGE_ROWS, GIVEN_ROWS

# A send counts once: copies have ids that end in ".2", ".3"...
_THREAD = """
SELECT count(*) FROM messages
WHERE thread = ?1 AND sender_kind NOT IN ('person', 'coterie') AND instr(id, '.') = 0 AND seq > coalesce(
    (SELECT seq FROM messages WHERE thread = ?1 AND sender_kind = 'person' ORDER BY seq DESC LIMIT 1), 0
)
"""
# Both ways at once, each as far back as a person's last word to either.
_EXCHANGE = """
WITH word(seq) AS (SELECT max(
    coalesce((SELECT max(seq) FROM messages WHERE recipient = ?1 AND sender_kind = 'person'), 0),
    coalesce((SELECT max(seq) FROM messages WHERE recipient = ?2 AND sender_kind = 'person'), 0)
))
SELECT (SELECT count(*) FROM (
    SELECT accepted_at FROM messages WHERE sender = ?1 AND recipient = ?2 AND seq > (SELECT seq FROM word)
    ORDER BY seq DESC LIMIT ?4
) WHERE accepted_at > ?3) + (SELECT count(*) FROM (
    SELECT accepted_at FROM messages WHERE sender = ?2 AND recipient = ?1 AND seq > (SELECT seq FROM word)
    ORDER BY seq DESC LIMIT ?4
) WHERE accepted_at > ?3 AND ?1 <> ?2)
"""
# What its reader was given last, by another agent and not in a thread of its own, or by a person.
_GIVEN = """
SELECT id, path, sender, sender_kind, given FROM (
    SELECT id, path, sender, sender_kind, thread,
           (SELECT max(opened_at) FROM offers WHERE message = messages.id) AS given
    FROM messages WHERE recipient = ?1 AND sender <> ?1 AND state IN ('offered', 'shown', 'acknowledged')
    ORDER BY seq DESC LIMIT ?3
) AS got WHERE given > ?2 AND (
    sender_kind = 'person' OR coalesce((SELECT sender FROM messages WHERE id = got.thread), '') <> ?1
) ORDER BY given DESC LIMIT 1
"""
_REACHED = "SELECT DISTINCT recipient FROM messages WHERE cause = ? AND sender = ?"
_NOTICES = """
SELECT id, text FROM messages WHERE recipient = ? AND sender = 'coterie' AND state IN ('queued', 'offered')
"""


def thread(connection: sqlite3.Connection, name: str) -> int:
    """Sends of agents in a thread since a person's last word in it."""
    count: int = connection.execute(_THREAD, (name,)).fetchone()[0]
    return count


def exchange(connection: sqlite3.Connection, one: str, other: str, prompted: float) -> int:
    """Messages between two agents since a person's last message to either, and since the user of either spoke last
    (`prompted`); of each to the other no more than EXCHANGE_ROWS.
    """
    count: int = connection.execute(_EXCHANGE, (one, other, prompted, EXCHANGE_ROWS)).fetchone()[0]
    return count


def last_given(connection: sqlite3.Connection, peer: str, after: float) -> sqlite3.Row | None:
    """The message that a peer was given last and after that time, by an agent in a thread that the peer did not begin,
    or by a person; `given` is when. Looked for among its last GIVEN_ROWS.
    """
    row: sqlite3.Row | None = connection.execute(_GIVEN, (peer, after, GIVEN_ROWS)).fetchone()
    return row


def reached(connection: sqlite3.Connection, cause: str, sender: str) -> list[str]:
    """Whom a peer wrote to because of a message."""
    return [row["recipient"] for row in connection.execute(_REACHED, (cause, sender))]


def notices(connection: sqlite3.Connection, person: str) -> list[sqlite3.Row]:
    """The unread notices of Coterie itself."""
    return connection.execute(_NOTICES, (person,)).fetchall()
