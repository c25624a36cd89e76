"""Coterie in Claude Code. Measured with 2.1.328: servers stand in ``~/.claude.json``, hooks and permissions in
``~/.claude/settings.json``; with CLAUDE_CONFIG_DIR both files lie in that folder. Comments make it ignore its settings;
a byte order mark does not.
"""

from __future__ import annotations

import os

from coterie.agents.claude import CLAUDE
from coterie.agents.installs.changes import Json, value_at
from coterie.agents.installs.entries import SERVER, Permission, Server, State
from coterie.agents.installs.install import Found, Install, tool_names
from coterie.agents.installs.jsontext import Dialect, parse
from coterie.agents.installs.targets import Target, read
from coterie.texts import BadText, Path

_DIALECT = Dialect(bom=True)
_PLUGIN = "coterie@"
"""A plugin is named with the marketplace that it comes from."""


class ClaudeInstall(Install):
    """Server, hooks, and on request the permissions."""

    kind = CLAUDE
    title = "Claude Code"

    def folder(self) -> str:
        """``~/.claude``, or what CLAUDE_CONFIG_DIR names."""
        return self.setup.named("CLAUDE_CONFIG_DIR") or self.setup.under_home(".claude")

    def _state_file(self) -> str:
        named = self.setup.named("CLAUDE_CONFIG_DIR")
        return os.path.join(named, ".claude.json") if named else self.setup.under_home(".claude.json")

    def _settings_file(self) -> str:
        return os.path.join(self.folder(), "settings.json")

    def found(self) -> Found:
        """Its state file is a sign of it too."""
        found = super().found()
        return found if found or not os.path.isfile(self._state_file()) else found._replace(folder=self.folder())

    def targets(self) -> list[Target]:
        """The server's file, and the settings."""
        permission = Permission(("permissions", "allow"), tool_names("mcp__{server}__{tool}"), wanted=self.setup.allow)
        return [self._servers(), Target(self._settings_file(), Json(_DIALECT), [*self.hooks(), permission])]

    def _servers(self) -> Target:
        environ = self.setup.settings
        value = {"type": "stdio", "command": self.setup.ours.adapter, "args": [], "env": environ}
        fixed: dict[Path, object] = {("command",): self.setup.ours.adapter}
        fixed |= {("env", name): text for name, text in environ.items()}
        return Target(self._state_file(), Json(_DIALECT), [Server(("mcpServers", SERVER), value, fixed)])

    def instead(self) -> str | None:
        """The plugin brings the same server and the same hooks."""
        name = self._plugin()
        if name is None:
            return None
        said = f"its plugin {name} is enabled and does the same (claude plugin uninstall {name} removes it)"
        if any(standing.state in (State.PRESENT, State.OUTDATED) for standing in self._servers().standing()):
            said += (
                "; what init put in is there too, so each tool stands twice: coterie init claude --remove takes it out"
            )
        return said

    def _plugin(self) -> str | None:
        """The name of the enabled plugin, if it is."""
        try:
            settings = parse((read(self._settings_file()) or b"").decode(), _DIALECT)
        except (BadText, UnicodeDecodeError):  # The plan says so, with the place.
            return None
        enabled = value_at(settings, ("enabledPlugins",))
        found = enabled.items() if isinstance(enabled, dict) else ()
        return next((name for name, on in found if name.startswith(_PLUGIN) and on), None)

    def steps(self) -> list[str]:
        """Restart; and the permission, if it was not asked for."""
        told = ["sessions that are open join when they are started again: claude --continue"]
        if not self.setup.allow:
            told.append(
                "Claude Code asks before an agent calls a coterie tool; to have the four core tools allowed: "
                "coterie init claude --allow"
            )
        return told
