"""The fabric of direct links: listens, calls, and keeps one proved link to each device."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from coterie.devices import Device, Standing, device_id
from coterie.endpoints import Endpoint, parse_address
from coterie.errors import BadInput, CoterieError, Refused
from coterie.links import NONCE_BYTES, End, Link, keep
from coterie.net.connection import Connection
from coterie.net.dialer import NOT_LET_IN, Caller, Dialer
from coterie.net.fabric import Json, Receiver
from coterie.net.identity import Identity
from coterie.net.listener import Listener, Pairing
from coterie.net.strangers import Strangers, source
from coterie.net.tls import pin, server_context

log = logging.getLogger(__name__)

_HOSTS_KEPT = 4
"""Of each device, how many of the places that it came from are remembered: home, work, a telephone."""
_KNOWN_S = 1.0
"""How old the list of known addresses may be. Made anew for each stranger of a flood it would cost more than they."""


class Known(Protocol):
    """The devices that this one knows."""

    def get(self, device: str) -> Device | None:
        """The device with this id, also one that was forgotten."""

    def __iter__(self) -> Iterator[Device]:
        """Those that are not forgotten."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What the person set."""

    heartbeat_s: float = 30.0
    reconnect_max_s: float = 25.0
    max_peers: int = 8


def _nothing(*_: object) -> None:
    """Nobody wants to know."""


class Relay:
    """A `Fabric`. Made on the event loop; until `listen` or `dial` is called, nothing of it touches the network."""

    def __init__(
        self,
        identity: Identity,
        devices: Known,
        key: Callable[[str], bytes | None],
        receiver: Receiver,
        pace: Pace = Pace(),
        *,
        say: Callable[[str, str], None] = _nothing,
        seen: Callable[[str, str], None] = _nothing,
        pairing: Pairing | None = None,
    ) -> None:
        """`key` gives the pairing key of a device. `say` is told how it goes with a device, in words for the person.

        `seen` is told of a device whenever a link to it was proved or ended, and of the address at which it was called;
        that is empty if it called. `pairing` serves connections without a certificate; it may be set later.
        """
        self.identity = identity
        self.pace = pace
        self._devices = devices
        self._key = key
        self._receiver = receiver
        self._say = say
        self._seen = seen
        self._loop = asyncio.get_running_loop()
        self._live: dict[str, Connection] = {}
        self._all: set[Connection] = set()
        """Also those that are not proved yet, or over and not closed yet."""
        self._callers: dict[str, tuple[Caller, asyncio.Task[None]]] = {}
        """By device, or by address."""
        self._hosts: dict[str, list[str]] = {}
        self._logged: dict[str, str] = {}
        """What the log was told last of each device."""
        self._known: frozenset[str] = frozenset()
        self._known_at = float("-inf")
        self._context: ssl.SSLContext | None = None
        self._dialer = Dialer(self, identity, lambda: self.pace.heartbeat_s)
        self._strangers = Strangers(self._known_sources)
        self._listener = Listener(self, self._strangers, self._server_context, lambda: self.pace.heartbeat_s, pairing)

    # --- the fabric ---------------------------------------------------------------------------------------------

    def send(self, device: str, frame: Json) -> bool:
        """Hand over a frame. False if there is no link now. Raises `BadInput` for one that is too long for any."""
        connection = self._live.get(device)
        return connection is not None and connection.send(frame)

    def present(self) -> frozenset[str]:
        """The devices to which there is a link now."""
        return frozenset(self._live)

    def cut(self, device: str, why: str) -> None:
        """End every connection with a device. What was sent before still goes out, for half a second."""
        for connection in [one for one in self._all if one.device == device]:
            connection.end(why, abruptly=not connection.proved)

    # --- what the person wants ----------------------------------------------------------------------------------

    async def listen(self, host: str, port: int) -> int:
        """Listen there, and nowhere else any more; port 0 takes a free one. Returns the port.

        Raises `Refused` if that cannot be; then it listens where it did.
        """
        self._server_context()  # What is wrong with our own key is said now, and to the person.
        return await self._listener.listen(host, port)

    def stop_listening(self) -> None:
        """Take nobody any more; the links that are there live on."""
        self._listener.stop()

    def forgive(self) -> None:
        """Somebody is invited: listen also to those who failed too often before."""
        self._strangers.forgive()

    def listening(self) -> list[Endpoint]:
        """Where it listens now."""
        return self._listener.places()

    @property
    def pairing(self) -> Pairing | None:
        """Who serves connections without a certificate; None: nobody can pair."""
        return self._listener.pairing

    @pairing.setter
    def pairing(self, pairing: Pairing | None) -> None:
        self._listener.pairing = pairing

    def dial(self, device: str) -> None:
        """Keep a link to a device up from now on. Said again, it is tried at once."""
        self._keep(device, Caller(self, device=device))

    def dial_at(self, place: str) -> None:
        """Keep a link up to whichever paired device is at an address. Raises `BadInput` for what is none."""
        parse_address(place)
        self._keep(place, Caller(self, place=place))

    def undial(self, target: str) -> None:
        """No longer keep up the link to a device, or to an address; one that is there lives on."""
        _, task = self._callers.pop(target, (None, None))
        if task:
            task.cancel()

    def dialled(self) -> frozenset[str]:
        """The devices and addresses to which links are kept up."""
        return frozenset(self._callers)

    async def connect_once(self, place: str) -> str:
        """Call an address once. Returns the device that answered. Raises `Refused` or `BadInput`, which say why."""
        return await self.call(place, "")

    def pin(self, device: Device) -> None:
        """A device was paired: take its certificate from now on."""
        if self._context:
            pin(self._context, device.certificate)
        self._known_at = float("-inf")

    def forget(self, device: str) -> None:
        """A device was forgotten: end its links now, and refuse its certificate."""
        self.undial(device)
        self.cut(device, "it was forgotten")
        self._hosts.pop(device, None)
        self._known_at = float("-inf")
        self._context = None  # A pin cannot be taken out of it.

    def set_pace(self, pace: Pace) -> None:
        """The person changed a setting: it holds for the links that are there, too."""
        self.pace = pace
        for connection in list(self._live.values()):
            connection.set_heartbeat(pace.heartbeat_s)
        for connection in list(self._live.values())[max(pace.max_peers, 0) :]:
            connection.end(f"no more than {pace.max_peers} links are wanted")

    async def close(self) -> None:
        """End everything."""
        tasks = [task for _, task in self._callers.values()]
        for target in list(self._callers):
            self.undial(target)
        await self._listener.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._all):
            connection.end("this device leaves", abruptly=not connection.proved)
        await asyncio.gather(*(connection.closed.wait() for connection in self._all))

    # --- what is known of a link --------------------------------------------------------------------------------

    def live(self, device: str) -> Connection | None:
        """The link to a device."""
        return self._live.get(device)

    def since_s(self, device: str) -> float | None:
        """How long the link to a device has lived; None if there is none."""
        connection = self._live.get(device)
        return self._loop.time() - connection.since if connection else None

    def silent_s(self, device: str) -> float | None:
        """How long ago anything was heard of a device with a link."""
        connection = self._live.get(device)
        return connection.link.silent(self._loop.time()) if connection and connection.link else None

    # --- for callers --------------------------------------------------------------------------------------------

    def places(self, device: str) -> list[str]:
        """Where a device may be reached, the best first."""
        known = self._devices.get(device)
        return list(known.addresses) if known else []

    async def call(self, place: str, device: str) -> str:
        """Call an address, at which any paired device may be or just this one, which is returned. Raises `Refused`."""
        expected = [known for known in self._devices if not device or known.id == device]
        connection = await self._dialer.call(place, [known.certificate for known in expected])
        if connection.over and not self.live(connection.device):
            raise Refused(f"no link to {place}: it was ended at once", NOT_LET_IN)
        return connection.device

    def say(self, device: str, what: str) -> None:
        """Tell the person how it goes."""
        if not what.startswith("connecting") and self._logged.get(device) != what:
            self._logged[device] = what  # A laptop that is away is tried again and again, all night.
            log.info("%s: %s", device[:7] or "a device", what)
        self._say(device, what)

    def reconnect_max_s(self) -> float:
        """The longest wait between two tries."""
        return self.pace.reconnect_max_s

    # --- for connections ----------------------------------------------------------------------------------------

    def introduce(self, connection: Connection, fingerprint: bytes) -> Link | str:
        """The link to be had with the device of this certificate, or why there is none."""
        device = device_id(fingerprint)
        known = self._devices.get(device)
        if known is None or known.standing is Standing.FORGOTTEN:
            return "its certificate is not that of a paired device"
        try:
            key = self._key(device)
        except (CoterieError, OSError) as error:
            log.error("the pairing key of %s cannot be read: %s", device[:7], error)
            key = None
        if key is None:
            return "there is no pairing key for it: forget it, and pair again"
        self._all.add(connection)
        return Link(
            End(self.identity.id, self.identity.fingerprint),
            End(device, fingerprint),
            dialled=bool(connection.dialled),
            key=key,
            nonce=os.urandom(NONCE_BYTES),
            heartbeat_s=self.pace.heartbeat_s,
            now=self._loop.time(),
        )

    def proved(self, connection: Connection) -> None:
        """A device has proved who it is: of two links to it one stays, and there are no more than wanted."""
        device = connection.device
        self._note(device, connection)
        old = self._live.get(device)
        if old:
            assert old.link
            assert connection.link
            if not keep(old.link, connection.link):
                connection.end("there is a link already")
                return
            old.end("another link took its place")
        elif len(self._live) >= self.pace.max_peers:
            self.say(device, f"not let in: there are {len(self._live)} links, and no more are wanted")
            connection.end("there are links enough")
            return
        self._live[device] = connection
        self.say(
            device, f"connected at {connection.dialled}" if connection.dialled else f"connected from {connection.host}"
        )
        self._receiver.came(device)

    def receive(self, connection: Connection, frame: Json) -> None:
        """A frame came, of the link that stays or of one that is giving way."""
        if self._live.get(connection.device) is connection:
            self._receiver.receive(connection.device, frame)

    def ended(self, connection: Connection, why: str) -> None:
        """A connection is over."""
        device = connection.device
        if device and self._live.get(device) is connection:
            del self._live[device]
            self._seen(device, connection.dialled)
            self.say(device, f"no link any more: {why}")
            self._receiver.left(device)

    def lost(self, connection: Connection) -> None:
        """Its socket is closed."""
        self._all.discard(connection)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _keep(self, target: str, caller: Caller) -> None:
        if target in self._callers:
            self._callers[target][0].poke()
            return
        task = self._loop.create_task(caller.run())
        task.add_done_callback(_not_silently)
        self._callers[target] = caller, task

    def _note(self, device: str, connection: Connection) -> None:
        """Remember where a device is, so that no crowd of strangers keeps it out."""
        whence = source(connection.host)
        hosts = [whence, *(host for host in self._hosts.get(device, []) if host != whence)]
        self._hosts[device] = hosts[:_HOSTS_KEPT]
        self._known_at = float("-inf")
        self._seen(device, connection.dialled)

    def _known_sources(self) -> frozenset[str]:
        now = self._loop.time()
        if now - self._known_at > _KNOWN_S:
            hosts = [host for device in self._devices for host in self._hosts.get(device.id, [])]
            places = [place for device in self._devices for place in device.addresses]
            self._known, self._known_at = frozenset([*hosts, *map(_source_of, places)]), now
        return self._known

    def _server_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = server_context(self.identity, (device.certificate for device in self._devices))
        return self._context


def _source_of(place: str) -> str:
    try:
        return source(parse_address(place)[0])
    except BadInput:
        return ""  # What another device says of where it is. It is told when it is called there.


def _not_silently(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        log.error("a defect, met while calling a device", exc_info=task.exception())
