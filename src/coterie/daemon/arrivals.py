"""Messages from other devices: taken in once and in their order, and brought before their recipients like any other.

Frames: `envelope` comes in, and is confirmed (`ack {ids, held}`; `held` are those that wait for the person) after it is
on the disk, refused for good (`refuse {id, code}`), or left without an answer, so that it comes again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from coterie.daemon.clock import Clock
from coterie.daemon.crossings import Crossings, Place
from coterie.daemon.devices import Devices
from coterie.daemon.guards import Guards
from coterie.daemon.network import Network
from coterie.daemon.post import Post
from coterie.daemon.requests import Requests
from coterie.devices import Device, Grant, Standing
from coterie.envelopes import (
    RECEIPTS_MAX,
    Envelope,
    NewerEnvelope,
    Posted,
    canonical,
    read,
)
from coterie.errors import BadInput, CoterieError, Limited
from coterie.frames import Letter
from coterie.guards import Limits
from coterie.limits import OUTBOX_WINDOW
from coterie.messages import UNREAD, Change, Offer
from coterie.messages import State as MessageState
from coterie.net.certificates import verify
from coterie.net.fabric import Json
from coterie.peers import Peer, Roster, State
from coterie.points import point
from coterie.store import messages as stored
from coterie.store import received
from coterie.store import requests as stored_requests
from coterie.store.db import Row, Store
from coterie.store.messages import NewMessage
from coterie.store.received import Arrival, Verdict
from coterie.store.requests import Request

log = logging.getLogger(__name__)


class _Refused(Exception):
    """An envelope that is never taken in; says the code of `outbox.REFUSED`."""


@dataclass(slots=True)
class Gate:
    """What is known of one device while there is a way to it."""

    storing: set[str] = field(default_factory=set)
    """Envelopes on their way to the disk."""
    early: dict[str, Posted] = field(default_factory=dict)
    """Those that came before the one that they follow, by the id of that one."""
    acks: dict[str, None] = field(default_factory=dict)
    """Envelopes to be confirmed with the next frame."""


class Arrivals:
    """What other devices send."""

    kinds = ("envelope",)

    def __init__(
        self,
        store: Store,
        clock: Clock,
        network: Network,
        devices: Devices,
        roster: Roster,
        post: Post,
        guards: Guards,
        requests: Requests,
        crossings: Crossings,
        met: Callable[[str, str, str, str], Peer],
        limits_for: Callable[[Peer], Limits],
        expires_in: Callable[[float], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._network = network
        self._devices = devices
        self._roster = roster
        self._post = post
        self._guards = guards
        self._requests = requests
        self._crossings = crossings
        self._met = met
        """The peer of a device that wrote: its id there, name and kind."""
        self._limits_for = limits_for
        self._expires_in = expires_in
        self._loop = asyncio.get_running_loop()
        self._gates: dict[str, Gate] = {}
        self._coming: dict[str, list[int]] = {}
        """Messages and bytes on their way to the disk for each recipient."""
        requests.release, requests.reject = self.release, self.reject
        devices.watchers.append(self._device_changed)

    def load(self) -> None:
        """Finish what forgetting a device began: the daemon may have ended between the two writes."""
        for device in self._devices.forgotten():
            self._quarantine(device)

    def close(self) -> None:
        """Tell nobody anything any more."""
        self._gates.clear()

    # --- a fabric tells -----------------------------------------------------------------------------------------

    def came(self, device: str) -> None:
        """There is a way to a device."""
        self._gates[device] = Gate()

    def left(self, device: str) -> None:
        """There is none any more."""
        self._gates.pop(device, None)

    def receive(self, device: str, frame: Json) -> None:
        """A device sends a message. Raises `BadInput`."""
        gate = self._gates.get(device)
        known = self._devices.get(device)
        if gate is None or known is None or known.standing is Standing.FORGOTTEN:
            return
        try:
            posted = read(frame)
        except NewerEnvelope as error:
            self._refuse(device, error.envelope, "version")
            return
        if posted.envelope.origin != device:
            raise BadInput("an envelope is of another device")
        if not verify(known.certificate, canonical(posted.envelope), posted.signature):
            raise BadInput("the signature of an envelope is wrong")
        self._take(known, gate, posted)

    # --- taking in ----------------------------------------------------------------------------------------------

    def _take(self, device: Device, gate: Gate, posted: Posted) -> None:
        """Store a message, unless it is here, or the one before it is not."""
        envelope = posted.envelope
        if envelope.id in gate.storing or len(gate.storing) >= OUTBOX_WINDOW:  # No device of ours sends more at once.
            return
        if received.find(self._store.reader, device.id, envelope.id):
            self._confirm(device.id, gate, envelope.id)
            return
        if posted.after and posted.after not in gate.storing and not self._has(device.id, posted.after):
            self._keep_early(gate, posted)
            return
        try:
            self._store_it(device, gate, posted)
        except _Refused as refusal:
            self._refuse(device.id, envelope.id, str(refusal))

    def _has(self, device: str, envelope: str) -> bool:
        return received.find(self._store.reader, device, envelope) is not None

    def _keep_early(self, gate: Gate, posted: Posted) -> None:
        """It is sent again in any case; to have it here already spares the wait."""
        assert posted.after
        gate.early[posted.after] = posted
        if len(gate.early) > OUTBOX_WINDOW:
            del gate.early[next(iter(gate.early))]

    def _store_it(self, device: Device, gate: Gate, posted: Posted) -> None:
        envelope = posted.envelope
        recipient = self._recipient(envelope)
        sender = self._met(device.id, envelope.sender, envelope.name, envelope.kind)
        place = self._crossings.place(device.id, envelope)
        left_s = envelope.life_s - posted.age_s
        if left_s <= 0:
            raise _Refused("expired")
        request = self._hold(device, place.id)
        place = self._believed(recipient, self._check(recipient, envelope, place), place)
        offer = None if request else self._offer(place, sender, recipient, envelope)
        message = self._message(place, sender, recipient, envelope, left_s, offer)
        answers = None if request else _acknowledged(place.answered, sender.id)
        arrival = Arrival(device.id, envelope.id, posted.after, message, answers)
        gate.storing.add(envelope.id)
        self._count(recipient.id, 1, len(envelope.text.encode()))
        self._store.write_then(
            partial(_accept, arrival, request), partial(self._stored, gate, arrival, request, left_s)
        )

    def _recipient(self, envelope: Envelope) -> Peer:
        peer = self._roster.get(envelope.to)
        if peer is None or peer.device:
            raise _Refused("unknown")
        if peer.state is State.ENDED:
            raise _Refused("ended")
        return peer

    def _hold(self, device: Device, message: str) -> Request | None:
        """The request for the person to let it through, if the device may not write here."""
        if device.may(Grant.MESSAGE):
            return None
        try:
            return self._requests.to_hold(device.id, message)
        except Limited:
            raise _Refused("held") from None

    def _check(self, recipient: Peer, envelope: Envelope, place: Place) -> Limits:
        limits = self._limits_for(recipient)
        hops = max(envelope.hops, len(place.path) - 1)
        if hops > limits.hops and recipient.id not in place.path:
            raise _Refused("hops")
        box = self._post.box(recipient.id)
        messages, size = self._coming.get(recipient.id, (0, 0))
        unread, room = len(box.entries) + messages, limits.mailbox_bytes - box.size - size
        if unread >= limits.mailbox_messages or len(envelope.text.encode()) > room:
            raise _Refused("full")
        return limits

    @staticmethod
    def _believed(recipient: Peer, limits: Limits, place: Place) -> Place:
        """Of an answer the path may be longer than ours become, and its device may have made it up. What its reader
        goes on to write to peers on a path is not counted as passed on, so no more of them are taken than ours hold.
        """
        return place._replace(path=place.path[: limits.hops + 1])

    def _offer(self, place: Place, sender: Peer, recipient: Peer, envelope: Envelope) -> Offer | None:
        letter = Letter(
            place.id, sender.address, sender.kind, sender.label, place.thread, place.reply_to, envelope.text
        )
        return self._post.plan(place.id, sender, recipient, letter, wants_answer=False)

    def _message(
        self, place: Place, sender: Peer, recipient: Peer, envelope: Envelope, left_s: float, offer: Offer | None
    ) -> NewMessage:
        now = self._clock()
        return NewMessage(
            id=place.id,
            sender=sender.id,
            sender_name=sender.address,
            sender_kind=sender.kind,
            recipient=recipient.id,
            thread=place.thread,
            reply_to=place.reply_to,
            text=envelope.text,
            accepted_at=now,
            expires_at=now + left_s,
            offer=offer,
            cause=place.reply_to,
            path=" ".join(place.path if sender.id in place.path else (*place.path, sender.id)),
        )

    def _count(self, recipient: str, messages: int, size: int) -> None:
        coming = self._coming.setdefault(recipient, [0, 0])
        coming[0] += messages
        coming[1] += size
        if not coming[0]:
            del self._coming[recipient]

    def _stored(
        self,
        gate: Gate,
        arrival: Arrival,
        request: Request | None,
        left_s: float,
        verdict: Verdict | None,
        error: CoterieError | None,
    ) -> None:
        """The write is done: put what is new on its way, and confirm it."""
        message = arrival.message
        gate.storing.discard(arrival.envelope)
        self._count(message.recipient, -1, -len(message.text.encode()))
        if verdict is not Verdict.STORED and message.offer:
            self._post.inboxes.release(message.recipient, message.offer.call)
        if error:  # Not confirmed, it comes again.
            log.error("a message of %s could not be stored: %s", arrival.device[:7], error)
            return
        if verdict is Verdict.STORED:
            self._on_its_way(arrival, request, left_s)
        if verdict is not Verdict.EARLY:
            point("arrival-stored")
            self._confirm(arrival.device, gate, arrival.envelope)

    def _on_its_way(self, arrival: Arrival, request: Request | None, left_s: float) -> None:
        message = arrival.message
        self._expires_in(left_s)
        if request:
            self._requests.held(request)
            return
        self._guards.came(message.sender, message.recipient, message.thread, begins=message.thread == message.id)
        self._post.arrived(message, wants_answer=False)
        if arrival.answers:
            self._post.acknowledge(message.sender, arrival.answers)

    # --- what the person decides of what was held ---------------------------------------------------------------

    def release(self, message: str) -> None:
        """The person lets a message through."""
        row = stored.find(self._store.reader, message)
        if row is None or row["state"] not in UNREAD:
            return
        fields = {name: row[name] for name in NewMessage._fields if name not in ("offer",)}
        self._guards.came(row["sender"], row["recipient"], row["thread"], begins=row["thread"] == message)
        self._post.arrived(NewMessage(**fields), wants_answer=False)
        about = stored.find(self._store.reader, row["reply_to"]) if row["reply_to"] else None
        if answers := _acknowledged(about, row["sender"]):
            self._answered(row["sender"], answers, message)

    def _answered(self, sender: str, question: str, answer: str) -> None:
        """An answer that was held is let through."""

        def written(_: bool | None, error: CoterieError | None) -> None:
            if error:
                log.error("that %s answers %s could not be stored: %s", answer, question, error)
            else:
                self._post.acknowledge(sender, question)

        why, now = f"answered by {answer}", self._clock()
        self._store.write_then(lambda base: stored.move(base, question, MessageState.ACKNOWLEDGED, why, now), written)

    def reject(self, message: str, reason: str) -> None:
        """The person does not."""
        row = stored.find(self._store.reader, message)
        if row:
            self._post.record_soon(row["recipient"], [Change(message, MessageState.REFUSED, reason)])

    def _device_changed(self, device: Device, change: list[str]) -> None:
        if "standing" in change and device.standing is Standing.FORGOTTEN:
            self._quarantine(device)

    def _quarantine(self, device: Device) -> None:
        """What a forgotten device sent and nobody has read is out of the mailboxes."""
        reason = f"quarantined: {device.name} was forgotten"
        for message, recipient in received.unread(self._store.reader, device.id):
            box = self._post.box(recipient)
            ended = box.end(message, MessageState.DEAD, reason) or [Change(message, MessageState.DEAD, reason)]
            self._post.record_soon(recipient, ended)

    # --- answers ------------------------------------------------------------------------------------------------

    def _confirm(self, device: str, gate: Gate, envelope: str) -> None:
        """Say that an envelope is on the disk; what is confirmed in one round goes in one frame."""
        if not gate.acks:
            self._loop.call_soon(self._send_acks, device, gate)
        gate.acks[envelope] = None
        follower = gate.early.pop(envelope, None)
        known = self._devices.get(device)
        if follower and known and self._gates.get(device) is gate:  # On a way that is over nothing comes in.
            self._take(known, gate, follower)

    def _send_acks(self, device: str, gate: Gate) -> None:
        known = self._devices.get(device)
        acks, gate.acks = list(gate.acks), {}
        for start in range(0, len(acks), RECEIPTS_MAX):
            ids = acks[start : start + RECEIPTS_MAX]
            held = [] if known and known.may(Grant.MESSAGE) else [i for i in ids if self._is_held(device, i)]
            self._network.send(device, "ack", ids=ids, held=held)

    def _is_held(self, device: str, envelope: str) -> bool:
        message = received.find(self._store.reader, device, envelope)
        return message is not None and stored.is_held(self._store.reader, message)

    def _refuse(self, device: str, envelope: str, code: str) -> None:
        log.info("a message of %s is refused: %s", device[:7], code)
        self._network.send(device, "refuse", id=envelope, code=code)


def _acknowledged(answered: Row | None, sender: str) -> str | None:
    """The message that an answer acknowledges: one that its sender had."""
    return answered["id"] if answered and answered["recipient"] == sender else None


def _accept(arrival: Arrival, request: Request | None, database: Any) -> Verdict:
    verdict = received.accept(database, arrival)
    if request and verdict is Verdict.STORED:
        stored_requests.save(database, request)
    return verdict
