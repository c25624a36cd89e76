"""Messages between two devices: each arrives once and in its order, whatever the way does to it, and its sender is told
how far it got.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conftest import Place, wait_for
from coterie import ids
from coterie.daemon.outbox import Flight, Lane
from coterie.errors import Limited
from coterie.limits import RESEND_S
from daemon.pairs import Computer, pair
from daemon.wires import Faults, Pair, Site, Writer, apart, desk, knows, laptop, texts, there, waiting

__all__ = ["desk", "laptop"]

QUICK = """
import coterie.daemon.outbox, coterie.daemon.receipts, coterie.daemon.showing
coterie.daemon.outbox.RESEND_S = coterie.daemon.receipts.RESEND_S = 0.2
coterie.daemon.showing.SHOW_AGAIN_S = (0.2,)
"""
"""What is not confirmed is said again soon."""


# --- the good way ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("N3")
def test_a_message_a_reply_and_their_receipts(desk: Place, laptop: Place) -> None:
    Pair(desk, laptop)
    alice, bob = desk.named("alice"), laptop.named("bob")
    knows(alice, "bob")
    said = alice.tool("send_message", to="bob@laptop", message="Is the port free?")
    assert "stored on laptop" in said
    question = said.split()[0]
    _, line = bob.wait_inbox("Is the port free?")
    assert '"alice@desk"' in line
    desk.wait_state(question, "offered")
    bob.hook("UserPromptSubmit", prompt=line)
    desk.wait_state(question, "shown")
    bob.tool("send_message", reply_to=question, message="It is.")
    _, answer = alice.wait_inbox("It is.")
    assert f"answers {question}" in answer
    desk.wait_state(question, "acknowledged")
    row = desk.row("SELECT thread, reply_to, path FROM messages WHERE text = 'It is.'")
    assert row[:2] == (question, question)
    assert row[2].split()[0] == desk.row("SELECT sender FROM messages WHERE id = ?", question)[0]


def test_a_waiting_send_gets_its_answer_from_elsewhere(desk: Place, laptop: Place) -> None:
    Pair(desk, laptop)
    alice, bob = desk.named("alice"), laptop.named("bob")
    knows(alice, "bob")
    asked = alice.ask_tool("send_message", to="bob@laptop", message="Which port?", wait_s=20)
    _, line = bob.wait_inbox("Which port?")
    bob.tool("send_message", reply_to=ids.framed_ids_in(line)[0], message="8443")
    assert "| 8443" in str(alice.answer_to(asked))


@pytest.mark.promise("L9")
def test_a_message_that_answers_nothing_known_begins_a_thread(desk: Place, laptop: Place) -> None:
    """What one device says of threads gets it into none that it had no part in."""
    joined = Pair(desk, laptop)
    laptop.named("carol", inbox=False)
    writer, bob = Writer(desk, "writer"), Writer(laptop, "bob")
    secret = bob.send("carol", "between us")["id"]
    target = there(joined.laptop, desk, "bob")
    # The desk's person would have to name a message that is here; a device that lies can name any.
    sent = writer.send(target, "hello")["id"]
    wait_for(lambda: texts(laptop) == ["hello"], "it arrives")
    assert laptop.row("SELECT thread FROM messages WHERE id = ?", sent)[0] == sent != secret


# --- a way that loses, repeats, reorders and ends --------------------------------------------------------------------


@pytest.mark.promise("N3")
@pytest.mark.parametrize("seed", range(3))
def test_each_arrives_once_and_in_order_on_a_bad_way(desk: Place, laptop: Place, seed: int) -> None:
    joined = Pair(desk, laptop, Faults(lost=0.15, repeated=0.2, late=0.3, late_s=0.05, seed=seed), patch=QUICK)
    for site in (desk, laptop):
        site.named("carol", inbox=False)
    one, two = Writer(desk, "bob"), Writer(laptop, "bob")
    ways = [(one, laptop, [there(joined.laptop, desk, name) for name in ("bob", "carol")])]
    ways += [(two, desk, [there(joined.desk, laptop, name) for name in ("bob", "carol")])]
    for number in range(40):
        for writer, _, targets in ways:
            for target in targets:
                writer.send(target, f"{target} {number}")
        if number == 20:
            apart(joined, one)
            joined.heal()
    for _, place, targets in ways:
        wait_for(lambda place=place: len(texts(place)) >= 80, "all arrived", 60)  # type: ignore[misc]
        came = texts(place)
        for target in targets:
            sent = [f"{target} {number}" for number in range(40)]
            assert [text for text in came if text.startswith(target)] == sent, "each once, in order"
        assert len(came) == place.row("SELECT count(*) FROM received")[0] == 80
        wait_for(lambda place=place: waiting(place) == 0, "all are confirmed")  # type: ignore[misc]


@pytest.mark.promise("N3")
@pytest.mark.parametrize("seed", range(2))
def test_receipts_are_right_in_the_end_on_a_bad_way(desk: Place, laptop: Place, seed: int) -> None:
    joined = Pair(desk, laptop, Faults(lost=0.3, repeated=0.2, late=0.4, late_s=0.1, seed=seed), patch=QUICK)
    bob = laptop.named("bob")
    writer = Writer(desk, "writer")
    target = there(joined.laptop, desk, "bob")
    sent = [writer.send(target, f"number {number}")["id"] for number in range(12)]
    for number in range(0, 12, 2):
        _, line = bob.wait_inbox(f"number {number}")
        bob.hook("UserPromptSubmit", prompt=line)
    bob.hook("Stop")
    bob.hook("Stop")

    def agree() -> bool:
        query = "SELECT id, state FROM messages ORDER BY id"
        return desk.rows(query) == laptop.rows(query) and all(desk.state(message) for message in sent)

    wait_for(agree, "both say the same")
    assert "shown" in {desk.state(message) for message in sent}
    query = "SELECT count(*) FROM received JOIN messages ON messages.id = message WHERE received.told <> messages.state"
    wait_for(lambda: laptop.row(query)[0] == 0, "all is noted")


def test_mail_for_a_device_that_is_away_waits(desk: Place, laptop: Place) -> None:
    joined = Pair(desk, laptop)
    writer, bob = Writer(desk, "writer"), laptop.named("bob")
    there(joined.laptop, desk, "bob")
    apart(joined, writer)
    sent = writer.send("bob@laptop", "when you are back")
    assert sent["there"]["stored"] is False
    desk.kill()
    joined.revive(joined.desk)
    joined.heal()
    bob.wait_inbox("when you are back")
    desk.wait_state(sent["id"], "offered")


# --- crashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("D1")
@pytest.mark.parametrize("visit", [1, 4])
@pytest.mark.parametrize("point", ["outbox-stored", "envelope-sent", "arrival-stored"])
def test_killed_at_any_point_each_arrives_once(desk: Place, laptop: Place, point: str, visit: int) -> None:
    joined = Pair(desk, laptop, patch=QUICK)
    writer, reader = Writer(desk, "writer"), Writer(laptop, "bob")
    target = there(joined.laptop, desk, "bob")
    victim = joined.laptop if point == "arrival-stored" else joined.desk
    victim.place.kill()
    doomed = joined.revive(victim, "--crash-at", f"{point}:{visit}")
    sent = [f"number {number}" for number in range(10)]
    for text in sent:
        writer.insist(joined, target, text)
    doomed.wait(20)
    joined.revive(victim)
    wait_for(lambda: len(texts(laptop)) >= len(sent), "all arrived")
    wait_for(lambda: waiting(desk) == 0, "all are confirmed")
    assert texts(laptop) == sent
    assert reader


@pytest.mark.promise("N3")
def test_over_real_links_a_killed_device_catches_up(desk: Place, laptop: Place) -> None:
    one, two = Computer(desk, "desk"), Computer(laptop, "laptop")
    pair(one, two)
    writer, reader = Writer(desk, "writer"), Writer(laptop, "bob")
    target = there(Site(laptop, "laptop"), desk, "bob")
    sent = [f"number {number}" for number in range(30)]
    for text in sent[:20]:
        writer.send(target, text)
    laptop.kill()
    for text in sent[20:]:
        writer.send(target, text)
    two.start()
    wait_for(lambda: len(texts(laptop)) >= len(sent), "all arrived")
    assert texts(laptop) == sent
    wait_for(lambda: waiting(desk) == 0, "all are confirmed")
    assert reader


# --- the time to send again ------------------------------------------------------------------------------------------


CLOCKS = st.floats(0, 1e9) | st.builds(lambda power, below: 2.0**power - below, st.integers(4, 30), st.floats(0, 10))
"""What a clock may say. A sum is rounded where it passes a power of two, so many are taken shortly before one."""


@given(st.lists(CLOCKS, min_size=1, max_size=5))
@example([2.0**20 - 5 + 2.0**-33])
def test_at_the_moment_that_due_names_something_is_late(sent_at: list[float]) -> None:
    """However the sums of a clock that has run for years are rounded: a timer set to it would come again at once."""
    lane = Lane()
    for number, at in enumerate(sent_at):
        lane.flying[f"m_{number}"] = Flight(number, ("p_one", "p_two"), at)
    while (due := lane.due()) is not None:
        late = lane.late(due)
        assert late
        assert all(lane.flying[message].due <= due for message in late)
        for message in late:
            del lane.flying[message]


def test_nothing_is_late_before_its_time() -> None:
    lane = Lane()
    assert lane.due() is None
    for number, at in enumerate((5.0, 3.0)):
        lane.flying[f"m_{number}"] = Flight(number, ("p_one", "p_two"), at)
    assert lane.due() == 3.0 + RESEND_S
    assert lane.late(2.9 + RESEND_S) == []
    assert lane.late(3.0 + RESEND_S) == ["m_1"]
    assert lane.late(5.0 + RESEND_S) == ["m_0", "m_1"]


# --- what is refused, expires and is forgotten -----------------------------------------------------------------------


def test_a_full_outbox_refuses_at_the_send(desk: Place, laptop: Place) -> None:
    joined = Pair(desk, laptop, patch="import coterie.daemon.outbox as o\no.OUTBOX_ROWS_MAX = 2\n")
    laptop.named("bob")
    writer = Writer(desk, "writer")
    target = there(joined.laptop, desk, "bob")
    apart(joined, writer)
    for number in range(2):
        assert writer.send(target, f"number {number}")["there"]["connected"] is False
    with pytest.raises(Limited, match="2 messages of 16 bytes wait here for laptop"):
        writer.send(target, "number 2")
    joined.heal()
    wait_for(lambda: len(texts(laptop)) == 2, "they went")
    wait_for(lambda: waiting(desk) == 0, "both are confirmed")
    writer.send(target, "number 3")


def test_what_expires_here_is_not_known_to_have_arrived(desk: Place, laptop: Place) -> None:
    joined = Pair(desk, laptop)
    laptop.named("bob")
    writer = Writer(desk, "writer")
    target = there(joined.laptop, desk, "bob")
    apart(joined, writer)
    late = writer.send(target, "lunch?", life_s=1.0)["id"]
    desk.wait_state(late, "expired")
    assert desk.row("SELECT reason FROM messages WHERE id = ?", late)[0] == "not known to have reached laptop"
    joined.heal()
    writer.send(target, "dinner?")
    wait_for(lambda: texts(laptop) == ["dinner?"], "the other one arrives")


def test_what_expires_there_is_told_by_that_device(desk: Place, laptop: Place) -> None:
    joined = Pair(desk, laptop)
    laptop.named("bob", inbox=False)
    writer = Writer(desk, "writer")
    target = there(joined.laptop, desk, "bob")
    late = writer.send(target, "lunch?", life_s=1.0)["id"]
    wait_for(lambda: texts(laptop) == ["lunch?"], "it arrives")
    desk.wait_state(late, "expired")
    assert desk.row("SELECT reason FROM messages WHERE id = ?", late)[0] == "it was not read on laptop in time"


def test_a_session_that_ended_refuses(desk: Place, laptop: Place) -> None:
    joined = Pair(desk, laptop)
    bob = laptop.agent(client="some-client")
    bob.tool("set_summary", name="bob")
    writer = Writer(desk, "writer")
    target = there(joined.laptop, desk, "bob")
    apart(joined, writer)
    sent = [writer.send(target, text)["id"] for text in ("one", "two")]
    bob.close()
    wait_for(lambda: laptop.row("SELECT state FROM peers WHERE name = 'bob'")[0] == "ended", "bob ends")
    joined.heal()
    for message in sent:
        desk.wait_state(message, "refused")
        assert desk.row("SELECT reason FROM messages WHERE id = ?", message)[0] == "that session of laptop has ended"
