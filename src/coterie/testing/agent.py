"""Drives a stand-in agent: what a test, the demonstration or a benchmark does with one session."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]
ANSWER_S = 20.0
"""How long anything that is waited for may take. Generous: a loaded machine is not a failure."""
READ_BYTES = 65_536


class Agent:
    """One session: a stand-in process, its adapter, its inbox."""

    def __init__(
        self,
        home: str,
        folder: str,
        *,
        session: str | None = None,
        cwd: str | None = None,
        client: str = "claude-code",
        inbox: bool = True,
        env: dict[str, str] | None = None,
        adapter: list[str] | None = None,
    ) -> None:
        environ = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": folder,
            "LANG": "C.UTF-8",
            "COTERIE_HOME": home,
            **({"CLAUDECODE": "1", "CLAUDE_CODE_SESSION_ID": session} if session else {}),
            **({} if inbox else {"STANDIN_NO_INBOX": "1"}),
            **(env or {}),
        }
        self.client = client
        self.session = session
        self.inbox: list[tuple[int, str]] = []
        """What came through the inbox: the time in nanoseconds and the text."""
        self.events: deque[Json] = deque()
        self.times: dict[int, tuple[int, int]] = {}
        """For each request that was answered: when it was written and when the answer came, in nanoseconds."""
        self.ended: int | None = None
        self._rest = b""
        self._ids = itertools.count(1)
        command = adapter or [sys.executable, "-P", "-m", "coterie.mcp.main"]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "coterie.testing.standin", folder, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            cwd=cwd or folder,
            process_group=0,  # A Ctrl-C at the terminal is for whoever drives it, who then ends it in good order.
        )
        try:
            self.pids: Json = self.wait(lambda event: event.get("started"), "the stand-in starts")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- MCP ------------------------------------------------------------------------------------------

    def initialize(self, revision: str = "2025-11-25") -> Json:
        """The handshake, as agents do it; the session is registered from here on."""
        info = {"name": self.client, "version": "0"}
        result = self.request("initialize", protocolVersion=revision, capabilities={}, clientInfo=info)
        self.command(mcp={"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def request(self, method: str, **params: Any) -> Json:
        """A request and its answer. Raises AssertionError if it is an error."""
        answer = self.answer_to(self.ask(method, **params))
        assert "result" in answer, answer
        result: Json = answer["result"]
        return result

    def ask(self, method: str, **params: Any) -> int:
        """A request; returns its id."""
        number = next(self._ids)
        self.command(mcp={"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return number

    def answer_to(self, number: int, timeout: float = ANSWER_S) -> Json:
        """The answer to the request with this id."""

        def look(event: Json) -> Json | None:
            message: Json = event.get("mcp", {})
            return message if message.get("id") == number else None

        answer: Json = self.wait(look, "an answer", timeout)
        return answer

    def ask_tool(self, tool: str, meta: Json | None = None, **arguments: Any) -> int:
        """A tool call; returns its id."""
        return self.ask("tools/call", name=tool, arguments=arguments, **({"_meta": meta} if meta else {}))

    def tool(self, tool: str, meta: Json | None = None, **arguments: Any) -> str:
        """A tool call and the text of its result."""
        answer = self.answer_to(self.ask_tool(tool, meta, **arguments))
        return text_of(answer)

    # --- events ------------------------------------------------------------------------------------------

    def wait_inbox(self, holds: str, timeout: float = ANSWER_S) -> tuple[int, str]:
        """The first line of the inbox that holds this text."""

        def look(event: Json) -> tuple[int, str] | None:
            return next((line for line in self.inbox if holds in line[1]), None)

        found: tuple[int, str] = look({}) or self.wait(look, f"{holds!r} in the inbox", timeout)
        return found

    def run(self, *command: str, input: str = "", env: dict[str, str] | None = None) -> Json:  # noqa: A002 (as in subprocess)
        """Run a command as the agent's own child."""
        self.command(run=list(command), input=input, env=env or {})
        ran: Json = self.wait(lambda event: event.get("ran"), "a command ends")
        return ran

    def hook(self, event: str, **fields: Any) -> Json:
        """Run our hook as the agent does; returns what it printed, as JSON (empty if nothing)."""
        told = {"hook_event_name": event, "session_id": self.session, "cwd": "/", **fields}
        ran = self.run(sys.executable, "-P", "-m", "coterie.hooks.main", "claude", input=json.dumps(told))
        assert ran["status"] == 0, ran
        printed: Json = json.loads(ran["stdout"] or "{}")
        return printed

    def command(self, **command: Any) -> None:
        """Have the stand-in do something."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def wait(self, wanted: Callable[[Json], Any], what: str, timeout: float = ANSWER_S) -> Any:
        """Wait for the event for which `wanted` returns something, and return that. Other events are kept."""
        passed: list[Json] = []
        deadline = time.monotonic() + timeout
        try:
            while True:
                event = self._next(deadline, what)
                found = wanted(event)
                if found is not None and found is not False:
                    return found
                passed.append(event)
        finally:
            self.events.extendleft(reversed([event for event in passed if "inbox" not in event]))

    def has_said(self) -> bool:
        """Whether there is an event that nobody has looked at, in a pipe or read along with another."""
        assert self.process.stdout
        return bool(self.events) or b"\n" in self._rest or bool(select.select([self.process.stdout], [], [], 0)[0])

    def _next(self, deadline: float, what: str) -> Json:
        if self.events:
            return self.events.popleft()
        return self._read(deadline, what)

    def _read(self, deadline: float, what: str) -> Json:
        assert self.process.stdout
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(
                    f"waited in vain: {what}; seen: {list(self.events)[-3:]}, inbox: {self.inbox[-2:]}"
                )
            data = os.read(self.process.stdout.fileno(), READ_BYTES)
            if not data:
                raise AssertionError(f"the stand-in ended; waited for: {what}")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        event: Json = json.loads(line)
        if "inbox" in event:
            self.inbox.append((event["ns"], event["inbox"]))
        elif "asked" in event:
            self.times[event["mcp"]["id"]] = (event["asked"], event["ns"])
        return event

    # --- ends ------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """The agent dies at once; its adapter notices."""
        self.process.kill()
        self._reap()

    def close(self) -> None:
        """The agent ends in good order."""
        if self.process.stdin and not self.process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._reap()

    def _reap(self) -> None:
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe and not pipe.closed:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def text_of(answer: Json) -> str:
    """The text of a tool's result."""
    assert "result" in answer, answer
    return "\n".join(part["text"] for part in answer["result"]["content"])
