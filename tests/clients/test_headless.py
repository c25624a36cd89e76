"""One prompt without a terminal: ``claude -p``, ``codex exec``, ``gemini -p``, ``opencode run``."""

from __future__ import annotations

import json

import pytest

from clients.agents import KINDS, Claude, Session
from clients.entries import RESULT, holding
from clients.lab import BIN, Lab
from clients.registration import merge

WORK = 'CALL:Bash:{"command": "echo worked"}\nSAY:worked'


@pytest.mark.parametrize("kind", [kind.kind for kind in KINDS])
def test_each_agent_lists_and_sends(coterie: Lab, kind: str) -> None:
    ann: Session = getattr(coterie, kind)("ann")
    person = json.loads(coterie.coterie("peers", "--json").stdout)["me"]["name"]
    listing, sending = (
        ann.call("coterie", "list_peers"),
        ann.call("coterie", "send_message", to=person, message="hello"),
    )
    done = ann.print_mode(f"{listing} {sending} SAY:done")
    assert (done.status, "done" in done.stdout) == (0, True), done
    results = [entry for entry in ann.given() if entry.kind == RESULT]
    assert holding(f"You are ann-{kind} ", results)
    assert holding(f"- {person} | ", results)
    message = coterie.wait_message("hello", "queued")
    assert holding(f"{message['id']} to {person} (live): queued", results)
    assert "| hello" in coterie.coterie("inbox").stdout


@pytest.mark.parametrize("kind", [kind.kind for kind in KINDS])
def test_each_agent_gets_mail_during_a_run_and_replies(coterie: Lab, kind: str) -> None:
    ann: Session = getattr(coterie, kind)("ann")
    # Codex registers with its first call; and its first result is what the second step is known by.
    ann.when("work-1", ann.call("coterie", "list_peers"))
    step = ann.when("in scope machine", ann.call("coterie", "list_peers") + "\nSAY:worked").held()
    ann.answers("question-1", "answer-1", then="SAY:worked")
    run = ann.begin("work-1")
    ann.wait_saw("in scope machine")
    coterie.send(f"ann-{kind}", "question-1")
    step.set()
    ended = run.finish(120)
    assert (ended.status, "worked" in ended.stdout) == (0, True), ended
    question, answer = coterie.wait_message("question-1", "acknowledged"), coterie.wait_message("answer-1", "queued")
    assert answer["reply_to"] == question["id"]
    assert len(ann.frames()) == 1


def test_claude_gets_mail_between_two_steps_through_its_inbox(coterie: Lab) -> None:
    bob = coterie.claude("bob")
    answer_during(coterie, bob, WORK, "inbox")
    assert len(bob.frames()) == 1


def test_claude_gets_mail_of_its_last_step_through_its_inbox_before_it_ends(coterie: Lab) -> None:
    bob = coterie.claude("bob")
    answer_during(coterie, bob, "SAY:worked", "inbox")
    assert len(bob.frames()) == 1


def test_claude_without_an_inbox_gets_mail_after_a_tool(deaf: Claude) -> None:
    answer_during(deaf.lab, deaf, WORK, "hook")
    shown = holding("| question-1", deaf.given())
    assert ["PostToolUse" in entry.text for entry in shown] == [True]


@pytest.mark.promise("R1")
def test_claude_without_an_inbox_gets_mail_when_it_wants_to_stop(deaf: Claude) -> None:
    answer_during(deaf.lab, deaf, "SAY:worked", "hook")
    assert len(deaf.frames()) == 1


@pytest.fixture
def deaf(coterie: Lab) -> Claude:
    """A session without an inbox, as before version 2.1.224."""
    command = ["-u", "CLAUDE_CODE_MESSAGING_SOCKET", str(BIN / "coterie-mcp")]
    merge(
        coterie.home / ".claude.json", {"mcpServers": {"coterie": {"type": "stdio", "command": "env", "args": command}}}
    )
    return coterie.claude("bob")


def answer_during(lab: Lab, bob: Session, work: str, carrier: str) -> None:
    """Send a question while the first step of a run is under way; it must be answered before the run is over."""
    step = bob.when("work-1", work).held()
    bob.answers("question-1", "answer-1", then="SAY:worked")
    run = bob.begin("work-1")
    bob.wait_saw("work-1")
    lab.wait_peer(bob)
    lab.send(f"bob-{bob.kind}", "question-1")
    if carrier == "inbox":
        lab.wait_message("question-1", "offered")
    step.set()
    ended = run.finish(120)
    assert (ended.status, "worked" in ended.stdout) == (0, True), ended
    question, answer = lab.wait_message("question-1", "acknowledged"), lab.wait_message("answer-1", "queued")
    assert answer["reply_to"] == question["id"]
    assert question["carrier"] == carrier
