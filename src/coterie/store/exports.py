"""What an export reads: peers, messages with their offers, page by page."""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple


class Wanted(NamedTuple):
    """Which messages an export takes. None stands for no condition."""

    mine: str | None
    """Only from or to this peer: whoever asks, if it is an agent."""
    peer: str | None
    """Only from or to this one."""
    thread: str | None
    since: float | None
    upto: int
    """The last message that there was when the export began."""


_IS_WANTED = """
seq <= :upto AND (:mine IS NULL OR :mine IN (sender, recipient)) AND (:peer IS NULL OR :peer IN (sender, recipient))
AND (:thread IS NULL OR thread = :thread) AND (:since IS NULL OR accepted_at >= :since)
AND (:mine IS NULL OR :mine <> recipient OR instr(sender_name, '@') = 0 OR (state <> 'dead' AND messages.id NOT IN (
    SELECT message FROM requests WHERE message IS NOT NULL AND state <> 'approved'
)))
"""
"""The last: what the person keeps from its recipient, as in `coterie.store.messages.is_withheld`."""
_PAGE = "SELECT * FROM messages WHERE seq > :after AND {} ORDER BY seq LIMIT :limit"
_OFFERS = "SELECT * FROM offers WHERE message = ? ORDER BY number"
_PEERS = """
SELECT * FROM peers WHERE :everybody OR id IN (
    SELECT sender FROM messages WHERE {0} UNION SELECT recipient FROM messages WHERE {0}
) ORDER BY since, id
"""


def newest(connection: sqlite3.Connection) -> int:
    """The number of the last message; 0 if there is none."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()[0])


def count(connection: sqlite3.Connection, wanted: Wanted) -> int:
    """How many messages there are to export."""
    query = f"SELECT count(*) FROM messages WHERE {_IS_WANTED}"  # noqa: S608 (words of ours)
    return int(connection.execute(query, wanted._asdict()).fetchone()[0])


def page(connection: sqlite3.Connection, wanted: Wanted, after: int, limit: int) -> list[sqlite3.Row]:
    """The next messages, oldest first."""
    values = {**wanted._asdict(), "after": after, "limit": limit}
    return connection.execute(_PAGE.format(_IS_WANTED), values).fetchall()


def offers(connection: sqlite3.Connection, message: str) -> list[dict[str, Any]]:
    """How a message was offered, first to last."""
    found = [dict(row) for row in connection.execute(_OFFERS, (message,))]
    return [{name: offer[name] for name in offer if name not in ("message", "seal")} for offer in found]


def peers(connection: sqlite3.Connection, wanted: Wanted) -> list[sqlite3.Row]:
    """The peers that the messages are from and to; everybody, if everything is wanted."""
    conditions = (wanted.mine, wanted.peer, wanted.thread, wanted.since)
    values = {**wanted._asdict(), "everybody": all(condition is None for condition in conditions)}
    return connection.execute(_PEERS.format(_IS_WANTED), values).fetchall()
