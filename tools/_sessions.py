"""Light sessions: many connections of one process, each a session of its own to the daemon, with an inbox to push to.

Sessions of Codex share a process, so that one may hold a thousand of them. Each takes what is pushed to it as an
adapter does, and reports the line as written. Once in a turn it tells, in the words of a hook, of the prompt that held
what came: a hook is a process, so that no machine could bear one for each of a thousand messages a second.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from coterie import client
from coterie.files import Home
from coterie.jsonline import LineReader, decode, encode
from coterie.limits import CALL_S

FRAME = re.compile(r"^\[coterie message (m_[0-9a-z.]+) from ", re.MULTILINE)
RECEIVE_BYTES = 1 << 16
Answer = Callable[[dict[str, Any]], None]
Pushed = Callable[["Session", str, int], None]


@dataclass
class Session:
    """One of them."""

    id: str
    connection: socket.socket
    peer: str = ""
    came: list[str] = field(default_factory=list)
    """Messages that were pushed and not reported as part of a prompt."""
    reader: LineReader = field(default_factory=LineReader)
    waiting: dict[int, Answer] = field(default_factory=dict)
    last_id: int = 1 << 20
    """Above the ids of the calls of its registration."""


class Sessions:
    """All sessions of this process, and one connection that speaks for their hooks."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._selector = selectors.DefaultSelector()
        self.all: list[Session] = []
        self.on_push: Pushed | None = None
        self.hooks = self._plain("hook", "hooks")

    def _plain(self, kind: str, name: str) -> Session:
        found = Session(name, client.connect(kind, at=self._home).connection)
        found.connection.settimeout(CALL_S)
        self._selector.register(found.connection, selectors.EVENT_READ, found)
        return found

    def join(self, name: str, cwd: str = "/", *, inbox: bool = True) -> Session:
        """One session more."""
        session = self._plain("adapter", name)
        self.all.append(session)
        told = {"kind": "codex", "cwd": cwd, "session": name, "inbox": inbox}
        answers: list[dict[str, Any]] = []
        # Not by the client's own call, which passes over what is pushed together with its answer.
        self.ask(session, "peers.register", told, answers.append)
        until = time.monotonic() + CALL_S
        while not answers and time.monotonic() < until:
            self.serve(CALL_S)
        if not answers or "error" in answers[0]:
            raise RuntimeError(f"{name} could not join: {answers}")
        session.peer = answers[0]["result"]["peer"]["id"]
        return session

    def ask(self, session: Session, method: str, params: dict[str, Any], then: Answer) -> None:
        """A request; `then` is called with what is answered, result or error."""
        session.last_id += 1
        session.waiting[session.last_id] = then
        request = {"jsonrpc": "2.0", "id": session.last_id, "method": method, "params": params}
        session.connection.sendall(encode(request))

    def serve(self, seconds: float) -> None:
        """Take in what comes within so long; returns after the first that came."""
        for key, _ in self._selector.select(max(0.0, seconds)):
            self._receive(key.data)

    def _receive(self, session: Session) -> None:
        data = session.connection.recv(RECEIVE_BYTES)
        now = time.monotonic_ns()
        if not data:
            raise RuntimeError(f"the daemon closed the connection of {session.id}")
        for line in session.reader.feed(data):
            message = decode(line) if isinstance(line, bytes) else None
            if not isinstance(message, dict):
                raise RuntimeError(f"the daemon wrote {line!r}")
            if message.get("method") == "push":
                self._pushed(session, message["params"], now)
            elif "method" not in message:
                then = session.waiting.pop(message["id"], None)
                if then:
                    then(message)

    def _pushed(self, session: Session, push: dict[str, Any], now: int) -> None:
        if self.on_push:
            self.on_push(session, push["text"], now)
        self.ask(session, "offers.written", {"call": push["call"]}, _must_be_well)
        session.came += FRAME.findall(push["text"])

    def prompt(self, session: Session) -> None:
        """Its next turn begins with all that came."""
        mentioned, session.came = session.came, []
        if mentioned:
            event = {"event": "prompt", "kind": "codex", "session": session.id, "cwd": "/", "mentioned": mentioned}
            self.ask(self.hooks, "session.event", event, _must_be_well)

    def under_way(self) -> int:
        """Requests that are not answered yet."""
        return sum(len(session.waiting) for session in [*self.all, self.hooks])

    def close(self) -> None:
        """All of them end."""
        for session in [*self.all, self.hooks]:
            with contextlib.suppress(OSError):
                session.connection.close()
        self._selector.close()


def _must_be_well(answer: dict[str, Any]) -> None:
    if "error" in answer:
        raise RuntimeError(f"the daemon refused: {answer['error']}")
