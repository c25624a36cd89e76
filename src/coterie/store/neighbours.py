"""Sessions of other devices in the database, as those showed them last."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from coterie.peers import Peer, State

UNSHOWN = ""
"""In place of the state of a session that its device does not show."""


class Row(NamedTuple):
    """One session; in the order of the columns."""

    id: str
    device: str
    there: str
    name: str
    kind: str
    state: str
    role: str
    repo: str
    summary: str
    seen: float


_SAVE = """
INSERT INTO neighbours (id, device, there, name, kind, state, role, repo, summary, seen)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, kind = excluded.kind, state = excluded.state, role = excluded.role,
    repo = excluded.repo, summary = excluded.summary, seen = excluded.seen
"""
_LOAD = "SELECT * FROM neighbours"
_REMOVE = "DELETE FROM neighbours WHERE id = ?"
_AWAITED = """
SELECT DISTINCT recipient FROM outbox JOIN messages ON outbox.message = messages.id
WHERE outbox.device = ? AND outbox.state = 'waits'
"""


def row(peer: Peer) -> Row:
    """What is kept of a peer of another device."""
    state = peer.told.value if peer.told else UNSHOWN
    fields = (peer.name, peer.kind, state, peer.role, peer.repo, peer.summary, peer.seen)
    return Row(peer.id, peer.device, peer.there, *fields)


def save(connection: sqlite3.Connection, rows: Iterable[Row], gone: Iterable[str] = ()) -> None:
    """Insert or update sessions, and remove those with the ids `gone`."""
    connection.executemany(_REMOVE, [(peer,) for peer in gone])
    connection.executemany(_SAVE, list(rows))


def load(connection: sqlite3.Connection) -> list[Peer]:
    """Every session that is known of other devices, none of them known to be here now."""
    return [_peer(kept) for kept in connection.execute(_LOAD)]


def _peer(kept: sqlite3.Row) -> Peer:
    told = State(kept["state"]) if kept["state"] != UNSHOWN else None
    return Peer(
        id=kept["id"],
        name=kept["name"],
        kind=kept["kind"],
        state=State.ENDED if told is State.ENDED else State.AWAY,
        role=kept["role"],
        repo=kept["repo"],
        summary=kept["summary"],
        seen=kept["seen"],
        device=kept["device"],
        there=kept["there"],
        told=told,
    )


def awaited(connection: sqlite3.Connection, device: str) -> set[str]:
    """The sessions of a device for which mail waits here."""
    return {kept["recipient"] for kept in connection.execute(_AWAITED, (device,))}
