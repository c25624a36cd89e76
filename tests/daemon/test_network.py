"""Two daemons that show each other their sessions: what agents and persons see of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Peer, Shell
from cli.test_completion import offered
from conftest import Place, a_place, wait_for
from coterie.errors import CoterieError, Refused
from daemon.pairs import Computer, pair
from daemon.wires import Pair, knows


@pytest.fixture
def desk() -> Iterator[Place]:
    with a_place() as place:
        yield place


@pytest.fixture
def laptop() -> Iterator[Place]:
    with a_place() as place:
        yield place


def listed(place: Place, **params: Any) -> Any:
    """What a person is told of who is there."""
    return place.connect().call("peers.list", {"scope": "network", "cwd": "/", **params})


def device_of(place: Place, **params: Any) -> Any:
    """What a person is told of the one other device."""
    (device,) = listed(place, **params)["devices"]
    return device


def configure(place: Place, text: str) -> None:
    """Write the person's settings."""
    path = Path(place.home.config)
    path.touch(0o600)
    path.write_text(text)


def test_agents_find_those_of_the_other_device(desk: Place, laptop: Place) -> None:
    Pair(desk, laptop)
    alice, bob = desk.named("alice"), laptop.named("bob", cwd="/usr")
    bob.tool("set_summary", role="builder", summary="mends the shop")
    knows(alice, "mends the shop")
    machine, network = alice.tool("list_peers"), alice.tool("list_peers", scope="network")
    assert "bob" not in machine
    assert "Sessions on other devices: 1 on laptop (scope network)." in machine
    assert "On laptop (connected):" in network
    (line,) = [line for line in network.splitlines() if "bob@laptop" in line]
    assert line.startswith("- bob@laptop | p_")
    assert line.endswith(" | claude | live | role builder | mail goes to its device at once")
    assert "/usr" not in network, "folders stay where they are"
    bob.close()
    wait_for(lambda: "bob" not in alice.tool("list_peers", scope="network"), "it is away, and not listed")
    assert device_of(desk)["sessions"] == 0
    assert [card["name"] for card in device_of(desk, everybody=True)["peers"] if card["kind"] == "claude"] == ["bob"]


def test_a_new_session_is_told_how_many_there_are(desk: Place, laptop: Place) -> None:
    Pair(desk, laptop)
    alice = desk.named("alice")
    laptop.named("bob")
    laptop.named("eve")
    knows(alice, "bob")
    knows(alice, "eve")
    told = json.dumps(alice.hook("SessionStart", source="startup"))
    assert "On other devices: 2 sessions on laptop (list_peers with scope network)." in told
    assert "bob" not in told


def test_a_bare_name_means_nobody_elsewhere_and_says_who_is(desk: Place, laptop: Place) -> None:
    Pair(desk, laptop)
    alice = desk.named("alice")
    laptop.named("bob")
    knows(alice, "bob@laptop")
    said = alice.tool("send_message", to="bob", message="hello")
    assert "nobody here is called 'bob'" in said
    assert "on other devices: bob@laptop" in said
    assert "means peers of one's own device only" in alice.tool("send_message", to="all@laptop", message="hello")


def test_every_holder_of_a_role_there_gets_a_copy(desk: Place, laptop: Place) -> None:
    Pair(desk, laptop)
    alice = desk.named("alice")
    builders = [laptop.named("bob"), laptop.named("eve")]
    for builder in builders:
        builder.tool("set_summary", role="builder")
    wait_for(lambda: alice.tool("list_peers", scope="network").count("role builder") == 2, "both are known")
    alice.tool("send_message", to="role:builder@laptop", message="Stop the build.")
    for builder in builders:
        _, line = builder.wait_inbox("Stop the build.")
        assert 'from "alice@desk" (claude, another device, paired with this one)' in line


def test_a_device_that_is_away_leaves_its_sessions_behind(desk: Place, laptop: Place) -> None:
    pair = Pair(desk, laptop)
    alice = desk.named("alice")
    bob = laptop.named("bob")
    knows(alice, "bob@laptop")
    pair.cut()
    wait_for(lambda: not device_of(desk)["connected"], "the link is gone")
    said = alice.tool("list_peers", scope="network")
    assert "On laptop (not connected for less than a minute):" in said
    assert "| away | mail waits here until its device is connected" in said
    alice.close()  # It would start a daemon without the other device.
    desk.kill()
    pair.start(pair.desk)
    (card,) = [card for card in device_of(desk)["peers"] if card["name"] == "bob"]
    assert (card["address"], card["state"], card["reach"]) == ("bob@laptop", "away", "waits")
    bob.tool("set_summary", summary="something new")
    pair.heal()
    wait_for(lambda: "something new" in str(device_of(desk)), "it is there again, as it is now")


@pytest.mark.parametrize(
    ("setting", "hidden", "left"),
    [
        ('[relay]\nshare = ["name", "agent", "state"]', ("role builder", "mends the shop"), "bob@laptop"),
        ('[relay]\nshare = ["role", "summary", "agent", "state"]', ("bob",), "mends the shop"),
    ],
)
@pytest.mark.promise("L8")
def test_the_owner_says_what_is_shown(desk: Place, laptop: Place, setting: str, hidden: tuple[str], left: str) -> None:
    Pair(desk, laptop)
    alice, bob = desk.named("alice"), laptop.named("bob")
    bob.tool("set_summary", role="builder", summary="mends the shop")
    knows(alice, "mends the shop")
    configure(laptop, setting)

    def is_hidden() -> bool:
        said = alice.tool("list_peers", scope="network")
        return left in said and not any(word in said for word in hidden)

    wait_for(is_hidden, "less is shown, without a restart")
    bob.tool("send_message", to="alice@desk", message="Who am I?")
    _, line = alice.wait_inbox("Who am I?")
    assert ("bob" in line) is ("bob" in left), "nor does a message say it"


@pytest.mark.promise("L8")
def test_whoever_may_not_see_is_shown_nothing(desk: Place, laptop: Place) -> None:
    Pair(desk, laptop, grants="message")  # What the desk gives the laptop.
    alice, bob = desk.named("alice"), laptop.named("bob")
    knows(alice, "bob@laptop")
    assert "alice" not in bob.tool("list_peers", scope="network")
    alice.tool("send_message", to="bob@laptop", message="Are you there?")
    bob.wait_inbox("Are you there?")
    said = bob.tool("send_message", to="alice@desk", message="Yes.")
    assert "to alice@desk (away)" in said, "who wrote can be answered, though it is not shown"
    alice.wait_inbox("Yes.")


@pytest.mark.promise("L9")
def test_nobody_names_or_ends_a_session_of_another_device(desk: Place, laptop: Place) -> None:
    Pair(desk, laptop)
    alice = desk.named("alice")
    laptop.named("bob")
    knows(alice, "bob@laptop")
    shell = desk.connect()
    for method, params in (("peers.rename_other", {"name": "mine"}), ("peers.kill", {})):
        with pytest.raises(CoterieError) as caught:
            shell.call(method, {"peer": "bob@laptop", "i_am_human": True, **params})
        assert isinstance(caught.value, Refused)


@pytest.mark.promise("L9")
def test_persons_see_each_other_as_visitors(desk: Place, laptop: Place) -> None:
    Pair(desk, laptop)
    alice, bob = Peer(desk, "alice"), Peer(laptop, "bob")
    me = listed(laptop)["me"]
    if me is None:
        pytest.skip("below an agent nobody is a person")
    wait_for(lambda: any(card["kind"] == "visitor" for card in device_of(desk)["peers"]), "the person is shown")
    (card,) = [card for card in device_of(desk)["peers"] if card["kind"] == "visitor"]
    assert card["address"] == f"{me['name']}@laptop"
    assert alice
    assert bob


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_list_has_a_section_for_each_device(desk: Place, laptop: Place) -> None:
    pair = Pair(desk, laptop)
    shell = Shell(desk)
    alice = desk.named("alice")
    bob = laptop.named("bob")
    bob.tool("set_summary", summary="mends the shop")
    knows(alice, "mends the shop")
    said = shell.ok("peers")
    head, _, section = said.partition("\n\n")
    assert "bob" not in head
    first, heading, *rows = section.splitlines()
    assert first == "on laptop  connected  1 session"
    assert heading.split() == ["NAME", "AGENT", "STATE", "DOES", "ROLE", "REPO", "ID", "SUMMARY"]
    (row,) = [row.split() for row in rows if "bob" in row]
    assert row[:4] == ["bob@laptop", "claude", "live", "-"]
    assert row[-3:] == ["mends", "the", "shop"]
    assert "bob" not in shell.ok("peers", "--scope", "machine")
    found = shell.json("peers")
    assert "bob" not in str(found["peers"])
    (device,) = found["devices"]
    assert set(device) == {"id", "name", "connected", "absent_s", "sessions", "peers"}
    assert all(card["address"].endswith("@laptop") for card in device["peers"])
    assert {card["device"] for card in device["peers"]} == {"laptop"}
    for columns in (40, 80):
        narrow = shell.ok("peers", env={"COLUMNS": str(columns)})
        assert "bob@laptop" in narrow
        assert max(map(len, narrow.splitlines())) <= columns
    pair.cut()
    wait_for(lambda: not device_of(desk)["connected"], "the link is gone")
    away = shell.ok("peers").partition("\n\n")[2].splitlines()[0]
    assert away.startswith("on laptop  n")
    assert away.endswith("1 session when it was heard last  mail for it waits here")


def test_names_of_other_devices_are_completed(desk: Place, laptop: Place) -> None:
    Pair(desk, laptop)
    alice = desk.named("alice")
    laptop.named("bob")
    knows(alice, "bob@laptop")
    shell = Shell(desk)
    assert offered(shell, "send", "bo") == ["bob@laptop"]
    assert offered(shell, "log", "--peer", "bo") == ["bob@laptop"]
    assert offered(shell, "kill", "bo") == [], "that is done here only"


def test_whoever_watches_sees_devices_and_their_sessions(desk: Place, laptop: Place) -> None:
    pair = Pair(desk, laptop)
    alice = desk.named("alice")
    laptop.named("bob")
    knows(alice, "bob@laptop")
    shell = Shell(desk)
    watching = shell.start("watch")
    watching.wait_for("1 session on laptop", "out")
    laptop.named("eve")
    watching.wait_for(r"@laptop \(claude\)  is there", "out")
    pair.cut()
    watching.wait_for("device laptop  is not connected any more: mail for it waits here", "out")
    pair.heal()
    watching.wait_for("device laptop  is connected", "out")
    watching.interrupt()
    said = watching.finish().out
    assert "went away" not in said, "nobody ended for that"
    assert "ended" not in said


# --- over real links --------------------------------------------------------------------------------------------------


def test_what_is_shown_goes_by_the_rights_that_the_person_gives(desk: Place, laptop: Place) -> None:
    here, there = Computer(desk, "desk"), Computer(laptop, "laptop")
    pair(here, there)
    alice, bob = desk.named("alice"), laptop.named("bob")
    knows(alice, "bob@laptop")
    knows(bob, "alice@desk")
    assert "alice" in str(here.call("preview", device="laptop"))
    here.call("revoke", device="laptop", grants=["see"])
    wait_for(lambda: "alice" not in bob.tool("list_peers", scope="network"), "it sees nobody any more")
    knows(alice, "bob@laptop")
    here.call("grant", device="laptop", grants=["see"])
    knows(bob, "alice@desk")
    here.call("forget", device="laptop")
    assert "no other device is paired" in alice.tool("list_peers", scope="network")
    wait_for(lambda: not desk.rows("SELECT 1 FROM neighbours"), "nothing of it is kept")
    wait_for(lambda: "not connected" in bob.tool("list_peers", scope="network"), "its link is cut")
