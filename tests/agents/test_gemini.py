"""What Gemini CLI's hooks are told and print, recorded with 0.61.0."""

from __future__ import annotations

from typing import Any

import pytest

import coterie.agents.gemini as module
from coterie import agents
from coterie.agents.gemini import GEMINI
from coterie.ids import NUDGE
from coterie.limits import HOOK_CHARS_MAX

SESSION = "0088a605-eb0a-4d57-8274-46b67b191b06"
AGENT = 4242
FULL = HOOK_CHARS_MAX["gemini"]
MCP = {"server_name": "coterie", "tool_name": "list_peers", "command": "/bin/coterie-mcp", "args": []}


def told(event: str, **fields: Any) -> dict[str, Any]:
    """What a hook reads on stdin."""
    common = {"session_id": SESSION, "transcript_path": "/x.json", "cwd": "/", "timestamp": "2026-11-20T11:26:42.570Z"}
    return {**common, "hook_event_name": event, **fields}


@pytest.fixture(autouse=True)
def agent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The agent's process, in a terminal; its command line may be changed."""
    given = ["node", "/bin/gemini"]
    monkeypatch.setattr(module, "parent_past_shells", lambda: AGENT)
    monkeypatch.setattr(module, "arguments", lambda pid: given if pid == AGENT else [])
    monkeypatch.setattr(module, "on_terminal", lambda pid: True)
    return given


@pytest.mark.parametrize(
    ("name", "fields", "event", "room", "nudge"),
    [
        ("SessionStart", {"source": "startup"}, "start", 0, False),
        ("BeforeAgent", {"prompt": "fix it"}, "prompt", FULL, False),
        ("BeforeTool", {"tool_name": "run_shell_command", "tool_input": {"command": "ls"}}, "before-tool", 0, False),
        ("AfterTool", {"tool_name": "mcp_coterie_list_peers", "mcp_context": MCP}, "after-tool", FULL, False),
        ("AfterTool", {"tool_name": "replace", "tool_response": {"llmContent": "x"}}, "after-tool", FULL, False),
        ("AfterTool", {"tool_name": "replace", "tool_response": {"error": {"message": "x"}}}, "after-tool", 0, False),
        ("PreCompress", {"trigger": "auto"}, "step", 0, False),
        ("PreCompress", {"trigger": "manual"}, "compact", 0, False),
        ("AfterAgent", {"prompt": "fix it", "prompt_response": "done", "stop_hook_active": False}, "stop", 0, True),
        ("AfterAgent", {"prompt": "fix it", "prompt_response": "done", "stop_hook_active": True}, "stop", 0, False),
        ("SessionEnd", {"reason": "clear"}, "end", 0, False),
    ],
)
def test_each_event_in_our_words(name: str, fields: dict[str, Any], event: str, room: int, nudge: bool) -> None:
    found = GEMINI.hook_event(told(name, **fields), {})
    assert found is not None
    assert (found["event"], found["room"], found["nudge"]) == (event, room, nudge)
    assert (found["kind"], found["session"], found["cwd"], found["agent_pid"]) == ("gemini", SESSION, "/", AGENT)


@pytest.mark.parametrize(
    "said", [told("Notification"), told("BeforeModel"), {}, {**told("AfterTool"), "session_id": None}]
)
def test_what_says_nothing_to_us(said: dict[str, Any]) -> None:
    assert GEMINI.hook_event(said, {}) is None


def test_all_events_that_are_understood_are_asked_for() -> None:
    assert set(GEMINI.hook_events) == set(module.EVENTS)


def test_the_source_comes_with_the_start_alone() -> None:
    start = GEMINI.hook_event(told("SessionStart", source="clear"), {})
    assert start is not None
    assert (start["source"], start["one_shot"]) == ("clear", False)
    prompt = GEMINI.hook_event(told("BeforeAgent", prompt="x"), {})
    assert prompt is not None
    assert not {"source", "one_shot"} & set(prompt)


def test_of_a_prompt_the_first_line_leaves_and_of_our_own_words_nothing() -> None:
    def line(event: str, prompt: str) -> str:
        found = GEMINI.hook_event(told(event, prompt=prompt), {})
        assert found is not None
        return str(found["prompt_line"])

    assert line("BeforeAgent", "Fix the login.\nMy password is hunter2.") == "Fix the login."
    assert line("BeforeAgent", f"coterie: 1 message for you. {NUDGE}") == ""
    assert line("AfterAgent", "Fix the login.") == ""


@pytest.mark.parametrize(("name", "delegates"), [("invoke_agent", True), ("replace", False)])
def test_the_tool_in_which_sub_agents_work(name: str, delegates: bool) -> None:
    for event in ("BeforeTool", "AfterTool"):
        found = GEMINI.hook_event(told(event, tool_name=name, tool_input={}), {})
        assert found is not None
        assert found["delegates"] is delegates


@pytest.mark.parametrize(
    ("event", "tool", "given", "files"),
    [
        ("BeforeTool", "replace", {"file_path": "a.py"}, ["a.py"]),
        ("BeforeTool", "write_file", {"file_path": "/b.py"}, ["/b.py"]),
        ("BeforeTool", "read_file", {"file_path": "/etc/passwd"}, []),
        ("BeforeTool", "replace", {"file_path": 7}, []),
        ("BeforeTool", "replace", "nonsense", []),
        ("AfterTool", "replace", {"file_path": "a.py"}, []),
    ],
)
def test_files_that_it_is_about_to_change(event: str, tool: str, given: Any, files: list[str]) -> None:
    found = GEMINI.hook_event(told(event, tool_name=tool, tool_input=given), {})
    assert found is not None
    assert found["files"] == files


def test_what_a_hook_prints() -> None:
    added = {"hookSpecificOutput": {"hookEventName": "AfterTool", "additionalContext": "mail"}}
    assert GEMINI.hook_answer(told("AfterTool"), "mail") == added
    assert GEMINI.hook_answer(told("AfterAgent"), "word") == {"decision": "deny", "reason": "word"}


@pytest.mark.parametrize(
    ("given", "terminal", "one_shot"),
    [
        ([], True, False),
        (["--yolo", "-i", "hello"], True, False),
        (["-p", "hello"], True, True),
        (["--yolo", "--prompt=hello"], True, True),
        ([], False, True),
        (["--acp"], False, False),
    ],
)
def test_whether_it_is_for_one_prompt(
    agent: list[str], monkeypatch: pytest.MonkeyPatch, given: list[str], terminal: bool, one_shot: bool
) -> None:
    agent += given
    monkeypatch.setattr(module, "on_terminal", lambda pid: terminal)
    assert GEMINI.one_shot({}) is one_shot


def test_a_health_check_has_a_name_of_its_own() -> None:
    assert agents.by_client("gemini-cli-mcp-client") is GEMINI
    assert not GEMINI.is_probe({})
    assert agents.by_client("mcp-test-client").is_probe({})
