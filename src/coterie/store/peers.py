"""Peers and their sessions in the database."""

from __future__ import annotations

import sqlite3

from coterie.activity import Activity
from coterie.peers import Peer, Process, State
from coterie.store import seals

_SAVE = """
INSERT INTO peers (id, name, named, kind, state, role, cwd, repo, summary, summary_at, one_shot,
                   agent_pid, agent_start, adapter_pid, adapter_start, recall_due, since, seen,
                   hooked, endpoint, heard, branch, prompt, files, prompted, seal)
VALUES (:id, :name, :named, :kind, :state, :role, :cwd, :repo, :summary, :summary_at, :one_shot,
        :agent_pid, :agent_start, :adapter_pid, :adapter_start, :recall_due, :since, :seen,
        :hooked, :endpoint, :heard, :branch, :prompt, :files, :prompted, :seal)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, named = excluded.named, state = excluded.state, role = excluded.role,
    cwd = excluded.cwd, repo = excluded.repo, summary = excluded.summary, summary_at = excluded.summary_at,
    one_shot = excluded.one_shot, agent_pid = excluded.agent_pid, agent_start = excluded.agent_start,
    adapter_pid = excluded.adapter_pid, adapter_start = excluded.adapter_start,
    recall_due = excluded.recall_due, seen = excluded.seen,
    hooked = excluded.hooked, endpoint = excluded.endpoint, heard = excluded.heard,
    branch = excluded.branch, prompt = excluded.prompt, files = excluded.files,
    prompted = excluded.prompted, seal = excluded.seal
"""

# A session belongs to one peer: a resume of an id in another peer's process moves it.
_SAVE_SESSION = """
INSERT INTO sessions (session, kind, peer) VALUES (?, ?, ?)
ON CONFLICT (kind, session) DO UPDATE SET peer = excluded.peer WHERE peer <> excluded.peer
"""

_LOAD = "SELECT * FROM peers WHERE state <> 'ended' OR seen > ?"
_LOAD_SESSIONS = "SELECT session, peer FROM sessions ORDER BY seq"
_FORGET_ENDED = "DELETE FROM peers WHERE state = 'ended' AND seen < ?"
# In a mailbox of this device: not on its way to another one, and not held for a word of the person.
_UNREAD = """
state IN ('queued', 'offered')
AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.message = messages.id)
AND id NOT IN (SELECT message FROM requests WHERE requests.state = 'held' AND message IS NOT NULL)
"""
_UNREAD_COUNTS = f"SELECT recipient, count(*) FROM messages WHERE {_UNREAD} GROUP BY recipient"  # noqa: S608 (ours)
_OLDEST_UNREAD = f"""
SELECT first.recipient, accepted_at FROM messages JOIN (
    SELECT recipient, min(seq) AS seq FROM messages WHERE {_UNREAD} GROUP BY recipient
) AS first ON first.seq = messages.seq
"""  # noqa: S608


def save(connection: sqlite3.Connection, peer: Peer) -> None:
    """Insert or update a peer and its sessions."""
    agent, adapter = peer.agent, peer.adapter
    row: dict[str, str | float | None] = {
        "id": peer.id,
        "name": peer.name,
        "named": peer.named,
        "kind": peer.kind,
        "state": peer.state.value,
        "role": peer.role,
        "cwd": peer.cwd,
        "repo": peer.repo,
        "summary": peer.summary,
        "summary_at": peer.summary_at,
        "one_shot": peer.one_shot,
        "agent_pid": agent.pid if agent else None,
        "agent_start": agent.start if agent else None,
        "adapter_pid": adapter.pid if adapter else None,
        "adapter_start": adapter.start if adapter else None,
        "recall_due": peer.recall_due,
        "since": peer.since,
        "seen": peer.seen,
        "hooked": peer.hooked,
        "endpoint": peer.endpoint,
        "heard": peer.heard,
        "branch": peer.activity.branch,
        "prompt": peer.activity.prompt,
        "files": "\n".join(peer.activity.files),
        "prompted": peer.prompted,
    }
    connection.execute(_SAVE, {**row, "seal": seals.sealed(*[row.get(column) for column in seals.PEER])})
    connection.executemany(_SAVE_SESSION, [(session, peer.kind, peer.id) for session in peer.sessions])


def load(connection: sqlite3.Connection, ended_after: float) -> list[Peer]:
    """Every peer that may be written to or come back; ended ones only if seen after `ended_after`."""
    sessions: dict[str, list[str]] = {}
    for session, peer in connection.execute(_LOAD_SESSIONS):
        sessions.setdefault(peer, []).append(session)
    return [_peer(row, sessions.get(row["id"], [])) for row in connection.execute(_LOAD, (ended_after,))]


def _peer(row: sqlite3.Row, sessions: list[str]) -> Peer:
    return Peer(
        id=row["id"],
        name=row["name"],
        named=bool(row["named"]),
        kind=row["kind"],
        state=State(row["state"]),
        role=row["role"],
        cwd=row["cwd"],
        repo=row["repo"],
        summary=row["summary"],
        summary_at=row["summary_at"],
        one_shot=bool(row["one_shot"]),
        agent=_process(row["agent_pid"], row["agent_start"]),
        adapter=_process(row["adapter_pid"], row["adapter_start"]),
        sessions=sessions,
        recall_due=bool(row["recall_due"]),
        since=row["since"],
        seen=row["seen"],
        hooked=bool(row["hooked"]),
        endpoint=row["endpoint"],
        heard=row["heard"],
        prompted=row["prompted"],
        activity=Activity(row["branch"], row["prompt"], row["files"].splitlines()),
    )


def _process(pid: int | None, start: str | None) -> Process | None:
    return Process(pid, start) if pid is not None and start is not None else None


def unread_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many messages wait for each peer that has any."""
    return dict(connection.execute(_UNREAD_COUNTS).fetchall())


def oldest_unread(connection: sqlite3.Connection) -> dict[str, float]:
    """When the oldest message was accepted that waits for each peer that has any."""
    return dict(connection.execute(_OLDEST_UNREAD).fetchall())


def forget_ended(connection: sqlite3.Connection, before: float) -> int:
    """Remove peers that ended before `before`; their messages stay. Returns how many went."""
    return connection.execute(_FORGET_ENDED, (before,)).rowcount
