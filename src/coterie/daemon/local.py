"""The local socket: JSON-RPC 2.0, one object a line, for callers of our own uid only.

A line that is not strict JSON gets an error with id null and the connection lives on; so does one that asks for
something unknown. A connection ends when it is another user's, says no hello in time, or does not read its answers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from coterie.daemon.pending import Pending
from coterie.daemon.waits import Wait
from coterie.errors import (
    BadInput,
    BadLine,
    CoterieError,
    Defect,
    HumanOnly,
    Refused,
    Unavailable,
    UnknownMethod,
    Unsafe,
)
from coterie.files import Home, check_socket, make_folder
from coterie.jsonline import LineReader, decode, encode
from coterie.limits import BACKLOG, HELLO_S, IN_FLIGHT_MAX, KIB, OUTGOING_BYTES_MAX
from coterie.peers import Claim, Peer
from coterie.points import point
from coterie.store.db import unreadable

log = logging.getLogger(__name__)

Receipts = list[tuple[str, str]]
"""Messages, each with the state that its sender is being told."""
Handler = Callable[["Connection", dict[str, Any]], Any]
RESUME_BELOW = IN_FLIGHT_MAX // 2
TOGETHER_BYTES = 64 * KIB
"""Answers wait for others of the same moment up to so many bytes: a client that asks for much at once and reads
nothing must meet OUTGOING_BYTES_MAX, and not take our memory before."""

_LOCAL_PEERCRED = 0x001  # macOS, <sys/un.h>
_LOCAL_PEERPID = 0x002


def credentials(connection: socket.socket) -> tuple[int, int]:
    """The pid and uid at the other end, as the kernel noted them when it connected."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid
    # macOS: struct xucred is version, uid, then groups; level 0 is SOL_LOCAL.
    xucred = connection.getsockopt(0, _LOCAL_PEERCRED, 76)
    pid = struct.unpack("i", connection.getsockopt(0, _LOCAL_PEERPID, 4))[0]
    return pid, struct.unpack_from("2I", xucred)[1]


class Connection(asyncio.Protocol):
    """One client. `peer`, `claim`, `inbox`, `displaced` and `subagent` are set by registration, `kind` and `protocol`
    by hello, `calls` and `waits` by handlers.
    """

    def __init__(self, server: LocalServer) -> None:
        self.pid = 0
        self.kind = ""
        self.protocol = 0
        self.peer: Peer | None = None
        self.claim: Claim | None = None
        self.inbox = False
        self.displaced = False
        self.subagent = False
        """Whether it serves a sub-agent of its peer, which gets no text."""
        self.calls: dict[str, Receipts] = {}
        """The texts with mail that it was given and has not reported on, with the receipts in each."""
        self.speaks_for = ""
        """The id of the peer that `calls` were taken for."""
        self.waits: list[Wait] = []
        """Its sends that wait for an answer."""
        self._server = server
        self._reader = LineReader()
        self._transport: asyncio.Transport | None = None
        self._in_flight = 0
        self._paused = False
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._hello_timer: asyncio.TimerHandle | None = None

    # --- asyncio's side ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check who it is; another user's process is told so and let go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._server.leaving:
            transport.close()  # Accepted a moment before. Unanswered, it finds the next daemon.
            return
        self.pid, uid = credentials(transport.get_extra_info("socket"))
        self._server.connections.add(self)
        if uid != os.getuid():
            self._send({"jsonrpc": "2.0", "id": None, "error": Refused("another user's daemon").to_wire()})
            self.close()
            return
        self._hello_timer = asyncio.get_running_loop().call_later(HELLO_S, self._no_hello)

    def data_received(self, data: bytes) -> None:
        """Serve every line that is complete."""
        for line in self._reader.feed(data):
            if not self.is_open():
                return  # Cut off meanwhile: what it asked for is nobody's any more.
            if isinstance(line, BadLine):
                self._answer(None, error=line)
            else:
                self._serve(line)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        if self._hello_timer:
            self._hello_timer.cancel()
        self._server.connections.discard(self)
        self._server.on_lost(self)

    # --- ours ------------------------------------------------------------------------------------------

    def greeted(self, kind: str, protocol: int) -> None:
        """Hello was said."""
        self.kind, self.protocol = kind, protocol
        if self._hello_timer:
            self._hello_timer.cancel()

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Tell the client something that it did not ask for."""
        self._send({"jsonrpc": "2.0", "method": method, "params": params})
        self._flush()  # Somebody may be waiting for what it says.

    def carries(self, peer: str, call: str, receipts: Receipts) -> None:
        """It is given the text named `call`, for `peer`, and is to report on it."""
        self.speaks_for = peer
        self.calls[call] = receipts

    def close(self) -> None:
        """Send what is to be sent, and close."""
        self._flush()
        if self._transport:
            self._transport.close()

    def pause(self) -> None:
        """Read no more; what was read is still answered."""
        if self._transport and self.is_open():
            self._transport.pause_reading()

    def is_open(self) -> bool:
        """Whether the client is still there, as far as we know."""
        return self._transport is not None and not self._transport.is_closing()

    def _no_hello(self) -> None:
        self._answer(None, error=BadInput(f"no hello within {HELLO_S:g} s", "say hello first"))
        self.close()

    def _serve(self, line: bytes) -> None:
        request_id = None
        try:
            message = decode(line)
            request_id = _id_of(message)
            method, params = _request(message)
            if not self.kind and method != "hello":
                raise BadInput("say hello first")
            result = self._server.handler(method)(self, params)
        except CoterieError as error:
            self._answer(request_id, error=error)
        except Exception as error:  # noqa: BLE001 (a defect in one handler must not end the daemon; it is logged)
            self._answer(request_id, error=_defect(error))
        else:
            if isinstance(result, Pending):
                self._begin()
                result.then(lambda result, error: self._settled(request_id, result, error))
            elif isinstance(result, Awaitable):
                self._later(request_id, asyncio.ensure_future(result))
            else:
                self._answer(request_id, result)

    def _later(self, request_id: int | str | None, future: asyncio.Future[Any]) -> None:
        self._begin()
        future.add_done_callback(lambda done: self._finished(request_id, done))

    def _finished(self, request_id: int | str | None, done: asyncio.Future[Any]) -> None:
        if done.cancelled():
            self._settled(request_id, None, CoterieError("the call was given up", "try again"))
        else:
            error = done.exception()
            self._settled(request_id, None if error else done.result(), error)

    def _begin(self) -> None:
        self._in_flight += 1
        if self._in_flight >= IN_FLIGHT_MAX and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()

    def _settled(self, request_id: int | str | None, result: Any, error: BaseException | None) -> None:
        self._in_flight -= 1
        readable = self.is_open() and not self._server.leaving
        if self._paused and self._in_flight <= RESUME_BELOW and readable and self._transport:
            self._paused = False
            self._transport.resume_reading()
        if error is None:
            self._answer(request_id, result)
        else:
            self._answer(request_id, error=error if isinstance(error, CoterieError) else _defect(error))

    def _answer(self, request_id: int | str | None, result: Any = None, error: CoterieError | None = None) -> None:
        point("before-answer")
        if self._server.leaving and isinstance(error, (Unavailable, Defect)):
            return  # It failed because we leave. Cut off instead, the client asks the next daemon, which can do it.
        if error is not None:
            if isinstance(error, HumanOnly):
                log.warning("pid %d was refused: %s (%s)", self.pid, error.message, error.hint)
            self._send({"jsonrpc": "2.0", "id": request_id, "error": error.to_wire()})
        else:
            self._send({"jsonrpc": "2.0", "id": request_id, "result": result})

    def _send(self, message: dict[str, Any]) -> None:
        if not self.is_open() or self._transport is None:
            return
        if not self._outgoing:
            # What one commit answers goes out in one write: under load that is most of what an answer costs.
            asyncio.get_running_loop().call_soon(self._flush)
        line = encode(message)
        self._outgoing.append(line)
        self._outgoing_bytes += len(line)
        if self._outgoing_bytes > TOGETHER_BYTES:
            self._flush()

    def _flush(self) -> None:
        lines, self._outgoing, self._outgoing_bytes = self._outgoing, [], 0
        if not lines or not self.is_open() or self._transport is None:
            return
        self._transport.write(b"".join(lines))
        if self._transport.get_write_buffer_size() > OUTGOING_BYTES_MAX:
            log.warning("pid %d reads nothing of what it is sent; its connection is cut", self.pid)
            self._transport.abort()


def _id_of(message: dict[str, Any] | list[Any]) -> int | str:
    """The id of a request, by which its answer is known, an error too. Raises `BadInput`."""
    if isinstance(message, list):
        raise BadInput("batches are not served", "send one object a line")
    request_id = message.get("id")
    if not isinstance(request_id, (int, str)) or isinstance(request_id, bool):
        raise BadInput("the id must be a number or a text")
    return request_id


def _request(message: dict[str, Any] | list[Any]) -> tuple[str, dict[str, Any]]:
    """The method and params of a request. Raises `BadInput`."""
    assert isinstance(message, dict)
    method, params = message.get("method"), message.get("params", {})
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str) or not isinstance(params, dict):
        raise BadInput('not a JSON-RPC 2.0 request: {"jsonrpc": "2.0", "id", "method", "params": {...}}')
    return method, params


def _defect(error: BaseException) -> CoterieError:
    if failed := unreadable(error):
        log.error("%s", failed)
        return failed
    log.error("a defect", exc_info=error)
    return Defect("coterie made a mistake; the details are in the daemon's log", "coterie status says where it is")


class LocalServer:
    """Listens on the socket of one home."""

    def __init__(
        self,
        place: Home,
        methods: dict[str, Handler],
        on_lost: Callable[[Connection], None],
        check: Callable[[str], None],
    ) -> None:
        self.connections: set[Connection] = set()
        self.leaving = False
        """Set for good when it stops listening: from then on nothing new is taken."""
        self.on_lost = on_lost
        self._check = check
        self._place = place
        self._methods = methods
        self._server: asyncio.Server | None = None
        self._inode = 0

    def handler(self, method: str) -> Handler:
        """The handler of a method. Raises `UnknownMethod`, or what `check` raises: the method is not served now."""
        self._check(method)
        handler = self._methods.get(method)
        if handler is None:
            raise UnknownMethod(f"no method {method[:60]!r}", "this daemon may be older than its client")
        return handler

    async def listen(self) -> None:
        """Bind and listen. The lock must be held: a socket that is there was left by a daemon that is no more."""
        make_folder(self._place.socket_folder)
        path = self._place.socket
        if check_socket(path):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        except OSError as error:
            raise Unsafe(f"cannot make the socket {path}: {error.strerror}", "set COTERIE_HOME elsewhere") from None
        finally:
            os.umask(before)
        self._inode = os.lstat(path).st_ino
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Connection(self), sock=listener, backlog=BACKLOG)

    def stop_listening(self) -> None:
        """Take nothing new. A client that comes now finds nobody and starts the next daemon; one whose request was
        not read yet is cut off before it is, and asks the next daemon.
        """
        self.leaving = True
        for connection in self.connections:
            connection.pause()
        if self._server is None:
            return
        self._server.close()
        self._server = None
        try:
            if os.lstat(self._place.socket).st_ino == self._inode:
                os.unlink(self._place.socket)
        except FileNotFoundError:
            return
