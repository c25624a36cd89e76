"""coterie log."""

from __future__ import annotations

import re

from cli.conftest import Shell, parsed
from cli.detached import COTERIE
from coterie.cli.table import text_width


def test_it_lists_what_was_sent_the_newest_last(shell: Shell) -> None:
    assert shell.ok("log") == "no messages\n"
    ids = [shell.ok("send", "me", text)[:14] for text in ("first", "second\nand more")]
    lines = shell.ok("log").splitlines()
    assert re.fullmatch(rf"\d\d:\d\d  {shell.me} -> {shell.me}  queued  {ids[0]}", lines[0])
    assert lines[1] == "  | first"
    assert lines[2].endswith(ids[1])
    assert lines[3] == "  | second …"
    assert "  | second\n  | and more\n" in shell.ok("log", "--full")


def test_states_come_with_their_reasons(shell: Shell) -> None:
    api = shell.peer("api")
    question = shell.ok("send", "api", "question")[:14]
    answer = api.send("answer", reply_to=question)
    assert f"acknowledged (answered by {answer})  {question}" in shell.ok("log")


def test_peers_threads_and_pages(shell: Shell) -> None:
    api, web = shell.peer("api"), shell.peer("web")
    first = shell.ok("send", "api", "one")[:14]
    api.send("two", reply_to=first)
    web.send("three", to="api")
    texts = {
        (): ["one", "two", "three"],
        ("--peer", "web"): ["three"],
        ("--thread", first[:8]): ["one", "two"],
        ("-n", "1"): ["three"],
        ("--before", "3", "-n", "1"): ["two"],
        ("--before", "1"): [],
    }
    ended = shell.all(*(["log", "--json", *arguments] for arguments in texts))
    for (arguments, wanted), said in zip(texts.items(), ended, strict=True):
        assert [message["text"] for message in parsed(said.out)["messages"]] == wanted, arguments
    paged, whole, nobody, nothing = shell.all(
        ["log", "-n", "2"], ["log"], ["log", "--peer", "nobody"], ["log", "--thread", "m_nothing"]
    )
    assert "coterie log --before 2" in paged.err
    assert whole.err == ""
    assert nobody.status == nothing.status == 1


def test_json_has_stable_keys(shell: Shell) -> None:
    shell.ok("send", "me", "hello")
    (message,) = shell.json("log")["messages"]
    assert set(message) >= {
        "seq", "id", "thread", "reply_to", "from", "from_kind", "to", "state", "reason", "carrier", "accepted_at",
        "expires_at", "text",
    }  # fmt: skip


def test_text_cannot_act_on_the_terminal_and_nothing_is_too_wide(shell: Shell) -> None:
    shell.ok("send", "me", "\x1b[2J\x1b]0;x\x07 " + "日本語 " * 30 + "\u202e")
    for more in ([], ["--full"]):
        said = shell.run("log", *more, terminal=40, env={"NO_COLOR": "1"}).out
        assert not re.search("[\x1b\x07\u202e]", said)
        assert "[U+001B][2J" in said
        assert all(text_width(line) <= 40 for line in said.splitlines())


def test_an_agent_sees_its_own_mail_only(shell: Shell) -> None:
    api, web = shell.place.named("api"), shell.place.named("web")
    shell.ok("send", "api", "between us")
    assert "between us" in api.run(COTERIE, "log")["stdout"]
    assert "between us" not in web.run(COTERIE, "log")["stdout"]
