"""What another device tells of our messages counts as far as it can know, and no further."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import wait_for
from daemon.strangers import SENDER, Desk, here, meet
from daemon.wires import Writer, desk, laptop

__all__ = ["desk", "here", "laptop", "meet"]


class Told:
    """A message of the desk to the stranger, which tells of it what it likes."""

    def __init__(self, here: Desk, **more: Any) -> None:
        self.here = here
        here.stranger.deliver(here.stranger.envelope(here.bob))  # From now on its sender can be written to.
        self.writer = Writer(here.place, "writer")
        self.id = self.writer.send(here.mallory, "hello", **more)["id"]
        envelope = here.stranger.until("envelope")["envelope"]
        assert (envelope["id"], envelope["to"], envelope["text"]) == (self.id, SENDER, "hello")

    def tell(self, state: str, n: int = 1, carrier: str = "", message: str = "") -> None:
        """Send a receipt, and wait until it is noted."""
        message = message or self.id
        self.here.stranger.send("receipts", receipts=[{"id": message, "state": state, "carrier": carrier, "n": n}])
        self.here.stranger.until("noted", receipts=[[message, state]])

    def known(self) -> tuple[str, str]:
        """What the desk says of it."""
        return tuple(self.here.message(self.id)[:2])  # type: ignore[return-value]


def test_how_far_it_got_in_our_words(here: Desk) -> None:
    told = Told(here)
    here.stranger.send("ack", ids=[told.id])
    for state, n, carrier, reason in (
        ("offered", 1, "inbox", "inbox"),
        ("queued", 2, "", ""),
        ("offered", 3, "rm -rf", ""),
        ("shown", 4, "hook", "hook"),
        ("acknowledged", 5, "", "answered on laptop"),
    ):
        told.tell(state, n, carrier)
        assert told.known() == (state, reason)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("expired", "it was not read on laptop in time"),
        ("refused", "refused by the person of laptop"),
        ("dead", "laptop gave it up"),
    ],
)
def test_an_end_in_our_words(here: Desk, state: str, reason: str) -> None:
    told = Told(here)
    told.tell(state)
    assert told.known() == (state, reason)


def test_an_older_receipt_changes_nothing(here: Desk) -> None:
    told = Told(here)
    told.tell("queued", 2)
    here.stranger.send("receipts", receipts=[{"id": told.id, "state": "offered", "carrier": "inbox", "n": 1}])
    told.tell("queued", 2)
    assert told.known()[0] == "queued"
    told.tell("shown", 3)
    told.tell("offered", 4)
    assert told.known()[0] == "shown", "what was shown stays so"


def test_it_has_no_say_in_what_did_not_go_to_it(here: Desk) -> None:
    told = Told(here)
    own = told.writer.send("bob", "between us")["id"]
    told.tell("shown", message=own)
    told.tell("acknowledged", message="m_n0th1ng00000")
    assert here.place.state(own) == "queued"
    here.stranger.send("refuse", id=own, code="ended")
    here.stranger.send("ack", ids=[own])
    told.tell("offered")
    assert here.place.state(own) == "queued"


def test_a_receipt_confirms_that_it_arrived(here: Desk) -> None:
    told = Told(here)
    told.tell("offered", carrier="inbox")
    wait_for(lambda: here.place.row("SELECT state FROM outbox")[0] == "stored", "it counts as confirmed")


def test_the_word_that_it_was_shown_may_come_after_its_life(here: Desk) -> None:
    told = Told(here, life_s=1.0)
    here.place.wait_state(told.id, "expired")
    assert told.known()[1] == "not known to have reached laptop"
    told.tell("shown", carrier="inbox")
    assert told.known() == ("shown", "inbox")


@pytest.mark.parametrize(
    ("code", "reason"),
    [("ended", "that session of laptop has ended"), ("<b>buy this</b>", "laptop refused it")],
)
def test_a_refusal_is_told_in_our_words(here: Desk, code: str, reason: str) -> None:
    told = Told(here)
    here.stranger.send("refuse", id=told.id, code=code)
    here.place.wait_state(told.id, "refused")
    assert told.known()[1] == reason


def test_a_confirmation_may_say_that_it_is_held(here: Desk) -> None:
    told = Told(here)
    here.stranger.send("ack", ids=[told.id, told.id], held=[told.id])
    wait_for(lambda: here.place.row("SELECT state FROM outbox")[0] == "held", "it is known to be held")
    assert told.known()[0] == "queued"
    shown = here.place.connect("cli", start=False).call("messages.thread", {"message": told.id})
    assert shown["messages"][0]["recipient"]["there"]["held"] is True


def test_what_moved_at_once_is_told_in_the_order_of_the_ids(here: Desk) -> None:
    """And not in that of a set, which is another one in each process."""
    reader = here.place.agents[0]
    sent = [here.stranger.deliver(here.stranger.envelope(here.bob, f"number {number}")) for number in range(6)]
    reader.tool("check_messages")
    told = here.stranger.until("receipts")["receipts"]
    assert [one["id"] for one in told] == sorted(sent)


def test_what_is_not_noted_is_told_again_at_the_next_meeting(here: Desk) -> None:
    reader = here.place.agents[0]
    message = here.stranger.deliver(here.stranger.envelope(here.bob, "read me"))
    reader.tool("check_messages")
    here.stranger.until("receipts")
    here.stranger.connect()
    told = here.stranger.until("receipts")["receipts"]
    assert [(one["id"], one["state"]) for one in told] == [(message, "offered")]
    here.stranger.send("noted", receipts=[[message, "offered"]])
    wait_for(lambda: here.place.row("SELECT told FROM received")[0] == "offered", "it is noted")
