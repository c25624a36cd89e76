"""What was sent: the log, and the text of one message on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie.addresses import resolve_one
from coterie.daemon.handlers.params import Params, flag, maybe_text, number, text
from coterie.errors import Ambiguous, NoMatch
from coterie.frames import frame, heading
from coterie.limits import LOG_ANSWER_BYTES_MAX, LOG_ROWS_MAX
from coterie.peers import PERSON, Peer
from coterie.store import messages as stored
from coterie.store.db import Row

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon

PREFIX_MIN = 3
"""Characters of a message id, after its m_, that may stand for it."""


def find_message(daemon: Daemon, peer: Peer | None, message: str) -> Row:
    """A message from or to `peer` (None: anybody's), by its id or the beginning of it. Raises `NoMatch` or
    `Ambiguous`.
    """
    wanted = message.strip().lower()
    wanted = wanted if wanted.startswith("m_") else f"m_{wanted}"
    exact = stored.find(daemon.store.reader, wanted)
    if exact and (peer is None or peer.id in (exact["sender"], exact["recipient"])) and may_read(daemon, peer, exact):
        return exact
    near = (
        stored.find_by_prefix(daemon.store.reader, wanted, peer.id if peer else None)
        if len(wanted) >= PREFIX_MIN + 2
        else []
    )
    found = [row for row in near if may_read(daemon, peer, row)]
    if not found:
        whose = f" from or to {peer.name}" if peer else ""
        raise NoMatch(f"no message {message[:40]!r}{whose}", "check_messages with history lists the last ones")
    if len(found) > 1:
        raise Ambiguous(f"{message[:40]!r} begins several ids", ", ".join(row["id"] for row in found))
    return found[0]


def may_read(daemon: Daemon, peer: Peer | None, row: Row) -> bool:
    """Whether a message from or to `peer` (None: anybody's) may be read: not what the person keeps from its recipient,
    unless it is the person who asks.
    """
    mine = peer is not None and peer.kind != PERSON and peer.id == row["recipient"]
    return not (mine and stored.is_withheld(daemon.store.reader, row))


def log(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """What was sent, newest last: an agent sees its own mail, a person everybody's."""
    me, narrowed = narrow(daemon, connection, params)
    after = int(number(params, "after", 0, 0, 1 << 62)) or None
    with_texts = flag(params, "texts")
    rows = [row for row in stored.log(daemon.store.reader, after=after, **narrowed) if may_read(daemon, me, row)]
    names = daemon.presence.roster.addresses()
    shown = within_answer(rows) if with_texts else rows
    return {
        "messages": [public(row, names, me, with_texts) for row in reversed(shown)],
        "more": len(shown) < len(rows),
    }


def narrow(daemon: Daemon, connection: Connection, params: Params) -> tuple[Peer, dict[str, Any]]:
    """Who asks, and which messages for: a person may see everybody's, an agent its own."""
    me = daemon.presence.self_of(connection)
    person = daemon.presence.caller(connection).human
    named, thread = maybe_text(params, "peer"), maybe_text(params, "thread")
    other = resolve_one(named, daemon.presence.roster, me).id if named else None
    return me, {
        "peer": other if person else me.id,
        "other": None if person else other,
        "thread": find_message(daemon, None if person else me, thread)["thread"] if thread else None,
        "before": int(number(params, "before", 0, 0, 1 << 62)) or None,
        "limit": int(number(params, "limit", 20, 1, LOG_ROWS_MAX)),
    }


def within_answer(rows: list[Row]) -> list[Row]:
    """As many rows as one answer holds with their texts; one at least, as each fits by itself."""
    room = LOG_ANSWER_BYTES_MAX
    for count, row in enumerate(rows):
        room -= len(row["text"].encode())
        if room < 0:
            return rows[: max(count, 1)]
    return rows


def is_main(daemon: Daemon, connection: Connection, peer: Peer, params: Params) -> bool:
    """Whether a tool call is the main agent's, as far as its adapter or the session's hooks told."""
    box = daemon.post.box(peer.id)
    return (
        not connection.subagent
        and not box.delegated
        and (maybe_text(params, "tool_use_id") or "") not in box.subagent_calls
    )


def public(row: Row, names: dict[str, str], me: Peer, with_text: bool) -> dict[str, Any]:
    """A message as the log shows it to `me`."""
    text = {"text": row["text"]} if with_text else {}
    return {
        **text,
        "seq": row["seq"],
        "id": row["id"],
        "thread": row["thread"],
        "reply_to": row["reply_to"],
        "from": row["sender_name"],
        "from_id": row["sender"],
        "from_kind": row["sender_kind"],
        "to": names.get(row["recipient"], row["recipient"]),
        "to_id": row["recipient"],
        "mine": row["sender"] == me.id,
        "state": row["state"],
        "reason": row["reason"],
        "carrier": row["carrier"],
        "accepted_at": row["accepted_at"],
        "changed_at": row["changed_at"],
        "expires_at": row["expires_at"],
        "cause": row["cause"],
        "path": [{"id": peer, "name": names.get(peer, peer)} for peer in row["path"].split()],
        "heading": heading(stored.letter(row)),
    }


async def read(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The text of one message, on request, whatever became of it. Being asked for, it may be shown again."""
    me = daemon.presence.self_of(connection)
    row, call = find_message(daemon, me, text(params, "message")), text(params, "call")
    if row["recipient"] == me.id and is_main(daemon, connection, me, params):
        connection.carries(me.id, call, [])
        await daemon.post.asked_for(me.id, row["id"], call)
    shown = frame(stored.letter(row))
    return {"id": row["id"], "call": call, "frame": shown, "state": row["state"], "reason": row["reason"]}
