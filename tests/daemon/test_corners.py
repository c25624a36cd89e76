"""Corners in which mail could be misreported, stuck, or given to the wrong window: each was found open once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from conftest import Place, wait_for
from coterie import ids
from coterie.client import Client
from coterie.errors import BadInput
from coterie.jsonline import encode
from coterie.limits import INBOX_LINES_MAX
from coterie.testing.agent import Agent
from wire import Raw

# A disk on which a commit takes as many seconds as a file says.
SLOW_DISK = """
import os, time
import coterie.store.db as db
commit = db.Store._transaction
def slowly(self, jobs):
    slow = os.path.join(os.environ["HOME"], "slow")
    if os.path.exists(slow):
        time.sleep(float(open(slow).read()))
    return commit(self, jobs)
db.Store._transaction = slowly
"""


def set_slow(place: Place, seconds: float) -> None:
    (place.root / "slow").write_text(str(seconds))


def message_from(sender: Agent, to: str, text: str) -> str:
    return re.match(r"m_\w+", sender.tool("send_message", to=to, message=text))[0]  # type: ignore[index]


def whole(text: str, message: str) -> bool:
    return f"[end of {message}]" in text


def other(place: Place, name: str = "other") -> Client:
    """A peer that this process speaks for."""
    connection = place.connect("adapter")
    connection.call("peers.register", {"kind": "other", "cwd": "/"})
    connection.call("peers.describe", {"name": name})
    return connection


def send(connection: Client, to: str, text: str, **how: Any) -> str:
    message = ids.new_message_id()
    connection.call("messages.send", {"id": message, "to": to, "text": text, **how})
    return message


def ask(connection: Client, method: str, **params: Any) -> None:
    """A request whose answer nobody waits for."""
    connection.connection.sendall(encode({"jsonrpc": "2.0", "id": 99, "method": method, "params": params}))


# --- what was given out and never seen ------------------------------------------------------------


def test_what_a_hook_had_no_patience_for_is_given_to_the_next_carrier(place: Place) -> None:
    place.start(patch=SLOW_DISK)
    api, web = place.named("api"), place.named("web", inbox=False)
    web.hook("UserPromptSubmit", prompt="hello")
    message = message_from(api, "web", "on a slow disk")
    set_slow(place, 2.5)
    assert web.hook("PostToolUse", tool_name="Bash", tool_use_id="t-1") == {}
    set_slow(place, 0)
    web.hook("PostToolBatch")
    web.hook("PreToolUse", tool_name="Bash", tool_use_id="t-2")
    assert place.state(message) == "queued"
    wait_for(lambda: whole(web.tool("list_peers"), message), "the next tool result has it")


def test_an_answer_that_outlived_the_patience_of_its_caller_takes_another_way(place: Place) -> None:
    """Ctrl-C before the question is even stored."""
    place.start(patch=SLOW_DISK)
    api, first = place.named("api"), other(place)
    set_slow(place, 0.4)
    question = ids.new_message_id()
    ask(first, "messages.send", id=question, to="api", text="are you there?", wait_s=30)
    first.close()
    api.wait_inbox("are you there?")
    set_slow(place, 0)
    api.tool("send_message", reply_to=question, message="yes")
    second, found = other(place), []

    def look() -> bool:
        call = {"call": ids.new_token(), "check": True}
        found.extend(letter["text"] for letter in second.call("mail.take", call)["letters"])
        return "yes" in found

    wait_for(look, "the answer comes")


@pytest.mark.slow
@pytest.mark.promise("D6")
def test_what_a_stopped_daemon_held_is_neither_lost_nor_said_to_be_undone(daemon: Place) -> None:
    """The daemon stands still for longer than an adapter waits."""
    api, web = daemon.named("api"), daemon.named("web", inbox=False)
    message = message_from(api, "web", "hello web")
    os.kill(daemon.pid(), signal.SIGSTOP)
    looking = web.ask_tool("check_messages")
    sending = api.ask_tool("send_message", to="web", message="is it stored?")
    assert "Your mail could not be looked up" in web.answer_to(looking, 60)["result"]["content"][0]["text"]
    said = api.answer_to(sending, 60)["result"]["content"][0]["text"]
    os.kill(daemon.pid(), signal.SIGCONT)
    assert "Not done" not in said
    second = re.search(r"it is not known whether (m_\w+) was stored", said)[1]  # type: ignore[index]
    assert f"check_messages with message_id={second}" in said
    texts: list[str] = []
    wait_for(lambda: texts.append(web.tool("check_messages")) or whole("".join(texts), second), "both come")
    assert "".join(texts).count(f"[end of {message}]") == 1
    assert "".join(texts).count(f"[end of {second}]") == 1


# --- which window, which agent ------------------------------------------------------------


def test_the_window_that_was_displaced_is_told_of_mail_and_not_given_it(daemon: Place) -> None:
    api, older = daemon.named("api"), daemon.named("web", inbox=False)
    newer = daemon.agent("session-web", inbox=False)
    newer.tool("list_peers")
    message = message_from(api, "web", "for the newer window")
    text = older.tool("check_messages")
    assert not whole(text, message)
    assert f"- {message} from" in text
    assert whole(newer.tool("check_messages"), message)


def test_hooks_of_the_window_that_was_displaced_prove_nothing(daemon: Place) -> None:
    api, older = daemon.named("api"), daemon.named("web", inbox=False)
    newer = daemon.agent("session-web")
    newer.tool("list_peers")
    message = message_from(api, "web", "for the newer window")
    _, line = newer.wait_inbox(message)
    daemon.wait_state(message, "offered")
    for _ in range(3):
        assert older.hook("Stop") == {}
    older.hook("UserPromptSubmit", prompt=line)
    assert daemon.state(message) == "offered"


def test_a_subagent_that_reads_by_id_is_no_evidence_for_the_main_agent(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web", inbox=False)
    web.hook("UserPromptSubmit", prompt="hello")
    message = message_from(api, "web", "for the main agent")
    web.hook("PreToolUse", tool_name="mcp__coterie__check_messages", agent_id="sub", tool_use_id="t-sub")
    read = web.tool("check_messages", meta={"claudecode/toolUseId": "t-sub"}, message_id=message)
    assert whole(read, message)
    web.hook("PostToolBatch")
    web.hook("PreToolUse", tool_name="Bash", tool_use_id="t-main")
    assert daemon.state(message) == "queued"
    assert whole(web.tool("list_peers"), message)


def test_a_subagent_that_waits_is_told_and_the_main_agent_is_brought_the_answer(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web", inbox=False)
    web.hook("UserPromptSubmit", prompt="hello")
    web.hook("PreToolUse", tool_name="mcp__coterie__send_message", agent_id="sub", tool_use_id="t-sub")
    call = web.ask_tool("send_message", meta={"claudecode/toolUseId": "t-sub"}, to="api", message="done?", wait_s=20)
    question = re.search(r"m_\w+", api.wait_inbox("done?")[1])[0]  # type: ignore[index]
    answer = re.match(r"m_\w+", api.tool("send_message", reply_to=question, message="done"))[0]  # type: ignore[index]
    assert whole(web.answer_to(call)["result"]["content"][0]["text"], answer)
    assert daemon.state(answer) == "queued"
    assert whole(web.tool("list_peers"), answer)


def test_an_adapter_that_comes_back_after_a_resume_takes_no_id_from_another(daemon: Place) -> None:
    first = daemon.named("first")
    first_id = first.tool("list_peers").split("(")[1][:10]
    second = daemon.named("second")
    second.kill()
    wait_for(lambda: daemon.row("SELECT state FROM peers WHERE name = 'second'")[0] == "away", "second is away")
    first.session = "session-second"  # /resume inside the process of the first.
    first.hook("SessionStart", source="resume")
    assert "You are second" in first.tool("list_peers")
    daemon.kill()
    assert "You are second" in first.tool("list_peers")  # Its adapter still says the id that it began with.
    assert daemon.row("SELECT peer FROM sessions WHERE session = 'session-first'")[0] == first_id


def test_a_fork_that_its_adapter_registered_first_is_one_peer(daemon: Place) -> None:
    fork = daemon.agent("session-fork")
    fork.tool("set_summary", name="forked")
    for _ in range(2):
        fork.hook("SessionStart", source="fork")
    assert daemon.rows("SELECT name, state FROM peers") == [("forked", "live")]


def test_a_session_for_one_prompt_has_ended_when_it_is_over_with_hooks_too(daemon: Place) -> None:
    one = daemon.agent("session-one", env={"CLAUDE_CODE_ENTRYPOINT": "sdk-cli"})
    one.tool("set_summary", name="one")
    one.hook("SessionStart", source="startup")
    one.kill()
    wait_for(lambda: daemon.row("SELECT state FROM peers WHERE name = 'one'")[0] == "ended", "it has ended")


def test_who_is_gone_before_it_is_registered_is_nobody(daemon: Place) -> None:
    register = {"kind": "claude", "cwd": "/", "session": "session-gone"}
    os.kill(daemon.pid(), signal.SIGSTOP)
    raw = (
        "import json, os, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
        "for m in json.loads(sys.argv[2]): s.sendall(json.dumps(m).encode() + b'\\n')\n"
    )
    hello = {"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"protocol": [1, 1], "client": "adapter"}}
    requests = [hello, {"jsonrpc": "2.0", "id": 2, "method": "peers.register", "params": register}]
    command = [sys.executable, "-c", raw, daemon.home.socket, json.dumps(requests)]
    subprocess.run(command, check=True, env=daemon.environ)
    os.kill(daemon.pid(), signal.SIGCONT)
    daemon.named("web")
    assert daemon.rows("SELECT name FROM peers") == [("web",)]


def test_nobody_becomes_the_person_by_saying_so(daemon: Place) -> None:
    connection = daemon.connect("adapter")
    for kind in ("person", "somebody"):
        with pytest.raises(BadInput, match="no agent kind"):
            connection.call("peers.register", {"kind": kind, "cwd": "/"})


# --- what waits is pushed ------------------------------------------------------------


def test_mail_that_is_stored_together_with_its_recipients_return_is_pushed(place: Place) -> None:
    place.start(patch=SLOW_DISK)
    web = place.named("web")
    web.kill()
    wait_for(lambda: place.row("SELECT state FROM peers WHERE name = 'web'")[0] == "away", "web is away")
    sender = other(place)
    set_slow(place, 0.4)
    messages = [ids.new_message_id() for _ in range(3)]
    back = place.agent("session-web")
    for message in messages:
        ask(sender, "messages.send", id=message, to="web", text=f"at the same moment {message}")
    for message in messages:
        back.wait_inbox(f"[end of {message}]")


@pytest.mark.slow
def test_a_line_on_its_way_while_its_adapter_registers_goes_out_once(daemon: Place) -> None:
    api = daemon.named("api")
    with Raw(daemon.home.socket).greet() as adapter:
        adapter.call("peers.register", kind="other", cwd="/", inbox=True)
        adapter.call("peers.describe", name="web")
        message = message_from(api, "web", "hello")
        line = adapter.notification("push")
        adapter.call("peers.register", kind="other", cwd="/", inbox=True, written=[])
        adapter.call("offers.written", call=line["call"])
        assert daemon.rows("SELECT written, outcome FROM offers WHERE message = ?", message) == [(1, "open")]


def test_a_session_that_gives_no_sign_is_never_written_off(daemon: Place) -> None:
    """After a full number of lines nothing more goes out at once, but it is planned; the next sign lets it out."""
    sender, web = other(daemon), daemon.named("web")
    for number in range(INBOX_LINES_MAX):
        message = send(sender, "web", f"line {number}")
        web.wait_inbox(f"[end of {message}]")
        daemon.wait_state(message, "offered")
    late = send(sender, "web", "one more")
    assert daemon.row("SELECT carrier, written FROM offers WHERE message = ?", late) == ("inbox", 0)
    web.tool("list_peers")
    web.wait_inbox(f"[end of {late}]")


def test_what_found_no_room_in_a_result_is_pushed(daemon: Place) -> None:
    sender, web = other(daemon), daemon.named("web")
    messages = [send(sender, "web", f"{number} " + "x" * 9_000) for number in range(4)]
    web.tool("list_peers")
    for message in messages:
        web.wait_inbox(f"[end of {message}]")
    text = "".join(line for _, line in web.inbox)
    assert all(text.count(f"[end of {message}]") == 1 for message in messages)


# --- what is told ------------------------------------------------------------


def test_a_bad_end_is_told_unasked_however_much_went_well_since(daemon: Place) -> None:
    sender = other(daemon)
    daemon.named("web").kill()
    wait_for(lambda: daemon.row("SELECT state FROM peers WHERE name = 'web'")[0] == "away", "web is away")
    lost = send(sender, "web", "soon void", life_s=1.0)
    live = daemon.named("live")
    fine = [send(sender, "live", f"fine {number}") for number in range(25)]
    for message in fine:
        live.wait_inbox(f"[end of {message}]")
    daemon.wait_state(lost, "expired")
    receipts = sender.call("mail.take", {"call": ids.new_token()})["receipts"]
    assert [receipt["id"] for receipt in receipts] == [lost]


def test_what_was_offered_and_never_answered_ends_with_its_life_and_says_so(daemon: Place) -> None:
    sender, web = other(daemon), daemon.named("web")
    message = send(sender, "web", "no answer needed", life_s=1.0)
    web.wait_inbox(message)
    daemon.wait_state(message, "expired")
    reason = daemon.row("SELECT reason FROM messages WHERE id = ?", message)[0]
    assert reason == "offered, and no sign that it was read in time"
    web.tool("send_message", reply_to=message, message="I did read it")
    assert daemon.state(message) == "acknowledged"


# --- too much ------------------------------------------------------------


def test_a_history_of_more_than_a_line_holds_comes_in_time(daemon: Place) -> None:
    sender, web = other(daemon), daemon.agent("s", inbox=False)
    web.tool("set_summary", name="web")
    for number in range(50):
        send(sender, "web", f"{number} " + "\u00e9" * 7_000)
    listed = web.tool("check_messages", history=50)
    assert len(re.findall(r"^- m_", listed, re.MULTILINE)) >= 50
    page = sender.call("messages.log", {"limit": 200, "texts": True})
    assert page["more"] is True
    assert 0 < len(page["messages"]) < 50


def test_calls_that_are_too_much_are_errors_and_the_session_lives_on(daemon: Place) -> None:
    web = daemon.named("web")
    for arguments in ({"history": 10**400}, {"message_id": "x" * 1_100_000}):
        answer = web.answer_to(web.ask_tool("check_messages", **arguments))["result"]
        assert answer["isError"] is True
    assert "x" * 1000 not in web.tool("list_peers")


def test_what_costs_is_refused_before_it_does(daemon: Place) -> None:
    connection = daemon.connect("adapter")
    for wrong in ({"cwd": "/" + "x" * 5_000}, {"cwd": "/a\0b"}, {"cwd": "a"}, {"session": "s" * 201}):
        with pytest.raises(BadInput):
            connection.call("peers.register", {"kind": "claude", "cwd": "/", **wrong})
