"""Unread mail for a tool result or a terminal, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie.daemon.handlers.params import Params, flag, maybe_text, text, texts
from coterie.daemon.letterbox import Bundle, bundle
from coterie.messages import Carrier
from coterie.store import messages as stored

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon

RECEIPTS_MAX = 20
"""Receipts in one answer; newer ones first, the rest in the log."""
BAD_ENDS = ("expired", "refused", "dead")


async def take(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Mail for the text named `call`: frames for what no other carrier has, headings for the rest, and receipts.

    `check`: the peer asked for its mail, so headings shown before are repeated and all receipts given. `beside`: the
    calls whose texts go out in the same result.
    """
    peer = daemon.presence.self_of(connection)
    call, check = text(params, "call"), flag(params, "check")
    carrier = Carrier.TERMINAL if flag(params, "terminal") and peer.kind == "person" else Carrier.TOOL
    box = daemon.post.box(peer.id)
    main = (maybe_text(params, "tool_use_id") or "") not in box.subagent_calls
    changes = box.checked(call) if check and main else []
    if main:
        daemon.post.session_reads(peer.id)
    found, opened = bundle(daemon, peer, carrier, call, main=main, everything=check, beside=texts(params, "beside"))
    receipts = _receipts(daemon, peer.id, everything=check)
    await daemon.post.record(peer.id, [*changes, *opened])
    await _note(daemon, peer.id, found, receipts)
    return {**found.to_wire(), "receipts": receipts}


async def _note(daemon: Daemon, peer_id: str, found: Bundle, receipts: list[dict[str, Any]]) -> None:
    peer = daemon.presence.roster.get(peer_id)
    if peer and found.recalled:
        peer.recall_due = False
        await daemon.presence.save(peer)
    if receipts:
        pairs = [(receipt["id"], receipt["state"]) for receipt in receipts]
        await daemon.store.write(lambda connection: stored.told(connection, pairs))


def _receipts(daemon: Daemon, peer: str, *, everything: bool) -> list[dict[str, Any]]:
    """What became of the peer's own messages since it was told last; bad ends are told unasked."""
    rows = stored.receipts(daemon.store.reader, peer, RECEIPTS_MAX)
    names = {other.id: other.name for other in daemon.presence.roster}
    return [
        {
            "id": row["id"],
            "to": names.get(row["recipient"], row["recipient"]),
            "state": row["state"],
            "reason": row["reason"],
        }
        for row in rows
        if everything or row["state"] in BAD_ENDS
    ]


async def shown(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The terminal took the text named `call`: the person was shown it."""
    peer = daemon.presence.self_of(connection)
    await daemon.post.record(peer.id, daemon.post.box(peer.id).show(text(params, "call")))
    return {}


async def failed(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The text named `call` did not get out (the call was cancelled): the next carrier gets what it held."""
    peer = daemon.presence.self_of(connection)
    box = daemon.post.box(peer.id)
    await daemon.post.record(peer.id, box.lapse("the call was cancelled", text(params, "call")))
    daemon.post.push(peer.id)
    return {}
