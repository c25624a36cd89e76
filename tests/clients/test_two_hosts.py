"""A real Claude Code on one host, a real Codex on another: paired by their persons, they ask and answer."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from clients.agents import Session
from clients.conftest import LACKING
from clients.two_hosts import TwoHosts, lacking, two_hosts


@pytest.fixture
def hosts(request: pytest.FixtureRequest) -> Iterator[TwoHosts]:
    """Two hosts that are paired, with coterie in their agents' configuration."""
    missing = ", ".join(filter(None, [LACKING, lacking()]))
    if missing:
        say = pytest.fail if os.environ.get("COTERIE_REQUIRE_CLIENTS") else pytest.skip
        say(f"needs {missing}")
    before = request.session.testsfailed
    with two_hosts() as hosts:
        for lab, name in ((hosts.one, "left"), (hosts.other, "right")):
            lab.init()
            assert lab.coterie("config", "set", "relay.name", name, "--i-am-human").status == 0
        hosts.pair()
        yield hosts
        if request.session.testsfailed > before:
            print(hosts.one.told(), hosts.other.told(), sep="\n")


def test_claude_and_codex_on_two_hosts_ask_and_answer_in_both_directions(hosts: TwoHosts) -> None:
    ann, bob = hosts.one.claude("ann"), hosts.other.codex("bob")
    ann.start_tui()
    bob.start_and_trust()
    hosts.one.wait_peer(ann)
    hosts.other.wait_peer(bob)
    sessions: list[tuple[Session, Session, str]] = [(bob, ann, "left"), (ann, bob, "right")]
    for number, (asker, asked, device) in enumerate(sessions):
        question, answer = f"question-{number}", f"answer-{number}"
        asked.answers(question, answer)
        to = f"{asked.name}-{asked.kind}@{device}"
        asker.ask(asker.call("coterie", "send_message", to=to, message=question))
        asker.wait(lambda: asker.frames(answer), f"{answer} comes")  # noqa: B023 (it is over within this round)
        asker.lab.wait_message(question, "acknowledged")
        asked.lab.wait_message(answer, "shown")
    for session in (ann, bob):
        session.settle()
        assert len(session.frames()) == 2
    assert [len(ann.frames("question-0")), len(bob.frames("answer-0"))] == [1, 1]
    assert [len(bob.frames("question-1")), len(ann.frames("answer-1"))] == [1, 1]
    assert any("bob-codex@right" in frame for frame in ann.frames("question-0"))
