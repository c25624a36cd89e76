"""What is particular to Claude Code. Measured with 2.1.328: ``claude mcp list`` says "Disabled for this project" for a
server in ``projects[root].disabledMcpServers`` of its state file, where the root is that of the git repository, else
the folder; one in ``deniedMcpServers`` of the settings it does not list at all.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from coterie.agents.installs.changes import value_at
from coterie.agents.installs.checks.checks import Check, Checks
from coterie.agents.installs.checks.finding import Finding, note, ok, trouble
from coterie.agents.installs.checks.look import HookEntry, Look, Server, ancestors, is_text_in
from coterie.agents.installs.entries import SERVER

MANAGED = "/etc/claude-code/managed-settings.json"
"""Settings of an organisation, on Linux."""


class ClaudeChecks(Checks):
    """Server by scope, switches, trust."""

    scratch = ("CLAUDE_CONFIG_DIR",)

    def __init__(self, look: Look) -> None:
        state, settings = look.install.files()
        self._state_file, self._settings_file = state, settings
        self._state, self._settings = look.json(state), look.json(settings)
        self._root = project_root(look.cwd)
        super().__init__(look)

    def find_server(self) -> Server | None:
        """The entry of this folder goes before the person's own."""
        here = self.look.server(self._state_file, self._state, ("projects", self._root, "mcpServers"))
        if here:
            self.server_cure = f"cd {shlex.quote(self._root)} && claude mcp remove --scope local {SERVER}"
        return here or self.look.server(self._state_file, self._state, ("mcpServers",))

    def find_hooks(self) -> list[HookEntry]:
        """Those in the person's settings."""
        return list(self.look.hooks(self._settings))

    def own(self) -> list[Check]:
        """Switches and trust."""
        return [self.server_on, self.hooks_on, self.folder]

    def server_on(self) -> Iterator[Finding]:
        """Whether the server is switched off, for this folder or by settings."""
        if self.server is None and not self.instead:
            return
        project = value_at(self._state, ("projects", self._root))
        if is_text_in(value_at(project, ("disabledMcpServers",)), SERVER):
            evidence = f"the server is disabled for {self.short(self._root)}"
            yield trouble("server-on", evidence, "in claude, in that folder: /mcp, then enable coterie")
        for path, settings in self._all_settings():
            denied = value_at(settings, ("deniedMcpServers",))
            if isinstance(denied, list) and any(value_at(entry, ("serverName",)) == SERVER for entry in denied):
                evidence = f"deniedMcpServers in {self.short(path)} names the server {SERVER}"
                yield trouble("server-on", evidence, "take it out of that list")

    def hooks_on(self) -> Iterator[Finding]:
        """Whether hooks are switched off as a whole."""
        if not self.hooks and not self.instead:
            return
        for path, settings in self._all_settings():
            if value_at(settings, ("disableAllHooks",)) is True:
                evidence = f"disableAllHooks in {self.short(path)} switches all hooks off"
                yield trouble("hooks-on", evidence, "set disableAllHooks to false there")
        if value_at(self.look.json(MANAGED), ("allowManagedHooksOnly",)) is True:
            evidence = f"{MANAGED} allows only the organisation's own hooks"
            yield trouble("hooks-on", evidence, "ask whoever manages it to allow those of coterie")

    def _all_settings(self) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """The settings that count in this folder."""
        yield self._settings_file, self._settings
        for name in ("settings.json", "settings.local.json"):
            path = os.path.join(self._root, ".claude", name)
            if path != self._settings_file:
                yield path, self.look.json(path)

    def folder(self) -> Iterator[Finding]:
        """Whether Claude Code was trusted with the folder. It asks at its start there, so no answer is no trouble."""
        projects = value_at(self._state, ("projects",))
        if self.server is None and not self.hooks:
            return
        if any(value_at(projects, (path, "hasTrustDialogAccepted")) is True for path in ancestors(self.look.cwd)):
            yield ok("folder", f"{self.short(self.look.cwd)} is trusted", detail=True)
        else:
            evidence = f"it was not trusted with {self.short(self.look.cwd)}; until then it runs no hooks there"
            yield note("folder", evidence, "start claude there, and accept when it asks")


def project_root(cwd: str) -> str:
    """The folder by which Claude Code knows a project."""
    return next((path for path in ancestors(cwd) if os.path.lexists(os.path.join(path, ".git"))), cwd)
