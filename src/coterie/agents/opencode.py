"""OpenCode. Measured with 1.18.33: its servers get OPENCODE=1 and the agent's pid, and no session id."""

from __future__ import annotations

from coterie.agents.kind import AgentKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class OpenCode(AgentKind):
    """A session of OpenCode."""

    name = "opencode"
    client_names = ("opencode",)
    marks = ("OPENCODE", "OPENCODE_PID")
    registers_at_first_call = True

    def agent_pid(self, environ: Mapping[str, str], parent: int) -> int:
        """From OPENCODE_PID."""
        pid = environ.get("OPENCODE_PID", "")
        return int(pid) if pid.isascii() and pid.isdigit() else parent


OPENCODE = OpenCode()
