"""coterie init with the real agents: they say connected, and everything can be taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clients.lab import Lab

YES = ("--yes", "--i-am-human", "--force")
"""Done without a question, wherever the tests run."""
CONFIGURATIONS = (
    ".claude.json",
    ".claude/settings.json",
    ".codex/config.toml",
    ".codex/hooks.json",
    ".gemini/settings.json",
    ".config/opencode/opencode.json",
    ".config/opencode/plugin/coterie.js",
)
MARKETPLACE = Path(__file__).parents[2]


def configurations(lab: Lab) -> dict[str, bytes]:
    """The files that init may change, those that are there."""
    paths = {name: lab.home / name for name in CONFIGURATIONS}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


@pytest.mark.promise("I1")
def test_init_connects_all_four_and_can_be_taken_back(lab: Lab) -> None:
    settings = lab.home / ".gemini" / "settings.json"
    settings.write_text("// mine\n" + settings.read_text())
    sessions = [lab.claude("ann"), lab.codex("bob"), lab.gemini("cid"), lab.opencode("dan")]
    for session in sessions:  # At its first start an agent writes into its own files.
        session.run("mcp", "list")
    before = configurations(lab)
    done = lab.coterie("init", *YES)
    assert done.status == 0, done
    assert len(configurations(lab)) == len(CONFIGURATIONS)
    for session in sessions:
        listed = session.run("mcp", "list")
        said = listed.stdout + listed.stderr
        assert "coterie" in said
        # Codex does not start its servers to list them.
        assert ("enabled" if session.kind == "codex" else "onnected") in said, said
    inside = configurations(lab)
    again = lab.coterie("init", *YES)
    assert (again.status, "nothing to do" in again.stdout) == (0, True)
    assert configurations(lab) == inside
    gone = lab.coterie("init", "--remove", *YES)
    assert gone.status == 0, gone
    assert configurations(lab) == before


def test_after_init_codex_exec_may_send_and_claude_is_reached(lab: Lab) -> None:
    assert lab.coterie("init", *YES).status == 0
    ann, bob = lab.claude("ann"), lab.codex("bob")
    ann.start_tui()
    ann.ask("hello")
    name = lab.wait_peer(ann)["name"]
    sent = bob.print_mode(bob.call("coterie", "send_message", to=name, message="question-1"))
    assert "m_" in sent.stdout
    ann.wait_saw("question-1")
    ann.settle()
    assert len(ann.frames("question-1")) == 1
    lab.wait_message("question-1", "shown")


def test_the_claude_plugin_brings_server_hooks_and_commands(lab: Lab) -> None:
    ann = lab.claude("ann")
    for arguments in (
        ("plugin", "validate", str(MARKETPLACE)),
        ("plugin", "marketplace", "add", str(MARKETPLACE)),
        ("plugin", "install", "coterie@coterie"),
    ):
        done = ann.run(*arguments)
        assert done.status == 0, done
    assert "plugin:coterie:coterie" in ann.run("mcp", "list").stdout
    instead = json.loads(lab.coterie("init", "claude", "--dry-run", "--force", "--json").stdout)["agents"][0]
    assert instead["changes"] == []
    assert "claude plugin uninstall coterie@coterie" in instead["note"]
    settings = lab.home / ".claude" / "settings.json"
    allowed = json.loads(settings.read_text())
    allowed["permissions"]["allow"].append("mcp__plugin_coterie_coterie")
    settings.write_text(json.dumps(allowed))
    ann.start_tui()
    ann.ask("/coterie:peers repo")
    ann.wait_saw('with scope "repo"')
    name = lab.wait_peer(ann)["name"]
    lab.send(name, "hello-1")
    ann.wait_saw("hello-1")
    ann.settle()
    assert len(ann.frames("hello-1")) == 1
    lab.wait_message("hello-1", "shown")


def test_with_the_plugin_and_init_both_nothing_is_shown_twice(lab: Lab) -> None:
    assert lab.coterie("init", "claude", *YES).status == 0
    ann = lab.claude("ann")
    ann.run("plugin", "marketplace", "add", str(MARKETPLACE))
    ann.run("plugin", "install", "coterie@coterie")
    both = lab.coterie("init", "claude", *YES)
    assert "each tool stands twice: coterie init claude --remove" in " ".join(both.stdout.split())
    ann.start_tui()
    ann.ask("hello")
    name = lab.wait_peer(ann)["name"]
    for number in range(3):
        lab.send(name, f"hello-{number}")
        ann.wait_saw(f"hello-{number}")
    ann.settle()
    assert [len(ann.frames(f"hello-{number}")) for number in range(3)] == [1, 1, 1]
    for number in range(3):
        lab.wait_message(f"hello-{number}", "shown")
