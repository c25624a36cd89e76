"""What is particular to Gemini CLI. Measured with 0.61.0: ``gemini mcp list`` says "Blocked" for a server that is in
``mcp.excluded``, or not in an ``mcp.allowed`` that is there; "Disabled" for one in ``mcp-server-enablement.json``, and
in a folder that is not trusted. Of the folders in ``trustedFolders.json`` that a folder lies in, the one with the
longest name counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from coterie.agents.installs.changes import value_at
from coterie.agents.installs.checks.checks import Check, Checks
from coterie.agents.installs.checks.finding import Finding, note, ok, trouble
from coterie.agents.installs.checks.look import HookEntry, Look, Server, ancestors, is_text_in
from coterie.agents.installs.entries import SERVER

TRUST_VARIABLE = "GEMINI_CLI_TRUST_WORKSPACE"
FILE_VARIABLE = "GEMINI_CLI_TRUSTED_FOLDERS_PATH"


class GeminiChecks(Checks):
    """Switches and trust."""

    scratch = ("GEMINI_CLI_HOME",)

    def __init__(self, look: Look) -> None:
        (self._file,) = look.install.files()
        self._settings = look.json(self._file)
        super().__init__(look)

    def find_server(self) -> Server | None:
        """The entry in the settings."""
        return self.look.server(self._file, self._settings, ("mcpServers",))

    def find_hooks(self) -> list[HookEntry]:
        """Those in the settings."""
        return list(self.look.hooks(self._settings))

    def own(self) -> list[Check]:
        """Switches and trust."""
        return [self.server_on, self.hooks_on, self.folder]

    def _beside(self, name: str) -> str:
        return os.path.join(os.path.dirname(self._file), name)

    def server_on(self) -> Iterator[Finding]:
        """Whether the server is switched off."""
        if self.server is None:
            return
        lists = value_at(self._settings, ("mcp",))
        allowed = value_at(lists, ("allowed",))
        where = self.short(self._file)
        if is_text_in(value_at(lists, ("excluded",)), SERVER):
            yield trouble("server-on", f"mcp.excluded in {where} names the server {SERVER}", "take it out of that list")
        elif isinstance(allowed, list) and SERVER not in allowed:
            yield trouble("server-on", f"mcp.allowed in {where} does not name {SERVER}", f"add {SERVER} to that list")
        elif value_at(self.look.json(self._beside("mcp-server-enablement.json")), (SERVER, "enabled")) is False:
            yield trouble("server-on", "the server is disabled", f"in gemini: /mcp enable {SERVER}")

    def hooks_on(self) -> Iterator[Finding]:
        """Whether hooks are switched off, as a whole or those of ours."""
        options = value_at(self._settings, ("hooksConfig",))
        where = self.short(self._file)
        if not self.hooks:
            return
        if value_at(options, ("enabled",)) is False:
            evidence = f"hooksConfig.enabled in {where} switches all hooks off"
            yield trouble("hooks-on", evidence, "set hooksConfig.enabled to true there")
        elif any(is_text_in(value_at(options, ("disabled",)), name_of(hook)) for hook in self.hooks):
            evidence = f"hooksConfig.disabled in {where} names the hooks of coterie"
            yield trouble("hooks-on", evidence, "in gemini: /hooks enable-all")

    def folder(self) -> Iterator[Finding]:
        """Whether Gemini was trusted with the folder: elsewhere it runs no servers and no hooks."""
        if self.server is None and not self.hooks:
            return
        cwd, todo = self.short(self.look.cwd), "start gemini there, and trust the folder (or: /permissions)"
        said = self.look.environ.get(TRUST_VARIABLE)
        if value_at(self._settings, ("security", "folderTrust", "enabled")) is False or said == "true":
            yield ok("folder", "it asks for no trust in folders", detail=True)
            return
        rules = self.look.json(self.look.environ.get(FILE_VARIABLE) or self._beside("trustedFolders.json"))
        rules = rules if isinstance(rules, dict) else {}
        trusted = trust_of(self.look.cwd, rules)
        if trusted:
            yield ok("folder", f"{cwd} is trusted")
        elif trusted is None and self._is_no_place_to_work() and set(rules.values()) & {"TRUST_FOLDER", "TRUST_PARENT"}:
            yield note("folder", f"it was not trusted with {cwd}, but with other folders", "run this where you work")
        else:
            evidence = f"it is not trusted with {cwd}: there it runs neither servers nor hooks"
            yield trouble("folder", evidence, todo)

    def _is_no_place_to_work(self) -> bool:
        """Whether one stands in the home folder or above it, where nobody has a project."""
        return os.path.realpath(self.look.cwd) in ancestors(os.path.realpath(self.look.install.setup.under_home()))


def name_of(hook: HookEntry) -> str:
    """What Gemini calls a hook."""
    return str(hook.entry.get("name") or hook.command)


def trust_of(folder: str, rules: dict[str, object]) -> bool | None:
    """Whether a folder is trusted; None if no rule says so or otherwise."""
    above = set(ancestors(os.path.realpath(folder)))
    matching = [
        (len(path), level)
        for path, level in rules.items()
        if os.path.realpath(os.path.dirname(path) if level == "TRUST_PARENT" else path) in above
    ]
    return max(matching)[1] in ("TRUST_FOLDER", "TRUST_PARENT") if matching else None
