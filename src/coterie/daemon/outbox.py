"""Messages to other devices: sent while there is a way, and again until their device has confirmed them.

To each device at most OUTBOX_WINDOW are under way. Order is kept per sender and recipient: an envelope names the one
before it that is not confirmed yet, and the other side takes none in before that.

Frames: `envelope` goes out; `ack {ids, held}` and `refuse {id, code}` come in. Of a refusal only the words of a table
count, so another device puts none of its own into what a sender is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from coterie.daemon.clock import Clock
from coterie.daemon.crossings import Crossings
from coterie.daemon.devices import Devices
from coterie.daemon.events import Events
from coterie.daemon.network import Network
from coterie.daemon.post import Post
from coterie.devices import Device, Standing
from coterie.envelopes import Posted, canonical, frame, read, read_ids
from coterie.errors import BadInput, CoterieError, Limited
from coterie.ids import is_message_id
from coterie.limits import OUTBOX_BYTES_MAX, OUTBOX_ROWS_MAX, OUTBOX_WINDOW, RESEND_S, UNHEARD_S
from coterie.messages import State
from coterie.net.fabric import Json
from coterie.peers import Peer
from coterie.points import point
from coterie.store import messages as stored
from coterie.store import outbox, seals
from coterie.store.db import Row, Store
from coterie.store.outbox import Posting

log = logging.getLogger(__name__)

REFUSED = {
    "unknown": "{device} knows no such session",
    "ended": "that session of {device} has ended",
    "full": "its mailbox on {device} takes no more: it has to read first",
    "held": "too much of this device waits for a word of the person of {device}",
    "hops": "it came through more peers than {device} allows",
    "expired": "it came to {device} after its time",
    "version": "{device} has an older release that cannot read it",
    "right": "this device has no right to write to the sessions of {device}",
}
"""The codes of a refusal, and what the sender is told."""


THERE = (outbox.STORED, outbox.HELD)
"""The other device has it."""


class Signer(Protocol):
    """Who this device is."""

    @property
    def id(self) -> str:
        """Its id."""

    def sign(self, data: bytes) -> bytes:
        """Its signature."""


@dataclass(slots=True)
class Flight:
    """A message under way."""

    number: int
    """Its place in the outbox."""
    pair: tuple[str, str]
    """Its sender and its recipient."""
    at: float
    """When it was sent last, by the loop's clock."""

    @property
    def due(self) -> float:
        """When it is to be sent again. Whether it is time is asked of this very sum: a difference of two clocks may be
        rounded to less than RESEND_S, and a timer that is set to the sum would come again and again.
        """
        return self.at + RESEND_S


@dataclass(slots=True)
class Lane:
    """What waits for one device."""

    messages: int = 0
    size: int = 0
    """Bytes of their texts."""
    upto: int = 0
    """The place in the outbox of the last one sent."""
    flying: dict[str, Flight] = field(default_factory=dict)
    """In their order."""
    timer: asyncio.TimerHandle | None = None
    behind: bool = False
    """Whether it is about to be looked at."""

    def ground(self) -> None:
        """Nothing is under way any more: begin with the oldest."""
        self.flying.clear()
        self.upto = 0
        self.rest()

    def rest(self) -> None:
        """Nothing is to be sent again."""
        if self.timer:
            self.timer.cancel()
            self.timer = None

    def due(self) -> float | None:
        """When something is to be sent again; None if nothing is under way."""
        return min((flight.due for flight in self.flying.values()), default=None)

    def late(self, now: float) -> list[str]:
        """The messages that are to be sent again now."""
        return [message for message, flight in self.flying.items() if flight.due <= now]

    def before(self, flight: Flight) -> str | None:
        """The message under way that must arrive before another one."""
        same = [m for m, f in self.flying.items() if f.pair == flight.pair and f.number < flight.number]
        return same[-1] if same else None


class Outbox:
    """What waits for other devices, and what they tell of what they have."""

    kinds = ("ack", "refuse")

    def __init__(
        self,
        store: Store,
        clock: Clock,
        network: Network,
        devices: Devices,
        post: Post,
        events: Events,
        crossings: Crossings,
        identity: Callable[[], Signer],
    ) -> None:
        self._store = store
        self._clock = clock
        self._network = network
        self._devices = devices
        self._post = post
        self._events = events
        self._crossings = crossings
        self._identity = identity
        """Asked when something is to be signed, and not before: most daemons never need their key."""
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, Lane] = {}
        self._settling: dict[str, list[asyncio.Future[None]]] = {}
        self._closed = False
        devices.watchers.append(self._device_changed)

    def load(self) -> None:
        """Count what waits, and finish what forgetting a device began: the daemon may have ended in the middle."""
        for device, (messages, size) in outbox.loads(self._store.reader).items():
            self._lanes[device] = Lane(messages, size)
        for known in self._devices.forgotten():
            self._forget(known.id)

    def close(self) -> None:
        """Send nothing any more."""
        self._closed = True
        for lane in self._lanes.values():
            lane.rest()

    def waiting(self, device: str) -> tuple[int, int]:
        """How many messages wait for a device, and the bytes of their texts."""
        lane = self._lanes.get(device)
        return (lane.messages, lane.size) if lane else (0, 0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for any device."""
        return not any(lane.messages for lane in self._lanes.values())

    # --- accepting ------------------------------------------------------------------------------------------------

    def posting(self, message: str, recipient: Peer, text: str) -> Posting:
        """What is stored of a message to another device beside the message itself."""
        return Posting(message, recipient.device, recipient.there, len(text.encode()))

    def admit(self, postings: Sequence[Posting]) -> None:
        """Count what is about to be stored. Raises `Limited` if too much waits for a device; the caller says `done`."""
        for posting in postings:
            lane = self._lane(posting.device)
            if lane.messages >= OUTBOX_ROWS_MAX or lane.size + posting.size > OUTBOX_BYTES_MAX:
                label = self._devices.label(posting.device)
                raise Limited(
                    f"{lane.messages} messages of {lane.size} bytes wait here for {label}, and no more are taken",
                    f"they go when {label} connects; coterie relay peers shows how it stands",
                    limit="outbox",
                )
        for posting in postings:
            self._count(posting.device, 1, posting.size)

    def done(self, postings: Sequence[Posting], *, stored: bool) -> None:
        """The store took them; or it failed, or had them before."""
        for posting in postings:
            if stored:
                point("outbox-stored")
                self.wake(posting.device)
            else:
                self._count(posting.device, -1, -posting.size)

    def _lane(self, device: str) -> Lane:
        lane = self._lanes.get(device)
        if lane is None:
            lane = self._lanes[device] = Lane()
        return lane

    def _count(self, device: str, messages: int, size: int) -> None:
        lane = self._lane(device)
        lane.messages += messages
        lane.size += size

    # --- sending --------------------------------------------------------------------------------------------------

    def wake(self, device: str) -> None:
        """Something waits for a device: send it soon, together with what else comes now."""
        lane = self._lane(device)
        if not lane.behind and device in self._network.present():
            lane.behind = True
            self._loop.call_soon(self._go, device)

    def _go(self, device: str) -> None:
        lane = self._lane(device)
        lane.behind = False
        while not self._closed and (room := OUTBOX_WINDOW - len(lane.flying)) > 0:
            rows = outbox.following(self._store.reader, device, lane.upto, room)
            if not rows or not all(self._launch(device, lane, row) for row in rows):
                break
        self._watch(device, lane)

    def _launch(self, device: str, lane: Lane, row: Row) -> bool:
        """Send a message for the first time on this way. False if there is none any more."""
        if device not in self._network.present():
            return False
        lane.upto = row["number"]
        if not seals.is_sealed(row):
            self._give_up(row["id"], row["recipient"], device, State.DEAD, "damaged on the disk here")
            return True
        flight = lane.flying[row["id"]] = Flight(row["number"], (row["sender"], row["recipient"]), self._loop.time())
        return self._send(device, lane, flight, row)

    def _send(self, device: str, lane: Lane, flight: Flight, row: Row) -> bool:
        flight.at = self._loop.time()
        envelope = self._crossings.envelope(row, row["there"], device)
        signature = self._identity().sign(canonical(envelope))
        fields = frame(Posted(envelope, signature, self._clock.age(row["accepted_at"]), lane.before(flight)))
        try:
            read(fields)
        except BadInput as error:
            # The other side would end the link for it, and again whenever it comes.
            log.error("%s cannot be sent: %s", row["id"], error.message)
            self._give_up(row["id"], row["recipient"], device, State.DEAD, "it cannot be sent to another device")
            return True
        sent = self._network.send(device, "envelope", **fields)
        point("envelope-sent")
        return sent

    def _watch(self, device: str, lane: Lane) -> None:
        """Look again when the oldest under way has waited long enough."""
        due = lane.due()
        if lane.timer is None and due is not None and not self._closed:
            lane.timer = self._loop.call_at(due, self._again, device)

    def _again(self, device: str) -> None:
        lane = self._lane(device)
        lane.timer = None
        if device in self._network.present():
            self._repeat(device, lane, lane.late(self._loop.time()))
            self._watch(device, lane)

    def _repeat(self, device: str, lane: Lane, messages: Iterable[str]) -> None:
        for message in list(messages):
            flight = lane.flying[message]
            row = next(iter(outbox.following(self._store.reader, device, flight.number - 1, 1)), None)
            if row is None or row["id"] != message:
                del lane.flying[message]  # It is over.
            elif not self._send(device, lane, flight, row):
                return

    # --- a fabric tells -------------------------------------------------------------------------------------------

    def came(self, device: str) -> None:
        """There is a way to a device: begin with the oldest that it has not confirmed."""
        self._lane(device).ground()
        self.wake(device)

    def left(self, device: str) -> None:
        """There is none any more: what is under way may be lost."""
        self._lane(device).ground()

    def receive(self, device: str, frame: Json) -> None:
        """A device confirms or refuses. Raises `BadInput`."""
        {"ack": self._acked, "refuse": self._refused}[frame["kind"]](device, frame)

    def _acked(self, device: str, frame: Json) -> None:
        self._take(device, read_ids(frame, "ids"), set(read_ids(frame, "held")))

    def arrived(self, device: str, message: str) -> None:
        """A device tells of a message, so it has it, though its confirmation may have been lost."""
        self._take(device, [message], set())

    def _take(self, device: str, messages: Iterable[str], held: set[str]) -> None:
        lane = self._lane(device)
        # One that is not under way is of a way that was lost, and is confirmed again on this one.
        arrived = [message for message in dict.fromkeys(messages) if lane.flying.pop(message, None)]
        if not arrived:
            return
        self._mark(device, [message for message in arrived if message not in held], outbox.STORED)
        self._mark(device, [message for message in arrived if message in held], outbox.HELD)
        if lane.timer and not lane.flying:
            lane.rest()
        self.wake(device)

    def _mark(self, device: str, messages: list[str], state: str) -> None:
        """Write that these messages wait no longer, and count them no more."""

        def marked(sizes: list[int], error: CoterieError | None) -> None:
            if error:  # A new daemon would send them once more, and that does no harm.
                log.error("what became of the mail for %s could not be stored: %s", device[:7], error)
            else:
                self._count(device, -len(sizes), -sum(sizes))
            for message in messages:
                if state in THERE:
                    self._events.confirmed(message, self._devices.label(device))
                for future in self._settling.pop(message, ()):
                    if not future.done():
                        future.set_result(None)

        if messages:
            awaited = not self._settling.keys().isdisjoint(messages)
            self._store.write_then(partial(outbox.mark, messages=messages, state=state), marked, soon=not awaited)

    def _refused(self, device: str, frame: Json) -> None:
        message, code = frame.get("id"), frame.get("code")
        if not is_message_id(message) or not isinstance(code, str):
            raise BadInput("a refusal is not as it must be")
        lane = self._lane(device)
        flight = lane.flying.get(str(message))
        if flight is None:
            return
        behind = [m for m, f in lane.flying.items() if f.pair == flight.pair and f.number > flight.number]
        reason = REFUSED.get(code, "{device} refused it").format(device=self._devices.label(device))
        self._give_up(str(message), flight.pair[1], device, State.REFUSED, reason)
        self._repeat(device, lane, behind)  # They wait for one that never comes.
        self.wake(device)

    # --- giving up ------------------------------------------------------------------------------------------------

    def _give_up(self, message: str, recipient: str, device: str, state: State, reason: str) -> None:
        """A message is not sent any more, and that is why."""
        self._lane(device).flying.pop(message, None)
        self._post.record_soon(recipient, self._post.box(recipient).end(message, state, reason))
        self._mark(device, [message], outbox.OVER)

    def expired(self, message: str) -> str | None:
        """The life of a message is over. What is to be said of it if it was to go to another device, else None."""
        found = outbox.device_of(self._store.reader, message)
        if found is None:
            return None
        self._lane(found[0]).flying.pop(message, None)
        self._mark(found[0], [message], outbox.OVER)
        return f"not known to have reached {self._devices.label(found[0])}"

    def end_unheard(self) -> None:
        """What another device has and told nothing of for long is over, as far as anybody will know."""
        for row in outbox.unheard(self._store.reader, self._clock.spans(), UNHEARD_S):
            reason = f"stored on {self._devices.label(row['device'])}, and nothing was heard of it in time"
            ended = self._post.box(row["recipient"]).end(row["id"], State.EXPIRED, reason)
            self._post.record_soon(row["recipient"], ended)

    def _device_changed(self, device: Device, change: list[str]) -> None:
        if "standing" in change and device.standing is Standing.FORGOTTEN:
            self._forget(device.id)

    def _forget(self, device: str) -> None:
        """The person forgot a device: what is not known to be read there never will be."""
        lane, label = self._lane(device), self._devices.label(device)
        lane.ground()
        rows = outbox.unread(self._store.reader, device)
        for row in rows:
            unknown = "; what became of it there is not known" if row["state"] in THERE else ""
            reason = f"{label} was forgotten{unknown}"
            recipient = row["recipient"]
            self._post.record_soon(recipient, self._post.box(recipient).end(row["message"], State.DEAD, reason))
        over = [row["message"] for row in rows if row["state"] == outbox.WAITS]
        self._mark(device, over, outbox.OVER)

    # --- for whoever sent -----------------------------------------------------------------------------------------

    async def settled(self, device: str, message: str, wait_s: float) -> None:
        """Return when a device has confirmed a message, or after `wait_s` seconds; at once if it is away."""
        found = outbox.device_of(self._store.reader, message)
        if device not in self._network.present() or found is None or found[1] != outbox.WAITS or wait_s <= 0:
            return
        settled: asyncio.Future[None] = self._loop.create_future()
        self._settling.setdefault(message, []).append(settled)
        await asyncio.wait([settled], timeout=wait_s)
        self._settling.pop(message, None)

    def standing(self, message: str) -> dict[str, Any] | None:
        """Where a message is that goes to another device; None for one that stays here."""
        found = outbox.device_of(self._store.reader, message)
        row = stored.find(self._store.reader, message) if found else None
        if found is None or row is None:
            return None
        device, state = found
        known, connected = self._devices.get(device), device in self._network.present()
        left = known.seen_at if known and not connected else None
        return {
            "device": self._devices.label(device),
            "stored": state in THERE,
            "held": state == outbox.HELD,
            "connected": connected,
            "unseen_s": max(0.0, self._clock() - left) if left is not None else None,
            "carrier": row["reason"] if row["state"] == State.OFFERED else None,
        }
