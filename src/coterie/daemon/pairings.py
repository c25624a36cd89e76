"""Pairing as the person sees it: an invitation that is open for the terminal that asked for it, and joining one.

Whoever made the invitation, or joins, is told each stage in notifications `pairing {stage, text, ...}` on its own
connection; `done` says that there will be no more. If the connection ends, the invitation is withdrawn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from coterie import ids, invitations
from coterie import settings as files
from coterie.daemon.accepting import Accepting
from coterie.daemon.devices import Devices
from coterie.daemon.local import Connection
from coterie.daemon.relay import RelayService
from coterie.daemon.settings import Keeper
from coterie.daemon.whereabouts import LOOPBACK, is_loopback
from coterie.devices import AFTER_PAIRING, Device, Standing, free_label
from coterie.endpoints import Endpoint, address, parse_address
from coterie.errors import BadConfig, BadInput, CoterieError, PairingFailed, Refused
from coterie.files import Home
from coterie.invitations import Form, Invitation
from coterie.limits import ADDRESSES_MAX, INVITATION_S, MEET_S
from coterie.net.identity import PairingLock
from coterie.pairing import Invitations, Verdict

if TYPE_CHECKING:
    from coterie.net.paired import Paired

log = logging.getLogger(__name__)

USUAL = (Form.CODE, Form.LINK)
"""The forms of an invitation when none is asked for."""
_ENDS = {
    Verdict.EXPIRED: f"nobody joined within {INVITATION_S / 60:.0f} minutes: the invitation is over",
    Verdict.WITHDRAWN: "the invitation was withdrawn",
}


@dataclass(slots=True)
class _Open:
    """The invitation that is open, and who waits for it."""

    connection: Connection
    expiry: asyncio.TimerHandle | None = None


class Pairings:
    """Inviting, joining, and what both leave behind."""

    def __init__(
        self, place: Home, keeper: Keeper, devices: Devices, relay: RelayService, clock: Callable[[], float]
    ) -> None:
        self.accepting = Accepting(self._join, tell)
        """The raw code that waits for its place."""
        self._lock = PairingLock(place.device)
        self.invitations = Invitations(locked=self._lock.holds)
        self._place = place
        self._keeper = keeper
        self._devices = devices
        self._relay = relay
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._open: _Open | None = None
        relay.pairing = self.serve

    def left_s(self) -> float | None:
        """How long the invitation is open yet; None if there is none."""
        return self.invitations.left_s(self._loop.time()) if self._open else None

    # --- inviting -----------------------------------------------------------------------------------------------

    async def invite(
        self, connection: Connection, forms: Sequence[Form], addr: str | None, port: int | None, *, unlock: bool
    ) -> dict[str, Any]:
        """Open an invitation for this connection. Raises `Refused` if there is one, or nothing can listen."""
        if self._open:
            raise Refused(
                f"an invitation is open already, for {self.left_s() or 0:.0f} s yet",
                "end it in its terminal (Ctrl-C) first",
            )
        if unlock:
            self._lock.lift()
            self.invitations.unlock()
        if self.invitations.locked:
            self.invitations.open(self._loop.time(), {})  # Says why not.
        opened = self._open = _Open(connection)
        try:
            places = await self._listen(addr, port)
            self._relay.forgive()  # Whoever mistyped the last code is to type this one.
            if self._open is not opened:
                raise Refused("the invitation was withdrawn", "coterie relay invite")
            spelled, without = self._spelled(forms or USUAL, places)
            secrets = {form.value: invitations.read(text).secret for form, text in spelled.items()}
            self.invitations.open(self._loop.time(), secrets)
        except BaseException:
            self._end()
            raise
        opened.expiry = self._loop.call_later(INVITATION_S, self._expired)
        hosts = [host for host, _ in places]
        return {
            "invitation": ids.new_token(),
            **{form.value: spelled.get(form) for form in Form},
            "without": without,
            "expires_s": INVITATION_S,
            "listening": [address(*place) for place in places],
            "loopback": all(map(is_loopback, hosts)),
            "name": self._relay.name(),
            "id": self._relay.identity().id,
        }

    async def _listen(self, addr: str | None, port: int | None) -> list[Endpoint]:
        """Listen for the joiner. Returns where it is to come."""
        self._relay.identity()
        open_ports = self._relay.ports
        if port is not None and open_ports and port not in open_ports:
            raise Refused(
                f"this device listens on port {open_ports[0]} already",
                f"leave out --port; to change it: coterie relay serve --port {port}",
            )
        if not open_ports:
            said = int(self._keeper.now().number("relay.listen_port"))
            self._relay.invited_port = said if port is None else port
            await self._relay.apply()
        bound = self._relay.ports[0]
        if addr:
            return [parse_address(addr, bound)]
        return [parse_address(place) for place in self._relay.addresses()] or [(LOOPBACK, bound)]

    def _spelled(self, forms: Sequence[Form], places: list[Endpoint]) -> tuple[dict[Form, str], dict[str, str]]:
        """The texts of an invitation, each with a secret of its own; and why a form is not among them."""
        spelled: dict[Form, str] = {}
        without: dict[str, str] = {}
        for form in forms:
            secret = ids.entropy(invitations.secret_bytes(form))
            try:
                spelled[form] = self._spell(form, places, secret)
            except BadInput as error:
                without[form.value] = f"{error.message}: {error.hint}"
        if not spelled:
            raise BadInput("no form of an invitation fits that address", "; ".join(without.values()))
        return spelled, without

    def _spell(self, form: Form, places: list[Endpoint], secret: bytes) -> str:
        host, port = places[0]
        if form is Form.CODE:
            return invitations.spell_code(host, port, secret)
        if form is Form.WORDS:
            return invitations.spell_words(host, port, secret)
        if form is Form.RAW:
            return invitations.spell_raw(secret)
        reachable = [place for place in places if "%" not in place[0]][: invitations.LINK_ADDRESSES_MAX]
        if not reachable:
            raise BadInput("a link takes no address with a zone", "give another one: --addr")
        return invitations.spell_link(self._relay.name(), reachable, secret, self._relay.identity().fingerprint)

    def lost(self, connection: Connection) -> None:
        """A connection ended: if the invitation was its own, nobody would hear of it."""
        self.accepting.lost(connection)
        if self._open and self._open.connection is connection:
            self._finish(Verdict.WITHDRAWN)

    def withdraw(self, connection: Connection) -> bool:
        """End the invitation of this connection; whether there was one."""
        mine = self._open is not None and self._open.connection is connection
        if mine:
            self._finish(Verdict.WITHDRAWN)
        return mine

    def _expired(self) -> None:
        self._finish(Verdict.EXPIRED)

    def _finish(self, verdict: Verdict) -> None:
        self._say("over", _ENDS[verdict], reason=verdict.value, done=True, ok=False)
        self._end()

    def _end(self) -> None:
        """The invitation is over: listen for it no more."""
        if self._open and self._open.expiry:
            self._open.expiry.cancel()
        self._open = None
        self.invitations.close()
        self._relay.invited_port = None
        self._relay.apply_soon()

    def _say(self, stage: str, text: str, **more: Any) -> None:
        if self._open:
            tell(self._open.connection, stage, text, **more)

    # --- somebody comes -----------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> bool:
        """Pair with whoever connected without a certificate. Returns whether it did nothing wrong."""
        from coterie.net.pairings import invite_side  # Most daemons never pair.

        now = self._loop.time()
        if self.invitations.left_s(now) is None and self.invitations.ended(now) is None:
            return False  # Nobody was invited.
        us = self._relay
        asked: _Open | None = None

        def trying(text: str) -> None:
            nonlocal asked
            asked = self._open
            self._say("trying", text, host=host)

        try:
            paired = await invite_side(
                reader,
                writer,
                self.invitations,
                us.identity(),
                us.name(),
                us.addresses(),
                self._loop.time,
                trying,
            )
        except PairingFailed as failure:
            if self.invitations.locked:
                await self._keep_locked()
            self._failed(failure, host)
            return False
        if asked is None or asked is not self._open:
            # The person was told that the invitation is withdrawn, and that holds.
            us.warn(
                f"{paired.name} had the right code of an invitation that was withdrawn at that moment",
                [f"It called from {host}, believes to be paired, and is not.", "To pair: coterie relay invite"],
            )
            return False
        await self._paired(paired, asked)
        return True

    def _failed(self, failure: PairingFailed, host: str) -> None:
        log.info("a pairing failed: %s", failure.message)
        fields = {"hint": failure.hint, "reason": failure.reason, "again": failure.again, "host": host}
        if failure.reason == Verdict.USED:
            self._relay.warn(failure.message, [f"It called from {host}.", failure.hint])
        if failure.again or self.left_s() is not None:
            self._say("failed", failure.message, **fields)
        elif self._open:
            self._say("over", failure.message, **fields, locked=self.invitations.locked, done=True, ok=False)
            self._end()

    async def _keep_locked(self) -> None:
        """Have the next daemon find pairing locked, too: a restart is not the person's word."""
        try:
            await asyncio.to_thread(self._lock.set)
        except (CoterieError, OSError) as error:
            log.error("pairing is locked until this daemon ends, and no longer: %s", error)

    async def _paired(self, paired: Paired, asked: _Open) -> None:
        """Keep what came of it before the connection is closed: the joiner waits for that."""
        try:
            device = await self._keep(paired, dial=False, addresses=paired.addresses)
            on = await self._turn_on()
        except CoterieError as error:
            self._say("over", f"paired, but not kept: {error.message}", hint=error.hint, done=True, ok=False)
            self._end()
            raise
        self._say("paired", f"paired with {device.name}", device=self._relay.card(device), **on)
        self._end()
        self._relay.later(self._await_link(device, asked.connection))

    async def _turn_on(self) -> dict[str, Any]:
        """Listen from now on, as its new device will come again: the person's file says so."""
        said = self._keeper.now()
        port = self._relay.ports[0] if self._relay.ports else None
        was_on = said.on("relay.enabled")
        moved = port if port != int(said.number("relay.listen_port")) else None
        try:
            if moved:
                await asyncio.to_thread(files.put, self._place, "relay.listen_port", moved)
            if not was_on:
                await asyncio.to_thread(files.put, self._place, "relay.enabled", True)
        except BadConfig as error:
            log.error("the relay was turned on for now alone: %s", error.message)
            self._relay.stays = True
            return {"relay_on": True, "turned_on": not was_on, "problem": f"{error.message}; {error.hint}"}
        self._keeper.look()
        return {"relay_on": True, "turned_on": not was_on, "config": self._place.config}

    async def _await_link(self, device: Device, connection: Connection) -> None:
        """Tell whoever invited whether the new device comes, too."""
        met = await self._relay.met(device.id, MEET_S)
        text = f"{device.name} is connected" if met else f"{device.name} is paired, and has not connected yet"
        stage = "connected" if met else "waiting"
        tell(connection, stage, text, device=self._relay.card(device), done=True, ok=True)

    # --- joining ------------------------------------------------------------------------------------------------

    async def join(self, connection: Connection, text: str) -> Device:
        """Pair with the device that made this invitation. Raises `PairingFailed`, or `BadInput` for a slip."""
        found = invitations.read(text)
        if not found.addresses:
            raise BadInput(
                "a raw code says nothing of where the other device is", "coterie relay accept CODE HOST:PORT"
            )
        return await self._join(found, [connection])

    async def accept(self, connection: Connection, code: str, places: Sequence[Endpoint], why: str = "") -> Device:
        """Pair by a raw code with the device at one of these places. Where there is none it waits for one; `why` says
        the reason.
        """
        found = invitations.read(code)
        if found.form is not Form.RAW:
            raise BadInput("that is no raw code", "for the other forms: coterie relay join")
        if not places:
            return await self.accepting.wait(connection, found, why)
        return await self._join(replace(found, addresses=tuple(places)), [connection])

    async def _join(self, invitation: Invitation, terminals: Sequence[Connection]) -> Device:
        """Join, and tell these terminals how it goes."""
        from coterie.net.pairings import join_side

        def say(stage: str, text: str, **more: Any) -> None:
            for connection in terminals:
                tell(connection, stage, text, **more)

        us = self._relay
        paired = await join_side(invitation, us.identity(), us.name(), us.addresses(), partial(say, "trying"))
        tried = [address(*place) for place in invitation.addresses]
        device = await self._keep(paired, dial=True, addresses=[*tried, *paired.addresses])
        say("paired", f"paired with {device.name}; connecting", device=us.card(device))
        await us.connect(device)
        met = await us.met(device.id, MEET_S)
        text = f"connected with {device.name}" if met else f"paired with {device.name}, and not connected yet"
        say("connected" if met else "waiting", text, device=us.card(device), done=True, ok=met)
        return device

    async def _keep(self, paired: Paired, *, dial: bool, addresses: Sequence[str]) -> Device:
        """The device that was paired, with its new key. One that is known keeps its name here, and its rights."""
        known = self._devices.get(paired.id)
        if known is None or known.standing is Standing.FORGOTTEN:
            us = Device("", self._relay.name(), b"")  # A name that both have would tell no session from another.
            name = free_label(paired.name, [*self._devices, us])
            known = Device(paired.id, name, paired.certificate_der, grants=AFTER_PAIRING)
        device = replace(
            known,
            standing=Standing.PROVISIONAL,
            dial=dial or known.dial,
            addresses=list(dict.fromkeys([*addresses, *known.addresses]))[:ADDRESSES_MAX],
            paired_at=self._clock(),
            theirs=None,
            forgot_us=False,
        )
        await self._relay.add(device, paired.key)
        log.info("paired with %s (%s)", device.name, device.id[:7])
        return device


def tell(connection: Connection, stage: str, text: str, **more: Any) -> None:
    """Tell a terminal of a stage; whether it still listens makes no difference."""
    connection.notify("pairing", {"stage": stage, "text": text, "done": False, **more})
