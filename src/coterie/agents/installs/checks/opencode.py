"""What is particular to OpenCode: a plugin of ours in the place of hooks. Measured with 1.18.33."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from coterie.agents.installs.checks.checks import Check, Checks, unusable
from coterie.agents.installs.checks.finding import Finding, note, ok, trouble
from coterie.agents.installs.checks.look import Look, Server
from coterie.agents.installs.entries import State
from coterie.agents.installs.targets import read

_HOOK = re.compile(rb'^const HOOK = ("(?:[^"\\\n]|\\.)*")$', re.MULTILINE)
"""The line of the plugin that says what it runs."""


class OpenCodeChecks(Checks):
    """The switch, and the plugin."""

    scratch = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")

    def __init__(self, look: Look) -> None:
        self._file, *self._plugins = look.install.files()
        self._settings = look.json(self._file)
        super().__init__(look)

    def find_server(self) -> Server | None:
        """The entry in the configuration."""
        return self.look.server(self._file, self._settings, ("mcp",), environ="environment")

    def own(self) -> list[Check]:
        """The switch, and the plugin."""
        return [self.server_on, self.plugin]

    def server_on(self) -> Iterator[Finding]:
        """Whether the server is switched off."""
        if self.server and self.server.entry.get("enabled") is False:
            evidence = f"the server is disabled in {self.short(self._file)}"
            yield trouble("server-on", evidence, "set enabled to true there")

    def plugin(self) -> Iterator[Finding]:
        """Whether the plugin is there, and what it runs."""
        if self.look.absent:
            return
        for path in self._plugins:
            (state,) = self.look.states("plugin") or [State.PRESENT]
            told = _HOOK.search(read(path) or b"")
            program = json.loads(told[1]) if told else ""
            why = unusable(program, self.look) if program else None
            if state is State.MISSING:
                yield trouble("plugin", f"there is no {self.short(path)}", self.init)
            elif state is State.FOREIGN:
                yield trouble("plugin", f"{self.short(path)} is not ours", f"{self.init} --force")
            elif why:
                yield trouble("hook-program", f"{self.short(program)} {why}", self.init)
            elif state is State.OUTDATED:
                yield note("plugin", f"{self.short(path)} is another coterie's than this one", self.init)
            else:
                yield ok("plugin", f"{self.short(path)} is there")
