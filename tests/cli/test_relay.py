"""coterie relay: the commands on devices that are paired, and on those that are not."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from cli.conftest import Shell
from cli.pairing import done, pair, typed, wait_connected
from cli.test_completion import offered
from conftest import wait_for
from coterie.cli.relay import COMMANDS, words
from coterie.cli.relay.words import dashed, labelled, link_state, whole
from coterie.cli.table import text_width

HASTY = "import coterie.daemon.handlers.relay as verbs\nverbs.MEET_S = 0.2\n"
"""A daemon that waits for a link a moment only."""


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(name: str) -> None:
    command = getattr(import_module(f"coterie.cli.{COMMANDS[name].module}"), name)
    text = command.get_help(click.Context(command, info_name=f"coterie relay {name}"))
    assert f"    coterie relay {name}" in text
    assert "--json" in text
    assert command.get_short_help_str(200) == COMMANDS[name].line
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_list_of_commands_loads_none_of_them(shell: Shell) -> None:
    loaded = "print(*(m for m in sys.modules if m.startswith('coterie.cli.relay') or m == 'segno'), file=sys.stderr)"
    ended = shell.after("", "relay", "--help", then=loaded)
    assert all(f"\n  {name} " in ended.out for name in COMMANDS)
    assert ended.err.split() == ["coterie.cli.relay"]
    assert shell.ok("relay") == ended.out
    assert shell.run("relay", "nonsense").status == 2


def test_no_command_imports_the_daemon_the_net_or_the_store() -> None:
    folder = Path(import_module("coterie.cli.relay").__file__ or "").parent
    for file in sorted(folder.glob("*.py")):
        found = set(re.findall(r"^\s*from coterie\.(\w+)", file.read_text(), re.MULTILINE))
        assert found <= {"cli", "client", "devices", "errors", "limits"}, file.name


# --- alone ------------------------------------------------------------------------------------------------------------


def test_a_device_that_is_alone(desk: Shell) -> None:
    peers, status, discover = desk.all(["relay", "peers"], ["relay", "status"], ["relay", "discover"])
    assert (peers.status, peers.out) == (0, "")
    assert "no device is paired with this one\ncoterie: hint: coterie relay invite" in peers.err
    assert re.search(r"^relay +off, does not listen$", status.out, re.MULTILINE)
    assert re.search(r"^devices +0 paired, 0 connected$", status.out, re.MULTILINE)
    assert re.search(r"^tasks +none: they come with delegation", status.out, re.MULTILINE)
    assert (discover.status, discover.out) == (0, "")
    assert "devices cannot be discovered yet, and none is paired" in discover.err
    assert not os.path.exists(desk.place.home.device)  # Nobody needed a key so far.


def test_who_this_device_is(desk: Shell) -> None:
    told = desk.json("relay", "identity")
    assert re.fullmatch(r"(?:[A-Z2-7]{7}-){7}[A-Z2-7]{7}", told["shown"])
    assert desk.ok("relay", "identity") == f"desk\n  {told['shown']}\n"
    narrow = done(desk, "identity", columns=40)
    assert max(map(len, narrow.splitlines())) <= 40
    assert "".join(narrow.split()[1:]) == told["shown"]
    assert f"device     desk ({told['short']})" in desk.ok("relay", "status")


@pytest.mark.promise("S3")
def test_it_listens_from_the_word_on_and_no_longer(desk: Shell) -> None:
    assert desk.json("relay", "status")["listening"] == []
    said = done(desk, "serve")
    assert "the relay is on, and listens on 127.0.0.1:" in said
    assert "no device is paired with this one yet: coterie relay invite" in said
    assert len(desk.json("relay", "status")["listening"]) == 1
    assert "the relay is off: this device does not listen" in done(desk, "serve", "--off")
    assert desk.json("relay", "status")["listening"] == []
    assert desk.json("relay", "serve")["error"]["kind"] == "no-terminal"


def test_devices_that_nobody_knows_are_named(desk: Shell) -> None:
    for command in (["forget", "box", "--yes"], ["grant", "box", "task"], ["disconnect", "box"], ["connect", "box"]):
        ended = typed(desk, *command)
        assert (ended.status, "box" in ended.out, "hint: " in ended.out) == (1, True, True), str(ended)


def test_what_others_are_shown(desk: Shell) -> None:
    desk.peer("api")
    said = done(desk, "preview")
    assert "shown: name role agent repo summary state" in said
    assert re.search(r"^api +codex", said, re.MULTILINE)
    desk.ok("config", "set", "relay.share", "name,state", "--i-am-human")
    wait_for(lambda: desk.json("relay", "preview")["share"] == ["name", "state"], "the setting is in force")
    assert re.search(r"^api +- ", done(desk, "preview"), re.MULTILINE)


# --- paired -----------------------------------------------------------------------------------------------------------


def test_the_list_of_devices(desk: Shell, laptop: Shell) -> None:
    pair(desk, laptop)
    listed = laptop.ok("relay", "peers").splitlines()
    ours = desk.json("relay", "identity")["short"]
    assert re.fullmatch(r"NAME +STATE +MAIL +MAY +MAY WE +ADDRESS +ID", listed[0])
    row = rf"desk +connected \d+s +- +message see +message see +127\.0\.0\.1:\d+ +{ours}"
    assert re.fullmatch(row, listed[1])
    for columns in (40, 60, 80):
        narrow = done(laptop, "peers", columns=columns)
        assert max(map(text_width, narrow.splitlines())) <= columns
        assert re.search(r"^desk +connected \d+s +-", narrow, re.MULTILINE)
    assert re.search(r"^desk +127\.0\.0\.1:", done(laptop, "discover"), re.MULTILINE)
    assert "laptop is shown" in done(desk, "preview", "laptop")


@pytest.mark.promise("L3")
def test_disconnected_connected_and_called_otherwise(desk: Shell, laptop: Shell) -> None:
    pair(desk, laptop)
    assert "disconnected from desk; mail for it waits here" in done(laptop, "disconnect", "desk")
    assert "disconnected by you" in laptop.ok("relay", "peers")
    assert "connected with desk (" in done(laptop, "connect", "desk")
    assert "desk is called tower here now" in done(laptop, "rename", "desk", "tower")
    assert "tower" in laptop.ok("relay", "peers")
    desk.place.kill()
    wait_connected(laptop, "tower", False)
    assert re.search(r"no word for \d+s", laptop.ok("relay", "peers"))


def test_a_device_that_does_not_answer_is_not_connected_yet(desk: Shell, laptop: Shell) -> None:
    laptop.place.start(patch=HASTY)
    pair(desk, laptop)
    desk.place.kill()
    wait_connected(laptop, "desk", False)
    ended = typed(laptop, "connect", "desk")
    assert ended.status == 4
    assert "desk is not connected yet (no word for " in ended.out
    assert "it is tried again and again" in ended.out
    listed = laptop.run("relay", "peers")
    assert (listed.status, "coterie: desk: " in listed.err) == (0, True)


@pytest.mark.promise("L4")
def test_rights_are_given_and_taken_by_the_person(desk: Shell, laptop: Shell) -> None:
    pair(desk, laptop)
    assert "laptop may here: message, see, task\n" in done(desk, "grant", "laptop", "task")
    assert "laptop may here: message, see, task; nothing changed\n" in done(desk, "grant", "laptop", "task")
    assert "laptop may here: message, task\n" in done(desk, "revoke", "laptop", "see")
    wait_for(lambda: "message task" in laptop.ok("relay", "peers"), "the laptop knows")
    ended = typed(desk, "grant", "laptop", "fly")
    assert (ended.status, "fly" in ended.out) == (2, True)
    assert desk.json("relay", "grant", "laptop", "exec")["error"]["kind"] == "no-terminal"


@pytest.mark.promise("L4")
def test_a_right_that_is_asked_for_is_the_persons_to_give(desk: Shell, laptop: Shell) -> None:
    pair(desk, laptop)
    said = done(laptop, "ask", "desk", "task", "--reason", "to run the\ntests")
    request = re.search(r"asked desk for the right task \((r_\w+)\)", said)
    assert request
    wait_for(lambda: request[1] in desk.ok("relay", "requests"), "the desk shows it")
    held = done(desk, "requests", columns=40)
    assert "laptop asks for the right task" in held
    assert "  | to run the tests" in held
    assert max(map(text_width, held.splitlines())) <= 40
    assert "1 for you to decide" in desk.ok("relay", "status")
    assert "waits for its person" in laptop.ok("relay", "requests")
    assert offered(desk, "relay", "approve", "r_") == [request[1]]
    assert "approved: the right task, for laptop\n" in done(desk, "approve", request[1][:6])
    wait_for(lambda: "approved" in laptop.ok("relay", "requests"), "the laptop is told")
    assert typed(desk, "refuse", request[1]).status == 1
    refused = re.search(r"r_\w+", done(laptop, "ask", "desk", "exec"))
    assert refused
    wait_for(lambda: refused[0] in desk.ok("relay", "requests"), "the desk shows it")
    assert "refused: the right exec, for laptop\n" in done(desk, "refuse", refused[0])
    wait_for(lambda: "refused" in laptop.ok("relay", "requests"), "the laptop is told")
    assert "exec" not in desk.json("relay", "peers")["devices"][0]["grants"]


@pytest.mark.promise("S10")
def test_forgetting_asks_first_and_cuts_at_once(desk: Shell, laptop: Shell) -> None:
    laptop.place.start(patch=HASTY)
    pair(desk, laptop)
    ended = desk.run("relay", "forget", "laptop", "--i-am-human")
    assert (ended.status, "to forget it all the same: --yes" in ended.err) == (1, True)
    command = desk.start("relay", "forget", "laptop", terminal=80)
    command.wait_for(r"forget laptop\? \[y/N\]", "out")
    command.type("n\n")
    assert command.finish().status == 130
    assert desk.json("relay", "peers")["devices"][0]["connected"]
    assert "forgot laptop (" in done(desk, "forget", "laptop", "--yes")
    wait_for(lambda: "has forgotten this device" in laptop.ok("relay", "peers"), "the laptop knows")
    assert desk.json("relay", "peers") == {"devices": []}
    assert typed(laptop, "connect", "desk").status == 4


def test_names_are_completed(desk: Shell, laptop: Shell) -> None:
    pair(desk, laptop)
    assert offered(desk, "relay", "for") == ["forget"]
    assert offered(desk, "relay", "forget", "la") == ["laptop"]
    assert offered(desk, "relay", "grant", "LAP") == ["laptop"]
    assert offered(desk, "relay", "grant", "laptop", "") == ["see", "message", "task", "exec", "knowledge"]
    assert offered(desk, "relay", "invite", "--q") == ["--qr"]


# --- words ------------------------------------------------------------------------------------------------------------

STATES = {
    "forgotten": {"standing": "forgotten"},
    "connected 2m": {"connected": True, "since_s": 130.0},
    "has forgotten this device": {"has_forgotten": True},
    "disconnected by you": {"parted": True},
    "never connected": {},
    "no word for 2h": {"last_seen_s": 7300.0},
}


@pytest.mark.parametrize("said", STATES)
def test_how_it_is_with_a_device(said: str) -> None:
    card = {"standing": "paired", "connected": False, "has_forgotten": False, "parted": False, "last_seen_s": None}
    assert link_state({**card, **STATES[said]}) == said


def test_long_texts_are_broken_or_left_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words.say, "width", lambda: 20)
    assert dashed("alpha-bravo-charlie-delta") == "  alpha-bravo-\n  charlie-delta"
    assert dashed("x" * 30) == "  " + "x" * 30
    assert whole("x" * 18) == "  " + "x" * 18
    assert whole("x" * 19) == "x" * 19
    assert labelled("shows", "name role agent") == "shows      name role\n           agent"
    monkeypatch.setattr(words.say, "width", lambda: None)
    assert dashed("alpha-bravo") == "  alpha-bravo"
    assert labelled("shows", "name role agent") == "shows      name role agent"
