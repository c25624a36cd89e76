"""OpenCode: what our plugin tells the hook, and the plugin itself, run by a real node in the client's place."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import coterie.agents.opencode as module
from conftest import must_have, wait_for
from coterie.agents.opencode import OPENCODE
from coterie.ids import NUDGE
from coterie.limits import HOOK_CHARS_MAX

Json = dict[str, Any]
PLUGIN = Path(module.__file__).with_name("opencode_plugin.js")
FULL = HOOK_CHARS_MAX["opencode"]
SESSION, CHILD, OTHER = "ses_main", "ses_child", "ses_other"


# --- The hook ------------------------------------------------------------------------------------------------------


def told(event: str, **fields: Any) -> Json:
    return {"event": event, "session": SESSION, "cwd": "/", "pid": 42, **fields}


@pytest.mark.parametrize(
    ("event", "fields", "room"),
    [
        ("start", {"source": "resume"}, 0),
        ("prompt", {"prompt": "fix it"}, FULL),
        ("after-tool", {"tool_use_id": "call_1"}, FULL),
        ("after-tool", {"agent_id": CHILD, "delegates": True}, 0),
        ("after-tool", {"closed": True}, 0),
        ("before-tool", {"agent_id": CHILD, "delegates": True, "tool_use_id": "call_2"}, 0),
        ("step", {}, 0),
        ("stop", {"endpoint": "/tmp/x/s"}, 0),
        ("compact", {}, 0),
        ("end", {"one_shot": True}, 0),
    ],
)
def test_each_event_in_our_words(event: str, fields: Json, room: int) -> None:
    found = OPENCODE.hook_event(told(event, **fields), {})
    assert found is not None
    assert (found["event"], found["room"], found["session"], found["agent_pid"]) == (event, room, SESSION, 42)
    passed_on = {key: value for key, value in fields.items() if key not in ("prompt", "closed")}
    assert passed_on.items() <= found.items()


@pytest.mark.parametrize("said", [{}, told("unheard of"), told("stop", session=7), {"event": []}])
def test_what_is_not_the_plugins_word(said: Json) -> None:
    assert OPENCODE.hook_event(said, {}) is None


def test_nonsense_in_a_field_is_left_out() -> None:
    found = OPENCODE.hook_event(told("after-tool", pid="x", files=["a.py", 7], cwd=None, prompt=7), {})
    assert found is not None
    assert (found["agent_pid"], found["files"], found["cwd"], found["prompt_line"]) == (0, ["a.py"], "/", "")
    assert (OPENCODE.hook_event(told("stop", files="a.py"), {}) or {})["files"] == []


def test_of_a_prompt_the_first_line_leaves_and_of_our_own_words_nothing() -> None:
    def line(prompt: str) -> str:
        return str((OPENCODE.hook_event(told("prompt", prompt=prompt), {}) or {})["prompt_line"])

    assert line("Fix the login.\nMy password is hunter2.") == "Fix the login."
    assert line(f"coterie: 1 message for you. {NUDGE}") == ""


def test_the_hook_answers_the_plugin() -> None:
    assert OPENCODE.hook_answer(told("prompt"), "mail") == {"context": "mail"}


@pytest.mark.parametrize(
    ("given", "probe", "one_shot"),
    [
        ([], False, False),
        (["--continue"], False, False),
        (["serve", "--port", "4096"], False, False),
        (["run", "hello"], False, True),
        (["--print-logs", "mcp", "list"], True, False),
    ],
)
def test_what_the_command_line_tells(
    monkeypatch: pytest.MonkeyPatch, given: list[str], probe: bool, one_shot: bool
) -> None:
    monkeypatch.setattr(module, "arguments", lambda pid: ["opencode", *given] if pid == 77 else [])
    environ = {"OPENCODE_PID": "77"}
    assert (OPENCODE.is_probe(environ), OPENCODE.one_shot(environ)) == (probe, one_shot)
    assert not OPENCODE.is_probe({})
    assert OPENCODE.agent_pid(environ, 5) == 77
    assert OPENCODE.agent_pid({}, 5) == 5


# --- The plugin ----------------------------------------------------------------------------------------------------

# Stands in for the client: it calls what stdin says, and tells what came out and what the plugin had it do.
CLIENT = """
import { createInterface } from "node:readline"
const say = (line) => process.stdout.write(JSON.stringify(line) + "\\n")
const { Coterie } = await import(process.argv[3])
let busy = {}
const session = {
  get: async ({ path }) => ({ data: { id: path.id, parentID: path.id === "ses_child" ? "ses_main" : undefined } }),
  status: async () => ({ data: busy }),
  promptAsync: async (given) => {
    if (given.body.parts[0].text === "refuse") return { error: { name: "BadRequest" } }
    say({ prompted: given })
    return {}
  },
}
const client = { session, app: { log: async ({ body }) => say({ logged: body.message }) } }
const hooks = await Coterie({ client, directory: "/project" })
say({ hooks: Object.keys(hooks) })
for await (const line of createInterface({ input: process.stdin })) {
  const { hook, input, output, status } = JSON.parse(line)
  if (status) busy = status
  else {
    await hooks[hook](input, output)
    say({ output: output ?? null })
  }
}
await hooks.dispose?.()
"""
# Stands in for coterie-hook: it notes what it is told, and answers what a file holds for that event.
HOOK = """#!/bin/sh
read -r line
printf '%s\\n' "$line" >> {folder}/told
event=$(printf '%s' "$line" | sed 's/^{{"event":"\\([a-z-]*\\)".*/\\1/')
if [ -f {folder}/$event ]; then cat {folder}/$event; fi
"""


class Client:
    """A node with the plugin in it."""

    def __init__(self, folder: Path, subcommand: str = "tui", hook: str = "", temporary: str = "") -> None:
        self.folder = folder
        program = folder / "coterie-hook"
        program.write_text(HOOK.format(folder=folder))
        program.chmod(0o700)
        source = PLUGIN.read_text().replace('"@COTERIE_HOOK@"', json.dumps(hook or str(program)))
        (folder / "plugin.mjs").write_text(source)
        (folder / "client.mjs").write_text(CLIENT)
        command = ["node", "client.mjs", subcommand, "./plugin.mjs"]
        environ = {"PATH": os.environ["PATH"], "TMPDIR": temporary or "/tmp"}
        pipe = subprocess.PIPE
        self.node = subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, env=environ, text=True)
        self.hooks: list[str] = self.next()["hooks"]

    def next(self) -> Json:
        assert self.node.stdout
        said: Json = json.loads(self.node.stdout.readline())
        return said

    def command(self, **command: Any) -> None:
        assert self.node.stdin
        self.node.stdin.write(json.dumps(command) + "\n")
        self.node.stdin.flush()

    def call(self, hook: str, input: Json, output: Any = None) -> Any:  # noqa: A002 (as the client calls it)
        """Call a hook of the plugin; what it made of the output."""
        self.command(hook=hook, input=input, output=output)
        return self.next()["output"]

    def event(self, name: str, session: str = SESSION, **more: Any) -> None:
        self.call("event", {"event": {"type": name, "properties": {"sessionID": session, **more}}})

    def prompt(self, session: str = SESSION, text: str = "fix it", agent: str = "build") -> list[Json]:
        """The user's prompt; the parts that it has then."""
        message = {"id": "msg_1f8be656e001", "agent": agent, "model": {"providerID": "p", "modelID": "m"}}
        output = {"message": message, "parts": [{"type": "text", "text": text}]}
        parts: list[Json] = self.call("chat.message", {"sessionID": session}, output)["parts"]
        return parts

    def answers(self, event: str, answer: str) -> None:
        (self.folder / event).write_text(answer)

    def told(self, count: int) -> list[Json]:
        """What the hook was told, once it was told so often."""
        file = self.folder / "told"
        wait_for(lambda: file.exists() and len(file.read_text().splitlines()) >= count, f"{count} events")
        return [json.loads(line) for line in file.read_text().splitlines()]

    def events(self, count: int) -> list[str]:
        return [said["event"] for said in self.told(count)]

    def ask(self, line: str) -> Json:
        """What the plugin answers on its socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(self.told(1)[-1]["endpoint"])
            connection.sendall(line.encode() + b"\n")
            answer: Json = json.loads(connection.makefile().readline())
            return answer

    def close(self) -> None:
        self.node.communicate(timeout=20)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    must_have(shutil.which("node") is not None, "node")
    client = Client(tmp_path)
    yield client
    client.close()


def test_a_copy_that_nobody_filled_in_does_nothing(tmp_path: Path) -> None:
    must_have(shutil.which("node") is not None, "node")
    client = Client(tmp_path, hook="@COTERIE_HOOK@")
    assert client.hooks == []
    client.close()


def test_nothing_is_told_before_the_first_prompt(client: Client) -> None:
    client.event("session.created", info={})
    client.event("session.idle")
    client.call("tool.execute.after", {"tool": "bash", "sessionID": SESSION, "callID": "c"}, {"output": "x"})
    client.prompt()
    assert client.events(2) == ["start", "prompt"]


def test_a_session_is_told_of_with_its_folder_its_process_and_where_it_is_woken(client: Client) -> None:
    client.event("session.created", info={})
    client.prompt(text="fix it\nplease")
    start, prompt = client.told(2)
    assert start["source"] == "startup"
    assert prompt["prompt"] == "fix it\nplease"
    for said in (start, prompt):
        assert (said["session"], said["cwd"], said["pid"]) == (SESSION, "/project", client.node.pid)
    found = os.stat(start["endpoint"])
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(start["endpoint"])).st_mode) == 0o700


def test_its_socket_goes_with_it(client: Client) -> None:
    client.prompt()
    folder = os.path.dirname(client.told(1)[0]["endpoint"])
    client.close()
    assert not os.path.exists(folder)


def test_another_session_is_the_one_when_it_is_prompted(client: Client) -> None:
    client.prompt()
    client.event("session.created", OTHER, info={})
    client.event("session.idle", OTHER)
    client.prompt(OTHER)
    client.event("session.idle", SESSION)
    client.prompt(SESSION)
    starts = [said for said in client.told(6) if said["event"] == "start"]
    assert [(said["session"], said["source"]) for said in starts] == [
        (SESSION, "resume"),
        (OTHER, "clear"),
        (SESSION, "resume"),
    ]
    assert "stop" not in client.events(6), "of a session that is not the one"


def test_context_comes_behind_the_prompt_marked_as_not_the_users(client: Client) -> None:
    client.answers("prompt", '{"context": "mail"}')
    user, ours = client.prompt()
    assert user["text"] == "fix it"
    assert (ours["synthetic"], ours["text"]) == (True, "<system-reminder>\nmail\n</system-reminder>")
    assert ours["id"].startswith("prt_")


@pytest.mark.parametrize("answer", ["", "nonsense", "{}", "7", "null"])
def test_without_context_a_prompt_stays_as_it_is(client: Client, answer: str) -> None:
    client.answers("prompt", answer)
    assert client.prompt() == [{"type": "text", "text": "fix it"}]


@pytest.mark.promise("R3")
def test_context_comes_with_the_results_of_both_sorts_of_tools(client: Client) -> None:
    client.prompt()
    client.answers("after-tool", '{"context": "mail"}')
    args = {"filePath": "a.py"}
    done = client.call(
        "tool.execute.after", {"tool": "edit", "sessionID": SESSION, "callID": "c1", "args": args}, {"output": "x"}
    )
    assert done == {"output": "x\n\nmail"}
    done = client.call(
        "tool.execute.after",
        {"tool": "coterie_x", "sessionID": SESSION, "callID": "c2"},
        {"content": [{"type": "text", "text": "x"}]},
    )
    assert [part["text"] for part in done["content"]] == ["mail", "x"], "of a long result the end is cut off"
    edit, other = client.told(4)[2:]
    assert (edit["tool_use_id"], edit["files"], other["files"]) == ("c1", ["a.py"], [])


def test_for_a_result_that_takes_no_text_none_is_asked(client: Client) -> None:
    client.prompt()
    client.answers("after-tool", '{"context": "mail"}')
    for result in ({}, None):
        given = {"tool": "x", "sessionID": SESSION, "callID": "c"}
        assert client.call("tool.execute.after", given, result) == result
    assert [said["closed"] for said in client.told(4)[2:]] == [True, True]


def test_its_own_errors_go_to_the_clients_log(client: Client) -> None:
    client.command(hook="chat.message", input={"sessionID": SESSION}, output={})
    assert "TypeError" in client.next()["logged"]
    assert client.next() == {"output": {}}


def test_a_step_is_told_of_when_tools_have_run_and_the_next_request_follows(client: Client) -> None:
    asked = {"messages": [{"info": {"sessionID": SESSION}}]}
    client.prompt()
    client.call("experimental.chat.messages.transform", {}, asked)
    client.call("tool.execute.after", {"tool": "bash", "sessionID": SESSION, "callID": "c"}, {"output": "x"})
    client.call("experimental.chat.messages.transform", {}, {"messages": []})
    client.call("experimental.chat.messages.transform", {}, asked)
    client.call("experimental.chat.messages.transform", {}, asked)
    client.event("session.idle")
    assert client.events(5) == ["start", "prompt", "after-tool", "step", "stop"]


def test_the_request_for_a_compaction_is_no_step(client: Client) -> None:
    client.prompt()
    client.call("tool.execute.after", {"tool": "bash", "sessionID": SESSION, "callID": "c"}, {"output": "x"})
    client.call("experimental.session.compacting", {"sessionID": SESSION}, {})
    client.call("experimental.chat.messages.transform", {}, {"messages": [{"info": {"sessionID": SESSION}}]})
    client.event("session.compacted")
    client.event("session.deleted")
    assert client.events(5) == ["start", "prompt", "after-tool", "compact", "end"]


def test_the_end_of_a_turn_that_the_next_one_overtook_is_no_stop(client: Client) -> None:
    client.prompt()
    client.command(status={SESSION: {"type": "busy"}})
    client.event("session.idle")
    client.event("session.compacted")
    assert client.events(3) == ["start", "prompt", "compact"]


def test_a_sub_agent_gets_nothing_and_its_calls_of_ours_are_told_of(client: Client) -> None:
    client.prompt()
    client.answers("after-tool", '{"context": "mail"}')
    assert len(client.prompt(CHILD)) == 1
    for tool in ("bash", "coterie_list_peers"):
        client.call("tool.execute.before", {"tool": tool, "sessionID": CHILD, "callID": tool}, {"args": {}})
        done = client.call("tool.execute.after", {"tool": tool, "sessionID": CHILD, "callID": tool}, {"content": []})
        assert done == {"content": []}
    client.event("session.idle", CHILD)
    said = client.told(4)[2:]
    assert [(s["event"], s["agent_id"], s["delegates"], s["session"]) for s in said] == [
        ("before-tool", CHILD, True, SESSION),
        ("after-tool", CHILD, True, SESSION),
    ]


@pytest.mark.parametrize(("status", "nudge"), [({}, "started"), ({SESSION: {"type": "busy"}}, "steered")])
def test_it_is_woken_with_the_agent_and_the_model_that_its_user_chose_last(
    client: Client, status: Json, nudge: str
) -> None:
    client.prompt(agent="plan")
    client.command(status=status or {OTHER: {"type": "busy"}})
    assert client.ask(json.dumps({"session": SESSION, "text": "a word"})) == {"nudge": nudge}
    prompted = client.next()["prompted"]
    assert prompted["path"] == {"id": SESSION}
    body = {
        "agent": "plan",
        "model": {"providerID": "p", "modelID": "m"},
        "parts": [{"type": "text", "text": "a word"}],
    }
    assert prompted["body"] == body


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"session": "ses_unknown", "text": "a word"}', "not open here"),
        ('{"session": "ses_main", "text": "refuse"}', "BadRequest"),
        ("nonsense", "SyntaxError"),
        ("null", "TypeError"),
    ],
)
def test_what_it_does_not_take_it_says(client: Client, line: str, error: str) -> None:
    client.prompt()
    assert error in client.ask(line)["error"]


def test_a_line_that_comes_too_late_is_not_prompted(client: Client) -> None:
    client.prompt()
    line = {"session": SESSION, "text": "a word"}
    assert client.ask(json.dumps(line | {"until": time.time() - 1})) == {"error": "it came too late"}
    assert client.ask(json.dumps(line | {"until": time.time() + 60})) == {"nudge": "started"}
    assert client.next()["prompted"]["path"] == {"id": SESSION}


def test_who_stands_still_does_not_prompt_what_nobody_waits_for_any_more(client: Client) -> None:
    client.prompt()
    endpoint = client.told(1)[0]["endpoint"]
    os.kill(client.node.pid, signal.SIGSTOP)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(endpoint)
            line = {"session": SESSION, "text": "too late", "until": time.time() + 60}
            connection.sendall(json.dumps(line).encode() + b"\n")
    finally:
        os.kill(client.node.pid, signal.SIGCONT)
    assert client.ask(json.dumps({"session": SESSION, "text": "in time"})) == {"nudge": "started"}
    assert client.next()["prompted"]["body"]["parts"][0]["text"] == "in time"


def test_a_hook_that_is_stuck_is_waited_for_once(client: Client) -> None:
    client.prompt()
    (client.folder / "coterie-hook").write_text(f"#!/bin/sh\necho x >> {client.folder}/slow\nexec sleep 2.2\n")
    for _ in range(2):
        assert len(client.prompt()) == 1
    client.event("session.idle")
    assert (client.folder / "slow").read_text() == "x\n"


def test_where_no_socket_can_be_it_is_not_woken_and_told_of_all_the_same(tmp_path: Path) -> None:
    must_have(shutil.which("node") is not None, "node")
    client = Client(tmp_path, temporary="/nowhere")
    client.prompt()
    assert all("endpoint" not in said for said in client.told(2))
    client.close()


def test_where_the_path_would_be_too_long_for_a_socket_it_lies_elsewhere(tmp_path: Path) -> None:
    must_have(shutil.which("node") is not None, "node")
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    client = Client(tmp_path, temporary=str(folder))
    client.prompt()
    assert len(client.told(1)[0]["endpoint"]) < 100
    client.close()
    assert os.listdir(folder) == []


def test_a_run_is_not_woken(tmp_path: Path) -> None:
    must_have(shutil.which("node") is not None, "node")
    client = Client(tmp_path, "run")
    client.prompt()
    assert [said["one_shot"] for said in client.told(2)] == [True, True]
    assert all("endpoint" not in said for said in client.told(2))
    client.close()


def test_without_our_hook_the_session_goes_on(tmp_path: Path) -> None:
    must_have(shutil.which("node") is not None, "node")
    client = Client(tmp_path, hook="/nowhere/coterie-hook")
    assert client.prompt() == [{"type": "text", "text": "fix it"}]
    client.close()
