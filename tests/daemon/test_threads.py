"""The threads of Codex as peers, with a stand-in for its app-server; adapters, daemon and sockets are real."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appserver import Control, command, thread
from conftest import Place, wait_for
from coterie.ids import NUDGE
from coterie.limits import DRAIN_S
from coterie.testing.agent import Agent

EAGER = "import coterie.daemon.search as search; search.APP_SERVER_RETRIES_S = (0.05, 0.1, 0.5)"


class Codex:
    """An app-server with one adapter below it, and threads."""

    def __init__(self, place: Place, *threads: dict[str, Any], words: tuple[str, ...] = ("app-server",)) -> None:
        self.place = place
        self.home = place.root / "home-of-codex"
        self.home.mkdir(exist_ok=True)
        adapter, environ = command(place.root, *words)
        environ["LOADED"] = json.dumps(threads)
        self.agent: Agent = place.raw_agent(client="codex-mcp-client", inbox=False, adapter=adapter, env=environ)
        self.agent.initialize()
        self.control = Control(self.home) if "app-server" in words else None

    def peers(self) -> dict[str, dict[str, Any]]:
        """The peers that are listed, by name."""
        listed = self.place.connect().call("peers.list", {"scope": "machine"})["peers"]
        return {peer["name"]: peer for peer in listed if peer["kind"] == "codex"}

    def wait(self, *names: str) -> dict[str, dict[str, Any]]:
        wait_for(lambda: sorted(self.peers()) == sorted(names), f"{names} are here, not {list(self.peers())}")
        return self.peers()

    def started(self) -> list[tuple[str, str]]:
        """The turns that were begun: thread and text."""
        assert self.control
        return [(turn["threadId"], turn["input"][0]["text"]) for turn in self.control.asked("turn/start")]

    def wait_started(self, count: int) -> list[tuple[str, str]]:
        wait_for(lambda: len(self.started()) >= count, f"{count} turns begin")
        return self.started()


@pytest.fixture
def eager(place: Place) -> Place:
    place.start(patch=EAGER)
    return place


@pytest.fixture
def codex(eager: Place) -> Iterator[Codex]:
    codex = Codex(eager, thread("t-1", "/web"))
    yield codex
    assert codex.control
    codex.control.close()


def control(codex: Codex) -> Control:
    assert codex.control
    return codex.control


@pytest.mark.promise("R2")
def test_a_thread_is_a_peer_before_its_first_prompt_and_is_woken(codex: Codex, eager: Place) -> None:
    peer = codex.wait("web-codex")["web-codex"]
    assert (peer["state"], peer["cwd"]) == ("loaded", "/web")
    wait_for(lambda: codex.peers()["web-codex"]["reach"] == "nudge", "it can be woken")
    said = eager.named("api").tool("send_message", to="web-codex", message="the secret of the sea")
    assert "began a turn" in said
    ((session, text),) = codex.wait_started(1)
    assert session == "t-1"
    assert NUDGE in text
    assert re.match(r"m_\w+", said)[0] in text  # type: ignore[index]
    assert "secret" not in text
    # Nothing that could change the thread, and no subscription.
    assert set(control(codex).asked("turn/start")[0]) == {"threadId", "input"}
    assert control(codex).asked("thread/resume") == []


def test_the_first_call_makes_it_live_and_brings_the_mail(codex: Codex, eager: Place) -> None:
    codex.wait("web-codex")
    eager.named("api").tool("send_message", to="web-codex", message="the secret of the sea")
    said = codex.agent.tool("check_messages", meta={"threadId": "t-1", "sessionId": "t-1"})
    assert "| the secret of the sea" in said
    assert codex.wait("web-codex")["web-codex"]["state"] == "live"


@pytest.mark.promise("R2")
def test_a_busy_thread_is_told_in_the_middle_of_its_turn(codex: Codex, eager: Place) -> None:
    codex.wait("web-codex")
    control(codex).do("load", **thread("t-1", "/web", status={"type": "active", "activeFlags": []}))
    said = eager.named("api").tool("send_message", to="web-codex", message="hello")
    assert "in the middle of its turn" in said


def test_two_windows_in_one_folder_are_two_peers_each_woken_by_itself(codex: Codex, eager: Place) -> None:
    codex.wait("web-codex")
    control(codex).tell("thread/started", thread=thread("t-2", "/web"))
    control(codex).do("load", **thread("t-2", "/web"))
    codex.wait("web-codex", "web-codex-2")
    api = eager.named("api")
    api.tool("send_message", to="web-codex-2", message="for the second")
    assert [session for session, _ in codex.wait_started(1)] == ["t-2"]
    api.tool("send_message", to="web-codex", message="for the first")
    assert [session for session, _ in codex.wait_started(2)] == ["t-2", "t-1"]


def test_a_thread_that_is_unloaded_is_away_and_its_mail_waits_until_it_is_back(codex: Codex, eager: Place) -> None:
    codex.wait("web-codex")
    control(codex).do("unload", id="t-1")
    control(codex).status("t-1", "notLoaded")
    codex.wait()
    said = eager.named("api").tool("send_message", to="web-codex", message="later")
    assert "(away)" in said
    assert codex.started() == []
    # A resume is told by nothing but the status of the thread.
    control(codex).do("load", **thread("t-1", "/web"))
    control(codex).status("t-1", "idle")
    codex.wait("web-codex")
    assert [session for session, _ in codex.wait_started(1)] == ["t-1"]


def test_a_sub_agent_is_no_peer_gets_headings_only_and_is_not_kept_loaded(codex: Codex, eager: Place) -> None:
    codex.wait("web-codex")
    main = {"threadId": "t-1", "sessionId": "t-1"}
    codex.agent.tool("set_summary", name="web", meta=main)
    control(codex).do("load", **thread("t-9", "/web", parentThreadId="t-1", threadSource="subagent"))
    control(codex).status("t-9", "idle")
    wait_for(lambda: control(codex).asked("thread/unsubscribe") == [{"threadId": "t-9"}], "the child is let go")
    child = Codex(eager, words=("child",))
    eager.named("api").tool("send_message", to="web", message="the secret of the sea")
    said = child.agent.tool("list_peers", meta={"threadId": "t-9", "sessionId": "t-1"})
    assert said.startswith("You are web ")
    assert "secret of the sea" in said.rpartition("- m_")[2], "the heading"
    assert "| the secret" not in said
    child.agent.close()
    assert codex.wait("web")["web"]["state"] == "live", "the end of the sub-agent's adapter is not the session's"
    assert "| the secret of the sea" in codex.agent.tool("check_messages", meta=main)


def test_the_client_of_an_older_version_names_the_childs_thread_only(codex: Codex, eager: Place) -> None:
    codex.wait("web-codex")
    control(codex).do("load", **thread("t-9", "/web", parentThreadId="t-1", threadSource="subagent"))
    control(codex).status("t-9", "idle")
    wait_for(lambda: control(codex).asked("thread/unsubscribe") == [{"threadId": "t-9"}], "the child is let go")
    said = codex.agent.tool("list_peers", meta={"threadId": "t-9"})
    assert said.startswith("You are web-codex ")
    codex.wait("web-codex")


def test_threads_that_the_client_makes_for_itself_are_nobody(eager: Place) -> None:
    own = [thread("t-1", ephemeral=True), thread("t-2", threadSource="memory_consolidation"), thread("t-3", cwd="?")]
    codex = Codex(eager, *own, thread("t-4", "/real"))
    codex.wait("real-codex")
    control(codex).tell("thread/closed", threadId="t-1")
    codex.wait("real-codex")


def test_an_app_server_that_is_lost_takes_its_threads_along_and_brings_them_back(codex: Codex) -> None:
    codex.wait("web-codex")
    state = "SELECT state FROM peers WHERE name = 'web-codex' AND state = 'away'"
    control(codex).do("refuse", initialize="too busy")
    control(codex).do("drop")
    wait_for(lambda: codex.place.row(state), "the thread is away")
    wait_for(lambda: len(control(codex).asked("initialize")) >= 2, "it is tried again")


def test_an_app_server_that_dropped_us_is_found_again(codex: Codex) -> None:
    codex.wait("web-codex")
    control(codex).do("drop")
    wait_for(lambda: len(control(codex).asked("initialize")) == 2, "it is connected to again")
    assert codex.wait("web-codex")["web-codex"]["state"] == "loaded"


def test_a_new_daemon_finds_the_threads_again(codex: Codex, eager: Place) -> None:
    before = codex.wait("web-codex")["web-codex"]["id"]
    wait_for(lambda: eager.row("SELECT endpoint FROM peers WHERE id = ?", before), "it is stored")
    eager.kill()
    assert codex.wait("web-codex")["web-codex"]["id"] == before


def test_an_app_server_that_stands_still_does_not_keep_a_daemon_from_leaving(codex: Codex, eager: Place) -> None:
    codex.wait("web-codex")
    stopped = codex.agent.process.pid
    os.kill(stopped, signal.SIGSTOP)
    try:
        began = time.monotonic()
        os.kill(eager.pid(), signal.SIGTERM)
        assert eager.daemons[0].wait(20) == 0
        assert time.monotonic() - began < DRAIN_S, "it waited for the app-server"
    finally:
        os.kill(stopped, signal.SIGCONT)


def test_an_adapter_that_no_thread_owns_is_no_peer(eager: Place) -> None:
    codex = Codex(eager)
    wait_for(lambda: control(codex).asked("thread/loaded/list"), "the app-server is asked")
    assert codex.peers() == {}


def test_what_runs_one_prompt_is_over_when_it_ends(eager: Place) -> None:
    codex = Codex(eager, words=("exec",))
    codex.agent.tool("set_summary", name="once", meta={"threadId": "t-1", "sessionId": "t-1"})
    assert codex.peers()["once"]["reach"] == "tools"
    codex.agent.close()
    wait_for(lambda: eager.row("SELECT state FROM peers WHERE name = 'once'")[0] == "ended", "it has ended")


def test_a_window_that_keeps_its_threads_itself_is_told_by_its_queue(eager: Place) -> None:
    codex = Codex(eager, words=())
    codex.agent.tool("set_summary", name="alone", meta={"threadId": "t-1", "sessionId": "t-1"})
    assert eager.row("SELECT endpoint FROM peers WHERE name = 'alone'")[0] == str(codex.home)
    # Its program is Python, which has no queue; what it says of that is what the sender hears.
    said = eager.named("api").tool("send_message", to="alone", message="hello")
    assert "codex queue failed" in said


WINDOW = """
import subprocess, sys
for line in sys.stdin:
    hook = [sys.argv[1], "-P", "-m", "coterie.hooks.main", "codex"]
    print(subprocess.run(hook, input=line, capture_output=True, text=True), flush=True)
"""


class Window:
    """A window that keeps its threads itself, and runs hooks."""

    def __init__(self, place: Place) -> None:
        program, environ = command(place.root)
        start = [program[0], "-c", WINDOW, sys.executable]
        self.process = subprocess.Popen(
            start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=place.environ | environ, text=True
        )

    def hook(self, event: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        told = {"hook_event_name": event, "session_id": "t-1", "cwd": "/", "prompt": "hello"}
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def close(self) -> None:
        self.process.communicate()


def test_a_window_that_only_hooks_told_of_goes_with_its_process_and_comes_with_any_event(eager: Place) -> None:
    window = Window(eager)
    peer = "SELECT state, endpoint FROM peers WHERE kind = 'codex'"
    try:
        assert "You are" in window.hook("SessionStart")
        wait_for(lambda: eager.row(peer) == ("loaded", str(eager.root / "home-of-codex")), "it is here")
        eager.kill()
        eager.start()
        wait_for(lambda: eager.row(peer)[0] == "away", "a new daemon knows no process of it")
        window.hook("UserPromptSubmit")
        wait_for(lambda: eager.row(peer)[0] == "loaded", "it is here again")
    finally:
        window.close()
    wait_for(lambda: eager.row(peer)[0] == "away", "it has gone with its window")


def test_a_window_whose_start_went_by_before_there_was_a_daemon_is_known_by_a_later_event(eager: Place) -> None:
    window = Window(eager)
    try:
        window.hook("SessionEnd")
        assert eager.row("SELECT count(*) FROM peers WHERE kind = 'codex'")[0] == 0
        window.hook("PostToolUse")
        assert eager.row("SELECT count(*) FROM peers WHERE kind = 'codex'")[0] == 1
    finally:
        window.close()


def test_unheard_of_words_harm_nobody(codex: Codex, tmp_path: Path) -> None:
    codex.wait("web-codex")
    for text in ("nonsense", "[]", '{"id": "x", "result": 1}', '{"id": 7, "method": "item/tool/call", "params": {}}'):
        control(codex).do("raw", text=text)
    control(codex).tell("thread/started", thread=7)
    control(codex).tell("thread/status/changed", threadId=None, status=None)
    control(codex).tell("thread/status/changed", threadId="t-77", status="idle")
    control(codex).tell("thread/status/changed", threadId="t-1", status={"type": "active"})
    control(codex).tell("thread/started", thread=thread("t-2", "/other"))
    codex.wait("web-codex", "other-codex")
