"""The shipped adapter in a simulated process: its MCP, its link and its words, without descriptors and threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from coterie.agents.kind import Inbox
from coterie.errors import CoterieError
from coterie.ids import framed_ids_in
from coterie.jsonline import decode, encode
from coterie.limits import INBOX_S
from coterie.mcp.adapter import Adapter
from coterie.mcp.link import Link
from coterie.testing.sim.dial import dial

if TYPE_CHECKING:
    from coterie.mcp.link import Done, Json, Registration
    from coterie.testing.sim.clients import Session
    from coterie.testing.sim.sites import Site

REPORTS = ("offers.written", "mail.written")
NEVER_S = 1e9


class SimLink(Link):
    """The link, which dials on the loop where the real one has a thread."""

    def __init__(
        self,
        adapter: SimAdapter,
        on_notification: Callable[[str, Json], None],
        registration: Callable[[], Registration | None],
    ) -> None:
        self._adapter = adapter
        self._site = adapter.site
        super().__init__(on_notification, registration, lambda: self._site.time.running)
        for descriptor in (self._wake_reader, self._wake_writer):
            os.close(descriptor)
        self._dialling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def _connect(self) -> None:
        self._connecting = True
        self._dialling = self._site.outside.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            line = await dial(self._site, self._adapter.pid, "adapter", start=True)
        except CoterieError as error:
            self._outcome = error
        else:
            self._outcome = line.client
            line.door.on_ready = self._ready
        self._connected()
        self.turn()

    def _ready(self) -> None:
        while self._client and (self._client.connection.came or self._client.connection.ended):  # type: ignore[attr-defined]
            self._receive()
        self.turn()

    def turn(self) -> None:
        """Do what is due, and be woken when there is more."""
        if self._adapter.dead:
            return
        self.tick()
        if self._timer:
            self._timer.cancel()
        timeout = self.timeout()
        self._timer = None if timeout is None else self._site.outside.call_later(timeout, self.turn)

    def call(self, method: str, params: Json, done: Done, wait_s: float = 0.0) -> None:
        """Call the daemon. That it heard of a text is noted, as from then on it knows that the text is out."""
        calls = params.get("calls") or [params.get("call", "")]
        super().call(method, params, self._adapter.noting(calls, done) if method in REPORTS else done, wait_s)
        self.turn()

    def _register_done(self, result: Json | None, error: CoterieError | None) -> None:
        said = self._sent_registration[1].get("written", []) if self._sent_registration else []
        super()._register_done(result, error)
        if not error:
            self._adapter.reported(said)

    def die(self) -> None:
        """Its process is no more."""
        for waiting in (self._dialling, self._timer):
            if waiting:
                waiting.cancel()
        if self._client:
            self._client.close()


class SimAdapter(Adapter):
    """The adapter of one session."""

    _link: SimLink

    def __init__(self, site: Site, session: Session, environ: dict[str, str], pid: int) -> None:
        self.site = site
        self.pid = pid
        self.dead = False
        self._of = session
        self._out: dict[str, list[str]] = {}
        """The messages in each text that went out."""
        self._last: list[str] = []
        self._answers: dict[int, asyncio.Future[tuple[str, bool]]] = {}
        self._waiting: set[int] = set()
        """The calls that wait for an answer."""
        super().__init__(environ, link=lambda notified, registration: SimLink(self, notified, registration))
        self._parent = session.agent
        self._cwd = f"/sim/{session.name}"

    # --- the client's side -----------------------------------------------------------------------------------------

    def begin(self, client_name: str) -> None:
        """The handshake."""
        info = {"name": client_name, "version": "0"}
        self._feed(0, "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info})
        self._wire.feed(encode({"jsonrpc": "2.0", "method": "notifications/initialized"}))

    async def tool(self, tool: str, tool_use: str, arguments: Json) -> tuple[str, bool]:
        """A tool call: the text of its result, and whether it failed."""
        number = self.site.number()
        self._answers[number] = self.site.outside.create_future()
        if arguments.get("wait_s"):
            self._waiting.add(number)
        meta = {"claudecode/toolUseId": tool_use}
        self._feed(number, "tools/call", {"name": tool, "arguments": arguments, "_meta": meta})
        try:
            return await self._answers[number]
        except asyncio.CancelledError:
            self._cancel(number)
            raise

    def _cancel(self, number: int) -> None:
        if not self.dead:
            params = {"requestId": number}
            self._wire.feed(encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}))

    def _feed(self, number: int, method: str, params: Json) -> None:
        self._wire.feed(encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))

    def _write(self, line: bytes) -> None:
        message = decode(line)
        assert isinstance(message, dict)
        answer = self._answers.pop(message["id"], None)
        if answer is None or self.dead or answer.done():
            return
        text = "\n".join(part["text"] for part in message["result"]["content"])
        self._last = framed_ids_in(text)
        self._of.out("wait" if message["id"] in self._waiting else "tool", self._last)
        answer.set_result((text, bool(message["result"]["isError"])))

    def greeted(self, client_name: str) -> None:
        """The inbox of the real kind is a socket; this one's client is simulated."""
        super().greeted(client_name)
        if self._inbox is not None:
            self._inbox = SimInbox(self._of)

    def _post(self, call: str, text: str) -> None:
        if self.dead:
            return
        self._out[call] = framed_ids_in(text)
        if self.site.faults.strikes("inbox hangs"):
            self.site.at(self.site.time.running + INBOX_S, self._hung, call)
        else:
            super()._post(call, text)

    def _hung(self, call: str) -> None:
        if not self.dead:
            self._of.note("failed", ids=self._out[call])
            self._link.call("offers.failed", {"call": call, "reason": "timed out"}, lambda result, error: None)

    # --- what the daemon knows -------------------------------------------------------------------------------------

    def noting(self, calls: list[str], done: Done) -> Done:
        """`done`, which notes as well that the daemon heard of the texts with these names."""
        for call in calls:
            self._out.setdefault(call, self._last)

        def heard(result: Json | None, error: CoterieError | None) -> None:
            if not error:
                self.reported(calls)
            elif self._last:
                self._of.note("unreported", ids=self._last)
            done(result, error)

        return heard

    def reported(self, calls: list[str]) -> None:
        """The daemon has it on its disk that these texts went out."""
        ids = sorted({message for call in calls for message in self._out.get(call, [])})
        if ids:
            self._of.note("reported", ids=ids)

    def die(self) -> None:
        """Its process is no more."""
        self.dead = True
        self._link.die()
        for answer in self._answers.values():
            answer.cancel()


class SimInbox(Inbox):
    """The client's inbox, which may be shut."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def post(self, text: str) -> None:
        """Write one text, or fail."""
        self._session.posted(text)
