"""The agents of different vendors, set up by ``coterie init``: they find each other, ask and answer, idle and busy."""

from __future__ import annotations

from clients.agents import Claude, Codex, Session
from clients.entries import ANSWER, holding
from clients.lab import Lab

WORK = {"claude": 'CALL:Bash:{"command": "echo worked"}', "codex": 'CALL:exec_command:{"cmd": "echo worked"}'}


def two_windows(lab: Lab) -> tuple[Claude, Codex]:
    """Idle windows of Claude Code and of Codex, whose hooks are trusted. Neither was asked anything."""
    lab.init()
    ann, bob = lab.claude("ann"), lab.codex("bob")
    ann.start_tui()
    bob.start_and_trust()
    for session in (ann, bob):
        lab.wait_peer(session)
    return ann, bob


def within_turn(session: Session, work: str, text: str) -> bool:
    """Whether a message came before the turn was over that began with the prompt `work`."""
    talk = next(request.talk for request in session.requests() if holding(f"| {text}", request.talk.entries))
    begun = max(index for index, entry in enumerate(talk.entries) if work in entry.text)
    brought = max(index for index, entry in enumerate(talk.entries) if f"| {text}" in entry.text)
    return begun < brought and ANSWER not in [entry.kind for entry in talk.entries[begun:brought]]


def test_idle_windows_wake_each_other_in_both_directions(lab: Lab) -> None:
    ann, bob = two_windows(lab)
    sessions: list[tuple[Session, Session]] = [(bob, ann), (ann, bob)]
    for number, (asker, asked) in enumerate(sessions):
        question, answer = f"question-{number}", f"answer-{number}"
        asked.answers(question, answer)
        asker.ask(asker.call("coterie", "send_message", to=f"{asked.name}-{asked.kind}", message=question))
        asker.wait(lambda: asker.frames(answer), f"{answer} comes")  # noqa: B023 (it is over within this round)
        lab.wait_message(question, "acknowledged")
        lab.wait_message(answer, "shown")
    for session in (ann, bob):
        session.settle()
        assert len(session.frames()) == 2
    assert [len(ann.frames("question-0")), len(bob.frames("answer-0"))] == [1, 1]
    assert [len(bob.frames("question-1")), len(ann.frames("answer-1"))] == [1, 1]


def test_busy_windows_hear_from_each_other_within_their_turns(lab: Lab) -> None:
    ann, bob = two_windows(lab)
    sessions: list[tuple[Session, Session]] = [(bob, ann), (ann, bob)]
    for number, (asker, asked) in enumerate(sessions):
        asked.answers(f"question-{number}", f"answer-{number}", then="SAY:worked")
        send = asker.call("coterie", "send_message", to=f"{asked.name}-{asked.kind}", message=f"question-{number}")
        # Each works on a step when the other's message comes.
        asked_step = asked.when(f"work-{number} asked", WORK[asked.kind] + "\nSAY:worked").held()
        asked.ask(f"work-{number} asked")
        asker.when(f"work-{number} asks", send)
        sent = rf" to {asked.name}-{asked.kind} \(\w+\): "
        asker_step = asker.when(sent, WORK[asker.kind] + "\nSAY:worked").held()
        asker.ask(f"work-{number} asks")
        lab.wait_message(f"question-{number}", "queued", "offered")
        asked_step.set()
        lab.wait_message(f"question-{number}", "acknowledged")
        asker_step.set()
        lab.wait_message(f"answer-{number}", "shown")
        for session in (ann, bob):
            session.wait_idle()
        assert within_turn(asked, f"work-{number} asked", f"question-{number}")
        assert within_turn(asker, f"work-{number} asks", f"answer-{number}")
    for session in (ann, bob):
        session.settle()
        assert len(session.frames()) == 2
