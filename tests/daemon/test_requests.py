"""What a device asks for and has no right to: held for the person, decided by them alone, and told to whoever asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from cli.conftest import Peer
from conftest import Place, a_place, wait_for
from coterie import ids
from coterie.errors import Ambiguous, BadInput, NoMatch
from coterie.limits import REQUESTS_MAX
from daemon.pairs import Computer, pair

SOON = "import coterie.daemon.requests as requests\nrequests.RESEND_S = 0.2\n"


@pytest.fixture
def other() -> Iterator[Place]:
    """A second home."""
    with a_place() as here:
        yield here


@pytest.fixture
def desk(place: Place) -> Computer:
    return Computer(place, "desk", patch=SOON)


@pytest.fixture
def laptop(other: Place) -> Computer:
    return Computer(other, "laptop", patch=SOON)


@pytest.fixture
def both(desk: Computer, laptop: Computer) -> tuple[Computer, Computer]:
    """Two that are paired: the first has made the invitation."""
    pair(desk, laptop)
    return desk, laptop


def requests(computer: Computer, **wanted: Any) -> list[Any]:
    """The requests that a device knows of with these values."""
    found = computer.call("requests")["requests"]
    return [request for request in found if all(request[key] == value for key, value in wanted.items())]


def held(computer: Computer) -> Any:
    """The one request that waits for the person of a device."""
    wait_for(lambda: requests(computer, incoming=True, state="held"), "it is held")
    (found,) = requests(computer, incoming=True, state="held")
    return found


def notices(computer: Computer) -> list[str]:
    """What its person was told."""
    return [text for (text,) in computer.place.rows("SELECT text FROM messages WHERE sender = 'coterie' ORDER BY seq")]


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("L4")
def test_a_right_that_is_asked_for_waits_for_the_person_and_is_given(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    asked = laptop.call("ask", device="desk", grant="task", reason="to run\nthe \x1b[31mtests")
    assert (asked["incoming"], asked["state"], asked["connected"]) == (False, "held", True)
    request = held(desk)
    assert request["reason"] == "to run the [U+001B][31mtests"
    assert (request["id"], request["name"], request["wanted"]) == (asked["id"], "laptop", "task")
    wait_for(lambda: notices(desk), "the person is told")
    assert notices(desk)[0].startswith("laptop asks for the right task\nIt says: to run the ")
    assert f"coterie relay approve {request['id']}" in notices(desk)[0]
    wait_for(lambda: requests(laptop, told=True), "it is known there that it is held")
    assert laptop.call("ask", device="desk", grant="task")["id"] == asked["id"]
    assert desk.call("status")["requests"] == 1

    assert desk.call("approve", request=request["id"][:6])["state"] == "approved"
    assert "task" in desk.card("laptop")["grants"]
    wait_for(lambda: requests(laptop, state="approved"), "the asker learns it")
    wait_for(lambda: notices(laptop), "and is told")
    assert notices(laptop) == ["desk approved what you asked for: task"]
    wait_for(lambda: requests(desk, told=True), "that it knows is known")
    assert desk.call("status")["requests"] == 0
    with pytest.raises(NoMatch, match="waits for you"):
        desk.call("refuse", request=request["id"])


@pytest.mark.promise("L4")
def test_a_right_that_is_refused_is_not_given(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    laptop.call("ask", device="desk", grant="exec")
    desk.call("refuse", request=held(desk)["id"])
    wait_for(lambda: requests(laptop, state="refused"), "the asker learns it")
    assert "exec" not in desk.card("laptop")["grants"]
    laptop.call("ask", device="desk", grant="exec")
    assert held(desk)["state"] == "held"


def test_a_right_that_is_given_unasked_answers_who_asked(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    laptop.call("ask", device="desk", grant="task")
    held(desk)
    desk.call("grant", device="laptop", grants=["task", "exec"])
    wait_for(lambda: requests(laptop, state="approved"), "the asker learns it")
    assert requests(desk, state="held") == []
    laptop.call("ask", device="desk", grant="exec")
    wait_for(lambda: requests(laptop, wanted="exec", state="approved"), "what it has needs nobody")
    assert requests(desk, wanted="exec") == []


def test_who_asks_while_the_other_is_away_is_answered_when_it_is_back(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    desk.place.kill()
    laptop.wait("desk", connected=False)
    assert not laptop.call("ask", device="desk", grant="task")["connected"]
    laptop.place.kill()
    desk.start()
    laptop.start()
    request = held(desk)
    laptop.place.kill()
    desk.wait("laptop", connected=False)
    desk.call("approve", request=request["id"])
    desk.place.kill()
    desk.start()
    laptop.start()
    wait_for(lambda: requests(laptop, state="approved"), "the asker learns it")


LOSES = """
from coterie.daemon.network import Network
send, lost = Network.send, set()
def losing(self, device, kind, **fields):
    if kind in ("ask", "answer", "answered") and kind not in lost:
        lost.add(kind)
        return True
    return send(self, device, kind, **fields)
Network.send = losing
"""


def test_what_is_lost_is_said_again(place: Place, other: Place) -> None:
    desk, laptop = Computer(place, "desk", patch=SOON + LOSES), Computer(other, "laptop", patch=SOON + LOSES)
    pair(desk, laptop)
    laptop.call("ask", device="desk", grant="task")
    desk.call("approve", request=held(desk)["id"])
    wait_for(lambda: requests(laptop, state="approved"), "the asker learns it")
    wait_for(lambda: requests(desk, told=True), "that it knows is known")


def test_asked_for_what_is_no_right_nobody_is_bothered(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    with pytest.raises(BadInput, match="is no right"):
        laptop.call("ask", device="desk", grant="fly")
    with pytest.raises(BadInput, match="one right at a time"):
        laptop.call("ask", device="desk", grant="task exec")
    assert laptop.call("requests") == {"requests": []}


def test_one_who_follows_is_told_and_an_agent_is_not(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    following = desk.place.connect("cli")
    following.follow({})
    laptop.call("ask", device="desk", grant="task")
    kinds = []
    while "request" not in kinds:
        event = following.next_event(20)
        assert event
        kinds.append(event["kind"])
    assert event["request"]["wanted"] == "task"
    assert event["request"]["state"] == "held"


# --- a device that is no friend ---------------------------------------------------------------------------------------

RUDE = """
import coterie.daemon.requests as requests
from coterie.store.requests import Request
from coterie import ids
def flood(self, device, grant, reason):
    for number in range({count}):
        for wanted in ("task", "exec", "knowledge"):
            self._network.send(device.id, "ask", id=ids.new_request_id(), grant=wanted, reason="x")
    return original(self, device, grant, reason)
original = requests.Requests.ask
requests.Requests.ask = flood
"""


def test_a_flood_of_requests_is_one_for_each_right(place: Place, other: Place) -> None:
    desk = Computer(place, "desk", patch=SOON)
    laptop = Computer(other, "laptop", patch=SOON + RUDE.format(count=REQUESTS_MAX))
    pair(desk, laptop)
    laptop.call("ask", device="desk", grant="task")
    wait_for(lambda: requests(laptop, told=True), "all before it was read")
    assert sorted(request["wanted"] for request in requests(desk, state="held")) == ["exec", "knowledge", "task"]
    wait_for(lambda: len(notices(desk)) == 3, "the person is told of each once")


MALFORMED = """
import coterie.daemon.requests as requests
async def ask(self, device, grant, reason):
    self._network.send(device.id, "ask", **{frame})
    return await original(self, device, grant, reason)
original = requests.Requests.ask
requests.Requests.ask = ask
"""


@pytest.mark.parametrize(
    "frame",
    [
        '{"id": "r_1", "grant": "task"}',
        '{"grant": "task"}',
        '{"id": "r_000000000000", "grant": "fly"}',
        '{"id": "r_000000000000", "grant": ["task"]}',
        '{"id": "r_000000000000", "grant": "task", "reason": 5}',
        '{"id": "r_000000000000", "grant": "task", "reason": "x" * 5000}',
    ],
)
def test_a_request_that_makes_no_sense_ends_the_link_and_nothing_else(place: Place, other: Place, frame: str) -> None:
    desk = Computer(place, "desk", patch=SOON)
    laptop = Computer(other, "laptop", patch=SOON + MALFORMED.replace("{frame}", frame))
    pair(desk, laptop)
    laptop.call("ask", device="desk", grant="task")
    wait_for(lambda: "sent a ask that breaks the rules" in desk.log(), "the link is cut")
    desk.wait("laptop", connected=True)
    assert held(desk)["wanted"] == "task"


def test_so_it_does_where_the_daemon_ended_between_the_two(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    laptop.call("ask", device="desk", grant="task")
    held(desk)
    desk.call("forget", device="laptop")
    desk.place.kill()
    with sqlite3.connect(desk.place.home.database) as database:
        database.execute("UPDATE requests SET state = 'held', told = 0")
    database.close()
    desk.start()
    pair(desk, laptop)
    assert requests(desk, state="held") == []


def test_what_a_device_asked_for_goes_with_it(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    laptop.call("ask", device="desk", grant="task")
    held(desk)
    desk.call("forget", device="laptop")
    assert desk.call("requests") == {"requests": []}
    desk.place.kill()
    desk.start()
    pair(desk, laptop)
    assert requests(desk, state="held") == []


# --- messages ---------------------------------------------------------------------------------------------------------


def write(laptop: Computer, sender: Peer, text: str) -> str:
    """Write to api@desk, once it is known there."""

    def known() -> bool:
        return "api" in str(laptop.terminal.call("peers.list", scope="network"))

    wait_for(known, "api is known")
    return sender.send(text, to="api@desk")


def state(computer: Computer, message: str) -> str:
    return computer.place.state(message)


@pytest.mark.promise("L4")
def test_a_message_without_the_right_is_let_through_by_the_person(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    api, web = Peer(desk.place, "api"), Peer(laptop.place, "web")
    desk.call("revoke", device="laptop", grants=["message"])
    message = write(laptop, web, "please \x1b[2Jlook")
    request = held(desk)
    assert (request["message"], request["from"], request["to"]) == (message, "web@laptop", "api")
    assert "look" in request["text"]
    wait_for(lambda: notices(desk), "the person is told")
    assert notices(desk)[0].startswith("A message from laptop is held")
    assert api.call("mail.take", call=ids.new_token())["letters"] == []
    desk.place.kill()
    desk.start()
    api = Peer(desk.place, "api")
    assert api.call("mail.take", call=ids.new_token())["letters"] == []
    desk.call("approve", request=message)
    api.read("please \x1b[2Jlook")
    assert "message" not in desk.card("laptop")["grants"]
    second = write(laptop, web, "and again")
    assert held(desk)["message"] == second


@pytest.mark.promise("L4")
def test_a_message_that_is_refused_is_not_delivered_and_its_sender_learns_it(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    api, web = Peer(desk.place, "api"), Peer(laptop.place, "web")
    desk.call("revoke", device="laptop", grants=["message"])
    message = write(laptop, web, "let me in")
    held(desk)
    desk.call("refuse", request=message)
    wait_for(lambda: state(laptop, message) == "refused", "its sender learns it")
    assert api.call("mail.take", call=ids.new_token())["letters"] == []


def test_the_right_to_write_lets_through_what_was_held(both: tuple[Computer, Computer]) -> None:
    desk, laptop = both
    api, web = Peer(desk.place, "api"), Peer(laptop.place, "web")
    desk.call("revoke", device="laptop", grants=["message"])
    write(laptop, web, "one")
    write(laptop, web, "two")
    wait_for(lambda: len(requests(desk, state="held")) == 2, "both are held")
    ambiguous = min(len(request["id"]) for request in requests(desk))
    assert ambiguous > 4
    desk.call("grant", device="laptop", grants=["message"])
    api.read("two")
    assert requests(desk, state="held") == []


# Times and ids that say the opposite of the order: a clock may be set back, and ids are chance.
BACKWARDS = """
import itertools
import coterie.daemon.requests as requests
to_hold, numbers = requests.Requests.to_hold, itertools.count()
def backwards(self, device, message):
    request, number = to_hold(self, device, message), next(numbers)
    request.id, request.at = f"r_{999999999999 - number}", request.at - 100 * number
    return request
requests.Requests.to_hold = backwards
"""


def test_what_was_held_comes_in_its_order_after_a_restart_too(place: Place, other: Place) -> None:
    desk, laptop = Computer(place, "desk", patch=SOON + BACKWARDS), Computer(other, "laptop", patch=SOON)
    pair(desk, laptop)
    Peer(place, "api")
    web = Peer(other, "web")
    desk.call("revoke", device="laptop", grants=["message"])
    sent = [write(laptop, web, f"number {number}") for number in range(5)]
    wait_for(lambda: len(requests(desk, state="held")) == len(sent), "all are held")
    place.kill()
    desk.start()
    api = Peer(place, "api")
    assert [request["message"] for request in requests(desk, state="held")] == sent
    desk.call("grant", device="laptop", grants=["message"])
    found: list[str] = []

    def all_came() -> bool:
        found.extend(letter["id"] for letter in api.call("mail.take", call=ids.new_token())["letters"])
        return len(found) >= len(sent)

    wait_for(all_came, "all are let through")
    assert found == sent


ALIKE = """
from coterie import ids
numbers = iter("abcdefg")
ids.new_request_id = lambda: "r_00000000000" + next(numbers)
"""


def test_of_two_that_begin_alike_both_are_named(desk: Computer, other: Place) -> None:
    laptop = Computer(other, "laptop", patch=SOON + ALIKE)
    pair(desk, laptop)
    laptop.call("ask", device="desk", grant="task")
    laptop.call("ask", device="desk", grant="exec")
    wait_for(lambda: len(requests(desk, state="held")) == 2, "both are held")
    with pytest.raises(Ambiguous) as caught:
        desk.call("approve", request="R_0000")
    assert caught.value.hint == "r_00000000000a, r_00000000000b"
    with pytest.raises(NoMatch):
        desk.call("approve", request="r_0")
    desk.call("refuse", request="r_00000000000b")
    assert [request["wanted"] for request in requests(desk, state="held")] == ["task"]
