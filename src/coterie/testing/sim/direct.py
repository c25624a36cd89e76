"""The shipped fabric of direct links over simulated roads: all of `coterie.net.relay` but its sockets and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

from coterie.net import connection
from coterie.net.connection import Connection
from coterie.net.dialer import Dialer
from coterie.net.fabric import Json
from coterie.net.listener import Listener
from coterie.net.relay import Relay
from coterie.store.db import tell
from coterie.testing.sim.liberties import Sorted, bring, lost
from coterie.testing.sim.roads import End

if TYPE_CHECKING:
    from coterie.testing.sim.daemons import Life
    from coterie.testing.sim.sites import Site


class _Connection(Connection):
    """A connection whose place in a set is the same in every run."""

    def __init__(self, keeper: Direct, host: str, dialled: str = "") -> None:
        super().__init__(keeper, host, dialled)
        self._number = keeper.site.number()

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Transport(asyncio.Transport):
    """One end of a road, and the fingerprint that TLS would have shown."""

    def __init__(self, end: End, protocol: Connection, fingerprint: bytes) -> None:
        super().__init__({"ssl_object": fingerprint})
        self._end = end
        self._protocol = protocol
        end.heard = lambda end, data: protocol.data_received(data)
        end.closed = lambda end: protocol.connection_lost(None)
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        if data:
            self._end.write(bytes(data))

    def close(self) -> None:
        """Hang up; what was written still arrives."""
        if not self._end.over:
            self._end.close()
            self._end.life.soon(self._protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        """Whether it is over."""
        return self._end.over

    def get_write_buffer_size(self) -> int:
        """What the other end has not got yet."""
        return self._end.unsent()


class _Dialer(Dialer):
    """Calls over simulated roads."""

    _keeper: Direct

    async def _open(self, host: str, port: int, certificates: list[bytes]) -> Connection:
        relay = self._keeper
        site, world = relay.site, relay.site.world
        there = next((site for site in world.sites if site.host == host), None)
        if there is None or there.identity is None:
            raise OSError("no route to host")
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        end = End(relay.life, site)
        end.closed = lambda end: tell(opened, None, ConnectionRefusedError())
        world.roads.dial(end, there, lambda end: tell(opened, None, None))
        try:
            await opened
        except asyncio.CancelledError:
            end.close()
            raise
        if there.identity.certificate_der not in certificates:
            end.close()
            raise ssl.SSLCertVerificationError
        made = _Connection(relay, host, f"{host}:{port}")
        _Transport(end, made, there.identity.fingerprint)
        return made


class _Listener(Listener):
    """Takes what comes over simulated roads."""

    _keeper: Direct

    async def listen(self, host: str, port: int) -> int:
        """Take connections from now on."""
        relay = self._keeper
        relay.site.world.roads.accept[relay.site.name] = (relay.life, self._accept)
        return port

    def stop(self) -> None:
        """Take none."""
        relay = self._keeper
        relay.site.world.roads.accept.pop(relay.site.name, None)

    def _accept(self, end: End, device: str) -> None:
        caller = self._keeper.site.world.device(device)
        assert caller.identity
        _Transport(end, _Connection(self._keeper, caller.host), caller.identity.fingerprint)


class Direct(Relay):
    """The shipped relay, whose frames are lost, late or repeated at times."""

    def __init__(self, site: Site, life: Life, *arguments: Any, **named: Any) -> None:
        self.site = site
        self.life = life
        super().__init__(*arguments, **named)
        self._dialer = _Dialer(self, self.identity, lambda: self.pace.heartbeat_s)
        self._listener = _Listener(self, self._strangers, self._server_context, lambda: self.pace.heartbeat_s)

    def send(self, device: str, frame: Json) -> bool:
        """Hand over a frame; it may be lost, and that may be told."""
        if device not in self._live:
            return False
        gone = lost(self.site)
        return super().send(device, frame) if gone is None else gone

    def present(self) -> frozenset[str]:
        """The devices to which there is a link now."""
        return Sorted(super().present())

    def dialled(self) -> frozenset[str]:
        """The devices and addresses to which links are kept up."""
        return Sorted(super().dialled())

    def receive(self, connection: Connection, frame: Json) -> None:
        """A frame came. What is above must be content with whatever happens to it now."""
        if self._live.get(connection.device) is connection:
            bring(self.site, frame, partial(self._receive, connection.device))

    def _receive(self, device: str, frame: Json) -> None:
        if device in self._live and self.life.running:
            self._receiver.receive(device, frame)


@contextlib.contextmanager
def installed(chance: random.Random) -> Iterator[None]:
    """What the shipped relay would ask TLS and the system for chance, it is given."""
    shown: Callable[[bytes], bytes] = lambda fingerprint: fingerprint  # noqa: E731
    with (
        mock.patch.object(connection, "peer_fingerprint", shown),
        mock.patch.object(random, "SystemRandom", return_value=chance),
    ):
        yield
