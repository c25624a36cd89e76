"""What Codex' hooks are told and print, and what its tool calls show, as measured with 0.169.0."""

from __future__ import annotations

from typing import Any

import pytest

from coterie.agents.codex import CODEX
from coterie.ids import NUDGE
from coterie.limits import HOOK_CHARS_MAX

ROOT, CHILD = "01a1f8b6-553f-7bf3-9c28-671f1f799ddd", "01a1f8b6-577f-77f3-b37f-6974b1b46ac6"
MAIN_META = {"callId": "call_aab42a", "threadId": ROOT, "sessionId": ROOT, "windowId": f"{ROOT}:0", "progressToken": 1}
CHILD_META = {**MAIN_META, "callId": "call_5a19f5", "threadId": CHILD}
FULL = HOOK_CHARS_MAX["codex"]


def told(event: str, **fields: Any) -> dict[str, Any]:
    """What a hook reads on stdin."""
    common = {"session_id": ROOT, "turn_id": "t", "cwd": "/", "model": "m", "transcript_path": "/x.jsonl"}
    return {**common, "hook_event_name": event, **fields}


@pytest.mark.parametrize(
    ("meta", "environ", "session"),
    [
        (MAIN_META, {}, ROOT),
        (CHILD_META, {}, ROOT),
        ({"threadId": ROOT}, {}, ROOT),
        ({}, {"CODEX_SESSION_ID": ROOT, "CODEX_THREAD_ID": CHILD}, ROOT),
        ({}, {"CODEX_THREAD_ID": CHILD}, CHILD),
        ({"sessionId": 7, "threadId": None}, {}, None),
    ],
)
def test_a_session_is_the_thread_at_the_root(meta: dict[str, Any], environ: dict[str, str], session: str) -> None:
    assert CODEX.session(environ, meta) == session


def test_a_call_of_a_sub_agent_is_known_by_its_thread() -> None:
    assert CODEX.is_subagent(CHILD_META)
    assert not CODEX.is_subagent(MAIN_META)
    assert not CODEX.is_subagent({"threadId": ROOT})


def test_a_call_has_the_id_that_hooks_know() -> None:
    assert CODEX.tool_use(MAIN_META) == "call_aab42a"
    assert CODEX.tool_use({"callId": 7}) == CODEX.tool_use({}) == ""


@pytest.mark.parametrize(
    ("name", "fields", "event", "room"),
    [
        ("SessionStart", {"source": "compact"}, "start", FULL),
        ("UserPromptSubmit", {"prompt": "fix it"}, "prompt", FULL),
        ("PreToolUse", {"tool_name": "Bash", "tool_input": {"command": "ls"}}, "before-tool", 0),
        ("PostToolUse", {"tool_name": "Bash", "tool_response": ""}, "after-tool", FULL),
        ("PreModelRequest", {}, "step", 0),
        ("PreCompact", {"trigger": "manual"}, "compact", 0),
        ("Stop", {"stop_hook_active": False}, "stop", 0),
        ("Stop", {"stop_hook_active": True}, "stop", 0),
        ("SessionEnd", {"reason": "other"}, "end", 0),
    ],
)
def test_each_event_in_our_words(name: str, fields: dict[str, Any], event: str, room: int) -> None:
    said = CODEX.hook_event(told(name, **fields), {})
    assert said
    assert (said["event"], said["kind"], said["session"], said["cwd"], said["room"]) == (
        event,
        "codex",
        ROOT,
        "/",
        room,
    )
    assert name in CODEX.hook_events


def test_a_stop_is_kept_going_by_a_nudge_and_once() -> None:
    """What it says then, the model reads as its user's."""
    for active in (False, True):
        said = CODEX.hook_event(told("Stop", stop_hook_active=active), {})
        assert said
        assert said["nudge"] is not active


def test_what_tells_a_sub_agent_and_a_source_goes_along() -> None:
    said = CODEX.hook_event(told("PreToolUse", agent_id=CHILD, tool_use_id="call_5a19f5", tool_input={}), {})
    assert said
    assert (said["agent_id"], said["tool_use_id"], said["session"]) == (CHILD, "call_5a19f5", ROOT)
    said = CODEX.hook_event(told("SessionStart", source="resume"), {})
    assert said
    assert said["source"] == "resume"
    assert "agent_id" not in said
    said = CODEX.hook_event(told("SessionStart", source="fork"), {})
    assert said
    assert "source" not in said


@pytest.mark.parametrize("unknown", [told("PostModelRequest"), told("Stop", session_id=None), {}])
def test_what_says_nothing_to_us_is_passed_over(unknown: dict[str, Any]) -> None:
    assert CODEX.hook_event(unknown, {}) is None


def test_of_a_prompt_the_first_line_leaves_and_of_a_nudge_nothing() -> None:
    said = CODEX.hook_event(told("UserPromptSubmit", prompt="fix the login\nmy password is x"), {})
    assert said
    assert said["prompt_line"] == "fix the login"
    assert "password" not in str(said)
    said = CODEX.hook_event(told("UserPromptSubmit", prompt=f"coterie: 1 message for you. {NUDGE} To read"), {})
    assert said
    assert said["prompt_line"] == ""


PATCH = "*** Begin Patch\n*** Add File: a.py\n+x\n*** Update File: /lib/b.py\n*** Move to: c.py\n*** End Patch"


@pytest.mark.parametrize("command", [PATCH, f"apply_patch <<'EOF'\n{PATCH}\nEOF"])
def test_the_files_of_a_patch(command: str) -> None:
    said = CODEX.hook_event(told("PreToolUse", cwd="/repo", tool_name="Bash", tool_input={"command": command}), {})
    assert said
    assert said["files"] == ["/repo/a.py", "/lib/b.py", "/repo/c.py"]


@pytest.mark.parametrize("given", [None, "text", {"command": 7}, {"command": "*** Add File: a.py"}])
def test_what_is_no_patch_names_no_files(given: Any) -> None:
    said = CODEX.hook_event(told("PreToolUse", tool_name="Bash", tool_input=given), {})
    assert said
    assert said["files"] == []


def test_what_a_hook_prints() -> None:
    assert CODEX.hook_answer(told("Stop"), "mail") == {"decision": "block", "reason": "mail"}
    printed = CODEX.hook_answer(told("PostToolUse"), "mail")
    assert printed == {"hookSpecificOutput": {"hookEventName": "PostToolUse", "additionalContext": "mail"}}
