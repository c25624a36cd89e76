"""One conversation: its messages, how each was brought, where it comes from and what was made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie.daemon.handlers.history import find_message, may_read, public, within_answer
from coterie.daemon.handlers.params import Params, flag, number, text
from coterie.daemon.handlers.peers import busy, reach
from coterie.daemon.nudges import Outcome
from coterie.frames import one_line
from coterie.limits import CHAIN_ROWS_MAX, CHAIN_STEPS_MAX, HEADING_CHARS, LOG_ROWS_MAX
from coterie.peers import LISTED, Peer, State
from coterie.store import chains
from coterie.store import messages as stored
from coterie.store.db import Row

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon


def thread(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The thread of a message, oldest first, in pages of `limit` that end before the number `before`. An agent sees
    what is from or to itself.

    Beside each message stand its `offers` and, while it is not over, what is known of its `recipient`. `causes` is
    what led to the thread, the first cause first; `made`, what other threads were made of it; each with its `depth`.
    """
    me = daemon.presence.self_of(connection)
    mine = None if daemon.presence.caller(connection).human else me
    about = find_message(daemon, mine, text(params, "message"))["thread"]
    reader = daemon.store.reader
    before = int(number(params, "before", 0, 0, 1 << 62)) or None
    limit = int(number(params, "limit", LOG_ROWS_MAX, 1, LOG_ROWS_MAX))
    peer = mine.id if mine else None
    found = stored.log(reader, peer=peer, other=None, thread=about, before=before, limit=limit)
    rows = [row for row in found if may_read(daemon, mine, row)]
    shown = within_answer(rows)
    names = daemon.presence.roster.addresses()
    offers = chains.offers(reader, [row["id"] for row in shown])
    return {
        "thread": about,
        "messages": [
            {
                **public(row, names, me, True),
                "offers": [_offer(offer) for offer in offers[row["id"]]],
                "recipient": _recipient(daemon, row),
            }
            for row in reversed(shown)
        ],
        "more": len(shown) < len(rows) or len(found) == limit,
        "waits": [
            {"waiter": names.get(wait.waiter, wait.waiter), "for": names.get(wait.recipient, wait.recipient)}
            for wait in daemon.post.waits.in_thread(about)
            if mine is None or mine.id in (wait.waiter, wait.recipient)
        ],
        **(_chain(daemon, about, mine, me, names) if flag(params, "chain") else {}),
    }


def _chain(daemon: Daemon, about: str, mine: Peer | None, me: Peer, names: dict[str, str]) -> dict[str, Any]:
    reader = daemon.store.reader
    first = stored.first_of(reader, about)
    before = [row for row in chains.causes(reader, first, CHAIN_STEPS_MAX) if row["id"] != first] if first else []
    after = chains.made(reader, about, CHAIN_STEPS_MAX, CHAIN_ROWS_MAX)

    def shown(rows: list[Row]) -> list[dict[str, Any]]:
        parties = [row for row in rows if mine is None or mine.id in (row["sender"], row["recipient"])]
        seen = [row for row in parties if may_read(daemon, mine, row)]
        return [
            {**public(row, names, me, False), "depth": row["depth"], "line": one_line(row["text"], HEADING_CHARS)}
            for row in seen
        ]

    return {"causes": shown(before), "made": shown(after), "made_more": len(after) == CHAIN_ROWS_MAX}


def _offer(row: Row) -> dict[str, Any]:
    kept = ("number", "carrier", "outcome", "reason", "stops", "opened_at", "closed_at")
    return {**{key: row[key] for key in kept}, "written": bool(row["written"])}


def _recipient(daemon: Daemon, row: Row) -> dict[str, Any] | None:
    """What is known of whoever is to read or answer a message that is not over."""
    if row["state"] not in ("queued", "offered", "shown"):
        return None
    peer = daemon.presence.roster.get(row["recipient"])
    told = daemon.nudges.outcome(peer, row["id"]) if peer else Outcome()
    here = peer is not None and peer.state in LISTED
    return {
        "state": peer.state.value if peer else State.ENDED.value,
        "kind": peer.kind if peer else None,
        "since": peer.seen if peer and not here else None,
        "heard": peer.heard if peer else None,
        "busy": busy(daemon, peer) if peer else None,
        "reach": reach(daemon, peer) if peer else "none",
        "nudge": told.nudge.value if told.nudge else None,
        "nudge_failure": told.failure,
        "there": daemon.outbox.standing(row["id"]),
    }
