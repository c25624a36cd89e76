"""The checks of coterie doctor on each kind of agent: a healthy home, and one broken in each way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.installs.agents_at_home import VERSIONS, AgentsAtHome, write_program
from coterie import __version__
from coterie.agents.installs.checks import outcome, probes
from coterie.agents.installs.checks.codex import snake, trust_hash
from coterie.agents.installs.checks.finding import Finding, Mark
from coterie.agents.installs.checks.gemini import trust_of
from coterie.agents.installs.checks.look import HookEntry, listed
from coterie.errors import Refused

SETTINGS, STATE = ".claude/settings.json", ".claude.json"
CODEX, CODEX_HOOKS = ".codex/config.toml", ".codex/hooks.json"
GEMINI, OPENCODE = ".gemini/settings.json", ".config/opencode/opencode.json"


@pytest.fixture
def home(tmp_path: Path) -> AgentsAtHome:
    return AgentsAtHome(tmp_path, str(tmp_path / "coterie"))


@pytest.fixture
def healthy(home: AgentsAtHome) -> AgentsAtHome:
    home.init()
    return home


def test_a_healthy_home_has_no_trouble_and_nothing_of_it_is_changed(healthy: AgentsAtHome) -> None:
    before = healthy.files()
    assert healthy.troubles() == {}
    marks = {agent: {f.name: f.mark for f in healthy.findings(agent)} for agent in VERSIONS}
    assert healthy.files() == before
    assert all(mark is Mark.OK for found in marks.values() for mark in found.values()), marks
    assert {"program", "server", "server-starts", "hooks", "folder"} == set(marks["claude"])
    assert {"program", "server", "server-starts", "hooks", "approvals", "hooks-trusted"} == set(marks["codex"])
    assert {"program", "server", "server-starts", "hooks", "folder"} == set(marks["gemini"])
    assert {"program", "server", "server-starts", "plugin"} == set(marks["opencode"])


def test_the_evidence_has_the_versions(healthy: AgentsAtHome) -> None:
    program, _, starts, *_ = healthy.findings("codex")
    assert program.evidence == "version 0.169.0, ~/programs/codex"
    assert starts.evidence == f"the MCP server starts and answers (coterie {__version__})"


def test_before_init_each_is_told_to_be_set_up_and_nothing_else(home: AgentsAtHome) -> None:
    assert {key: finding.todo for key, finding in home.troubles().items()} == {
        (agent, "server"): f"coterie init {agent}" for agent in VERSIONS
    }


Break = Callable[[AgentsAtHome], object]


def _server_not_executable(home: AgentsAtHome) -> None:
    (home.root / "coterie-mcp").write_text("#!/bin/sh\n")
    _server_is(home, str(home.root / "coterie-mcp"))


def _left_over(home: AgentsAtHome) -> None:
    (home.root / "coterie-mcp").write_text("#!/gone/venv/bin/python\n")
    (home.root / "coterie-mcp").chmod(0o755)
    _server_is(home, str(home.root / "coterie-mcp"))


def _server_is(home: AgentsAtHome, command: str) -> None:
    home.edit(STATE, lambda d: d["mcpServers"]["coterie"].update(command=command))


def _server_says(script: str) -> Break:
    def change(home: AgentsAtHome) -> None:
        write_program(home.root / "coterie-mcp", script)
        _server_is(home, str(home.root / "coterie-mcp"))

    return change


BROKEN: dict[str, tuple[Break, tuple[str, str], str, str]] = {
    "the server's command is gone": (
        lambda home: _server_is(home, "/gone/bin/coterie-mcp"),
        ("claude", "server-starts"),
        "/gone/bin/coterie-mcp is gone",
        "coterie init claude",
    ),
    "the server's command is not executable": (
        _server_not_executable,
        ("claude", "server-starts"),
        "~/coterie-mcp is not executable",
        "chmod +x",
    ),
    "the server ends at once": (
        _server_says("echo no module named coterie >&2; exit 3"),
        ("claude", "server-starts"),
        "~/coterie-mcp: it ended with status 3: no module named coterie",
        "install coterie again",
    ),
    "the server says something else": (
        _server_says("echo hello; cat"),
        ("claude", "server-starts"),
        "it says something that is no MCP",
        "install coterie again",
    ),
    "a plain name that is not on PATH": (
        lambda home: _server_is(home, "coterie-mcp"),
        ("claude", "server-starts"),
        "coterie-mcp is not on PATH",
        "coterie init claude",
    ),
    "the server is left over from an environment that is gone": (
        lambda home: _left_over(home),
        ("claude", "server-starts"),
        "~/coterie-mcp is left over: /gone/venv/bin/python, which runs it, is gone",
        "coterie init claude",
    ),
    "another server under our name": (
        lambda home: _server_is(home, "/usr/bin/true"),
        ("claude", "server"),
        "~/.claude.json has another server under the name coterie",
        "coterie init claude --force",
    ),
    "the server is missing": (
        lambda home: home.edit(STATE, lambda d: d.pop("mcpServers")),
        ("claude", "server"),
        "no MCP server coterie is registered",
        "coterie init claude",
    ),
    "another home": (
        lambda home: home.edit(GEMINI, lambda d: d["mcpServers"]["coterie"]["env"].update(COTERIE_HOME="/other")),
        ("gemini", "home"),
        "it uses /other, not ~/coterie",
        "coterie init gemini",
    ),
    "a hook is missing": (
        lambda home: home.edit(SETTINGS, lambda d: d["hooks"].pop("Stop")),
        ("claude", "hooks"),
        "no hook for Stop",
        "coterie init claude",
    ),
    "two hooks are missing": (
        lambda home: home.edit(GEMINI, lambda d: [d["hooks"].pop(name) for name in ("AfterTool", "BeforeAgent")]),
        ("gemini", "hooks"),
        "no hook for BeforeAgent and AfterTool",
        "coterie init gemini",
    ),
    "the hooks' command is gone": (
        lambda home: _hooks_run(home, "/gone/coterie-hook"),
        ("claude", "hook-program"),
        "/gone/coterie-hook is gone",
        "coterie init claude",
    ),
    "the settings are broken": (
        lambda home: (home.root / SETTINGS).write_text('{"hooks": {'),
        ("claude", "configuration"),
        "~/.claude/settings.json cannot be understood: line 1, column 12",
        "mend it, then: coterie init claude",
    ),
    "hooks are disabled": (
        lambda home: home.edit(SETTINGS, lambda d: d.update(disableAllHooks=True)),
        ("claude", "hooks-on"),
        "disableAllHooks in ~/.claude/settings.json",
        "false",
    ),
    "the server is disabled for a folder": (
        lambda home: home.edit(STATE, lambda d: d["projects"][str(home.work)].update(disabledMcpServers=["coterie"])),
        ("claude", "server-on"),
        "disabled for ~/work",
        "/mcp",
    ),
    "the server is denied": (
        lambda home: home.edit(SETTINGS, lambda d: d.update(deniedMcpServers=[{"serverName": "coterie"}])),
        ("claude", "server-on"),
        "deniedMcpServers in ~/.claude/settings.json",
        "take it out",
    ),
    "Codex hooks are not trusted": (
        lambda home: _without_trust(home),
        ("codex", "hooks-trusted"),
        "the hooks are not trusted yet",
        "Hooks need review",
    ),
    "one Codex hook is another than the trusted one": (
        lambda home: home.edit(CODEX_HOOKS, lambda d: d["hooks"]["Stop"][0]["hooks"][0].update(timeout=9)),
        ("codex", "hooks-trusted"),
        "the hooks Stop are not as they were trusted",
        "Hooks need review",
    ),
    "a Codex hook was switched off": (
        lambda home: home.replace(
            CODEX,
            f'{home.root}/.codex/hooks.json:stop:0:0"]\n',
            f'{home.root}/.codex/hooks.json:stop:0:0"]\nenabled = false\n',
        ),
        ("codex", "hooks-trusted"),
        "the hooks Stop are switched off by you",
        "/hooks",
    ),
    "the server is disabled for the repository that one stands in": (
        lambda home: _disabled_above(home),
        ("claude", "server-on"),
        "disabled for ~/work",
        "/mcp",
    ),
    "Codex hooks are off": (
        lambda home: home.replace(CODEX, "[mcp_servers.coterie]", "[features]\nhooks = false\n\n[mcp_servers.coterie]"),
        ("codex", "hooks-on"),
        "hooks = false in ~/.codex/config.toml",
        "[features]",
    ),
    "Codex approvals are missing": (
        lambda home: home.replace(CODEX, '[mcp_servers.coterie.tools.set_summary]\napproval_mode = "approve"\n', ""),
        ("codex", "approvals"),
        "no approval for set_summary",
        "coterie init codex",
    ),
    "the Codex server is disabled": (
        lambda home: home.replace(CODEX, "[mcp_servers.coterie]\n", "[mcp_servers.coterie]\nenabled = false\n"),
        ("codex", "server-on"),
        "disabled in ~/.codex/config.toml",
        "enabled = false",
    ),
    "the Codex configuration is broken": (
        lambda home: home.replace(CODEX, "[mcp_servers.coterie]", "[mcp_servers.coterie"),
        ("codex", "configuration"),
        "~/.codex/config.toml cannot be understood",
        "mend it",
    ),
    "Gemini does not trust the folder": (
        lambda home: home.write(".gemini/trustedFolders.json", {str(home.root / "elsewhere"): "TRUST_FOLDER"}),
        ("gemini", "folder"),
        "not trusted with ~/work",
        "trust the folder",
    ),
    "Gemini excludes the server": (
        lambda home: home.edit(GEMINI, lambda d: d.update(mcp={"excluded": ["coterie"]})),
        ("gemini", "server-on"),
        "mcp.excluded in ~/.gemini/settings.json",
        "take it out",
    ),
    "Gemini allows other servers only": (
        lambda home: home.edit(GEMINI, lambda d: d.update(mcp={"allowed": ["other"]})),
        ("gemini", "server-on"),
        "mcp.allowed in ~/.gemini/settings.json",
        "add coterie",
    ),
    "the Gemini server is disabled": (
        lambda home: home.write(".gemini/mcp-server-enablement.json", {"coterie": {"enabled": False}}),
        ("gemini", "server-on"),
        "disabled",
        "in gemini: /mcp enable coterie",
    ),
    "Gemini hooks are off": (
        lambda home: home.edit(GEMINI, lambda d: d.update(hooksConfig={"enabled": False})),
        ("gemini", "hooks-on"),
        "hooksConfig.enabled in ~/.gemini/settings.json",
        "true",
    ),
    "the hooks of Gemini are disabled": (
        lambda home: home.edit(
            GEMINI, lambda d: d.update(hooksConfig={"disabled": [d["hooks"]["AfterTool"][0]["hooks"][0]["name"]]})
        ),
        ("gemini", "hooks-on"),
        "hooksConfig.disabled",
        "/hooks",
    ),
    "the OpenCode configuration is broken": (
        lambda home: (home.root / OPENCODE).write_text("{"),
        ("opencode", "configuration"),
        "~/.config/opencode/opencode.json cannot be understood",
        "mend it, then: coterie init opencode",
    ),
    "hooks are disabled in the folder's own settings": (
        lambda home: [
            (home.work / ".claude").mkdir(),
            home.write("work/.claude/settings.local.json", {"disableAllHooks": True}),
        ],
        ("claude", "hooks-on"),
        "disableAllHooks in ~/work/.claude/settings.local.json",
        "false",
    ),
    "the entry of the folder goes before one's own": (
        lambda home: home.edit(
            STATE,
            lambda d: d["projects"][str(home.work)].update(
                mcpServers={"coterie": {**d["mcpServers"]["coterie"], "command": "/gone/coterie-mcp"}}
            ),
        ),
        ("claude", "server-starts"),
        "/gone/coterie-mcp is gone",
        "claude mcp remove --scope local coterie",
    ),
    "the OpenCode server is disabled": (
        lambda home: home.edit(OPENCODE, lambda d: d["mcp"]["coterie"].update(enabled=False)),
        ("opencode", "server-on"),
        "disabled in ~/.config/opencode/opencode.json",
        "true",
    ),
    "the OpenCode plugin is missing": (
        lambda home: (home.root / ".config/opencode/plugin/coterie.js").unlink(),
        ("opencode", "plugin"),
        "there is no ~/.config/opencode/plugin/coterie.js",
        "coterie init opencode",
    ),
    "an agent's program does not start": (
        lambda home: write_program(home.root / "programs/gemini", "echo needs node 20 >&2; exit 1"),
        ("gemini", "program"),
        "~/programs/gemini: it ended with status 1: needs node 20",
        "install it again",
    ),
}


def _hooks_run(home: AgentsAtHome, program: str) -> None:
    command = json.loads((home.root / SETTINGS).read_text())["hooks"]["Stop"][0]["hooks"][0]["command"]
    home.replace(SETTINGS, command.split()[-2], program)


def _disabled_above(home: AgentsAtHome) -> None:
    (home.work / ".git").mkdir()
    home.edit(STATE, lambda d: d["projects"][str(home.work)].update(disabledMcpServers=["coterie"]))
    home.work = home.work / "below"
    home.work.mkdir()


def _without_trust(home: AgentsAtHome) -> None:
    config = home.root / CODEX
    config.write_text(config.read_text().partition("\n[hooks.state.")[0])


@pytest.mark.parametrize(("change", "where", "evidence", "todo"), BROKEN.values(), ids=BROKEN)
@pytest.mark.promise("I5")
def test_what_is_broken_is_found_with_its_cure_and_nothing_else(
    healthy: AgentsAtHome, change: Break, where: tuple[str, str], evidence: str, todo: str
) -> None:
    change(healthy)
    found = healthy.troubles()
    assert set(found) == {where}, found
    assert evidence in found[where].evidence
    assert todo in found[where].todo


def test_in_the_home_folder_missing_trust_is_a_note(healthy: AgentsAtHome) -> None:
    healthy.work = healthy.root
    assert healthy.troubles() == {}
    (folder,) = [finding for finding in healthy.findings("gemini") if finding.name == "folder"]
    assert folder.mark is Mark.NOTE
    healthy.write(".gemini/trustedFolders.json", {})
    assert set(healthy.troubles()) == {("gemini", "folder")}


def test_another_coterie_is_a_note(healthy: AgentsAtHome) -> None:
    script = (
        'read a; echo \'{"jsonrpc":"2.0","id":1,"result":{"serverInfo":{"version":"0.0.9"}}}\'\n'
        'read b; echo \'{"jsonrpc":"2.0","id":2,"result":{}}\'; cat >/dev/null'
    )
    _server_says(script)(healthy)
    assert healthy.troubles() == {}
    notes = [finding.evidence for finding in healthy.findings("claude") if finding.mark is Mark.NOTE]
    assert notes == [
        "the MCP server in ~/.claude.json is another coterie's than this one: ~/coterie-mcp",
        f"the MCP server is coterie 0.0.9, and this is {__version__}",
    ]


def test_the_plugin_in_the_place_of_entries(home: AgentsAtHome) -> None:
    (home.root / ".claude").mkdir()
    home.write(SETTINGS, {"enabledPlugins": {"coterie@somewhere": True}})
    _, server = home.findings("claude")
    assert (server.name, server.mark) == ("server", Mark.OK)
    assert "its plugin coterie@somewhere is enabled" in server.evidence
    home.edit(SETTINGS, lambda d: d.update(disableAllHooks=True))
    assert ("claude", "hooks-on") in home.troubles()


def test_the_plugin_besides_entries_is_a_note(healthy: AgentsAtHome) -> None:
    healthy.edit(SETTINGS, lambda d: d.update(enabledPlugins={"coterie@somewhere": True}))
    notes = [finding for finding in healthy.findings("claude") if finding.mark is not Mark.OK]
    assert [(finding.name, finding.todo) for finding in notes] == [("server", "coterie init claude --remove")]


def test_a_plugin_of_another_version_is_a_note(healthy: AgentsAtHome) -> None:
    plugin = healthy.root / ".config/opencode/plugin/coterie.js"
    plugin.write_text(plugin.read_text() + "// of old\n")
    notes = [finding for finding in healthy.findings("opencode") if finding.mark is not Mark.OK]
    assert [(finding.name, finding.mark, finding.todo) for finding in notes] == [
        ("plugin", Mark.NOTE, "coterie init opencode")
    ]


def test_the_plugin_runs_a_hook_that_is_gone(healthy: AgentsAtHome) -> None:
    plugin = healthy.root / ".config/opencode/plugin/coterie.js"
    text = plugin.read_text()
    start = text.index('const HOOK = "')
    plugin.write_text(text[:start] + 'const HOOK = "/gone/coterie-hook"' + text[text.index("\n", start) :])
    found = healthy.troubles()
    assert set(found) == {("opencode", "hook-program")}
    assert "/gone/coterie-hook is gone" in found["opencode", "hook-program"].evidence


def test_a_choice_of_the_person_is_a_note(healthy: AgentsAtHome) -> None:
    healthy.replace(CODEX, 'send_message]\napproval_mode = "approve"', 'send_message]\napproval_mode = "prompt"')
    notes = [finding for finding in healthy.findings("codex") if finding.mark is not Mark.OK]
    assert [(finding.name, finding.mark) for finding in notes] == [("approvals", Mark.NOTE)]
    assert "send_message" in notes[0].evidence


def test_an_agent_of_which_only_a_folder_is_left_is_not_told_to_be_set_up(home: AgentsAtHome) -> None:
    (home.root / ".gemini").mkdir()
    (home.root / "programs/gemini").unlink()
    (finding,) = home.findings("gemini")
    assert (finding.name, finding.mark) == ("program", Mark.NOTE)


def test_no_secret_of_a_configuration_is_shown(healthy: AgentsAtHome) -> None:
    secret = "sk-very-secret"
    healthy.edit(STATE, lambda d: d.update(primaryApiKey=secret))
    healthy.edit(SETTINGS, lambda d: d.update(env={"KEY": secret}, disableAllHooks=True))
    healthy.edit(STATE, lambda d: d["mcpServers"]["coterie"].update(command=f"/bin/sh {secret}", env={"K": secret}))
    (healthy.root / CODEX).write_text(f'key = "{secret}"\n[broken')
    for agent in VERSIONS:
        assert secret not in str(healthy.findings(agent))


def test_a_check_that_fails_is_a_finding() -> None:
    def failing_check() -> Iterator[Finding]:
        raise ValueError("what?")
        yield

    def refused_check() -> Iterator[Finding]:
        raise Refused("not this", "do that")
        yield

    (one,), (other,) = outcome(failing_check), outcome(refused_check)
    assert one[:3] == ("failing-check", Mark.TROUBLE, "this check failed (ValueError: what?)")
    assert (other.evidence, other.todo) == ("not this", "do that")


@pytest.mark.parametrize("odd", [5, "x", [], [5], {}, {"coterie": 5}, {"coterie": {"command": 5, "args": 5}}, None])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        *((STATE, name) for name in ("mcpServers", "projects")),
        *((SETTINGS, name) for name in ("hooks", "deniedMcpServers", "enabledPlugins")),
        *((CODEX_HOOKS, name) for name in ("hooks",)),
        *((GEMINI, name) for name in ("mcpServers", "hooks", "mcp", "hooksConfig", "security")),
        (OPENCODE, "mcp"),
    ],
)
def test_odd_forms_are_no_reason_to_fail(home: AgentsAtHome, file: str, name: str, odd: object) -> None:
    for path in (STATE, SETTINGS, CODEX_HOOKS, GEMINI, OPENCODE):
        (home.root / path).parent.mkdir(parents=True, exist_ok=True)
        home.write(path, {})
    home.write(file, {name: odd})
    home.write(".gemini/trustedFolders.json", odd)
    for agent in VERSIONS:
        assert not [finding for finding in home.findings(agent) if "this check failed" in finding.evidence]


def test_a_server_that_all_agents_share_is_tried_once(tmp_path: Path) -> None:
    write_program(tmp_path / "coterie-mcp", f"echo x >> {tmp_path}/starts; exit 1")
    handshakes = probes.Handshakes({"PATH": "/usr/bin:/bin"})
    answers = {handshakes.of([str(tmp_path / "coterie-mcp")], {}) for _ in range(3)}
    assert answers == {probes.Answer(failure="it ended with status 1: it said nothing")}
    assert (tmp_path / "starts").read_text() == "x\n"
    handshakes.of([str(tmp_path / "coterie-mcp")], {"A": "B"})
    assert (tmp_path / "starts").read_text() == "x\nx\n"


# --- parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "matcher", "entry", "expected"),
    [
        ("SessionStart", None, {}, "5d84554af8b2b634ab85b9ce62c14d8790625a8abb085448cd54c3cb15745509"),
        ("PostToolUse", "*", {}, "df7e8736469497f6694d69fcd91a3c3887db44fa4f702438238dd56ca5fff3bf"),
        ("SessionEnd", None, {}, "15e12249cd30bd207eda13fd26db8c16d01440e00089ead7c00f6c320cf57263"),
        ("SessionEnd", None, {"timeout": 30}, "1bb54d60418d2e7352229be460677d64dc848778a637b9a73abd1a80d46cc116"),
        ("PreModelRequest", "x", {}, "149730858376292fe2e72489fd356f205f1ee408828ae844daf0019bc15bef3b"),
        (
            "Stop",
            "*",
            {"command": "COTERIE_HOME=/a/b /x/coterie-hook codex", "timeout": 5},
            "b5ecf78925456e9097762735fe0dda9dd47873064c3bfb4b21a4fc4b6577c6f0",
        ),
    ],
)
def test_the_hash_of_a_hook_is_the_one_that_codex_told(
    event: str, matcher: str | None, entry: dict[str, object], expected: str
) -> None:
    """``hooks/list`` of the app-server of 0.169.0 told these."""
    hook = HookEntry(event, 0, 0, matcher, {"command": "/x/coterie-hook codex", **entry})
    assert trust_hash(hook) == f"sha256:{expected}"


def test_events_in_snake_case() -> None:
    assert [snake(name) for name in ("Stop", "PreToolUse")] == ["stop", "pre_tool_use"]


@pytest.mark.parametrize(
    ("rules", "trusted"),
    [
        ({}, None),
        ({"/a/b": "TRUST_FOLDER"}, True),
        ({"/a": "TRUST_FOLDER", "/a/b": "DO_NOT_TRUST"}, False),
        ({"/a": "DO_NOT_TRUST", "/a/b": "TRUST_FOLDER"}, True),
        ({"/a/other": "TRUST_PARENT"}, True),
        ({"/a/b/c/d": "TRUST_FOLDER"}, None),
        ({"/a/bb": "TRUST_FOLDER"}, None),
    ],
)
def test_the_rule_with_the_longest_name_counts(rules: dict[str, object], trusted: bool | None) -> None:
    assert trust_of("/a/b/c", rules) is trusted


def test_lists_in_words() -> None:
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_a_server_that_is_silent_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "START_S", 0.2)
    told = tmp_path / "pid"
    write_program(tmp_path / "silent", f"echo $$ > {told}; exec sleep 600")
    answer = probes.handshake([str(tmp_path / "silent")], {"PATH": "/usr/bin:/bin"})
    assert answer.failure == "it did not answer initialize within 0.2 s"
    assert not Path(f"/proc/{told.read_text().strip()}").exists()


def test_a_version_is_asked_with_the_files_out_of_the_way_and_else_where_they_are(tmp_path: Path) -> None:
    write_program(tmp_path / "writes", 'touch "$ITS_HOME/junk"; echo 1.2.3')
    environ = {"PATH": "/usr/bin:/bin", "ITS_HOME": str(tmp_path)}
    assert probes.version(str(tmp_path / "writes"), ["ITS_HOME"], environ).text == "1.2.3"
    assert not (tmp_path / "junk").exists()
    write_program(tmp_path / "needs", f'[ "$ITS_HOME" = {tmp_path} ] && echo 1.2.4')
    assert probes.version(str(tmp_path / "needs"), ["ITS_HOME"], environ).text == "1.2.4"


def test_a_version_that_does_not_come_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "VERSION_S", 0.2)
    write_program(tmp_path / "slow", "exec sleep 600")
    answer = probes.version(str(tmp_path / "slow"), [], {"PATH": "/usr/bin:/bin"})
    assert answer.failure == "it did not say its version within 0.2 s"
