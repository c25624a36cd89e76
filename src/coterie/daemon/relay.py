"""The relay: whether this device listens, which devices it keeps a link to, and what it knows of each.

It is there from the start and does nothing until the person wants something of it: no key is made, no library for
cryptography loaded, no socket opened. What it does follows from the settings, the devices and an open invitation; after
a change of any of them `apply` makes it so.

Frames: `about` is that of daemon/abouts.py; `bye {why}` tells that this side ends the link, and why.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from coterie.config import Settings
from coterie.daemon import whereabouts
from coterie.daemon.abouts import Abouts
from coterie.daemon.devices import Devices
from coterie.daemon.network import Network
from coterie.daemon.notices import Notices
from coterie.devices import Device, Standing, short, shown
from coterie.endpoints import address, parse_address
from coterie.errors import BadInput, CoterieError, Refused
from coterie.files import Home
from coterie.limits import ADDRESSES_MAX
from coterie.net import identity as identities
from coterie.net.fabric import Json
from coterie.net.identity import Identity, PairKeys
from coterie.pairing import label_of

if TYPE_CHECKING:
    from coterie.net.listener import Pairing
    from coterie.net.relay import Pace, Relay

log = logging.getLogger(__name__)

FORGOTTEN, LEAVING = "forgotten", "leaving"
"""Why a link is ended, as `bye` says it."""


class RelayService:
    """What becomes of the person's wish to be connected."""

    kinds: tuple[str, ...] = ("about", "bye")

    def __init__(
        self,
        place: Home,
        settings: Callable[[], Settings],
        devices: Devices,
        network: Network,
        notices: Notices,
        clock: Callable[[], float],
    ) -> None:
        self.keys = PairKeys(place.device)
        self.abouts = Abouts(network, devices, self.name, self.addresses)
        self.words: dict[str, str] = {}
        """How it goes with the link to each device, for the person."""
        self.problem: CoterieError | None = None
        """Why it does not listen though it should."""
        self.invited_port: int | None = None
        """Where an open invitation has it listen, whatever the settings say."""
        self.stays = False
        """Whether it listens as long as this daemon lives, as somebody was paired and the settings could not be
        changed."""
        self.pairing: Pairing | None = None
        """Serves whoever connects without a certificate: see coterie/daemon/pairings.py."""
        self._place = place
        self._settings = settings
        self._devices = devices
        self._network = network
        self._notices = notices
        self._clock = clock
        self._identity: Identity | None = None
        self._relay: Relay | None = None
        self._applying = asyncio.Lock()
        self._listens: tuple[str, int] | None = None
        """What was asked for: the address and the port of the settings, or of the invitation."""
        self._ports: tuple[int, ...] = ()
        self._parted: set[str] = set()
        """Devices that the person does not want to be connected with, until they say so or a new daemon starts."""
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsaved: set[str] = set()
        """Devices of which something new is about to be stored."""
        self._closing = False

    # --- this device ------------------------------------------------------------------------------------------

    def identity(self) -> Identity:
        """Who this device is; made at the first use. Raises `Unsafe` or `Damaged`."""
        if self._identity is None:
            self._identity = identities.load_or_make(self._place.device)
        return self._identity

    @property
    def is_known(self) -> bool:
        """Whether this device has had a use for an identity since the daemon started."""
        return self._identity is not None

    def name(self) -> str:
        """What this device calls itself."""
        return label_of(self._settings().text("relay.name") or socket.gethostname().partition(".")[0])

    def addresses(self) -> list[str]:
        """Where others may find it listening, the best first; empty if it does not, or only for itself."""
        if not self._ports or self._listens is None:
            return []
        return [address(host, self._ports[0]) for host in whereabouts.hosts(self._listens[0])][:ADDRESSES_MAX]

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens; empty if it does not."""
        return self._ports

    def is_busy(self) -> bool:
        """Whether the daemon has a reason to stay though nobody here is connected to it."""
        return bool(self._ports or self._network.present() or self._wanted_links())

    # --- doing what is wanted -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin, if there is anything to do. What goes wrong is a problem to be shown, and ends no daemon."""
        try:
            await self.apply()
        except CoterieError as error:
            self.problem = error
            log.error("%s", error.message)

    def apply_soon(self) -> None:
        """Do what the settings say now."""
        self.later(self.start())

    async def apply(self) -> None:
        """Listen where it should be listened, and keep links to whom they are wanted. Raises `Refused` if it cannot
        listen there.
        """
        async with self._applying:
            wanted = self._wanted()
            if self._is_others():
                return
            if self._closing or (wanted is None and not self._relay and not self._wanted_links()):
                return
            relay = self._started()
            relay.set_pace(self._pace())
            self._dial(relay)
            try:
                await self._listen(relay, wanted)
            finally:
                self.abouts.tell_all()

    def _is_others(self) -> bool:
        """Whether something else carries the frames, as in a simulation."""
        return self._relay is None and self._network.fabric is not None

    def _wanted(self) -> tuple[str, int] | None:
        settings = self._settings()
        addr, port = settings.text("relay.listen_addr"), int(settings.number("relay.listen_port"))
        if self.invited_port is not None:
            return addr, self.invited_port
        if self.stays and self._listens:
            return self._listens
        return (addr, port) if settings.on("relay.enabled") else None

    async def _listen(self, relay: Relay, wanted: tuple[str, int] | None) -> None:
        self.problem = None
        if wanted == self._listens:
            return
        if wanted is None:
            relay.stop_listening()
            self._listens, self._ports = None, ()
            return
        try:
            port = await relay.listen(*wanted)
        except CoterieError as error:
            self.problem = error
            raise
        self._listens, self._ports = wanted, (port,)
        log.info("the relay listens on %s", address(wanted[0], self._ports[0]))

    def _started(self) -> Relay:
        from coterie.net.relay import Relay  # Half a MiB with all that it needs, and most daemons never do.

        if self._relay is None:
            self._relay = Relay(
                self.identity(),
                self,
                self.keys.get,
                self._network,
                self._pace(),
                say=self._hear,
                seen=self._met_at,
                pairing=self.pairing,
            )
            self._network.fabric = self._relay
        return self._relay

    def _pace(self) -> Pace:
        from coterie.net.relay import Pace

        settings = self._settings()
        return Pace(
            settings.number("relay.heartbeat_interval_secs"),
            settings.number("relay.reconnect_max_secs"),
            int(settings.number("relay.max_peers")),
        )

    def _wanted_links(self) -> set[str]:
        """The devices, and the addresses of any device, to which links are to be kept up."""
        devices = {device.id for device in self._devices if self._is_wanted(device)}
        return devices | set(self._settings().texts("relay.auto_connect") if len(self._devices) else ())

    def _dial(self, relay: Relay) -> None:
        wanted = self._wanted_links()
        for target in sorted(relay.dialled() - wanted):
            relay.undial(target)
        for target in sorted(wanted - relay.dialled()):
            try:
                (relay.dial if self._devices.get(target) else relay.dial_at)(target)
            except BadInput as error:
                log.error("relay.auto_connect: %s", error.message)

    def _is_wanted(self, device: Device) -> bool:
        """Whether this side is to keep a link to it."""
        return device.dial and device.id not in self._parted

    def _hear(self, device: str, what: str) -> None:
        """How it goes with a device, or with an address."""
        self.words[device] = what

    def _met_at(self, device: str, place: str) -> None:
        """A link to a device was proved, or ended; `place` is where it was called, if this side called."""
        known = self._devices.get(device)
        if known and place:
            self._reached(known, [place])

    async def close(self) -> None:
        """Say goodbye, and end every link."""
        self._closing = True
        for device in self._network.present():
            self._network.send(device, "bye", why=LEAVING)
        for task in self._tasks:
            task.cancel()
        if self._relay:
            await self._relay.close()

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done beside, as long as the daemon lives."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("a defect, met while seeing to other devices", exc_info=task.exception())

    # --- what the links ask -----------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Device]:
        """The devices that may be linked with now."""
        return iter([device for device in self._devices if device.id not in self._parted])

    def get(self, device: str) -> Device | None:
        """A device that may be linked with now."""
        return None if device in self._parted else self._devices.get(device)

    # --- the person's verbs -----------------------------------------------------------------------------------

    async def add(self, device: Device, key: bytes) -> None:
        """A device was paired: from now on its key is taken. Raises `StoreFailed`, and then it is not."""
        self._network.cut(device.id, "it is paired anew")
        await asyncio.to_thread(self.keys.put, device.id, key)
        self._parted.discard(device.id)
        self.abouts.forget(device.id)
        try:
            await self._devices.save(device)
        except CoterieError:
            if self._devices.get(device.id) is not device:  # It was none before, and is none now.
                await asyncio.to_thread(self.keys.remove, device.id)
            raise
        self._started().pin(device)

    async def listen_at(self, port: int) -> None:
        """See whether it can listen at a port, before the settings say so. Raises `Refused`; then all is as it was."""
        before, self.invited_port = self.invited_port, port
        try:
            await self.apply()
        except CoterieError:
            self.invited_port = before
            await self.start()
            raise
        self.invited_port = before

    async def connect(self, device: Device) -> None:
        """Keep a link to a device from now on; one of which nobody knows where it is may come by itself.

        Raises `Refused` if it could come by itself all the time.
        """
        if not (device.addresses or device.id in self._parted or device.id in self._network.present()):
            raise Refused(
                f"it is not known where {device.name} is", "with its address: coterie relay connect HOST:PORT"
            )
        self._parted.discard(device.id)
        device.dial = bool(device.addresses)
        await self._devices.save(device)
        await self.apply()
        if self._relay and self._is_wanted(device):
            self._relay.dial(device.id)  # Now, and not when the pause between two tries is over.

    async def disconnect(self, device: Device) -> None:
        """Have no link to a device until `connect`, whoever dials; or until a new daemon starts, if it dials."""
        device.dial = False
        await self._devices.save(device)
        self._parted.add(device.id)
        self._network.cut(device.id, "the person disconnected it")
        await self.apply()

    async def forget(self, device: Device) -> None:
        """End a link now, and refuse its key from now on."""
        self._network.send(device.id, "bye", why=FORGOTTEN)
        self._parted.add(device.id)  # Until the store knows it.
        if self._relay:
            self._relay.forget(device.id)
        self.abouts.forget(device.id)
        await self._devices.forget(device.id)
        # Not before: a daemon that could not store it would come back with a device and no key for it.
        await asyncio.to_thread(self.keys.remove, device.id)
        self._parted.discard(device.id)

    def warn(self, subject: str, lines: list[str]) -> None:
        """Tell the person of something that they should look into."""
        log.warning("%s", subject)
        self._notices.tell(subject, lines)

    def forgive(self) -> None:
        """Somebody is invited: whoever failed too often before is listened to again."""
        if self._relay:
            self._relay.forgive()

    async def met(self, device: str, wait_s: float) -> bool:
        """Whether there is a link to a device, now or within so many seconds."""
        if device in self._network.present():
            return True
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(device, []).append(waiting)
        try:
            await asyncio.wait_for(waiting, wait_s)
        except TimeoutError:
            return False
        finally:
            self._awaited.get(device, [waiting]).remove(waiting)
        return True

    async def at(self, place: str) -> Device:
        """The paired device that answers at an address. Raises `Refused` if none does."""
        parted = set(self._parted)
        self._parted.clear()  # Whoever answers is wanted, and only that one.
        try:
            found = await self._started().connect_once(place)
            parted.discard(found)
        finally:
            self._parted |= parted
        device = self._devices.get(found)
        assert device
        self._reached(device, [place])
        return device

    # --- frames -----------------------------------------------------------------------------------------------

    def came(self, device: str) -> None:
        """Both have proved who they are."""
        known = self._devices.get(device)
        if known is None:
            return
        if known.standing is Standing.PROVISIONAL:
            known.standing = Standing.PAIRED
        known.forgot_us = False
        self._seen(known)
        self.abouts.tell(known)
        for waiting in self._awaited.get(device, []):
            if not waiting.done():
                waiting.set_result(None)

    def left(self, device: str) -> None:
        """There is no link any more."""
        known = self._devices.get(device)
        if known and known.standing is not Standing.FORGOTTEN:
            self._seen(known)

    def _seen(self, device: Device) -> None:
        device.seen_at = self._clock()
        self._save_soon(device)

    def _save_soon(self, device: Device) -> None:
        # What comes together is kept together: a device may tell of itself ten thousand times a second.
        if not self._closing and device.id not in self._unsaved:
            self._unsaved.add(device.id)
            self.later(self._save(device))

    async def _save(self, device: Device) -> None:
        self._unsaved.discard(device.id)
        try:
            await self._devices.save(self._devices.get(device.id) or device)
        except CoterieError as error:
            log.error("what is new of %s could not be kept: %s", short(device.id), error)

    def receive(self, device: str, frame: Json) -> None:
        """What a device says of itself, or that it ends the link."""
        known = self._devices.get(device)
        if known is None:
            return
        if frame["kind"] == "about":
            addresses, theirs = self.abouts.take(device, frame)
            if theirs != known.theirs:
                known.theirs = theirs
                self._save_soon(known)
            self._reached(known, addresses)
        elif frame.get("why") == FORGOTTEN:
            self._was_forgotten(known)

    def _reached(self, device: Device, addresses: Iterable[str]) -> None:
        """It may be reached there, too; those come first."""
        found = list(dict.fromkeys([*addresses, *device.addresses]))[:ADDRESSES_MAX]
        if found != device.addresses:
            device.addresses = found
            self._save_soon(device)

    def _was_forgotten(self, device: Device) -> None:
        """There is nothing to dial for any more; its mail waits, as it may be paired again."""
        device.forgot_us, device.dial = True, False
        self._save_soon(device)
        subject = f"{device.name} has forgotten this device"
        self._notices.tell(subject, ["To be connected again, pair again: coterie relay invite"])
        self._network.cut(device.id, "it has forgotten this device")
        self.apply_soon()

    # --- what people are told -----------------------------------------------------------------------------------

    def card(self, device: Device) -> Json:
        """What people and programs are told of a device; the caller adds what waits for it."""
        connected = device.id in self._network.present()
        said = self.abouts.said(device.id)
        now = self._clock()
        return {
            "id": device.id,
            "shown": shown(device.id),
            "short": short(device.id),
            "name": device.name,
            "calls_itself": said.name or None,
            "version": said.version or None,
            "standing": device.standing.value,
            "grants": sorted(device.grants),
            "theirs": sorted(device.theirs) if device.theirs is not None else None,
            "connected": connected,
            "since_s": self._relay.since_s(device.id) if connected and self._relay else None,
            "last_seen_s": max(0.0, now - device.seen_at) if device.seen_at is not None else None,
            "addresses": list(device.addresses),
            "links_wanted": self._is_wanted(device),
            "parted": device.id in self._parted,
            "has_forgotten": device.forgot_us,
            "words": self.words.get(device.id),
        }

    def status(self) -> Json:
        """Whether it listens, and where."""
        problem = self.problem
        wanted = self._wanted()
        return {
            "enabled": self._settings().on("relay.enabled"),
            "name": self.name(),
            "id": self._identity.id if self._identity else None,
            "listening": [address(self._listens[0], port) for port in self._ports] if self._listens else [],
            "addresses": self.addresses(),
            "port": self._ports[0] if self._ports else wanted[1] if wanted else None,
            "problem": {"message": problem.message, "hint": problem.hint} if problem else None,
            "devices": len(self._devices),
            "connected": len(self._network.present()),
        }


def place_in(text: str) -> str | None:
    """The address that a text names; None for what may be the name of a device."""
    if ":" not in text and "." not in text:
        return None
    try:
        return address(*parse_address(text))
    except BadInput:
        return None
