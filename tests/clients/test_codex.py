"""Codex: its windows share an app-server, by which the daemon finds and wakes their threads; `codex exec` has hooks."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from clients.agents import Codex
from clients.entries import ANSWER, RESULT, USER
from clients.lab import BIN, Lab
from clients.processes import wait_until
from coterie.agents import CODEX
from coterie.ids import NUDGE

WORK = 'CALL:exec_command:{"cmd": "echo worked"}'
BYPASS = "--dangerously-bypass-hook-trust"
UNLOADED_S = 120.0
"""How long a thread may stay loaded without a window. Measured: 60 s."""


def add_hooks(lab: Lab) -> None:
    """Our hook for every event that we ask for."""
    hook = {"hooks": [{"type": "command", "command": f"{BIN / 'coterie-hook'} codex"}]}
    hooks = {"hooks": {event: [hook] for event in CODEX.hook_events}}
    (lab.home / ".codex" / "hooks.json").write_text(json.dumps(hooks))


@pytest.fixture
def bob(coterie: Lab) -> Codex:
    """An idle window without hooks; its thread is a peer, though it was never asked anything."""
    bob = coterie.codex("bob")
    bob.start_tui()
    coterie.wait_peer(bob)
    return bob


@pytest.fixture
def hooked(coterie: Lab) -> Codex:
    """An idle window whose hooks are trusted."""
    add_hooks(coterie)
    bob = coterie.codex("bob")
    bob.start_and_trust()
    coterie.wait_peer(bob)
    return bob


def in_users_role(session: Codex) -> str:
    return "\n".join(entry.text for entry in session.given() if entry.kind == USER)


def test_an_idle_window_is_woken_before_its_first_prompt_and_answers(coterie: Lab, bob: Codex) -> None:
    assert coterie.wait_peer(bob)["state"] == "loaded"
    bob.when(NUDGE, bob.call("coterie", "check_messages"))
    bob.answers("question-1", "answer-1")
    coterie.send("bob-codex", "question-1")
    coterie.wait_message("question-1", "acknowledged")
    assert [len(bob.frames()), bob.count_seen(NUDGE)] == [1, 1]
    assert [entry.kind for entry in bob.given() if "question-1" in entry.text][:1] == [RESULT]
    assert "question-1" not in in_users_role(bob), "a nudge has no text"
    assert coterie.wait_peer(bob)["state"] == "live"


def test_a_busy_window_is_told_within_its_turn(coterie: Lab, bob: Codex) -> None:
    work = bob.when("work-1", f"{WORK}\nSAY:worked").held()
    bob.ask("work-1")
    bob.when(NUDGE, bob.call("coterie", "check_messages") + "\nSAY:worked")
    bob.answers("question-2", "answer-2", then="SAY:worked")
    coterie.send("bob-codex", "question-2")
    assert not bob.saw(NUDGE)
    work.set()
    coterie.wait_message("question-2", "acknowledged")
    assert ANSWER not in [entry.kind for entry in bob.requests()[-1].talk.entries], "it came within the turn"
    assert len(bob.frames()) == 1


@pytest.mark.promise("R2", "T3")
def test_with_hooks_the_text_comes_with_the_nudges_own_turn(coterie: Lab, hooked: Codex) -> None:
    hooked.answers("question-3", "answer-3")
    coterie.send("bob-codex", "question-3")
    coterie.wait_message("question-3", "acknowledged")
    first = hooked.requests()[0]
    assert NUDGE in first.text()
    assert "| question-3" in first.text()
    assert "You are bob-codex" in first.text()
    assert "question-3" not in in_users_role(hooked)
    hooked.settle()
    assert len(hooked.frames()) == 1


@pytest.mark.promise("R2")
def test_with_hooks_a_busy_window_gets_the_text_with_its_next_tool_result(coterie: Lab, hooked: Codex) -> None:
    work = hooked.when("work-2", f"{WORK}\nSAY:worked").held()
    hooked.ask("work-2")
    hooked.answers("question-4", "answer-4", then="SAY:worked")
    coterie.send("bob-codex", "question-4")
    work.set()
    coterie.wait_message("question-4", "acknowledged")
    hooked.settle()
    assert [len(hooked.frames()), hooked.count_seen(NUDGE)] == [1, 0]


def test_two_windows_on_one_app_server_are_two_peers_each_woken_by_itself(coterie: Lab, bob: Codex) -> None:
    ann = coterie.codex("ann")
    ann.start_tui()
    coterie.wait_peer(ann)
    coterie.send("ann-codex", "for ann")
    ann.wait_saw(NUDGE)
    assert not bob.saw(NUDGE)
    coterie.send("bob-codex", "for bob")
    bob.wait_saw(NUDGE)
    assert [ann.count_seen(NUDGE), bob.count_seen(NUDGE)] == [1, 1]


def test_after_compact_it_is_told_again(coterie: Lab, hooked: Codex) -> None:
    told = coterie.send("bob-codex", "note-1")
    coterie.wait_message("note-1", "shown")
    hooked.screen.wait_for("Worked for")  # In the middle of a turn there is no /compact.
    hooked.enter("/compact")
    hooked.screen.wait_for("[Cc]ompacted")
    hooked.ask("what now")
    news = hooked.requests()[-1].text()
    assert "You are bob-codex" in news
    assert f"- {told} from" in news


def test_the_threads_of_a_sub_agent_are_its_peers_and_get_no_text(coterie: Lab, hooked: Codex) -> None:
    child = hooked.call("coterie", "list_peers") + "\nSAY:child-done"
    spawn = "CALL:multi_agent_v1.spawn_agent:" + json.dumps({"message": f"task-1 {child}"})
    held = hooked.when("task-1 CALL", child).held()
    hooked.ask(f"{spawn}\nSAY:spawned")
    hooked.wait_saw("task-1 CALL")
    assert len([peer for peer in coterie.peers() if peer["kind"] == "codex"]) == 1
    held.set()
    hooked.wait_saw("child-done")
    assert [peer["name"] for peer in coterie.peers() if peer["kind"] == "codex"] == ["bob-codex"]


def test_without_a_window_it_is_away_in_a_minute_and_a_resume_brings_its_mail(coterie: Lab, hooked: Codex) -> None:
    hooked.ask("SAY:hello")
    hooked.wait_idle()
    thread = hooked.thread_id()
    hooked.screen.close()
    wait_until(lambda: not [p for p in coterie.peers() if p["kind"] == "codex"], UNLOADED_S, "the thread is unloaded")
    coterie.send("bob-codex", "question-5")
    hooked.answers("question-5", "answer-5")
    hooked.start_tui("resume", thread)
    coterie.wait_message("question-5", "acknowledged")
    assert len(hooked.frames()) == 1


def test_a_daemon_that_is_killed_finds_the_threads_again(coterie: Lab, bob: Codex) -> None:
    before = coterie.wait_peer(bob)["id"]
    pid = int(json.loads(coterie.coterie("status", "--json").stdout)["pid"])
    assert b"coterie.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()
    os.kill(pid, signal.SIGKILL)
    coterie.wait_ended(pid)
    assert coterie.wait_peer(bob)["id"] == before
    wait_until(lambda: coterie.wait_peer(bob)["reach"] == "nudge", 30, "it can be woken")
    coterie.send("bob-codex", "again")
    bob.wait_saw(NUDGE)


@pytest.mark.parametrize(("does", "carrier"), [(f"{WORK}\nSAY:done", "hook"), ("SAY:done", "tool")])
@pytest.mark.promise("R2")
def test_a_headless_run_gets_mail_by_its_hooks(coterie: Lab, does: str, carrier: str) -> None:
    """After a tool the text itself; what a Stop adds stands in the user's role, so it is a word without the text."""
    add_hooks(coterie)
    assert coterie.peers() == []  # Hooks do not start the daemon; this does.
    ann = coterie.codex("ann")
    work = ann.when("work-6", does).held()
    ann.when(NUDGE, ann.call("coterie", "check_messages"))
    ann.answers("question-6", "answer-6", then="SAY:done")
    run = ann.begin("work-6", BYPASS)
    ann.wait_saw("work-6")
    coterie.wait_peer(ann)
    coterie.send("ann-codex", "question-6")
    work.set()
    assert run.finish(120).status == 0
    message = coterie.wait_message("question-6", "acknowledged")
    assert message["carrier"] == carrier
    assert len(ann.frames()) == 1
    assert ann.count_seen(NUDGE) == (carrier == "tool")
    assert "question-6" not in in_users_role(ann)
    assert [peer for peer in coterie.peers() if peer["kind"] == "codex"] == []
