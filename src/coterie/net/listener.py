"""The door: takes connections, has each prove within its time who it is, and tells strangers nothing."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable

from coterie.endpoints import Endpoint, address
from coterie.errors import Refused
from coterie.limits import ACCEPT_BURST, ACCEPT_PAUSE_S, HANDSHAKE_S, LINK_CLOSE_S, PAIRING_LINE_BYTES_MAX
from coterie.net import ports
from coterie.net.connection import Connection, Keeper, bound, tune
from coterie.net.strangers import Stranger, Strangers
from coterie.net.tls import peer_certificate

log = logging.getLogger(__name__)

Pairing = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[bool]]
"""Serves a connection without a certificate, from this host, and says whether it did nothing wrong."""

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class _Door(asyncio.Protocol):
    """TLS is done: a device that shows a certificate, or somebody who is about to pair."""

    def __init__(self, keeper: Keeper, host: str) -> None:
        self.connection = Connection(keeper, host)
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand over to whoever goes on."""
        assert isinstance(transport, asyncio.Transport)
        if peer_certificate(transport.get_extra_info("ssl_object")):
            bound(transport)
            transport.set_protocol(self.connection)
            self.connection.connection_made(transport)
            return
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(PAIRING_LINE_BYTES_MAX, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self.streams = reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def abort(self) -> None:
        """End what has not proved itself."""
        if self.streams:
            self.streams[1].transport.abort()
        elif not self.connection.proved:
            self.connection.end("it was not let in", abruptly=True)


class Listener:
    """Listens at one address and port, if told to."""

    def __init__(
        self,
        keeper: Keeper,
        strangers: Strangers,
        context: Callable[[], ssl.SSLContext],
        heartbeat_s: Callable[[], float],
        pairing: Pairing | None = None,
    ) -> None:
        self.pairing = pairing
        """None: nobody can pair now."""
        self._keeper = keeper
        self._strangers = strangers
        self._context = context
        self._heartbeat_s = heartbeat_s
        self._sockets: list[socket.socket] = []
        self._asked: Endpoint | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._moving = asyncio.Lock()

    def places(self) -> list[Endpoint]:
        """Where it listens."""
        return [listener.getsockname()[:2] for listener in self._sockets]

    async def listen(self, host: str, port: int) -> int:
        """Listen there, and nowhere else any more; port 0 takes a free one. Returns the port.

        Raises `Refused` if that cannot be; then it listens where it did.
        """
        async with self._moving:
            if not self._sockets or self._asked != (host, port):
                await self._move(host, port)
            return int(self._sockets[0].getsockname()[1])

    async def _move(self, host: str, port: int) -> None:
        before, at = self._asked, self.places()
        self.stop()
        try:
            self._sockets = await ports.bound(host, port)
        except Refused:
            if before and at:
                self._sockets = await ports.bound(before[0], at[0][1])
                self._begin(before)
            raise
        self._begin((host, port))

    def stop(self) -> None:
        """Take nobody any more. Who stands at the door may still prove itself."""
        loop = asyncio.get_running_loop()
        for listener in self._sockets:
            loop.remove_reader(listener)
            listener.close()
        self._sockets, self._asked = [], None

    async def close(self) -> None:
        """Stop, and end who stands at the door."""
        self.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- taking -------------------------------------------------------------------------------------------------

    def _begin(self, asked: Endpoint) -> None:
        self._asked = asked
        for listener in self._sockets:
            self._look(listener)
        log.info("listening at %s", ", ".join(address(*place) for place in self.places()))

    def _look(self, listener: socket.socket) -> None:
        if listener in self._sockets:
            asyncio.get_running_loop().add_reader(listener, self._ready, listener)

    def _ready(self, listener: socket.socket) -> None:
        for _ in range(ACCEPT_BURST):
            try:
                connection, whence = listener.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._pause(listener)
                return  # Nobody is left, or whoever came has gone again.
            self._admit(connection, str(whence[0]))

    def _pause(self, listener: socket.socket) -> None:
        log.warning("no descriptors are left for connections of other devices")
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(ACCEPT_PAUSE_S, self._look, listener)

    def _admit(self, connection: socket.socket, host: str) -> None:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        visit = _Visit(connection, host)
        stranger = self._strangers.admit(host, visit.close, loop.time())
        if stranger is None:
            connection.close()
            return
        task = loop.create_task(self._greet(visit, stranger))
        visit.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(visit.done)

    async def _greet(self, visit: _Visit, stranger: Stranger) -> None:
        try:
            why = await self._judge(visit, self._context())
        finally:
            self._strangers.leave(stranger)
        if why:
            self._strangers.failed(stranger, why, asyncio.get_running_loop().time())
        else:
            self._strangers.succeeded(stranger)

    async def _judge(self, visit: _Visit, context: ssl.SSLContext) -> str:
        """Why it is no device of ours, or nothing."""
        visit.begun = True
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                return await self._meet(visit, context)
        except TimeoutError:
            return f"it proved nothing within {HANDSHAKE_S:g} s"
        except ssl.SSLError:
            return "it showed no certificate that is paired, or spoke no TLS 1.3"
        except OSError:
            return "it left before it proved anything"

    async def _meet(self, visit: _Visit, context: ssl.SSLContext) -> str:
        door = _Door(self._keeper, visit.host)
        tune(visit.connection, self._heartbeat_s())
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: door,
                visit.connection,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=LINK_CLOSE_S,
            )
            if door.streams is None:
                return await door.connection.settled
            if self.pairing is None:
                door.abort()
                return "it showed no certificate, and nobody is invited"
            paired = await self.pairing(*door.streams, visit.host)
            door.streams[1].close()  # What was said last still goes out.
            return "" if paired else "it failed to pair"
        except BaseException:
            door.abort()
            raise


class _Visit:
    """A connection that was taken, until it is known what becomes of it."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        self.connection = connection
        self.host = host
        self.task: asyncio.Task[None] | None = None
        self.begun = False

    def close(self) -> None:
        """There is no room for it any more."""
        if self.task:
            self.task.cancel()

    def done(self, task: asyncio.Task[None]) -> None:
        """A task that is cancelled before it began closes nothing."""
        if not self.begun:
            self.connection.close()
        if not task.cancelled() and task.exception():
            log.error("a defect, met at the door", exc_info=task.exception())
