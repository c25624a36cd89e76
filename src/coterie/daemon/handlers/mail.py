"""Unread mail for a tool result or a terminal, and what became of it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from coterie.daemon.handlers.history import is_main
from coterie.daemon.handlers.params import Params, flag, text, texts
from coterie.daemon.letterbox import bundle
from coterie.errors import CoterieError
from coterie.messages import Carrier, State
from coterie.peers import PERSON
from coterie.store import messages as stored

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon

RECEIPTS_MAX = 20
"""Receipts in one answer; newer ones first, the rest in the log."""
BAD_ENDS = (State.EXPIRED, State.REFUSED, State.DEAD)
ALL_TOLD = (State.OFFERED, State.SHOWN, State.ACKNOWLEDGED, *BAD_ENDS)


async def take(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Mail for the text named `call`: frames for what no other carrier has, headings for the rest, and receipts.

    `check`: the peer asked for its mail, so headings shown before are repeated and all receipts given. `beside`: the
    calls whose texts go out in the same result.
    """
    peer = daemon.presence.self_of(connection)
    call, check = text(params, "call"), flag(params, "check")
    carrier = Carrier.TERMINAL if flag(params, "terminal") and peer.kind == PERSON else Carrier.TOOL
    box = daemon.post.box(peer.id)
    # A window that was displaced is told what there is; the texts are for the window that has the session now.
    main = is_main(daemon, connection, peer, params) and not connection.displaced
    changes = box.checked(call) if check and main else []
    daemon.heard(peer)
    if main:
        daemon.post.session_reads(peer.id)
    found, opened = bundle(daemon, peer, carrier, call, main=main, everything=check, beside=texts(params, "beside"))
    daemon.nudges.taken(peer.id, [letter.id for letter in found.letters])
    receipts = _receipts(daemon, peer.id, everything=check)
    if found.letters or receipts:
        connection.carries(peer.id, call, [(receipt["id"], receipt["state"]) for receipt in receipts])
    try:
        await daemon.post.record(peer.id, [*changes, *opened])
        if found.recalled:
            await daemon.presence.recalled(peer)
    except CoterieError:
        connection.calls.pop(call, None)
        raise
    daemon.post.push(peer.id)  # What found no room here.
    return {**found.to_wire(), "receipts": receipts}


def _receipts(daemon: Daemon, peer: str, *, everything: bool) -> list[dict[str, Any]]:
    """What became of the peer's own messages since it was told last; bad ends are told unasked."""
    rows = stored.receipts(daemon.store.reader, peer, ALL_TOLD if everything else BAD_ENDS, RECEIPTS_MAX)
    telling = {pair for other in daemon.server.connections for pairs in other.calls.values() for pair in pairs}
    names = daemon.presence.roster.addresses()
    return [
        {
            "id": row["id"],
            "to": names.get(row["recipient"], row["recipient"]),
            "state": row["state"],
            "reason": row["reason"],
        }
        for row in rows
        if (row["id"], row["state"]) not in telling
    ]


def _told_for(daemon: Daemon, connection: Connection) -> str:
    """The peer for whom a connection took mail."""
    return connection.speaks_for or daemon.presence.self_of(connection).id


def written(daemon: Daemon, connection: Connection, params: Params) -> Awaitable[dict[str, Any]]:
    """The texts with these names are out: their mail is offered, and their receipts are told."""
    calls = texts(params, "calls")
    return _written(daemon, connection, calls, daemon.post.written(_told_for(daemon, connection), calls))


async def _written(
    daemon: Daemon, connection: Connection, calls: list[str], recorded: Awaitable[None]
) -> dict[str, Any]:
    await recorded
    await _told(daemon, connection, calls)
    return {}


async def _told(daemon: Daemon, connection: Connection, calls: list[str]) -> None:
    pairs = [pair for call in calls for pair in connection.calls.get(call, [])]
    if pairs:
        await daemon.store.write(lambda database: stored.told(database, pairs))
    for call in calls:  # Only now: until it is stored, what is being told must not be told again.
        connection.calls.pop(call, None)


async def shown(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The terminal took the text named `call`: the person was shown it."""
    peer, call = _told_for(daemon, connection), text(params, "call")
    await daemon.post.record(peer, daemon.post.box(peer).show(call))
    await _told(daemon, connection, [call])
    return {}


async def failed(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The text named `call` did not get out (the call was cancelled): the next carrier gets what it held, and what
    answers it from now on.
    """
    peer, call = _told_for(daemon, connection), text(params, "call")
    connection.calls.pop(call, None)
    daemon.post.waits.call_over(peer, call)
    await daemon.post.record(peer, daemon.post.box(peer).fail_unwritten("the call was given up", [call]))
    daemon.post.push(peer)
    return {}
