"""What `coterie init` does to the configurations of the four agents, and how it takes it back."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from coterie.agents.installs import INSTALLS, Install, Setup, installs, targets
from coterie.agents.installs.entries import CORE_TOOLS, State, hook_command, runs_hook
from coterie.agents.installs.programs import Ours
from coterie.agents.installs.record import Record
from coterie.agents.installs.writing import Writer
from coterie.errors import CoterieError, Refused
from coterie.files import Home
from coterie.mcp.tools import CORE

KINDS = [kind.kind.name for kind in INSTALLS]
OURS = Ours("/opt/my coterie/bin/coterie-mcp", "/opt/my coterie/bin/coterie-hook")
SERVER_FILES = {
    "claude": (".claude.json", ("mcpServers", "coterie")),
    "codex": (".codex/config.toml", ("mcp_servers", "coterie")),
    "gemini": (".gemini/settings.json", ("mcpServers", "coterie")),
    "opencode": (".config/opencode/opencode.json", ("mcp", "coterie")),
}
HOOK_FILES = {"claude": ".claude/settings.json", "codex": ".codex/hooks.json", "gemini": ".gemini/settings.json"}


class Person:
    """A home folder, and what coterie remembers about it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "person"
        self.root.mkdir()
        self.environ = {"HOME": str(self.root), "PATH": str(self.root / "bin")}
        self.place = Home(str(root / "coterie"))
        self.now = 0.0

    def install(self, name: str, ours: Ours = OURS, *, allow: bool = False, **more: str) -> Install:
        return installs(Setup({**self.environ, **more}, ours, allow), name)[0]

    def put(self, name: str, ours: Ours = OURS, *, force: bool = False, allow: bool = False, **more: str) -> list[str]:
        """Do what init does; returns what was done."""
        record = Record(self.place)
        return self._apply(record, self.install(name, ours, allow=allow, **more).plan(record, force=force))

    def take(self, name: str, **more: str) -> list[str]:
        """Do what init --remove does; returns what was done."""
        record = Record(self.place)
        return self._apply(record, self.install(name, Ours("", ""), **more).removal(record))

    def _apply(self, record: Record, edits: list[Any]) -> list[str]:
        self.now += 1
        writer = Writer(record, self.now)
        for edit in edits:
            writer.apply(edit)
        return [what for edit in edits for what in edit.what]

    def write(self, path: str, content: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def server(self, name: str) -> Any:
        path, way = SERVER_FILES[name]
        text = (self.root / path).read_text("utf-8-sig")
        data: Any = tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
        for step in way:
            data = data[step]
        return data

    def tree(self) -> dict[str, tuple[int, bytes | str]]:
        """All that is there: modes and contents."""
        return {
            str(path.relative_to(self.root)): (
                path.lstat().st_mode,
                os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b"",
            )
            for path in self.root.rglob("*")
        }


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


# --- all four ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.promise("I2")
def test_into_nothing_and_out_again(person: Person, name: str) -> None:
    before = person.tree()
    assert "add MCP server coterie" in person.put(name)
    assert {standing.state for standing in person.install(name).installed()} == {State.PRESENT}
    after = person.tree()
    assert person.put(name) == []
    assert person.tree() == after
    assert all(stat.S_IMODE(mode) & 0o077 == 0 for mode, _ in after.values())
    assert "remove MCP server coterie" in person.take(name)
    assert person.tree() == before
    assert person.take(name) == []


@pytest.mark.promise("I2")
def test_what_stands_there(person: Person) -> None:
    for name in KINDS:
        person.put(name)
    assert person.server("claude") == {"type": "stdio", "command": OURS.adapter, "args": [], "env": {}}
    assert person.server("gemini") == {"command": OURS.adapter, "args": []}
    assert person.server("opencode") == {"type": "local", "command": [OURS.adapter], "enabled": True}
    tools = {tool: {"approval_mode": "approve"} for tool in CORE_TOOLS}
    assert person.server("codex") == {"command": OURS.adapter, "tools": tools}


def test_the_core_tools_are_those_of_the_adapter() -> None:
    assert {tool.name for tool in CORE} == set(CORE_TOOLS)


@pytest.mark.parametrize("name", KINDS)
def test_the_home_of_coterie_goes_along(person: Person, name: str) -> None:
    person.put(name, COTERIE_HOME="/srv/co terie")
    server = person.server(name)
    assert server.get("env", server.get("environment")) == {"COTERIE_HOME": "/srv/co terie"}
    if person.install(name).kind.hook_events:
        hooks = json.loads((person.root / HOOK_FILES[name]).read_text())["hooks"]
        commands = {hook["command"] for groups in hooks.values() for group in groups for hook in group["hooks"]}
        assert commands == {f"COTERIE_HOME='/srv/co terie' '{OURS.hook}' {name}"}
    assert person.put(name, COTERIE_HOME="/srv/co terie") == []


@pytest.mark.parametrize("name", KINDS)
def test_an_older_path_is_brought_up_to_date_and_nothing_else(person: Person, name: str) -> None:
    path = person.root / SERVER_FILES[name][0]
    older = Ours("/old/coterie-mcp", "/old/coterie-hook")
    person.put(name, older)
    text = path.read_text()
    done = person.put(name)
    assert "update MCP server coterie" in done
    assert path.read_text() == text.replace("/old/", "/opt/my coterie/bin/").replace(
        f'"/opt/my coterie/bin/coterie-hook {name}"', f"\"'/opt/my coterie/bin/coterie-hook' {name}\""
    )
    person.take(name)
    assert person.tree() == {}


@pytest.mark.parametrize("name", KINDS)
def test_a_foreign_server_of_our_name_is_left_alone_without_force(person: Person, name: str) -> None:
    command = '["/usr/bin/other"]' if name == "opencode" else '"/usr/bin/other"'
    path, way = SERVER_FILES[name]
    if path.endswith(".toml"):
        text = f"[{'.'.join(way)}]\ncommand = {command}\n"
    else:
        text = f'{{"{way[0]}": {{"{way[1]}": {{"command": {command}, "mine": 1}}}}}}'
    file = person.write(path, text)
    before = person.tree()
    with pytest.raises(Refused, match="not ours") as refused:
        person.put(name)
    assert "--force" in refused.value.hint
    assert person.take(name) == []
    assert person.tree() == before
    person.put(name, force=True)
    assert OURS.adapter in file.read_text()
    assert person.put(name) == []
    person.take(name)
    assert file.read_text() == text


@pytest.mark.parametrize("name", KINDS)
def test_what_the_person_added_to_our_server_stays(person: Person, name: str) -> None:
    person.put(name, Ours("/old/coterie-mcp", "/old/coterie-hook"))
    path = person.root / SERVER_FILES[name][0]
    if path.suffix == ".toml":
        path.write_text(path.read_text().replace("[mcp_servers.coterie]\n", "[mcp_servers.coterie]\nenabled = false\n"))
        path.write_text(
            path.read_text().replace('list_peers]\napproval_mode = "approve"', 'list_peers]\napproval_mode = "prompt"')
        )
    else:
        path.write_text(path.read_text().replace('"coterie": {', '"coterie": {"timeout": 7,'))
    person.put(name)
    server = person.server(name)
    assert server.get("enabled") is False if name == "codex" else server["timeout"] == 7
    if name == "codex":
        assert server["tools"]["list_peers"] == {"approval_mode": "prompt"}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_does_not_parse_is_refused_untouched(person: Person, name: str) -> None:
    person.write(SERVER_FILES[name][0], "{\n  oh no = [")
    before = person.tree()
    for do in (person.put, person.take):
        with pytest.raises(CoterieError, match=r"line \d+, column \d+"):
            do(name)
    assert person.tree() == before


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_not_utf8_is_refused_untouched(person: Person, name: str) -> None:
    person.write(SERVER_FILES[name][0], b'{"a": "b",\n "c": "\xff"}')
    before = person.tree()
    with pytest.raises(Refused, match=r"not UTF-8 \(line 2\)"):
        person.put(name)
    assert person.tree() == before


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.promise("I1")
def test_a_link_stays_a_link_and_modes_stay(person: Person, name: str) -> None:
    path = person.root / SERVER_FILES[name][0]
    real = person.write(f"dotfiles/{path.name}", "# mine\n" if path.suffix == ".toml" else '{"mine": 1}')
    real.chmod(0o640)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(real)
    person.put(name)
    assert path.is_symlink()
    assert "coterie" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    person.take(name)
    assert path.is_symlink()
    assert real.read_text() in ("# mine\n", '{"mine": 1}')


EMPTY_TEXTS = {
    "claude": ["", "{}", "{ }\n", "{\r\n}\r\n", '\ufeff{"mcpServers":{ }}', '{"mcpServers": {"x": {"command": "y"}}}'],
    "codex": ["", "\n", "# x", "[mcp_servers]\n", '[mcp_servers.x]\r\ncommand = "y"\r\n\r\n# end', 'model = "x"'],
    "gemini": ["", "// mine\n", "{ // mine\n}", '{"mcpServers": {}, "hooks": {}}\n', '{"hooks": {"AfterTool": [ ]}}'],
    "opencode": ["", "{}", "// mine\n{\n}\n", '{"mcp": {"x": {"type": "local", "command": ["y"]}, },}'],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in EMPTY_TEXTS.items() for text in texts])
@pytest.mark.promise("I1")
def test_the_very_bytes_come_back(person: Person, name: str, text: str) -> None:
    file = person.write(SERVER_FILES[name][0], text)
    before = person.tree()
    person.put(name, Ours("/old/coterie-mcp", "/old/coterie-hook"))
    person.put(name)
    assert file.read_bytes() != text.encode()
    person.take(name)
    assert person.tree() == before


@pytest.mark.parametrize("name", KINDS)
def test_without_its_memory_a_removal_takes_out_what_is_ours(person: Person, name: str) -> None:
    text = 'model = "x"\n' if name == "codex" else '{\n  "model": {"name": "x"}\n}\n'
    file = person.write(SERVER_FILES[name][0], text)
    person.put(name)
    person.place = Home(str(person.root.parent / "another"))
    person.take(name)
    assert file.read_text() == text


@pytest.mark.parametrize("name", KINDS)
def test_what_changed_meanwhile_stays(person: Person, name: str) -> None:
    file = person.root / SERVER_FILES[name][0]
    person.write(SERVER_FILES[name][0], "" if name == "codex" else '{"mcp": {}, "mcpServers": {}}')
    person.put(name)
    if name == "codex":
        file.write_text(file.read_text() + '\n[projects."/x"]\ntrust_level = "trusted"\n')
    else:
        file.write_text(file.read_text().replace('{"mcp"', '{"later": [1], "mcp"'))
    person.take(name)
    data = tomllib.loads(file.read_text()) if name == "codex" else json.loads(file.read_text())
    if name == "codex":
        assert data == {"projects": {"/x": {"trust_level": "trusted"}}}
    else:
        assert data == {"later": [1], "mcp": {}, "mcpServers": {}}


# --- hooks ------------------------------------------------------------------------------------------------------------

SETTINGS = """{
  "hooks": {
    // COMMENT
    "Stop": [
      {"matcher": "x", "hooks": [{"type": "command", "command": "say done"}]}
    ],
    "PostToolUse": [
      {"hooks": [
        {"type": "command", "command": "/old/coterie-hook claude"},
        {"type": "command", "command": "lint"},
        {"type": "command", "command": "/old/coterie-hook claude"}
      ]}
    ],
    "Notification": [
      {"hooks": [{"type": "command", "command": "/old/coterie-hook claude"}]}
    ]
  }
}
""".replace("    // COMMENT\n", "")


def test_others_hooks_stay_and_ours_stand_once(person: Person) -> None:
    file = person.write(HOOK_FILES["claude"], SETTINGS)
    done = person.put("claude")
    assert "add hook Stop" in done
    assert "update hook PostToolUse" in done
    assert "update hooks that are not needed" in done
    hooks = json.loads(file.read_text())["hooks"]
    ours = hook_command(OURS.hook, "claude", {})
    assert "Notification" not in hooks or hooks["Notification"] == []
    assert hooks["Stop"][0] == {"matcher": "x", "hooks": [{"type": "command", "command": "say done"}]}
    assert hooks["Stop"][1] == {"hooks": [{"type": "command", "command": ours}]}
    assert [hook["command"] for hook in hooks["PostToolUse"][0]["hooks"]] == [ours, "lint"]
    assert person.put("claude") == []
    person.take("claude")
    left = json.loads(file.read_text())["hooks"]
    assert left == {
        "Stop": [{"matcher": "x", "hooks": [{"type": "command", "command": "say done"}]}],
        "PostToolUse": [{"hooks": [{"type": "command", "command": "lint"}]}],
        **({"Notification": []} if "Notification" in left else {}),
    }


@pytest.mark.parametrize("hooks", ["5", '{"Stop": 5}', '{"Stop": {"x": 1}}', "[]"])
def test_hooks_of_another_form_are_refused(person: Person, hooks: str) -> None:
    person.write(HOOK_FILES["claude"], f'{{"hooks": {hooks}}}')
    before = person.tree()
    with pytest.raises(Refused, match=r"settings\.json"):
        person.put("claude")
    assert person.tree() == before


@pytest.mark.parametrize(
    ("command", "is_ours"),
    [
        ("/a/coterie-hook claude", True),
        ("'/a b/coterie-hook' claude", True),
        ("COTERIE_HOME='/x y' /a/coterie-hook claude", True),
        ("/a/coterie-hook codex", False),
        ("/a/coterie-hook claude && rm x", False),
        ("echo /a/coterie-hook claude", False),
        ("say 'oh", False),
        ("", False),
        (None, False),
    ],
)
def test_a_hook_of_ours_is_known(command: object, is_ours: bool) -> None:
    assert runs_hook(command, "claude") is is_ours


# --- one by one -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("I1", "I6")
def test_claude_permissions_are_given_on_request_only(person: Person) -> None:
    file = person.write(HOOK_FILES["claude"], '{"permissions": {"allow": ["Bash(ls)", "mcp__coterie__list_peers"]}}')
    person.put("claude")
    assert json.loads(file.read_text())["permissions"]["allow"] == ["Bash(ls)", "mcp__coterie__list_peers"]
    assert any("--allow" in step for step in person.install("claude").steps())
    person.put("claude", allow=True)
    allowed = json.loads(file.read_text())["permissions"]["allow"]
    assert sorted(allowed) == sorted(["Bash(ls)", *(f"mcp__coterie__{tool}" for tool in CORE_TOOLS)])
    assert person.put("claude") == []
    person.take("claude")
    assert json.loads(file.read_text()) == {"permissions": {"allow": ["Bash(ls)"]}}


def test_claude_elsewhere(person: Person) -> None:
    place = str(person.root / "cc")
    person.put("claude", CLAUDE_CONFIG_DIR=place)
    assert sorted(os.listdir(place)) == [".claude.json", "settings.json"]
    assert os.listdir(person.root) == ["cc"]


@pytest.mark.parametrize(("enabled", "says"), [("true", True), ("false", False)])
@pytest.mark.promise("I7")
def test_claude_with_the_plugin_needs_nothing(person: Person, enabled: str, says: bool) -> None:
    person.write(HOOK_FILES["claude"], f'{{"enabledPlugins": {{"x@y": true, "coterie@coterie": {enabled}}}}}')
    instead = person.install("claude").instead()
    assert bool(instead) is says
    assert not says or "claude plugin uninstall coterie@coterie" in str(instead)
    assert "twice" not in str(instead)
    person.put("claude")
    assert ("twice: coterie init claude --remove" in str(person.install("claude").instead())) is says


def test_codex_and_gemini_elsewhere(person: Person) -> None:
    person.put("codex", CODEX_HOME=str(person.root / "cx"))
    person.put("gemini", GEMINI_CLI_HOME=str(person.root / "g"))
    assert sorted(os.listdir(person.root)) == ["cx", "g"]
    assert os.path.isfile(person.root / "g" / ".gemini" / "settings.json")


@pytest.mark.promise("I1")
def test_codex_trust_is_never_written(person: Person) -> None:
    person.put("codex")
    assert "trust" not in (person.root / ".codex/config.toml").read_text()
    assert any("trust" in step for step in person.install("codex").steps())


def test_gemini_is_not_trusted_silently(person: Person) -> None:
    file = person.root / ".gemini/settings.json"
    person.put("gemini")
    assert "trust" not in person.server("gemini")
    assert "tools" not in json.loads(file.read_text())
    person.put("gemini", allow=True)
    allowed = json.loads(file.read_text())["tools"]["allowed"]
    assert allowed == [f"mcp_coterie_{tool}" for tool in CORE_TOOLS]
    assert "trust" not in person.server("gemini")
    person.take("gemini")
    assert person.tree() == {}


def test_opencode_takes_the_file_that_is_there(person: Person) -> None:
    file = person.write(".config/opencode/opencode.jsonc", "{ // mine\n}\n")
    person.put("opencode")
    assert "coterie-mcp" in file.read_text()
    assert not (file.parent / "opencode.json").exists()
    other = person.write(".config/opencode/opencode.json", "{}")
    assert person.put("opencode") == []
    other.write_text(json.dumps({"mcp": {"coterie": {"type": "local", "command": [OURS.adapter]}}}))
    person.take("opencode")
    assert file.read_text() == "{ // mine\n}\n"
    assert json.loads(other.read_text()) == {}


def test_opencode_gets_the_plugin_with_the_path_of_the_hook(person: Person) -> None:
    (person.root / ".config/opencode/plugins").mkdir(parents=True)
    person.put("opencode", COTERIE_HOME="/srv/x")
    plugin = person.root / ".config/opencode/plugins/coterie.js"
    text = plugin.read_text()
    assert text.startswith('process.env["COTERIE_HOME"] ??= "/srv/x"\n')
    assert f'const HOOK = "{OURS.hook}"\n' in text
    assert "@COTERIE_HOOK@" not in text
    (person.root / ".config/opencode/plugin").mkdir()
    assert person.put("opencode", COTERIE_HOME="/srv/x") == []
    plugin.write_text(text + "// older\n")
    assert person.put("opencode", COTERIE_HOME="/srv/x") == ["update plugin coterie.js"]
    assert plugin.read_text() == text
    person.take("opencode")
    assert not plugin.exists()
    plugin.write_text("// somebody's\n")
    with pytest.raises(Refused, match="is not ours"):
        person.put("opencode")
    assert person.take("opencode") == []


def test_where_agents_are_found(person: Person) -> None:
    assert not any(person.install(name).found() for name in KINDS)
    package = person.write("lib/node_modules/@openai/codex/package.json", '{"version": "9.8.7"}').parent
    program = person.write("lib/node_modules/@openai/codex/bin/codex.js", "#!/bin/sh\n")
    program.chmod(0o755)
    (person.root / "bin").mkdir()
    (person.root / "bin/codex").symlink_to(package / "bin/codex.js")
    found = person.install("codex").found()
    assert (found.program, found.version, found.folder) == (str(person.root / "bin/codex"), "9.8.7", None)
    native = person.write(".local/share/claude/versions/2.1.328", "#!/bin/sh\n")
    native.chmod(0o755)
    (person.root / ".local/bin").mkdir()
    (person.root / ".local/bin/claude").symlink_to(native)
    assert person.install("claude").found().version == "2.1.328"
    (person.root / ".gemini").mkdir()
    assert person.install("gemini").found() == (None, None, str(person.root / ".gemini"))


# --- writing ----------------------------------------------------------------------------------------------------------


def test_a_change_in_between_is_not_overwritten(person: Person) -> None:
    file = person.write(".claude.json", '{"a": 1}')
    record = Record(person.place)
    edits = person.install("claude").plan(record)
    file.write_text('{"a": 2}')
    with pytest.raises(Refused, match="changed by another program"):
        Writer(record, 1.0).apply(edits[0])
    assert file.read_text() == '{"a": 2}'
    assert os.listdir(file.parent) == [".claude.json"]


@pytest.mark.promise("I3")
def test_backups_are_private_and_never_overwritten(person: Person) -> None:
    file = person.write(".claude.json", '{"secret": 1}')
    record = Record(person.place)
    for _ in range(2):
        Writer(record, 1.0).apply(person.install("claude").plan(record)[0])
        file.write_text('{"secret": 2}')
    folder = Path(record.folder)
    kept = sorted(folder.rglob(".claude.json"))
    assert [json.loads(path.read_text()) for path in kept] == [{"secret": 1}, {"secret": 2}]
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))


def test_a_folder_that_takes_nothing_is_named_and_the_file_is_whole(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = person.write(".claude.json", '{"a": 1}')

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(CoterieError, match=r"cannot write .*\.claude\.json: Permission denied"):
        person.put("claude")
    monkeypatch.undo()
    assert file.read_text() == '{"a": 1}'
    assert os.listdir(person.root) == [".claude.json"]
    person.put("claude")
    person.take("claude")
    assert file.read_text() == '{"a": 1}'


def test_interrupted_half_way_it_is_finished_by_the_next_run(person: Person) -> None:
    record = Record(person.place)
    edits = person.install("claude").plan(record)
    assert len(edits) == 2
    Writer(record, 1.0).apply(edits[0])
    assert all(what.startswith("add hook") for what in person.put("claude"))
    assert person.put("claude") == []
    person.take("claude")
    assert person.tree() == {}


def test_a_record_that_cannot_be_read_is_none(person: Person) -> None:
    person.put("claude")
    for content in ("{", "[]", '{"x": 1}'):
        (Path(Record(person.place).folder) / "record.json").write_text(content)
        assert Record(person.place).of("x").after == ""


def test_the_owner_stays(person: Person, as_root: None) -> None:
    file = person.write(".claude.json", "{}")
    os.chown(file, 12, 34)
    person.put("claude")
    assert "coterie" in file.read_text()
    assert (file.stat().st_uid, file.stat().st_gid) == (12, 34)


def test_what_is_no_configuration_is_refused(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    (person.root / ".claude.json").mkdir()
    with pytest.raises(CoterieError, match=r"cannot read .*\.claude\.json"):
        person.put("claude")
    (person.root / ".claude.json").rmdir()
    person.write(".claude.json", "{} ")
    monkeypatch.setattr(targets, "BYTES_MAX", 2)
    with pytest.raises(Refused, match="is larger than"):
        person.put("claude")


@pytest.mark.promise("I5")
def test_what_the_person_is_to_do_is_said_for_each(person: Person) -> None:
    for name in KINDS:
        steps = person.install(name).steps()
        assert steps
        assert all(len(step) < 250 and not step.endswith(".") for step in steps)
        assert not any("--allow" in step for step in person.install(name, allow=True).steps())
    assert person.install("claude").files() == [
        str(person.root / ".claude.json"),
        str(person.root / HOOK_FILES["claude"]),
    ]


def test_a_file_that_init_made_goes_when_nothing_else_is_in_it(person: Person) -> None:
    person.put("gemini")
    file = person.root / ".gemini/settings.json"
    file.write_text(json.dumps(json.loads(file.read_text())))
    person.take("gemini")
    assert person.tree() == {}


def test_opencode_is_not_set_up_twice_when_another_file_comes(person: Person) -> None:
    person.put("opencode")
    other = person.write(".config/opencode/opencode.jsonc", "{}")
    assert person.put("opencode") == []
    assert other.read_text() == "{}"


# --- where folders are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variable", "file"),
    [
        ("claude", "CLAUDE_CONFIG_DIR", "settings.json"),
        ("codex", "CODEX_HOME", "config.toml"),
        ("gemini", "GEMINI_CLI_HOME", ".gemini/settings.json"),
        ("opencode", "XDG_CONFIG_HOME", "opencode/opencode.json"),
    ],
)
def test_a_folder_named_from_here_is_known_from_everywhere(
    person: Person, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, file: str
) -> None:
    path = person.write(f"there/{file}", "" if name == "codex" else "{}")
    (person.root / "here").mkdir()
    monkeypatch.chdir(person.root / "here")
    person.put(name, **{variable: "../there"})
    record = Record(person.place)
    assert record.of(str(path)).after
    backup = record.of(str(path)).backup
    assert backup
    assert backup.startswith(record.folder)
    assert ".." not in backup
    monkeypatch.chdir("/")
    assert person.take(name, **{variable: str(person.root / "there")})
    assert path.read_text() == ("" if name == "codex" else "{}")


def test_the_way_back_out_of_a_link_is_the_systems(person: Person) -> None:
    (person.root / "far/away").mkdir(parents=True)
    (person.root / "link").symlink_to("far/away")
    person.put("codex", CODEX_HOME=f"{person.root}/link/../cx")
    assert sorted(os.listdir(person.root / "far/cx")) == ["config.toml", "hooks.json"]
    person.take("codex", CODEX_HOME=f"{person.root}/far//./cx/")
    assert os.listdir(person.root / "far") == ["away"]


def test_a_home_named_from_here(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(person.root.parent)
    assert person.install("codex", HOME=person.root.name).folder() == str(person.root / ".codex")


def test_gemini_shows_the_name_of_a_hook_and_not_its_command(person: Person) -> None:
    person.put("gemini")
    hooks = json.loads((person.root / HOOK_FILES["gemini"]).read_text())["hooks"]
    assert {hook["name"] for groups in hooks.values() for group in groups for hook in group["hooks"]} == {"coterie"}
    person.put("claude")
    assert '"name"' not in (person.root / HOOK_FILES["claude"]).read_text()
