"""Reaching the simulated daemon, as `coterie.client` reaches the real one, without blocking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from coterie import __version__
from coterie.client import Client
from coterie.errors import Silent, Unavailable, from_wire
from coterie.jsonline import decode, encode
from coterie.limits import CALL_S, PROTOCOL, PROTOCOL_OLDEST, START_S
from coterie.testing.sim.wires import Wire

if TYPE_CHECKING:
    from coterie.testing.sim.sites import Site

RETRY_S = 0.02
"""Between two looks for a daemon that is coming up."""


class Door:
    """A client's end of a connection, as a socket: what came waits here."""

    def __init__(self, site: Site, pid: int) -> None:
        life = site.serving()
        if life is None:
            raise Unavailable("the daemon is not running", "coterie up starts it")
        self.came = bytearray()
        self.ended = False
        self.on_ready: Callable[[], None] = lambda: None
        self._wire = Wire(site, life, pid, self._take, self._lost)

    def _take(self, data: bytes) -> None:
        self.came += data
        self.on_ready()

    def _lost(self) -> None:
        self.ended = True
        self.on_ready()

    def sendall(self, data: bytes) -> None:
        """Send. Raises OSError if it is known that nobody is there."""
        if self.ended:
            raise BrokenPipeError
        self._wire.up(data)

    def recv(self, size: int) -> bytes:
        """What came; nothing at the end."""
        data = bytes(self.came[:size])
        del self.came[:size]
        return data

    def settimeout(self, seconds: float | None) -> None:
        """Nothing here blocks."""

    def close(self) -> None:
        """Hang up."""
        self.ended = True
        self._wire.hang_up()


class Line:
    """A connection on which one call is made after the other."""

    def __init__(self, site: Site, pid: int) -> None:
        self.door = Door(site, pid)
        self.client = Client(self.door)  # type: ignore[arg-type]
        self.door.on_ready = self._ready
        self._site = site
        self._last_id = 0
        self._answer: asyncio.Future[dict[str, Any]] | None = None

    def _ready(self) -> None:
        waiting = self._answer
        while self.door.came:
            for line in self.client.reader.feed(self.door.recv(65_536)):
                message = decode(line) if isinstance(line, bytes) else {}
                if isinstance(message, dict) and waiting and not waiting.done() and "method" not in message:
                    waiting.set_result(message)
        if self.door.ended and waiting and not waiting.done():
            waiting.set_exception(Unavailable("the daemon went away", "try again"))

    async def call(self, method: str, params: dict[str, Any], wait_s: float = CALL_S) -> Any:
        """Call a method, as `Client.call` does."""
        self._last_id += 1
        self._answer = self._site.outside.create_future()
        try:
            self.door.sendall(encode({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}))
            answer = await asyncio.wait_for(self._answer, wait_s)
        except TimeoutError:
            raise Silent(f"no answer within {wait_s:g} s") from None
        except OSError:
            raise Unavailable("the daemon went away", "try again") from None
        if "error" in answer:
            raise from_wire(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """Hang up."""
        self.door.close()


async def dial(site: Site, pid: int, kind: str, *, start: bool, wait_s: float = CALL_S) -> Line:
    """A connection on which hello was said; with `start`, the daemon is started if it is not there."""
    deadline = site.time.running + START_S
    versions = {"protocol": [PROTOCOL_OLDEST, PROTOCOL], "version": __version__, "client": kind}
    while True:
        if site.serving():
            line = Line(site, pid)
            try:
                line.client.hello = await line.call("hello", versions, wait_s)
            except Unavailable as error:
                line.close()
                if isinstance(error, Silent):
                    raise
            except BaseException:
                line.close()
                raise
            else:
                return line
        elif not start:
            raise Unavailable("the daemon is not running", "coterie up starts it")
        else:
            site.start_daemon()
        if site.time.running > deadline:
            raise Silent("the daemon was started and is not ready yet")
        await asyncio.sleep(RETRY_S * (0.5 + site.random.random()))
