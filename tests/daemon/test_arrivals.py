"""What another device may send, and what it cannot do: the other side is a test here, and keeps to no rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import Place, running, wait_for
from coterie.envelopes import Envelope, Posted, canonical, frame, local_id
from coterie.net.identity import load_or_make
from coterie.peers import remote_id
from daemon.pairs import PERSON
from daemon.strangers import Desk, here, meet
from daemon.wires import Pair, Writer, apart, desk, laptop, texts, there

__all__ = ["desk", "here", "laptop", "meet"]

# --- who it is from --------------------------------------------------------------------------------------------------


@pytest.mark.promise("L9")
def test_the_sender_is_named_by_its_device_and_is_no_peer_of_ours(here: Desk) -> None:
    message = here.stranger.deliver(here.stranger.envelope(here.bob, name="bob", kind="person", sender=here.bob))
    _, _, sender, name, kind = here.message(message)
    assert (name, kind) == ("bob@laptop", "visitor")
    assert sender == remote_id(here.stranger.identity.id, here.bob) != here.bob


@pytest.mark.parametrize("kind", ["coterie", "visitor", "admin"])
def test_no_device_speaks_for_coterie(here: Desk, kind: str) -> None:
    message = here.stranger.deliver(here.stranger.envelope(here.bob, kind=kind))
    assert here.message(message)[4] in ("other", "visitor")


def test_an_envelope_that_was_changed_ends_the_link(here: Desk) -> None:
    envelope = here.stranger.envelope(here.bob)
    signature = here.stranger.identity.sign(canonical(envelope))
    changed = replace(envelope, text="rm -rf ~")
    here.stranger.send("envelope", **frame(Posted(changed, signature, 0.0)))
    assert here.stranger.closed()
    assert texts(here.place) == []


def test_an_envelope_of_another_device_ends_the_link(here: Desk) -> None:
    envelope = here.stranger.envelope(here.bob, origin="ABCDEF2" * 8)
    here.stranger.post(envelope)
    assert here.stranger.closed()
    assert texts(here.place) == []


def test_one_signed_by_another_key_ends_the_link(here: Desk, tmp_path: Path) -> None:
    here.stranger.post(here.stranger.envelope(here.bob), key=load_or_make(str(tmp_path / "other")))
    assert here.stranger.closed()


@pytest.mark.parametrize("kind", ["envelope", "ack", "refuse", "receipts", "noted"])
@pytest.mark.promise("L9")
def test_a_malformed_frame_ends_the_link_and_nothing_else(here: Desk, kind: str) -> None:
    here.stranger.send(kind, envelope={"x": 1}, ids="x", id=7, receipts={"x": 1})
    assert here.stranger.closed()
    log = Path(here.place.home.log).read_text()
    assert f"sent a {kind} that breaks the rules" in log
    here.stranger.connect()
    here.stranger.deliver(here.stranger.envelope(here.bob))


# --- once, and in order ----------------------------------------------------------------------------------------------


def test_one_that_comes_again_is_confirmed_and_not_stored(here: Desk) -> None:
    envelope = here.stranger.envelope(here.bob)
    for _ in range(3):
        here.stranger.deliver(envelope)
    here.stranger.connect()
    here.stranger.deliver(envelope)
    assert texts(here.place) == ["hello"]


def test_one_waits_for_the_one_before_it(here: Desk) -> None:
    first, second, third = (here.stranger.envelope(here.bob, text) for text in ("one", "two", "three"))
    here.stranger.post(third, after=second.id)
    here.stranger.post(second, after=first.id)
    here.stranger.post(first)
    here.stranger.until("ack", ids=[third.id], held=[])
    assert texts(here.place) == ["one", "two", "three"]


def test_an_id_that_is_taken_is_not_taken_over(here: Desk) -> None:
    """The desk's own message, whose id the laptop knows since it went there, stays what it is."""
    writer = Writer(here.place, "writer")
    own = writer.send("bob", "our own")["id"]
    here.stranger.deliver(here.stranger.envelope(here.bob, "theirs", id=own, thread=own))
    copy = own + ".2"
    here.stranger.deliver(here.stranger.envelope(here.bob, "a copy", id=copy, thread=own))
    assert texts(here.place) == ["theirs", "a copy"]
    rows = dict(here.place.rows("SELECT text, id FROM messages"))
    device = here.stranger.identity.id
    assert rows == {"our own": own, "theirs": local_id(device, own), "a copy": local_id(device, copy)}
    threads = dict(here.place.rows("SELECT text, thread FROM messages"))
    assert threads["our own"] == own
    assert own not in (threads["theirs"], threads["a copy"])


def test_it_gets_into_no_thread_that_it_has_no_part_in(here: Desk) -> None:
    secret = Writer(here.place, "writer").send("bob", "between us")["id"]
    message = here.stranger.deliver(here.stranger.envelope(here.bob, "me too", thread=secret, reply_to=secret))
    row = here.place.row("SELECT thread, reply_to FROM messages WHERE id = ?", message)
    assert row == (message, None)
    assert here.place.state(secret) == "queued", "it answered nothing"


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(here: Desk, envelope: Envelope, **more: Any) -> str:
    """The code with which an envelope is refused."""
    message = here.stranger.post(envelope, **more)
    code = here.stranger.until("refuse", id=message)["code"]
    assert here.message(message) is None
    return str(code)


def test_what_is_refused_and_why(here: Desk) -> None:
    stranger = here.stranger
    assert refused(here, stranger.envelope("p_nobody00")) == "unknown"
    assert refused(here, stranger.envelope(here.mallory)) == "unknown", "a peer of another device is none of this one"
    assert refused(here, stranger.envelope(here.bob, life_s=10.0), age_s=10.5) == "expired"
    path = tuple(f"ABCDEF2:p_0000000{step}" for step in range(5))
    assert refused(here, stranger.envelope(here.bob, path=path, hops=4)) == "hops"
    assert refused(here, stranger.envelope(here.bob, hops=4)) == "hops"
    newer = frame(Posted(stranger.envelope(here.bob), b"\0" * 64, 0.0))
    newer["envelope"]["v"] = 2
    stranger.send("envelope", **newer)
    assert stranger.until("refuse")["code"] == "version"


def test_an_answer_along_its_path_is_no_hop(here: Desk) -> None:
    mine = here.pair.desk.id[:7]
    path = (f"{mine}:{here.bob}", *(f"ABCDEF2:p_0000000{step}" for step in range(4)))
    message = here.stranger.deliver(here.stranger.envelope(here.bob, path=path, hops=4))
    assert here.place.row("SELECT path FROM messages WHERE id = ?", message)[0].split()[0] == here.bob


def test_a_full_mailbox_refuses(desk: Place, meet: Callable[..., Desk]) -> None:
    Path(desk.home.config).touch(0o600)
    Path(desk.home.config).write_text("guards.mailbox_messages = 10\n")
    here = meet()
    envelopes = [here.stranger.envelope(here.bob, f"number {number}") for number in range(14)]
    for envelope in envelopes:
        here.stranger.post(envelope)
    codes = [here.stranger.until("refuse")["code"] for _ in range(4)]
    assert codes == ["full"] * 4
    wait_for(lambda: len(texts(desk)) == 10, "the others are stored")


def test_after_a_flood_what_was_passed_over_comes_by_being_sent_again(here: Desk) -> None:
    envelopes = [here.stranger.envelope(here.bob, f"number {number}") for number in range(300)]
    missing = {envelope.id for envelope in envelopes}
    while missing:
        for envelope in envelopes:
            if envelope.id in missing:
                here.stranger.post(envelope)
        missing -= set(here.stranger.until("ack")["ids"])
    assert len([text for text in texts(here.place) if text.startswith("number")]) == 300


# --- held for the person ---------------------------------------------------------------------------------------------


def person(place: Place, method: str, **params: Any) -> Any:
    """Call a method as the person."""
    return place.connect("cli", start=False).call(method, {**params, "i_am_human": True})


def test_without_the_right_a_message_is_held_for_the_person(desk: Place, meet: Callable[..., Desk]) -> None:
    here = meet(grants="see")
    first, second = (here.stranger.envelope(here.bob, text) for text in ("let me in", "and me"))
    for envelope in (first, second):
        here.stranger.post(envelope)
        here.stranger.until("ack", ids=[envelope.id], held=[envelope.id])
    reader = here.place.agents[0]
    assert "let me in" not in reader.tool("check_messages")
    person(desk, "relay.approve", request=first.id)
    person(desk, "relay.refuse", request=second.id)
    assert "let me in" in reader.tool("check_messages")
    desk.wait_state(second.id, "refused")
    told: dict[str, str] = {}
    while told.get(second.id) != "refused" or told.get(first.id) != "offered":
        told.update((one["id"], one["state"]) for one in here.stranger.until("receipts")["receipts"])


def test_what_is_held_is_held_by_the_next_daemon_too(desk: Place, meet: Callable[..., Desk]) -> None:
    here = meet(grants="see")
    message = here.stranger.post(here.stranger.envelope(here.bob, "let me in"))
    here.stranger.until("ack", held=[message])
    reader = here.place.agents[0]
    desk.kill()
    wait_for(lambda: desk.pid() and running(desk.pid()), "its adapter starts the next one")
    assert "let me in" not in reader.tool("check_messages")


# --- forgotten -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("S10")
def test_a_forgotten_device_is_cut_and_its_mail_quarantined(desk: Place, laptop: Place) -> None:
    pair = Pair(desk, laptop, patch=PERSON)
    laptop.named("carol", inbox=False)
    writer, other = Writer(desk, "writer"), Writer(laptop, "dave")
    target, back = there(pair.laptop, desk, "carol"), there(pair.desk, laptop, "writer")
    came = other.send(back, "read me")["id"]
    wait_for(lambda: texts(desk) == ["read me"], "it arrives")
    went = writer.send(target, "hello")["id"]
    wait_for(lambda: texts(laptop) == ["hello"], "it arrives")
    apart(pair, writer)
    waits = writer.send(target, "and this")["id"]
    person(desk, "relay.forget", device="laptop")
    for message, reason in (
        (waits, "laptop was forgotten"),
        (went, "laptop was forgotten; what became of it there is not known"),
        (came, "quarantined: laptop was forgotten"),
    ):
        desk.wait_state(message, "dead")
        assert desk.row("SELECT reason FROM messages WHERE id = ?", message)[0] == reason
    pair.heal()
    third = other.send(back, "and me")["id"]
    assert texts(desk) == ["read me"]
    assert laptop.state(third) == "queued"
