"""Where messages come from, what was made of them, and how they were brought: what a person asks of one thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

_CAUSES = """
WITH RECURSIVE chain (id, depth) AS (
    SELECT ?1, 0
    UNION
    SELECT messages.cause, depth + 1 FROM chain JOIN messages ON messages.id = chain.id
    WHERE messages.cause IS NOT NULL AND depth < ?2
)
SELECT messages.*, NULL AS carrier, min(depth) AS depth FROM chain JOIN messages ON messages.id = chain.id
GROUP BY messages.seq ORDER BY depth DESC
"""
# Breadth first, so that a bound on the rows leaves out what is furthest.
_MADE = """
WITH RECURSIVE made (id, depth) AS (
    SELECT made.id, 1 FROM messages AS made JOIN messages AS cause ON cause.id = made.cause
    WHERE cause.thread = ?1 AND made.thread <> ?1
    UNION
    SELECT messages.id, depth + 1 FROM made JOIN messages ON messages.cause = made.id
    WHERE messages.thread <> ?1 AND depth < ?2 ORDER BY 2 LIMIT ?3
)
SELECT messages.*, NULL AS carrier, min(depth) AS depth FROM made
JOIN messages ON messages.id = made.id GROUP BY messages.seq
ORDER BY messages.seq
"""
_OFFERS = "SELECT * FROM offers WHERE message = ? ORDER BY number"


def causes(connection: sqlite3.Connection, message: str, limit: int) -> list[sqlite3.Row]:
    """What led to a message: the first cause first, the message itself last; at most `limit` steps back. A column
    `depth` counts the steps.
    """
    return connection.execute(_CAUSES, (message, limit)).fetchall()


def made(connection: sqlite3.Connection, thread: str, deep: int, limit: int) -> list[sqlite3.Row]:
    """The messages of other threads that were made of those of this one, in the order in which they were sent, each
    with the `depth` at which it stands: at most `deep` steps and `limit` of them.
    """
    return connection.execute(_MADE, (thread, deep, limit)).fetchall()


def offers(connection: sqlite3.Connection, messages: Sequence[str]) -> dict[str, list[sqlite3.Row]]:
    """Every attempt to bring each of these messages before its recipient, the first one first."""
    return {message: connection.execute(_OFFERS, (message,)).fetchall() for message in messages}
