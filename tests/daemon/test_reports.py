"""What is said of a text is heard though the disk takes nothing at that moment, and no result carries a text twice."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import END_S, Place, wait_for
from coterie import ids
from coterie.client import Client
from coterie.errors import DiskFull
from coterie.jsonline import decode, encode
from daemon.disks import FULL_DISK, fill, make_room


class Session:
    """An adapter that this process plays."""

    def __init__(
        self, place: Place, name: str, *, inbox: bool = False, held: dict[str, list[str]] | None = None
    ) -> None:
        self.connection: Client = place.connect("adapter")
        self._who = {"kind": "codex", "cwd": "/", "session": f"session-{name}", "inbox": inbox}
        self._found: list[str] = []
        self.register(held or {})
        self.call("peers.describe", name=name)

    def register(self, held: dict[str, list[str]]) -> None:
        self.call("peers.register", **self._who, held=held)

    def call(self, method: str, **params: Any) -> Any:
        return self.connection.call(method, params)

    def ask(self, method: str, **params: Any) -> None:
        """A request whose answer nobody waits for."""
        self.connection.connection.sendall(encode({"jsonrpc": "2.0", "id": 99, "method": method, "params": params}))

    def send(self, to: str, text: str, **how: Any) -> str:
        message = ids.new_message_id()
        self.call("messages.send", id=message, to=to, text=text, **how)
        return message

    def take(self, call: str, **how: Any) -> list[str]:
        return [letter["id"] for letter in self.call("mail.take", call=call, **how)["letters"]]

    def look(self) -> list[str]:
        """All that it took by looking for it so far, and now."""
        self._found += self.take(ids.new_token())
        return self._found


@pytest.fixture
def disk(place: Place) -> Place:
    place.start(patch=FULL_DISK)
    return place


def offers(place: Place, message: str) -> list[tuple[Any, ...]]:
    rows = place.rows("SELECT carrier, outcome, reason FROM offers WHERE message = ? ORDER BY number", message)
    return list(rows)


# --- reports on a full disk ----------------------------------------------------------------------------------------


def test_that_a_result_went_out_is_stored_when_there_is_room_again(disk: Place) -> None:
    api, web = Session(disk, "api"), Session(disk, "web")
    message = api.send("web", "hello")
    assert web.take("c_1") == [message]
    fill(disk)
    with pytest.raises(DiskFull):
        web.call("mail.written", calls=["c_1"])
    assert disk.state(message) == "queued"
    make_room(disk)
    assert web.take("c_2") == [], "its text went out with the call before"
    disk.wait_state(message, "offered")


def pushed(session: Session) -> str:
    """Wait for the line that the session is to write, and return its call."""
    session.connection.connection.settimeout(END_S)
    while True:
        for line in session.connection.reader.feed(session.connection.connection.recv(65_536)):
            message = decode(line) if isinstance(line, bytes) else {}
            if isinstance(message, dict) and message.get("method") == "push":
                return str(message["params"]["call"])


def test_a_line_that_failed_on_a_full_disk_is_written_again_when_there_is_room(disk: Place) -> None:
    api, web = Session(disk, "api"), Session(disk, "web", inbox=True)
    message = api.send("web", "hello")
    call = pushed(web)
    fill(disk)
    with pytest.raises(DiskFull):
        web.call("offers.failed", call=call, reason="timed out")
    make_room(disk)
    assert pushed(web) != call
    assert offers(disk, message) == [("inbox", "failed", "timed out"), ("inbox", "open", "")]


# --- sends on a full disk ------------------------------------------------------------------------------------------


def test_a_send_that_is_sent_again_on_a_full_disk_stays_accepted(disk: Place) -> None:
    api, web = Session(disk, "api"), Session(disk, "web")
    message = {"id": ids.new_message_id(), "to": "web", "text": "hello"}
    api.call("messages.send", **message)
    fill(disk)
    assert [line["id"] for line in api.call("messages.send", **message)["messages"]] == [message["id"]]
    with pytest.raises(DiskFull):
        web.call("messages.send", id=message["id"], to="api", text="not mine")
    with pytest.raises(DiskFull):
        api.send("web", "new")


def test_an_answer_that_cannot_be_given_on_a_full_disk_is_named_and_given_later(disk: Place) -> None:
    api, web = Session(disk, "api"), Session(disk, "web")
    question = {"id": ids.new_message_id(), "to": "api", "text": "are you there?"}
    web.call("messages.send", **question)
    answer = ids.new_message_id()
    api.call("messages.send", id=answer, reply_to=question["id"], text="yes")
    fill(disk)
    said = web.call("messages.send", **question, wait_s=5)
    assert answer in said["answered"]
    assert "answer" not in said
    make_room(disk)
    assert web.take("c_1") == [answer]


def test_the_person_is_the_same_one_after_a_disk_that_was_full_at_their_first_command(disk: Place) -> None:
    web, person = Session(disk, "web"), disk.connect("cli")
    fill(disk)
    with pytest.raises(DiskFull):
        person.call("messages.send", {"id": ids.new_message_id(), "to": "web", "text": "too early"})
    make_room(disk)
    message = ids.new_message_id()
    person.call("messages.send", {"id": message, "to": "web", "text": "hello"})
    assert disk.row("SELECT kind FROM peers JOIN messages ON sender = peers.id WHERE messages.id = ?", message) == (
        "person",
    )
    assert web.look() == [message]


# --- results that wait ---------------------------------------------------------------------------------------------

# A wait that ends in the moment in which its answer comes.
LATE = """
import coterie.daemon.handlers.messages as messages
wait = messages._wait
async def late(*arguments):
    await wait(*arguments)
    return {"answer": None}
messages._wait = late
"""


def test_an_answer_that_came_as_the_wait_ended_goes_to_the_next_carrier(place: Place) -> None:
    place.start(patch=LATE)
    _, web, call, answer = waiting(place)
    wait_for(lambda: ("wait", "failed", "the wait was over") in offers(place, answer), f"{call} has it no more")
    assert web.look() == [answer]


def test_who_gave_a_wait_up_is_brought_the_answer_another_way(daemon: Place) -> None:
    """Its adapter had no more patience, the daemon still waits: nobody would read the result."""
    api, web = Session(daemon, "api"), Session(daemon, "web")
    question, answer = ids.new_message_id(), ids.new_message_id()
    web.ask("messages.send", id=question, to="api", text="are you there?", wait_s=30)
    wait_for(lambda: question in api.look(), "it asks")
    web.call("mail.failed", call=f"wait:{question}")
    api.call("messages.send", id=answer, reply_to=question, text="yes")
    assert web.look() == [answer]


def test_a_wait_that_was_given_up_before_it_began_is_none(daemon: Place) -> None:
    api, web = Session(daemon, "api"), Session(daemon, "web")
    question = ids.new_message_id()
    web.call("mail.failed", call=f"wait:{question}")
    said = web.call("messages.send", id=question, to="api", text="are you there?", wait_s=30)
    assert said["answer"] is None
    assert api.look() == [question]


def test_whatever_answered_a_wait_is_given_when_its_send_is_sent_again(daemon: Place) -> None:
    """One that waits itself answers any wait for it, in whatever thread."""
    api, web = Session(daemon, "api"), Session(daemon, "web")
    question, other = ids.new_message_id(), ids.new_message_id()
    web.ask("messages.send", id=question, to="api", text="are you there?", wait_s=30)
    wait_for(lambda: question in api.look(), "it asks")
    api.ask("messages.send", id=other, to="web", text="and you?", wait_s=30)
    wait_for(lambda: ("wait", "open", "") in offers(daemon, other), "it is given to who waits")
    daemon.kill()
    daemon.start()
    again = Session(daemon, "web", held={f"wait:{question}": []})
    said = again.call("messages.send", id=question, to="api", text="are you there?", wait_s=20)
    assert said["answer"]["id"] == other


# --- what is in hand when a daemon comes back ----------------------------------------------------------------------


def waiting(place: Place) -> tuple[Session, Session, str, str]:
    """A session that was given the answer that it waits for, and has not put its result out. Returns the call and the
    answer as well.
    """
    api, web = Session(place, "api"), Session(place, "web")
    question = ids.new_message_id()
    web.ask("messages.send", id=question, to="api", text="are you there?", wait_s=30)
    wait_for(lambda: question in api.look(), "it asks")
    answer = ids.new_message_id()
    wait_for(lambda: place.row("SELECT 1 FROM messages WHERE id = ?", question), "it is stored")
    api.call("messages.send", id=answer, reply_to=question, text="yes")
    return api, web, f"wait:{question}", answer


@pytest.mark.parametrize("ended", ["daemon", "connection"])
def test_no_result_carries_a_text_twice(daemon: Place, ended: str) -> None:
    """The answer that was waited for is in the adapter's hand when all that the daemon knew of it ends."""
    api, web, call, answer = waiting(daemon)
    wait_for(lambda: ("wait", "open", "") in offers(daemon, answer), "it is given to who waits")
    web.connection.close()
    if ended == "daemon":
        daemon.kill()
        daemon.start()
    else:
        wait_for(lambda: ("wait", "failed") in [row[:2] for row in offers(daemon, answer)], "it is known to be gone")
    again = Session(daemon, "web", held={call: [answer], "c_1": []})
    taken = again.call("mail.take", call="c_1", beside=[call])
    assert taken["letters"] == []
    assert taken["notes"] == []
    again.call("mail.written", calls=["c_1", call])
    assert daemon.state(answer) == "offered"
    assert offers(daemon, answer)[-1][:2] == ("wait", "open")
    assert again.take("c_2") == []
    assert api.connection is not web.connection


def test_what_was_in_hand_and_never_went_out_is_the_next_carriers(daemon: Place) -> None:
    _, web, call, answer = waiting(daemon)
    web.connection.close()
    daemon.kill()
    daemon.start()
    held = Session(daemon, "web", held={call: [answer]})
    assert held.take("c_1", beside=[call]) == []
    held.connection.close()
    after = Session(daemon, "web")
    wait_for(lambda: after.look() == [answer], "it is brought")


def test_what_was_never_offered_in_a_call_is_not_in_hand(daemon: Place) -> None:
    """A sub-agent is told the answer too, and the main agent is brought it all the same."""
    api, web = Session(daemon, "api"), Session(daemon, "web")
    message = api.send("web", "hello")
    web.register({"wait:m_000000000000": [message]})
    assert web.take("c_1") == [message]


def test_what_is_held_must_be_named_by_call(daemon: Place) -> None:
    with pytest.raises(Exception, match="held must name the messages of each call"):
        Session(daemon, "web", held=["c_1"])  # type: ignore[arg-type]
