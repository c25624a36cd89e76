"""The lab itself: what it counts, what its model does, that it is shut off, and that it leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from clients.entries import CALL, RESULT, USER, Entry, conversation, given
from clients.lab import Lab
from clients.processes import of_home, wait_until
from clients.script import Rule, Script

FRAME = '[coterie message m_1 from "ann" (claude, this device)]\n[Information]\n| question-1\n[end of m_1]'


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def talk(*messages: dict[str, Any], thread: str = "t") -> Any:
    return conversation({"messages": list(messages), "metadata": {"user_id": thread}})


def test_a_history_that_is_sent_again_counts_once_and_a_repetition_twice() -> None:
    first, answer = user("begin"), {"role": "assistant", "content": "well"}
    requests = [talk(first), talk(first, answer, user(FRAME)), talk(first, answer, user(FRAME), answer, user("more"))]
    assert [entry.text for entry in given(requests)] == ["begin", FRAME, "more"]
    twice = talk(first, answer, user(FRAME), answer, user(FRAME))
    assert [entry.text for entry in given([*requests, twice])].count(FRAME) == 2
    after_clear = talk(user("another"), user(FRAME), thread="u")
    assert [entry.text for entry in given([*requests, after_clear])].count(FRAME) == 2


@pytest.mark.parametrize(
    "request_",
    [
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "go"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "tool", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "done"}]},
            ]
        },
        {
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]},
                {"type": "function_call", "call_id": "c1", "name": "tool", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "done"},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "tool", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "done"},
            ]
        },
        {
            "contents": [
                {"role": "user", "parts": [{"text": "go"}]},
                {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "tool", "args": {}}}]},
                {
                    "role": "user",
                    "parts": [{"functionResponse": {"id": "c1", "name": "tool", "response": {"output": "done"}}}],
                },
            ]
        },
    ],
    ids=["messages", "responses", "chat", "gemini"],
)
def test_the_four_formats_read_alike(request_: dict[str, Any]) -> None:
    assert conversation(request_).entries == [
        Entry(USER, "go"),
        Entry(CALL, "tool", "c1"),
        Entry(RESULT, "done", "c1"),
    ]


def test_directives_are_obeyed_one_a_request_the_newest_text_first() -> None:
    script = Script()
    asked = user('CALL:first:{"a": 1} then SAY: the end')
    one = script.next(talk(asked))
    assert (one.tool, one.arguments) == ("first", {"a": 1})
    called = {"role": "assistant", "content": [{"type": "tool_use", "id": one.call, "name": "first"}]}
    result = user("")
    result["content"] = [{"type": "tool_result", "tool_use_id": one.call, "content": "done"}]
    assert script.next(talk(asked, called, result)).say == "the end"
    newer = user('| CALL:second:{"b": 2}')
    assert script.next(talk(asked, called, result, newer)).tool == "second"
    assert script.next(talk(user("hello"))).say == "MOCKREPLY hello"


def test_a_rule_fires_once_by_the_frame_and_knows_its_message() -> None:
    script = Script()
    rule = Rule("question-1", 'CALL:send:{"reply_to": "$ID"}\nSAY:answered', framed=True)
    script.rules.append(rule)
    heading = user("- m_1 from ann: question-1")
    assert script.next(talk(heading)).tool == "", "a heading is no frame"
    action = script.next(talk(heading, user(FRAME)))
    assert (action.tool, action.arguments) == ("send", {"reply_to": "m_1"})
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": action.call, "name": "send"}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": action.call, "content": "sent"}]}
    assert script.next(talk(heading, user(FRAME), call, result)).say == "answered"
    assert script.next(talk(user(FRAME))).tool == "", "it has fired"
    assert rule.fired == 1


def test_nothing_but_the_model_can_be_reached(lab: Lab) -> None:
    reach = (
        "import socket, sys; s = socket.socket(); s.settimeout(5); print(s.connect_ex((sys.argv[1], int(sys.argv[2]))))"
    )

    def reached(host: str, port: int) -> bool:
        tried = lab.run([sys.executable, "-c", reach, host, str(port)], lab.environment(), lab.work, 30)
        return tried.stdout.strip() == "0"

    assert reached("127.0.0.1", lab.model.port)
    assert not reached("192.0.2.1", 443)
    with subprocess.Popen(
        [sys.executable, "-c", "import socket; s = socket.create_server(('127.0.0.1', 0)); "
         "print(s.getsockname()[1], flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as outside:  # fmt: skip
        assert outside.stdout
        assert not reached("127.0.0.1", int(outside.stdout.readline())), "the loopback of this machine is another one"
        outside.communicate("\n")


def test_an_empty_environment_and_nothing_left_at_the_end(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_TESTS", "1")
    told = lab.run(["env"], lab.environment(), lab.work, 30).stdout
    assert "OF_THE_TESTS" not in told
    assert f"HOME={lab.home}\n" in told
    other = subprocess.Popen(["sleep", "60"])
    lab.run(["setsid", "--fork", "sleep", "60"], lab.environment(), lab.work, 30)
    wait_until(lambda: of_home(str(lab.home)), 10, "a process that stays")
    lab.close()
    assert of_home(str(lab.home)) == []
    assert not lab.base.exists()
    assert other.poll() is None, "nothing else was ended"
    other.terminate()
    other.wait()
