"""Codex CLI. Measured with 0.169.0.

Its MCP servers get a short list of variables and no session id; the ``_meta`` of each tool call has it. Several threads
share one app-server process, each with an adapter of its own, and status requests start adapters that no thread owns:
so an adapter is nobody until its first call. A sub-agent is a thread with an adapter too; ``sessionId`` is that of the
thread at the root, ``threadId`` its own.

Hooks get the root's ``session_id``, and ``agent_id`` if a sub-agent's thread is meant. They fire for whatever starts
or joins a turn: a prompt, ``turn/start``, ``turn/steer`` and the queue alike; so mail comes with the nudge's own turn.
``PreModelRequest`` comes once before each request to the model, when the results of the step before are complete.
"""

from __future__ import annotations

import os

from coterie.agents.kind import AgentKind
from coterie.limits import HOOK_CHARS_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

EVENTS = {
    "SessionStart": "start",
    "UserPromptSubmit": "prompt",
    "PreToolUse": "before-tool",
    "PostToolUse": "after-tool",
    "PreModelRequest": "step",
    "PreCompact": "compact",
    "Stop": "stop",
    "SessionEnd": "end",
}
WITH_CONTEXT = frozenset({"SessionStart", "UserPromptSubmit", "PostToolUse"})
"""Events whose hook may add context. A Stop that keeps the turn going speaks in the user's role (``<hook_prompt>``), so
it brings a nudge, and the text comes with the tool call that fetches it. PreModelRequest can add nothing.
"""
PATCH = "*** Begin Patch"
"""A patch is given to a tool of its own or, as here document, to the shell; the hook is told its text either way."""
PATCHED = ("*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: ")
"""What comes before a file's name in a patch."""


class Codex(AgentKind):
    """A thread of Codex."""

    name = "codex"
    client_names = ("codex-mcp-client",)
    marks = ("CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED", "CODEX_THREAD_ID")
    hook_events = tuple(EVENTS)
    registers_at_first_call = True

    def session(self, environ: Mapping[str, str], meta: Mapping[str, Any]) -> str | None:
        """The thread at the root, from the ``_meta`` of the call; commands of the model have it in a variable."""
        named = [meta.get("sessionId"), meta.get("threadId"), environ.get("CODEX_SESSION_ID")]
        return next((name for name in named if isinstance(name, str) and name), environ.get("CODEX_THREAD_ID"))

    def tool_use(self, meta: Mapping[str, Any]) -> str:
        """The id of the call, which hooks name as tool_use_id."""
        named = meta.get("callId")
        return named if isinstance(named, str) else ""

    def is_subagent(self, meta: Mapping[str, Any]) -> bool:
        """Whether the thread is not the one at the root."""
        root, thread = meta.get("sessionId"), meta.get("threadId")
        return isinstance(root, str) and isinstance(thread, str) and root != thread

    def hook_event(self, told: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any] | None:
        """The events of the hooks that we ask to be registered; the others are None."""
        name = told.get("hook_event_name")
        event = EVENTS.get(str(name))
        if event is None or not isinstance(told.get("session_id"), str):
            return None
        fields = {key: told[key] for key in ("tool_use_id", "agent_id", "source") if told.get(key)}
        if fields.get("source") == "fork":
            del fields["source"]  # A fork has an id of its own from birth, so that its id says all there is to say.
        return {
            **self.session_event(event, told, told["session_id"]),
            "room": HOOK_CHARS_MAX[self.name] if name in WITH_CONTEXT else 0,
            # Its limit of 2,500 tokens is one of bytes: four to a token, whatever they are.
            "in_bytes": True,
            # A Stop that was kept going once is not kept going again: two agents could hold each other for ever.
            "nudge": name == "Stop" and not told.get("stop_hook_active"),
            "files": _files(told),
            **fields,
        }

    def hook_answer(self, told: Mapping[str, Any], context: str) -> dict[str, Any]:
        """Context for the model, as a message of the developer; at a Stop the turn goes on with it, as the user's."""
        name = told["hook_event_name"]
        if name == "Stop":
            return {"decision": "block", "reason": context}
        return {"hookSpecificOutput": {"hookEventName": name, "additionalContext": context}}


def _files(told: Mapping[str, Any]) -> list[str]:
    """The files that a patch is about to change."""
    given = told.get("tool_input")
    command = given.get("command") if isinstance(given, dict) else None
    if told.get("hook_event_name") != "PreToolUse" or not isinstance(command, str) or PATCH not in command:
        return []
    named = [line[len(start) :].strip() for line in command.splitlines() for start in PATCHED if line.startswith(start)]
    folder = str(told.get("cwd") or "/")
    return [os.path.join(folder, name) for name in named]


CODEX = Codex()
