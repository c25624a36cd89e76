"""What is evidence that a message was shown, with real sessions and real hooks: each line of the table is a test."""

from __future__ import annotations

import re

import pytest

from conftest import Place, wait_for
from coterie.testing.agent import Agent, Json


def message_from(sender: Agent, to: str, text: str) -> str:
    """Send a message and return its id."""
    return re.match(r"m_\w+", sender.tool("send_message", to=to, message=text))[0]  # type: ignore[index]


def context(printed: Json) -> str:
    """What a hook adds to the model's context; a Stop does it by keeping the session going."""
    return str(printed.get("hookSpecificOutput", {}).get("additionalContext", "") or printed.get("reason", ""))


def whole(text: str, message: str) -> bool:
    """Whether the text of the message stands here, and not only its heading."""
    return f"[end of {message}]" in text


@pytest.fixture
def pair(daemon: Place) -> tuple[Place, Agent, Agent]:
    """A sender, and a recipient with an inbox and with hooks."""
    api, web = daemon.named("api"), daemon.named("web")
    web.hook("UserPromptSubmit", prompt="let us begin")
    return daemon, api, web


@pytest.fixture
def quiet(daemon: Place) -> tuple[Place, Agent, Agent]:
    """The same, where the recipient has no inbox."""
    api, web = daemon.named("api"), daemon.named("web", inbox=False)
    web.hook("UserPromptSubmit", prompt="let us begin")
    return daemon, api, web


@pytest.mark.promise("M3")
def test_the_id_inside_a_prompt_is_evidence_for_the_inbox(pair: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = pair
    message = message_from(api, "web", "by inbox")
    _, line = web.wait_inbox(message)
    daemon.wait_state(message, "offered")
    assert web.hook("UserPromptSubmit", prompt=f"Another Claude session sent a message:\n{line}") == {}
    assert daemon.state(message) == "shown"


def test_a_prompt_without_the_id_is_none(pair: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = pair
    message = message_from(api, "web", "by inbox")
    web.wait_inbox(message)
    daemon.wait_state(message, "offered")
    printed = context(web.hook("UserPromptSubmit", prompt="something else"))
    assert not whole(printed, message)  # Two carriers never have the same text...
    assert f"- {message} from" in printed  # ...but the other one names it.
    daemon.wait_state(message, "offered")


def test_an_id_that_a_peer_or_a_person_mentions_is_none(pair: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = pair
    message = message_from(api, "web", "by inbox")
    web.wait_inbox(message)
    daemon.wait_state(message, "offered")
    web.hook("UserPromptSubmit", prompt=f"what about {message}?\n| [coterie message {message} from a forger")
    daemon.wait_state(message, "offered")


@pytest.mark.promise("D3")
def test_two_carriers_race_and_one_has_the_text(pair: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = pair
    messages = [message_from(api, "web", f"race {n}") for n in range(5)]
    texts = [web.tool("check_messages"), context(web.hook("PostToolUse", tool_name="Bash", tool_use_id="t"))]
    for message in messages:
        web.wait_inbox(f"[end of {message}]")
    texts += [text for _, text in web.inbox]
    for message in messages:
        assert sum(text.count(f"[end of {message}]") for text in texts) == 1


def test_an_inbox_offer_lapses_at_the_second_stop_and_the_next_carrier_has_it(pair: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = pair
    message = message_from(api, "web", "dropped by the client")
    web.wait_inbox(message)
    daemon.wait_state(message, "offered")
    assert not whole(context(web.hook("Stop", stop_hook_active=False)), message)
    daemon.wait_state(message, "offered")
    assert whole(context(web.hook("Stop", stop_hook_active=False)), message)
    daemon.wait_state(message, "offered")
    web.hook("PreToolUse", tool_name="Bash", tool_use_id="t-9")  # The model went on: it read the reason.
    assert daemon.state(message) == "shown"


def test_what_waited_for_a_session_wakes_it_when_it_is_resumed(daemon: Place) -> None:
    """What a hook adds at the start waits for the next prompt, so it is left to the inbox."""
    api, web = daemon.named("api"), daemon.named("web")
    web.close()
    message = message_from(api, "web", "while it was away")
    again = daemon.raw_agent("session-web")
    printed = context(again.hook("SessionStart", source="resume"))
    assert "You are web" in printed
    assert message not in printed
    again.initialize()
    again.wait_inbox(f"[end of {message}]")
    quiet = daemon.named("quiet", inbox=False)
    quiet.close()
    message = message_from(api, "quiet", "while it was away")
    assert whole(context(daemon.raw_agent("session-quiet", inbox=False).hook("SessionStart", source="resume")), message)


def test_a_stop_that_was_kept_going_is_not_kept_going_again(quiet: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = quiet
    first = message_from(api, "web", "one")
    assert whole(context(web.hook("Stop", stop_hook_active=False)), first)
    second = message_from(api, "web", "two")
    assert web.hook("Stop", stop_hook_active=True) == {}
    assert daemon.state(first) == "shown"  # That there is a stop proves that the model read the reason before it.
    assert daemon.state(second) == "queued"


def test_a_text_that_comes_during_a_turn_that_is_kept_going_is_not_brought_twice(
    pair: tuple[Place, Agent, Agent],
) -> None:
    """Seen with Claude Code 2.1.328: what is posted during such a turn waits in the client until it is over."""
    daemon, api, web = pair
    message = message_from(api, "web", "during the turn")
    _, line = web.wait_inbox(message)
    daemon.wait_state(message, "offered")
    assert web.hook("Stop", stop_hook_active=False) == {}, "a heading alone keeps no turn going"
    assert web.hook("Stop", stop_hook_active=True) == {}, "which another hook kept going"
    daemon.wait_state(message, "offered")
    assert web.hook("UserPromptSubmit", prompt=line) == {}
    assert daemon.state(message) == "shown"
    assert len(web.inbox) == 1


@pytest.mark.promise("M3")
def test_a_tool_result_is_evidenced_by_a_later_step_and_not_by_the_same_one(quiet: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = quiet
    message = message_from(api, "web", "with a result")
    web.hook("PreToolUse", tool_name="mcp__coterie__list_peers", tool_use_id="t-1")
    assert whole(web.tool("list_peers", meta={"claudecode/toolUseId": "t-1"}), message)
    web.hook("PostToolUse", tool_name="mcp__coterie__list_peers", tool_use_id="t-1")
    # A second call of the same step: it runs before the model saw the first result.
    web.hook("PreToolUse", tool_name="Bash", tool_use_id="t-2")
    web.tool("list_peers", meta={"claudecode/toolUseId": "t-2"})
    web.hook("PostToolUse", tool_name="Bash", tool_use_id="t-2")
    daemon.wait_state(message, "offered")
    web.hook("PostToolBatch")
    daemon.wait_state(message, "offered")
    web.hook("PreToolUse", tool_name="Bash", tool_use_id="t-3")
    assert daemon.state(message) == "shown"


def test_a_stop_is_evidence_for_the_tool_results_before_it(quiet: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = quiet
    message = message_from(api, "web", "with a result")
    assert whole(web.tool("check_messages"), message)
    web.hook("Stop")
    assert daemon.state(message) == "shown"


def test_a_prompt_context_is_evidenced_by_the_next_event(quiet: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = quiet
    message = message_from(api, "web", "beside a prompt")
    assert whole(context(web.hook("UserPromptSubmit", prompt="go on")), message)
    daemon.wait_state(message, "offered")
    web.hook("PreToolUse", tool_name="Bash", tool_use_id="t-1")
    assert daemon.state(message) == "shown"


def test_context_after_a_tool_needs_a_later_step(quiet: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = quiet
    message = message_from(api, "web", "beside a tool")
    assert whole(context(web.hook("PostToolUse", tool_name="Bash", tool_use_id="t-1")), message)
    assert context(web.hook("PostToolUse", tool_name="Bash", tool_use_id="t-2")) == ""  # Open offers are left alone.
    daemon.wait_state(message, "offered")
    web.hook("PostToolBatch")
    web.hook("PreToolUse", tool_name="Bash", tool_use_id="t-3")
    assert daemon.state(message) == "shown"


def test_with_hooks_a_check_alone_is_no_evidence(quiet: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = quiet
    message = message_from(api, "web", "hello")
    assert whole(web.tool("check_messages"), message)
    assert f"- {message} from" in web.tool("check_messages")
    daemon.wait_state(message, "offered")


def test_a_subagents_call_gets_headings_and_is_no_evidence(quiet: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = quiet
    first = message_from(api, "web", "for the main agent")
    assert whole(web.tool("check_messages"), first)
    second = message_from(api, "web", "another")
    sub = {"agent_id": "sub-1", "tool_use_id": "t-sub"}
    assert web.hook("PreToolUse", tool_name="mcp__coterie__check_messages", **sub) == {}
    text = web.tool("check_messages", meta={"claudecode/toolUseId": "t-sub"})
    assert not whole(text, second)
    assert "Mail for the main agent" in text
    assert f"- {second} from" in text
    assert web.hook("PostToolUse", tool_name="mcp__coterie__check_messages", **sub) == {}
    web.hook("Stop", agent_id="sub-1")
    daemon.wait_state(first, "offered")
    assert daemon.state(second) == "queued"
    assert whole(web.tool("list_peers", meta={"claudecode/toolUseId": "t-main"}), second)


def test_an_answer_acknowledges_it_and_shows_all_that_came_with_it(quiet: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = quiet
    one, two = message_from(api, "web", "one"), message_from(api, "web", "two")
    assert whole(web.tool("check_messages"), two)
    web.tool("send_message", reply_to=one, message="thanks, done")
    assert daemon.state(one) == "acknowledged"
    daemon.wait_state(two, "shown")


@pytest.mark.promise("X2")
def test_the_end_of_a_session_makes_unevidenced_mail_wait_for_the_next(pair: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = pair
    message = message_from(api, "web", "before the end")
    web.wait_inbox(message)
    daemon.wait_state(message, "offered")
    web.kill()
    daemon.wait_state(message, "queued")
    back = daemon.agent("session-web")
    assert whole(back.wait_inbox(message)[1], message)


def test_after_a_resume_what_was_shown_and_not_answered_comes_back_as_headings_once(
    pair: tuple[Place, Agent, Agent],
) -> None:
    daemon, api, web = pair
    message = message_from(api, "web", "do not forget")
    _, line = web.wait_inbox(message)
    web.hook("UserPromptSubmit", prompt=line)
    assert daemon.state(message) == "shown"
    web.kill()
    wait_for(lambda: daemon.row("SELECT state FROM peers WHERE name = 'web'")[0] == "away", "web is away")
    back = daemon.agent("session-web")
    text = back.tool("list_peers")
    assert "Shown to you before and not answered" in text
    assert f"- {message} from" in text
    assert not whole(text, message)
    assert message not in back.tool("list_peers")
    assert not back.inbox  # The text itself is not offered again.
    assert whole(back.tool("check_messages", message_id=message), message)  # But on request.


@pytest.mark.parametrize("source", ["compact", "clear"])
def test_after_compact_and_clear_headings_come_with_the_start(pair: tuple[Place, Agent, Agent], source: str) -> None:
    daemon, api, web = pair
    message = message_from(api, "web", "do not forget")
    _, line = web.wait_inbox(message)
    web.hook("UserPromptSubmit", prompt=line)
    if source == "clear":
        web.hook("SessionEnd", reason="clear")
        web.session = "session-web-2"
    printed = context(web.hook("SessionStart", source=source))
    assert f"- {message} from" in printed
    assert not whole(printed, message)
    assert message not in web.tool("list_peers")
    assert "You are web" in web.tool("list_peers")


def test_a_cancelled_call_gives_its_mail_to_the_next_carrier(quiet: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = quiet
    message = message_from(api, "web", "in a call that nobody reads")
    call = web.ask_tool("list_peers")
    web.command(mcp={"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call}})
    texts = [web.tool("list_peers"), web.tool("list_peers")]
    answered = [event for event in web.events if event.get("mcp", {}).get("id") == call]
    if not answered:  # Otherwise the answer overtook the cancellation, and carried the mail.
        wait_for(lambda: any(whole(text, message) for text in [*texts, web.tool("list_peers")]), "it is offered again")


@pytest.mark.promise("M4")
def test_an_answer_to_a_message_that_was_shown_acknowledges_it(pair: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = pair
    message = message_from(api, "web", "hello")
    _, line = web.wait_inbox(message)
    web.hook("UserPromptSubmit", prompt=line)
    assert daemon.state(message) == "shown"
    web.tool("send_message", reply_to=message, message="hi")
    assert daemon.state(message) == "acknowledged"


def test_books_survive_the_daemon(pair: tuple[Place, Agent, Agent]) -> None:
    daemon, api, web = pair
    message = message_from(api, "web", "across a crash")
    _, line = web.wait_inbox(message)
    daemon.wait_state(message, "offered")
    daemon.kill()
    text = web.tool("check_messages")  # The adapter starts the next daemon.
    assert not whole(text, message)
    assert f"- {message} from" in text
    web.hook("UserPromptSubmit", prompt=line)
    assert daemon.state(message) == "shown"


def test_a_long_text_goes_as_a_heading_through_a_hook_and_whole_through_a_tool(
    quiet: tuple[Place, Agent, Agent],
) -> None:
    daemon, api, web = quiet
    message = message_from(api, "web", "long " * 2000)
    printed = context(web.hook("UserPromptSubmit", prompt="go on"))
    assert not whole(printed, message)
    assert message in printed
    assert len(printed) <= 8000
    assert whole(web.tool("check_messages"), message)
