"""Gemini CLI. Measured with 0.61.0: no session id in the environment or ``_meta``; only its hooks know it."""

from __future__ import annotations

from coterie.agents.kind import AgentKind


class Gemini(AgentKind):
    """A session of Gemini CLI."""

    name = "gemini"
    client_names = ("gemini-cli-mcp-client",)
    marks = ("GEMINI_CLI",)
    registers_at_first_call = True


GEMINI = Gemini()
