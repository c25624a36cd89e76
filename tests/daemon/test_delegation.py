"""Clients whose hooks can do less: they bring no text at the start, take only a word at a stop, and do not tell a
sub-agent's calls from the main agent's.
"""

from __future__ import annotations

import json
import sys

import pytest

from conftest import Place
from coterie.ids import NUDGE
from coterie.testing.agent import Agent


def hook(agent: Agent, event: str, **fields: object) -> str:
    """What our hook prints for Gemini CLI."""
    told = {"hook_event_name": event, "session_id": "session-bob", "cwd": "/", **fields}
    command = [sys.executable, "-P", "-m", "coterie.hooks.main", "gemini"]
    ran = agent.run(*command, input=json.dumps(told))
    assert (ran["status"], ran["stderr"]) == (0, "")
    return str(ran["stdout"])


@pytest.fixture
def bob(daemon: Place) -> Agent:
    bob = daemon.agent(client="gemini-cli-mcp-client", inbox=False)
    bob.tool("set_summary", name="bob")
    hook(bob, "SessionStart", source="startup")
    return bob


def send(daemon: Place, text: str) -> str:
    return str(daemon.named("api").tool("send_message", to="bob", message=text).split()[0])


def test_who_it_is_comes_with_the_first_prompt_where_the_start_has_no_room(daemon: Place, bob: Agent) -> None:
    assert daemon.row("SELECT count(*) FROM peers WHERE kind = 'gemini'")[0] == 1
    assert "You are bob" in hook(bob, "BeforeAgent", prompt="hello")
    assert hook(bob, "BeforeAgent", prompt="hello again") == ""


@pytest.mark.promise("R4", "T3")
def test_at_a_stop_it_is_kept_going_by_a_word_and_the_text_comes_as_context(daemon: Place, bob: Agent) -> None:
    hook(bob, "BeforeAgent", prompt="hello")
    message = send(daemon, "look here")
    stopped = json.loads(hook(bob, "AfterAgent", stop_hook_active=False))
    assert stopped["decision"] == "deny"
    assert message in stopped["reason"]
    assert NUDGE in stopped["reason"]
    assert "look here" not in stopped["reason"]
    assert daemon.state(message) == "queued", "a nudge is no offer"
    assert "look here" in hook(bob, "BeforeAgent", prompt=stopped["reason"])
    assert hook(bob, "PreCompress", trigger="auto") == ""
    assert daemon.state(message) == "shown"
    assert hook(bob, "AfterAgent", stop_hook_active=True) == ""


def test_it_is_kept_going_once(daemon: Place, bob: Agent) -> None:
    send(daemon, "look here")
    assert hook(bob, "AfterAgent", stop_hook_active=True) == ""


def test_without_mail_it_stops(daemon: Place, bob: Agent) -> None:
    assert hook(bob, "AfterAgent", stop_hook_active=False) == ""


def test_while_a_sub_agent_works_nothing_is_evidence_and_no_text_is_given(daemon: Place, bob: Agent) -> None:
    hook(bob, "BeforeAgent", prompt="hello")
    first = send(daemon, "first")
    assert "first" in hook(bob, "AfterTool", tool_name="read_file")
    hook(bob, "BeforeTool", tool_name="invoke_agent")
    second = str(daemon.agents[-1].tool("send_message", to="bob", message="second").split()[0])
    assert hook(bob, "PreCompress", trigger="auto") == ""
    hook(bob, "BeforeTool", tool_name="read_file")
    assert hook(bob, "AfterTool", tool_name="read_file") == ""
    assert daemon.state(first) == "offered"
    told = bob.tool("check_messages")
    assert "second" not in [line.removeprefix("| ") for line in told.splitlines()]
    assert f"- {second}" in told
    assert "Mail for the main agent" in told
    assert "second" in hook(bob, "AfterTool", tool_name="invoke_agent")
    hook(bob, "PreCompress", trigger="auto")
    hook(bob, "BeforeTool", tool_name="read_file")
    assert (daemon.state(first), daemon.state(second)) == ("shown", "shown")


def test_of_two_sub_agents_at_once_the_last_ends_it(daemon: Place, bob: Agent) -> None:
    hook(bob, "BeforeAgent", prompt="hello")
    for _ in range(2):
        hook(bob, "BeforeTool", tool_name="invoke_agent")
    send(daemon, "look here")
    assert hook(bob, "AfterTool", tool_name="invoke_agent") == ""
    assert "look here" in hook(bob, "AfterTool", tool_name="invoke_agent")


def test_an_interrupted_sub_agent_is_over_with_the_next_prompt(daemon: Place, bob: Agent) -> None:
    hook(bob, "BeforeTool", tool_name="invoke_agent")
    message = send(daemon, "look here")
    assert message in hook(bob, "BeforeAgent", prompt="hello")
