"""The guards between real sessions: what is stopped, what the sender is told, and what a person sets right again."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cli.detached import COTERIE
from conftest import END_S, Place, is_daemon, wait_for
from coterie.errors import BadInput, Limited
from coterie.limits import EXCHANGE_MAX, FAN_OUT_AGENT_MAX, HOPS_MAX, PAIR_BURST, REPEATS_MAX, THREAD_MAX
from coterie.testing.agent import Agent
from daemon.sessions import Session, chain, configure, person


def sent_id(said: str) -> str:
    found = re.match(r"m_[0-9a-z]+", said)
    assert found, said
    return found[0]


def two(place: Place) -> tuple[Agent, Agent]:
    """Two sessions with adapters of their own. Without inboxes, so that a send has nothing to wait for."""
    one, other = (place.agent(client="something", inbox=False) for _ in range(2))
    one.tool("set_summary", name="one")
    other.tool("set_summary", name="other")
    return one, other


def again(place: Place) -> None:
    """The daemon is killed, and the next one serves: the one started here, or by an adapter that was quicker."""
    wait_for(lambda: is_daemon(place.pid()), "a daemon that is being started serves")
    place.kill()
    place.start()


def notices(place: Place) -> list[str]:
    """What the person was told, the oldest first."""
    return [row[0] for row in place.rows("SELECT text FROM messages WHERE sender = 'coterie' ORDER BY seq")]


def refused(said: str) -> str:
    assert said.startswith("Not sent: "), said
    return said


# --- each limit ---------------------------------------------------------------------------------------------------


@pytest.mark.promise("W1")
def test_who_writes_too_fast_is_told_when_to_go_on(daemon: Place) -> None:
    one, other = two(daemon)
    for number in range(PAIR_BURST):
        sent_id(one.tool("send_message", to="other", message=f"part {number}"))
    said = refused(one.tool("send_message", to="other", message="one more"))
    assert "you write to other faster than 30 messages a minute, after a burst of 100." in said
    assert re.search(r"It can go in [12] s, and not before\. What to do: put what belongs together", said)
    assert daemon.row("SELECT count(*) FROM messages")[0] == PAIR_BURST
    sent_id(other.tool("send_message", to="one", message="the other way is free"))


@pytest.mark.promise("W2")
def test_the_same_text_again_and_again_is_refused(daemon: Place) -> None:
    one, _ = two(daemon)
    for _ in range(REPEATS_MAX):
        sent_id(one.tool("send_message", to="other", message="done"))
    said = refused(one.tool("send_message", to="other", message="done"))
    assert "other has had this text from you 3 times within 10 minutes" in said
    assert re.search(r"It can go in (600|59\d) s", said)
    shell = {"COTERIE_HOME": daemon.home.folder}
    ran = one.run(COTERIE, "send", "other", "done", "--json", env=shell)
    assert ran["status"] == 1
    error = json.loads(ran["stdout"])["error"]
    assert (error["kind"], error["limit"]) == ("limited", "repeats")
    assert 500 < error["retry_s"] <= 600
    ran = one.run(COTERIE, "send", "other", "done", env=shell)
    assert ran["status"] == 1
    assert re.search(r"coterie: not sent; try again in (600|5\d\d) s", ran["stderr"])
    sent_id(one.tool("send_message", to="other", message="done, with tests"))


@pytest.mark.promise("W3")
def test_a_thread_stops_a_person_is_told_and_lets_it_go_on(daemon: Place) -> None:
    one, other = two(daemon)
    first = last = sent_id(one.tool("send_message", to="other", message="shall we?"))
    sides = [other, one]
    for number in range(THREAD_MAX - 1):
        last = sent_id(sides[number % 2].tool("send_message", reply_to=last, message=f"after you {number}"))
    replier = sides[(THREAD_MAX - 1) % 2]
    said = refused(replier.tool("send_message", reply_to=last, message="no, after you"))
    assert f"agents have sent 60 messages in thread {first} without a word of a person" in said
    assert "To try again later does not help." in said
    assert f'the person is told, and can let it go on: coterie reply {last} "go on"' in said
    again(daemon)
    wait_for(lambda: "one" in replier.tool("list_peers"), "its adapter is back")
    refused(replier.tool("send_message", reply_to=last, message="please, after you"))
    told = notices(daemon)
    assert len(told) == 1
    assert told[0].startswith(f"Stopped at the limit thread: thread {first}\n")
    assert f'To let it go on: coterie reply {last} "go on"' in told[0]
    went = person(daemon, "reply", last, "go", "on")
    assert went.status == 0, str(went)
    sent_id(replier.tool("send_message", reply_to=last, message="thank you"))
    assert daemon.row("SELECT thread FROM messages ORDER BY seq DESC LIMIT 1")[0] == first


@pytest.mark.promise("W4")
def test_an_exchange_stops_until_the_user_of_either_speaks(daemon: Place) -> None:
    one, other = daemon.agent(client="something", inbox=False), daemon.named("other", inbox=False)
    one.tool("set_summary", name="one")
    for number in range(EXCHANGE_MAX // 2):
        sent_id(one.tool("send_message", to="other", message=f"ping {number}"))
        sent_id(other.tool("send_message", to="one", message=f"pong {number}"))
    for number in range(2):
        said = refused(one.tool("send_message", to="other", message="ping"))
        assert "you and other have exchanged 200 messages without a word of a person to either" in said
        assert 'the person is told, and can let it go on: coterie send other "go on"' in said
        other.hook("UserPromptSubmit", prompt=f"/clear {number}" if number else "")  # No word of its user.
        again(daemon)
        wait_for(lambda: "other" in one.tool("list_peers"), "its adapter is back")
    told = notices(daemon)
    assert len(told) == 1
    assert re.match(r"Stopped at the limit exchange: (one \(p_\w+\) and other|other \(p_\w+\) and one) \(p_", told[0])
    other.hook("UserPromptSubmit", prompt="go on, the two of you")
    sent_id(one.tool("send_message", to="other", message="ping"))
    again(daemon)
    wait_for(lambda: "other" in one.tool("list_peers"), "its adapter is back")
    sent_id(one.tool("send_message", to="other", message="ping, as I was allowed to"))


@pytest.mark.promise("W5", "W8")
def test_hops_are_counted_along_the_chain_and_a_new_daemon_knows_them(daemon: Place) -> None:
    names = [f"hop{number}" for number in range(HOPS_MAX + 3)]
    agents = [daemon.agent(client="something", inbox=False) for _ in names]
    for name, agent in zip(names, agents, strict=True):
        agent.tool("set_summary", name=name)
    sent: list[str] = []
    for agent, to in zip(agents[: HOPS_MAX + 1], names[1:], strict=False):
        sent.append(sent_id(agent.tool("send_message", to=to, message="pass it on")))
        reader = agents[names.index(to)]
        assert "| pass it on" in reader.tool("list_peers")
    last, beyond = agents[HOPS_MAX + 1], names[HOPS_MAX + 2]
    for _ in range(2):
        said = refused(last.tool("send_message", to=beyond, message="pass it on"))
        assert f"what {sent[-1]} told you came through 4 peers, and is not passed on to one more ({beyond})" in said
        assert 'the person is told, and can let it go on: coterie send hop4 "pass it on"' in said
        daemon.wait_state(sent[-1], "offered")
        again(daemon)
        wait_for(lambda: "hop0" in last.tool("list_peers"), "its adapter is back")
    assert [name for name, _ in chain(daemon, sent[-1])] == names[: HOPS_MAX + 1]
    told = notices(daemon)
    assert len(told) == 1
    assert told[0].splitlines()[0].startswith("Stopped at the limit hops: what hop0 (p_")
    assert told[0].splitlines()[0].endswith(f" began in {sent[0]}")
    assert "Its text came this way: hop0 -> hop1 -> hop2 -> hop3 -> hop4" in told[0]
    sent_id(last.tool("send_message", to=names[0], message="it came to me"))  # Back it may go.
    assert person(daemon, "send", "hop4", "pass", "it", "on").status == 0
    assert "| pass it on" in last.tool("list_peers")
    sent_id(last.tool("send_message", to=beyond, message="as the person wishes"))


@pytest.mark.promise("W6")
def test_one_text_is_passed_on_to_so_many(daemon: Place) -> None:
    lead, worker = Session(daemon, "lead"), Session(daemon, "worker")
    others = [Session(daemon, f"other{number}") for number in range(FAN_OUT_AGENT_MAX + 1)]
    cause = lead.send("tell everybody", to="worker")
    assert [letter["id"] for letter in worker.read()] == [cause]
    for other in others[:-1]:
        worker.send("everybody is told", to=other.name)
    for how in ({"to": others[-1].name}, {"to": others[-1].name, "reply_to": cause}):
        with pytest.raises(Limited) as caught:
            worker.send("and you", **how)
        assert (caught.value.limit, caught.value.retry_s) == ("fan-out", None)
    worker.send("I told eight", reply_to=cause)
    lead.read()
    for other in others:  # Whoever began is not passing anything on.
        lead.send("did it reach you?", to=other.name)
    with pytest.raises(Limited) as caught:
        lead.send("at once", to="all")
    assert caught.value.limit == "fan-out"
    assert "that is 10 peers" in caught.value.message


@pytest.mark.promise("W7")
def test_a_full_mailbox_is_said_to_agents_and_to_persons(place: Place) -> None:
    configure(place, mailbox_messages=3)
    place.start()
    one, other = two(place)
    for number in range(3):
        sent_id(one.tool("send_message", to="other", message=f"unread {number}"))
    said = refused(one.tool("send_message", to="other", message="unread too"))
    assert "other has 3 unread messages of 24 bytes, and its mailbox takes no more" in said
    ended = person(place, "send", "other", "hello", "--json")
    assert ended.status == 1
    error = json.loads(ended.out)["error"]
    assert (error["kind"], error["limit"], error["retry_s"]) == ("limited", "mailbox", None)
    words = person(place, "send", "other", "hello")
    assert "not sent, and later neither" in words.err
    again(place)
    wait_for(lambda: "one" in other.tool("set_summary", name="other"), "its adapter is back")
    other.tool("check_messages")
    assert other.tool("check_messages") == "No unread messages."  # Which is evidence that it read what came before.
    assert person(place, "send", "other", "hello").status == 0


# --- sent again ---------------------------------------------------------------------------------------------------


def test_what_was_stored_is_answered_as_stored_whatever_a_guard_says_now(daemon: Place) -> None:
    one = Session(daemon, "one")
    Session(daemon, "other")
    sent = [one.send("same", to="other") for _ in range(REPEATS_MAX)]
    for _ in range(20):
        assert one.send("same", to="other", id=sent[0]) == sent[0]
    with pytest.raises(Limited) as caught:
        one.send("same", to="other")
    assert caught.value.limit == "repeats"
    assert caught.value.retry_s is not None
    one.connection.close()
    again(daemon)
    one = Session(daemon, "one")
    for message in sent:
        assert one.send("same", to="other", id=message) == message
    assert daemon.row("SELECT count(*) FROM messages")[0] == REPEATS_MAX
    one.send("same", to="other")  # None of these counted; and what a daemon remembered of texts went with it.


# --- notices ------------------------------------------------------------------------------------------------------


def insist(session: Session, times: int) -> None:
    """Send the same text until it is refused, and so often more."""
    count = 0
    while count < times:
        try:
            session.send("are you there?", to="other")
        except Limited:
            count += 1


def test_who_runs_against_a_limit_again_and_again_is_named_to_the_person_once(daemon: Place) -> None:
    one = Session(daemon, "one")
    Session(daemon, "other")
    insist(one, 9)
    assert notices(daemon) == []
    insist(one, 30)
    wait_for(lambda: notices(daemon), "the person is told")
    (text,) = notices(daemon)
    assert text.startswith(f"Refused again and again at the limit repeats: one ({one.id})\n")
    assert "To end it: coterie kill one" in text
    mail = person(daemon, "inbox")
    assert mail.status == 0
    assert "notice of coterie itself" in mail.out
    assert "| Refused again and again at the limit repeats" in mail.out
    assert "to answer" not in mail.err
    insist(one, 30)
    assert len(notices(daemon)) == 1  # Read, but only just.


def test_an_unread_notice_stands_for_those_about_the_same(place: Place) -> None:
    configure(place, thread=2)
    place.start(patch="from coterie import limits; limits.NOTICE_GAP_S = 0.0")
    one, other = Session(place, "one"), Session(place, "other")

    def argue(thread: str) -> None:
        with pytest.raises(Limited) as caught:
            one.send("no", to="other", reply_to=thread)
        assert caught.value.limit == "thread"

    first = one.send("yes", to="other")
    other.send("no", reply_to=first)
    argue(first)
    wait_for(lambda: len(notices(place)) == 1, "the person is told")
    argue(first)
    assert len(notices(place)) == 1
    place.kill()
    place.start(patch="from coterie import limits; limits.NOTICE_GAP_S = 0.0")
    one = Session(place, "one")
    argue(first)
    assert len(notices(place)) == 1
    assert person(place, "inbox").status == 0
    argue(first)
    wait_for(lambda: len(notices(place)) == 2, "they are told again, as nothing is unread")


def test_nobody_is_behind_a_notice_to_be_answered(place: Place) -> None:
    configure(place, thread=1)
    place.start()
    one = Session(place, "one")
    Session(place, "other")
    first = one.send("yes", to="other")
    with pytest.raises(Limited):
        one.send("no", to="other", reply_to=first)
    wait_for(lambda: notices(place), "the person is told")
    notice = place.row("SELECT id FROM messages WHERE sender = 'coterie'")[0]
    answered = person(place, "reply", notice, "go on")
    assert answered.status == 2
    assert f"{notice} is a notice of coterie itself, and nobody reads an answer to it" in answered.err
    assert person(place, "send", "coterie", "hello").status == 1
    with pytest.raises(BadInput):
        one.call("peers.describe", name="coterie")


def test_notices_end_where_nobody_reads_them(place: Place) -> None:
    configure(place, thread=1)
    place.start(patch="from coterie import limits; limits.NOTICES_UNREAD_MAX = 3")
    one = Session(place, "one")
    Session(place, "other")
    hints: list[str] = []
    for number in range(6):
        first = one.send(f"topic {number}", to="other")
        with pytest.raises(Limited) as caught:
            one.send("and more of it", to="other", reply_to=first)
        hints.append(caught.value.hint)
    wait_for(lambda: len(notices(place)) == 3, "the person is told")
    assert ["the person is told" in hint for hint in hints] == [True] * 3 + [False] * 3
    assert ["This is the last notice until" in text for text in notices(place)] == [False, False, True]


def test_followers_hear_of_refusals_and_notices(place: Place) -> None:
    configure(place, thread=1)
    place.start()
    one = Session(place, "one")
    Session(place, "other")
    one.connection.follow()
    first = one.send("yes", to="other")
    with pytest.raises(Limited):
        one.send("no", to="other", reply_to=first)
    heard: list[dict[str, Any]] = []
    while not any(event["kind"] == "limit" for event in heard):
        event = one.connection.next_event(END_S)
        assert event
        heard.append(event)
    limit = heard[-1]
    assert (limit["from"], limit["to"], limit["limit"], limit["thread"]) == ("one", "other", "thread", first)
    assert limit["retry_s"] is None
