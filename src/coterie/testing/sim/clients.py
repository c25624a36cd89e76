"""A simulated client with its model: turns, steps, tools, hooks, an inbox, and the ways in which all of it ends.

What is modelled of Claude Code was measured with 2.1.328 (see coterie.agents.claude and coterie.messages): a posted
line begins a turn, or rides on the next step of one under way; a prompt that its user interrupts at once is taken back
with the context of its hook; results of an interrupted step stay in the transcript and go out with the next prompt.

`read` means that a text is in what the model is given next: an agent that is killed in that very moment is taken to
have read it.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coterie.agents.claude import SESSION, SOCKET
from coterie.ids import framed_ids_in
from coterie.testing.sim import hooks
from coterie.testing.sim.adapters import SimAdapter

if TYPE_CHECKING:
    from coterie.testing.sim.sites import Site

CLIENT_LINES_MAX = 30
"""Lines that the client's inbox keeps; it drops what comes beyond, and tells nobody."""
THINKS_S = 3.0
ANSWERED = 0.6
"""How often the model answers a message that it reads."""
DEPTH_MAX = 3
"""How often an answer is answered."""
RIDES = 0.5
"""How often a line that came in the middle of a turn rides on its next step, and does not wait for its end."""

_SENT = re.compile(r"^(m_[a-z0-9.]+) to \S+ \(\w+\): (\w+);", re.MULTILINE)
_RECEIPT = re.compile(r"^- (m_[a-z0-9.]+) to \S+: (\w+)", re.MULTILINE)
_DEPTH = re.compile(r"^\| \S+ depth (\d)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a client has."""

    name: str
    inbox: bool
    hooks: bool
    resumable: bool = True


KINDS = (
    Kind("full", inbox=True, hooks=True),
    Kind("hooks", inbox=False, hooks=True),
    Kind("inbox", inbox=True, hooks=False),
    Kind("tools", inbox=False, hooks=False, resumable=False),
)


@dataclass(frozen=True, slots=True)
class Act:
    """A tool call that the model makes."""

    tool: str
    arguments: dict[str, Any]


WORK = "work"
"""A tool that is none of ours."""


class Session:
    """One session, over all its processes."""

    def __init__(self, site: Site, name: str, kind: Kind) -> None:
        self.site = site
        self.name = name
        self.kind = kind
        self.host = f"session-{name}"
        """The id that the client gives its session; a new one after a clear."""
        self.agent = 0
        """The pid of its process, 0 while it is not there."""
        self.adapter: SimAdapter | None = None
        self.environ: dict[str, str] = {}
        self.busy = False
        self._prompts: deque[list[Act] | None] = deque()
        """What its user asks for; None: to clear the session."""
        self._lines: deque[str] = deque()
        self._transcript: list[str] = []
        self._to_answer: deque[tuple[str, int]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._said = 0

    def note(self, kind: str, **what: Any) -> None:
        """Something happened in it."""
        self.site.history.note(kind, self.name, **what)

    def out(self, carrier: str, messages: list[str]) -> None:
        """A carrier put a text before the client."""
        if messages:
            self.note("out", carrier=carrier, ids=messages)

    # --- its life --------------------------------------------------------------------------------------------------

    def start(self, source: str = "startup") -> None:
        """Its process begins."""
        self.note("began", source=source)
        site = self.site
        self.agent = site.processes.start()
        self.environ = {"CLAUDE_CODE_ENTRYPOINT": "cli"}
        if self.kind.resumable:
            self.environ[SESSION] = self.host
        if self.kind.inbox:
            self.environ[SOCKET] = f"/sim/{self.agent}.sock"
        self._start_adapter()
        self._life = site.outside.create_task(self._live(source))

    def _start_adapter(self) -> None:
        pid = self.site.processes.start(self.agent, self.environ)
        self.adapter = SimAdapter(self.site, self, self.environ, pid)
        self.adapter.begin("claude-code" if self.kind.resumable else "sim-agent")

    async def _live(self, source: str) -> None:
        self._transcript.append(await self._hook("SessionStart", source=source))
        while True:
            while self._prompts or self._lines:
                self.busy = True
                if self._lines:
                    await self._turn(self._lines.popleft(), [], by_user=False)
                elif (acts := self._prompts.popleft()) is not None:
                    await self._turn(f"please {len(acts)}", acts, by_user=True)
                else:
                    await self._clear()
                self.busy = False
            self._wake.clear()
            self._idle.set()
            await self._wake.wait()
            self._idle.clear()

    def prompt(self, acts: list[Act]) -> None:
        """Its user asks for something."""
        if self.agent:
            self._prompts.append(acts)
            self._wake.set()

    async def rest(self) -> None:
        """Return when it has nothing to do."""
        if self.agent:
            await self._idle.wait()

    def kill(self) -> None:
        """Its process ends at once, and its adapter with it."""
        if self.agent:
            self.note("killed")
            self._end()

    def _end(self) -> None:
        if self._life:
            self._life.cancel()
        agent, self.agent, self.busy = self.agent, 0, False
        self.kill_adapter()
        self.site.processes.end(agent)
        self._forget()

    def kill_adapter(self) -> bool:
        """Its adapter ends at once. False if it has none."""
        adapter, self.adapter = self.adapter, None
        if adapter is None:
            return False
        self.note("no adapter")
        adapter.die()
        self.site.processes.end(adapter.pid)
        return True

    def mend_adapter(self) -> None:
        """The user has the client start it again."""
        if self.agent and self.adapter is None:
            self.note("new adapter")
            self._start_adapter()

    def clear(self) -> None:
        """The user clears the session: the model knows nothing of what it read."""
        if self.agent and self.kind.resumable:
            self._prompts.append(None)
            self._wake.set()

    async def _clear(self) -> None:
        self.note("cleared")
        await self._hook("SessionEnd", reason="clear")
        self.host = f"session-{self.name}-{self.site.number()}"
        self._transcript.clear()
        self._to_answer.clear()
        self._transcript.append(await self._hook("SessionStart", source="clear"))

    def _forget(self) -> None:
        for kept in (self._prompts, self._lines, self._transcript, self._to_answer):
            kept.clear()

    async def _hook(self, event: str, **fields: Any) -> str:
        return await hooks.run(self, event, **fields) if self.kind.hooks else ""

    # --- its inbox -------------------------------------------------------------------------------------------------

    def posted(self, text: str) -> None:
        """The adapter posts. Raises OSError if the inbox takes nothing."""
        messages = framed_ids_in(text)
        if not self.agent or self.site.faults.strikes("inbox fails"):
            self.note("failed", ids=messages)
            raise ConnectionRefusedError(111, "Connection refused")
        self.out("inbox", messages)
        if self.site.faults.strikes("inbox drops") or len(self._lines) >= CLIENT_LINES_MAX:
            self.note("dropped", ids=messages)
            return
        self._lines.append(text)
        self._wake.set()

    # --- a turn ----------------------------------------------------------------------------------------------------

    async def _turn(self, prompt: str, acts: list[Act], *, by_user: bool) -> None:
        self.note("prompt", ids=framed_ids_in(prompt))
        given, self._transcript = self._transcript, []
        self._read([*given, prompt])
        context = await self._hook("UserPromptSubmit", prompt=prompt)
        if by_user and self.kind.hooks and self.site.faults.strikes("prompt taken back"):
            self.note("taken back", ids=framed_ids_in(context))
            return
        self._read([context])
        left, again = deque(acts), False
        while True:
            await self._think()
            act = left.popleft() if left else self._answering()
            if act:
                if not await self._step(act):
                    return
                continue
            self.note("stop")
            context = await self._hook("Stop", stop_hook_active=again)
            self.note("stopped")
            if not context:
                return
            self._read([context])
            again = True

    async def _think(self) -> None:
        await asyncio.sleep(self.site.random.random() * THINKS_S)

    async def _step(self, act: Act) -> bool:
        """One tool call and what its results are. False if the user interrupts."""
        use = f"tool-{self.site.number()}"
        await self._hook("PreToolUse", tool_use_id=use, tool_name=act.tool)
        result = await self._call(act, use)
        context = await self._hook("PostToolUse", tool_use_id=use, tool_name=act.tool)
        if self.site.faults.strikes("turn interrupted"):
            self.note("interrupted")
            self._transcript += [result, context]
            return False
        await self._hook("PostToolBatch")
        self._given([result, context])
        riding = await self._riding()
        self._given(riding)
        self._think_of([result, context, *riding])
        return True

    async def _riding(self) -> list[str]:
        """A line that came meanwhile and is given to the model now: what its hook adds."""
        if not self._lines or self.site.random.random() >= RIDES:
            return []
        line = self._lines.popleft()
        self.note("prompt", ids=framed_ids_in(line), rides=True)
        self._read([line])
        return [await self._hook("UserPromptSubmit", prompt=line)]

    def _read(self, texts: list[str]) -> None:
        """The next request to the model holds these texts."""
        self._given(texts)
        self._think_of(texts)

    def _given(self, texts: list[str]) -> None:
        messages = [message for text in texts for message in framed_ids_in(text)]
        if messages:
            self.note("read", ids=messages)

    def _think_of(self, texts: list[str]) -> None:
        messages = [message for text in texts for message in framed_ids_in(text)]
        depths = [int(depth) for text in texts for depth in _DEPTH.findall(text)]
        for message, depth in zip(messages, depths, strict=True):
            if depth < DEPTH_MAX and self.site.random.random() < ANSWERED:
                self._to_answer.append((message, depth))

    # --- tools -----------------------------------------------------------------------------------------------------

    def _answering(self) -> Act | None:
        if not self._to_answer:
            return None
        message, depth = self._to_answer.popleft()
        return Act("send_message", {"reply_to": message, "message": self.body(depth + 1)})

    def body(self, depth: int = 0) -> str:
        """A text that is like no other."""
        self._said += 1
        return f"{self.name}-{self._said} depth {depth}"

    async def _call(self, act: Act, use: str) -> str:
        if act.tool == WORK:
            await asyncio.sleep(act.arguments["seconds"])
            return ""
        sends = act.tool == "send_message"
        if sends:
            self.note("send", **_named(act.arguments))
        if self.adapter is None:
            text, failed = "Not done: no such tool", True
        else:
            text, failed = await self._ask(self.adapter, act, use)
        if sends:
            self._note_sent(act.arguments["message"].split()[0], text, failed)
        for message, state in _RECEIPT.findall(text):
            self.note("told", id=message, state=state)
        return text

    async def _ask(self, adapter: SimAdapter, act: Act, use: str) -> tuple[str, bool]:
        try:
            return await adapter.tool(act.tool, use, act.arguments)
        except asyncio.CancelledError:
            if self.agent and adapter.dead:
                return "No answer: the server is gone", True
            raise

    def _note_sent(self, body: str, text: str, failed: bool) -> None:
        copies = _SENT.findall(text)
        if copies and not failed:
            self.note("accepted", body=body, ids=[message for message, _ in copies])
            for message, state in copies:
                self.note("told", id=message, state=state)
        elif text.startswith("No answer") or "I/O" in text or "disk failed" in text:
            self.note("unknown", body=body)
        else:
            self.note("refused", body=body, why=text[:90])


def _named(arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "body": arguments["message"].split()[0],
        "to": arguments.get("to", ""),
        "reply_to": arguments.get("reply_to", ""),
        "wait_s": arguments.get("wait_s", 0),
    }
