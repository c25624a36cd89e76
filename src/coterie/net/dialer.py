"""Calling other devices: one call to one address, and a caller that keeps a link up."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from coterie.endpoints import address, parse_address
from coterie.errors import BadInput, Refused
from coterie.limits import CONNECT_S, HANDSHAKE_S, LINK_CLOSE_S
from coterie.links import Backoff
from coterie.net.connection import Connection, Keeper, bound, tune
from coterie.net.identity import Identity
from coterie.net.names import Names
from coterie.net.tls import client_context, pin

NOT_LET_IN = "it may have forgotten this device, have links enough, or be overrun by strangers"


class Dialer:
    """Makes single calls."""

    def __init__(self, keeper: Keeper, identity: Identity, heartbeat_s: Callable[[], float]) -> None:
        self._keeper = keeper
        self._identity = identity
        self._heartbeat_s = heartbeat_s
        self._names = Names()

    async def call(self, place: str, certificates: list[bytes]) -> Connection:
        """Call an address at which the device with one of these certificates is expected. Once both have proved who
        they are, here is the connection; otherwise this raises `Refused` or `BadInput`, which say why.
        """
        host, port = parse_address(place)
        if not certificates:
            raise Refused("no device is paired", "coterie relay invite")
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                connection = await self._open(host, port, certificates)
                why = await _settled(connection)
        except TimeoutError:
            raise _missed(place, "no answer") from None
        except ssl.SSLCertVerificationError:
            raise _missed(place, "another device answers there", "its address may have changed hands") from None
        except ssl.SSLError:
            raise _missed(place, "what answers there is no coterie") from None
        except OSError as error:
            raise _missed(place, _plainly(error)) from None
        if why:
            raise _missed(place, why, NOT_LET_IN)
        return connection

    async def _open(self, host: str, port: int, certificates: list[bytes]) -> Connection:
        context = client_context(self._identity, certificates[0])
        for certificate in certificates[1:]:
            pin(context, certificate)
        transport, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self._keeper, host, dialled=address(host, port)),
            sock=await self._reach(host, port),
            ssl=context,
            server_hostname="",  # No name is sent: the certificate is pinned, and nobody else needs it.
            ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=LINK_CLOSE_S,
        )
        bound(transport)
        return connection

    async def _reach(self, host: str, port: int) -> socket.socket:
        """A connected socket: the first of the addresses of `host` that answers."""
        failed: OSError = OSError("no address")
        for family, place in await self._names.find(host, port):
            one = socket.socket(family, socket.SOCK_STREAM)
            try:
                one.setblocking(False)
                tune(one, self._heartbeat_s())
                async with asyncio.timeout(CONNECT_S):
                    await asyncio.get_running_loop().sock_connect(one, place)
            except OSError as error:
                one.close()
                failed = error
            except BaseException:
                one.close()
                raise
            else:
                return one
        raise failed


async def _settled(connection: Connection) -> str:
    try:
        return await asyncio.shield(connection.settled)
    except BaseException:
        if not connection.proved:
            connection.end("it proved nothing in time", abruptly=True)
        raise


def _missed(place: str, why: str, hint: str = "") -> Refused:
    return Refused(f"no link to {place}: {why}", hint)


def _plainly(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "nobody knows that name"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, ConnectionError):
        return "the other side closed it"
    if isinstance(error, TimeoutError):
        return "no answer"
    return (error.strerror or "it cannot be reached").lower()


class Exchange(Protocol):
    """What a caller needs of those who know all links."""

    def live(self, device: str) -> Connection | None:
        """The link to a device, if there is one."""

    def places(self, device: str) -> list[str]:
        """Where a device may be reached, the best first."""

    async def call(self, place: str, device: str) -> str:
        """Call an address, at which any paired device may be or just this one, which is returned. Raises `Refused`."""

    def say(self, device: str, what: str) -> None:
        """Tell the person how it goes."""

    def reconnect_max_s(self) -> float:
        """The longest wait between two tries."""


def in_turns(places: list[str]) -> list[str]:
    """The order of a round: the first, where the last link was, stands again before every third of the others.

    An address that keeps silent takes CONNECT_S, and a device may have ADDRESSES_MAX: once the way to it is there again
    it must not take longer than reconnect_max_s until that is noticed.
    """
    best, others = places[:1], places[1:]
    return [place for at in range(0, max(len(others), 1), 2) for place in (*best, *others[at : at + 2])]


class Caller:
    """Keeps a link up to one device, or to whichever paired device is at one address; `run` never ends by itself."""

    def __init__(self, exchange: Exchange, device: str = "", place: str = "") -> None:
        self._exchange = exchange
        self._device = device
        self._place = place
        self._backoff = Backoff()
        self._poked = asyncio.Event()
        self._chance = random.SystemRandom()

    def poke(self) -> None:
        """Try at once: the person asks, or there is a reason to hope."""
        self._backoff.reset()
        self._poked.set()

    async def run(self) -> None:
        """Call while there is no link, whoever made it, with longer and longer waits."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            connection = self._exchange.live(self._device) if self._device else None
            if connection:
                await connection.gone.wait()
                begun = loop.time()
                self._backoff.held(begun - connection.since)
            elif await self._round():
                continue
            await self._pause(begun)

    async def _round(self) -> bool:
        """Call at each address in turn, until there is a link."""
        self._poked.clear()
        places = [self._place] if self._place else self._exchange.places(self._device)
        if not places:
            self._exchange.say(self._device, "no address of it is known")
        for place in in_turns(places):
            if self._device and self._exchange.live(self._device):
                return True  # It called meanwhile.
            self._exchange.say(self._device, f"connecting to {place}")
            try:
                self._device = await self._exchange.call(place, "" if self._place else self._device)
            except (Refused, BadInput) as error:
                self._exchange.say(self._device, f"{error.message}; {error.hint}" if error.hint else error.message)
            else:
                return self._exchange.live(self._device) is not None
        return False

    async def _pause(self, begun: float) -> None:
        """Wait, counted from when the last round began: whoever has many silent addresses is looked for as often."""
        took_s = asyncio.get_running_loop().time() - begun
        wait_s = self._backoff.next(self._exchange.reconnect_max_s(), self._chance.random(), took_s)
        try:
            async with asyncio.timeout(wait_s):
                await self._poked.wait()
        except TimeoutError:
            pass
