"""Coterie in Gemini CLI. Measured with 0.61.0: all stands in ``~/.gemini/settings.json`` (GEMINI_CLI_HOME moves the
home folder). Comments are read; a trailing comma or a byte order mark is an error. Servers and hooks are off in
folders that the person has not trusted. Its dialog allows a tool for one session only, and `gemini -p` does not even
offer tools that would have to ask; ``tools.allowed`` names single ones. ``trust`` would allow whatever the server ever
has, so it is never set.
"""

from __future__ import annotations

import os

from coterie.agents.gemini import GEMINI
from coterie.agents.installs.changes import Json
from coterie.agents.installs.entries import SERVER, Permission, Server
from coterie.agents.installs.install import Install, tool_names
from coterie.agents.installs.jsontext import Dialect
from coterie.agents.installs.targets import Target
from coterie.texts import Path


class GeminiInstall(Install):
    """Server and hooks."""

    kind = GEMINI
    title = "Gemini CLI"
    hook_label = "coterie"

    def folder(self) -> str:
        """``.gemini`` in the home folder, or in what GEMINI_CLI_HOME names."""
        named = self.setup.named("GEMINI_CLI_HOME")
        return os.path.join(named, ".gemini") if named else self.setup.under_home(".gemini")

    def targets(self) -> list[Target]:
        """The settings."""
        environ = self.setup.settings
        value: dict[str, object] = {"command": self.setup.ours.adapter, "args": []}
        if environ:
            value["env"] = environ
        fixed: dict[Path, object] = {("command",): self.setup.ours.adapter}
        fixed |= {("env", name): text for name, text in environ.items()}
        server = Server(("mcpServers", SERVER), value, fixed)
        names = tool_names("mcp_{server}_{tool}")
        permission = Permission(("tools", "allowed"), names, wanted=self.setup.allow)
        path = os.path.join(self.folder(), "settings.json")
        return [Target(path, Json(Dialect(comments=True)), [server, *self.hooks(), permission])]

    def steps(self) -> list[str]:
        """Trust is the person's, and so is the permission."""
        told = [
            "start gemini in each folder you work in, and trust the folder when it asks; in others it runs no servers "
            "and no hooks"
        ]
        if not self.setup.allow:
            told.append(
                "Gemini CLI asks before an agent calls a coterie tool, and gemini -p does without them; to have the "
                "four core tools allowed: coterie init gemini --allow"
            )
        return told
