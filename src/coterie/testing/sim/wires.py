"""Connections in memory: bytes that take their time, come in pieces, and may be cut anywhere."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from coterie.daemon.local import Connection

if TYPE_CHECKING:
    from coterie.testing.sim.daemons import Life
    from coterie.testing.sim.sites import Site

LATENCY_S = 0.0005
"""The most that bytes take on their way."""
IN_ORDER_S = 1e-6
"""What is sent later arrives later by so much at least."""
PIECES = 0.1
"""How often what is sent at once arrives in two pieces."""


class Numbered(Connection):
    """A connection whose place in a set is the same in every run."""

    def __init__(self, life: Life, number: int) -> None:
        super().__init__(life.server)
        self._number = number

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Socket:
    """What the kernel tells of the other end; `coterie.daemon.local.credentials` asks."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """The pid, uid and gid, as Linux gives them."""
        return struct.pack("3i", self._pid, os.getuid(), os.getgid())


class _Transport(asyncio.Transport):
    """The daemon's end."""

    def __init__(self, wire: Wire, pid: int) -> None:
        super().__init__({"socket": _Socket(pid)})
        self._wire = wire

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send to the client."""
        self._wire.down(bytes(data))

    def close(self) -> None:
        """Close; what was written still arrives."""
        self._wire.closed_by_daemon()

    abort = close

    def is_closing(self) -> bool:
        """Whether it is closed at either end."""
        return self._wire.closing

    def pause_reading(self) -> None:
        """Take nothing for now."""
        self._wire.reading = False

    def resume_reading(self) -> None:
        """Take what came meanwhile, and go on."""
        self._wire.resume()

    def get_write_buffer_size(self) -> int:
        """Every client reads at once."""
        return 0


class Wire:
    """One connection between a process and the daemon."""

    def __init__(self, site: Site, life: Life, pid: int, take: Callable[[bytes], None], lost: Callable[[], None]):
        self._site = site
        self._life = life
        self._take = take
        """The client's: bytes came."""
        self._client_lost = lost
        self.closing = False
        self.reading = True
        self.over = False
        """Whether the client knows that it is over, or has ended it."""
        self._kept: list[bytes] = []
        self._up_at = self._down_at = 0.0
        self._protocol = Numbered(life, site.number())
        life.wires.append(self)
        life.soon(self._protocol.connection_made, _Transport(self, pid))

    # --- from the client -------------------------------------------------------------------------------------------

    def up(self, data: bytes) -> None:
        """The client sends."""
        if self.over:
            return
        if self._site.faults.strikes("request cut"):
            self._up(data[: int(len(data) * self._site.random.random())])
            self.cut(keep=True)
        else:
            for piece in self._pieces(data):
                self._up(piece)

    def _up(self, data: bytes) -> None:
        self._up_at = self._arrival(self._up_at)
        self._site.at(self._up_at, self._arrive_up, data)

    def _arrive_up(self, data: bytes) -> None:
        if self.closing or not self._life.running:
            return
        if self.reading:
            self._life.soon(self._received, data)
        else:
            self._kept.append(data)

    def _received(self, data: bytes) -> None:
        if not self.closing and data:
            self._protocol.data_received(data)

    def resume(self) -> None:
        """The daemon reads again."""
        self.reading = True
        kept, self._kept = self._kept, []
        for data in kept:
            self._life.soon(self._received, data)

    def hang_up(self) -> None:
        """The client closes, or its process ends: what it sent still arrives."""
        if not self.over:
            self.over = True
            self._up_at = self._arrival(self._up_at)
            self._site.at(self._up_at, self._end_at_daemon)

    def _end_at_daemon(self) -> None:
        if not self.closing and self._life.running:
            self.closing = True
            self._life.soon(self._protocol.connection_lost, None)

    # --- from the daemon -------------------------------------------------------------------------------------------

    def down(self, data: bytes) -> None:
        """The daemon sends."""
        if self.closing or not self._life.running:
            return
        if self._site.faults.strikes("answer lost"):
            self.cut(keep=False)
        elif self._site.faults.strikes("answer cut"):
            self._down(data[: int(len(data) * self._site.random.random())])
            self.cut(keep=True)
        else:
            for piece in self._pieces(data):
                self._down(piece)

    def _down(self, data: bytes) -> None:
        self._down_at = self._arrival(self._down_at)
        self._site.at(self._down_at, self._arrive_down, data)

    def _arrive_down(self, data: bytes) -> None:
        if not self.over and data:
            self._take(data)

    def closed_by_daemon(self) -> None:
        """The daemon closes: what it wrote still arrives."""
        if not self.closing:
            self.closing = True
            self._life.soon(self._protocol.connection_lost, None)
            self._tell_client()

    def broken(self) -> None:
        """The daemon's process is no more: what it wrote before still arrives."""
        self.closing = True
        self._tell_client()

    def _tell_client(self) -> None:
        self._down_at = self._arrival(self._down_at)
        self._site.at(self._down_at, self._end_at_client)

    def _end_at_client(self) -> None:
        if not self.over:
            self.over = True
            self._client_lost()

    # --- both ------------------------------------------------------------------------------------------------------

    def cut(self, *, keep: bool) -> None:
        """It breaks between the two, for both. `keep`: what is on its way still arrives."""
        self._site.history.note("cut", self._site.called("world"))
        if not keep:
            self.over, lost = True, not self.over
            if lost:
                self._site.at(self._arrival(self._down_at), self._client_lost)
        else:
            self._tell_client()
        self._up_at = self._arrival(self._up_at)
        self._site.at(self._up_at, self._end_at_daemon)

    def _arrival(self, after: float) -> float:
        return max(after + IN_ORDER_S, self._site.time.running + self._site.random.random() * LATENCY_S)

    def _pieces(self, data: bytes) -> list[bytes]:
        if self._site.random.random() >= PIECES:
            return [data]
        middle = int(len(data) * self._site.random.random())
        return [piece for piece in (data[:middle], data[middle:]) if piece]
