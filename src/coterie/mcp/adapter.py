"""The adapter of one session: its MCP on one side, the daemon on the other, its inbox besides."""

from __future__ import annotations

import os
import select
import sys
from collections import deque

from coterie import agents, ids
from coterie.agents.kind import OTHER, Inbox
from coterie.errors import BadInput, CoterieError, Defect, Unavailable
from coterie.files import home, working_folder
from coterie.mcp import tools, words
from coterie.mcp.link import Link
from coterie.mcp.wire import INVALID_PARAMS, Host, Rejected, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from coterie.agents.kind import AgentKind
    from coterie.mcp.link import Registration

    Json = dict[str, Any]

READ_BYTES = 65_536
WRITTEN_KEPT = 64
"""Texts remembered as written, for a daemon that comes back and does not know. It may have lost a report or two."""
PARENT_LOOK_S = 30.0
"""Where the end of the parent cannot be waited for, it is looked for so often."""


class _Running:
    """A tool call under way."""

    def __init__(self, request_id: int | str, tool: tools.Tool, tool_use_id: str) -> None:
        self.request_id = request_id
        self.tool = tool
        self.call = ids.new_token()
        self.carried = [self.call]
        """Every text of the daemon's that is part of the result."""
        self.tool_use_id = tool_use_id
        self.text = ""
        self.failed = False
        self.cancelled = False


class Adapter(Host):
    """Serves one session until its client closes stdin or its agent is gone."""

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        stdin: int = 0,
        stdout: int = 1,
        link: Callable[[Callable[[str, Json], None], Callable[[], Registration | None]], Link] = Link,
    ) -> None:
        self._environ = environ
        self._stdin, self._stdout = stdin, stdout
        self._kind: AgentKind = OTHER
        self._inbox: Inbox | None = None
        self._channel = ""
        self._session: str | None = None
        self._is_session = False
        """Whether there is somebody to register: before, it may be a health check."""
        self._is_ready = False
        """Whether the client has finished its handshake."""
        self._is_subagent = False
        self._displaced = False
        self._parent = os.getppid()
        self._cwd = working_folder()
        self._written: deque[str] = deque(maxlen=WRITTEN_KEPT)
        self._running: dict[int | str, _Running] = {}
        self._wire = Wire(self, self._write)
        self._link = link(self._notified, self._registration)

    # --- the loop ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve. Returns when the session is over."""
        parent = _watch(self._parent)
        while True:
            self._link.tick()
            watched = [self._stdin, *self._link.descriptors()] + ([parent] if parent is not None else [])
            ready = self._wait(watched, self._link.timeout(), parent is None)
            if (parent is not None and parent in ready) or os.getppid() != self._parent:
                return
            for descriptor in ready:
                if descriptor == self._stdin:
                    data = os.read(self._stdin, READ_BYTES)
                    if not data:
                        return
                    self._wire.feed(data)
                elif descriptor in self._link.descriptors():
                    self._link.ready(descriptor)

    def _wait(self, descriptors: list[int], timeout: float | None, look_after_parent: bool) -> list[int]:
        poller = select.poll()  # Not epoll, which refuses a stdin that is a file.
        for descriptor in descriptors:
            poller.register(descriptor, select.POLLIN | select.POLLHUP | select.POLLERR)
        if look_after_parent:
            timeout = PARENT_LOOK_S if timeout is None else min(timeout, PARENT_LOOK_S)
        # Rounded up: rounded down, the last millisecond would be spent going round and round.
        return [fd for fd, _ in poller.poll(None if timeout is None else int(timeout * 1000) + 1)]

    def _write(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._stdout, line) :]

    # --- MCP ------------------------------------------------------------------------------------------

    def greeted(self, client_name: str) -> None:
        """Now it is known what kind of agent this is."""
        self._kind = agents.by_client(client_name)
        self._inbox = self._kind.inbox(self._environ)
        self._channel = self._kind.channel(self._environ)
        if self._channel and self._inbox is None:
            self._inbox = _Channel(self._wire, self._channel)
        self._session = self._kind.session(self._environ, {})

    def capabilities(self) -> Json:
        """The channel, where it is the only way in."""
        return {"experimental": {self._channel: {}}} if self._channel else {}

    def initialized(self) -> None:
        """A real session, unless its kind shows that only later; then the daemon is told that there may be one."""
        if self._kind.is_probe(self._environ):
            return
        self._is_session = not self._kind.registers_at_first_call
        self._is_ready = True
        self._link.want()

    def tools(self) -> list[Json]:
        """The tools of the toolsets that are on."""
        may_kill = os.path.exists(home(self._environ).kills)
        return [tool.to_wire() for tool in (*tools.CORE, *(tools.ADMIN if may_kill else ()))]

    def cancelled(self, request_id: int | str) -> None:
        """The answer will not be read: what it would have carried goes by another carrier."""
        running = self._running.get(request_id)
        if running:
            running.cancelled = True

    def call_tool(self, request_id: int | str, params: Json) -> None:
        """Check the call, ask the daemon, then ask it for the mail that rides on the result."""
        tool = tools.BY_NAME.get(str(params.get("name")))
        if tool is None:
            known = ", ".join(tools.BY_NAME)
            raise Rejected(INVALID_PARAMS, f"no tool {str(params.get('name'))[:60]!r}; there are: {known}")
        given = params.get("_meta")
        meta = given if isinstance(given, dict) else {}
        self._begin_session(meta)
        running = _Running(request_id, tool, self._kind.tool_use(meta))
        self._running[request_id] = running
        try:
            self._serve(running, params.get("arguments"))
        except BadInput as error:
            self._done(running, error)
        except Exception as error:  # noqa: BLE001 (a defect in one call is told to its caller, and ends no session)
            self._done(running, Defect(f"coterie made a mistake ({type(error).__name__})", "please report it"))

    def _begin_session(self, meta: Json) -> None:
        session = self._kind.session(self._environ, meta)
        subagent = self._kind.is_subagent(meta)
        if not self._is_session or (session, subagent) != (self._session, self._is_subagent):
            self._is_session, self._session, self._is_subagent = True, session, subagent
            self._link.register_again()

    def _serve(self, running: _Running, arguments: object) -> None:
        request = running.tool.request(running.tool.check(arguments))
        if request is None:
            self._take_mail(running)
            return
        running.carried += request.carries

        def done(result: Json | None, error: CoterieError | None) -> None:
            if error and error.unanswered and request.unanswered:
                error = type(error)(f"{error.message}; {request.unanswered}", request.look)
                self._done(running, error, words.NOT_KNOWN)
            elif error:
                self._done(running, error)
            else:
                self._done(running, None, request.render(result or {}))

        self._link.call(request.method, {**request.params, "tool_use_id": running.tool_use_id}, done, request.wait_s)

    def _done(self, running: _Running, error: CoterieError | None, text: str = "") -> None:
        running.failed = error is not None
        running.text = words.tool_failed(error, text or words.NOT_DONE) if error else text
        if isinstance(error, Unavailable):
            self._finish(running, False, None, None)  # There is no daemon to ask for mail either.
        else:
            self._take_mail(running)

    def _take_mail(self, running: _Running) -> None:
        check = running.tool.name == "check_messages" and not running.text
        beside = running.carried[1:]
        params = {"call": running.call, "check": check, "tool_use_id": running.tool_use_id, "beside": beside}
        self._link.call("mail.take", params, lambda mail, error: self._finish(running, check, mail, error))

    def _finish(self, running: _Running, check: bool, mail: Json | None, error: CoterieError | None) -> None:
        """The result goes out, and the daemon is told which texts did. What it gave and did not go out, or came too
        late, is given up, and the next carrier has it.
        """
        self._running.pop(running.request_id, None)
        if running.cancelled:
            self._wire.drop(running.request_id)
            self._give_up(running.carried)
            return
        parts = [running.text]
        if mail:
            parts += words.mail(mail, check=check, displaced=self._displaced)
        elif error:
            running.failed = running.failed or check
            parts.append(words.tool_failed(error, words.NO_MAIL))
        content = [{"type": "text", "text": words.join(parts)}]
        self._wire.answer(running.request_id, {"content": content, "isError": running.failed})
        if running.failed and not mail:
            self._give_up(running.carried)
            return
        # A wait that ended without its answer brought nothing: one that came in that moment is not in this result.
        brought = running.carried[1:] if ids.framed_ids_in(running.text) else []
        self._give_up([*([] if mail else [running.call]), *([] if brought else running.carried[1:])])
        written = [running.call, *brought] if mail and (mail["letters"] or mail["receipts"]) else brought
        if written:
            self._written += written
            self._link.call("mail.written", {"calls": written}, _ignore)

    def _give_up(self, calls: list[str]) -> None:
        for call in calls:
            self._link.call("mail.failed", {"call": call}, _ignore)

    # --- the daemon ------------------------------------------------------------------------------------------

    def _registration(self) -> tuple[str, Json] | None:
        where = {
            "kind": self._kind.name,
            "cwd": self._cwd,
            "agent_pid": self._kind.agent_pid(self._environ, self._parent),
        }
        if not self._is_session:
            return ("agents.here", where) if self._is_ready else None
        return "peers.register", {
            **where,
            "session": self._session,
            "subagent": self._is_subagent,
            "one_shot": self._kind.one_shot(self._environ),
            "inbox": self._inbox is not None,
            "displaced": self._displaced,
            "written": list(self._written),
            "held": self._held(),
        }

    def _held(self) -> Json:
        """The calls of results that are not out yet, each with the messages whose text it brought: they are nobody
        else's to bring, whatever a daemon that comes back knows of them.
        """
        held: dict[str, list[str]] = {running.call: [] for running in self._running.values()}
        for running in self._running.values():
            held.update(dict.fromkeys(running.carried[1:], ids.framed_ids_in(running.text)))
        return held

    def _notified(self, method: str, params: Json) -> None:
        if method == "push":
            self._post(params["call"], params["text"])
        elif method in ("displaced", "restored"):
            self._displaced = method == "displaced"

    def _post(self, call: str, text: str) -> None:
        """Write a line to the inbox, and say truthfully whether it is there."""
        try:
            if self._inbox is None:
                raise OSError("this session has no inbox")
            self._inbox.post(text)
        except OSError as error:
            self._link.call("offers.failed", {"call": call, "reason": error.strerror or str(error)}, _ignore)
        else:
            self._written.append(call)
            self._link.call("offers.written", {"call": call}, _ignore)


class _Channel(Inbox):
    """Text to the session by a notification to its client."""

    def __init__(self, wire: Wire, capability: str) -> None:
        self._wire = wire
        self._method = f"notifications/{capability}"

    def post(self, text: str) -> None:
        """Write one text. That it got out says nothing about whether the client takes it: evidence does."""
        self._wire.notify(self._method, {"content": text})


def _ignore(result: Json | None, error: CoterieError | None) -> None:
    """A report that fails is made up for when the adapter registers again."""


def _watch(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends, where there is such a thing."""
    try:
        return os.pidfd_open(pid) if sys.platform.startswith("linux") else None
    except OSError:
        return None
