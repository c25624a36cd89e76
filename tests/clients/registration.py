"""Coterie in the agents' configuration, written by hand as the README tells a person to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coterie import agents
from coterie.agents.claude import EVENTS
from coterie.agents.gemini import GEMINI
from coterie.mcp.tools import CORE

Json = dict[str, Any]

PLUGIN = Path(agents.__file__).with_name("opencode_plugin.js")


def register(home: Path, programs: Path) -> None:
    """The MCP server in all four, the hooks of Claude Code and Gemini CLI, and OpenCode's plugin."""
    adapter = str(programs / "coterie-mcp")
    hook = {"hooks": [{"type": "command", "command": f"{programs / 'coterie-hook'} claude"}]}
    merge(home / ".claude.json", {"mcpServers": {"coterie": {"type": "stdio", "command": adapter, "args": []}}})
    merge(home / ".claude" / "settings.json", {"hooks": {event: [hook] for event in EVENTS}})
    hook = {"hooks": [{"type": "command", "name": "coterie", "command": f"{programs / 'coterie-hook'} gemini"}]}
    gemini = {"mcpServers": {"coterie": {"command": adapter, "trust": True}}}
    merge(home / ".gemini" / "settings.json", {**gemini, "hooks": {event: [hook] for event in GEMINI.hook_events}})
    opencode = {"type": "local", "command": [adapter], "enabled": True}
    merge(home / ".config" / "opencode" / "opencode.json", {"mcp": {"coterie": opencode}})
    plugin = home / ".config" / "opencode" / "plugin" / "coterie.js"
    plugin.parent.mkdir()
    plugin.write_text(PLUGIN.read_text().replace("@COTERIE_HOOK@", str(programs / "coterie-hook")))
    with (home / ".codex" / "config.toml").open("a") as config:
        config.write(f'\n[mcp_servers.coterie]\ncommand = "{adapter}"\n')
        for tool in CORE:
            config.write(f'\n[mcp_servers.coterie.tools.{tool.name}]\napproval_mode = "approve"\n')


def merge(path: Path, changes: Json) -> None:
    """Set the members of the top level."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}, indent=2) + "\n")
