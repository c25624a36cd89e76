"""Gemini CLI: nothing wakes it, so its mail comes with prompts, with tool results, and at the end of a turn."""

from __future__ import annotations

import pytest

from clients.agents import Gemini
from clients.lab import Lab
from clients.processes import wait_until
from coterie.ids import NUDGE

WORK = 'CALL:run_shell_command:{"command": "echo worked"}'


@pytest.fixture
def bob(coterie: Lab) -> Gemini:
    """A session in its window that is a peer, and was never asked anything."""
    bob = coterie.gemini("bob")
    bob.flags = ["--yolo"]
    bob.start_tui()
    coterie.wait_peer(bob)
    return bob


@pytest.mark.promise("R4")
def test_a_headless_run_gets_mail_with_a_tool_result_and_answers(coterie: Lab) -> None:
    ann = coterie.gemini("ann")
    work = ann.when("work-1", f"{WORK}\nSAY:done").held()
    ann.answers("question-1", "answer-1", then="SAY:done")
    run = ann.begin("work-1")
    ann.wait_saw("work-1")
    coterie.send("ann-gemini", "question-1")
    work.set()
    assert run.finish(120).status == 0
    message = coterie.wait_message("question-1", "acknowledged")
    assert message["carrier"] == "hook"
    assert len(ann.frames("question-1")) == 1
    given = next(entry for entry in ann.given() if "question-1" in entry.text)
    assert given.kind == "result"
    assert "<hook_context>" in given.text
    coterie.wait_message("answer-1", "queued")


@pytest.mark.promise("R4")
def test_a_headless_run_is_kept_going_once_for_mail_that_came_in_its_last_step(coterie: Lab) -> None:
    ann = coterie.gemini("ann")
    work = ann.when("work-2", "SAY:done").held()
    ann.answers("question-2", "answer-2", then="SAY:done")
    run = ann.begin("work-2")
    ann.wait_saw("work-2")
    coterie.send("ann-gemini", "question-2")
    work.set()
    assert run.finish(120).status == 0
    coterie.wait_message("question-2", "acknowledged")
    assert len(ann.frames("question-2")) == 1
    assert ann.count_seen(NUDGE) == 1
    in_users_role = next(entry for entry in ann.given() if NUDGE in entry.text)
    assert "question-2" not in in_users_role.text, "a nudge has no text"
    assert [peer for peer in coterie.peers() if peer["kind"] == "gemini"] == []


@pytest.mark.promise("R4")
def test_a_window_is_told_who_it_is_and_gets_mail_with_its_next_prompt(coterie: Lab, bob: Gemini) -> None:
    coterie.send("bob-gemini", "question-3")
    bob.answers("question-3", "answer-3")
    bob.ask("hello")
    coterie.wait_message("question-3", "acknowledged")
    first = bob.requests()[0]
    assert "You are bob-gemini" in first.text()
    bob.settle()
    assert [bob.count_seen("You are bob-gemini"), len(bob.frames("question-3"))] == [1, 1]


def test_after_clear_it_is_the_same_peer_and_is_told_again(coterie: Lab, bob: Gemini) -> None:
    peer = coterie.wait_peer(bob)
    told = coterie.send("bob-gemini", "note-1")
    bob.ask("hello")
    coterie.wait_message("note-1", "shown")
    bob.enter("/clear")
    wait_until(lambda: "hello" not in bob.screen.text(), 30, "its window is cleared")
    bob.ask("what now")
    assert f"- {told} from" in bob.requests()[-1].text()
    assert "You are bob-gemini" in bob.requests()[-1].text()
    assert "| note-1" not in bob.requests()[-1].text()
    assert coterie.wait_peer(bob)["id"] == peer["id"]


def test_a_sub_agent_gets_headings_only_and_its_steps_are_no_evidence(coterie: Lab) -> None:
    ann = coterie.gemini("ann")
    task = 'CALL:invoke_agent:{"agent_name": "generalist", "prompt": "sub-task-1"}'
    ann.when("work-3", f"{task}\nSAY:done")
    sub_agent = ann.when("sub-task-1", ann.call("coterie", "list_peers"))
    work = sub_agent.held()
    run = ann.begin("work-3")
    ann.wait(lambda: sub_agent.fired, "the sub-agent asks its model")
    coterie.send("ann-gemini", "note-2")
    work.set()
    assert run.finish(120).status == 0
    coterie.wait_message("note-2", "shown")
    frames = [entry for entry in ann.given() if "| note-2" in entry.text]
    assert len(frames) == 1
    sub_agents = [request for request in ann.requests() if "invoke_agent" not in str(request.body["contents"])]
    assert any("Mail for the main agent" in request.text() for request in sub_agents)
    assert not any("| note-2" in request.text() for request in sub_agents)


def test_a_health_check_is_nobody(coterie: Lab) -> None:
    ann = coterie.gemini("ann")
    checked = ann.run("mcp", "list")
    assert "Connected" in checked.stdout + checked.stderr
    assert coterie.coterie("peers", "--all", "--json").stdout.count('"gemini"') == 0
    assert coterie.coterie("peers", "--all", "--json").stdout.count('"other"') == 0
