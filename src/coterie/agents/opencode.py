"""OpenCode. Measured with 1.18.33.

One process holds an instance for each folder, with an adapter and a plugin of its own; an instance holds many sessions.
Adapters get OPENCODE_PID and no session id, neither in the environment nor in ``_meta``. So a small plugin of ours
(``opencode_plugin.js``) runs inside the process: it tells by our hook which session its user speaks to now, and with it
the folder's peer goes along. What the plugin writes to the hook is ours:

    {"event", "session", "cwd", "pid", "source"?, "prompt"?, "tool_use_id"?, "files"?, "agent_id"?, "delegates"?,
     "closed"?, "endpoint"?, "one_shot"?}

`endpoint` is a Unix socket that the plugin opens for the daemon (``carriers/opencode.py``): the client's own HTTP
server is there only if it was started with a port, and the plugin can prompt a session without it.
"""

from __future__ import annotations

from coterie.agents.command_line import arguments
from coterie.agents.kind import AgentKind, process_id
from coterie.limits import HOOK_CHARS_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

EVENTS = frozenset({"start", "prompt", "before-tool", "after-tool", "step", "stop", "compact", "end"})
WITH_CONTEXT = frozenset({"prompt", "after-tool"})
"""Events to whose answer the plugin adds the context."""
PASSED_ON = ("source", "tool_use_id", "agent_id", "delegates", "endpoint", "one_shot")
PID = "OPENCODE_PID"
LOOKING = frozenset({"mcp", "debug", "agent"})
"""Subcommands that start the servers and are nobody's session."""


class OpenCode(AgentKind):
    """The sessions of OpenCode in one folder, one at a time."""

    name = "opencode"
    client_names = ("opencode",)
    marks = ("OPENCODE", PID)

    def is_probe(self, environ: Mapping[str, str]) -> bool:
        """``opencode mcp list`` calls itself what a session does."""
        return _subcommand(environ) in LOOKING

    def one_shot(self, environ: Mapping[str, str]) -> bool:
        """``opencode run``."""
        return _subcommand(environ) == "run"

    def agent_pid(self, environ: Mapping[str, str], parent: int) -> int:
        """From OPENCODE_PID."""
        return process_id(environ.get(PID, "")) or parent

    def hook_event(self, told: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any] | None:
        """What our plugin told; it tells nothing that is not for us."""
        event = told.get("event")
        if not isinstance(event, str) or event not in EVENTS or not isinstance(told.get("session"), str):
            return None
        pid, files = told.get("pid"), told.get("files")
        adds = event in WITH_CONTEXT and not told.get("agent_id") and not told.get("closed")
        return {
            **self.session_event(event, told, told["session"]),
            "agent_pid": pid if isinstance(pid, int) else 0,
            "room": HOOK_CHARS_MAX[self.name] if adds else 0,
            "files": [path for path in files if isinstance(path, str)] if isinstance(files, list) else [],
            **{key: told[key] for key in PASSED_ON if told.get(key)},
        }

    def hook_answer(self, told: Mapping[str, Any], context: str) -> dict[str, Any]:
        """For the plugin, which knows what to do with it."""
        return {"context": context}


def _subcommand(environ: Mapping[str, str]) -> str:
    """The first word after the program's name that is no flag; empty if there is none, or if it is not known."""
    given = arguments(process_id(environ.get(PID, "")))
    return next((argument for argument in given[1:] if not argument.startswith("-")), "")


OPENCODE = OpenCode()
