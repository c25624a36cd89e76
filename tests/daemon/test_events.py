"""Events: what followers are told, of what, and when."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import Place, wait_for
from coterie import client, ids
from coterie.daemon.events import changes
from coterie.errors import BadInput, Defect, NoMatch, Unavailable

Event = dict[str, Any]
LONG_S = 20.0


class Follower:
    """A connection that follows."""

    def __init__(self, place: Place, **wanted: str) -> None:
        self.client = place.connect()
        self.told = self.client.follow(wanted)
        self.events: list[Event] = []

    def wait(self, kind: str, **fields: Any) -> Event:
        """The next event of this kind with these fields."""
        while True:
            event = self.client.next_event(LONG_S)
            assert event, f"waited in vain for {kind} {fields}; came: {self.events}"
            self.events.append(event)
            if event["kind"] == kind and all(event.get(key) == value for key, value in fields.items()):
                return event

    def rest(self) -> list[Event]:
        """Every event up to now."""
        self.client.call("daemon.status")
        while event := self.client.next_event(0.001):
            self.events.append(event)
        return self.events


def say(place: Place, agent: Any, **message: str) -> str:
    return str(agent.tool("send_message", **message).split()[0])


def test_a_message_is_followed_from_the_send_to_the_answer(daemon: Place) -> None:
    alice, bob = daemon.named("alice"), daemon.named("bob", inbox=False)
    follower = Follower(daemon)
    question = say(daemon, alice, to="bob", message="first line\nsecond line")
    sent = follower.wait("message", id=question)
    assert (sent["from"], sent["to"], sent["state"], sent["thread"]) == ("alice", "bob", "queued", question)
    assert sent["line"] == "first line second line"
    bob.hook("UserPromptSubmit", prompt="go on")
    offered = follower.wait("receipt", id=question, state="offered")
    assert offered["carrier"] == "hook"
    bob.hook("Stop")
    follower.wait("receipt", id=question, state="shown")
    answer = say(daemon, bob, reply_to=question, message="done")
    assert follower.wait("receipt", id=question, state="acknowledged")["reason"] == f"answered by {answer}"
    assert [event["seq"] for event in follower.rest() if event["kind"] == "message"] == [1, 2]


def test_an_unread_message_that_is_answered_is_told_once(daemon: Place) -> None:
    alice, bob = daemon.named("alice"), daemon.named("bob", inbox=False)
    question = say(daemon, alice, to="bob", message="?")
    bob.tool("check_messages")
    follower = Follower(daemon)
    say(daemon, bob, reply_to=question, message="!")
    follower.wait("receipt", id=question, state="acknowledged")
    told = [event for event in follower.rest() if event.get("id") == question]
    assert [event["state"] for event in told].count("acknowledged") == 1


def test_an_offer_that_came_to_nothing_says_why(daemon: Place) -> None:
    alice, bob = daemon.named("alice"), daemon.named("bob", inbox=False)
    follower = Follower(daemon)
    message = say(daemon, alice, to="bob", message="?")
    bob.hook("UserPromptSubmit", prompt="go on")
    bob.kill()
    lapsed = follower.wait("receipt", id=message, outcome="lapsed")
    assert (lapsed["state"], lapsed["carrier"], lapsed["reason"]) == ("queued", "hook", "the session ended")


def test_peers_are_followed_through_their_lives(daemon: Place) -> None:
    follower = Follower(daemon)
    bob = daemon.named("bob", inbox=False)
    came = follower.wait("peer", change=["came"])
    named = follower.wait("peer", change=["name"])
    assert (named["was"], named["peer"]["name"]) == (came["peer"]["name"], "bob")
    bob.tool("set_summary", summary="reads", role="reviewer")
    assert follower.wait("peer", change=["role", "summary"])["peer"]["summary"] == "reads"
    bob.hook("UserPromptSubmit", prompt="fix the build")
    assert follower.wait("peer", change=["asked", "busy"])["peer"]["asked"] == "fix the build"
    bob.hook("Stop")
    follower.wait("peer", change=["idle"])
    bob.kill()
    assert follower.wait("peer", change=["away"])["peer_id"] == came["peer_id"]


def test_a_session_that_cannot_come_back_has_ended(daemon: Place) -> None:
    follower = Follower(daemon)
    agent = daemon.agent(client="another")
    came = follower.wait("peer", change=["came"])
    agent.kill()
    assert follower.wait("peer", peer_id=came["peer_id"])["change"] == ["ended"]


def test_filters_narrow_it_down(daemon: Place) -> None:
    repo = daemon.root / "repo"
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    os.mkdir(repo / "within")
    alice, bob = daemon.named("alice", cwd=str(repo / "within")), daemon.named("bob")
    carol = daemon.named("carol")
    first = say(daemon, alice, to="bob", message="one")
    followers = {
        "peer": Follower(daemon, peer="carol"),
        "thread": Follower(daemon, thread=first[:8]),
        "repo": Follower(daemon, repo=str(repo)),
        "both": Follower(daemon, peer="carol", repo=str(repo)),
    }
    assert followers["thread"].told["thread"] == first
    second = say(daemon, bob, reply_to=first, message="two")
    third = say(daemon, bob, to="carol", message="three")
    fourth = say(daemon, carol, to="alice", message="four")
    wanted = {"peer": [third, fourth], "thread": [second], "repo": [second, fourth], "both": [fourth]}
    for name, messages in wanted.items():
        followers[name].wait("message", id=messages[-1])
        told = [event["id"] for event in followers[name].rest() if event["kind"] == "message"]
        assert told == messages, name


def test_an_agent_hears_of_its_own_mail_only(daemon: Place) -> None:
    alice, bob, carol = (daemon.connect("adapter") for _ in range(3))
    for name, agent in (("alice", alice), ("bob", bob), ("carol", carol)):
        agent.call("peers.register", {"kind": "codex", "cwd": "/", "session": f"session-{name}"})
        agent.call("peers.describe", {"name": name})
    carol.follow({})
    for sender, to in ((alice, "bob"), (bob, "carol")):
        sender.call("messages.send", {"id": ids.new_message_id(), "to": to, "text": f"to {to}"})
    alice.call("peers.describe", {"summary": "nobody's business of carol"})
    event = carol.next_event(LONG_S)
    assert event
    assert (event["kind"], event["line"]) == ("message", "to carol")
    carol.call("daemon.status")
    assert carol.next_event(0.001) is None


def test_what_cannot_be_followed_is_refused(daemon: Place) -> None:
    for wanted, error in (({"peer": "nobody"}, NoMatch), ({"thread": "m_nothing"}, NoMatch), ({"repo": "."}, BadInput)):
        with pytest.raises(error):
            Follower(daemon, **wanted)
    with pytest.raises(Defect):
        daemon.connect().next_event(0)


def test_a_follower_hears_that_the_daemon_went_away(daemon: Place) -> None:
    follower = Follower(daemon)
    daemon.kill()
    with pytest.raises(Unavailable):
        follower.client.next_event(LONG_S)


def test_a_follower_that_does_not_read_is_cut_off_and_holds_nobody_up(place: Place) -> None:
    place.start(patch="from coterie.daemon import local; local.OUTGOING_BYTES_MAX = 20_000")
    sender = place.connect()
    deaf = place.connect()
    deaf.call("events.follow")

    def cut() -> bool:
        sender.call("messages.send", {"id": ids.new_message_id(), "to": "me", "text": "x" * 150})
        return "reads nothing" in Path(place.home.log).read_text()

    wait_for(cut, "the deaf one is cut")
    with pytest.raises(Unavailable):
        deaf.call("daemon.status")


def test_nothing_is_worked_out_while_nobody_follows(place: Place) -> None:
    place.start(patch="from coterie.daemon.events import Events; Events._about = Events._seen = None")
    alice = place.named("alice")
    assert "offered" in alice.tool("send_message", to="me", message="?")
    with pytest.raises(client.CoterieError):
        place.connect().follow({})


def test_changes_are_told_in_their_order() -> None:
    one = {"name": "a", "role": "", "state": "live", "branch": "", "asked": "", "summary": "", "busy": False}
    assert changes({}, one) == ["came"]
    assert changes({}, {**one, "state": "away"}) == ["away"]
    assert changes(one, one) == []
    assert changes(one, {**one, "state": "loaded"}) == []
    assert changes({**one, "state": "ended"}, one) == ["came"]
    assert changes(one, {**one, "branch": "main", "name": "b", "busy": True}) == ["name", "branch", "busy"]
    assert changes({**one, "busy": True}, {**one, "state": "away"}) == ["away"]
    assert changes(one, {**one, "asked": "x", "summary": "asked: x"}) == ["asked"]
    assert changes(one, {**one, "branch": "x", "summary": "on x"}) == ["branch"]
    assert changes(one, {**one, "summary": "x"}) == ["summary"]
