"""What every kind of agent answers about itself. Light."""

from __future__ import annotations

import os

from coterie.ids import NUDGE, framed_ids_in
from coterie.limits import MENTIONED_MAX, PROMPT_SENT_CHARS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def first_line(prompt: object) -> str:
    """The first line of what the user asked; empty for text that we brought, and for commands of the client."""
    if not isinstance(prompt, str) or framed_ids_in(prompt) or NUDGE in prompt:
        return ""
    line = prompt.strip().partition("\n")[0].strip()
    return "" if line.startswith("/") else line[:PROMPT_SENT_CHARS]


def process_id(said: str) -> int:
    """A process id as a variable of the environment holds it; 0 for anything else."""
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0


class AgentKind:
    """A kind of agent, as seen from a process that the agent started."""

    name = "other"
    client_names: tuple[str, ...] = ()
    """What its MCP client calls itself in ``initialize``."""
    marks: tuple[str, ...] = ()
    """Environment variables that the processes below it bear, and a person's shell does not."""
    hook_events: tuple[str, ...] = ()
    """The events that its client is to run our hook for, in its own words."""
    registers_at_first_call = False
    """Whether a session is only real once it calls a tool: before, it may be a health check, or no thread's."""

    def session(self, environ: Mapping[str, str], meta: Mapping[str, Any]) -> str | None:
        """The host session id, from the environment or the ``_meta`` of a tool call."""
        return None

    def tool_use(self, meta: Mapping[str, Any]) -> str:
        """What the hooks call a tool call of which the adapter has this ``_meta``; empty if they cannot be matched."""
        return ""

    def is_subagent(self, meta: Mapping[str, Any]) -> bool:
        """Whether a tool call is a sub-agent's, where its ``_meta`` tells."""
        return False

    def is_probe(self, environ: Mapping[str, str]) -> bool:
        """Whether this process only checks that the adapter starts, and is nobody's session."""
        return False

    def one_shot(self, environ: Mapping[str, str]) -> bool:
        """Whether the session is for one prompt."""
        return False

    def agent_pid(self, environ: Mapping[str, str], parent: int) -> int:
        """The pid of the agent's own process, given the parent of the adapter."""
        return parent

    def inbox(self, environ: Mapping[str, str]) -> Inbox | None:
        """The inbox of the session, if it has one."""
        return None

    def channel(self, environ: Mapping[str, str]) -> str:
        """The capability by which its client takes text from an MCP server, where nothing better is there and the user
        turned it on; empty otherwise. The notification that carries the text is named after it.
        """
        return ""

    def hook_event(self, told: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any] | None:
        """What one of the agent's hooks was told, in the daemon's words (``session.event``), or None if it says
        nothing to us.
        """
        return None

    def session_event(self, event: str, told: Mapping[str, Any], session: str) -> dict[str, Any]:
        """What every event of a session holds (``session.event``), from what a hook was told. Of a prompt only its
        first line and the ids of the messages in it leave the process.
        """
        prompt = told.get("prompt") if event == "prompt" else None  # Gemini repeats it at the end of its turn.
        return {
            "event": event,
            "kind": self.name,
            "session": session,
            "cwd": os.path.realpath(str(told.get("cwd") or "/")),
            "prompt_line": first_line(prompt),
            "mentioned": framed_ids_in(prompt)[:MENTIONED_MAX] if isinstance(prompt, str) else [],
        }

    def hook_answer(self, told: Mapping[str, Any], context: str) -> dict[str, Any]:
        """What the hook prints to bring `context` before the model."""
        return {}


class Inbox:
    """Where a session takes text from its own children."""

    def post(self, text: str) -> None:
        """Write one text. Raises OSError (with the reason) if it did not get out whole."""
        raise NotImplementedError


OTHER = AgentKind()
