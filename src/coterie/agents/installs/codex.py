"""Coterie in Codex CLI. Measured with 0.169.0: servers stand in ``config.toml``, hooks in ``hooks.json`` beside it, in
``~/.codex`` or CODEX_HOME. `codex exec` never asks, so that tools which would have to ask fail there; the four core
tools are approved one by one, and nothing else is. Hooks run once the person trusts them, which is recorded by a hash
that we never write.
"""

from __future__ import annotations

import os

from coterie.agents.codex import CODEX
from coterie.agents.installs.changes import Json, Toml
from coterie.agents.installs.entries import CORE_TOOLS, SERVER, Table
from coterie.agents.installs.install import Install
from coterie.agents.installs.jsontext import Dialect
from coterie.agents.installs.targets import Target
from coterie.texts import Path


class CodexInstall(Install):
    """Server with its approvals, and hooks."""

    kind = CODEX
    title = "Codex CLI"

    def folder(self) -> str:
        """``~/.codex``, or what CODEX_HOME names."""
        return self.setup.named("CODEX_HOME") or self.setup.under_home(".codex")

    def targets(self) -> list[Target]:
        """The configuration, and the hooks."""
        # Codex gives its servers a short list of variables, so what they need stands here.
        fixed: dict[Path, object] = {("command",): self.setup.ours.adapter}
        fixed |= {("env", name): text for name, text in self.setup.settings.items()}
        once: dict[Path, object] = {("tools", tool, "approval_mode"): "approve" for tool in CORE_TOOLS}
        server = Table(("mcp_servers", SERVER), fixed, once)
        return [
            Target(os.path.join(self.folder(), "config.toml"), Toml(), [server]),
            Target(os.path.join(self.folder(), "hooks.json"), Json(Dialect()), self.hooks()),
        ]

    def steps(self) -> list[str]:
        """Trust is the person's."""
        return [
            'start codex; when it says "Hooks need review", look at them and choose to trust them (they call '
            "coterie-hook); until then they do not run",
            "sessions that are open join when they are started again: codex resume",
        ]
