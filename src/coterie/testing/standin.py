"""A process that stands in for an agent: it starts the adapter as agents do, and has an inbox as Claude Code has.

usage: python -m coterie.testing.standin FOLDER ADAPTER...

It obeys JSON lines on stdin and reports JSON lines on stdout, each report with a monotonic time in nanoseconds, taken
before anything else is done, so that delays are measured between two stand-ins and not with whoever drives them:

    in   {"mcp": {...}}            write this message to the adapter
         {"raw": "text"}           write this text to the adapter as it is
         {"run": [...]}            run a command as the agent would (its hooks, its shell); "input" is its stdin
         {"eof": true}             close the adapter's stdin
    out  {"started": {...}}        the pids of the agent and of the adapter, and when the adapter was started
         {"mcp": {...}}            the adapter said this; "asked" is when the request that it answers was written
         {"inbox": "text"}         this came through the inbox
         {"ran": {...}}            what the command printed, and its exit status
         {"adapter_ended": N}      the adapter ended with this status
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from typing import Any

READ_BYTES = 65_536
RUN_S = 30
"""How long a command may take that the agent runs."""


class StandIn:
    """The agent's side of one session."""

    def __init__(self, folder: str, adapter: list[str]) -> None:
        self._selector = selectors.DefaultSelector()
        self._buffers: dict[int, bytes] = {}
        self._path = os.path.join(folder, f"{os.getpid()}.sock")
        self._inbox = self._open_inbox() if "STANDIN_NO_INBOX" not in os.environ else None
        environ = dict(os.environ)
        if self._inbox:
            environ |= {"CLAUDE_CODE_MESSAGING_SOCKET": self._path, "CLAUDE_CODE_MESSAGING_TOKEN": _token()}
        self._environ = environ
        self._asked: dict[int, int] = {}
        """When each request was written that the adapter has not answered yet."""
        self._spawned = time.monotonic_ns()
        self._adapter = subprocess.Popen(adapter, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)

    def _open_inbox(self) -> socket.socket:
        inbox = socket.socket(socket.AF_UNIX)
        inbox.bind(self._path)
        inbox.listen(64)
        self._selector.register(inbox, selectors.EVENT_READ, self._accept)
        return inbox

    def run(self) -> None:
        """Obey and report until stdin ends."""
        assert self._adapter.stdout
        self._selector.register(0, selectors.EVENT_READ, self._command)
        self._selector.register(self._adapter.stdout.fileno(), selectors.EVENT_READ, self._said)
        self._report(started={"pid": os.getpid(), "adapter": self._adapter.pid, "spawned": self._spawned})
        try:
            while True:
                for key, _ in self._selector.select():
                    if key.data(key.fileobj) is False:
                        return
        finally:
            if self._inbox:
                os.unlink(self._path)

    def _report(self, **event: Any) -> None:
        line = json.dumps({"ns": time.monotonic_ns(), **event}) + "\n"
        os.write(1, line.encode())

    def _lines(self, descriptor: int, data: bytes) -> list[bytes]:
        *lines, self._buffers[descriptor] = (self._buffers.get(descriptor, b"") + data).split(b"\n")
        return lines

    def _command(self, descriptor: int) -> bool:
        data = os.read(descriptor, READ_BYTES)
        if not data:
            return False
        for line in self._lines(descriptor, data):
            self._obey(json.loads(line))
        return True

    def _obey(self, command: dict[str, Any]) -> None:
        assert self._adapter.stdin
        if "mcp" in command:
            line = json.dumps(command["mcp"]).encode() + b"\n"
            self._note(command["mcp"])
            self._adapter.stdin.write(line)
            self._adapter.stdin.flush()
        elif "raw" in command:
            self._adapter.stdin.write(command["raw"].encode("utf-8", "surrogateescape"))
            self._adapter.stdin.flush()
        elif "eof" in command:
            self._adapter.stdin.close()
        elif "run" in command:
            environ = {**self._environ, "CLAUDE_PID": str(os.getpid()), **command.get("env", {})}
            ran = subprocess.run(
                command["run"],
                input=command.get("input", ""),
                capture_output=True,
                text=True,
                timeout=RUN_S,
                env=environ,
                check=False,
            )
            self._report(ran={"status": ran.returncode, "stdout": ran.stdout, "stderr": ran.stderr})

    def _note(self, message: Any) -> None:
        request_id = message.get("id") if isinstance(message, dict) else None
        if isinstance(request_id, int):
            self._asked[request_id] = time.monotonic_ns()

    def _said(self, descriptor: int) -> None:
        data = os.read(descriptor, READ_BYTES)
        now = time.monotonic_ns()
        if not data:
            self._selector.unregister(descriptor)
            self._report(adapter_ended=self._adapter.wait())
            return
        for line in self._lines(descriptor, data):
            message = json.loads(line)
            request_id = message.get("id") if isinstance(message, dict) else None
            asked = self._asked.pop(request_id, None) if isinstance(request_id, int) else None
            self._report(mcp=message, ns=now, **({"asked": asked} if asked else {}))

    def _accept(self, inbox: socket.socket) -> None:
        connection, _ = inbox.accept()
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, self._posted)
        self._posted(connection)  # What is posted is mostly there already: another select would only delay its time.

    def _posted(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        now = time.monotonic_ns()
        if not data:
            self._selector.unregister(connection)
            self._buffers.pop(connection.fileno(), None)
            connection.close()
            return
        for line in self._lines(connection.fileno(), data):
            message = json.loads(line)
            if message["type"] == "user":
                self._report(inbox=message["message"]["content"], ns=now)


def _token() -> str:
    return os.environ.get("STANDIN_TOKEN", "standin")


if __name__ == "__main__":
    if "STANDIN_DEAF" in os.environ:  # An agent that does not end when it is asked to.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    StandIn(sys.argv[1], sys.argv[2:]).run()
