"""coterie watch."""

from __future__ import annotations

import json
import os
import re
import subprocess

from cli.conftest import Shell
from cli.detached import COTERIE, Command
from conftest import wait_for
from coterie import ids
from coterie.cli.happenings import line
from coterie.cli.table import text_width

STAMP = r"\d\d:\d\d:\d\d"


def watching(shell: Shell, *arguments: str, first: str = "here now|now .* here", **how: object) -> Command:
    """A watch under way, which has said what is now."""
    command = shell.start("watch", *arguments, **how)
    command.wait_for(first, "out")
    return command


def end(command: Command) -> str:
    """What was said until Ctrl-C."""
    command.interrupt()
    ended = command.finish()
    assert ended.status == 130, str(ended)
    assert "Traceback" not in ended.err
    return ended.out


def test_it_tells_what_is_now_and_then_what_happens(shell: Shell) -> None:
    api = shell.place.named("api")
    shell.peer("web").send("waiting", to="api")
    watch = watching(shell)
    question = shell.ok("send", "api", "which port?\nand why")[:14]
    api.hook("UserPromptSubmit", prompt=api.wait_inbox("which port?")[1])
    watch.wait_for(f"shown  {question}", "out")
    answer = api.tool("send_message", reply_to=question, message="8443").split()[0]
    watch.wait_for(f"answered by {answer}", "out")
    api.kill()
    watch.wait_for("went away", "out")
    first, *lines = end(watch).splitlines()
    assert re.fullmatch(r"now 2 here:  web \(codex\)  api \(claude, 1 unread for 0s\)", first)
    text = "\n".join(lines)
    for expected in (
        rf"{STAMP}  {shell.me} -> api  sent  {question}  \| which port\? and why",
        rf"{STAMP}  {shell.me} -> api  offered through its inbox  {question}",
        rf"{STAMP}  api \(claude\)  .*works",
        rf"{STAMP}  api -> {shell.me}  sent  {answer}  \| 8443",
        rf"{STAMP}  api \(claude\)  went away: its mail waits",
    ):
        assert re.search(f"^{expected}$", text, re.MULTILINE), expected
    assert all(re.match(STAMP, line) for line in lines)


def test_json_is_an_object_a_line(shell: Shell) -> None:
    api = shell.peer("api")
    watch = watching(shell, "--json", first='"now"')
    message = api.send("hello", to="api")
    watch.wait_for(message, "out")
    now, event = map(json.loads, end(watch).splitlines())
    assert set(now) == {"kind", "at", "me", "peers", "devices"}
    assert [card["name"] for card in now["peers"]] == ["api"]
    assert set(event) == {
        "kind", "at", "id", "seq", "thread", "reply_to", "from", "from_id", "to", "to_id", "state", "reason", "carrier",
        "line", "past",
    }  # fmt: skip
    assert (event["kind"], event["id"], event["line"], event["past"]) == ("message", message, "hello", False)


def test_the_last_ones_come_first_and_once(shell: Shell) -> None:
    api = shell.peer("api")
    one, two = api.send("one", to="api"), api.send("two", to="api")
    watch = watching(shell, "-n", "1")
    three = api.send("three", to="api")
    watch.wait_for(three, "out")
    said = end(watch)
    assert one not in said
    assert said.count(two) == said.count(three) == 1


def test_filters(shell: Shell) -> None:
    repo = shell.place.root / "repo"
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    os.mkdir(repo / "within")
    api, web = shell.peer("api", cwd=str(repo / "within")), shell.peer("web")
    first = api.send("one", to="web")
    commands = {
        "peer": watching(shell, "--peer", "api"),
        "thread": watching(shell, "--thread", first),
        "repo": watching(shell, "--repo", str(repo)),
    }
    shell.cwd = str(repo)
    commands["here"] = watching(shell, "--repo", "-n", "9")
    sent = {
        "other": web.send("between others", to="web"),
        "answer": web.send("two", reply_to=first),
        "last": api.send("three", to="web"),
    }
    for name, command in commands.items():
        command.wait_for(sent["answer" if name == "thread" else "last"], "out")
    said = {name: end(command) for name, command in commands.items()}
    assert not any(sent["other"] in text for text in said.values())
    assert sent["last"] not in said["thread"]
    assert all(sent["answer"] in text for text in said.values())
    assert said["here"].count(f"sent  {first}") == 1
    wrong = shell.all(["watch", "--peer", "nobody"], ["watch", "--thread", "m_none"], ["watch", "--repo", "/none"])
    assert [ended.status for ended in wrong] == [1, 1, 2]


def test_when_the_daemon_goes_away_it_waits_and_tells_what_it_missed(shell: Shell) -> None:
    shell.place.start()
    api = shell.place.named("api", inbox=False)
    waiting = shell.ok("send", "api", "waiting")[:14]
    lost = shell.ok("send", "api", "will be read meanwhile")[:14]
    watch, program = watching(shell, "-n", "9"), watching(shell, "--json", "-n", "9", first='"now"')
    watch.wait_for(lost, "out")
    program.wait_for(lost, "out")
    shell.place.kill()
    watch.wait_for("lost the daemon; waiting until one is there", "out")
    # The adapter of api starts the next one.
    missed = api.tool("send_message", to="me", message="sent meanwhile").split()[0]
    api.hook("UserPromptSubmit", prompt="go on")
    api.hook("Stop")
    program.wait_for('"back"', "out")
    watch.wait_for("the daemon is back", "out")
    after = shell.ok("send", "api", "after")[:14]
    watch.wait_for(after, "out")
    program.wait_for(after, "out")
    said = end(watch)
    assert said.index("lost the daemon") < said.index("is back") < said.index(missed) < said.index(after)
    assert re.search(rf"api  shown  {lost}", said), "what became of an older one is told, too"
    events = [json.loads(line) for line in end(program).splitlines()]
    at = next(number for number, event in enumerate(events) if event["kind"] == "back")
    assert not events[at]["more"]
    assert events[at]["missed"] == sum(event.get("past", False) for event in events[at:])
    numbers = [event["seq"] for event in events if event["kind"] == "message"]
    assert numbers == [1, 2, 3, 4], "each once"
    assert waiting in said


THREE_LOOKS = """
import os, signal
from coterie.cli import watch
begin, looks = watch.Watcher._begin, []
def begin_and_lose_it(self, client, last):
    begin(self, client, last)
    os.kill(client.hello["pid"], signal.SIGKILL)
def look_again(seconds):
    looks.append(seconds)
    if len(looks) > 3: raise KeyboardInterrupt
watch.Watcher._begin, watch.time.sleep = begin_and_lose_it, look_again
"""


def test_it_starts_no_daemon_while_it_waits(shell: Shell) -> None:
    ended = shell.after(THREE_LOOKS, "watch")
    assert ended.status == 130, str(ended)
    assert "lost the daemon; waiting until one is there" in ended.out
    assert "is back" not in ended.out
    assert shell.run("status").status == 3


def test_nothing_acts_on_the_terminal_and_no_line_wraps(shell: Shell) -> None:
    api = shell.peer("api")
    for columns in (40, 80):
        watch = watching(shell, terminal=columns, env={"NO_COLOR": "1", "TERM": "xterm"})
        message = api.send("\x1b[2J\x07\u202e日本語 " + "long " * 50, to="api")
        watch.wait_for("-> api  sent", "out")
        api.call("peers.describe", summary=f"\x1b[2J {columns} " + "日本語 " * 20)
        watch.wait_for("does:", "out")
        watch.wait_for(r"does:[^\n]*\n", "out")
        said = end(watch)
        assert message[:6] in said
        assert not re.search("[\x1b\x07\u202e]", said.replace("^C", ""))
        assert all(text_width(one) <= columns for one in said.splitlines())


def test_guards_and_notices_stand_out() -> None:
    about = {"at": 0.0, "from": "api", "from_id": "p_a", "to": "web", "to_id": "p_b"}
    refused = line({"kind": "limit", **about, "limit": "pair-rate", "message": "too\nmany", "retry_s": 12.5}, None)
    assert refused
    assert re.fullmatch(rf"! {STAMP}  api -> web  refused \(pair-rate\)  too many  again in 12 s", refused)
    told = line({"kind": "notice", "at": 0.0, "id": "m_1", "to_id": "p_me", "text": "api and web go in circles"}, None)
    assert told
    assert re.fullmatch(rf"! {STAMP}  notice to you  api and web go in circles  m_1", told)
    assert line({"kind": "of a newer daemon", "at": 0.0}, None) is None


def test_what_devices_ask_for_stands_out_while_it_waits() -> None:
    request = {"id": "r_1", "name": "laptop", "incoming": True, "wanted": "task", "message": None, "state": "held"}
    waits = line({"kind": "request", "at": 0.0, "request": {**request, "told": False}}, None)
    assert waits
    assert re.fullmatch(rf"! {STAMP}  device laptop  wants the right task: waits for you  r_1", waits)

    def said(**changed: object) -> str:
        told = line({"kind": "request", "at": 0.0, "request": {**request, "told": False, **changed}}, None)
        assert told
        return told.partition("  ")[2]

    assert said(message="m_1").endswith("wants a message, m_1: waits for you  r_1")
    assert said(state="refused") == "device laptop  wants the right task: refused  r_1"
    assert said(incoming=False) == "device laptop  asked for the right task: it is asked  r_1"
    assert said(incoming=False, told=True) == "device laptop  asked for the right task: waits for its person  r_1"
    assert said(incoming=False, state="approved") == "device laptop  asked for the right task: approved  r_1"


def test_a_refused_send_stands_out(shell: Shell) -> None:
    api, web = shell.place.named("api"), shell.peer("web")
    watch = watching(shell)
    while "m_" in (said := api.tool("send_message", to="web", message="the same again")):
        web.read("the same again")
    assert "10 minutes" in said
    watch.wait_for("refused [^\n]*\n", "out")
    lines = end(watch).splitlines()
    assert any(re.match(rf"! {STAMP}  api -> web  refused \(repeats\)  ", one) for one in lines), lines


def test_an_agent_watches_its_own_mail(shell: Shell) -> None:
    api, web = shell.place.named("api"), shell.peer("web")
    api.run("sh", "-c", f"{COTERIE} watch --json >$HOME/seen 2>&1 & echo $! >$HOME/pid")
    (file,) = shell.place.root.glob("*/seen")
    wait_for(lambda: '"now"' in file.read_text(), "it watches")
    web.send("not for api", to="web")
    mine = web.send("for api", to="api")
    wait_for(lambda: mine in file.read_text(), "its own comes")
    assert "not for api" not in file.read_text()
    api.run("sh", "-c", "kill $(cat $HOME/pid)")
    assert ids.is_message_id(mine)
