"""Claude Code. Measured with 2.1.328; the inbox exists since 2.1.224.

The inbox is a Unix socket on which a session takes text from its own children: newline-delimited JSON, first
``{"type": "auth", "token"}``, then ``{"type": "user", "message": {"role": "user", "content"}}``. It answers nothing.
It is documented for a session's own scripts and hooks, not for third parties, so its presence is looked for and never
assumed. The socket's file name is the pid of the agent.
"""

from __future__ import annotations

import os
import socket

from coterie.agents.kind import AgentKind, Inbox, process_id
from coterie.jsonline import encode
from coterie.limits import HOOK_CHARS_MAX, INBOX_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SESSION = "CLAUDE_CODE_SESSION_ID"
SOCKET = "CLAUDE_CODE_MESSAGING_SOCKET"
TOKEN = "CLAUDE_CODE_MESSAGING_TOKEN"  # noqa: S105 (the variable's name)
ENTRYPOINT = "CLAUDE_CODE_ENTRYPOINT"
PID = "CLAUDE_PID"
CHANNEL = "COTERIE_CHANNEL"
"""Set (to anything) by a user who started the client with its channels on, which no server can see. Not measured: they
could not be enabled offline. Documented (channels-reference): what is sent to a client that has them off is dropped
silently, so this is never assumed.
"""

EVENTS = {
    "SessionStart": "start",
    "UserPromptSubmit": "prompt",
    "PreToolUse": "before-tool",
    "PostToolUse": "after-tool",
    "PostToolBatch": "step",
    "PreCompact": "compact",
    "Stop": "stop",
    "SessionEnd": "end",
}
EDITING = frozenset({"Edit", "MultiEdit", "Write", "NotebookEdit"})
"""Tools that change a file."""
WITH_CONTEXT = frozenset({"SessionStart", "UserPromptSubmit", "PostToolUse"})
"""Events whose hook may add context; a Stop may too, by keeping the session going."""


class ClaudeInbox(Inbox):
    """The messaging socket of one session."""

    def __init__(self, path: str, token: str) -> None:
        self.path = path
        self._token = token

    def post(self, text: str) -> None:
        """Write one text as one line. Raises OSError if it did not get out whole."""
        lines: list[dict[str, Any]] = [{"type": "user", "message": {"role": "user", "content": text}}]
        if self._token:
            lines.insert(0, {"type": "auth", "token": self._token})
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(INBOX_S)
            connection.connect(self.path)
            connection.sendall(b"".join(map(encode, lines)))


class Claude(AgentKind):
    """A session of Claude Code."""

    name = "claude"
    client_names = ("claude-code",)
    marks = ("CLAUDECODE", SESSION)
    hook_events = tuple(EVENTS)

    def session(self, environ: Mapping[str, str], meta: Mapping[str, Any]) -> str | None:
        """From the environment. After ``/clear`` it is the old id: only hooks know the new one."""
        return environ.get(SESSION)

    def tool_use(self, meta: Mapping[str, Any]) -> str:
        """The id of the tool use, which its hooks name too."""
        named = meta.get("claudecode/toolUseId")
        return named if isinstance(named, str) else ""

    def is_probe(self, environ: Mapping[str, str]) -> bool:
        """``claude mcp list`` starts every server and gives it no session id."""
        return SESSION not in environ

    def one_shot(self, environ: Mapping[str, str]) -> bool:
        """``claude -p`` says ``sdk-cli``."""
        return environ.get(ENTRYPOINT, "cli") != "cli"

    def agent_pid(self, environ: Mapping[str, str], parent: int) -> int:
        """From the name of the socket, as a wrapper script may stand between the agent and us."""
        return process_id(os.path.basename(environ.get(SOCKET, "")).partition(".")[0]) or parent

    def inbox(self, environ: Mapping[str, str]) -> Inbox | None:
        """The messaging socket, if the variables name one."""
        path = environ.get(SOCKET)
        return ClaudeInbox(path, environ.get(TOKEN, "")) if path else None

    def channel(self, environ: Mapping[str, str]) -> str:
        """Where there is no socket, and the user said that channels are on."""
        return "claude/channel" if environ.get(CHANNEL) and not environ.get(SOCKET) else ""

    def hook_event(self, told: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any] | None:
        """The events of the hooks that we ask to be registered; the others are None."""
        name = told.get("hook_event_name")
        event = EVENTS.get(str(name))
        if event is None or not isinstance(told.get("session_id"), str):
            return None
        # A Stop that was kept going once is not kept going again: two agents could hold each other for ever.
        again = name == "Stop" and bool(told.get("stop_hook_active"))
        adds = name in WITH_CONTEXT or (name == "Stop" and not again)
        fields = {key: told[key] for key in ("tool_use_id", "agent_id", "source") if told.get(key)}
        return {
            **self.session_event(event, told, told["session_id"]),
            "agent_pid": process_id(environ.get(PID, "")),
            "room": HOOK_CHARS_MAX[self.name] if adds else 0,
            "files": _files(told),
            "again": again,
            # What a start adds waits for a prompt; the inbox is one. A run without a terminal has its prompt.
            "waking": name == "SessionStart" and SOCKET in environ and not self.one_shot(environ),
            **fields,
        }

    def hook_answer(self, told: Mapping[str, Any], context: str) -> dict[str, Any]:
        """Context for the model; at a Stop the session goes on with it. Measured with 2.1.328 and 2.1.197: context at a
        Stop comes once, the reason of a Stop that is blocked twice in the same request.
        """
        return {"hookSpecificOutput": {"hookEventName": told["hook_event_name"], "additionalContext": context}}


def _files(told: Mapping[str, Any]) -> list[str]:
    """The file that a tool is about to change."""
    given = told.get("tool_input")
    if (
        told.get("hook_event_name") != "PreToolUse"
        or told.get("tool_name") not in EDITING
        or not isinstance(given, dict)
    ):
        return []
    return [path for path in (given.get("file_path"), given.get("notebook_path")) if isinstance(path, str)]


CLAUDE = Claude()
