"""A connection to the daemon without our client's manners: bytes out, lines in."""

from __future__ import annotations

import itertools
import json
import socket
from types import TracebackType
from typing import Any, Self

from coterie.limits import PROTOCOL

Json = dict[str, Any]
ANSWER_S = 20.0


class Raw:
    """A connected socket."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_S)
        self.socket.connect(path)
        self._lines = self.socket.makefile("rb")
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lines.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self.socket.sendall(data)

    def ask(self, method: str, /, **params: Any) -> int:
        """Write a request; returns its id."""
        number = next(self._ids)
        self.send(request(number, method, **params))
        return number

    def call(self, method: str, /, **params: Any) -> Json:
        """Write a request and return the next line, which must be its answer."""
        number = self.ask(method, **params)
        answer = self.answer()
        assert answer["id"] == number, answer
        return answer

    def greet(self) -> Self:
        """Say hello."""
        assert "result" in self.call("hello", protocol=[PROTOCOL, PROTOCOL], version="0", client="test")
        return self

    def answer(self) -> Json:
        """The next line that is no notification. Raises EOFError at the end of the connection."""
        while True:
            line = self._lines.readline()
            if not line:
                raise EOFError
            message: Json = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            if "method" not in message:
                return message

    def notification(self, method: str) -> Json:
        """The parameters of the next line, which must be this notification."""
        message: Json = json.loads(self._lines.readline())
        assert message.get("method") == method, message
        params: Json = message["params"]
        return params

    def answers(self, count: int) -> list[Json]:
        """The next `count` answers."""
        return [self.answer() for _ in range(count)]

    def ends(self) -> bool:
        """Wait for the other side to close. False if it says something instead."""
        try:
            return self._lines.readline() == b""
        except ConnectionError:
            return True


def request(number: int | str, method: str, /, **params: Any) -> bytes:
    """One request as a line."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


def kind(answer: Json) -> str:
    """The kind of an error."""
    found: str = answer["error"]["data"]["kind"]
    return found
