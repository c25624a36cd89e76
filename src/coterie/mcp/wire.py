"""The MCP wire, without I/O: lines in, lines out. The handshake revisions up to 2025-11-25, and no other.

``server/discover`` and every unknown method get -32601: Claude Code probes with the first, and a server that accepts
it could no longer be pushed to.
"""

from __future__ import annotations

from coterie import __version__
from coterie.errors import BadLine, CoterieError
from coterie.jsonline import LineReader, decode, encode
from coterie.mcp import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Json = dict[str, Any]

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
NEWEST = REVISIONS[-1]
BATCHING = "2025-03-26"
"""The only revision that has batches; a server must take them."""

INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
LINE_BYTES_MAX = 4 << 20
"""One line from the client. Clients put whole prompts into ``_meta``; beyond this something is wrong."""


class Rejected(Exception):
    """A request that gets a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Batch:
    """The answers to one batch, which go out together."""

    def __init__(self, size: int) -> None:
        self.missing = size
        self.answers: list[Json] = []


class Wire:
    """One MCP session, seen from the server. `host` serves the requests."""

    def __init__(self, host: Host, write: Callable[[bytes], None]) -> None:
        self.revision = ""
        self._host = host
        self._write = write
        self._reader = LineReader(LINE_BYTES_MAX)
        self._batches: dict[int | str, _Batch] = {}

    def feed(self, data: bytes) -> None:
        """Serve every line that `data` completes."""
        for line in self._reader.feed(data):
            try:
                message = decode(line, mend=True) if isinstance(line, bytes) else _raise(line)
            except BadLine as error:
                self._write(
                    encode({"jsonrpc": "2.0", "id": None, "error": {"code": error.code, "message": str(error)}})
                )
                continue
            if isinstance(message, dict):
                self._message(message)
            else:
                self._batch(message)

    def notify(self, method: str, params: Json) -> None:
        """Tell the client something that it did not ask for. Raises OSError if it did not get out."""
        self._write(encode({"jsonrpc": "2.0", "method": method, "params": params}))

    def answer(self, request_id: int | str, result: Json) -> None:
        """Answer a request."""
        self._out(request_id, {"jsonrpc": "2.0", "id": request_id, "result": result})

    def reject(self, request_id: int | str | None, code: int, message: str) -> None:
        """Answer a request with an error."""
        self._out(request_id, {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}})

    def drop(self, request_id: int | str) -> None:
        """A request that was cancelled gets no answer; its batch does not wait for it."""
        batch = self._batches.pop(request_id, None)
        if batch:
            batch.missing -= 1
            self._flush(batch)

    def _out(self, request_id: int | str | None, message: Json) -> None:
        batch = self._batches.pop(request_id, None) if request_id is not None else None
        if batch is None:
            self._write(encode(message))
            return
        batch.answers.append(message)
        batch.missing -= 1
        self._flush(batch)

    def _flush(self, batch: _Batch) -> None:
        if not batch.missing and batch.answers:
            self._write(encode(batch.answers))

    def _batch(self, messages: list[Any]) -> None:
        if self.revision != BATCHING or not messages:
            self.reject(None, INVALID_REQUEST, f"batches belong to revision {BATCHING} only")
            return
        requests = [m for m in messages if isinstance(m, dict) and "method" in m and _is_id(m.get("id"))]
        batch = _Batch(len(requests))
        for request in requests:
            self._batches[request["id"]] = batch
        for message in messages:
            if isinstance(message, dict):
                self._message(message)
            else:
                self.reject(None, INVALID_REQUEST, "not an object")

    def _message(self, message: Json) -> None:
        method, request_id = message.get("method"), message.get("id")
        params = message.get("params") or {}
        if "result" in message or "error" in message:
            return  # An answer; we ask nothing.
        if not isinstance(method, str) or not isinstance(params, dict) or message.get("jsonrpc") != "2.0":
            self.reject(request_id if _is_id(request_id) else None, INVALID_REQUEST, "not a JSON-RPC 2.0 request")
        elif "id" not in message:
            self._notification(method, params)
        elif not _is_id(request_id):
            self.reject(None, INVALID_REQUEST, "the id must be a text or a whole number")
        else:
            self._request(request_id, method, params)

    def _notification(self, method: str, params: Json) -> None:
        if method == "notifications/initialized":
            self._host.initialized()
        elif method == "notifications/cancelled" and _is_id(params.get("requestId")):
            self._host.cancelled(params["requestId"])

    def _request(self, request_id: Any, method: str, params: Json) -> None:
        try:
            if method == "initialize":
                self.answer(request_id, self._initialize(params))
            elif method == "ping":
                self.answer(request_id, {})
            elif method == "tools/list":
                self.answer(request_id, {"tools": self._host.tools()})
            elif method == "tools/call":
                self._host.call_tool(request_id, params)
            else:
                raise Rejected(METHOD_NOT_FOUND, f"no method {method[:60]!r}")
        except Rejected as error:
            self.reject(request_id, error.code, error.message)

    def _initialize(self, params: Json) -> Json:
        asked = params.get("protocolVersion")
        self.revision = asked if asked in REVISIONS else NEWEST
        info = params.get("clientInfo")
        self._host.greeted(str(info.get("name", "")) if isinstance(info, dict) else "")
        return {
            "protocolVersion": self.revision,
            "capabilities": {"tools": {}, **self._host.capabilities()},
            "serverInfo": {"name": "coterie", "title": "Coterie", "version": __version__},
            "instructions": words.INSTRUCTIONS,
        }


class Host:
    """What serves a session's requests."""

    def greeted(self, client_name: str) -> None:
        """``initialize`` came."""
        raise NotImplementedError

    def capabilities(self) -> Json:
        """What the server can do beside serving tools."""
        raise NotImplementedError

    def initialized(self) -> None:
        """``notifications/initialized`` came: the session is real."""
        raise NotImplementedError

    def cancelled(self, request_id: int | str) -> None:
        """The client gave up on a request."""
        raise NotImplementedError

    def tools(self) -> list[Json]:
        """What ``tools/list`` shows."""
        raise NotImplementedError

    def call_tool(self, request_id: int | str, params: Json) -> None:
        """Serve ``tools/call``, now or later. Raises `Rejected`."""
        raise NotImplementedError


def _is_id(value: object) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _raise(error: CoterieError) -> Any:
    raise error
