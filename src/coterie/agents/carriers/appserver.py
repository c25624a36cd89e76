"""A connection to the app-server of Codex: WebSocket over its Unix socket, JSON-RPC without the "jsonrpc" member.
Measured with 0.169.0; ``codex app-server generate-json-schema --experimental`` prints the methods.

It is another program's interface, and marked experimental. So every wait is bounded, every message too, and whatever
is not as expected is `Unavailable` (nobody there) or `Refused` (it said no). Requests of the server are not answered:
they ask a window whether a tool may run, and any answer would be taken for the person's.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from coterie.errors import BadLine, Refused, Unavailable, Unsafe
from coterie.jsonline import decode
from coterie.limits import APP_SERVER_BYTES_MAX, APP_SERVER_S

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

Json = dict[str, Any]
Noted = Callable[[str, Json], None]
"""Called with the method and the parameters of a notification."""

OPEN = 1
"""The state of an open connection: ``websockets.State.OPEN``, without loading it at the daemon's start."""
DOCTOR = "codex doctor"
"""What to do about an app-server: Codex has a command that looks at its own."""
CLIENT = {"name": "coterie", "title": "Coterie", "version": "1"}
NOT_WANTED = [
    *("item/started", "item/completed", "item/agentMessage/delta", "item/plan/delta", "item/mcpToolCall/progress"),
    *("item/commandExecution/outputDelta", "item/commandExecution/terminalInteraction", "item/fileChange/outputDelta"),
    *("item/fileChange/patchUpdated", "item/reasoning/textDelta", "item/reasoning/summaryTextDelta"),
    *("item/reasoning/summaryPartAdded", "turn/started", "turn/completed", "turn/diff/updated", "turn/plan/updated"),
    *("hook/started", "hook/completed", "thread/tokenUsage/updated", "account/rateLimits/updated", "app/list/updated"),
    *("mcpServer/startupStatus/updated", "skills/changed", "warning", "configWarning", "deprecationNotice"),
]
"""Notifications that we are spared: they would wake us at each word of a sub-agent, whose thread every connection is
subscribed to when it begins."""


class AppServer:
    """One connection. Made by `connect`."""

    def __init__(self, connection: ClientConnection, noted: Noted, ended: Callable[[AppServer], None]) -> None:
        self._connection = connection
        self._noted = noted
        self._ended = ended
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Json | None]] = {}
        """What is waited for; None comes in the place of an answer when the connection ends."""
        self.is_over = False
        """Whether the connection has ended."""
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def connect(cls, path: str, noted: Noted, ended: Callable[[AppServer], None]) -> AppServer:
        """Connect and greet. Raises `Unavailable` if nobody answers there, `Unsafe` if it is not our own user's."""
        real = _checked(path)
        # In a thread: it takes a tenth of a second the first time, in which others are to be served.
        await asyncio.to_thread(import_module, "websockets.asyncio.client")
        from websockets.asyncio.client import unix_connect
        from websockets.exceptions import WebSocketException

        try:
            # No pings: an idle daemon sleeps, and the end of a local process is seen without them.
            connection = await unix_connect(
                real,
                uri="ws://localhost/",
                ping_interval=None,
                compression=None,
                open_timeout=APP_SERVER_S,
                close_timeout=APP_SERVER_S,
                max_size=APP_SERVER_BYTES_MAX,
                user_agent_header=None,
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            raise Unavailable(f"the app-server of codex does not answer: {error}", DOCTOR) from None
        server = cls(connection, noted, ended)
        try:
            await server._greet(real)
        except BaseException:
            server.close()
            raise
        return server

    async def _greet(self, path: str) -> None:
        _check_owner(self._connection.transport.get_extra_info("socket"), path)
        capabilities = {"experimentalApi": True, "optOutNotificationMethods": NOT_WANTED}
        await self.call("initialize", {"clientInfo": CLIENT, "capabilities": capabilities})
        await self._send({"method": "initialized"})

    async def call(self, method: str, params: Json) -> Json:
        """Ask, and return the result. Raises `Refused` if the server says no, `Unavailable` without an answer."""
        message = await self._answer(method, params)
        error = message.get("error")
        if error is not None:
            said = error.get("message") if isinstance(error, dict) else error
            raise Refused(f"the app-server of codex refused {method}: {str(said)[:200]}")
        result = message.get("result")
        return result if isinstance(result, dict) else {}

    async def _answer(self, method: str, params: Json) -> Json:
        number = next(self._numbers)
        answer: asyncio.Future[Json | None] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        leaves = self._connection.state == OPEN and not self.is_over  # Else nothing is written at all.
        try:
            await self._send({"id": number, "method": method, "params": params})
            message = await asyncio.wait_for(answer, APP_SERVER_S)
        except TimeoutError:
            raise Unavailable(f"the app-server of codex did not answer {method}", DOCTOR, unanswered=True) from None
        except Unavailable as error:
            error.unanswered = leaves
            raise
        finally:
            self._asked.pop(number, None)
        if message is None:
            raise Unavailable("the app-server of codex has ended", DOCTOR, unanswered=True)
        return message

    def close(self) -> None:
        """End the connection at once: a server that stands still would not answer a goodbye."""
        self.is_over = True
        self._reading.cancel()
        self._connection.transport.abort()

    async def _send(self, message: Json) -> None:
        from websockets.exceptions import WebSocketException

        try:
            await asyncio.wait_for(self._connection.send(json.dumps(message)), APP_SERVER_S)
        except (OSError, TimeoutError, WebSocketException) as error:
            raise Unavailable(f"the app-server of codex is gone: {error}", DOCTOR) from None

    async def _read(self) -> None:
        from websockets.exceptions import WebSocketException

        try:
            async for text in self._connection:
                self._take(text if isinstance(text, bytes) else text.encode())
        except (OSError, WebSocketException) as error:
            log.info("the app-server of codex: %s", error)
        finally:
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_result(None)
            self.is_over = True
            self._ended(self)

    def _take(self, text: bytes) -> None:
        try:
            message = decode(text, mend=True)
        except BadLine as error:
            log.warning("the app-server of codex said something unreadable: %s", error)
            return
        if not isinstance(message, dict):
            return
        method, params = message.get("method"), message.get("params")
        if isinstance(method, str):
            if "id" not in message:
                self._noted(method, params if isinstance(params, dict) else {})
            return
        number = message.get("id")
        answer = self._asked.get(number) if isinstance(number, int) else None
        if answer and not answer.done():
            answer.set_result(message)


def _checked(path: str) -> str:
    """Where the link `path` leads, if that is a socket of our own user."""
    real = os.path.realpath(path)
    try:
        found = os.lstat(real)
    except OSError as error:
        raise Unavailable(f"codex has no app-server at {path}: {error.strerror}", "start codex") from None
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise Unsafe(f"{real} is not a socket of yours", f"see who made it: ls -l {real}")
    return real


def _check_owner(connection: socket.socket, path: str) -> None:
    """The file may be ours and another user's process listen: the kernel knows. On macOS the file's owner must do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid != os.getuid():
        raise Unsafe(f"{path} is served by another user (uid {uid})", f"see who made it: ls -l {path}")
