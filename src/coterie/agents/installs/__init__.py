"""Installing Coterie into the agents of this machine: the part that only `coterie init` and `coterie doctor` load."""

from __future__ import annotations

from coterie.agents.installs.claude import ClaudeInstall
from coterie.agents.installs.codex import CodexInstall
from coterie.agents.installs.gemini import GeminiInstall
from coterie.agents.installs.install import Install, Setup
from coterie.agents.installs.opencode import OpenCodeInstall

__all__ = ["INSTALLS", "Install", "Setup", "installs"]

INSTALLS: tuple[type[Install], ...] = (ClaudeInstall, CodexInstall, GeminiInstall, OpenCodeInstall)


def installs(setup: Setup, name: str | None = None) -> list[Install]:
    """The installation into every kind of agent, or into the one of this name."""
    return [kind(setup) for kind in INSTALLS if name in (None, kind.kind.name)]
