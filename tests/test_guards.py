"""The rules of the guards: what is counted, what is refused, and that no order of sends gets past a limit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coterie.guards import ROUNDING_S, Books, Cause, Limits, Pair, Rates, Refusal, Send, onward
from coterie.limits import COUNTS_KEPT_MAX, REPEAT_S
from coterie.peers import PERSON, Peer

SMALL = Limits(
    pair_burst=5,
    pair_per_minute=6,
    repeats=2,
    thread=4,
    exchange=6,
    hops=2,
    fan_out=3,
    mailbox_messages=20,
    mailbox_bytes=2_000,
)
PAIR = ("p_a", "p_b")


def peer(name: str, kind: str = "claude") -> Peer:
    return Peer(f"p_{name}", name, kind)


A, B, C, D, E, F = map(peer, "abcdef")
ME = peer("me", PERSON)


class Stored:
    """What a store would know: the sends that were taken, in order."""

    def __init__(self) -> None:
        self.sends: list[Send] = []
        self.words: dict[str, int] = {}
        """For each peer and each thread how many sends there were at the last word of a person."""
        self.loads: Counter[Any] = Counter()
        self.mail: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def take(self, send: Send) -> None:
        self.sends.append(send)
        for one in send.recipients:
            self.mail[one.id] += 1
            self.bytes[one.id] += send.size
        if send.sender.kind == PERSON:
            self.word(send.thread, *(one.id for one in send.recipients))

    def word(self, *of: str) -> None:
        self.words.update(dict.fromkeys(of, len(self.sends)))

    def _since(self, *of: str) -> list[Send]:
        return self.sends[max(self.words.get(one, 0) for one in of) :]

    def thread(self, thread: str) -> int:
        self.loads[thread] += 1
        return self.said(thread)

    def said(self, thread: str) -> int:
        return sum(send.thread == thread and send.by_agent for send in self._since(thread))

    def exchange(self, pair: Pair) -> int:
        self.loads[pair] += 1
        return self.between(pair)

    def between(self, pair: Pair) -> int:
        return sum(send.pairs.count(pair) for send in self._since(*pair))

    def reached(self, spread: Pair) -> list[str]:
        self.loads[spread] += 1
        made = [send for send in self.sends if send.spread() == spread]
        return [one.id for send in made for one in send.agents]

    def unread(self, peer: str) -> tuple[int, int]:
        return self.mail[peer], self.bytes[peer]


class World:
    """Books over such a store, and a clock."""

    def __init__(self, limits: Limits = SMALL) -> None:
        self.stored = Stored()
        self.books = Books(self.stored)
        self.limits = limits
        self.now = 1_000.0
        self.number = 0

    def build(self, sender: Peer, *to: Peer, thread: str = "", text: str = "", **more: Any) -> Send:
        self.number += 1
        name = f"m_{self.number}"
        return Send(name, sender, to, thread or name, text or f"text {self.number}", **more)

    def begin(self, sender: Peer, *to: Peer, **more: Any) -> Send | Refusal:
        send = self.build(sender, *to, **more)
        return self.books.admit(send, self.limits, self.now) or send

    def end(self, send: Send, *, stored: bool = True) -> None:
        if stored:
            self.stored.take(send)
        self.books.done(send, stored=stored)

    def send(self, sender: Peer, *to: Peer, **more: Any) -> Refusal | None:
        begun = self.begin(sender, *to, **more)
        if isinstance(begun, Refusal):
            return begun
        self.end(begun)
        return None

    def limit_of(self, sender: Peer, *to: Peer, **more: Any) -> str:
        refusal = self.send(sender, *to, **more)
        return refusal.limit if refusal else ""


@pytest.fixture
def world() -> World:
    return World()


# --- the rate and the repeats -----------------------------------------------------------------------------------


def test_a_burst_goes_and_the_next_one_goes_when_it_was_said_to() -> None:
    world = World(replace(SMALL, exchange=100))
    assert [world.limit_of(A, B) for _ in range(6)] == [""] * 5 + ["pair-rate"]
    refusal = world.send(A, B)
    assert refusal
    assert refusal.retry_s == pytest.approx(10.0)
    assert refusal.recipient is B
    assert world.limit_of(B, A) == ""  # The other way has a bucket of its own.
    world.now += refusal.retry_s
    assert world.send(A, B) is None
    assert world.limit_of(A, B) == "pair-rate"


def test_the_same_text_goes_so_often_and_again_when_it_was_said_to(world: World) -> None:
    assert [world.limit_of(A, B, text="done") for _ in range(3)] == ["", "", "repeats"]
    assert world.send(A, C, text="done") is None
    assert world.send(A, B, text="done, and more") is None
    world.now += 100
    refusal = world.send(A, B, text="done")
    assert refusal
    assert refusal.retry_s == REPEAT_S - 100
    world.now += refusal.retry_s
    assert world.send(A, B, text="done") is None


def test_what_was_not_stored_is_given_back(world: World) -> None:
    for _ in range(20):
        begun = world.begin(A, B, thread="m_t", text="the disk is full")
        assert isinstance(begun, Send)
        world.end(begun, stored=False)
        world.end(begun, stored=False)  # Said twice, it counts once.
    assert [world.limit_of(A, B, thread="m_t") for _ in range(5)] == [""] * 4 + ["thread"]


def test_rates_remember_no_more_than_they_may() -> None:
    rates = Rates(pairs_max=3, texts_max=2)
    for number in range(10):
        rates.take(("p_a", f"p_{number}"), number, SMALL, 0.0)
        assert len(rates) <= 3
    rates.give_back(("p_a", "p_0"), 0, SMALL, 0.0)  # It was forgotten.
    assert len(rates) == 3


def test_rates_forget_what_says_nothing_any_more() -> None:
    rates = Rates()
    for number in range(10):
        rates.take(("p_a", f"p_{number}"), number, SMALL, 0.0)
    for step in range(20):
        rates.take(PAIR, 77, SMALL, 2 * REPEAT_S + step)
    assert len(rates) == 1


# --- what agents say among themselves ------------------------------------------------------------------------------


def test_a_thread_stops_until_a_person_has_a_word_in_it(world: World) -> None:
    sides = [(A, B), (B, A), (C, A), (A, C)]
    assert [world.limit_of(*side, thread="m_t") for side in sides] == [""] * 4
    refusal = world.send(B, C, thread="m_t", reply_to="m_4")
    assert refusal
    assert (refusal.limit, refusal.retry_s, refusal.recipient) == ("thread", None, C)
    assert refusal.go_on == 'coterie reply m_4 "go on"'
    assert world.send(B, ME, thread="m_t") is None  # To the person it may always say so.
    assert world.send(ME, A, thread="m_other") is None
    assert world.limit_of(B, C, thread="m_t") == "thread"
    assert world.send(ME, A, thread="m_t") is None
    assert world.send(B, C, thread="m_t") is None


def test_what_another_device_sends_counts_like_what_is_sent_here(world: World) -> None:
    assert world.send(A, B, thread="m_t") is None
    for pair in (("p_b", "p_a"), ("p_a", "p_b"), ("p_b", "p_a")):
        world.books.came(*pair, "m_t")
    assert world.limit_of(B, A, thread="m_t") == "thread"
    world.books.came("p_b", "p_a", None)  # One that begins a thread.
    assert [world.limit_of(A, B), world.limit_of(A, B)] == ["", "exchange"]


def test_what_is_under_way_at_the_persons_word_comes_after_it(world: World) -> None:
    assert [world.limit_of(*side, thread="m_t") for side in [(A, B), (B, A), (A, C)]] == [""] * 3
    late = world.begin(C, A, thread="m_t")
    assert isinstance(late, Send)
    assert world.send(ME, A, thread="m_t") is None
    assert world.books.threads.count("m_t") == 1
    world.end(late)
    assert world.books.threads.count("m_t") == 1


def test_an_exchange_stops_in_whatever_threads_until_a_person_speaks_to_either(world: World) -> None:
    assert [world.limit_of(*side) for side in [(A, B), (B, A)] * 3] == [""] * 6
    refusal = world.send(B, A)
    assert refusal
    assert (refusal.limit, refusal.retry_s, refusal.recipient) == ("exchange", None, A)
    assert refusal.go_on == 'coterie send a "go on"'
    assert world.send(A, C) is None
    world.books.spoke_to({C.id})
    assert world.limit_of(B, A) == "exchange"
    world.stored.word(B.id)
    world.books.spoke_to({B.id})
    assert world.send(B, A) is None
    assert world.send(ME, A) is None
    assert world.stored.between(PAIR) == 0


# --- chains -----------------------------------------------------------------------------------------------------


def test_a_path_grows_by_those_that_pass_on_and_not_by_answers() -> None:
    assert onward(None, "p_a") == ("p_a",)
    assert onward(Cause("m_1", ("p_x",), human=True), "p_a") == ("p_a",)
    assert onward(Cause("m_1", ("p_a",), human=False), "p_b") == ("p_a", "p_b")
    assert onward(Cause("m_1", ("p_a", "p_b"), human=False), "p_a") == ("p_a", "p_b")


def test_a_text_is_passed_on_so_often_and_may_always_go_back(world: World) -> None:
    cause, trail = None, []
    for sender, to in [(A, B), (B, C), (C, D)]:
        begun = world.begin(sender, to, cause=cause)
        assert isinstance(begun, Send)
        world.end(begun)
        cause = Cause(begun.id, begun.path, human=False)
        trail.append(begun.path)
    assert trail == [("p_a",), ("p_a", "p_b"), ("p_a", "p_b", "p_c")]
    refusal = world.send(D, E, cause=cause)
    assert refusal
    assert (refusal.limit, refusal.retry_s, refusal.recipient) == ("hops", None, E)
    assert "came through 3 peers" in refusal.message
    assert refusal.go_on == 'coterie send d "pass it on"'
    assert world.limit_of(D, C, E, cause=cause) == "hops"
    assert world.send(D, A, cause=cause) is None
    assert world.send(D, ME, cause=cause) is None
    assert world.send(D, E) is None
    assert world.send(D, E, cause=Cause("m_9", ("p_me",), human=True)) is None


def test_what_one_makes_of_one_text_reaches_so_many(world: World) -> None:
    cause = Cause("m_0", ("p_a",), human=False)
    assert world.limit_of(B, C, D, cause=cause) == ""
    assert world.limit_of(B, D, cause=cause) == ""  # The same again is no wider.
    assert world.limit_of(B, A, cause=cause) == ""  # Nor is an answer.
    failed = world.begin(B, E, cause=cause)
    assert isinstance(failed, Send)
    world.end(failed, stored=False)
    assert world.limit_of(B, F, cause=cause) == ""
    refusal = world.send(B, D, E, cause=cause)
    assert refusal
    assert (refusal.limit, refusal.recipient) == ("fan-out", E)
    assert "went to 3 peers" in refusal.message
    assert world.limit_of(C, E, cause=cause) == ""
    again = World()
    again.stored = world.stored
    again.books = Books(world.stored)
    assert again.limit_of(B, E, cause=cause) == "fan-out"


def test_causes_are_held_in_memory_up_to_a_number(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coterie.guards.COUNTS_KEPT_MAX", 1)
    one, two = (Cause(f"m_{number}", ("p_a",), human=False) for number in (1, 2))
    for cause in (one, two, one):
        assert world.limit_of(B, C, cause=cause) == ""
    assert world.stored.loads[("m_1", "p_b")] == 2


def test_a_send_goes_to_so_many_at_once_but_a_persons(world: World) -> None:
    refusal = world.send(A, B, C, D, E)
    assert refusal
    assert (refusal.limit, refusal.recipient) == ("fan-out", E)
    assert refusal.message == "that is 4 peers; an agent may write to 3 at once"
    assert world.send(ME, A, B, C, D, E) is None
    assert world.stored.mail["p_a"] == 1


def test_a_send_to_several_is_refused_whole(world: World) -> None:
    assert [world.limit_of(A, C) for _ in range(5)] == [""] * 5
    refusal = world.send(A, B, C)
    assert refusal
    assert (refusal.limit, refusal.recipient) == ("pair-rate", C)
    assert [world.limit_of(A, B) for _ in range(5)] == [""] * 5


# --- mailboxes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [COUNTS_KEPT_MAX, 0])
def test_a_full_mailbox_takes_nothing_from_anybody(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr("coterie.guards.COUNTS_KEPT_MAX", kept)
    world = World(Limits(mailbox_messages=3, mailbox_bytes=100))
    begun = world.begin(A, B)
    assert isinstance(begun, Send)
    assert [world.limit_of(ME, B), world.limit_of(C, B), world.limit_of(C, B)] == ["", "", "mailbox"]
    refusal = world.send(ME, A, B)
    assert refusal
    assert (refusal.limit, refusal.retry_s, refusal.recipient) == ("mailbox", None, B)
    assert world.stored.mail["p_a"] == 0
    world.end(begun, stored=False)
    assert world.send(C, B) is None
    assert world.limit_of(C, ME, text="x" * 101) == "mailbox"
    assert world.send(C, ME, text="x" * 100) is None
    assert world.limit_of(C, ME, text="x") == "mailbox"


def test_a_send_that_is_being_stored_counts_once(world: World) -> None:
    assert world.send(A, B, text="same") is None
    last = world.begin(A, B, text="same")
    assert isinstance(last, Send)
    for _ in range(10):
        again = Send(last.id, A, [B], last.id, "same")
        assert world.books.admit(again, world.limits, world.now) is None
        world.books.done(again, stored=False)
    assert world.limit_of(A, B, text="same") == "repeats"
    world.end(last, stored=False)
    assert [world.limit_of(A, B, text="same") for _ in range(2)] == ["", "repeats"]


# --- any order ----------------------------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Agents and a person send what they like, the store fails at times, the daemon begins anew."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.flying: list[Send] = []
        self.taken: list[tuple[float, Send]] = []
        self.counts: Counter[str] = Counter()
        self.begun_anew = self.world.now

    peers = st.sampled_from([A, B, C, D])
    threads = st.sampled_from(["", "m_t", "m_u"])
    texts = st.sampled_from(["", "same", "again"])

    @rule(sender=peers, to=st.lists(peers, min_size=1, max_size=4, unique_by=id), thread=threads, text=texts)
    def agent(self, sender: Peer, to: list[Peer], thread: str, text: str) -> None:
        self.attempt(sender, to, thread, text)

    @rule(sender=peers, thread=threads)
    def loop(self, sender: Peer, thread: str) -> None:
        for number in range(12):
            pair = [A, B] if number % 2 else [B, A]
            self.attempt(pair[0], pair[1:], thread, "")
            self.arrive(stored=True)

    @rule(to=peers, thread=threads)
    def person(self, to: Peer, thread: str) -> None:
        self.attempt(ME, [to], thread, "")

    @rule(to=peers)
    def prompt(self, to: Peer) -> None:
        if not self.flying:
            self.world.stored.word(to.id)
            self.world.books.spoke_to({to.id})

    @rule(stored=st.booleans())
    def arrive(self, *, stored: bool) -> None:
        """The store works in the order in which it was asked."""
        if self.flying:
            send = self.flying.pop(0)
            self.world.end(send, stored=stored)
            if not stored:
                self.taken = [(at, one) for at, one in self.taken if one is not send]

    @rule(seconds=st.sampled_from([0.5, 10.0, 60.0, 700.0]))
    def time(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(reader=peers)
    def read(self, reader: Peer) -> None:
        self.world.stored.mail[reader.id] = self.world.stored.bytes[reader.id] = 0

    @rule()
    def begin_anew(self) -> None:
        while self.flying:
            self.arrive(stored=True)
        self.world.books = Books(self.world.stored)
        self.begun_anew = self.world.now
        self.taken.clear()

    def attempt(self, sender: Peer, to: list[Peer], thread: str, text: str) -> None:
        self.counts["sent"] += 1
        begun = self.world.begin(sender, *to, thread=thread, text=text)
        if isinstance(begun, Refusal):
            self.counts["refused"] += 1
            self.must_be_true(begun, sender, to, thread, text)
            return
        self.counts["accepted"] += 1
        self.flying.append(begun)
        self.taken.append((self.world.now, begun))

    def must_be_true(self, refusal: Refusal, sender: Peer, to: list[Peer], thread: str, text: str) -> None:
        """What was refused for its time goes at that time, if nothing else stands in its way."""
        assert refusal.recipient in to
        if refusal.retry_s is None or len(to) > 1:
            return
        send = self.world.build(sender, *to, thread=thread, text=text)
        later = self.world.books.admit(send, SMALL, self.world.now + refusal.retry_s + ROUNDING_S)
        assert later is None or later.limit != refusal.limit
        if later is None:
            self.world.books.done(send, stored=False)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.counts["accepted"] + self.counts["refused"] == self.counts["sent"]

    @invariant()
    def no_window_holds_more(self) -> None:
        rated: dict[Any, list[float]] = {}
        for at, send in self.taken:
            for one in send.recipients if send.by_agent else ():
                rated.setdefault((send.sender.id, one.id), []).append(at)
                rated.setdefault((send.sender.id, one.id, send.text), []).append(at)
        for key, times in rated.items():
            for first, start in enumerate(times):
                for last, end in enumerate(times[first:], start=first):
                    if len(key) == 2:
                        every = 60 / SMALL.pair_per_minute
                        assert last - first + 1 <= SMALL.pair_burst + (end - start + ROUNDING_S) / every
                    elif end - start < REPEAT_S:
                        assert last - first + 1 <= SMALL.repeats

    @invariant()
    def counts_are_those_of_the_store(self) -> None:
        stored, books = self.world.stored, self.world.books
        for thread in ("m_t", "m_u"):
            under_way = sum(send.thread == thread and send.by_agent for send in self.flying)
            assert stored.said(thread) <= SMALL.thread
            if not any(send.thread == thread and not send.by_agent for send in self.flying):
                assert books.threads.count(thread) == stored.said(thread) + under_way
        for one in (A, B, C, D):
            for other in (A, B, C, D):
                if one.id <= other.id:
                    assert stored.between((one.id, other.id)) <= SMALL.exchange

    @invariant()
    def mailboxes_hold_what_they_may(self) -> None:
        for one in (A, B, C, D):
            assert self.world.stored.mail[one.id] <= SMALL.mailbox_messages
            assert self.world.stored.bytes[one.id] <= SMALL.mailbox_bytes


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40)
