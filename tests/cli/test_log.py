"""coterie log."""

from __future__ import annotations

import re

import pytest

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


@pytest.mark.promise("T1")
def test_text_cannot_act_on_the_terminal_and_nothing_is_too_wide(shell: Shell) -> None:
    shell.ok("send", "me", "\x1b[2J\x1b]0;x\x07 " + "日本語 " * 30 + "\u202e")
    for more in ([], ["--full"]):
        said = shell.run("log", *more, terminal=40, env={"NO_COLOR": "1"}).out
        assert not re.search("[\x1b\x07\u202e]", said)
        assert "[U+001B][2J" in said
        assert all(text_width(line) <= 40 for line in said.splitlines())


@pytest.mark.promise("T2")
def test_an_agent_sees_its_own_mail_only(shell: Shell) -> None:
    api, web = shell.place.named("api"), shell.place.named("web")
    shell.ok("send", "api", "between us")
    assert "between us" in api.run(COTERIE, "log")["stdout"]
    assert "between us" not in web.run(COTERIE, "log")["stdout"]


def test_words_are_found_and_marked(shell: Shell) -> None:
    api = shell.peer("api")
    one = api.send("Deploy the staging server", to="api")
    two = api.send("first\nsecond: the server is staging\nthird", to="api")
    shell.peer("web").send("staging, too", to="web")
    said = shell.ok("log", "--search", "staging server")
    assert f"{one}\n  | Deploy the [staging] [server]\n" in said
    assert f"{two}\n  | … second: the [server] is [staging] …\n" in said
    assert said.index(one) < said.index(two), "the newest comes last"
    ways = {
        ("log", "--search", '"staging server"'): [one],
        ("search", "staging server"): [one],
        ("search", "staging", "server"): [one, two],
        ("search", "DEPL*"): [one],
        ("search", "server", "--thread", two): [two],
        ("search", "server", "-n", "1"): [two],
        ("search", "server", "--before", "2"): [one],
        ("search", "staging", "--peer", "api"): [one, two],
        ("search", "nowhere"): [],
    }
    ended = shell.all(*([*way, "--json"] for way in ways))
    for (way, wanted), each in zip(ways.items(), ended, strict=True):
        assert [message["id"] for message in parsed(each.out)["messages"]] == wanted, way
    (found,) = parsed(ended[3].out)["messages"]
    assert found["hits"] == [[0, 6]]
    assert shell.ok("search", "nowhere") == "no message holds that\n"
    assert "second: the server" in shell.ok("search", "server", "--full")
    assert "again" in shell.run("search", "server", "-n", "1").err


def test_a_search_without_a_word_is_wrong_usage(shell: Shell) -> None:
    ended = shell.all(["log", "--search", "..."], ["search"], ["search", "((", "--json"])
    assert [each.status for each in ended] == [2, 2, 2]
    assert "no word to search for" in ended[0].err


def test_a_hit_far_into_a_long_line_is_seen(shell: Shell) -> None:
    shell.ok("send", "me", "日本 \x1b[2J " + "filler " * 40 + "needle \u202e" + " filler" * 40)
    for how in ({}, {"TERM": "xterm"}, {"TERM": "xterm", "NO_COLOR": "1"}):
        said = shell.run("search", "needle", terminal=40, env=how).out
        styled = how == {"TERM": "xterm"}
        assert ("\x1b[1;7mneedle\x1b[0m" in said) == styled
        assert ("[needle]" in said) == (not styled)
        bare = re.sub("\x1b\\[[0-9;]*m", "", said)
        assert not re.search("[\x1b\u202e]", bare)
        assert all(text_width(line) <= 40 for line in bare.splitlines())


def test_an_agent_searches_its_own_mail_only(shell: Shell) -> None:
    api, web = shell.place.named("api"), shell.place.named("web")
    shell.ok("send", "api", "between us")
    assert "[between] us" in api.run(COTERIE, "search", "between")["stdout"]
    assert "no message holds that" in web.run(COTERIE, "search", "between")["stdout"]


def test_progress_is_told_where_it_takes_long(shell: Shell) -> None:
    for number in range(3):
        shell.ok("send", "me", f"word {number}")
    slow = """
from coterie.cli import progress
progress.SILENT_S = 0
from coterie.client import Client
call, answers = Client.call, [2, 1]
def slowly(self, method, params=None, *wait):
    if method == "messages.search" and answers:
        return {"messages": [], "more": True, "left": answers.pop(0), "total": 4}
    return call(self, method, params, *wait)
Client.call = slowly
"""
    said = shell.after(slow, "search", "word", terminal=80).out
    assert "taking messages into the index: 50%\r\x1b[K" in said
    assert "index: 75%" in said
    assert said.count("[word]") == 3
    assert "index" not in shell.after(slow, "search", "word").err, "not where nobody watches it"
