"""What devices asked of each other and were not granted: rights, and messages that are held for the person."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from coterie.limits import REQUESTS_MAX


class Verdict(StrEnum):
    """What became of a request."""

    HELD = "held"
    """Nobody has decided."""
    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(slots=True)
class Request:
    """Something that one device wants of another, and a person decides."""

    id: str
    device: str
    """The other one."""
    incoming: bool
    """Whether it asks us; else we asked it."""
    wanted: str
    """The right."""
    at: float
    reason: str = ""
    message: str | None = None
    """The one that is held, if it is not the right itself that is asked for."""
    state: Verdict = Verdict.HELD
    told: bool = False
    """Whether the other device has confirmed: the verdict, of what it asked; to have it, of what we asked."""

    @property
    def is_open(self) -> bool:
        """Whether the person here can decide it."""
        return self.incoming and self.state is Verdict.HELD


_SAVE = """
INSERT INTO requests (id, device, incoming, wanted, reason, message, state, told, at)
VALUES (:id, :device, :incoming, :wanted, :reason, :message, :state, :told, :at)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, told = excluded.told
"""
# What is over is kept for a while: a late copy of its frame must not open it again. A message that was not let through
# is kept from its recipient for as long as it is here.
_FORGET_OLD = """
DELETE FROM requests WHERE id IN (
    SELECT id FROM requests WHERE device = ? AND state <> 'held'
    AND (state = 'approved' OR message IS NULL OR message NOT IN (SELECT id FROM messages))
    ORDER BY at DESC LIMIT -1 OFFSET ?
)
"""


def save(connection: sqlite3.Connection, request: Request) -> None:
    """Insert a request, or update what became of it."""
    row: dict[str, str | float | None] = {
        "id": request.id,
        "device": request.device,
        "incoming": request.incoming,
        "wanted": request.wanted,
        "reason": request.reason,
        "message": request.message,
        "state": request.state.value,
        "told": request.told,
        "at": request.at,
    }
    connection.execute(_SAVE, row)
    connection.execute(_FORGET_OLD, (request.device, REQUESTS_MAX))


def load(connection: sqlite3.Connection) -> list[Request]:
    """Every request, the oldest first."""
    return [_request(row) for row in connection.execute("SELECT * FROM requests ORDER BY rowid")]


def _request(row: sqlite3.Row) -> Request:
    return Request(
        id=row["id"],
        device=row["device"],
        incoming=bool(row["incoming"]),
        wanted=row["wanted"],
        at=row["at"],
        reason=row["reason"],
        message=row["message"],
        state=Verdict(row["state"]),
        told=bool(row["told"]),
    )
