"""What Coterie itself tells the person: that it stopped something, who is in it, and what to type.

A notice is a message like others, stored and shown in the inbox, from the sender "coterie", to whom nobody can write.
There is one for each thing that was stopped and each limit within NOTICE_GAP_S, and none while one about the same is
unread; the first line of its text says what it is about.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from coterie import ids
from coterie.daemon.events import Events
from coterie.daemon.post import Post
from coterie.daemon.presence import Presence
from coterie.errors import CoterieError
from coterie.frames import ITSELF
from coterie.guards import Limits, Refusal, Send
from coterie.limits import (
    CHAIN_STEPS_MAX,
    COUNTS_KEPT_MAX,
    MESSAGE_LIFE_S,
    NOTICE_GAP_S,
    NOTICE_REFUSALS,
    NOTICES_UNREAD_MAX,
)
from coterie.peers import Peer
from coterie.store import chains, counts
from coterie.store import messages as stored
from coterie.store.db import Row, Store
from coterie.store.messages import NewMessage

log = logging.getLogger(__name__)

ALWAYS = ("thread", "exchange", "hops")
"""Limits at which something was stopped that only a person lets go on."""
OFTEN = ("pair-rate", "repeats")
"""Limits of which the person is told when an agent runs against them again and again."""


class Notices:
    """What the person is told of, and was told lately."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        presence: Presence,
        post: Post,
        events: Events,
        limits_for: Callable[[Peer], Limits],
        expires_in: Callable[[float], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._presence = presence
        self._post = post
        self._events = events
        self._limits_for = limits_for
        self._expires_in = expires_in
        self._told: dict[str, tuple[float, str]] | None = None
        """For each subject when the person was told last, and the message."""
        self._storing: set[str] = set()
        self._refusals: dict[tuple[str, str], list[float]] = {}

    def refused(self, send: Send, refusal: Refusal, now: float) -> bool:
        """A send was refused: tell the person if that is worth a word. Returns whether they are told of it."""
        if refusal.limit in ALWAYS:
            subject = self._subject(send, refusal)
            return self._tell(subject, partial(self._stopped, send, refusal), now)
        if refusal.limit in OFTEN and self._recurs((send.sender.id, refusal.limit), now):
            subject = f"Refused again and again at the limit {refusal.limit}: {_who(send.sender)}"
            return self._tell(subject, partial(self._insists, send, refusal), now)
        return False

    def tell(self, subject: str, lines: list[str]) -> None:
        """Tell the person of something else that they may want to decide, or to know."""
        self._tell(subject, lambda: lines, self._clock())

    def _recurs(self, key: tuple[str, str], now: float) -> bool:
        times = [at for at in self._refusals.pop(key, []) if at > now - NOTICE_GAP_S]
        self._refusals[key] = [*times, now][-NOTICE_REFUSALS:]
        if len(self._refusals) > COUNTS_KEPT_MAX:
            del self._refusals[next(iter(self._refusals))]
        return len(self._refusals[key]) == NOTICE_REFUSALS

    # --- words ----------------------------------------------------------------------------------------------------

    def _subject(self, send: Send, refusal: Refusal) -> str:
        if refusal.limit == "exchange":
            both = sorted((send.sender, refusal.recipient), key=lambda peer: peer.id)
            what = " and ".join(_who(peer) for peer in both)
        elif refusal.limit == "thread":
            what = f"thread {send.thread}"
        else:
            first = self._origin(send)
            what = f"what {first['sender_name']} ({first['sender']}) began in {first['id']}" if first else send.path[0]
        return f"Stopped at the limit {refusal.limit}: {what}"

    def _origin(self, send: Send) -> Row | None:
        """The first message of the chain, as far as it is stored."""
        chain = chains.causes(self._store.reader, send.cause.id, CHAIN_STEPS_MAX) if send.cause else []
        return chain[0] if chain else None

    def _stopped(self, send: Send, refusal: Refusal) -> list[str]:
        """The lines on something that was stopped."""
        chain = " -> ".join(self._name(peer) for peer in send.path)
        look = send.cause.id if refusal.limit == "hops" and send.cause else send.reply_to or send.thread
        known = stored.find(self._store.reader, look)
        return [
            f"{_who(send.sender)} was about to write to {_who(refusal.recipient)} and was told:",
            f"  {refusal.message}.",
            f"Its text came this way: {chain}" if len(send.path) > 1 else "",
            f"To look: coterie thread {look}" if known else f"To look: coterie log --peer {send.sender.name}",
            f"To let it go on: {refusal.go_on}",
        ]

    def _insists(self, send: Send, refusal: Refusal) -> list[str]:
        often = f"{NOTICE_REFUSALS} of its messages were refused within {NOTICE_GAP_S / 60:g} minutes"
        return [
            f"{often}, the last one to {_who(refusal.recipient)}.",
            "It was told each time, and may be in a loop. There is nothing to let go on: it may write again soon.",
            f"To look: coterie log --peer {send.sender.name}",
            f"To end it: coterie kill {send.sender.name}",
        ]

    def _name(self, peer_id: str) -> str:
        peer = self._presence.roster.get(peer_id)
        return peer.address if peer else peer_id

    # --- telling --------------------------------------------------------------------------------------------------

    def _tell(self, subject: str, rest: Callable[[], list[str]], now: float) -> bool:
        """Tell the person, unless they were told lately. Returns whether they are told, or were."""
        person = self._presence.person()
        told = self._told_before(person, now)
        at, message = told.get(subject, (0.0, ""))
        unread = self._post.box(person.id).entries
        if message and (now - at < NOTICE_GAP_S or message in unread or message in self._storing):
            return True
        waiting = sum(1 for _, notice in told.values() if notice in unread or notice in self._storing)
        limit = self._limits_for(person).mailbox_messages
        if waiting >= NOTICES_UNREAD_MAX or len(unread) >= limit:
            log.warning("the person is not told, as their mailbox is full: %s", subject)
            return False
        last = "This is the last notice until you have read these." if waiting == NOTICES_UNREAD_MAX - 1 else ""
        told[subject] = now, self._send(person, "\n".join(filter(None, [subject, *rest(), last])), subject)
        self._forget(told, now)
        return True

    def _told_before(self, person: Peer, now: float) -> dict[str, tuple[float, str]]:
        if self._told is None:  # A new daemon knows the unread ones.
            rows = counts.notices(self._store.reader, person.id)
            self._told = {row["text"].partition("\n")[0]: (now - NOTICE_GAP_S, row["id"]) for row in rows}
        return self._told

    def _forget(self, told: dict[str, tuple[float, str]], now: float) -> None:
        if len(told) > COUNTS_KEPT_MAX:
            unread = self._post.box(self._presence.person().id).entries
            self._told = {s: (at, m) for s, (at, m) in told.items() if m in unread or now - at < NOTICE_GAP_S}

    def _send(self, person: Peer, text: str, subject: str) -> str:
        message, now = ids.new_message_id(), self._clock()
        notice = NewMessage(
            id=message,
            sender=ITSELF,
            sender_name=ITSELF,
            sender_kind=ITSELF,
            recipient=person.id,
            thread=message,
            reply_to=None,
            text=text,
            accepted_at=now,
            expires_at=now + MESSAGE_LIFE_S,
        )
        self._storing.add(message)
        job = partial(stored.accept, send_id=message, fresh=[notice], answers=None)
        self._store.write_then(job, partial(self._stored, notice, subject))
        return message

    def _stored(self, notice: NewMessage, subject: str, _: Any, error: CoterieError | None) -> None:
        self._storing.discard(notice.id)
        if error:
            log.error("the person could not be told (%s): %s", error, subject)
            if self._told:
                self._told.pop(subject, None)
            return
        self._post.arrived(notice, wants_answer=False)
        self._expires_in(MESSAGE_LIFE_S)
        self._events.publish("notice", id=notice.id, to_id=notice.recipient, text=subject)


def _who(peer: Peer) -> str:
    return f"{peer.address} ({peer.id})"
