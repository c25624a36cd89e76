"""Exports, page by page; and who may copy the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie.addresses import resolve_one
from coterie.daemon.handlers.history import find_message
from coterie.daemon.handlers.params import Params, maybe_text, number
from coterie.limits import EXPORT_BYTES, EXPORT_ROWS
from coterie.policy import check_human
from coterie.store import exports
from coterie.store import messages as stored
from coterie.store.db import Row

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon

SEQ_MAX = 1 << 62
PEER = ("id", "name", "kind", "state", "role", "cwd", "repo", "summary", "since", "seen")
"""What an export tells of a peer."""


def may(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Whether a person asks, as a copy holds everybody's mail. It may be a person's timer, without a terminal."""
    check_human("backups.make", daemon.presence.caller(connection).human)
    return {"person": True}


def begin(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """What an export will hold: its peers, how many messages, and up to which; a person gets everybody's, an agent its
    own.
    """
    wanted = _wanted(daemon, connection, {**params, "upto": exports.newest(daemon.store.reader)})
    found = exports.peers(daemon.store.reader, wanted)
    return {
        "upto": wanted.upto,
        "messages": exports.count(daemon.store.reader, wanted),
        "peers": [{name: row[name] for name in PEER} for row in found],
    }


def page(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The next messages of an export after the number `after`. Raises `Damaged` where one is not as it was sent."""
    wanted = _wanted(daemon, connection, params)
    after = int(number(params, "after", 0, 0, SEQ_MAX))
    rows = exports.page(daemon.store.reader, wanted, after, EXPORT_ROWS)
    messages: list[dict[str, Any]] = []
    room = EXPORT_BYTES
    for row in rows:
        room -= len(row["text"].encode())
        if messages and room < 0:
            break
        messages.append(_exported(daemon, row))
    return {"messages": messages, "more": len(messages) < len(rows) or len(rows) == EXPORT_ROWS}


def _wanted(daemon: Daemon, connection: Connection, params: Params) -> exports.Wanted:
    human = daemon.presence.caller(connection).human
    me = daemon.presence.self_of(connection)
    named, thread = maybe_text(params, "peer"), maybe_text(params, "thread")
    return exports.Wanted(
        mine=None if human else me.id,
        peer=resolve_one(named, daemon.presence.roster, me).id if named else None,
        thread=find_message(daemon, None if human else me, thread)["thread"] if thread else None,
        since=number(params, "since", 0, 0, SEQ_MAX) or None,
        upto=int(number(params, "upto", SEQ_MAX, 0, SEQ_MAX)),
    )


def _exported(daemon: Daemon, row: Row) -> dict[str, Any]:
    stored.letter(row)
    told = {name: row[name] for name in row.keys() if name not in ("seal", "mark")}  # noqa: SIM118 (a Row is not a dict)
    return {**told, "offers": exports.offers(daemon.store.reader, row["id"])}
