"""The guards at work: what they count comes from the store, and whom they stop is told why.

The rules are in coterie.guards. Here is what they need to know, who is told of a refusal, and what a word of a person
sets right again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coterie.daemon.causes import Causes
from coterie.daemon.events import Events
from coterie.daemon.notices import Notices
from coterie.daemon.post import Post
from coterie.errors import Limited
from coterie.guards import Books, Limits, Pair, Refusal, Send
from coterie.peers import PERSON, Peer, Roster
from coterie.store import counts
from coterie.store import messages as stored
from coterie.store.db import Row, Store


class Guards:
    """What bounds the sends of one daemon."""

    def __init__(
        self,
        store: Store,
        roster: Roster,
        post: Post,
        causes: Causes,
        notices: Notices,
        events: Events,
        limits_for: Callable[[Peer], Limits],
    ) -> None:
        self._store = store
        self._roster = roster
        self._post = post
        self._notices = notices
        self._events = events
        self._limits_for = limits_for
        self._steady = asyncio.get_running_loop().time
        self._causes = causes
        self._books = Books(self)

    # --- what the rules ask ---------------------------------------------------------------------------------------

    def thread(self, thread: str) -> int:
        """Sends of agents in a thread since a person's last word in it."""
        return counts.thread(self._store.reader, thread)

    def exchange(self, pair: Pair) -> int:
        """Messages between two agents since a person's last word to either."""
        peers = [self._roster.get(peer) for peer in pair]
        prompted = max((peer.prompted or 0.0 for peer in peers if peer), default=0.0)
        return counts.exchange(self._store.reader, *pair, prompted)

    def reached(self, spread: Pair) -> list[str]:
        """The agents that a peer (second) wrote to because of a cause (first)."""
        found = ((peer, self._roster.get(peer)) for peer in counts.reached(self._store.reader, *spread))
        return [peer_id for peer_id, peer in found if peer is None or peer.kind != PERSON]

    def unread(self, peer: str) -> tuple[int, int]:
        """The unread messages of a peer, and the bytes of their texts."""
        box = self._post.box(peer)
        return len(box.entries), box.size

    # --- sends ----------------------------------------------------------------------------------------------------

    def admit(
        self, message: str, sender: Peer, recipients: list[Peer], thread: str, body: str, answered: Row | None
    ) -> Send:
        """Count a send, and say where it comes from. The caller says `done`. Raises `Limited`, but not for what was
        stored before and is sent again.
        """
        cause = self._causes.of(sender, answered) if sender.kind != PERSON else None
        send = Send(message, sender, recipients, thread, body, cause, answered["id"] if answered else None)
        refusal = self._books.admit(send, self._limits_for(sender), self._steady())
        if refusal and not self._is_stored(send):
            raise self._refused(send, refusal)
        return send

    def done(self, send: Send, *, stored: bool) -> None:
        """The store took it; or it failed, or had it before."""
        self._books.done(send, stored=stored)

    def came(self, sender: str, recipient: str, thread: str, *, begins: bool) -> None:
        """A message of another device is stored. That one's guards let it pass; here it counts like any other."""
        self._books.came(sender, recipient, None if begins else thread)

    def spoke_to(self, peer: Peer) -> None:
        """The user of a session spoke to it."""
        self._causes.spoke_to(peer.id)
        self._books.spoke_to({peer.id})

    def _is_stored(self, send: Send) -> bool:
        row = stored.find(self._store.reader, send.id)
        return row is not None and row["sender"] == send.sender.id

    def _refused(self, send: Send, refusal: Refusal) -> Limited:
        recipient = refusal.recipient
        told = self._notices.refused(send, refusal, self._steady())
        hint = refusal.hint
        if refusal.go_on:
            person = "the person is told, and can let it go on" if told else "the person can let it go on"
            hint = f"{hint}; {person}: {refusal.go_on}"
        about = {
            "from": send.sender.name,
            "from_id": send.sender.id,
            "to": recipient.name,
            "to_id": recipient.id,
            "limit": refusal.limit,
            "message": refusal.message,
            "retry_s": refusal.retry_s,
            "thread": send.thread,
        }
        self._events.publish("limit", **about)
        return Limited(refusal.message, hint, limit=refusal.limit, retry_s=refusal.retry_s)
