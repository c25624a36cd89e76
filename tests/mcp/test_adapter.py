"""The adapter as a process: what it survives, what ends it, what it weighs, and its wire."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Place, running, wait_for
from coterie.frames import Letter, frame
from coterie.limits import PROTOCOL
from coterie.mcp import tools, words
from coterie.mcp.adapter import Adapter
from coterie.mcp.link import Link
from coterie.mcp.wire import REVISIONS

HEAVY = {
    *("asyncio", "sqlite3", "psutil", "click", "argparse", "logging", "subprocess", "tempfile", "pathlib"),
    *("dataclasses", "typing", "inspect", "hashlib", "hmac", "secrets", "uuid", "ssl", "importlib.metadata"),
}


def initialize(number: int = 1, revision: str = "2025-11-25") -> dict[str, Any]:
    info = {"name": "claude-code", "version": "0"}
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": info}
    return {"jsonrpc": "2.0", "id": number, "method": "initialize", "params": params}


# --- what it survives ------------------------------------------------------------------------------------------


def test_a_session_outlives_the_daemon_and_calls_in_flight_get_their_answer(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web")
    call = api.ask_tool("send_message", to="web", message="are you there?", wait_s=20)
    _, line = web.wait_inbox("are you there?")
    question = re.search(r"m_\w+", line)[0]  # type: ignore[index]
    daemon.kill()
    answer = re.match(r"m_\w+", web.tool("send_message", reply_to=question, message="still here"))[0]  # type: ignore[index]
    # The answer may overtake the question that is asked again; then the inbox has its text, and the result names it.
    assert answer in api.answer_to(call)["result"]["content"][0]["text"]
    assert daemon.row("SELECT count(*) FROM messages")[0] == 2


@pytest.mark.promise("D1")
def test_a_send_that_the_daemon_took_to_its_grave_is_stored_once(place: Place) -> None:
    place.start("--crash-at", "after-commit:7")
    api, web = place.named("api"), place.named("web")
    sent = [api.tool("send_message", to="web", message=f"number {n}") for n in range(5)]
    assert all("web (live)" in text for text in sent)
    for n in range(5):
        web.wait_inbox(f"number {n}")
    assert place.row("SELECT count(*), count(DISTINCT text) FROM messages") == (5, 5)
    text = "".join(text for _, text in web.inbox)
    assert all(text.count(f"| number {n}\n") == 1 for n in range(5))


def test_without_a_daemon_it_answers_initialize_and_says_in_every_result_why(place: Place) -> None:
    os.chmod(place.home.folder, 0o755)
    api = place.raw_agent("s")
    assert api.initialize()["serverInfo"]["name"] == "coterie"
    for tool, arguments in (("list_peers", {}), ("check_messages", {}), ("send_message", {"to": "x", "message": "y"})):
        answer = api.answer_to(api.ask_tool(tool, **arguments))["result"]
        assert answer["isError"] is True
        assert f"chmod 700 {place.home.folder}" in answer["content"][0]["text"]
    os.chmod(place.home.folder, 0o700)
    assert "You are" in api.tool("list_peers")


def test_switched_off_it_says_so_and_comes_back_when_it_is_on(place: Place) -> None:
    Path(place.home.off).touch(0o600)
    api = place.agent("s")
    assert "coterie up" in api.tool("list_peers")
    assert place.pid() == 0
    os.unlink(place.home.off)
    assert "You are" in api.tool("list_peers")


# --- what ends it ------------------------------------------------------------------------------------------------


def test_it_ends_when_its_client_closes_stdin(daemon: Place) -> None:
    api = daemon.agent("s")
    api.command(eof=True)
    assert api.wait(lambda event: event.get("adapter_ended") is not None, "the adapter ends")


def test_it_ends_when_its_agent_is_gone_though_stdin_stays_open(daemon: Place) -> None:
    reader, writer = os.pipe()
    script = "import os,subprocess,sys,time\np=subprocess.Popen(sys.argv[1:]);print(p.pid,flush=True);time.sleep(60)"
    adapter = [sys.executable, "-P", "-m", "coterie.mcp.main"]
    agent = subprocess.Popen(
        [sys.executable, "-c", script, *adapter], stdin=reader, stdout=subprocess.PIPE, env=daemon.environ
    )
    assert agent.stdout
    pid = int(agent.stdout.readline())
    os.write(writer, json.dumps(initialize()).encode() + b"\n")
    assert b"protocolVersion" in agent.stdout.readline()
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    wait_for(lambda: not running(pid), "the adapter ends")
    agent.stdout.close()
    os.close(reader)
    os.close(writer)


# --- what it weighs ------------------------------------------------------------------------------------------------


def test_a_living_adapter_has_loaded_only_light_modules(daemon: Place) -> None:
    """Looked at in the process itself, after a send and a push."""
    report = daemon.root / "modules"
    bare = f"import sys; open({str(report) + '.bare'!r}, 'w').write(' '.join(sys.modules))"
    subprocess.run([sys.executable, "-P", "-c", bare], check=True)
    script = f"from coterie.mcp.main import main; main(); {bare.replace('.bare', '')}"
    api, web = daemon.named("api", adapter=[sys.executable, "-P", "-c", script]), daemon.named("web")
    api.tool("send_message", to="web", message="hello")
    web.tool("send_message", to="api", message="hello back")
    api.wait_inbox("hello back")
    api.command(eof=True)
    api.wait(lambda event: "adapter_ended" in event, "the adapter ends")
    loaded = set(report.read_text().split()) - set(Path(f"{report}.bare").read_text().split())
    assert not loaded & HEAVY
    ours = {name for name in loaded if name.split(".")[0] == "coterie"}
    assert {"coterie.client", "coterie.mcp.adapter", "coterie.agents.claude"} <= ours
    assert not {name for name in ours if name.split(".")[1:2] in (["daemon"], ["store"], ["cli"], ["testing"])}


def test_what_every_session_pays_for_is_short() -> None:
    listed = json.dumps([tool.to_wire() for tool in tools.CORE], ensure_ascii=False)
    assert len(words.INSTRUCTIONS.encode()) <= 2048
    assert len(listed) + len(words.INSTRUCTIONS) <= 6000


# --- its wire ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_handshake_revision_is_spoken(daemon: Place, revision: str) -> None:
    assert daemon.raw_agent("s").initialize(revision)["protocolVersion"] == revision


def test_another_revision_gets_the_newest(daemon: Place) -> None:
    assert daemon.raw_agent("s").initialize("2031-01-01")["protocolVersion"] == "2025-11-25"


def test_what_is_unknown_is_an_error_and_the_session_lives_on(daemon: Place) -> None:
    api = daemon.agent("s")
    for method in ("server/discover", "resources/list", "prompts/list", "logging/setLevel"):
        assert api.answer_to(api.ask(method))["error"]["code"] == -32601
    assert api.request("ping") == {}


def error_of(agent: Any) -> tuple[Any, int]:
    message = agent.wait(lambda event: event.get("mcp") if "error" in event.get("mcp", {}) else None, "an error")
    return message.get("id"), message["error"]["code"]


@pytest.mark.promise("N1")
def test_lines_that_are_not_json_rpc_get_an_error_and_the_session_lives_on(daemon: Place) -> None:
    api = daemon.agent("s")
    for line, expected in (
        ("{", (None, -32700)),
        ('{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', (None, -32700)),
        ('{"jsonrpc":"2.0","id":7,"method":"ping","params":NaN}', (None, -32700)),
        ("[" * 100_000, (None, -32700)),
        ("\udcff", (None, -32700)),
        ("7", (None, -32700)),
        ('{"id":8,"method":"ping"}', (8, -32600)),
        ('{"jsonrpc":"2.0","id":9,"method":7}', (9, -32600)),
        ('{"jsonrpc":"2.0","id":null,"method":"ping"}', (None, -32600)),
        ('[{"jsonrpc":"2.0","id":10,"method":"ping"}]', (None, -32600)),
    ):
        api.command(raw=line + "\n")
        assert error_of(api) == expected, line[:60]
    assert api.request("ping") == {}


def test_a_message_in_pieces_is_served_whole(daemon: Place) -> None:
    api = daemon.agent("s")
    for piece in json.dumps({"jsonrpc": "2.0", "id": "in pieces", "method": "ping"}) + "\n":
        api.command(raw=piece)
    api.wait(lambda event: event.get("mcp", {}).get("id") == "in pieces", "an answer")


def test_batches_belong_to_one_revision(daemon: Place) -> None:
    api = daemon.raw_agent("s")
    api.initialize("2025-03-26")
    batch = [
        {"jsonrpc": "2.0", "id": "a", "method": "ping"},
        {"jsonrpc": "2.0", "id": "b", "method": "tools/call", "params": {"name": "list_peers"}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": "c", "method": "nothing"},
    ]
    api.command(raw=json.dumps(batch) + "\n")
    answers = api.wait(lambda event: event["mcp"] if isinstance(event.get("mcp"), list) else None, "a batch")
    assert {answer["id"]: "result" in answer for answer in answers} == {"a": True, "b": True, "c": False}


def test_calls_are_answered_while_another_waits(daemon: Place) -> None:
    api, _ = daemon.named("api"), daemon.named("web")
    waiting = api.ask_tool("send_message", to="web", message="take your time", wait_s=2)
    assert "You are api" in api.tool("list_peers")
    assert api.request("ping") == {}
    assert "No answer yet" in api.answer_to(waiting)["result"]["content"][0]["text"]


def test_the_protocol_number_is_what_hello_says(daemon: Place) -> None:
    assert daemon.connect().hello["protocol"] == PROTOCOL


def test_a_channel_is_used_where_there_is_no_inbox_and_the_user_turned_it_on(daemon: Place) -> None:
    api = daemon.named("api")
    web = daemon.raw_agent("session-web", inbox=False, env={"COTERIE_CHANNEL": "1"})
    assert web.initialize()["capabilities"]["experimental"] == {"claude/channel": {}}
    web.tool("set_summary", name="web")
    message = api.tool("send_message", to="web", message="by channel").split()[0]
    pushed = web.wait(lambda event: event.get("mcp", {}).get("method") and event["mcp"], "a notification")
    assert pushed["method"] == "notifications/claude/channel"
    assert f"[coterie message {message} from " in pushed["params"]["content"]
    daemon.wait_state(message, "offered")
    web.hook("UserPromptSubmit", prompt=f'<channel source="coterie">{pushed["params"]["content"]}</channel>')
    daemon.wait_state(message, "shown")


@pytest.mark.parametrize("env", [{}, {"COTERIE_CHANNEL": ""}])
def test_without_the_users_word_no_channel_is_used(daemon: Place, env: dict[str, str]) -> None:
    web = daemon.raw_agent("session-web", inbox=False, env=env)
    assert web.initialize()["capabilities"] == {"tools": {}}


def test_with_an_inbox_there_is_no_channel(daemon: Place) -> None:
    web = daemon.raw_agent("session-web", env={"COTERIE_CHANNEL": "1"})
    assert web.initialize()["capabilities"] == {"tools": {}}


# --- what it says of its results -------------------------------------------------------------------------------


class Calls(Link):
    """A link that only notes what is called."""

    def __init__(self, on_notification: Any, registration: Any) -> None:
        self.registration = registration
        self.made: list[tuple[str, dict[str, Any]]] = []
        self._done: list[Any] = []

    def want(self) -> None:
        """Nothing to connect to."""

    register_again = want

    def call(self, method: str, params: dict[str, Any], done: Any, wait_s: float = 0.0) -> None:
        self.made.append((method, params))
        self._done.append(done)

    def answer(self, result: dict[str, Any]) -> None:
        """The daemon answers the last call."""
        self._done[-1](result, None)


NO_MAIL: dict[str, Any] = {"frames": [], "notes": [], "waiting": 0, "letters": [], "receipts": []}
ANSWER = Letter("m_000000000000", "web", "claude", "this device", "m_111111111111", None, "yes")


@pytest.mark.parametrize("answered", [True, False])
def test_it_says_of_no_text_that_it_is_out_that_its_result_does_not_hold(answered: bool) -> None:
    """A wait ends without its answer; one that was stored in that moment is the next carrier's."""
    links: list[Calls] = []
    out, given = os.pipe()

    def link(*arguments: Any) -> Link:
        links.append(Calls(*arguments))
        return links[0]

    adapter = Adapter({"HOME": "/nowhere"}, stdout=given, link=link)
    arguments = {"to": "web", "message": "are you there?", "wait_s": 1}
    params = {"name": "send_message", "arguments": arguments}
    for request in (
        initialize(),
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params},
    ):
        adapter._wire.feed(json.dumps(request).encode() + b"\n")
    (called,) = links
    call = f"wait:{called.made[-1][1]['id']}"
    line = {"id": "m_222222222222", "to": "web", "to_state": "live", "state": "offered", "life_s": 60.0}
    answer = {"id": ANSWER.id, "call": call, "frame": frame(ANSWER), "text": ANSWER.text} if answered else None
    called.answer({"messages": [{**line, "to_id": "p_1", "carrier": None, "reach": "tools"}], "answer": answer})
    take = called.made[-1]
    assert called.registration()[1]["held"] == {take[1]["call"]: [], call: [ANSWER.id] if answered else []}
    called.answer(NO_MAIL)
    said = ("mail.written", {"calls": [call]}) if answered else ("mail.failed", {"call": call})
    assert called.made[2:] == [said]
    assert called.registration()[1]["written"] == ([call] if answered else [])
    assert called.registration()[1]["held"] == {}
    os.close(given)
    with open(out, "rb") as written:
        assert ("[coterie message m_000000000000 from " in written.read().decode()) == answered
