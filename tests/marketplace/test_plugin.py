"""The Claude Code plugin: what it names exists, and its launcher finds our programs or says what to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from coterie import __version__
from coterie.agents.claude import CLAUDE
from coterie.agents.installs.entries import CORE_TOOLS
from coterie.mcp.words import INSTRUCTIONS

ROOT = Path(__file__).parents[2]
MARKETPLACE = ROOT / "src" / "coterie" / "marketplace"
PLUGIN = MARKETPLACE / "plugin"
LAUNCH = PLUGIN / "scripts" / "launch"


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_both_marketplaces_offer_the_same_plugin() -> None:
    """One is for the repository, one for the installed package."""
    outer = read(ROOT / ".claude-plugin" / "marketplace.json")
    inner = read(MARKETPLACE / ".claude-plugin" / "marketplace.json")
    assert (ROOT / outer["plugins"][0].pop("source")).samefile(PLUGIN)
    assert (MARKETPLACE / inner["plugins"][0].pop("source")).samefile(PLUGIN)
    assert outer == inner


def test_its_version_is_ours() -> None:
    manifest = read(PLUGIN / ".claude-plugin" / "plugin.json")
    assert (manifest["name"], manifest["version"]) == ("coterie", __version__)


def test_its_hooks_are_those_that_we_serve() -> None:
    hooks = read(PLUGIN / "hooks" / "hooks.json")["hooks"]
    assert tuple(hooks) == CLAUDE.hook_events
    command = '"${CLAUDE_PLUGIN_ROOT}/scripts/launch" coterie-hook claude'
    assert all(groups == [{"hooks": [{"type": "command", "command": command}]}] for groups in hooks.values())


@pytest.mark.parametrize("path", sorted((PLUGIN / "commands").glob("*.md")), ids=lambda path: path.stem)
def test_its_commands_name_tools_that_exist(path: Path) -> None:
    text = path.read_text()
    named = re.findall(r"mcp__plugin_coterie_coterie__(\w+)", text)
    assert set(named) <= set(CORE_TOOLS)
    assert all(text.count(tool) > 1 for tool in named), "what is allowed is used"
    assert "description: " in text
    assert len(text.encode()) < 1500


def test_the_instructions_name_the_tools_of_the_plugin_too() -> None:
    for prefix in ("mcp__coterie__", "mcp__plugin_coterie_coterie__"):
        assert f"{prefix}send_message" in INSTRUCTIONS


# --- the launcher -----------------------------------------------------------------------------------------------------


class Launcher:
    """A copy of the launcher where no repository is around, and a home folder."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.home.mkdir()
        self.launch = root / "a b" / "plugin" / "scripts" / "launch"
        self.launch.parent.mkdir(parents=True)
        self.launch.write_bytes(LAUNCH.read_bytes())
        self.launch.chmod(LAUNCH.stat().st_mode)

    def program(self, path: str) -> None:
        """Put a stand-in for a program of ours, which says where it was run from and with what."""
        file = self.home / path
        file.parent.mkdir(parents=True)
        file.write_text('#!/bin/sh\necho "$0" "$@"\n')
        file.chmod(0o755)

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        environ = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", **environ}
        return subprocess.run([self.launch, *arguments], env=environ, capture_output=True, text=True, timeout=20)


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path)


@pytest.mark.parametrize(
    ("place", "environ"),
    [
        (".local/bin", {}),
        (".local/share/uv/tools/coterie/bin", {}),
        (".local/share/pipx/venvs/coterie/bin", {}),
        ("bin", {"PATH": "{home}/bin:/usr/bin:/bin"}),
        ("data/uv/tools/coterie/bin", {"XDG_DATA_HOME": "{home}/data"}),
    ],
)
def test_it_finds_our_programs(launcher: Launcher, place: str, environ: dict[str, str]) -> None:
    launcher.program(f"{place}/coterie-mcp")
    given = {name: value.format(home=launcher.home) for name, value in environ.items()}
    done = launcher.run("coterie-mcp", "a b", "*", **given)
    assert (done.returncode, done.stdout) == (0, f"{launcher.home}/{place}/coterie-mcp a b *\n")


def test_it_finds_the_repository_that_it_is_in() -> None:
    done = subprocess.run(
        [LAUNCH, "coterie", "--version"],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    here = ROOT / ".venv" / "bin" / "coterie"
    assert done.returncode == (0 if here.exists() else 1)
    assert f"coterie {__version__}" in done.stdout or not here.exists()


def test_without_our_programs_it_says_what_to_do(launcher: Launcher) -> None:
    server = launcher.run("coterie-mcp")
    assert (server.returncode, server.stdout) == (1, "")
    assert "there is no coterie-mcp on this machine; install it (uv tool install coterie" in server.stderr
    hook = launcher.run("coterie-hook", "claude")
    assert (hook.returncode, hook.stdout) == (0, "")


@pytest.mark.parametrize("command", ["/a/coterie-hook claude", "'/a b/coterie-hook' claude"])
def test_where_init_set_up_the_hooks_they_are_not_run_twice(launcher: Launcher, command: str) -> None:
    launcher.program(".local/bin/coterie-hook")
    assert launcher.run("coterie-hook", "claude").stdout
    settings = launcher.home / "cc" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": command}]}]}}))
    assert launcher.run("coterie-hook", "claude").stdout
    quiet = launcher.run("coterie-hook", "claude", CLAUDE_CONFIG_DIR=str(settings.parent))
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_it_may_be_run() -> None:
    assert os.access(LAUNCH, os.X_OK)
