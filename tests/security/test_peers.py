"""A paired device that lies: what it may not learn, not move, and not make of the agents here."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import Place, wait_for
from coterie import ids, invitations
from coterie.daemon.receipts import Receipts
from coterie.devices import Device, device_id
from coterie.errors import NoMatch, Refused, StoreFailed
from coterie.limits import HOPS_MAX, KIB, NEIGHBOURS_MAX
from coterie.net.identity import load_or_make
from coterie.net.joiner import _Joiner
from coterie.store import devices, outbox
from coterie.store.db import Store
from coterie.store.messages import NewMessage
from coterie.store.outbox import Posting
from daemon.pairs import Computer, Terminal, pair
from daemon.strangers import SENDER, Desk, here, meet
from daemon.test_arrivals import person
from daemon.wires import Writer, desk, laptop

__all__ = ["desk", "here", "laptop", "meet"]


# --- what the person has not let through -----------------------------------------------------------------------------


class Reader(Writer):
    """A session that asks for everything that it can be told."""

    def sights(self, message: str) -> str:
        """What it is told of a message of its own."""
        told = []
        for method, params in (
            ("mail.take", {"call": "c_1", "check": True}),
            ("messages.log", {"texts": True}),
            ("messages.search", {"words": "secret"}),
            ("messages.thread", {"message": message, "chain": True}),
            ("messages.read", {"message": message, "call": "c_2"}),
            ("messages.read", {"message": message[:9], "call": "c_3"}),
            ("export.page", {}),
            ("messages.send", {"id": ids.new_message_id(), "reply_to": message, "text": "who are you?"}),
        ):
            try:
                told.append(str(self.connection.call(method, params)))
            except NoMatch as error:
                told.append(error.message)
        return "\n".join(told)


@pytest.mark.parametrize("verdict", ["", "refuse"])
def test_what_is_held_or_refused_is_nowhere_for_its_recipient(meet: Any, verdict: str) -> None:
    here = meet(grants="see")
    reader = Reader(here.place, "reader")
    message = here.stranger.post(here.stranger.envelope(reader.card["id"], "the secret word"))
    here.stranger.until("ack", held=[message])
    reader.connection.follow({})
    if verdict:
        person(here.place, f"relay.{verdict}", request=message)
        here.place.wait_state(message, "refused")
        receipt = reader.connection.next_event(10)
        assert receipt
        assert (receipt["kind"], receipt["state"], receipt["line"]) == ("receipt", "refused", "")
    sights = reader.sights(message)
    assert "secret word" not in sights
    assert "mallory" not in sights
    found = person(here.place, "messages.search", words="secret")["messages"]
    assert [one["id"] for one in found] == [message], "the person sees it"


def test_what_was_let_through_is_there_in_every_way(meet: Any) -> None:
    here = meet(grants="see")
    reader = Reader(here.place, "reader")
    message = here.stranger.post(here.stranger.envelope(reader.card["id"], "the secret word"))
    here.stranger.until("ack", held=[message])
    person(here.place, "relay.approve", request=message)
    assert reader.sights(message).count("the secret word") >= 6


def test_an_answer_that_is_held_has_answered_nothing_yet(meet: Any) -> None:
    here = meet(grants="see")
    sessions = [{"id": SENDER, "name": "mallory", "kind": "claude", "state": "live"}]
    here.stranger.send("presence", epoch=1, n=1, sessions=sessions)
    here.stranger.until("seen", n=1)
    writer = Writer(here.place, "writer")
    question = writer.send(here.mallory, "well?")["id"]
    here.stranger.until("envelope")
    here.stranger.send("ack", ids=[question])
    answer = here.stranger.post(here.stranger.envelope(writer.card["id"], "no", reply_to=question, thread=question))
    here.stranger.until("ack", held=[answer])
    assert here.place.state(question) == "queued"
    person(here.place, "relay.approve", request=answer)
    here.place.wait_state(question, "acknowledged")


def test_what_came_to_its_end_while_it_was_held_is_let_through_no_more(meet: Any) -> None:
    here = meet(grants="see")
    reader = Reader(here.place, "reader")
    message = here.stranger.post(here.stranger.envelope(reader.card["id"], "the secret word", life_s=1.0))
    here.stranger.until("ack", held=[message])
    here.place.wait_state(message, "expired")
    with pytest.raises(Refused, match="its time is over"):
        person(here.place, "relay.approve", request=message)
    assert "secret word" not in reader.sights(message)
    assert [one["state"] for one in person(here.place, "relay.requests")["requests"]] == ["refused"]


def test_what_a_forgotten_device_left_is_nowhere_for_its_recipient(here: Desk) -> None:
    reader = Reader(here.place, "reader")
    message = here.stranger.deliver(here.stranger.envelope(reader.card["id"], "the secret word"))
    person(here.place, "relay.forget", device="laptop")
    here.place.wait_state(message, "dead")
    assert "secret word" not in reader.sights(message)


# --- what it shows ---------------------------------------------------------------------------------------------------


def test_no_device_floods_a_model_with_what_it_says_of_its_sessions(here: Desk) -> None:
    fields = {"kind": "claude", "state": "live", "summary": "buy this! " * 19}
    sessions = [{"id": f"p_{n:08}", "name": f"n{n}", **fields} for n in range(NEIGHBOURS_MAX)]
    here.stranger.send("presence", epoch=1, n=1, sessions=sessions)
    here.stranger.until("seen", n=1)
    listed = here.place.agents[0].tool("list_peers", scope="network")
    assert len(listed) < 16 * KIB
    assert "- and 160 more; whom you know by name is written to as NAME@laptop" in listed


# --- receipts --------------------------------------------------------------------------------------------------------


class Wires:
    """In the place of a network: keeps what is sent, and to whom."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Any]] = []

    def send(self, device: str, kind: str, **fields: Any) -> bool:
        self.sent.append((device, kind, fields))
        return True


def test_a_receipt_of_one_device_makes_none_of_another_stale(place: Place) -> None:
    """It may know the id of what went elsewhere: a thread is called by its first message."""
    liar, tower = (Device(device_id(bytes([number]) * 32), f"device-{number}", b"") for number in (1, 2))
    message = NewMessage("m_000000000001", "p_1", "api", "claude", "p_2", "m_000000000001", None, "hello", 0.0, 9e9)

    def fill(database: Any) -> None:
        for device in (liar, tower):
            devices.save(database, device)
        outbox.accept(database, message.id, [message], None, [Posting(message.id, tower.id, "p_2", 5)])

    async def main() -> None:
        store, wires, learnt = Store.open(place.home, 1.8e9), Wires(), []
        await store.write(fill)
        box = SimpleNamespace(entries={message.id: None}, learn=lambda *what: learnt.append(what))
        post = SimpleNamespace(box=lambda peer: box, on_moved=None)
        label = SimpleNamespace(label=lambda device: "tower")
        told: Any = (store, wires, label, post, lambda device, message: None)
        receipts = Receipts(*told)
        for device, n in ((liar, 1 << 40), (tower, 1)):
            one = {"id": message.id, "state": "offered", "carrier": "inbox", "n": n}
            receipts.receive(device.id, {"kind": "receipts", "receipts": [one]})
            while not any(sent[0] == device.id for sent in wires.sent):  # noqa: ASYNC110 (nothing tells of it)
                await asyncio.sleep(0)
        await store.close()
        assert learnt == [(message.id, "offered", "inbox")]

    asyncio.run(asyncio.wait_for(main(), 10))


def test_what_a_device_claims_to_know_is_not_written(here: Desk) -> None:
    """It could be more than the disk takes at a time, and what waits for the disk is in memory."""
    reader = here.place.agents[0]
    message = here.stranger.deliver(here.stranger.envelope(here.bob, "read me"))
    here.stranger.send("noted", receipts=[[message, "shown"], [ids.new_message_id(), "shown"]])
    reader.tool("check_messages")
    here.stranger.until("receipts")
    here.stranger.send("noted", receipts=[[message, "offered"], [message, "offered"]])
    wait_for(lambda: here.place.row("SELECT told FROM received")[0] == "offered", "it is noted")


# --- where it came through -------------------------------------------------------------------------------------------


def test_a_path_that_a_device_makes_up_spares_few_from_being_counted(here: Desk) -> None:
    """What a session writes to those on the path of its cause is no spreading: so no device may name everybody."""
    mine = here.pair.desk.id[:7]
    path = (f"{mine}:{here.bob}", *(f"{mine}:p_0000000{step}" for step in range(9)))
    message = here.stranger.deliver(here.stranger.envelope(here.bob, path=path, hops=9))
    believed = here.place.row("SELECT path FROM messages WHERE id = ?", message)[0].split()
    assert believed == [here.bob, *(f"p_0000000{step}" for step in range(HOPS_MAX)), here.mallory]


def test_no_message_takes_the_name_of_a_thread_whose_first_is_gone(here: Desk) -> None:
    writer = Writer(here.place, "writer")
    first = writer.send("bob", "between us")["id"]
    writer.send("bob", "and on", reply_to=first)
    with sqlite3.connect(here.place.home.database) as database:  # As the history's bounds do, in a month.
        database.execute("DELETE FROM messages WHERE id = ?", (first,))
    database.close()
    here.stranger.deliver(here.stranger.envelope(here.bob, "me too", id=first, thread=first))
    assert here.place.row("SELECT thread FROM messages WHERE text = 'me too'")[0] != first


# --- what a disk that takes nothing leaves ---------------------------------------------------------------------------

FULL = """
import os, sqlite3, coterie.store.devices as devices
def save(connection, device, save=devices.save):
    if os.path.exists(os.path.join(os.environ["HOME"], "full")):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
        raise error
    save(connection, device)
devices.save = save
"""


SLOW = "links.RECONNECT_FIRST_S = 60.0\n"


@pytest.fixture
def two(place: Place, laptop: Place) -> tuple[Computer, Computer]:
    """Two devices with real links; the disk of the first can be full."""
    return Computer(place, "desk", patch=FULL), Computer(laptop, "laptop")


def test_paired_but_not_kept_is_not_paired(two: tuple[Computer, Computer]) -> None:
    desk, laptop = two
    (desk.place.root / "full").touch()
    inviting = Terminal(desk.place)
    laptop.call("join", text=inviting.call("relay.invite")["code"])
    assert "not kept" in inviting.until("over")["text"]
    assert desk.call("peers")["devices"] == []
    assert not list((Path(desk.place.home.device) / "pairs").iterdir())
    assert not desk.call("status")["connected"]


def test_a_right_that_could_not_be_kept_is_not_given(two: tuple[Computer, Computer]) -> None:
    desk, laptop = two
    pair(desk, laptop)
    desk.wait("laptop", connected=True)
    (desk.place.root / "full").touch()
    with pytest.raises(StoreFailed):
        desk.call("grant", device="laptop", grants=["exec"])
    assert desk.card("laptop")["grants"] == ["message", "see"]
    with pytest.raises(StoreFailed):
        desk.call("revoke", device="laptop", grants=["message"])
    assert desk.card("laptop")["grants"] == ["see"], "what is taken is taken, until the daemon ends"


def test_an_invitation_that_was_withdrawn_pairs_nobody(two: tuple[Computer, Computer]) -> None:
    """Also not one that had proved the code, and kept the last line back until the person gave up."""
    desk, laptop = two
    inviting = Terminal(desk.place)
    invitation = invitations.read(inviting.call("relay.invite")["code"])
    host, port = invitation.addresses[0]
    stranger = load_or_make(laptop.place.home.device)

    async def main() -> None:
        side = _Joiner(invitation, stranger, "mallory", [], print, "desk")
        lines = await side._connect(host, port)
        await side._meet(lines)
        await side._confirm(lines)
        inviting.call("relay.withdraw")
        await lines.send({"done": True, "addresses": []})
        await lines.end()
        lines.writer.transport.abort()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert inviting.until("over")["reason"] == "withdrawn"
    assert desk.call("peers")["devices"] == []
    wait_for(lambda: "believes to be paired" in str(desk.place.rows("SELECT text FROM messages")), "the person is told")


def test_who_is_connected_by_its_address_brings_no_other_back(place: Place, laptop: Place, desk: Place) -> None:
    one, two, three = Computer(place, "one"), Computer(laptop, "two"), Computer(desk, "three")
    pair(two, one)
    pair(three, one)
    one.call("disconnect", device="two")
    one.call("connect", to=f"127.0.0.1:{three.port}")
    assert one.card("two")["parted"]


def test_who_says_connect_does_not_wait_for_the_next_try(place: Place, laptop: Place) -> None:
    desk, lap = Computer(place, "desk"), Computer(laptop, "laptop", patch=SLOW)
    pair(desk, lap)
    desk.place.kill()
    lap.wait("desk", connected=False)
    desk.start()
    assert lap.call("connect", to="desk")["connected"]
