"""The connection under one link: TLS is done when it begins, the link's lines cross it, and it ends exactly once."""

from __future__ import annotations

import asyncio
import logging
import socket
from asyncio.trsock import TransportSocket
from collections import deque
from typing import Protocol

from coterie.errors import BadLine
from coterie.jsonline import LineReader
from coterie.limits import KIB, LINK_CLOSE_S, LINK_LINE_BYTES_MAX, LINK_OUTGOING_BYTES_MAX
from coterie.links import PROVED, Answer, Breach, Dead, Frame, Link
from coterie.net.fabric import Json
from coterie.net.tls import peer_fingerprint

log = logging.getLogger(__name__)

TOGETHER_BYTES = 64 * KIB
"""Frames wait for others of the same moment up to so many bytes, and then go out in one write."""
_UNHEARD = 2 / 3
"""Of a heartbeat interval: so long the kernel tries to get bytes through until it gives the link up. A device whose
cable is pulled just after it gave a sign is so noticed before two intervals are over, and not after three."""
_UNHEARD_LEAST_S = 5.0
"""Whatever the interval: a lost packet is sent again after 0.2, 0.6, 1.4 and 3 s."""


class Keeper(Protocol):
    """Whose connections they are."""

    def introduce(self, connection: Connection, fingerprint: bytes) -> Link | str:
        """The link to be had with the device of this certificate, or why there is none."""

    def proved(self, connection: Connection) -> None:
        """The other side has proved who it is."""

    def receive(self, connection: Connection, frame: Json) -> None:
        """A frame came."""

    def ended(self, connection: Connection, why: str) -> None:
        """It is over, after it was proved or before."""

    def lost(self, connection: Connection) -> None:
        """Its socket is closed too."""


class Connection(asyncio.Protocol):
    """One connection. `host` is where the other side is, `dialled` the address that this side called, if it did."""

    def __init__(self, keeper: Keeper, host: str, dialled: str = "") -> None:
        self.host = host
        self.dialled = dialled
        self.link: Link | None = None
        self.over = False
        self.since = 0.0
        """When it was proved, in the loop's time."""
        self._keeper = keeper
        self._loop = asyncio.get_running_loop()
        self.settled: asyncio.Future[str] = self._loop.create_future()
        """Done once it is proved, or over: then it says why."""
        self.gone = asyncio.Event()
        """Set once it is over."""
        self.closed = asyncio.Event()
        """Set once its socket is closed too."""
        self._reader = LineReader(LINK_LINE_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._outgoing: deque[bytes] = deque()
        self._outgoing_bytes = 0
        self._blocked = False
        """Whether the transport has enough for now. Unlike what waits here, OpenSSL's buffers never shrink."""

    # --- asyncio's side ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is done: see who it is, and say hello."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        fingerprint = peer_fingerprint(transport.get_extra_info("ssl_object"))
        link = self._keeper.introduce(self, fingerprint) if fingerprint else "it showed no certificate"
        if isinstance(link, str):
            self.end(link, abruptly=True)
            return
        self.link = link
        transport.write(link.begin())
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Take every line that is complete."""
        for line in self._reader.feed(data):
            if self.over:
                return
            try:
                self._take(line)
            except Breach as error:
                self.end(error.message, abruptly=True)
                return

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side closed it, or the way broke."""
        if isinstance(exc, TimeoutError):
            self.end("what was sent did not get through")
        else:
            self.end("the connection broke" if exc else "the other side closed it")
        if self._timer:
            self._timer.cancel()
        self.closed.set()
        self._keeper.lost(self)

    def pause_writing(self) -> None:
        """The other side does not read as fast as we write."""
        self._blocked = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._blocked = False
        self._flush()

    # --- ours ---------------------------------------------------------------------------------------------------

    @property
    def proved(self) -> bool:
        """Whether frames may cross it."""
        return self.link is not None and self.link.proved and not self.over

    @property
    def device(self) -> str:
        """The device at the other end; empty while it showed no certificate that we know."""
        return self.link.theirs.device if self.link else ""

    def send(self, frame: Json) -> bool:
        """Hand over a frame. False if the link is over. Raises `BadInput` for one that is too long."""
        if self.over or self.link is None:
            return False
        self._write(self.link.send(frame))
        return not self.over

    def end(self, why: str, *, abruptly: bool = False) -> None:
        """End it now: nothing is taken any more. What waits still goes out, unless it is ended abruptly."""
        if self.over:
            return
        self.over = True
        self.gone.set()
        if self._timer:
            self._timer.cancel()
        if self._transport and abruptly:
            self._transport.abort()
        elif self._transport:
            self._transport.write(b"".join(self._outgoing))
            self._transport.close()
            # asyncio waits for ever for one that does not read, and in some states for one that does not answer.
            self._timer = self._loop.call_later(LINK_CLOSE_S, self._transport.abort)
        self._outgoing.clear()
        if not self.settled.done():
            self.settled.set_result(why)
        self._keeper.ended(self, why)

    def set_heartbeat(self, heartbeat_s: float) -> None:
        """The person set another pace."""
        if self.link and not self.over:
            self.link.heartbeat_s = heartbeat_s
            self._arm()
            used = self._transport.get_extra_info("socket") if self._transport else None
            if used:
                tune(used, heartbeat_s)

    def _take(self, line: bytes | BadLine) -> None:
        if isinstance(line, BadLine):
            raise Breach("a line of a link is too long")
        assert self.link
        event = self.link.feed(line, self._loop.time())
        if isinstance(event, Frame):
            self._hand_over(event.frame)
        elif isinstance(event, Answer):
            self._write(event.line)
        elif event is PROVED:
            self.since = self._loop.time()
            if not self.settled.done():
                self.settled.set_result("")
            self._keeper.proved(self)
            if not self.over:
                self._arm()

    def _hand_over(self, frame: Json) -> None:
        try:
            self._keeper.receive(self, frame)
        except Exception:
            # Ours, not theirs: were the link to end, the same frame would come again and end the next one.
            log.exception("a defect, met with a frame of %s", self.device[:7])

    def _write(self, line: bytes) -> None:
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(line)
        self._outgoing_bytes += len(line)
        if self._outgoing_bytes > TOGETHER_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self.over or self._transport is None:
            return
        while self._outgoing and not self._blocked:
            self._transport.write(self._together())
        if self._outgoing_bytes + self._transport.get_write_buffer_size() > LINK_OUTGOING_BYTES_MAX:
            self.end("it reads nothing of what it is sent", abruptly=True)

    def _together(self) -> bytes:
        """What goes out in one write."""
        lines, size = [], 0
        while self._outgoing and size < TOGETHER_BYTES:
            lines.append(self._outgoing.popleft())
            size += len(lines[-1])
        self._outgoing_bytes -= size
        return b"".join(lines)

    def _arm(self) -> None:
        assert self.link
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(self.link.due(), self._tick)

    def _tick(self) -> None:
        assert self.link
        said = self.link.tick(self._loop.time())
        if isinstance(said, Dead):
            self.end(f"no word since {spelled(said.silent_s)}", abruptly=True)
            return
        if said:
            self._write(said)
        self._arm()


def bound(transport: asyncio.BaseTransport) -> None:
    """Have a transport say early that it has enough: 512 KiB is what asyncio gives TLS."""
    assert isinstance(transport, asyncio.WriteTransport)
    transport.set_write_buffer_limits(TOGETHER_BYTES)


def spelled(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 8 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def tune(connection: socket.socket | TransportSocket, heartbeat_s: float) -> None:
    """Have the kernel send at once, and give up on what does not get through.

    Where it cannot give up (macOS), the heartbeat finds it later. asyncio sends at once by itself only for sockets that
    were made with the number of TCP, and one that is accepted never is: 40 ms are lost then.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        unheard_s = max(heartbeat_s * _UNHEARD, _UNHEARD_LEAST_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unheard_s * 1000))
