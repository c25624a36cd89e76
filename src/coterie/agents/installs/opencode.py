"""Coterie in OpenCode. Measured with 1.18.33: ``opencode.json`` and ``opencode.jsonc`` in ``~/.config/opencode`` are
both read, with comments and trailing commas; what OPENCODE_CONFIG names is read besides. Plugins are the files of the
folders ``plugin`` and ``plugins`` there.
"""

from __future__ import annotations

import json
import os

from coterie.agents.installs.changes import Json
from coterie.agents.installs.entries import SERVER, Server, State
from coterie.agents.installs.install import Install
from coterie.agents.installs.jsontext import Dialect
from coterie.agents.installs.targets import Target, WholeFile
from coterie.agents.opencode import OPENCODE
from coterie.texts import Path

_NAMES = ("opencode.jsonc", "opencode.json")
"""The first wins where both say something."""
_PLUGIN_SOURCE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "opencode_plugin.js")
_PLACEHOLDER = b'"@COTERIE_HOOK@"'
"""Where the source of the plugin has the path of our hook."""
_MARK = b"coterie-hook"
_PLUGIN = "coterie.js"
_PLUGIN_FOLDERS = ("plugin", "plugins")
"""OpenCode loads from both."""


class OpenCodeInstall(Install):
    """Server and plugin."""

    kind = OPENCODE
    title = "OpenCode"

    def folder(self) -> str:
        """``opencode`` in ``~/.config``, or in XDG_CONFIG_HOME."""
        config = self.setup.named("XDG_CONFIG_HOME") or self.setup.under_home(".config")
        return os.path.join(config, "opencode")

    def _target(self, name: str) -> Target:
        command = [self.setup.ours.adapter]
        environ = self.setup.settings
        value: dict[str, object] = {"type": "local", "command": command, "enabled": True}
        if environ:
            value["environment"] = environ
        fixed: dict[Path, object] = {("type",): "local", ("command",): command}
        fixed |= {("environment", variable): text for variable, text in environ.items()}
        server = Server(("mcp", SERVER), value, fixed)
        return Target(os.path.join(self.folder(), name), Json(Dialect(comments=True, commas=True)), [server])

    def _chosen(self) -> str:
        """The configuration that has us; else the one that is there and wins; else a new one."""
        there = [name for name in _NAMES if os.path.lexists(os.path.join(self.folder(), name))]
        for name in there:
            if self._target(name).standing()[0].state is not State.MISSING:
                return name
        return there[0] if there else "opencode.json"

    def targets(self) -> list[Target | WholeFile]:
        """The configuration, and the plugin."""
        return [self._target(self._chosen()), *self._plugin_in(self._plugin_folder())]

    def former(self) -> list[Target | WholeFile]:
        """The other spelling of the configuration, and the other folder of plugins."""
        others = [self._target(name) for name in _NAMES if name != self._chosen()]
        chosen = self._plugin_folder()
        return [*others, *(file for name in _PLUGIN_FOLDERS if name != chosen for file in self._plugin_in(name))]

    def _plugin_folder(self) -> str:
        """The folder that has our plugin; else the one that is there."""
        for tail in (_PLUGIN, ""):
            for name in _PLUGIN_FOLDERS:
                if os.path.exists(os.path.join(self.folder(), name, tail)):
                    return name
        return _PLUGIN_FOLDERS[0]

    def _plugin_in(self, folder: str) -> list[WholeFile]:
        with open(_PLUGIN_SOURCE, "rb") as file:
            source = file.read()
        # What is set for the server by its configuration is set for the plugin here: both must meet the same daemon.
        variables = (
            f"process.env[{json.dumps(name)}] ??= {json.dumps(text)}\n" for name, text in self.setup.settings.items()
        )
        content = "".join(variables).encode() + source.replace(_PLACEHOLDER, json.dumps(self.setup.ours.hook).encode())
        return [
            WholeFile(os.path.join(self.folder(), folder, _PLUGIN), content, f"plugin {_PLUGIN}", _MARK, _PLUGIN_SOURCE)
        ]

    def steps(self) -> list[str]:
        """Restart."""
        return ["sessions that are open join when they are started again: opencode --continue"]
