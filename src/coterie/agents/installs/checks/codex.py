"""What is particular to Codex CLI. Measured with 0.169.0.

A hook runs once its hash stands in ``[hooks.state."FILE:EVENT:GROUP:INDEX"] trusted_hash`` of ``config.toml``. The hash
is SHA-256 over the hook as JSON with sorted keys and no blanks, in its normal form: the event in snake case, the
matcher if the event has one, and the command with its time limit (600 s if it names none, 1 s at the end of a session).
`hooks/list` of the app-server told the same hashes. FILE is spelled by HOME, or resolved where CODEX_HOME is set.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from coterie.agents.installs.changes import value_at
from coterie.agents.installs.checks.checks import Check, Checks
from coterie.agents.installs.checks.finding import Finding, note, ok, trouble
from coterie.agents.installs.checks.look import HookEntry, Look, Server, listed
from coterie.agents.installs.entries import CORE_TOOLS

HOOK_S = 600
"""The time limit of a hook that names none, in seconds."""
QUICK = frozenset({"SessionEnd", "Interrupt"})
QUICK_HOOK_S, QUICK_HOOK_MAX_S = 1, 3
"""For these events, at which nobody likes to wait: the limit of a hook that names none, and the highest."""
WITHOUT_MATCHER = frozenset({"UserPromptSubmit", "Stop", "PreModelRequest", "PostModelRequest", "Interrupt"})
"""Events that ignore a matcher."""
REVIEW = 'start codex; at "Hooks need review" look at them, and trust those that call coterie-hook'


class Trust(StrEnum):
    """How the trust in one hook stands."""

    TRUSTED = "trusted"
    CHANGED = "changed"
    """Another form of it was trusted."""
    NEVER = "never"
    OFF = "off"
    """The person switched it off."""


class CodexChecks(Checks):
    """Switches, approvals, trust."""

    scratch = ("CODEX_HOME",)

    def __init__(self, look: Look) -> None:
        self._config_file, self._hooks_file = look.install.files()
        self._config = look.toml(self._config_file)
        super().__init__(look)

    def find_server(self) -> Server | None:
        """The table in the configuration."""
        return self.look.server(self._config_file, self._config, ("mcp_servers",))

    def find_hooks(self) -> list[HookEntry]:
        """Those in the file of hooks."""
        return list(self.look.hooks(self.look.json(self._hooks_file)))

    def own(self) -> list[Check]:
        """Switches, approvals, trust."""
        return [self.server_on, self.approvals, self.hooks_on, self.trust]

    def server_on(self) -> Iterator[Finding]:
        """Whether the server is switched off."""
        if self.server and self.server.entry.get("enabled") is False:
            evidence = f"the server is disabled in {self.short(self._config_file)}"
            yield trouble("server-on", evidence, "take enabled = false out of [mcp_servers.coterie]")

    def approvals(self) -> Iterator[Finding]:
        """Whether the four core tools may be called without asking; `codex exec` never asks, and refuses."""
        if self.server is None:
            return
        entry = self.server.entry
        general = entry.get("default_tools_approval_mode")
        modes = {tool: value_at(entry, ("tools", tool, "approval_mode")) or general for tool in CORE_TOOLS}
        open_ones = [tool for tool, mode in modes.items() if mode is None]
        chosen = [tool for tool, mode in modes.items() if mode not in (None, "approve")]
        if open_ones:
            evidence = f"no approval for {listed(open_ones)}: codex exec refuses them"
            yield trouble("approvals", evidence, self.init)
        elif chosen:
            yield note("approvals", f"you have it ask for {listed(chosen)}: codex exec refuses them")
        else:
            yield ok("approvals", "the core tools are approved")

    def hooks_on(self) -> Iterator[Finding]:
        """Whether hooks are switched off as a whole."""
        if self.hooks and value_at(self._config, ("features", "hooks")) is False:
            evidence = f"hooks = false in {self.short(self._config_file)} switches all hooks off"
            yield trouble("hooks-on", evidence, "take hooks = false out of [features]")

    def trust(self) -> Iterator[Finding]:
        """Whether each hook is trusted as it is now."""
        if not self.hooks or self._config_file in self.look.broken:
            return
        by_trust: dict[Trust, list[str]] = {}
        for hook in self.hooks:
            by_trust.setdefault(self._trust_in(hook), []).append(hook.event)
        if set(by_trust) == {Trust.TRUSTED}:
            yield ok("hooks-trusted", f"all {len(self.hooks)} hooks are trusted as they are")
        for how, words, todo in (
            (Trust.NEVER, "not trusted yet, so they do not run", REVIEW),
            (Trust.CHANGED, "not as they were trusted, so they do not run", REVIEW),
            (Trust.OFF, "switched off by you", "in codex: /hooks"),
        ):
            if how in by_trust:
                which = (
                    "the hooks are"
                    if len(by_trust[how]) == len(self.hooks)
                    else f"the hooks {listed(by_trust[how])} are"
                )
                yield trouble("hooks-trusted", f"{which} {words}", todo)

    def _trust_in(self, hook: HookEntry) -> Trust:
        state: dict[str, Any] = {}
        for file in dict.fromkeys((self._hooks_file, os.path.realpath(self._hooks_file))):
            key = f"{file}:{snake(hook.event)}:{hook.group}:{hook.place}"
            state = value_at(self._config, ("hooks", "state", key)) or state
        if state.get("enabled") is False:
            return Trust.OFF
        trusted = state.get("trusted_hash")
        if trusted is None:
            return Trust.NEVER
        return Trust.TRUSTED if trusted == trust_hash(hook) else Trust.CHANGED


def snake(event: str) -> str:
    """``PreToolUse`` is ``pre_tool_use``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event).lower()


def trust_hash(hook: HookEntry) -> str:
    """The hash by which Codex knows a hook."""
    entry = hook.entry
    handler: dict[str, Any] = {"type": "command", "command": hook.command}
    handler |= {"timeout": _limit(hook.event, entry.get("timeout")), "async": bool(entry.get("async"))}
    if isinstance(entry.get("statusMessage"), str):
        handler["statusMessage"] = entry["statusMessage"]
    identity: dict[str, Any] = {"event_name": snake(hook.event), "hooks": [handler]}
    if hook.matcher is not None and hook.event not in WITHOUT_MATCHER:
        identity["matcher"] = hook.matcher
    told = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(told.encode()).hexdigest()


def _limit(event: str, named: object) -> int:
    """The time limit of a hook, in seconds."""
    if not isinstance(named, int):
        return QUICK_HOOK_S if event in QUICK else HOOK_S
    return min(max(named, 1), QUICK_HOOK_MAX_S) if event in QUICK else max(named, 1)
