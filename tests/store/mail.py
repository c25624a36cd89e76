"""A database with mail in it, as the daemon's own code writes it, and all that can be read of one."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any

from coterie import ids
from coterie.devices import Device, Standing
from coterie.files import Home
from coterie.messages import Carrier, Change, Offer, Outcome, State
from coterie.peers import Peer
from coterie.peers import State as PeerState
from coterie.store import copies, exports, seals
from coterie.store import devices as stored_devices
from coterie.store import messages as stored
from coterie.store import peers as stored_peers
from coterie.store.db import Store
from coterie.store.messages import NewMessage

NOW = 1_800_000_000.0
NAMES = ("alice", "bob", "carol")
EVERYTHING = exports.Wanted(mine=None, peer=None, thread=None, since=None, upto=1 << 62)


def using(place: Home, use: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
    """Open the store of a home as the daemon does, use it, and close it."""

    async def main() -> Any:
        store = Store.open(place, NOW)
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(main())


def new_message(number: int, text: str = "") -> NewMessage:
    """A message from one of the peers to the next."""
    sender, recipient = NAMES[number % 3], NAMES[(number + 1) % 3]
    message = ids.new_message_id()
    return NewMessage(
        id=message,
        sender=f"p_{sender}",
        sender_name=sender,
        sender_kind="claude",
        recipient=f"p_{recipient}",
        thread=message,
        reply_to=None,
        text=text or f"Message {number}: the port is {8000 + number}, see größer.toml.\n" * (1 + number % 7),
        accepted_at=NOW + number,
        expires_at=NOW + 600_000 + number,
    )


async def fill(store: Store, count: int = 30) -> list[str]:
    """Peers, and messages in every state; returns the ids, oldest first."""
    for name in NAMES:
        peer = Peer(id=f"p_{name}", name=name, named=True, kind="claude", state=PeerState.LIVE, since=NOW, seen=NOW)
        peer.sessions.append(f"session-{name}")
        peer.summary = f"{name} works on the store"
        await store.write(lambda connection, peer=peer: stored_peers.save(connection, peer))  # type: ignore[misc]
    laptop = Device("A" * 56, "laptop", b"\x30\x00\xff", Standing.PAIRED, addresses=["192.0.2.1:9847"], paired_at=NOW)
    await store.write(lambda connection: stored_devices.save(connection, laptop))
    return [await send(store, number) for number in range(count)]


async def send(store: Store, number: int) -> str:
    """Accept a message, and let more become of it, as its number says."""
    message = new_message(number)
    offer = Offer(message.id, 1, Carrier.INBOX, ids.new_token(), 1, True)
    ended = (Outcome.SHOWN, State.SHOWN) if number % 4 else (Outcome.FAILED, State.QUEUED)

    def job(connection: sqlite3.Connection) -> None:
        stored.accept(connection, message.id, [message], None)
        if number % 3:
            changes = [Change(message.id, State.OFFERED, "claude-inbox", offer, Outcome.OPEN)]
            stored.apply(connection, changes, NOW + number)
        if number % 3 == 2:
            outcome, state = ended
            stored.apply(connection, [Change(message.id, state, "seen", offer, outcome)], NOW + number + 1)
            stored.told(connection, [(message.id, state.value)])

    await store.write(job)
    return message.id


def peer_as_read(peer: Peer) -> dict[str, Any]:
    """A peer's fields as values that can be compared."""
    fields = {field.name: getattr(peer, field.name) for field in dataclasses.fields(peer)}
    done = fields.pop("activity")
    return {**fields, "activity": (done.branch, done.prompt, list(done.files))}


def everything(connection: sqlite3.Connection) -> dict[str, Any]:
    """All that the daemon reads, by its own words. Raises what reading raises."""
    rows = exports.page(connection, EVERYTHING, 0, 1_000)
    return {
        "messages": [(stored.letter(row), {name: row[name] for name in (*seals.SENT, *seals.BECAME)}) for row in rows],
        "offers": [exports.offers(connection, row["id"]) for row in rows],
        "peers": [peer_as_read(peer) for peer in stored_peers.load(connection, 0)],
        "found": [stored.find(connection, row["id"]) is not None for row in rows],
        "unread": [list(stored.mailbox(connection, f"p_{name}").entries) for name in NAMES],
        "log": [
            [
                row["id"]
                for row in stored.log(connection, peer=f"p_{name}", other=None, thread=None, before=None, limit=99)
            ]
            for name in NAMES
        ],
        "counts": stored.counts(connection),
        "unread counts": stored_peers.unread_counts(connection),
    }


def read(path: str) -> dict[str, Any]:
    """All that a database file says, without changing it."""
    with contextlib.closing(copies.opened(path, alone=True)) as connection:
        connection.row_factory = sqlite3.Row
        return everything(connection)
