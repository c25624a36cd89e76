"""Many sessions at once: joining, the daemon at rest beside them, and messages between them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from _parts import Place, memory, place
from _soaks import raise_guards
from coterie import client
from coterie.limits import INBOX_GAP_S
from coterie.testing.agent import Agent, text_of

BODY = "x" * 490
CALM_S = 1.5
"""After the last activity, until the daemon counts as idle: its own short timers have run by then."""
JOIN_S = 60.0


@dataclass(frozen=True)
class Rest:
    """What a process did while nothing was asked of it."""

    switches: int
    cpu_ms: float
    seconds: float


class Crowd:
    """Sessions of one home, each with its stand-in agent, its adapter and its inbox."""

    def __init__(self, here: Place) -> None:
        self.here = here
        self.agents: list[Agent] = []
        self._hooks: client.Client | None = None
        self._free_at: dict[int, float] = {}
        self._sent = 0

    def grow(self, size: int) -> None:
        """Have so many sessions, each with a name."""
        for number in range(len(self.agents), size):
            agent = self.here.agent(f"session-{number}")
            agent.initialize()
            agent.tool("set_summary", name=f"n{number}")
            self.agents.append(agent)

    def send(self, number: int, sender: int = 0) -> float:
        """Milliseconds from the tool call in one session (the first) to the bytes on the inbox of another one.

        Lines to one inbox are kept apart by the daemon on purpose, as the client drops what comes faster; so this
        waits until that time is over. Afterwards the recipient's hook reports the prompt, as in a real session.
        """
        time.sleep(max(0.0, self._free_at.get(number, 0.0) - time.monotonic()))
        writer, recipient = self.agents[sender], self.agents[number]
        self._sent += 1
        mark = f"message {self._sent}."
        call = writer.ask_tool("send_message", to=f"n{number}", message=mark + BODY)
        arrived, text = recipient.wait_inbox(mark)
        self._free_at[number] = time.monotonic() + INBOX_GAP_S
        writer.answer_to(call)
        recipient.inbox.clear()
        self._report_prompt(number, text)
        return (arrived - writer.times[call][0]) / 1e6

    def _report_prompt(self, number: int, text: str) -> None:
        if self._hooks is None:
            self._hooks = client.connect("hook", at=self.here.home)
        event = {"event": "prompt", "kind": "claude", "session": f"session-{number}", "prompt": text, "cwd": "/"}
        self._hooks.call("session.event", event)

    def rest(self, pid: int, seconds: float) -> Rest:
        """Watch a process while nothing happens."""
        self.close()
        time.sleep(CALM_S)
        before, begun = _activity(pid), time.monotonic()
        time.sleep(seconds)
        after = _activity(pid)
        return Rest(after[0] - before[0], (after[1] - before[1]) / 1e6, time.monotonic() - begun)

    def close(self) -> None:
        """Close the connection that speaks for the hooks."""
        if self._hooks is not None:
            self._hooks.close()
            self._hooks = None

    def daemon_memory(self) -> float:
        """Resident MiB of the daemon."""
        return memory(self.here.daemon())[0]


@contextlib.contextmanager
def crowd() -> Iterator[Crowd]:
    """An empty crowd in a home of its own."""
    with place("coterie-bench-") as here, contextlib.closing(Crowd(here)) as people:
        raise_guards(here.home.folder)
        yield people


def _activity(pid: int) -> tuple[int, int]:
    """Context switches, and nanoseconds on a processor, of all threads of a process so far."""
    switches = nanoseconds = 0
    tasks = f"/proc/{pid}/task"
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/status") as status:
            switches += sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
        with open(f"{tasks}/{task}/schedstat") as schedule:
            nanoseconds += int(schedule.read().split()[0])
    return switches, nanoseconds


def join_at_once(size: int) -> tuple[int, float]:
    """Let so many sessions join at the same moment, with no daemon up. Returns how many got a list of peers, and the
    seconds until the last one had it.
    """
    with place("coterie-bench-") as here:
        agents = [here.agent(f"session-{number}") for number in range(size)]
        begun = time.monotonic_ns()
        calls = [_join(agent) for agent in agents]
        joined = []
        for agent, call in zip(agents, calls, strict=True):
            with contextlib.suppress(AssertionError):
                if text_of(agent.answer_to(call, JOIN_S)).startswith("You are "):
                    joined.append(agent.times[call][1])
        here.daemon()
        listed = text_of(agents[0].answer_to(agents[0].ask_tool("list_peers")))
        if f"{len(joined) - 1} peers in scope" not in listed:
            raise RuntimeError(f"{len(joined)} sessions joined, and the list says otherwise: {listed[:200]}")
        return len(joined), (max(joined) - begun) / 1e9


def _join(agent: Agent) -> int:
    """The handshake and the first call, without waiting in between."""
    info = {"name": agent.client, "version": "0"}
    agent.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=info)
    agent.command(mcp={"jsonrpc": "2.0", "method": "notifications/initialized"})
    return agent.ask_tool("list_peers")
