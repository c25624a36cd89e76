"""coterie init, as a person runs it."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

import pytest

from cli.conftest import Shell
from cli.detached import COTERIE, Ended
from conftest import Place, running
from coterie.agents.installs.turn import turn

YES = ("--yes", "--i-am-human", "--force")
"""Done without a question, wherever the tests run: `ours` in programs.py minds folders for temporary files."""
SETTINGS = '{\n    "theme": "dark", "env": {"KEY": "\\u001b[31m"}\n}\n'


@pytest.fixture
def home(shell: Shell) -> Path:
    """A home folder in which two agents have been used; none is on PATH."""
    shell.place.environ["PATH"] = "/usr/bin:/bin"
    for folder in (".claude", ".gemini"):
        (shell.place.root / folder).mkdir()
    (shell.place.root / ".claude" / "settings.json").write_text(SETTINGS)
    return shell.place.root


def files(home: Path) -> dict[str, bytes]:
    """The agents' files."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.relative_to(home).parts[0] != "home"
    }


def fails(ended: Ended, *says: str) -> None:
    assert ended.status == 1, str(ended)
    for words in says:
        assert words in ended.err


@pytest.mark.promise("I3", "I4")
def test_in_twice_and_out_again(shell: Shell, home: Path) -> None:
    before = files(home)
    ended = shell.run("init", *YES)
    assert ended.status == 0, str(ended)
    for line in (
        "change ~/.claude/settings.json",
        "    add hook Stop",
        "new file ~/.gemini/settings.json",
        "3 files changed",
    ):
        assert f"  {line}\n" in ended.out or f"{line}\n" in ended.out
    assert "Codex CLI\n  not found on this machine" in ended.out
    assert "What only you can do:\n  1. Claude Code: " in ended.out
    assert "coterie doctor checks it\n" in ended.out
    assert "what was there before is kept in ~/home/backups/init/" in ended.err
    assert "said --i-am-human: coterie init" in Path(shell.place.home.log).read_text()
    after = files(home)
    assert sorted(after) == [".claude.json", ".claude/settings.json", ".gemini/settings.json"]
    again = shell.ok("init", *YES)
    assert "nothing to do\n" in again
    assert "changed" not in again
    assert files(home) == after
    gone = shell.ok("init", "--remove", *YES)
    assert "remove file ~/.claude.json" in gone
    assert "What only you can do" not in gone
    assert files(home) == before
    assert "nothing to do" in shell.ok("init", "--remove", *YES)


@pytest.mark.promise("I4")
def test_a_dry_run_shows_everything_and_does_nothing(shell: Shell, home: Path) -> None:
    before = files(home)
    said = shell.ok("init", "--dry-run", "--force")
    hook = os.path.join(os.path.dirname(COTERIE), "coterie-hook")
    assert f'"command": "COTERIE_HOME={shell.place.home.folder} {hook} claude"}}]}}]' in said
    assert '    -    "theme": "dark", "env": {"KEY": "\\u001b[31m"}\n' in said
    assert "nothing was changed; 3 files would be" in said
    assert files(home) == before
    assert not os.path.exists(shell.place.home.database)


@pytest.mark.promise("I1")
def test_at_a_terminal_it_asks_once(shell: Shell, home: Path) -> None:
    before = files(home)
    no = shell.start("init", "claude", "--force", terminal=80)
    no.wait_for(r"change 2 files\? \[y/N\]", "out")
    no.type("n\n")
    ended = no.finish()
    assert ended.status == 1
    assert "nothing was changed" in ended.out
    assert files(home) == before
    yes = shell.start("init", "claude", "--force", terminal=80)
    yes.wait_for(r"\[y/N\]", "out")
    yes.type("y\n")
    ended = yes.finish()
    assert (ended.status, "2 files changed" in ended.out) == (0, True)
    assert "coterie-hook claude" in (home / ".claude/settings.json").read_text()


def test_giving_up_at_the_question_changes_nothing(shell: Shell, home: Path) -> None:
    before = files(home)
    asked = shell.start("init", "--force", terminal=80)
    asked.wait_for(r"\[y/N\]", "out")
    asked.type("\x04")  # Ctrl-D, which the terminal keeps; a Ctrl-C could come before anybody reads.
    assert asked.finish().status == 130
    assert files(home) == before


def test_without_a_terminal_it_says_what_to_type(shell: Shell, home: Path) -> None:
    before = files(home)
    fails(shell.run("init", "--yes"), "this takes a person at a terminal", "coterie init --i-am-human")
    fails(shell.run("init", "--i-am-human", "--force"), "nobody can be asked here", "add --yes")
    assert files(home) == before


def test_an_agent_may_look_and_not_touch(daemon: Place) -> None:
    daemon.environ["PATH"] = "/usr/bin:/bin"
    agent = daemon.named("api")
    refused = agent.run(COTERIE, "init", *YES)
    assert refused["status"] == 1
    assert "ask the person to type: coterie init" in refused["stderr"]
    assert agent.run(COTERIE, "init", "--dry-run", "--force")["status"] == 0


def test_marks_of_an_agent_count_where_no_daemon_can_be_had(shell: Shell, home: Path) -> None:
    before = files(home)
    os.chmod(shell.place.home.folder, 0o755)
    refused = shell.run("init", *YES, env={"CLAUDECODE": "1"})
    fails(refused, "only a person may do this")
    fails(shell.run("init", "--yes"), "this takes a person at a terminal")
    assert files(home) == before


def test_switched_off_it_can_be_taken_out_all_the_same(shell: Shell, home: Path) -> None:
    before = files(home)
    shell.ok("init", *YES)
    pid = shell.place.pid()
    shell.ok("down", "--i-am-human")
    assert not running(pid)
    shell.ok("init", "--remove", *YES)
    assert files(home) == before
    assert shell.run("peers").status == 3


@pytest.mark.promise("I4")
def test_one_agent_by_name(shell: Shell, home: Path) -> None:
    shell.ok("init", "gemini", *YES)
    assert sorted(files(home)) == [".claude/settings.json", ".gemini/settings.json"]
    absent = shell.run("init", "codex", *YES)
    assert absent.status == 1
    assert "not found on this machine" in absent.out
    wrong = shell.run("init", "emacs")
    assert wrong.status == 2
    assert "'claude', 'codex', 'gemini', 'opencode'" in wrong.err


def test_one_that_cannot_be_done_does_not_hold_up_the_others(shell: Shell, home: Path) -> None:
    (home / ".claude.json").write_text('{"a": 1,\n  "b" 2}')
    before = files(home)
    ended = shell.run("init", *YES)
    fails(ended, "Claude Code: ", ".claude.json cannot be understood: line 2, column 7", "it was left as it is")
    assert "coterie" in (home / ".gemini/settings.json").read_text()
    assert {name: content for name, content in files(home).items() if ".gemini" not in name} == before


def test_json_is_stable(shell: Shell, home: Path) -> None:
    planned = shell.json("init", "--dry-run", "--force")
    assert (planned["done"], planned["removed"]) == (False, False)
    assert [agent["kind"] for agent in planned["agents"]] == ["claude", "codex", "gemini", "opencode"]
    claude, codex = planned["agents"][:2]
    assert sorted(claude) == sorted(
        ("kind", "found", "program", "version", "folder", "changes", "note", "problem", "steps")
    )
    assert claude["changes"][0] == {
        "file": str(home / ".claude.json"),
        "what": "add MCP server coterie",
        "state": "planned",
    }
    assert codex["found"] is False
    done = shell.json("init", *YES)
    assert done["done"] is True
    assert {change["state"] for agent in done["agents"] for change in agent["changes"]} == {"done"}
    assert done["agents"][0]["steps"]
    nobody = shell.json("init", "--remove", "--i-am-human")
    assert nobody["error"]["kind"] == "refused"
    assert json.loads((home / ".claude.json").read_text())["mcpServers"]["coterie"]


def test_a_file_that_changes_while_the_person_is_asked_is_planned_again(shell: Shell, home: Path) -> None:
    state = home / ".claude.json"
    state.write_text('{\n  "starts": 1\n}\n')
    asked = shell.start("init", "claude", "--force", terminal=80)
    asked.wait_for(r"\[y/N\]", "out")
    state.write_text('{\n  "starts": 2,\n  "tips": {}\n}\n')
    asked.type("y\n")
    ended = asked.finish()
    assert ended.status == 0, str(ended)
    data = json.loads(state.read_text())
    assert (data["starts"], data["tips"]) == (2, {})
    assert "coterie" in data["mcpServers"]
    shell.ok("init", "--remove", *YES)
    assert state.read_text() == '{\n  "starts": 2,\n  "tips": {}\n}\n'


def test_a_file_that_becomes_something_else_meanwhile_is_left_alone(shell: Shell, home: Path) -> None:
    state = home / ".claude.json"
    asked = shell.start("init", "claude", "--force", terminal=80)
    asked.wait_for(r"\[y/N\]", "out")
    state.write_text('{"mcpServers": {"coterie": {"command": "/usr/bin/other"}}}')
    asked.type("y\n")
    ended = asked.finish()
    assert ended.status == 1
    assert "was changed by another program" in " ".join(ended.out.split())
    assert json.loads(state.read_text()) == {"mcpServers": {"coterie": {"command": "/usr/bin/other"}}}


def test_it_fits_a_narrow_terminal(shell: Shell, home: Path) -> None:
    (home / ".claude.json").write_text("{} {}")
    said = shell.run("init", "--dry-run", "--force", terminal=60).out.split("What only you can do")
    assert max(map(len, said[1].splitlines())) <= 60
    assert "not possible: " in said[0]


# --- several at once --------------------------------------------------------------------------------------------------


def test_several_at_once_are_as_good_as_one(shell: Shell, home: Path) -> None:
    before = files(home)
    shell.place.start()
    for ended in shell.all(*[["init", *YES]] * 3):
        assert ended.status == 0, str(ended)
    assert "nothing to do" in shell.ok("init", *YES)
    shell.ok("init", "--remove", *YES)
    assert files(home) == before


def test_what_another_run_did_while_the_person_was_asked_is_not_done_twice(shell: Shell, home: Path) -> None:
    before = files(home)
    both = [shell.start("init", "--force", terminal=80) for _ in range(2)]
    for asked in both:
        asked.wait_for(r"change 3 files\? \[y/N\]", "out")
    said = []
    for asked in both:
        asked.type("y\n")
        ended = asked.finish()
        assert ended.status == 0, str(ended)
        said.append(ended.out)
    assert "\n3 files changed" in said[0]
    assert "nothing was left to do: another coterie init has done it meanwhile" in said[1]
    assert "kept in" not in said[1]
    shell.ok("init", "--remove", *YES)
    assert files(home) == before


def test_what_another_run_remembers_is_kept(shell: Shell, home: Path) -> None:
    before = files(home)
    asked = shell.start("init", "--force", terminal=80)
    asked.wait_for(r"change 3 files\? \[y/N\]", "out")
    shell.ok("init", "gemini", *YES)
    asked.type("y\n")
    ended = asked.finish()
    assert (ended.status, "\n2 files changed" in ended.out) == (0, True), str(ended)
    # That the file of Gemini CLI was not there before only the other run knew.
    shell.ok("init", "--remove", *YES)
    assert files(home) == before


@pytest.mark.promise("I1")
def test_what_was_not_shown_is_not_done(shell: Shell, home: Path) -> None:
    before = files(home)
    shell.ok("init", *YES)
    (home / ".claude.json").unlink()
    asked = shell.start("init", "claude", "--force", terminal=80)
    asked.wait_for(r"change 1 file\? \[y/N\]", "out")
    shell.ok("init", "--remove", *YES)
    asked.type("y\n")
    ended = asked.finish()
    assert ended.status == 1
    assert "settings.json was changed by another program" in " ".join(ended.out.split())
    assert files(home) == before


@pytest.mark.parametrize("how", [(), ("--remove",)])
def test_a_run_that_does_not_end_is_named_and_nothing_is_changed(
    shell: Shell, home: Path, how: tuple[str, ...]
) -> None:
    if how:
        shell.ok("init", *YES)
    before = files(home)
    hurry = "from coterie.agents.installs import turn; turn.TURN_S = 0.1"
    with turn(os.path.join(shell.place.home.backups, "init")):
        fails(
            shell.after(hurry, "init", *how, *YES), "another coterie init is running (pid ", "and nothing was changed"
        )
        shell.ok("init", *how, "--dry-run", "--force")
    assert files(home) == before
    shell.ok("init", *how, *YES)
    assert files(home) != before


# --- nobody there, and giving up --------------------------------------------------------------------------------------


def test_with_no_agent_left_there_is_nothing_to_do(shell: Shell) -> None:
    shell.place.environ["PATH"] = "/usr/bin:/bin"
    for how in (["--dry-run", "--force"], ["--remove", "--dry-run"], ["--remove", *YES], [*YES]):
        assert "nothing to do" in shell.ok("init", *how)
    assert files(shell.place.root) == {}


def test_what_is_left_of_an_agent_that_went_is_taken_out(shell: Shell, home: Path) -> None:
    before = files(home)
    shell.ok("init", *YES)
    (home / ".gemini/settings.json").unlink()
    (home / ".gemini").rmdir()
    assert "remove file ~/.claude.json" in shell.ok("init", "--remove", "--dry-run")
    shell.ok("init", "--remove", *YES)
    assert files(home) == before


def test_a_ctrl_c_at_the_question_changes_nothing_and_holds_nobody_up(shell: Shell, home: Path) -> None:
    before = files(home)
    asked = shell.start("init", "--force", terminal=80)
    asked.wait_for(r"\[y/N\]", "out")
    # A Ctrl-C between the question and the reading of the answer is only noticed at the next one.
    over = threading.Event()

    def press() -> None:
        with contextlib.suppress(OSError):
            while not over.wait(0.5):
                asked.interrupt()

    pressing = threading.Thread(target=press)
    pressing.start()
    ended = asked.finish()
    over.set()
    pressing.join()
    assert ended.status == 130
    assert "Traceback" not in ended.out
    assert files(home) == before
    shell.ok("init", *YES)
