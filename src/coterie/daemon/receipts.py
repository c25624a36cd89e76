"""How far messages got that went from one device to another: told to where each came from, and taken from where ours
went.

Frames: `receipts {receipts}` tells the newest state of each message, and comes again until `noted {receipts}` says that
it is known. Nothing is queued for a device that is away: at the next meeting the store says what it does not know.

Of a receipt only the words of a table count, so another device puts none of its own into what a sender is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from coterie.daemon.devices import Devices
from coterie.daemon.network import Network
from coterie.daemon.post import Post
from coterie.envelopes import RECEIPTS_MAX, Receipt, read_noted, read_receipts, receipts_to_wire
from coterie.errors import CoterieError
from coterie.limits import COUNTS_KEPT_MAX, RESEND_S
from coterie.messages import TRANSITIONS, UNREAD, Carrier, State
from coterie.net.fabric import Json
from coterie.store import messages as stored
from coterie.store import outbox, received
from coterie.store.db import Store

log = logging.getLogger(__name__)

ENDED = {
    State.EXPIRED: "it was not read on {device} in time",
    State.REFUSED: "refused by the person of {device}",
    State.DEAD: "{device} gave it up",
    State.ACKNOWLEDGED: "answered on {device}",
}
"""What is said of a message that is over there."""
RANKS = {State.QUEUED: 0, State.OFFERED: 1}
"""Of two receipts with the same number the later one has the higher rank."""
FINAL = 2


@dataclass(slots=True)
class _Way:
    """What is being told to one device while there is a way to it."""

    fresh: set[str] = field(default_factory=set)
    """Messages whose receipts are about to be sent."""
    unnoted: dict[str, str] = field(default_factory=dict)
    """The states that were sent and not noted, by envelope."""
    timer: asyncio.TimerHandle | None = None


class Receipts:
    """How far messages got, both ways."""

    kinds = ("receipts", "noted")

    def __init__(
        self,
        store: Store,
        network: Network,
        devices: Devices,
        post: Post,
        arrived: Callable[[str, str], None],
    ) -> None:
        self._store = store
        self._network = network
        self._devices = devices
        self._post = post
        self._arrived = arrived
        """Called with a device and a message of ours that must have come there, as it tells of it."""
        self._loop = asyncio.get_running_loop()
        self._ways: dict[str, _Way] = {}
        self._newest: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """The number and the rank of the newest receipt of each message that is not over."""
        post.on_moved = self.moved

    def close(self) -> None:
        """Tell nobody anything any more."""
        for device in list(self._ways):
            self.left(device)

    # --- a fabric tells -------------------------------------------------------------------------------------------

    def came(self, device: str) -> None:
        """There is a way to a device: tell it what it does not know."""
        self.left(device)
        way = self._ways[device] = _Way()
        self._tell_unknown(device, way)

    def left(self, device: str) -> None:
        """There is none any more."""
        way = self._ways.pop(device, None)
        if way and way.timer:
            way.timer.cancel()

    def receive(self, device: str, frame: Json) -> None:
        """A device tells of our messages, or has noted what we told. Raises `BadInput`."""
        if frame["kind"] == "noted":
            self._noted(device, frame)
        else:
            receipts = read_receipts(frame, list(State), list(Carrier))
            asyncio.ensure_future(self._take(device, receipts)).add_done_callback(_log_failure)

    # --- telling --------------------------------------------------------------------------------------------------

    def moved(self, message: str) -> None:
        """The state of a message changed on the disk: tell the device that it came from, if there is a way."""
        if not self._ways:
            return
        came = received.envelope_of(self._store.reader, message)
        way = self._ways.get(came[0]) if came else None
        if came and way:
            if not way.fresh:
                self._loop.call_soon(self._tell_fresh, came[0], way)
            way.fresh.add(message)

    def _tell_fresh(self, device: str, way: _Way) -> None:
        # Sorted: the order of a set is another one in each process, and a run of the simulator could not be repeated.
        found = [received.receipt(self._store.reader, message) for message in sorted(way.fresh)]
        way.fresh.clear()
        self._tell(device, way, [receipt for receipt in found if receipt])

    def _tell_unknown(self, device: str, way: _Way) -> None:
        """Tell a portion of what the device has not noted; the next follows when it has."""
        self._tell(device, way, received.untold(self._store.reader, device, RECEIPTS_MAX))

    def _tell(self, device: str, way: _Way, receipts: list[Receipt]) -> None:
        for start in range(0, len(receipts), RECEIPTS_MAX):
            portion = receipts[start : start + RECEIPTS_MAX]
            way.unnoted.update((receipt.id, receipt.state) for receipt in portion)
            self._network.send(device, "receipts", receipts=receipts_to_wire(portion))
        if way.unnoted and way.timer is None and self._ways.get(device) is way:
            way.timer = self._loop.call_later(RESEND_S, self._again, device, way)

    def _again(self, device: str, way: _Way) -> None:
        way.timer = None
        way.unnoted.clear()
        self._tell_unknown(device, way)

    def _noted(self, device: str, frame: Json) -> None:
        way = self._ways.get(device)
        if way is None:
            return
        # What was not told on this way is told again: to write whatever a device claims to know could fill the memory.
        noted = dict(read_noted(frame, list(State)))
        noted = {envelope: state for envelope, state in noted.items() if way.unnoted.get(envelope) == state}
        if not noted:
            return
        for envelope in noted:
            del way.unnoted[envelope]

        def written(_: Any, error: CoterieError | None) -> None:
            if error:
                log.error("what %s knows could not be stored: %s", device[:7], error)
            elif not way.unnoted and self._ways.get(device) is way:
                self._tell_unknown(device, way)

        self._store.write_then(lambda database: received.noted(database, device, noted.items()), written, soon=True)

    # --- being told -----------------------------------------------------------------------------------------------

    async def _take(self, device: str, receipts: list[Receipt]) -> None:
        """Write what became of our messages, and say that it is known."""
        newer = [receipt for receipt in receipts if not (self._is_ours(device, receipt) and self._is_stale(receipt))]
        writing = [self._learn(device, receipt) for receipt in newer]
        await asyncio.gather(*filter(None, writing))
        if newer:
            self._network.send(device, "noted", receipts=[[receipt.id, receipt.state] for receipt in newer])

    def _is_ours(self, device: str, receipt: Receipt) -> bool:
        """Whether it is about a message that went to this device: of others its word is not even remembered."""
        went = outbox.device_of(self._store.reader, receipt.id)
        return went is not None and went[0] == device

    def _is_stale(self, receipt: Receipt) -> bool:
        """Whether a newer one of the same message came before."""
        state = State(receipt.state)
        rank = (receipt.n, RANKS.get(state, FINAL))
        if rank < self._newest.get(receipt.id, (0, 0)):
            return True
        if state in UNREAD:
            self._newest[receipt.id] = rank
            self._newest.move_to_end(receipt.id)
            if len(self._newest) > COUNTS_KEPT_MAX:
                del self._newest[next(iter(self._newest))]
        else:
            self._newest.pop(receipt.id, None)
        return False

    def _learn(self, device: str, receipt: Receipt) -> Awaitable[None] | None:
        """Write what a receipt changes. None if it changes nothing, or is of none of our messages to that device."""
        row = stored.find(self._store.reader, receipt.id)
        went = outbox.device_of(self._store.reader, receipt.id)
        if row is None or went is None or went[0] != device:
            return None
        self._arrived(device, receipt.id)
        state = State(receipt.state)
        words = ENDED.get(state, receipt.carrier).format(device=self._devices.label(device))
        box = self._post.box(row["recipient"])
        if receipt.id not in box.entries and state not in TRANSITIONS[State(row["state"])]:
            return None
        changes = box.learn(receipt.id, state, words)
        return self._post.record(row["recipient"], changes, soon=True) if changes else None


def _log_failure(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()):
        log.error("what another device tells could not be stored: %s", error, exc_info=error)
