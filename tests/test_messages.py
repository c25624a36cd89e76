"""Truthful delivery: what is evidence, who gets a text and when, and that nothing is lost or shown twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coterie.errors import Defect
from coterie.limits import SUBAGENT_CALLS_MAX
from coterie.messages import (
    TRANSITIONS,
    UNREAD,
    WITH_PROMPT,
    Carrier,
    Change,
    Entry,
    Mailbox,
    Offer,
    Outcome,
    Signal,
    State,
    check,
)

A, B, C = "m_a", "m_b", "m_c"
INBOX, TOOL, WAIT, HOOK, TERMINAL = Carrier.INBOX, Carrier.TOOL, Carrier.WAIT, Carrier.HOOK, Carrier.TERMINAL
STEPWISE = [TOOL, WAIT, HOOK]


def mailbox(*messages: str) -> Mailbox:
    box = Mailbox()
    for message in messages:
        box.accept(Entry(message))
    return box


def states(box: Mailbox) -> dict[str, str]:
    return {entry.id: entry.state.value for entry in box.entries.values()}


def moves(changes: Iterable[Change]) -> list[tuple[str, str]]:
    """The messages that changed their state."""
    return [(change.message, change.state.value) for change in changes if change.state]


def ends(changes: Iterable[Change]) -> list[tuple[str, str, str]]:
    """The offers that were closed: which, how, why."""
    return [
        (change.offer.id, change.outcome.value, change.reason)
        for change in changes
        if change.offer and change.outcome and change.outcome is not Outcome.OPEN
    ]


def posted(*messages: str, call: str = "line") -> Mailbox:
    """A mailbox whose messages were all written to the inbox as one line."""
    box = mailbox(*messages)
    for message in messages:
        box.offer(message, INBOX, call, written=False)
        box.written(f"{message}#1")
    return box


# --- The mailbox of a peer of another device --------------------------------------------------------------------------


def test_how_far_it_got_is_what_its_device_tells() -> None:
    box = mailbox("m_1", "m_2")
    assert moves(box.learn("m_1", State.OFFERED, "inbox")) == [("m_1", "offered")]
    assert box.learn("m_1", State.OFFERED, "inbox") == []
    assert moves(box.learn("m_1", State.QUEUED, "")) == [("m_1", "queued")]
    assert moves(box.learn("m_1", State.SHOWN, "hook")) == [("m_1", "shown")]
    assert states(box) == {"m_2": "queued"}
    assert box.learn("m_1", State.ACKNOWLEDGED, "why") == [Change("m_1", State.ACKNOWLEDGED, "why")]


# --- States --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "nexts"),
    [
        ("queued", {"offered", "shown", "acknowledged", "expired", "refused", "dead"}),
        ("offered", {"queued", "shown", "acknowledged", "expired", "refused", "dead"}),
        ("shown", {"acknowledged"}),
        ("acknowledged", set()),
        ("expired", {"shown", "acknowledged"}),
        ("refused", set()),
        ("dead", set()),
    ],
)
def test_transitions(before: str, nexts: set[str]) -> None:
    for now in State:
        if now in nexts:
            check(State(before), now)
        else:
            with pytest.raises(Defect, match=f"a message cannot go from {before} to {now}"):
                check(State(before), now)


def test_the_table_is_whole() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {"queued", "offered"} == UNREAD


@pytest.mark.promise("D3")
def test_from_shown_there_is_no_way_back() -> None:
    reached = {State.SHOWN}
    for _ in State:
        reached |= {now for state in reached for now in TRANSITIONS[state]}
    assert not reached & UNREAD


# --- Offers --------------------------------------------------------------------------------------------------------


def test_a_message_is_queued_until_a_carrier_has_written_it() -> None:
    box = mailbox(A)
    opened = box.offer(A, INBOX, "line", written=False)
    assert opened == [Change(A, None, "inbox", Offer(A, 1, INBOX, "line", 0), Outcome.OPEN)]
    assert states(box) == {A: "queued"}
    written = box.written("m_a#1")
    assert written == [Change(A, State.OFFERED, "inbox", Offer(A, 1, INBOX, "line", 0, written=True), Outcome.OPEN)]
    assert states(box) == {A: "offered"}
    assert box.written("m_a#1") == []


def test_a_tool_result_is_written_as_it_is_given_out() -> None:
    box = mailbox(A, B, C)
    changes = box.take(TOOL, "c1", [A, B])
    assert [(change.message, change.state, change.reason, change.outcome) for change in changes] == [
        (A, State.OFFERED, "tool", Outcome.OPEN),
        (B, State.OFFERED, "tool", Outcome.OPEN),
    ]
    assert states(box) == {A: "offered", B: "offered", C: "queued"}
    assert [offer.id for offer in box.open_offers("c1")] == ["m_a#1", "m_b#1"]
    assert box.waiting() == [C]


def test_two_carriers_race_and_one_has_the_text() -> None:
    box = mailbox(A)
    box.offer(A, INBOX, "line", written=False)
    assert box.candidates("c1", main=True) == []
    assert box.take(TOOL, "c1", [A]) == []
    with pytest.raises(Defect, match="m_a has an open offer already"):
        box.offer(A, HOOK, "c2", written=True)
    assert [offer.carrier for offer in box.open_offers()] == [INBOX]


def test_who_loses_the_race_shows_the_heading_once() -> None:
    box = mailbox(A, B)
    box.offer(A, INBOX, "line", written=True)
    assert box.headings("c1", main=True, everything=False) == [A]
    assert box.headings("c2", main=True, everything=False) == []
    assert box.headings("c3", main=True, everything=True) == [A]
    assert box.headings("line", main=True, everything=True) == [], "the text itself is there"
    box.failed("m_a#1", "no")
    box.offer(A, INBOX, "line2", written=True)
    assert box.headings("c4", main=True, everything=False) == [A], "another offer, another heading"


def test_a_carrier_does_not_repeat_as_a_heading_what_it_brought() -> None:
    box = mailbox(A, B)
    box.take(TOOL, "c1", [A])
    box.offer(B, INBOX, "line", written=True)
    assert box.headings("c2", main=True, everything=False, carrier=TOOL) == [B]
    assert box.headings("c3", main=True, everything=False, carrier=HOOK) == [A]
    assert box.headings("c4", main=True, everything=True, carrier=TOOL) == [A, B]


def test_what_there_was_no_room_for_is_named() -> None:
    box = mailbox(A, B)
    assert box.headings("h1", main=True, everything=False, carrier=HOOK, no_room=[B]) == [B]
    assert box.headings("h2", main=True, everything=False, carrier=HOOK, no_room=[B]) == []
    assert box.candidates("c1", main=True) == [A, B], "a heading is not the text"


def test_the_same_call_again_gets_the_same_text() -> None:
    """The daemon was killed after it stored the offers and before it answered: the adapter calls again."""
    box = mailbox(A, B)
    box.take(TOOL, "c1", [A])
    assert box.candidates("c1", main=True) == [A]
    assert box.take(TOOL, "c1", [A]) == []
    assert box.headings("c1", main=True, everything=True) == []
    assert box.candidates("c2", main=True) == [B]


def test_the_oldest_goes_first_also_after_a_lapse() -> None:
    box = mailbox(A, B, C)
    box.take(TOOL, "c1", [A, B])
    box.lapse("the session ended")
    assert box.waiting() == [A, B, C]
    assert box.candidates("c2", main=True) == [A, B, C]


def test_whether_the_newest_waits() -> None:
    box = mailbox()
    assert not box.newest_waits()
    box.accept(Entry(A))
    assert box.newest_waits()
    box.offer(A, INBOX, "line", written=False)
    assert not box.newest_waits()


def test_a_message_already_here_stays_as_it_is() -> None:
    box = posted(A)
    box.accept(Entry(A))
    assert states(box) == {A: "offered"}
    assert box.candidates("c1", main=True) == []


def test_the_bytes_of_what_is_unread_are_counted() -> None:
    box = Mailbox()
    box.accept(Entry(A, size=10))
    box.accept(Entry(A, size=10))
    box.accept(Entry(B, size=5))
    assert box.size == 15
    box.end(A, State.EXPIRED, "its life is over")
    assert box.size == 5
    box.acknowledge(B)
    assert box.size == 0


def test_attempts_are_counted() -> None:
    box = mailbox(A)
    for number in (1, 2, 3):
        box.offer(A, INBOX, f"line{number}", written=True)
        assert [offer.id for offer in box.open_offers()] == [f"m_a#{number}"]
        assert ends(box.failed(f"m_a#{number}", "no")) == [(f"m_a#{number}", "failed", "no")]


def test_the_answer_that_a_send_waits_for_is_born_with_its_offer() -> None:
    box = Mailbox()
    box.accept(Entry(A, State.OFFERED, 1, Offer(A, 1, WAIT, "w1", 0, written=True)))
    assert box.candidates("c1", main=True) == []
    assert box.candidates("w1", main=True) == [A]
    assert box.headings("c1", main=True, everything=False) == [A]
    assert moves(box.signal(Signal.TOOL)) == []
    box.signal(Signal.STEP)
    assert moves(box.signal(Signal.TOOL)) == [(A, "shown")]


# --- Evidence: the inbox -------------------------------------------------------------------------------------------


def test_the_id_in_a_prompt_is_evidence() -> None:
    box = posted(A)
    changes = box.signal(Signal.PROMPT, [A])
    assert ends(changes) == [("m_a#1", "shown", "inbox")]
    assert moves(changes) == [(A, "shown")]
    assert changes[-1].reason == "inbox"
    assert box.entries == {}
    assert box.candidates("c1", main=True) == []


@pytest.mark.parametrize("ids", [[], ["m_x"]])
def test_a_prompt_without_the_id_is_none(ids: list[str]) -> None:
    box = posted(A)
    box.accept(Entry(B))
    assert box.signal(Signal.PROMPT, ids) == []
    assert states(box) == {A: "offered", B: "queued"}


def test_the_id_in_a_prompt_is_evidence_whatever_became_of_its_offer() -> None:
    """A client may keep a line for longer than its offer lives; the model is being given that very text."""
    box = posted(A)
    box.accept(Entry(B))
    box.signal(Signal.STOP)
    box.signal(Signal.STOP)
    changes = box.signal(Signal.PROMPT, [A])
    assert moves(changes) == [(A, "offered"), (A, "shown")]
    assert [change.reason for change in changes] == ["inbox", "inbox"]
    assert states(box) == {B: "queued"}


@pytest.mark.parametrize(
    ("written", "told"), [(True, [(A, "shown")]), (False, [(A, "offered"), (A, "shown")])], ids=["written", "unwritten"]
)
def test_a_late_line_takes_the_message_from_the_carrier_that_has_it_now(
    written: bool, told: list[tuple[str, str]]
) -> None:
    box = mailbox(A, B)
    box.take(TERMINAL, "t1", [A, B], written=written)
    changes = box.signal(Signal.PROMPT, [A])
    assert ends(changes) == [("m_a#1", "lapsed", "an earlier line was read")]
    assert moves(changes) == told
    assert [offer.message for offer in box.open_offers("t1")] == [B]


def again(*, written: bool) -> Mailbox:
    """A mailbox in which the message of a line that lapsed stands in a second line, with another one."""
    box = posted(A)
    box.lapse("the session ended")
    box.accept(Entry(B))
    for message in (A, B):
        box.offer(message, INBOX, "line2", written=written)
    return box


@pytest.mark.parametrize("written", [True, False])
def test_which_of_two_lines_a_prompt_holds_is_not_known(written: bool) -> None:
    box = again(written=written)
    assert moves(box.signal(Signal.PROMPT, [A])) == [(A, "shown")]
    assert [offer.message for offer in box.open_offers("line2")] == [B]
    assert moves(box.signal(Signal.PROMPT, [B])) == [(B, "shown")]


def test_which_of_two_texts_an_answer_is_about_is_not_known() -> None:
    box = again(written=True)
    assert moves(box.acknowledge(A)) == [(A, "acknowledged")]
    assert states(box) == {B: "offered"}
    assert moves(box.acknowledge(B)) == [(B, "acknowledged")]


def test_a_late_line_is_no_evidence_for_the_one_that_is_yet_to_be_written() -> None:
    """Its offer had lapsed, and its message is planned for another line, together with one that nobody read."""
    box = Mailbox()
    for message in (A, B):
        box.accept(Entry(message))
        box.offer(message, INBOX, "next line", written=False)
    assert moves(box.signal(Signal.PROMPT, [A])) == [(A, "shown")]
    assert [offer.message for offer in box.open_offers("next line")] == [B]


def test_a_daemon_that_comes_back_knows_what_went_out_with_a_prompt() -> None:
    box = Mailbox()
    box.accept(Entry(A, State.OFFERED, 1, Offer(A, 1, Carrier.HOOK, f"{WITH_PROMPT}c", 3, written=True)))
    assert moves(box.signal(Signal.PROMPT)) == [(A, "queued")], "the user may have taken the first prompt back"


def test_one_id_is_evidence_for_all_that_the_line_held_and_for_no_other_line() -> None:
    box = posted(A, B)
    box.accept(Entry(C))
    box.offer(C, INBOX, "line2", written=True)
    assert moves(box.signal(Signal.PROMPT, [B])) == [(A, "shown"), (B, "shown")]
    assert states(box) == {C: "offered"}


def test_evidence_may_come_before_the_adapters_report() -> None:
    box = mailbox(A)
    box.offer(A, INBOX, "line", written=False)
    assert moves(box.signal(Signal.PROMPT, [A])) == [(A, "shown")]
    assert box.written("m_a#1") == []
    assert box.failed("m_a#1", "late") == []


def test_the_id_of_a_tool_result_in_a_prompt_says_nothing_more_than_the_prompt() -> None:
    box = mailbox(A)
    box.take(TOOL, "c1", [A])
    assert ends(box.signal(Signal.PROMPT, [A])) == [("m_a#1", "shown", "tool")]


@pytest.mark.parametrize("kind", [Signal.TOOL, Signal.STEP])
def test_tools_and_steps_say_nothing_of_the_inbox(kind: Signal) -> None:
    box = posted(A)
    for _ in range(5):
        assert box.signal(kind) == []
    assert states(box) == {A: "offered"}


def test_an_offer_lapses_at_the_second_stop() -> None:
    box = posted(A)
    first = box.signal(Signal.STOP)
    assert [(change.message, change.state, change.outcome) for change in first] == [(A, None, Outcome.OPEN)]
    assert first[0].offer is not None
    assert first[0].offer.stops == 1
    assert box.candidates("c1", main=True) == []
    second = box.signal(Signal.STOP)
    assert ends(second) == [("m_a#1", "lapsed", "no evidence by the second stop")]
    assert moves(second) == [(A, "queued")]
    assert box.candidates("c1", main=True) == [A], "the next carrier gets it"


def test_a_text_on_its_way_at_one_stop_is_seen_after_it() -> None:
    box = posted(A)
    box.signal(Signal.STOP)
    assert moves(box.signal(Signal.PROMPT, [A])) == [(A, "shown")]


def test_a_stop_of_a_turn_that_was_kept_going_is_not_counted_again() -> None:
    box = posted(A)
    box.signal(Signal.STOP)
    assert box.signal(Signal.STOP, again=True) == []
    assert states(box) == {A: "offered"}
    assert moves(box.signal(Signal.STOP)) == [(A, "queued")]


def test_each_offer_has_its_own_stops() -> None:
    box = posted(A)
    box.accept(Entry(B))
    box.signal(Signal.STOP)
    box.offer(B, INBOX, "line2", written=True)
    assert moves(box.signal(Signal.STOP)) == [(A, "queued")]
    assert states(box) == {A: "queued", B: "offered"}
    assert moves(box.signal(Signal.STOP)) == [(B, "queued")]


def test_time_decides_nothing() -> None:
    """There is no clock in here: a tool that runs for ten minutes is two signals with nothing between them."""
    box = posted(A)
    assert box.signal(Signal.TOOL) + box.signal(Signal.TOOL) == []
    assert states(box) == {A: "offered"}


# --- Evidence: tool results and hook context -----------------------------------------------------------------------


@pytest.mark.parametrize("carrier", STEPWISE)
def test_two_calls_of_one_step_are_no_evidence(carrier: Carrier) -> None:
    """They run one after the other before the model sees the first result."""
    box = mailbox(A)
    box.signal(Signal.TOOL)
    box.take(carrier, "c1", [A])
    assert box.signal(Signal.TOOL) == []
    assert box.signal(Signal.TOOL) == []
    assert box.signal(Signal.STEP) == [], "the results go out now, and were not seen yet"
    changes = box.signal(Signal.TOOL)
    assert ends(changes) == [("m_a#1", "shown", carrier.value)]
    assert moves(changes) == [(A, "shown")]


@pytest.mark.parametrize("carrier", STEPWISE)
@pytest.mark.parametrize("kind", [Signal.PROMPT, Signal.STOP])
def test_the_next_prompt_and_the_stop_are_evidence(carrier: Carrier, kind: Signal) -> None:
    box = mailbox(A)
    box.take(carrier, "c1", [A])
    assert moves(box.signal(kind)) == [(A, "shown")]


@pytest.mark.parametrize("kind", list(Signal))
def test_what_goes_out_between_steps_is_seen_by_the_next_event(kind: Signal) -> None:
    box = mailbox(A)
    box.signal(Signal.PROMPT)
    box.take(HOOK, "h1", [A], boundary=True)
    assert moves(box.signal(kind)) == [(A, "shown")]


def test_what_one_text_carried_is_shown_together_and_no_more() -> None:
    box = mailbox(A, B, C)
    box.take(TOOL, "c1", [A, B])
    box.signal(Signal.STEP)
    box.take(TOOL, "c2", [C])
    assert moves(box.signal(Signal.TOOL)) == [(A, "shown"), (B, "shown")]
    assert states(box) == {C: "offered"}
    box.signal(Signal.STEP)
    assert moves(box.signal(Signal.TOOL)) == [(C, "shown")]


def test_a_result_that_is_not_out_yet_was_not_seen() -> None:
    """Its call may still be cancelled; what happens before its adapter reports it as written proves nothing of it."""
    box = mailbox(A)
    assert moves(box.take(TOOL, "c1", [A], written=False)) == []
    assert states(box) == {A: "queued"}
    box.signal(Signal.STEP)
    assert box.signal(Signal.TOOL) == []
    assert box.signal(Signal.PROMPT) == []
    assert moves(box.written("m_a#1")) == [(A, "offered")]
    assert box.signal(Signal.TOOL) == []
    assert box.signal(Signal.STEP) == []
    assert moves(box.signal(Signal.TOOL)) == [(A, "shown")]


@pytest.mark.parametrize("kind", list(Signal))
def test_a_terminal_is_no_session_and_says_by_itself_what_it_took(kind: Signal) -> None:
    box = mailbox(A)
    box.take(TERMINAL, "t1", [A])
    assert box.checked("t2") == []
    for _ in range(3):
        assert (A, "shown") not in moves(box.signal(kind))
    assert A in box.entries


def test_a_terminal_shows_what_it_took() -> None:
    box = mailbox(A, B)
    box.take(TERMINAL, "t1", [A])
    box.offer(B, INBOX, "line", written=True)
    changes = box.show("t1")
    assert ends(changes) == [("m_a#1", "shown", "terminal")]
    assert moves(changes) == [(A, "shown")]
    assert box.show("t1") == []
    assert states(box) == {B: "offered"}


# --- Sub-agents ----------------------------------------------------------------------------------------------------


def test_a_sub_agent_is_given_headings_only() -> None:
    box = mailbox(A, B)
    box.take(TOOL, "c1", [A])
    assert box.candidates("sub", main=False) == []
    assert box.headings("sub", main=False, everything=False) == [A, B]
    assert box.headings("sub", main=False, everything=False) == [A, B], "what it was shown does not count"
    assert box.headings("c2", main=True, everything=False) == [A]


def test_calls_of_sub_agents_are_remembered_up_to_a_bound() -> None:
    box = mailbox()
    for number in range(SUBAGENT_CALLS_MAX + 1):
        box.note_call(f"call{number}")
    assert "call0" not in box.subagent_calls
    assert "call1" in box.subagent_calls
    assert f"call{SUBAGENT_CALLS_MAX}" in box.subagent_calls


def test_tools_in_which_sub_agents_work_are_counted() -> None:
    box = mailbox()
    box.delegate(begins=True)
    box.delegate(begins=True)
    box.delegate(begins=False)
    assert box.delegated == 1
    box.delegate(begins=False)
    box.delegate(begins=False)
    assert box.delegated == 0, "one that began before we came"


@pytest.mark.parametrize(("signal", "left"), [(Signal.PROMPT, 0), (Signal.STOP, 0), (Signal.STEP, 1), (Signal.TOOL, 1)])
def test_a_tool_that_was_interrupted_is_over_with_its_turn(signal: Signal, left: int) -> None:
    box = mailbox()
    box.delegate(begins=True)
    box.signal(signal)
    assert box.delegated == left


# --- Sessions without hooks ----------------------------------------------------------------------------------------


def test_a_terminal_reports_by_itself_and_nothing_else_is_evidence_for_it() -> None:
    box = mailbox(A)
    box.take(TERMINAL, "t1", [A], written=False)
    assert box.checked("t2") == []
    assert moves(box.show("t1")) == [(A, "shown")]


def test_a_text_that_nobody_wrote_is_shown_by_nothing_and_free_when_its_writer_is_gone() -> None:
    box = mailbox(A, B)
    box.take(TOOL, "c1", [A], written=False)
    box.take(TOOL, "c2", [B], written=False)
    assert box.checked("c3") == []
    assert box.signal(Signal.PROMPT) == []
    assert moves(box.fail_unwritten("its writer is gone", {"c1"})) == []
    assert box.waiting() == [A]
    box.written("m_b#1")
    assert box.fail_unwritten("its writer is gone") == []
    assert states(box) == {A: "queued", B: "offered"}


def test_what_stands_beside_a_text_is_not_named_in_it() -> None:
    box = mailbox(A, B)
    box.take(WAIT, "w1", [A])
    box.take(WAIT, "w2", [B])
    assert box.headings("c1", main=True, everything=True, carrier=TOOL, beside=["w1"]) == [B]


@pytest.mark.parametrize("carrier", STEPWISE)
def test_without_hooks_a_later_check_is_evidence_for_earlier_results(carrier: Carrier) -> None:
    box = mailbox(A, B)
    box.take(carrier, "c1", [A])
    assert box.checked("c1") == [], "not for itself, as it is answered again after a restart"
    changes = box.checked("c2")
    assert ends(changes) == [("m_a#1", "shown", carrier.value)]
    assert moves(changes) == [(A, "shown")]
    assert states(box) == {B: "queued"}


def test_without_hooks_a_check_says_nothing_of_the_inbox() -> None:
    box = posted(A)
    assert box.checked("c1") == []
    assert states(box) == {A: "offered"}


@pytest.mark.parametrize("kind", list(Signal))
def test_with_hooks_a_check_is_a_call_like_any_other(kind: Signal) -> None:
    box = mailbox(A)
    box.signal(kind)
    box.take(TOOL, "c1", [A])
    assert box.checked("c2") == []
    assert states(box) == {A: "offered"}


# --- Answers -------------------------------------------------------------------------------------------------------


def test_an_answer_acknowledges_and_shows_the_rest_of_the_same_text() -> None:
    box = mailbox(A, B, C)
    box.take(TOOL, "c1", [A, B])
    box.offer(C, INBOX, "line", written=True)
    changes = box.acknowledge(A)
    assert ends(changes) == [("m_a#1", "shown", "answered"), ("m_b#1", "shown", "tool")]
    assert moves(changes) == [(B, "shown"), (A, "acknowledged")]
    assert changes[-1].reason == "answered"
    assert states(box) == {C: "offered"}


def test_an_answer_to_a_message_that_no_carrier_had() -> None:
    box = mailbox(A, B)
    changes = box.acknowledge(A)
    assert changes == [Change(A, State.ACKNOWLEDGED, "answered")]
    assert states(box) == {B: "queued"}


def test_an_answer_to_what_was_shown_is_the_stores_business() -> None:
    box = posted(A)
    box.signal(Signal.PROMPT, [A])
    assert box.acknowledge(A) == []


# --- Ends ----------------------------------------------------------------------------------------------------------


def test_the_end_of_a_session_closes_all_its_offers() -> None:
    box = posted(A)
    box.accept(Entry(B))
    box.accept(Entry(C))
    box.offer(B, INBOX, "line2", written=False)
    changes = box.lapse("the session ended")
    assert ends(changes) == [("m_a#1", "lapsed", "the session ended"), ("m_b#1", "lapsed", "the session ended")]
    assert moves(changes) == [(A, "queued")], "the other was never written"
    assert states(box) == {A: "queued", B: "queued", C: "queued"}
    assert box.open_offers() == []


def test_a_cancelled_call_closes_its_own_offers_only() -> None:
    box = posted(A)
    box.accept(Entry(B))
    box.take(TOOL, "c1", [B])
    assert ends(box.lapse("the call was cancelled", "c1")) == [("m_b#1", "lapsed", "the call was cancelled")]
    assert states(box) == {A: "offered", B: "queued"}


def test_a_text_that_did_not_get_out_goes_to_the_next_carrier() -> None:
    box = mailbox(A)
    box.offer(A, INBOX, "line", written=False)
    changes = box.failed("m_a#1", "ECONNREFUSED")
    assert ends(changes) == [("m_a#1", "failed", "ECONNREFUSED")]
    assert moves(changes) == []
    assert box.candidates("c1", main=True) == [A]


@pytest.mark.parametrize("offer", ["m_a#1", "m_a#3", "m_a", "m_b#1", "", "#"])
def test_a_report_about_an_offer_that_is_over_changes_nothing(offer: str) -> None:
    box = mailbox(A)
    box.offer(A, INBOX, "line", written=False)
    box.failed("m_a#1", "no")
    box.offer(A, INBOX, "line2", written=False)
    assert box.written(offer) == []
    assert box.failed(offer, "late") == []
    assert [open_offer.id for open_offer in box.open_offers()] == ["m_a#2"]
    assert states(box) == {A: "queued"}


@pytest.mark.parametrize("state", [State.EXPIRED, State.REFUSED, State.DEAD])
def test_ends_without_having_been_shown(state: State) -> None:
    box = posted(A)
    box.accept(Entry(B))
    changes = box.end(A, state, "why")
    assert ends(changes) == [("m_a#1", "lapsed", "why")]
    assert changes[-1] == Change(A, state, "why")
    assert box.end(B, state, "why") == [Change(B, state, "why")]
    assert box.entries == {}
    assert box.end(A, state, "again") == []
    assert box.written("m_a#1") == []


def test_an_end_that_is_none_is_a_defect() -> None:
    box = posted(A)
    with pytest.raises(Defect, match="from offered to offered"):
        box.end(A, State.OFFERED, "why")
    assert states(box) == {A: "offered"}
    assert [offer.id for offer in box.open_offers()] == ["m_a#1"]


# --- After a restart -----------------------------------------------------------------------------------------------


def test_steps_go_on_where_they_were_after_a_restart() -> None:
    """The results under way when the daemon was killed are still under way when it is back."""
    box = Mailbox()
    box.accept(Entry(A, State.OFFERED, 1, Offer(A, 1, TOOL, "c1", 7, written=True)))
    box.accept(Entry(B, State.OFFERED, 1, Offer(B, 1, TOOL, "c0", 5, written=True)))
    box.accept(Entry(C))
    assert moves(box.signal(Signal.TOOL)) == [(B, "shown")]
    box.signal(Signal.STEP)
    assert moves(box.signal(Signal.TOOL)) == [(A, "shown")]
    assert states(box) == {C: "queued"}


# --- Anything ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "state"),
    [
        (Signal.PROMPT, State.QUEUED),
        (Signal.TOOL, State.SHOWN),
        (Signal.STEP, State.SHOWN),
        (Signal.STOP, State.SHOWN),
    ],
)
def test_what_came_with_a_prompt_that_was_taken_back_is_offered_again(then: Signal, state: State) -> None:
    box = Mailbox()
    box.accept(Entry("m_1"))
    box.signal(Signal.PROMPT)
    box.take(HOOK, f"{WITH_PROMPT}1", ["m_1"], boundary=True, written=True)
    changes = box.signal(then)
    assert [change.state for change in changes if change.state] == [state]
    assert box.with_prompt == set()
    if state is State.QUEUED:
        assert box.waiting() == ["m_1"]
        assert [change.outcome for change in changes] == [Outcome.LAPSED]


def test_taking_back_a_prompt_leaves_other_offers_alone() -> None:
    box = Mailbox()
    for message in ("m_1", "m_2"):
        box.accept(Entry(message))
    box.take(HOOK, f"{WITH_PROMPT}1", ["m_1"], boundary=True, written=True)
    box.failed("m_1#1", "no")
    box.take(INBOX, "line", ["m_1"], written=False)
    box.take(HOOK, f"{WITH_PROMPT}2", ["m_2"], boundary=True, written=True)
    box.end("m_2", State.EXPIRED, "old")
    assert box.signal(Signal.PROMPT) == []
    assert [offer.call for offer in box.open_offers()] == ["line"]


def test_taking_back_a_prompt_leaves_what_went_out_after_it() -> None:
    """Its hook died before it printed; the message went out again when the session was cleared."""
    box = mailbox(A)
    box.signal(Signal.PROMPT)
    box.take(HOOK, f"{WITH_PROMPT}1", [A], boundary=True, written=False)
    box.failed("m_a#1", "no")
    box.take(HOOK, "start", [A], boundary=True)
    assert moves(box.signal(Signal.PROMPT)) == [(A, "shown")]


@pytest.mark.parametrize("kind", [Signal.TOOL, Signal.STEP, Signal.STOP])
def test_what_went_out_with_a_prompt_is_seen_by_the_next_event_after_a_restart_too(kind: Signal) -> None:
    before = mailbox(A)
    before.signal(Signal.PROMPT)
    before.take(HOOK, f"{WITH_PROMPT}1", [A], boundary=True)
    box = Mailbox()
    box.accept(Entry(A, State.OFFERED, 1, dataclasses.replace(before.open_offers()[0], given=None)))
    assert box.step == before.step
    assert moves(box.signal(kind)) == [(A, "shown")]


def test_a_text_with_a_prompt_that_is_reported_late_is_seen_by_what_follows_the_report() -> None:
    box = mailbox(A)
    box.take(HOOK, f"{WITH_PROMPT}1", [A], boundary=True, written=False)
    box.signal(Signal.STOP)
    assert moves(box.written("m_a#1")) == [(A, "offered")]
    assert moves(box.signal(Signal.TOOL)) == [(A, "shown")]


# --- Asked for, and in hand ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, "line"])
def test_what_was_asked_for_is_offered_in_the_answer(before: str | None) -> None:
    box = posted(A, call=before) if before else mailbox(A)
    changes = box.ask(A, "c1")
    assert ends(changes) == ([("m_a#1", "failed", "asked for by id")] if before else [])
    assert [(offer.carrier, offer.call, offer.written) for offer in box.open_offers()] == [(TOOL, "c1", False)]
    assert box.ask(A, "c1") == [], "the same call again"
    assert box.ask(B, "c1") == [], "it was shown long ago, or is another's"


def test_what_stands_in_a_result_that_is_not_out_yet_is_offered_there() -> None:
    """Its offer was closed when the daemon or its connection ended; another carrier may be about to write it."""
    box = mailbox(A, B, C)
    box.offer(B, INBOX, "line", written=False)
    changes = box.hold("w1", [A, B, "m_x"])
    assert ends(changes) == [("m_b#1", "failed", "it stands in a result")]
    assert [(offer.message, offer.carrier) for offer in box.open_offers("w1")] == [(A, WAIT), (B, WAIT)]
    assert box.hold("w1", [A, B]) == []
    assert box.waiting() == [C]


def test_what_was_written_elsewhere_stays_offered_there() -> None:
    box = posted(A)
    assert box.hold("w1", [A]) == []
    assert [offer.call for offer in box.open_offers()] == ["line"]


# --- What could not be stored --------------------------------------------------------------------------------------


def read_again(message: str, offer: Offer, attempts: int = 1) -> Mailbox:
    """A mailbox as the store has it, in which that offer is open and nobody reported on it."""
    box = Mailbox()
    box.accept(Entry(message, State.QUEUED, attempts, dataclasses.replace(offer, written=False)))
    return box


def given() -> tuple[Mailbox, Offer]:
    """A mailbox with a message that a line is to carry, and the offer as it was stored."""
    box = mailbox(A)
    box.offer(A, INBOX, "line", written=False)
    return box, dataclasses.replace(box.open_offers()[0])


@pytest.mark.parametrize(
    ("happens", "state"),
    [
        (lambda box: box.written("m_a#1"), "offered"),
        (lambda box: box.failed("m_a#1", "timed out"), "queued"),
        (lambda box: box.lapse("the session ended"), "queued"),
        (lambda box: box.signal(Signal.PROMPT, [A]), None),
    ],
    ids=["written", "failed", "lapsed", "shown"],
)
def test_what_was_reported_is_taken_in_again(happens: Callable[[Mailbox], list[Change]], state: str | None) -> None:
    box, stored = given()
    lost = happens(box)
    again = read_again(A, stored)
    made_up = [change for before in lost for change in again.report(before)]
    assert [(c.message, c.state, c.reason, c.outcome) for c in made_up] == [
        (c.message, c.state, c.reason, c.outcome) for c in lost
    ]
    assert states(again) == states(box) == ({A: state} if state else {})
    assert [change for before in lost for change in again.report(before)] == [], "not twice"


def test_that_a_late_line_was_read_is_taken_in_again() -> None:
    box = mailbox(A)
    lost = box.signal(Signal.PROMPT, [A])
    again = mailbox(A)
    assert moves(change for before in lost for change in again.report(before)) == [(A, "offered"), (A, "shown")]


def test_of_two_open_offers_the_later_counts() -> None:
    """The end of the first could not be stored, the beginning of the second could."""
    for numbers in ((1, 2), (2, 1)):
        box = Mailbox()
        for number in numbers:
            box.accept(Entry(A, State.QUEUED, 2, Offer(A, number, INBOX, f"line{number}", 0)))
        assert [offer.id for offer in box.open_offers()] == ["m_a#2"]
        assert box.report(Change(A, None, "no", Offer(A, 1, INBOX, "line1", 0), Outcome.FAILED)) == []


@dataclass
class Text:
    """An open offer, as section "what is evidence" tells of it: no step is numbered here."""

    offer: str
    call: str
    carrier: Carrier
    written: bool
    due: bool | None = False
    """Whether the next event of whatever kind proves it: the request that holds it is on its way. None: after a
    restart it may have been forgotten that it is, never that it is not."""
    stops: int = 0
    late: bool = False
    """Whether a step has ended since it was given: a report that comes then proves nothing about that step."""


class Delivery(RuleBasedStateMachine):
    """A mailbox against a model of the rules, and its changes against a table of states."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Mailbox()
        self.hooked = False
        self.state: dict[str, str] = {}
        """Every message ever accepted, in order, and its state by the rules."""
        self.texts: dict[str, Text] = {}
        """The open offer of each message that has one, by the rules."""
        self.headed: set[str] = set()
        """Messages whose heading the main agent was shown since their last offer."""
        self.attempts: dict[str, int] = {}
        self.stored: dict[str, State] = {}
        """What a store makes of the changes alone."""
        self.offers: dict[str, Offer] = {}
        """Open offers, as a store makes them of the changes alone."""
        self.over: set[str] = set()
        self.calls = 0

    # --- what a store does ---

    def store(self, changes: list[Change]) -> None:
        for change in changes:
            if change.offer:
                self.store_offer(change, change.offer)
            if change.state:
                assert change.state in TRANSITIONS[self.stored[change.message]]
                self.stored[change.message] = change.state

    def store_offer(self, change: Change, offer: Offer) -> None:
        assert offer.message == change.message
        assert offer.id not in self.over, "an offer that is over came back"
        if change.outcome is Outcome.OPEN:
            others = [o for o in self.offers.values() if o.message == offer.message and o.id != offer.id]
            assert not others, "two open offers of one message"
            self.offers[offer.id] = dataclasses.replace(offer)
        else:
            del self.offers[offer.id]
            self.over.add(offer.id)

    # --- what the rules say ---

    def unread(self) -> list[str]:
        return [message for message, state in self.state.items() if state in ("queued", "offered")]

    def free(self) -> list[str]:
        return [message for message in self.unread() if message not in self.texts]

    def give(self, message: str, call: str, carrier: Carrier, written: bool, due: bool) -> None:
        self.attempts[message] += 1
        self.headed.discard(message)
        self.texts[message] = Text(f"{message}#{self.attempts[message]}", call, carrier, written, due)
        if written:
            self.state[message] = "offered"

    def close(self, message: str, state: str) -> None:
        del self.texts[message]
        self.state[message] = state

    def see(self, messages: Iterable[str]) -> None:
        for message in list(messages):
            self.close(message, "shown")

    def stepwise(self) -> list[str]:
        """What an event of a later step proves: texts that were written, to a model and not to a terminal."""
        return [m for m, text in self.texts.items() if text.written and text.carrier in (TOOL, WAIT, HOOK)]

    def pick(self, data: st.DataObject, messages: list[str]) -> str:
        return data.draw(st.sampled_from(messages))

    def new_call(self) -> str:
        self.calls += 1
        return f"call{self.calls}"

    # --- what happens ---

    @initialize(born=st.lists(st.sampled_from([None, INBOX, WAIT]), min_size=2, max_size=6))
    def find_mail(self, born: list[Carrier | None]) -> None:
        for carrier in born:
            self.take_in(carrier)

    @rule(born=st.sampled_from([None, INBOX, WAIT]))
    def arrive(self, born: Carrier | None) -> None:
        self.take_in(born)

    def take_in(self, born: Carrier | None) -> None:
        message = f"m_{len(self.state)}"
        self.state[message], self.attempts[message] = "queued", 0
        self.stored[message] = State.QUEUED
        offer = None
        if born:
            offer = Offer(message, 1, born, self.new_call(), self.box.step)
            self.give(message, offer.call, born, written=False, due=False)
            self.store([Change(message, None, born, offer, Outcome.OPEN)])
        self.box.accept(Entry(message, self.stored[message], 1 if offer else 0, offer))

    @rule(message=st.integers(0, 3))
    def arrive_again(self, message: int) -> None:
        if f"m_{message}" in self.unread():
            self.box.accept(Entry(f"m_{message}"))

    @precondition(lambda self: self.free())
    @rule(data=st.data())
    def post(self, data: st.DataObject) -> None:
        call = self.new_call()
        for message in data.draw(st.lists(st.sampled_from(self.free()), min_size=1, unique=True)):
            self.store(self.box.offer(message, INBOX, call, written=False))
            self.give(message, call, INBOX, written=False, due=False)

    @precondition(lambda self: self.texts)
    @rule(data=st.data(), went=st.booleans())
    def report(self, data: st.DataObject, went: bool) -> None:
        message = self.pick(data, list(self.texts))
        text = self.texts[message]
        if went:
            self.store(self.box.written(text.offer))
            text.due = text.due if text.written or not text.late else False
            text.written = True
            self.state[message] = "offered"
        else:
            self.store(self.box.failed(text.offer, "no"))
            self.close(message, "queued")

    @precondition(lambda self: self.over)
    @rule(data=st.data())
    def report_late(self, data: st.DataObject) -> None:
        offer = data.draw(st.sampled_from(sorted(self.over)))
        assert self.box.written(offer) == []
        assert self.box.failed(offer, "late") == []

    @precondition(lambda self: self.unread())
    @rule(
        carrier=st.sampled_from([TOOL, HOOK, TERMINAL]),
        room=st.integers(0, 3),
        boundary=st.booleans(),
        written=st.booleans(),
        everything=st.booleans(),
    )
    def give_text(self, carrier: Carrier, room: int, boundary: bool, written: bool, everything: bool) -> None:
        call = self.new_call()
        candidates = self.box.candidates(call, main=True)
        assert candidates == self.free()
        self.store(self.box.take(carrier, call, candidates[:room], boundary, written))
        for message in candidates[:room]:
            self.give(message, call, carrier, written, due=boundary)
        named = self.box.headings(call, True, everything, carrier, candidates[room:])
        elsewhere = {message: text for message, text in self.texts.items() if text.call != call}
        if not everything:
            elsewhere = {message: text for message, text in elsewhere.items() if text.carrier is not carrier}
        expected = [message for message in self.unread() if message in elsewhere or message in candidates[room:]]
        assert named == [message for message in expected if everything or message not in self.headed]
        self.headed.update(named)

    @precondition(lambda self: self.texts)
    @rule(data=st.data())
    def give_text_again(self, data: st.DataObject) -> None:
        call = self.texts[self.pick(data, list(self.texts))].call
        same = [message for message in self.unread() if message in self.texts and self.texts[message].call == call]
        assert self.box.candidates(call, main=True) == same
        assert self.box.take(TOOL, call, same) == []

    @precondition(lambda self: self.unread())
    @rule(everything=st.booleans())
    def give_sub_agent(self, everything: bool) -> None:
        call = self.new_call()
        assert self.box.candidates(call, main=False) == []
        named = self.box.headings(call, main=False, everything=everything)
        assert named == [message for message in self.unread() if everything or message not in self.headed]

    @rule(data=st.data())
    def prompt(self, data: st.DataObject) -> None:
        ids = data.draw(st.sets(st.sampled_from([*self.state, "m_unknown"])))
        self.hooked = True
        self.store(self.box.signal(Signal.PROMPT, ids))
        self.outdate_reports()
        held = {message: text for message, text in self.texts.items() if message in ids and text.carrier is INBOX}
        lines = {text.call for message, text in held.items() if self.attempts[message] == 1}
        self.see([*self.stepwise(), *(m for m, text in self.texts.items() if text.call in lines and text.written)])
        for message in [message for message in self.unread() if message in ids]:
            self.texts.pop(message, None)
            self.state[message] = "shown"

    @rule()
    def tool(self) -> None:
        self.hooked = True
        self.store(self.box.signal(Signal.TOOL))
        self.see_due()

    @rule()
    def step(self) -> None:
        self.hooked = True
        self.store(self.box.signal(Signal.STEP))
        self.outdate_reports()
        self.see_due()
        for message in self.stepwise():
            self.texts[message].due = True

    def outdate_reports(self) -> None:
        """A step is over: a report that a text of it was written comes late from now on, and proves nothing by it."""
        for text in self.texts.values():
            text.late = True

    def see_due(self) -> None:
        for message in self.stepwise():
            text = self.texts[message]
            if text.due or (text.due is None and self.stored[message] is State.SHOWN):
                self.close(message, "shown")

    @rule()
    def stop(self) -> None:
        self.hooked = True
        self.store(self.box.signal(Signal.STOP))
        self.outdate_reports()
        self.see(self.stepwise())
        for message, text in [(m, t) for m, t in self.texts.items() if t.written]:
            text.stops += 1
            if text.stops == 2:
                self.close(message, "queued")

    @rule(data=st.data())
    def check_mail(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(["other", *sorted({text.call for text in self.texts.values()})]))
        self.store(self.box.checked(call))
        if not self.hooked:
            self.see(message for message in self.stepwise() if self.texts[message].call != call)

    @precondition(lambda self: self.state)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        message = self.pick(data, list(self.state))
        self.store(self.box.acknowledge(message))
        if message not in self.unread():
            return
        text = self.texts.pop(message, None)
        self.state[message] = "acknowledged"
        only = self.attempts[message] == 1
        self.see(m for m, other in self.texts.items() if only and text and other.call == text.call)

    @precondition(lambda self: self.texts)
    @rule(data=st.data())
    def terminal_took(self, data: st.DataObject) -> None:
        call = self.texts[self.pick(data, list(self.texts))].call
        self.store(self.box.show(call))
        self.see(message for message, text in self.texts.items() if text.call == call)

    @precondition(lambda self: self.texts)
    @rule(data=st.data(), everything=st.booleans())
    def session_or_call_ended(self, data: st.DataObject, everything: bool) -> None:
        call = None if everything else self.texts[self.pick(data, list(self.texts))].call
        self.store(self.box.lapse("ended", call))
        for message in [m for m, text in self.texts.items() if call in (None, text.call)]:
            self.close(message, "queued")

    @precondition(lambda self: self.texts)
    @rule(data=st.data(), everything=st.booleans())
    def writer_gone(self, data: st.DataObject, everything: bool) -> None:
        calls = None if everything else {self.texts[self.pick(data, list(self.texts))].call}
        self.store(self.box.fail_unwritten("gone", calls))
        for message in [m for m, t in self.texts.items() if not t.written and (calls is None or t.call in calls)]:
            self.close(message, "queued")

    @precondition(lambda self: self.state)
    @rule(data=st.data(), state=st.sampled_from([State.EXPIRED, State.REFUSED, State.DEAD]))
    def end(self, data: st.DataObject, state: State) -> None:
        message = self.pick(data, list(self.state))
        self.store(self.box.end(message, state, "why"))
        if message in self.unread():
            self.texts.pop(message, None)
            self.state[message] = state.value

    @rule()
    def restart(self) -> None:
        """The daemon is killed; what is stored is all there is."""
        self.box, self.hooked, self.headed = Mailbox(), False, set()
        opened = {offer.message: dataclasses.replace(offer) for offer in self.offers.values()}
        for message, state in self.stored.items():
            if state in UNREAD:
                entry = Entry(message, state, self.attempts[message], opened.get(message))
                self.box.accept(entry)
        for text in self.texts.values():
            text.due = None if text.due else text.due
            text.late = True

    # --- what always holds ---

    @invariant()
    def states_are_as_the_rules_say(self) -> None:
        assert {message: state.value for message, state in self.stored.items()} == self.state

    @invariant()
    def the_mailbox_holds_what_is_unread_and_nothing_else(self) -> None:
        assert states(self.box) == {message: self.state[message] for message in self.unread()}
        assert list(self.box.entries) == self.unread(), "in the order they came"

    @invariant()
    def one_open_offer_at_most_and_the_same_everywhere(self) -> None:
        held = {offer.message: offer for offer in self.box.open_offers()}
        assert len(held) == len(self.box.open_offers())
        assert held == {offer.message: offer for offer in self.offers.values()}
        assert {message: (o.id, o.call, o.carrier, o.written, o.stops) for message, o in held.items()} == {
            message: (t.offer, t.call, t.carrier, t.written, t.stops) for message, t in self.texts.items()
        }

    @invariant()
    def what_was_shown_is_no_candidate(self) -> None:
        assert self.box.candidates("some call", main=True) == self.box.waiting() == self.free()
        assert self.box.candidates("some call", main=False) == []


Delivery.TestCase.settings = settings(max_examples=300, stateful_step_count=40)
test_delivery = Delivery.TestCase
