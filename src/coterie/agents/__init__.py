"""What is particular to each kind of agent, one file a kind; nothing vendor-specific lives elsewhere.

These modules are light: the adapter loads them in every session. What only the daemon needs of a kind is loaded when
it is needed.
"""

from __future__ import annotations

import os

from coterie.agents.claude import CLAUDE
from coterie.agents.codex import CODEX
from coterie.agents.gemini import GEMINI, GEMINI_CHECK
from coterie.agents.kind import OTHER
from coterie.agents.opencode import OPENCODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from coterie.agents.kind import AgentKind

KINDS = (CLAUDE, CODEX, GEMINI, OPENCODE)
_CLIENTS = (*KINDS, GEMINI_CHECK)
_RUNTIMES = frozenset({"node", "bun"})
"""What runs an agent that is a script: its file is then the first argument that is no option."""


def by_client(name: str) -> AgentKind:
    """The kind whose MCP client says this name of itself in `initialize`."""
    return next((kind for kind in _CLIENTS if name in kind.client_names), OTHER)


def by_name(name: str) -> AgentKind:
    """The kind that the store calls so."""
    return next((kind for kind in KINDS if kind.name == name), OTHER)


def by_environment(environ: Mapping[str, str]) -> AgentKind | None:
    """The kind of agent whose marks a process bears, or None if it bears none."""
    return next((kind for kind in KINDS if any(mark in environ for mark in kind.marks)), None)


def by_program(arguments: list[str]) -> AgentKind | None:
    """The kind of agent that a process with this command line is, or None if it is none that we know by its name."""
    names = [os.path.basename(argument) for argument in arguments[:1]]
    if names and names[0] in _RUNTIMES:
        script = next((argument for argument in arguments[1:] if not argument.startswith("-")), "")
        names = [os.path.basename(script).removesuffix(".js")]
    return next((kind for kind in KINDS if kind.name in names), None)
