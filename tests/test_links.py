"""The machine of one link: what it takes, what ends it, and when it takes the other side for dead."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coterie.devices import device_id
from coterie.errors import BadInput
from coterie.limits import (
    HANDSHAKE_LINE_BYTES_MAX,
    HANDSHAKE_S,
    LINK_LINE_BYTES_MAX,
    LINK_STEADY_S,
    RECONNECT_FIRST_S,
    SILENT_INTERVALS,
)
from coterie.links import PROVED, Answer, Backoff, Breach, Dead, End, Event, Frame, Link, keep

KEY = bytes(range(32))
PRINTS = [hashlib.sha256(bytes([number])).digest() for number in range(3)]
ENDS = sorted(End(device_id(print_), print_) for print_ in PRINTS)
LOW, HIGH, THIRD = ENDS
BEAT_S = 30.0


def a_link(
    ours: End = LOW, theirs: End = HIGH, *, dialled: bool = True, key: bytes = KEY, nonce: bytes | None = None
) -> Link:
    return Link(ours, theirs, dialled=dialled, key=key, nonce=nonce or ours.fingerprint, heartbeat_s=BEAT_S, now=0.0)


def a_pair(**theirs: Any) -> tuple[Link, Link]:
    return a_link(), a_link(HIGH, LOW, dialled=False, **theirs)


def answer(event: Event) -> bytes:
    assert isinstance(event, Answer)
    return event.line


def shaken() -> tuple[Link, Link]:
    """Two that have proved themselves."""
    left, right = a_pair()
    proof_right = answer(right.feed(left.begin(), 0.0))
    proof_left = answer(left.feed(right.begin(), 0.0))
    assert right.feed(proof_left, 0.0) is PROVED
    assert left.feed(proof_right, 0.0) is PROVED
    return left, right


def test_both_prove_themselves_and_frames_cross() -> None:
    left, right = shaken()
    for n in range(3):
        assert right.feed(left.send({"kind": "x", "n": n}), 0.0) == Frame({"kind": "x", "n": n})
        assert left.feed(right.send({"kind": "y"}), 0.0) == Frame({"kind": "y"})


def test_what_is_proved_is_what_the_docstring_says() -> None:
    left, right = a_pair()
    proof = json.loads(answer(left.feed(right.begin(), 0.0)))
    nonces = LOW.fingerprint + HIGH.fingerprint  # a_link takes them for nonces
    said = b"coterie link 1\0dialler\0" + nonces + LOW.fingerprint + HIGH.fingerprint
    assert proof == {"proof": hmac.new(KEY, said, hashlib.sha256).hexdigest()}


def test_lines_on_the_wire() -> None:
    left, right = shaken()
    assert json.loads(a_link().begin()) == {
        "link": 1,
        "device": LOW.device,
        "nonce": LOW.fingerprint.hex(),
        "to": HIGH.device,
    }
    assert left.send({"kind": "x"}) == b'{"n":1,"f":{"kind":"x"}}\n'
    assert left.send({}) == b'{"n":2,"f":{}}\n'
    assert left.tick(BEAT_S) == b'{"n":3,"f":null}\n'
    for line in (b'{"n":1,"f":{}}', b'{"n":2,"f":{}}'):
        right.feed(line, 0.0)
    assert right.feed(b'{"n":3,"f":null}', 0.0) == Answer(b'{"n":1,"f":true}\n')
    assert left.feed(b'{"n":1,"f":true}', 0.0) is None


# --- what ends a link -----------------------------------------------------------------------------------------------


def hello(**changes: Any) -> bytes:
    said = json.loads(a_link(HIGH, LOW, dialled=False).begin()) | changes
    return json.dumps({name: value for name, value in said.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "line",
    [
        hello(link=2),
        hello(link=True),
        hello(link=1.0),
        hello(link=...),
        hello(device=LOW.device),
        hello(device=THIRD.device),
        hello(device=...),
        hello(device=[HIGH.device]),
        hello(to=HIGH.device),
        hello(to=THIRD.device),
        hello(to=None),
        hello(nonce=""),
        hello(nonce="ab" * 31),
        hello(nonce="AB" * 32),
        hello(nonce="zz" * 32),
        hello(nonce="é" * 64),
        hello(nonce="１" * 64),
        hello(nonce=5),
        hello(nonce=...),
        hello(more="x" * HANDSHAKE_LINE_BYTES_MAX),
        b"[]",
        b"5",
        b"{",
        b"\xff",
        b"GET / HTTP/1.1",
        b'{"n":1,"f":{}}',
        b'{"link":1,"link":1}',
    ],
)
def test_hellos_that_are_none(line: bytes) -> None:
    with pytest.raises(Breach):
        a_link().feed(line, 0.0)


def test_a_later_version_may_say_more_in_its_hello() -> None:
    assert isinstance(a_link().feed(hello(more=[1]), 0.0), Answer)


@pytest.mark.parametrize(
    "line",
    [
        b'{"proof":""}',
        b'{"proof":null}',
        b'{"proof":["a"]}',
        '{"proof":"é"}'.encode(),
        b'{"proof":"%s"}' % (b"0" * 64),
        b'{"n":1,"f":{}}',
        b"{}",
        hello(),
    ],
)
def test_proofs_that_are_none(line: bytes) -> None:
    left, right = a_pair()
    left.feed(right.begin(), 0.0)
    with pytest.raises(Breach):
        left.feed(line, 0.0)
    assert not left.proved


def test_a_proof_with_another_key() -> None:
    left, right = a_pair(key=bytes(32))
    proof = answer(right.feed(left.begin(), 0.0))
    left.feed(right.begin(), 0.0)
    with pytest.raises(Breach, match="key that the pairing left"):
        left.feed(proof, 0.0)


def test_reflection() -> None:
    left, _ = a_pair()
    with pytest.raises(Breach):
        left.feed(left.begin(), 0.0)  # Its own hello.
    left, right = a_pair(nonce=LOW.fingerprint)  # The same nonce, said by the other.
    ours = answer(left.feed(right.begin(), 0.0))
    with pytest.raises(Breach):
        left.feed(ours, 0.0)  # Its own proof.


def test_a_transcript_proves_nothing_in_another_link() -> None:
    left, right = a_pair()
    recorded = [right.begin(), answer(right.feed(left.begin(), 0.0))]
    again = a_link(nonce=bytes(32))
    again.feed(recorded[0], 0.0)
    with pytest.raises(Breach):
        again.feed(recorded[1], 0.0)


def test_a_transcript_proves_nothing_with_the_parts_exchanged() -> None:
    left, right = a_pair()
    recorded = [left.begin(), answer(left.feed(right.begin(), 0.0))]
    called = a_link(HIGH, LOW, dialled=True, nonce=HIGH.fingerprint)  # The very nonce of the recorded link.
    called.feed(recorded[0], 0.0)
    with pytest.raises(Breach):
        called.feed(recorded[1], 0.0)


@pytest.mark.parametrize(
    "line",
    [
        b'{"n":1,"f":{}}',
        b'{"n":3,"f":{}}',
        b'{"n":0,"f":{}}',
        b'{"n":-2,"f":{}}',
        b'{"n":true,"f":{}}',
        b'{"n":2.0,"f":{}}',
        b'{"n":"2","f":{}}',
        b'{"n":null,"f":{}}',
        b'{"f":{}}',
        b'{"n":2}',
        b'{"n":2,"f":{},"g":1}',
        b'{"n":2,"f":[]}',
        b'{"n":2,"f":"x"}',
        b'{"n":2,"f":1}',
        b'{"n":2,"f":false}',
        b'{"n":2,"n":2,"f":{}}',
        b'{"n":2,"f":{"a":NaN}}',
        b'{"n":2,"f":{"a":"\\ud800"}}',
        b'{"n":2,"f":{}',
        b"[2,{}]",
        b"",
        b"\xff\xfe",
        b'{"n":2,"f":' + b'{"a":' * 40 + b"1" + b"}" * 41,
        b'{"n":2,"f":{"a":"' + b"x" * LINK_LINE_BYTES_MAX + b'"}}',
    ],
)
def test_frames_that_are_none(line: bytes) -> None:
    left, right = shaken()
    right.feed(left.send({}), 0.0)
    with pytest.raises(Breach):
        right.feed(line, 0.0)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_breach(line: bytes) -> None:
    for link in (a_link(), shaken()[0]):
        try:
            event = link.feed(line, 0.0)
        except Breach:
            continue
        assert event is None or isinstance(event, (Frame, Answer))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["n", "f", "link", "proof", "device", "to", "nonce"]), inner)
        ),
        max_leaves=10,
    )
)
def test_any_json_is_an_event_or_a_breach(value: Any) -> None:
    line = json.dumps(value).encode()
    left, right = a_pair()
    half = a_link()
    half.feed(right.begin(), 0.0)
    for link in (left, half, shaken()[0]):
        try:
            event = link.feed(line, 0.0)
        except Breach:
            continue
        else:
            assert event is None or isinstance(event, (Frame, Answer))
            assert event is not PROVED


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            st.lists,
            max_leaves=8,
        ),
    )
)
def test_any_frame_arrives_as_it_was_sent(frame: dict[str, Any]) -> None:
    left, right = shaken()
    line = left.send(frame)
    assert line.count(b"\n") == 1
    assert right.feed(line, 0.0) == Frame(frame)


def test_a_frame_that_is_too_long_is_refused_and_the_link_lives_on() -> None:
    left, right = shaken()
    room = LINK_LINE_BYTES_MAX - 32 - len('{"a":""}\n')
    with pytest.raises(BadInput, match="too long"):
        left.send({"a": "x" * (room + 1)})
    line = left.send({"a": "x" * room})
    assert len(line) <= LINK_LINE_BYTES_MAX
    assert isinstance(right.feed(line[:-1], 0.0), Frame)


# --- signs of life ----------------------------------------------------------------------------------------------


def test_a_handshake_ends_in_time() -> None:
    link = a_link()
    assert link.due() == HANDSHAKE_S
    assert link.tick(HANDSHAKE_S - 0.1) is None
    assert link.tick(HANDSHAKE_S) == Dead(HANDSHAKE_S)


def test_who_is_silent_is_asked_twice_and_then_dead() -> None:
    left, _ = shaken()
    times = []
    said = None
    while not isinstance(said, Dead):
        times.append(left.due())
        said = left.tick(left.due())
        assert said, "it was called for something"
    assert times == [BEAT_S, 2 * BEAT_S, 3 * BEAT_S]
    assert said.silent_s == 3 * BEAT_S
    assert left.doubted


def test_an_answer_to_the_question_keeps_it_alive_for_ever() -> None:
    left, right = shaken()
    for beat in range(1, 50):
        now = beat * BEAT_S
        asked = left.tick(now)
        assert isinstance(asked, bytes)
        assert left.doubted
        left.feed(answer(right.feed(asked, now)), now)
        assert not left.doubted
        assert right.tick(now) is None, "it just heard something, and need not ask"


def test_any_frame_is_a_sign_of_life() -> None:
    left, right = shaken()
    for beat in range(1, 20):
        left.feed(right.send({}), beat * BEAT_S * 0.9)
        assert left.tick(beat * BEAT_S * 0.9) is None


def test_sides_with_different_paces_do_not_take_each_other_for_dead() -> None:
    quick, slow = shaken()
    quick.heartbeat_s, slow.heartbeat_s = 1.0, 300.0
    now = 0.0
    while now < 3000:
        now = min(quick.due(), slow.due())
        for one, other in ((quick, slow), (slow, quick)):
            said = one.tick(now)
            assert not isinstance(said, Dead)
            if said:
                event = other.feed(said, now)
                one.feed(answer(event), now)


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_who_slept_asks_first_and_gives_one_interval(asked: int) -> None:
    """A clock that runs on while the laptop sleeps: eight hours without a word accuse nobody."""
    left, right = shaken()
    for _ in range(asked):
        left.tick(left.due())
    woke = left.due() + 8 * 3600
    line = left.tick(woke)
    assert isinstance(line, bytes)
    assert json.loads(line)["f"] is None
    assert left.due() == woke + BEAT_S
    assert isinstance(left.tick(woke + BEAT_S), Dead)


def test_who_slept_and_is_answered_lives_on() -> None:
    left, right = shaken()
    woke = 8 * 3600.0
    line = left.tick(woke)
    assert isinstance(line, bytes)
    left.feed(answer(right.feed(line, woke)), woke)
    assert left.due() == woke + BEAT_S
    assert isinstance(left.tick(woke + BEAT_S), bytes)


def test_a_clock_that_stood_still_is_nothing_to_notice() -> None:
    left, _ = shaken()
    assert left.tick(BEAT_S / 2) is None
    assert left.due() == BEAT_S


def test_another_pace_holds_at_once() -> None:
    left, _ = shaken()
    left.heartbeat_s = 5.0
    assert left.due() == 5.0
    left.tick(5.0)
    left.tick(10.0)
    assert isinstance(left.tick(15.0), Dead)


@given(st.lists(st.floats(0, 200), max_size=30), st.floats(1, 60))
def test_it_is_never_due_in_the_past_once_looked_at(steps: list[float], beat: float) -> None:
    """A caller that sleeps until `due` must not spin."""
    left, _ = shaken()
    left.heartbeat_s = beat
    now = 0.0
    for step in steps:
        now += step
        if isinstance(left.tick(now), Dead):
            return
        assert left.due() > now


CLOCKS = st.floats(0, 1e9) | st.builds(lambda power, below: 2.0**power - below, st.integers(4, 30), st.floats(0, 10))
"""What a clock may say. A sum is rounded where it passes a power of two, so many are taken shortly before one."""


@given(CLOCKS, st.lists(st.tuples(st.floats(0, 200), st.booleans()), max_size=8), st.floats(0.1, 3600))
@example(2.0**20 - 5 + 2.0**-33, [], 30.0)
def test_at_the_moment_that_due_names_there_is_something_to_do(
    begun: float, steps: list[tuple[float, bool]], beat: float
) -> None:
    """However the sums of a clock that has run for years are rounded: a timer set to it would come again at once."""
    shaking = Link(LOW, HIGH, dialled=True, key=KEY, nonce=bytes(32), heartbeat_s=beat, now=begun)
    assert isinstance(shaking.tick(shaking.due()), Dead)
    left = Link(LOW, HIGH, dialled=True, key=KEY, nonce=bytes(32), heartbeat_s=beat, now=begun)
    left.proved = True
    now, heard = begun, 0
    for step, hears in steps:
        now += step
        if isinstance(left.tick(now), Dead):
            return
        if hears:
            heard += 1
            left.feed(b'{"n":%d,"f":true}' % heard, now)
    for _ in range(SILENT_INTERVALS + 1):
        due = left.due()
        said = left.tick(due)
        assert said is not None
        if isinstance(said, Dead):
            return
        assert left.due() > due
    raise AssertionError("it is dead after so many intervals without a word")


# --- which of two stays -----------------------------------------------------------------------------------------


def both_sides(dialler: End) -> dict[End, Link]:
    """The two sides of one proved link."""
    links = {end: a_link(end, HIGH if end is LOW else LOW, dialled=end is dialler) for end in (LOW, HIGH)}
    for link in links.values():
        link.proved = True
    return links


def test_of_two_calls_at_once_both_sides_keep_the_same() -> None:
    by_low, by_high = both_sides(LOW), both_sides(HIGH)
    for first in ((by_low, by_high), (by_high, by_low)):
        for order in itertools.product((first, first[::-1]), repeat=2):
            kept = [
                new if keep(old[end], new[end]) else old for end, (old, new) in zip((LOW, HIGH), order, strict=True)
            ]
            assert kept == [by_low, by_low]


@pytest.mark.parametrize("dialler", [LOW, HIGH])
@pytest.mark.parametrize("end", [LOW, HIGH])
def test_who_calls_again_has_lost_the_old_one(dialler: End, end: End) -> None:
    assert keep(both_sides(dialler)[end], both_sides(dialler)[end])


def test_a_link_that_owes_a_sign_of_life_gives_way() -> None:
    old, new = both_sides(LOW)[HIGH], both_sides(HIGH)[HIGH]
    assert not keep(old, new)
    old.tick(old.due())
    assert keep(old, new)


# --- waits ------------------------------------------------------------------------------------------------------


def waits(backoff: Backoff, count: int, chance: float = 1.0, most_s: float = 60.0) -> list[float]:
    return [backoff.next(most_s, chance) for _ in range(count)]


def test_waits_double_up_to_the_most() -> None:
    assert waits(Backoff(), 8) == [1, 2, 4, 8, 16, 32, 60, 60]
    assert waits(Backoff(), 3, most_s=0.2) == [0.2, 0.2, 0.2]
    assert waits(Backoff(), 5000)[-1] == 60


def test_chance_takes_up_to_half() -> None:
    assert waits(Backoff(), 3, chance=0.0) == [0.5, 1, 2]


@pytest.mark.parametrize("most_s", [0.2, 1.0, 25.0])
@pytest.mark.parametrize("took_s", [0.0, 3.0, 40.0])
def test_no_wait_is_longer_than_the_most_and_what_a_try_took_is_part_of_it(most_s: float, took_s: float) -> None:
    backoff = Backoff()
    for _ in range(8):
        assert 0 < backoff.next(most_s, 1.0, took_s) <= most_s
    assert backoff.next(most_s, 1.0, took_s) == max(most_s - took_s, min(most_s, RECONNECT_FIRST_S) / 2)


@pytest.mark.parametrize(("lived_s", "then"), [(LINK_STEADY_S, 1), (LINK_STEADY_S - 0.1, 4), (0.0, 4)])
def test_a_link_that_held_begins_anew(lived_s: float, then: float) -> None:
    backoff = Backoff()
    waits(backoff, 2)
    backoff.held(lived_s)
    assert backoff.next(60, 1.0) == then


def test_no_frame_is_sent_before_the_proof() -> None:
    with pytest.raises(AssertionError):
        a_link().send({})
