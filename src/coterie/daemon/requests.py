"""What a device wants and was not granted: held until the person approves or refuses it, and told to whoever asked.

Frames: `ask {id, grant, reason}` is sent again until an `answer {id, verdict}` comes, if only that it is held; a
verdict is sent again until `answered {id}` comes. At every meeting both say again what is not settled.

A message of a device without the right to write is held too: its text is in the store, and in no mailbox, as long as
its request is not approved.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from coterie import ids
from coterie.daemon.devices import Devices
from coterie.daemon.events import Events
from coterie.daemon.network import Network
from coterie.daemon.notices import Notices
from coterie.devices import Device, Grant, Standing
from coterie.errors import Ambiguous, BadInput, CoterieError, Limited, NoMatch, Refused
from coterie.frames import one_line
from coterie.limits import REQUEST_REASON_CHARS, REQUESTS_MAX, RESEND_S
from coterie.net.fabric import Json
from coterie.store import requests as stored
from coterie.store.db import Store
from coterie.store.requests import Request, Verdict

log = logging.getLogger(__name__)

_ID = re.compile(rf"r_[{ids.ALPHABET}]{{{ids.MESSAGE_CHARS}}}")
_SHORTEST = 4
"""Characters of an id that name a request."""


class Requests:
    """What waits for a person's word, here or on another device."""

    kinds: tuple[str, ...] = ("ask", "answer", "answered")

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        network: Network,
        devices: Devices,
        notices: Notices,
        events: Events,
    ) -> None:
        self.release: Callable[[str], None] = _nothing
        """Puts a message that was held on its way. The request is approved on the disk when it is called."""
        self.reject: Callable[[str, str], None] = _nothing
        """Ends a message that was held, for a reason."""
        self._store = store
        self._clock = clock
        self._network = network
        self._devices = devices
        self._notices = notices
        self._events = events
        self._by_id: dict[str, Request] = {}
        self._timer: asyncio.TimerHandle | None = None
        devices.watchers.append(self._device_changed)

    def load(self) -> None:
        """Read them from the store."""
        # A right that only a newer release knows is none that anybody here could give.
        found = [request for request in stored.load(self._store.reader) if request.wanted in list(Grant)]
        self._by_id = {request.id: request for request in found}
        for device in self._devices.forgotten():  # The daemon may have ended between the two writes.
            self._forget(device.id)

    def __iter__(self) -> Iterator[Request]:
        """All of devices that are not forgotten, the oldest first."""
        return iter([request for request in self._by_id.values() if self._knows(request.device)])

    def open(self) -> list[Request]:
        """Those that the person here can decide, the oldest first."""
        return [request for request in self if request.is_open]

    def find(self, text: str) -> Request:
        """The open request that a person means: by its id or the message that it holds, or the beginning of either.

        Raises `NoMatch` or `Ambiguous`.
        """
        typed = text.strip().lower()
        waiting = self.open()
        exact = [request for request in waiting if typed in (request.id, request.message)]
        near = [r for r in waiting if len(typed) >= _SHORTEST and (r.id.startswith(typed) or _holds(r, typed))]
        found = exact or near
        if not found:
            raise NoMatch(f"no request {text[:40]!r} waits for you", "coterie relay requests lists those that do")
        if len(found) > 1:
            raise Ambiguous(f"{text[:40]!r} means {len(found)} requests", ", ".join(request.id for request in found))
        return found[0]

    def close(self) -> None:
        """Say nothing again any more."""
        if self._timer:
            self._timer.cancel()

    # --- what the person says ---------------------------------------------------------------------------------

    async def approve(self, request: Request) -> None:
        """Give the right that is asked for, or let the message through, this once."""
        if request.message is None:
            device = self._devices.get(request.device)
            assert device
            device.grants |= {Grant(request.wanted)}
            await self._devices.save(device)  # What it asked for it has: see _device_changed.
        if request.state is Verdict.HELD:
            await self._decide(request, Verdict.APPROVED)

    async def refuse(self, request: Request) -> None:
        """Give no right; a held message is not delivered."""
        await self._decide(request, Verdict.REFUSED)

    async def _decide(self, request: Request, verdict: Verdict) -> None:
        if request.state is not Verdict.HELD:
            return
        request.state = verdict
        try:
            await self._keep(request)
        except CoterieError:
            request.state = Verdict.HELD
            raise
        self._decided(request)

    def _decided(self, request: Request) -> None:
        log.info("the request %s of %s: %s", request.id, request.device[:7], request.state)
        if request.message is None:
            self._answer(request)
        elif request.state is Verdict.APPROVED:
            self.release(request.message)
        else:
            self.reject(request.message, "refused by the person there")
        self._publish(request)

    # --- what is held here ------------------------------------------------------------------------------------

    def to_hold(self, device: str, message: str) -> Request:
        """A request for the person to let this message of a device through: to be stored with it in one transaction
        (`coterie.store.requests.save`), and told of after that (`held`). Raises `Limited` if too much waits already.
        """
        self._check_room(device)
        return Request(
            ids.new_request_id(), device, incoming=True, wanted=Grant.MESSAGE, at=self._clock(), message=message
        )

    def held(self, request: Request) -> None:
        """A request is on the disk: tell the person."""
        self._by_id[request.id] = request
        self._publish(request)
        label = self._devices.label(request.device)
        if request.message:
            subject = f"A message from {label} is held: it has no right to write here"
            allow = f"To let it through: coterie relay approve {request.id}"
        else:
            subject = f"{label} asks for the right {request.wanted}"
            allow = f"To give it: coterie relay approve {request.id}"
        reason = [f"It says: {request.reason}"] if request.reason else []
        refuse = f"To refuse it: coterie relay refuse {request.id}"
        self._notices.tell(subject, [*reason, "To look: coterie relay requests", allow, refuse])

    def _check_room(self, device: str) -> None:
        waiting = sum(1 for request in self.open() if request.device == device)
        if waiting >= REQUESTS_MAX:
            raise Limited(f"{waiting} requests wait for the person there", "they must decide some first", limit="held")

    # --- what is asked of another device ----------------------------------------------------------------------

    async def ask(self, device: Device, grant: Grant, reason: str) -> Request:
        """Ask a device for a right. Asked for twice it is one request."""
        for known in self:
            same = (known.device, known.wanted) == (device.id, grant) and not known.incoming
            if same and known.state is Verdict.HELD:
                return known
        request = Request(ids.new_request_id(), device.id, False, grant, self._clock(), reason)
        await self._keep(request)
        self._by_id[request.id] = request
        self._publish(request)
        self._say(request)
        return request

    def _say(self, request: Request) -> None:
        """Ask, or answer: whatever of a request the other device is to know."""
        if request.incoming:
            self._network.send(request.device, "answer", id=request.id, verdict=request.state.value)
        else:
            fields = {"id": request.id, "grant": request.wanted, "reason": request.reason}
            self._network.send(request.device, "ask", **fields)
        self._say_again_later()

    def _answer(self, request: Request) -> None:
        if not request.told:
            self._say(request)

    # --- frames -----------------------------------------------------------------------------------------------

    def came(self, device: str) -> None:
        """Say all that is not settled: it may have been lost, or the device may hold an older state than it had."""
        for request in self:
            settled = request.told if request.incoming else request.state is not Verdict.HELD
            if request.device == device and request.message is None and not settled and not request.is_open:
                self._say(request)

    def left(self, device: str) -> None:
        """What is not confirmed is said when it comes back."""

    def receive(self, device: str, frame: Json) -> None:
        """A device asks, answers, or confirms an answer."""
        request = frame.get("id")
        if not isinstance(request, str) or not _ID.fullmatch(request):
            raise BadInput("the id of a request is none")
        {"ask": self._asked, "answer": self._answered, "answered": self._confirmed}[frame["kind"]](
            device, request, frame
        )

    def _asked(self, device: str, request: str, frame: Json) -> None:
        grant, reason = frame.get("grant"), frame.get("reason", "")
        if grant not in list(Grant) or not isinstance(reason, str) or len(reason) > REQUEST_REASON_CHARS:
            raise BadInput("it asks for what is no right")
        known = self._by_id.get(request)
        if known:
            own = known.device == device and known.incoming
            self._reply(device, request, known.state if own else Verdict.REFUSED)
        elif (verdict := self._at_once(device, Grant(grant))) is not None:
            self._reply(device, request, verdict)
        else:
            fresh = Request(request, device, True, grant, self._clock(), one_line(reason, REQUEST_REASON_CHARS))
            # In the books before it is on the disk: the same may come again meanwhile.
            self._by_id[request] = fresh
            self._store.write_then(partial(stored.save, request=replace(fresh)), partial(self._stored, fresh))

    def _at_once(self, device: str, grant: Grant) -> Verdict | None:
        """What needs no person to be said."""
        known = self._devices.get(device)
        if known and known.may(grant):
            return Verdict.APPROVED
        if any(r.device == device and r.wanted == grant and r.message is None for r in self.open()):
            return Verdict.HELD
        try:
            self._check_room(device)
        except Limited:
            return Verdict.REFUSED
        return None

    def _stored(self, request: Request, _: Any, error: CoterieError | None) -> None:
        if error:  # It is not answered, so it is asked again.
            self._by_id.pop(request.id, None)
            log.error("a request could not be stored: %s", error)
            return
        self.held(request)
        self._reply(request.device, request.id, request.state)

    def _reply(self, device: str, request: str, verdict: Verdict) -> None:
        self._network.send(device, "answer", id=request, verdict=verdict.value)

    def _answered(self, device: str, request: str, frame: Json) -> None:
        verdict = frame.get("verdict")
        if verdict not in list(Verdict):
            raise BadInput("the answer to a request is none")
        known = self._by_id.get(request)
        ours = known is not None and known.device == device and not known.incoming
        if ours and known and known.state is Verdict.HELD:
            if verdict != Verdict.HELD or not known.told:
                self._learned(known, Verdict(verdict))
        elif verdict != Verdict.HELD:
            self._network.send(device, "answered", id=request)

    def _learned(self, request: Request, verdict: Verdict) -> None:
        """What we asked for is held there, or decided."""
        changed = replace(request, state=verdict, told=True)

        def learned(_: Any, error: CoterieError | None) -> None:
            if error:  # It is not confirmed, so it is said again.
                log.error("what became of a request could not be stored: %s", error)
                return
            request.state, request.told = verdict, True
            if verdict is not Verdict.HELD:
                self._network.send(request.device, "answered", id=request.id)
                label = self._devices.label(request.device)
                self._notices.tell(f"{label} {verdict} what you asked for: {request.wanted}", [])
            self._publish(request)

        self._store.write_then(partial(stored.save, request=changed), learned)

    def _confirmed(self, device: str, request: str, frame: Json) -> None:
        known = self._by_id.get(request)
        if known and known.device == device and known.incoming and not known.told and not known.is_open:
            known.told = True
            self._store.write_then(partial(stored.save, request=replace(known)), _log_failure)

    # --- saying again -----------------------------------------------------------------------------------------

    def _unsettled(self) -> list[Request]:
        """What a device that is present has not confirmed."""
        present = self._network.present()
        return [r for r in self if r.message is None and not r.told and not r.is_open and r.device in present]

    def _say_again_later(self) -> None:
        if self._timer is None and self._unsettled():
            self._timer = asyncio.get_running_loop().call_later(RESEND_S, self._say_again)

    def _say_again(self) -> None:
        self._timer = None
        for request in self._unsettled():
            self._say(request)

    # --- devices ----------------------------------------------------------------------------------------------

    def _knows(self, device: str) -> bool:
        known = self._devices.get(device)
        return known is not None and known.standing is not Standing.FORGOTTEN

    def _device_changed(self, device: Device, change: list[str]) -> None:
        if "standing" in change and device.standing is Standing.FORGOTTEN:
            self._forget(device.id)
        elif "grants" in change:
            for request in self.open():
                if request.device == device.id and device.may(Grant(request.wanted)):
                    self._decide_soon(request)

    def _decide_soon(self, request: Request) -> None:
        """It has what it asked for: that is the answer."""
        request.state = Verdict.APPROVED

        def kept(_: Any, error: CoterieError | None) -> None:
            if error:
                request.state = Verdict.HELD
                log.error("a request could not be settled: %s", error)
            else:
                self._decided(request)

        self._store.write_then(partial(stored.save, request=replace(request)), kept)

    def _forget(self, device: str) -> None:
        """A device was forgotten: what it asked for is refused, whoever asks again."""
        for request in self._by_id.values():
            if request.device == device and request.state is Verdict.HELD:
                request.state, request.told = Verdict.REFUSED, True
                self._store.write_then(partial(stored.save, request=replace(request)), _log_failure)

    # --- books ------------------------------------------------------------------------------------------------

    async def _keep(self, request: Request) -> None:
        copied = replace(request)
        await self._store.write(lambda connection: stored.save(connection, copied))

    def _publish(self, request: Request) -> None:
        self._events.publish("request", request=self.card(request))

    def card(self, request: Request) -> dict[str, Any]:
        """What people and programs are told of a request."""
        return {
            "id": request.id,
            "device": request.device,
            "name": self._devices.label(request.device),
            "incoming": request.incoming,
            "wanted": request.wanted,
            "reason": request.reason,
            "message": request.message,
            "state": request.state.value,
            "told": request.told,
            "age_s": max(0.0, self._clock() - request.at),
        }


def _holds(request: Request, typed: str) -> bool:
    return request.message is not None and request.message.startswith(typed)


def _nothing(*_: str) -> None:
    raise Refused("nobody here takes messages of other devices")


def _log_failure(_: Any, error: CoterieError | None) -> None:
    if error:
        log.error("a request could not be stored: %s", error)
