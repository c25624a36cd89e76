"""OpenCode, started without flags: our plugin brings its mail, and wakes it."""

from __future__ import annotations

import json

import pytest

from clients.agents import OpenCode
from clients.lab import Lab
from clients.processes import wait_until
from coterie.ids import NUDGE

WORK = 'CALL:bash:{"command": "echo worked", "description": "work"}'


@pytest.fixture
def window(coterie: Lab) -> OpenCode:
    """A session in its window that is a peer, and was never asked anything."""
    bob = coterie.opencode("bob")
    bob.start_tui()
    coterie.wait_peer(bob)
    return bob


@pytest.fixture
def bob(coterie: Lab, window: OpenCode) -> OpenCode:
    """An idle session in its window."""
    window.ask("hello")
    idle(coterie, window)
    return window


def idle(coterie: Lab, bob: OpenCode) -> None:
    """Return once the daemon knows a way to wake it, and its turn is over."""
    wait_until(lambda: coterie.wait_peer(bob)["reach"] == "nudge", 30, "it can be woken")
    bob.screen.wait_for(r"MOCKREPLY[^\n]*hello")
    bob.wait_idle()


@pytest.mark.promise("R3", "T3")
def test_an_idle_window_is_woken_by_a_word_and_the_text_comes_with_it(coterie: Lab, bob: OpenCode) -> None:
    bob.answers("question-1", "answer-1")
    coterie.send("bob-opencode", "question-1")
    message = coterie.wait_message("question-1", "acknowledged")
    assert message["carrier"] == "hook"
    bob.screen.wait_for("answered")
    word = next(entry for entry in bob.given() if NUDGE in entry.text and "question-1" not in entry.text)
    assert message["id"] in word.text
    assert [len(bob.frames("question-1")), bob.count_seen("You are bob-opencode")] == [1, 1]


def test_with_a_port_and_a_password_of_its_own_it_is_woken_all_the_same(coterie: Lab) -> None:
    bob = coterie.opencode("bob")
    bob.env["OPENCODE_SERVER_PASSWORD"] = "secret"
    bob.start_tui("--port", "4096")
    bob.ask("hello")
    idle(coterie, bob)
    bob.answers("question-8", "answer-8")
    coterie.send("bob-opencode", "question-8")
    coterie.wait_message("question-8", "acknowledged")
    assert len(bob.frames("question-8")) == 1


def test_a_window_in_plan_mode_is_woken_in_plan_mode(coterie: Lab, window: OpenCode) -> None:
    window.screen.keys("Tab")
    window.screen.wait_for("Plan")
    window.ask("hello")
    idle(coterie, window)
    window.answers("question-2", "answer-2")
    coterie.send("bob-opencode", "question-2")
    coterie.wait_message("question-2", "acknowledged")
    told = [request.text() for request in window.requests()]
    assert all("Plan mode is active" in text or "READ-ONLY" in text for text in told)


def test_what_came_before_the_first_prompt_comes_with_it(coterie: Lab, window: OpenCode) -> None:
    coterie.send("bob-opencode", "question-3")
    window.answers("question-3", "answer-3")
    window.ask("hello")
    coterie.wait_message("question-3", "acknowledged")
    assert "You are bob-opencode" in window.requests()[0].text()
    assert len(window.frames()) == 1


@pytest.mark.promise("R3")
def test_a_busy_session_gets_it_with_the_next_tool_result(coterie: Lab, bob: OpenCode) -> None:
    work = bob.when("work-1", f"{WORK}\nSAY:worked").held()
    bob.ask("work-1")
    bob.answers("question-4", "answer-4", then="SAY:worked")
    coterie.send("bob-opencode", "question-4")
    work.set()
    coterie.wait_message("question-4", "acknowledged")
    given = [entry for entry in bob.given() if "| question-4" in entry.text]
    assert [entry.kind for entry in given] == ["result"]


def test_mail_that_came_in_the_last_step_wakes_it_at_its_end(coterie: Lab, bob: OpenCode) -> None:
    work = bob.when("work-2", "SAY:worked").held()
    bob.ask("work-2")
    bob.answers("question-5", "answer-5")
    coterie.send("bob-opencode", "question-5")
    work.set()
    coterie.wait_message("question-5", "acknowledged")
    assert [len(bob.frames("question-5")), bob.saw(NUDGE)] == [1, True]


@pytest.mark.promise("R3")
def test_a_run_gets_mail_with_a_tool_result_and_is_over_with_its_answer(coterie: Lab) -> None:
    ann = coterie.opencode("ann")
    work = ann.when("work-3", f"{WORK}\nSAY:done").held()
    ann.answers("question-6", "answer-6", then="SAY:done")
    run = ann.begin("work-3")
    ann.wait_saw("work-3")
    coterie.wait_peer(ann)
    coterie.send("ann-opencode", "question-6")
    work.set()
    assert run.finish(120).status == 0
    coterie.wait_message("question-6", "acknowledged")
    coterie.wait_message("answer-6", "queued")
    assert len(ann.frames()) == 1
    assert coterie.coterie("send", "ann-opencode", "too late").status == 1


def test_after_new_it_is_the_same_peer_and_is_told_again(coterie: Lab, bob: OpenCode) -> None:
    peer = coterie.wait_peer(bob)
    told = coterie.send("bob-opencode", "note-1")
    coterie.wait_message("note-1", "shown")
    bob.enter("/new")
    wait_until(lambda: "note-1" not in bob.screen.text() and NUDGE not in bob.screen.text(), 30, "a new session")
    bob.ask("what now")
    asked = bob.requests()[-1].text()
    assert f"- {told} from" in asked
    assert "You are bob-opencode" in asked
    assert "| note-1" not in asked
    assert coterie.wait_peer(bob)["id"] == peer["id"]


def test_after_a_resume_it_is_the_same_peer(coterie: Lab, bob: OpenCode) -> None:
    peer = coterie.wait_peer(bob)
    bob.close()
    coterie.send("bob-opencode", "note-2")
    bob.start_tui("--continue")
    bob.ask("again")
    coterie.wait_message("note-2", "shown")
    assert coterie.wait_peer(bob)["id"] == peer["id"]
    assert "note-2" in bob.requests()[-1].text()


def test_a_sub_agent_gets_headings_only(coterie: Lab, bob: OpenCode) -> None:
    task = {"description": "d", "prompt": "sub-task-1", "subagent_type": "general"}
    bob.when("work-4", f"CALL:task:{json.dumps(task)}\nSAY:worked")
    sub_agent = bob.when("sub-task-1", bob.call("coterie", "list_peers"))
    work = sub_agent.held()
    bob.ask("work-4")
    bob.wait(lambda: sub_agent.fired, "the sub-agent asks its model")
    coterie.send("bob-opencode", "note-3")
    work.set()
    bob.wait(lambda: bob.frames("note-3"), "the main agent is given it")
    coterie.wait_message("note-3", "shown")
    given = [request for request in bob.requests() if any(e.text == "sub-task-1" for e in request.talk.entries)]
    assert any("Mail for the main agent" in request.text() for request in given)
    assert not any("| note-3" in request.text() for request in given)
    assert len(bob.frames("note-3")) == 1


def test_two_windows_in_one_folder_are_two_peers(coterie: Lab, bob: OpenCode) -> None:
    ann = coterie.opencode("ann", bob.folder)
    ann.start_tui()
    wait_until(lambda: len(coterie.peers()) == 2, 30, "two peers")
    ann.ask("hello")
    wait_until(lambda: [p["reach"] for p in coterie.peers()] == ["nudge", "nudge"], 30, "both can be woken")
    ann.answers("question-7", "answer-7")
    coterie.send("bob-opencode-2", "question-7")
    coterie.wait_message("question-7", "acknowledged")
    assert [len(ann.frames("question-7")), len(bob.frames("question-7"))] == [1, 0]


def test_a_health_check_is_nobody(coterie: Lab) -> None:
    ann = coterie.opencode("ann")
    assert "connected" in ann.run("mcp", "list").stdout
    assert '"opencode"' not in coterie.coterie("peers", "--all", "--json").stdout
