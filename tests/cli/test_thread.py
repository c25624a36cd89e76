"""coterie thread."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cli.conftest import Shell, parsed
from cli.detached import COTERIE
from conftest import wait_for
from coterie.cli.standing import standing, tries
from coterie.cli.table import text_width

NOW = 1_800_000_000.0


def say(agent: Any, **message: str) -> str:
    return str(agent.tool("send_message", **message).split()[0])


def read(agent: Any, prompt: str = "go on") -> None:
    """A turn of a session with hooks, in which its model is given its mail."""
    agent.hook("UserPromptSubmit", prompt=prompt)
    agent.hook("Stop")


def test_a_conversation_in_its_order_with_where_each_stands(shell: Shell) -> None:
    api = shell.place.named("api", inbox=False)
    first = shell.ok("send", "api", "which port?\nand why")[:14]
    read(api)
    second = say(api, reply_to=first, message="8443")
    third = shell.ok("reply", second, "are you sure?")[:14]
    said = shell.ok("thread", second[:8])
    assert [said.index(message) for message in (first, second, third)] == sorted(
        said.index(message) for message in (first, second, third)
    )
    lines = said.splitlines()
    assert re.fullmatch(rf"\d\d:\d\d  {shell.me} -> api  acknowledged  {first}", lines[0])
    assert lines[1] == "  | which port? …"
    assert lines[2] == f"  = answered now by {second}"
    assert re.search(r"  = waits for \ds: api gets it at its next step or prompt.*api is idle, last sign", said)
    assert "  | which port?\n  | and why\n" in shell.ok("thread", first, "--full")
    read(api)
    assert re.search("= shown now, not answered; api is idle", shell.ok("thread", first))


def test_why_it_waits_and_what_was_tried(shell: Shell) -> None:
    api = shell.place.named("api", inbox=False)
    message = shell.ok("send", "api", "?")[:14]
    api.hook("UserPromptSubmit", prompt="go on")
    assert "= offered by a hook now, no sign yet that it was read; api is at work" in shell.ok("thread", message)
    api.kill()
    wait_for(lambda: shell.place.row("SELECT state FROM peers WHERE name = 'api'")[0] == "away", "it is away")
    said = shell.ok("thread", message)
    assert re.search(r"= waits for \ds: api is away since \d\d:\d\d; kept until ", said)
    assert re.search(r"= hook at \d\d:\d\d: lapsed: the session ended", said)


def test_who_waits_for_whom(shell: Shell) -> None:
    api, web = shell.place.named("api"), shell.peer("web")
    call = api.ask_tool("send_message", to="web", message="?", wait_s=20)
    message = web.read("?")
    assert "api waits now for web" in shell.ok("thread", message)
    web.send("!", reply_to=message)
    api.answer_to(call)
    assert "waits now" not in shell.ok("thread", message)


def test_where_it_comes_from_and_what_was_made_of_it(shell: Shell) -> None:
    alice, bob, carol = (shell.place.named(name, inbox=False) for name in ("alice", "bob", "carol"))
    first = say(alice, to="bob", message="pass this on")
    bob.hook("UserPromptSubmit", prompt="")
    bob.hook("Stop")
    second = say(bob, to="carol", message="alice says: pass this on")
    carol.hook("UserPromptSubmit", prompt="")
    carol.hook("Stop")
    third = say(carol, to="alice", message="bob says: pass this on")
    found = shell.json("thread", second)
    assert [(row["id"], row["depth"]) for row in found["causes"]] == [(first, 1)]
    assert [(row["id"], row["depth"]) for row in found["made"]] == [(third, 1)]
    last = shell.json("thread", third)
    assert [(row["id"], row["depth"]) for row in last["causes"]] == [(first, 2), (second, 1)]
    assert [peer["name"] for peer in last["messages"][0]["path"]][:2] == ["alice", "bob"]
    assert [(row["id"], row["depth"]) for row in shell.json("thread", first)["made"]] == [(second, 1), (third, 2)]
    lines = shell.ok("thread", second).splitlines()
    assert lines[0] == "led to it:"
    assert re.fullmatch(rf"  {first}  \d\d:\d\d  alice -> bob  shown  pass this on", lines[1])
    assert lines[-2] == "made of it in other threads:"
    assert re.fullmatch(rf"  {third}  \d\d:\d\d  carol -> alice  queued  bob says: pass this on", lines[-1])
    whole = shell.ok("thread", third)
    assert re.search(rf"^  {first}.*\n    {second}", whole, re.MULTILINE), "each step further in"
    assert "came through alice -> bob" in whole
    narrow = shell.run("thread", third, terminal=40, env={"NO_COLOR": "1"}).out
    assert all(text_width(line) <= 40 for line in narrow.splitlines())
    mine = parsed(alice.run(COTERIE, "thread", third, "--json")["stdout"])
    assert [row["id"] for row in mine["causes"]] == [first], "an agent sees its own mail only"


def test_json_has_stable_keys(shell: Shell) -> None:
    shell.peer("api")
    message = shell.ok("send", "api", "?")[:14]
    found = shell.json("thread", message)
    assert set(found) == {"thread", "messages", "more", "waits", "causes", "made", "made_more"}
    (only,) = found["messages"]
    assert set(only) >= {"id", "from", "to", "state", "reason", "text", "cause", "path", "offers", "recipient"}
    assert set(only["recipient"]) == {
        "state", "kind", "since", "heard", "busy", "reach", "nudge", "nudge_failure", "there",
    }  # fmt: skip


def test_long_threads_come_whole(shell: Shell) -> None:
    api = shell.peer("api")
    me = shell.json("peers")["me"]["id"]
    first = api.send("0", to=me)
    for number in range(1, 45):  # More text than one answer of the daemon holds.
        api.send(f"{number} {'x' * 14_000}", reply_to=first)
    found = shell.json("thread", first)
    assert [message["text"].partition(" ")[0] for message in found["messages"]] == [str(n) for n in range(45)]
    assert not found["more"]
    assert shell.ok("thread", first).count("coterie inbox") == 45


def test_what_is_not_there_is_told(shell: Shell) -> None:
    none, missing = shell.all(["thread", "m_nothing"], ["thread"])
    assert (none.status, missing.status) == (1, 2)
    assert "no message" in none.err


# --- the words -------------------------------------------------------------------------------------------------------


def message(state: str, recipient: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = {"state": "live", "since": None, "heard": None, "busy": None, "reach": "tools", "nudge": None}
    return {
        "to": "bob",
        "state": state,
        "reason": "",
        "carrier": None,
        "offers": [],
        "accepted_at": NOW - 300,
        "changed_at": NOW - 120,
        "expires_at": NOW + 86_400,
        "recipient": {**known, "nudge_failure": "", **recipient},
        **more,
    }


THERE = {"device": "laptop", "stored": False, "held": False, "connected": False, "unseen_s": 240.0, "carrier": None}
AWAY: dict[str, Any] = {"state": "away", "since": NOW - 240, "there": THERE}


@pytest.mark.parametrize(
    ("state", "recipient", "more", "words"),
    [
        ("queued", {"state": "ended"}, {}, "waits for 5m: bob has ended; kept until "),
        (
            "queued",
            {"nudge": "started"},
            {},
            "waits for 5m: its client was told and began a turn, and did not fetch it yet",
        ),
        ("queued", {"nudge_failure": "its client is\x1b gone"}, {}, "waits for 5m: its client is[U+001B] gone; kept"),
        ("queued", {"reach": "none"}, {}, "waits for 5m: nothing reaches bob now; kept"),
        ("queued", {"reach": "terminal"}, {}, "waits for 5m: bob reads it with coterie inbox; kept"),
        ("queued", {"heard": NOW - 60}, {}, "bob looks when it calls a coterie tool; last sign of bob 1m ago; kept"),
        (
            "queued",
            {},
            {"offers": [{"carrier": "inbox", "outcome": "open"}]},
            "it is on its way through its inbox; kept",
        ),
        ("offered", {}, {"carrier": "inbox"}, "offered through its inbox, no sign yet that it was read"),
        ("shown", {"state": "away", "since": NOW - 7200}, {}, "shown 2m ago, not answered; bob is away since "),
        ("shown", {"busy": True}, {}, "shown 2m ago, not answered; bob is at work"),
        ("queued", AWAY, {}, "waits for 5m: waits here for laptop (not connected for 4m); kept until "),
        ("queued", {"there": {**AWAY["there"], "unseen_s": None}}, {}, "waits here for laptop (not connected); kept"),
        ("queued", {"there": {**AWAY["there"], "connected": True}}, {}, "waits for 5m: about to go to laptop; kept"),
        ("queued", {"there": {**AWAY["there"], "stored": True}}, {}, "waits for 5m: stored on laptop; kept"),
        ("shown", AWAY, {}, "shown 2m ago, not answered; laptop is not connected"),
        ("acknowledged", {}, {"reason": "answered by m_1"}, "answered 2m ago by m_1"),
        (
            "expired",
            {},
            {"reason": "it could not be offered in time"},
            "expired 2m ago: it could not be offered in time",
        ),
        ("dead", {}, {}, "dead 2m ago"),
    ],
)
def test_the_words(state: str, recipient: dict[str, Any], more: dict[str, Any], words: str) -> None:
    assert words in standing(message(state, recipient, **more), NOW)


def test_only_what_came_to_nothing_is_a_try() -> None:
    offers = [
        {"carrier": "inbox", "outcome": "failed", "reason": "it is gone", "opened_at": NOW},
        {"carrier": "hook", "outcome": "shown", "reason": "hook", "opened_at": NOW},
    ]
    (one,) = tries(message("shown", {}, offers=offers), NOW)
    assert re.fullmatch(r"inbox at \d\d:\d\d: failed: it is gone", one)
