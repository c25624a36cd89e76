"""coterie status."""

from __future__ import annotations

import os
import signal

from cli.conftest import Shell


def test_without_a_daemon_it_says_how_to_start_one_and_starts_none(shell: Shell) -> None:
    ended = shell.run("status")
    assert (ended.status, ended.out) == (3, "")
    assert ended.err == "coterie: the daemon is not running\ncoterie: hint: coterie up starts it\n"
    assert os.listdir(shell.place.home.folder) == []


def test_it_says_where_everything_is_and_how_much_there_is(shell: Shell) -> None:
    shell.ok("send", "me", "a note")
    said = shell.ok("status")
    home = shell.place.home
    assert f"running, pid {shell.place.pid()}, for " in said
    for line in (f"home      {home.folder}", f"socket    {home.socket}", f"log       {home.log}", "messages  1 queued"):
        assert f"{line}\n" in said
    assert f"database  {home.database} (SQLite 3." in said


def test_json_has_stable_keys(shell: Shell) -> None:
    assert set(shell.json("status")) == {"error"}
    shell.place.start()
    assert set(shell.json("status")) >= {
        "running", "pid", "version", "protocol", "up_s", "home", "socket", "database", "log", "sqlite", "peers",
        "messages", "trouble",
    }  # fmt: skip


def test_a_daemon_that_is_stopped_is_told_apart_from_one_that_is_not_there(shell: Shell) -> None:
    shell.place.start()
    pid = shell.place.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        ended = shell.after("import coterie.limits; coterie.limits.CALL_S = 0.1", "status")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert ended.status == 3
    assert f"(its pid is {pid})" in ended.err
    assert f"kill -CONT {pid}" in ended.err


def test_inside_a_sandbox_it_sends_the_agent_to_its_tools_and_starts_nothing(shell: Shell) -> None:
    shell.place.start()
    shell.place.kill()
    sandbox = (
        "import socket\n"
        "def forbidden(*_): raise PermissionError(1, 'Operation not permitted')\n"
        "socket.socket.connect = forbidden"
    )
    for command in (["status"], ["send", "bob", "hi"]):
        ended = shell.after(sandbox, *command)
        assert ended.status == 3
        assert "it is in a sandbox" in ended.err
        assert "use the coterie tools (list_peers, send_message, check_messages)" in ended.err
    assert shell.run("status").status == 3


def test_a_home_that_others_may_enter_is_refused_with_the_fix(shell: Shell) -> None:
    os.chmod(shell.place.home.folder, 0o755)
    ended = shell.run("peers")
    assert ended.status == 3
    assert f"hint: chmod 700 {shell.place.home.folder}" in ended.err


def test_mail_that_waits_is_seen_here_too(shell: Shell) -> None:
    api = shell.peer("api")
    assert "unread" not in shell.ok("status")
    me = shell.json("peers")["me"]["id"]
    api.send("for you", to=me)
    shell.ok("send", "api", "for api")
    found = shell.json("status")["unread"]
    assert (found["messages"], found["peers"], found["yours"]) == (2, 2, 1)
    assert "unread    2 messages of 2 peers, the oldest for 0s; 1 for you: coterie inbox\n" in shell.ok("status")
