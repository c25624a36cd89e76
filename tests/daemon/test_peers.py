"""Who is who: registration, resume, clear, fork, the same id twice, names, scopes, human or agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Place, running, wait_for
from coterie import ids
from coterie.errors import HumanOnly, Refused
from coterie.testing.agent import Agent


def me(agent: Agent) -> str:
    """The first words of a list: the name and id of who asks."""
    return agent.tool("list_peers").split(" (")[0] + " " + agent.tool("list_peers").split("(")[1].split(",")[0]


def state_of(place: Place, name: str) -> str:
    return str(place.row("SELECT state FROM peers WHERE name = ?", name)[0])


def cards(place: Place, **params: Any) -> dict[str, dict[str, Any]]:
    """Everybody, by name, as a program of this process sees them."""
    connection = place.connect()
    return {card["name"]: card for card in connection.call("peers.list", params)["peers"]}


# --- joining ---------------------------------------------------------------------------------------------------


def test_a_health_check_is_nobody(daemon: Place) -> None:
    probe = daemon.agent()  # Claude Code without a session id: `claude mcp list`.
    assert len(probe.request("tools/list")["tools"]) == 4
    probe.close()
    assert daemon.row("SELECT count(*) FROM peers")[0] == 0


def test_a_session_is_known_from_initialized_on(daemon: Place) -> None:
    daemon.agent("s-1")
    wait_for(lambda: daemon.row("SELECT count(*) FROM peers WHERE state = 'live'")[0] == 1, "it is listed")


def test_a_resume_is_the_same_peer_and_a_new_session_is_not(daemon: Place) -> None:
    first = daemon.named("web")
    was = me(first)
    first.kill()
    wait_for(lambda: state_of(daemon, "web") == "away", "web is away")
    assert me(daemon.agent("session-web")) == was
    assert me(daemon.agent("session-other")) != was


def test_an_adapter_that_is_killed_leaves_its_session_alive_and_comes_back_to_it(daemon: Place) -> None:
    web = daemon.named("web")
    os.kill(web.pids["adapter"], 9)
    web.wait(lambda event: "adapter_ended" in event, "the adapter ends")
    wait_for(lambda: cards(daemon)["web"]["reach"] == "none", "nothing carries for it")
    assert state_of(daemon, "web") == "live"


def test_clear_gives_a_new_session_id_to_the_same_peer(daemon: Place) -> None:
    web = daemon.named("web")
    was = me(web)
    web.hook("SessionEnd", reason="clear")
    web.session = "session-after-clear"
    web.hook("SessionStart", source="clear")
    assert me(web) == was
    web.kill()
    wait_for(lambda: state_of(daemon, "web") == "away", "web is away")
    assert me(daemon.agent("session-after-clear")) == was


def test_a_fork_is_a_new_peer_and_takes_the_process_along(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web")
    was = me(web)
    web.session = "session-fork"
    web.hook("SessionStart", source="fork")
    assert me(web) != was
    wait_for(lambda: state_of(daemon, "web") == "away", "the session that was forked is left")
    api.tool("send_message", to=me(web).split()[-1], message="to the fork")
    web.wait_inbox("to the fork")


def test_a_resume_inside_a_process_goes_by_its_id(daemon: Place) -> None:
    old = daemon.named("old")
    was = me(old)
    old.kill()
    wait_for(lambda: state_of(daemon, "old") == "away", "old is away")
    api, web = daemon.named("api"), daemon.named("web")
    api.tool("send_message", to="old", message="kept for old")
    web.session = "session-old"
    web.hook("SessionStart", source="resume")
    assert me(web) == was
    web.wait_inbox("kept for old")
    assert state_of(daemon, "web") == "away"


def test_the_same_session_alive_twice_the_newest_gets_the_mail_and_the_older_is_told(daemon: Place) -> None:
    api, older = daemon.named("api"), daemon.named("web")
    newer = daemon.agent("session-web")
    assert me(newer) == me(older)
    api.tool("send_message", to="web", message="for the newest")
    newer.wait_inbox("for the newest")
    assert not older.inbox
    assert "this session was resumed in another process" in older.tool("list_peers")
    daemon.kill()  # Under the next daemon too: the older does not take the mail back.
    assert "Nobody else" not in older.tool("list_peers")
    newer.tool("list_peers")
    api.tool("send_message", to="web", message="still for the newest")
    newer.wait_inbox("still for the newest")
    assert not older.inbox


def test_when_the_newer_of_two_ends_the_older_has_the_session_again(daemon: Place) -> None:
    api, older = daemon.named("api"), daemon.named("web")
    newer = daemon.agent("session-web")
    newer.tool("list_peers")
    assert "this session was resumed" in older.tool("list_peers")
    newer.kill()
    wait_for(lambda: cards(daemon)["web"]["pid"] == older.pids["pid"], "the older has it")
    api.tool("send_message", to="web", message="for whoever is left")
    older.wait_inbox("for whoever is left")
    assert "this session was resumed" not in older.tool("list_peers")


def test_codex_threads_of_one_process_are_peers_of_their_own(daemon: Place) -> None:
    codex = daemon.agent(client="codex-mcp-client", inbox=False)
    assert daemon.row("SELECT count(*) FROM peers")[0] == 0  # No thread owns it yet.
    one = codex.tool("list_peers", meta={"threadId": "t-1"}).splitlines()[0]
    assert codex.tool("list_peers", meta={"threadId": "t-1"}).splitlines()[0] == one
    assert codex.tool("list_peers", meta={"threadId": "t-2"}).splitlines()[0] != one


def test_sessions_of_an_unknown_agent_end_with_their_adapter(daemon: Place) -> None:
    other = daemon.agent(client="something", inbox=False)
    other.tool("set_summary", name="other")
    other.command(eof=True)
    other.wait(lambda event: "adapter_ended" in event, "the adapter ends")
    wait_for(lambda: state_of(daemon, "other") == "ended", "it has ended")


def test_who_died_while_no_daemon_ran_is_away_afterwards(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web")
    os.kill(daemon.pid(), 19)  # Stopped, so that it cannot see the end of web.
    web.kill()
    daemon.kill()
    assert "web | " not in api.tool("list_peers")
    assert state_of(daemon, "web") == "away"


def test_a_recycled_pid_is_not_the_process_that_had_it(daemon: Place) -> None:
    """The start time decides: a row that claims another start under a living pid is somebody who is gone."""
    api = daemon.named("api")
    daemon.named("web")
    os.kill(daemon.pid(), 19)
    import sqlite3

    with sqlite3.connect(daemon.home.database) as connection:
        connection.execute("UPDATE peers SET agent_start = 'another:1', adapter_start = 'another:1' WHERE name = 'web'")
    connection.close()
    pid = daemon.pid()
    for agent in daemon.agents:
        os.kill(agent.pids["adapter"], 19)  # Their own registration would correct it.
    os.kill(pid, 9)
    wait_for(lambda: not running(pid), "it is gone")
    daemon.start()
    wait_for(lambda: state_of(daemon, "web") == "away", "web is noticed to be gone")
    os.kill(api.pids["adapter"], 18)
    assert state_of(daemon, "api") == "live"
    for agent in daemon.agents:
        os.kill(agent.pids["adapter"], 18)


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("G4")
def test_a_name_that_is_taken_is_refused_with_a_free_one(daemon: Place) -> None:
    daemon.named("web")
    refused = daemon.named("api").tool("set_summary", name="WEB")
    assert "the name 'WEB' is taken by p_" in refused
    assert "free: WEB-2" in refused


@pytest.mark.parametrize("name", ["all", "me", "role:x", "a b", "p_abc", "x" * 33, "ünal", "a@b"])
def test_a_name_that_would_mean_something_else_is_refused(daemon: Place, name: str) -> None:
    assert "Not done" in daemon.named("api").tool("set_summary", name=name)


def test_a_summary_that_is_too_long_is_refused_and_nothing_else_is_set(daemon: Place) -> None:
    web = daemon.named("web")
    assert "Not done: the summary has 301 characters" in web.tool("set_summary", name="other", summary="x" * 301)
    assert "You are web" in web.tool("list_peers")


@pytest.mark.promise("G4")
def test_a_summary_is_shown_to_others_on_one_line_and_harmless(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web")
    web.tool("set_summary", summary="two\nlines \x1b[31mred")
    assert "says of itself: two lines [U+001B][31mred" in api.tool("list_peers")


# --- scopes ------------------------------------------------------------------------------------------------------


def git(*arguments: str, cwd: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1"}
    names = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    subprocess.run(["git", *names, *arguments], cwd=cwd, env=environ, check=True, capture_output=True)


@pytest.mark.promise("G1")
def test_scopes_know_worktrees_and_subdirectories(daemon: Place) -> None:
    main, other = daemon.root / "main", daemon.root / "other"
    (main / "sub").mkdir(parents=True)
    other.mkdir()
    git("init", "-q", cwd=main)
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=main)
    git("worktree", "add", "-q", "../tree", cwd=main)
    folders = {"top": main, "sub": main / "sub", "tree": daemon.root / "tree", "alone": other, "twin": main}
    agents = {name: daemon.named(name, cwd=str(folder)) for name, folder in folders.items()}

    def seen(by: str, scope: str) -> set[str]:
        text = agents[by].tool("list_peers", scope=scope)
        return {line.split(" | ")[0][2:] for line in text.splitlines() if line.startswith("- ")}

    assert seen("top", "repo") == {"sub", "tree", "twin"}
    assert seen("tree", "repo") == {"top", "sub", "twin"}
    assert seen("top", "directory") == {"twin"}
    assert seen("alone", "repo") == set()
    assert seen("alone", "machine") == {"top", "sub", "tree", "twin"}
    agents["sub"].tool("send_message", to="repo", message="to the repository")
    for name in ("top", "tree", "twin"):
        agents[name].wait_inbox("to the repository")
    assert not agents["alone"].inbox


def test_an_unknown_scope_is_refused_with_the_known_ones(daemon: Place) -> None:
    refused = daemon.named("api").tool("list_peers", scope="planet")
    assert "one of: machine, directory, repo, network" in refused


# --- human or agent --------------------------------------------------------------------------------------------------

SEND = """
import json, os, sys
from coterie import client, ids
from coterie.errors import CoterieError
try:
    daemon = client.connect("cli", start=False)
    print(json.dumps(daemon.call(sys.argv[1], json.loads(sys.argv[2]))))
except CoterieError as error:
    print(json.dumps(error.to_wire()))
"""


def call(agent: Agent, method: str, params: dict[str, Any], *wrapper: str, env: dict[str, str] | None = None) -> Any:
    """Call the daemon as a program that the agent runs in its shell."""
    ran = agent.run(*wrapper, sys.executable, "-P", "-c", SEND, method, json.dumps(params), env=env or {})
    assert ran["status"] == 0, ran
    return json.loads(ran["stdout"])


def as_person(place: Place, method: str, params: dict[str, Any]) -> Any:
    """Call the daemon as a program below no agent: its parent is the first process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork():
            os._exit(0)
        os.setsid()
        os.dup2(writer, 1)
        os.execve(sys.executable, [sys.executable, "-P", "-c", SEND, method, json.dumps(params)], place.environ)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader) as said:
        return json.loads(said.read())


@pytest.mark.promise("C2")
def test_what_an_agents_shell_sends_bears_the_agents_name(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web")
    call(web, "messages.send", {"id": ids.new_message_id(), "to": "api", "text": "from the shell"})
    assert '"web" (claude, this device)' in api.wait_inbox("from the shell")[1]


def test_a_detached_child_of_an_agent_is_still_the_agent(daemon: Place) -> None:
    daemon.named("api")
    web = daemon.named("web")
    answer = call(web, "peers.list", {}, "setsid", "--fork", "--wait")
    assert answer["me"]["name"] == "web"


def test_an_agents_marks_are_enough_without_ancestry(daemon: Place) -> None:
    """The way of a process whose parents are gone: its environment still has the session id."""
    daemon.named("web")
    marked = Place.__new__(Place)
    marked.environ = {**daemon.environ, "CLAUDECODE": "1", "CLAUDE_CODE_SESSION_ID": "session-web"}
    assert as_person(marked, "peers.list", {})["me"]["name"] == "web"
    marked.environ["CLAUDE_CODE_SESSION_ID"] = "unknown"
    refused = as_person(marked, "messages.send", {"id": ids.new_message_id(), "to": "web", "text": "x"})
    assert "not registered" in refused["message"]


def test_a_person_is_a_peer_that_agents_can_answer(daemon: Place) -> None:
    web = daemon.named("web")
    sent = as_person(daemon, "messages.send", {"id": ids.new_message_id(), "to": "web", "text": "from a person"})
    _, line = web.wait_inbox("from a person")
    assert "(person, this device)" in line
    assert "it grants no permission" in line
    answered = web.tool("send_message", reply_to=sent["messages"][0]["id"], message="understood")
    assert "the person sees it with coterie inbox" in answered
    mail = as_person(daemon, "mail.take", {"call": ids.new_token(), "check": True, "terminal": True})
    assert [letter["text"] for letter in mail["letters"]] == ["understood"]


@pytest.mark.promise("A3")
def test_a_humans_verbs_are_refused_below_an_agent(daemon: Place) -> None:
    web = daemon.named("web")
    for method, params in (("daemon.down", {"i_am_human": True}), ("peers.rename_other", {"peer": "web", "name": "x"})):
        refused = call(web, method, params)
        assert refused["data"]["kind"] == HumanOnly.kind()
        assert "ask the person to type: coterie" in refused["data"]["hint"]
    assert not os.path.exists(daemon.home.off)


def test_a_humans_verb_needs_a_terminal_or_the_word(daemon: Place) -> None:
    refused = as_person(daemon, "daemon.down", {})
    assert "--i-am-human" in refused["data"]["hint"]
    assert as_person(daemon, "daemon.down", {"i_am_human": True})["leaving"] is True
    assert os.path.exists(daemon.home.off)
    assert "--i-am-human" in Path(daemon.home.log).read_text()


def test_a_client_of_this_process_is_the_session_of_its_ancestor(daemon: Place) -> None:
    """This test's process becomes the agent of an adapter, as far as the daemon can see."""
    connection = daemon.connect()
    connection.call("peers.register", {"kind": "other", "cwd": "/", "agent_pid": os.getpid()})
    with pytest.raises(Refused):
        connection.call("daemon.down", {"i_am_human": True})
