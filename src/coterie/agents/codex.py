"""Codex CLI. Measured with 0.169.0.

Its MCP servers get a short list of variables and no session id; the thread id comes in the ``_meta`` of each tool
call. Several threads share one app-server process, and status requests start servers that no thread owns: so an
adapter is nobody until its first call. A thread with a parent belongs to the parent's peer.
"""

from __future__ import annotations

from coterie.agents.kind import AgentKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Codex(AgentKind):
    """A thread of Codex."""

    name = "codex"
    client_names = ("codex-mcp-client",)
    marks = ("CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED", "CODEX_THREAD_ID")
    registers_at_first_call = True

    def session(self, environ: Mapping[str, str], meta: Mapping[str, Any]) -> str | None:
        """The thread id in the ``_meta`` of the call."""
        thread = meta.get("threadId")
        return thread if isinstance(thread, str) else environ.get("CODEX_THREAD_ID")


CODEX = Codex()
