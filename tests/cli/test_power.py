"""coterie up and down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.conftest import Shell
from conftest import Place, running


def test_up_starts_the_daemon_and_says_its_pid(shell: Shell) -> None:
    said = shell.ok("up")
    assert said == f"coterie is on: its daemon started, pid {shell.place.pid()}\n"
    assert "was running" in shell.ok("up")


def test_down_needs_a_person_at_a_terminal_or_their_word(shell: Shell) -> None:
    shell.place.start()
    pid = shell.place.pid()
    refused = shell.run("down")
    assert refused.status == 1
    assert "coterie down --i-am-human" in refused.err
    assert running(pid)
    said = shell.ok("down", "--i-am-human")
    assert f"(pid {pid}) has ended" in said
    assert not running(pid)
    assert "said --i-am-human" in Path(shell.place.home.log).read_text()


def test_down_at_a_terminal_means_off_until_up(shell: Shell) -> None:
    shell.place.start()
    pid = shell.place.pid()
    ended = shell.run("down", terminal=80)
    assert ended.status == 0
    assert "coterie is off" in ended.out
    assert not running(pid)
    for refused in shell.all(["peers"], ["status"], ["inbox"]):
        assert refused.status == 3
        assert "switched off" in refused.err
        assert "coterie up" in refused.err
    refused = shell.run("up")
    assert refused.status == 1
    assert "coterie up --i-am-human" in refused.err
    assert shell.run("peers").status == 3
    assert shell.json("up", "--i-am-human")["was_off"] is True
    assert shell.run("peers").status == 0


@pytest.mark.parametrize("word", ["down", "kill-broker"])
def test_down_without_a_daemon_is_off_all_the_same_and_says_so(shell: Shell, word: str) -> None:
    assert "its daemon was not running" in shell.ok(word)
    assert os.listdir(shell.place.home.folder) == ["switched-off"]
    assert "its daemon was not running" in shell.ok(word)
    assert shell.run("peers").status == 3


def test_an_agent_cannot_switch_coterie_off(daemon: Place) -> None:
    ran = daemon.named("api").run(*_coterie("down", "--i-am-human"))
    assert ran["status"] == 1
    assert "ask the person to type: coterie down" in ran["stderr"]
    assert running(daemon.pid())


def test_json_says_what_happened(shell: Shell) -> None:
    up = shell.json("up")
    assert up == {"up": True, "started": True, "was_off": False, "pid": shell.place.pid()}
    assert shell.json("down", "--i-am-human") == {"down": True, "was_running": True, "pid": up["pid"]}
    assert shell.json("down") == {"down": True, "was_running": False, "pid": None}


def test_a_daemon_that_does_not_leave_is_named(shell: Shell) -> None:
    shell.place.start()
    pid = shell.place.pid()
    stuck = "import coterie.cli.power as power; power.END_S = 0.05; power._is_free = lambda place: False"
    ended = shell.after(stuck, "down", "--i-am-human")
    assert ended.status == 3
    assert f"the daemon (pid {pid}) has not ended" in ended.err


def test_a_mark_that_is_not_ours_is_not_followed(shell: Shell) -> None:
    victim = shell.place.root / "victim"
    victim.write_text("x")
    os.symlink(victim, shell.place.home.off)
    ended = shell.run("up", "--i-am-human")
    assert ended.status == 3
    assert "is a symbolic link" in ended.err
    assert victim.exists()


def _coterie(*arguments: str) -> list[str]:
    from cli.detached import COTERIE

    return [COTERIE, *arguments]
