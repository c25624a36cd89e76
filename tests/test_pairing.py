"""Invitations: what ends them, who is told, when nobody is invited any more; and the formulas of pairing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coterie.errors import Limited
from coterie.limits import BURNT_MAX, BURNT_WITHIN_S, DEVICE_NAME_CHARS, INVITATION_S
from coterie.pairing import (
    Attempt,
    Invitations,
    Role,
    Transcript,
    Verdict,
    confirmation,
    derived,
    label_of,
    owned,
    pairing_key,
    password,
    same,
)

SECRETS = {"code": b"c", "words": b"w"}
VECTORS = json.loads((Path(__file__).parent / "vectors" / "pairing.json").read_text("utf-8"))


def invited(now: float = 0.0) -> Invitations:
    invitations = Invitations()
    invitations.open(now, SECRETS)
    return invitations


def attempt(invitations: Invitations, now: float = 0.0, form: str = "code") -> Attempt:
    found = invitations.attempt(form, now)
    assert found
    return found


# --- one invitation ---------------------------------------------------------------------------------


def test_each_form_has_its_own_secret() -> None:
    invitations = invited()
    assert attempt(invitations, form="code").secret == b"c"
    assert attempt(invitations, form="words").secret == b"w"
    assert invitations.attempt("link", 0.0) is None, "that form was not asked for"


def test_without_an_invitation_there_is_nothing_to_try() -> None:
    invitations = Invitations()
    assert invitations.attempt("code", 0.0) is None
    assert invitations.left_s(0.0) is None
    assert invitations.ended(0.0) is None
    invitations.close()


def test_the_first_right_confirmation_uses_it_up_in_all_forms() -> None:
    invitations = invited()
    first, second = attempt(invitations), attempt(invitations, form="words")
    assert invitations.confirmed(first, 1.0) is Verdict.PAIRED
    assert invitations.ended(1.0) is Verdict.USED
    assert invitations.confirmed(second, 2.0) is Verdict.USED, "and whoever comes second with the right one is told so"


def test_one_wrong_confirmation_burns_it_in_all_forms() -> None:
    invitations = invited()
    rightful = attempt(invitations, form="words")
    assert invitations.wrong(attempt(invitations), 1.0) is Verdict.WRONG
    assert invitations.left_s(1.0) is None
    assert invitations.confirmed(rightful, 2.0) is Verdict.BURNT


def test_an_attempt_that_is_broken_off_costs_nothing() -> None:
    invitations = invited()
    for _ in range(100):
        attempt(invitations)
    assert invitations.confirmed(attempt(invitations), 1.0) is Verdict.PAIRED


@pytest.mark.parametrize("begun", [0.0, INVITATION_S - 0.001, INVITATION_S])
def test_it_ends_with_its_life_and_not_before(begun: float) -> None:
    invitations = invited()
    assert invitations.left_s(1.0) == INVITATION_S - 1
    late = attempt(invitations, begun)
    assert invitations.confirmed(late, INVITATION_S) is Verdict.EXPIRED
    timely = invited()
    assert timely.confirmed(attempt(timely), INVITATION_S - 0.001) is Verdict.PAIRED


def test_the_person_may_take_it_back() -> None:
    invitations = invited()
    invitations.close()
    invitations.close()
    assert invitations.confirmed(attempt(invitations), 1.0) is Verdict.WITHDRAWN


def test_a_new_one_takes_the_place_of_the_old() -> None:
    invitations = invited()
    old = attempt(invitations)
    invitations.open(1.0, {"code": b"new"})
    assert invitations.confirmed(old, 1.0) is Verdict.WITHDRAWN
    assert attempt(invitations).secret == b"new"
    assert invitations.left_s(1.0) == INVITATION_S


@pytest.mark.parametrize("right", [False, True])
def test_once_it_is_over_one_attempt_is_judged_and_no_more(right: bool) -> None:
    invitations = invited()
    late = [attempt(invitations) for _ in range(3)]
    invitations.wrong(attempt(invitations), 1.0)
    settle = invitations.confirmed if right else invitations.wrong
    assert settle(late[0], 2.0) is (Verdict.BURNT if right else Verdict.SILENCE)
    assert invitations.confirmed(late[1], 2.0) is Verdict.SILENCE, "or it would tell which of many guesses is right"
    assert invitations.wrong(late[2], 2.0) is Verdict.SILENCE
    assert invitations.attempt("code", 2.0) is None
    assert not invitations.locked, "guesses at a dead invitation count for nothing"


def test_what_is_long_over_is_kept_no_more() -> None:
    invitations = invited()
    late = attempt(invitations)
    assert invitations.attempt("code", 2 * INVITATION_S) is None
    assert invitations.ended(2 * INVITATION_S) is None
    assert invitations.confirmed(late, 2 * INVITATION_S) is Verdict.EXPIRED


def test_no_secret_is_shown() -> None:
    invitations = Invitations()
    invitations.open(0.0, {"code": b"canary"})
    found = attempt(invitations)
    assert "canary" not in repr(found) + repr(found.invitation)


# --- the lock ---------------------------------------------------------------------------------------


def burn(invitations: Invitations, now: float) -> None:
    invitations.open(now, SECRETS)
    assert invitations.wrong(attempt(invitations, now), now) is Verdict.WRONG


def test_five_burnt_in_an_hour_lock_pairing_until_the_person_acts() -> None:
    invitations = Invitations()
    for number in range(BURNT_MAX):
        assert not invitations.locked
        burn(invitations, number * 10.0)
    assert invitations.locked
    assert invitations.ended(50.0) is Verdict.LOCKED
    with pytest.raises(Limited, match="locked") as refused:
        invitations.open(10 * BURNT_WITHIN_S, SECRETS)
    assert "--unlock" in refused.value.hint
    assert invitations.confirmed(attempt(invitations, 50.0), 50.0) is Verdict.LOCKED
    invitations.unlock()
    for number in range(BURNT_MAX - 1):
        burn(invitations, 60.0 + number)
    assert not invitations.locked, "the person's word begins a new count"


def test_those_burnt_long_ago_do_not_count() -> None:
    invitations = Invitations()
    for number in range(3 * BURNT_MAX):
        burn(invitations, number * BURNT_WITHIN_S / (BURNT_MAX - 1))
    assert not invitations.locked


class Story(RuleBasedStateMachine):
    """Any order of what the person and strangers do, against a model of a few lines."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.invitations = Invitations()
        self.attempts: list[tuple[Attempt, int]] = []
        self.number = 0
        self.open: int | None = None
        self.until = 0.0
        self.guesses: dict[int, int] = {}
        self.burnt: list[float] = []

    def expire(self) -> None:
        if self.now >= self.until:
            self.open = None

    @rule(seconds=st.sampled_from([0.5, 30.0, INVITATION_S, BURNT_WITHIN_S]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.expire()

    @precondition(lambda self: not self.invitations.locked)
    @rule()
    def invite(self) -> None:
        self.invitations.open(self.now, SECRETS)
        self.number += 1
        self.open, self.until = self.number, self.now + INVITATION_S

    @rule()
    def withdraw(self) -> None:
        self.invitations.close()
        self.open = None

    @precondition(lambda self: self.invitations.locked)
    @rule()
    def unlock(self) -> None:
        with pytest.raises(Limited):
            self.invitations.open(self.now, SECRETS)
        self.invitations.unlock()
        self.burnt = []

    @rule(form=st.sampled_from(["code", "words", "link"]))
    def begin(self, form: str) -> None:
        found = self.invitations.attempt(form, self.now)
        assert found is None or form in SECRETS
        if self.open and form in SECRETS:
            assert found
        if found:
            self.attempts.append((found, self.number))

    def take(self, data: st.DataObject) -> tuple[Attempt, int]:
        return self.attempts.pop(data.draw(st.integers(0, len(self.attempts) - 1)))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def right(self, data: st.DataObject) -> None:
        found, number = self.take(data)
        verdict = self.invitations.confirmed(found, self.now)
        assert (verdict is Verdict.PAIRED) == (self.open == number)
        self.judged(number, verdict)
        self.open = None if self.open == number else self.open

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def wrong(self, data: st.DataObject) -> None:
        found, number = self.take(data)
        verdict = self.invitations.wrong(found, self.now)
        assert verdict is (Verdict.WRONG if self.open == number else Verdict.SILENCE)
        self.judged(number, verdict)
        if verdict is Verdict.WRONG:
            self.open = None
            self.burnt = [at for at in self.burnt if self.now - at < BURNT_WITHIN_S] + [self.now]

    def judged(self, number: int, verdict: Verdict) -> None:
        """Whatever the order: of one invitation strangers learn the truth about two guesses at most."""
        self.guesses[number] = self.guesses.get(number, 0) + (verdict is not Verdict.SILENCE)
        assert self.guesses[number] <= 2

    @invariant()
    def the_lock_is_where_it_belongs(self) -> None:
        assert self.invitations.locked == (len(self.burnt) >= BURNT_MAX)

    @invariant()
    def it_is_open_when_it_should_be(self) -> None:
        assert (self.invitations.left_s(self.now) is not None) == (self.open is not None)


TestStory = Story.TestCase

# --- the formulas -----------------------------------------------------------------------------------


def of(vector: dict[str, Any]) -> Transcript:
    prints = {name: bytes.fromhex(vector[name]) for name in ("joiner", "inviter", "joiner_message", "inviter_message")}
    return Transcript(vector["form"], **prints, joiner_name=vector["joiner_name"], inviter_name=vector["inviter_name"])


def test_what_the_joiner_signs_is_for_nothing_else() -> None:
    """A signature under one confirmation is none under another, and reads like no other text that a device signs."""
    assert owned(b"x" * 32) == b"coterie pairing owner 1\n" + b"x" * 32
    assert owned(b"x" * 32) != owned(b"y" * 32)


@pytest.mark.parametrize("vector", VECTORS["pairings"])
def test_the_vectors(vector: dict[str, Any]) -> None:
    key, seen = bytes.fromhex(vector["key"]), of(vector)
    assert password(vector["form"], bytes.fromhex(vector["secret"])).hex() == vector["password"]
    assert confirmation(key, Role.JOINER, seen).hex() == vector["joiner_confirms"]
    assert confirmation(key, Role.INVITER, seen).hex() == vector["inviter_confirms"]
    assert pairing_key(key, seen.joiner, seen.inviter).hex() == vector["pairing_key"]


@pytest.mark.parametrize("vector", VECTORS["derived"])
def test_derived_keys_are_those_of_rfc_5869(vector: dict[str, str]) -> None:
    """The vectors were made with the HKDF of `cryptography`: a second opinion."""
    assert derived(bytes.fromhex(vector["key"]), vector["what"].encode()).hex() == vector["derived"]


SEEN = Transcript("code", b"j" * 32, b"i" * 32, b"A" * 33, b"B" * 33, "laptop", "desk")
CHANGES: list[Callable[[Transcript], Transcript]] = [
    lambda t: Transcript("words", *_rest(t)),
    lambda t: Transcript(t.form, t.inviter, t.joiner, *_rest(t)[2:]),
    lambda t: Transcript(t.form, b"x" * 32, *_rest(t)[1:]),
    lambda t: Transcript(t.form, t.joiner, b"x" * 32, *_rest(t)[2:]),
    lambda t: Transcript(t.form, t.joiner, t.inviter, b"x" * 33, *_rest(t)[3:]),
    lambda t: Transcript(t.form, t.joiner, t.inviter, t.joiner_message, b"x" * 33, *_rest(t)[4:]),
    lambda t: Transcript(*_rest(t, form=True)[:5], "laptop2", t.inviter_name),
    lambda t: Transcript(*_rest(t, form=True)[:5], "lapto", "p" + t.inviter_name),
    lambda t: t.with_inviter("desk2"),
]


def _rest(seen: Transcript, *, form: bool = False) -> list[Any]:
    parts = [seen.joiner, seen.inviter, seen.joiner_message, seen.inviter_message, seen.joiner_name, seen.inviter_name]
    return [seen.form, *parts] if form else parts


@pytest.mark.parametrize("change", CHANGES)
def test_a_confirmation_is_of_one_transcript_only(change: Callable[[Transcript], Transcript]) -> None:
    right = confirmation(b"k" * 32, Role.INVITER, SEEN)
    assert not same(right, confirmation(b"k" * 32, Role.INVITER, change(SEEN)))
    assert same(right, confirmation(b"k" * 32, Role.INVITER, SEEN))


def test_a_confirmation_is_of_one_role_only() -> None:
    nameless = SEEN.with_inviter("")
    assert confirmation(b"k" * 32, Role.JOINER, nameless) != confirmation(b"k" * 32, Role.INVITER, nameless)


def test_the_joiner_confirms_before_it_knows_the_name_of_the_inviter() -> None:
    joiner = [confirmation(b"k" * 32, Role.JOINER, SEEN.with_inviter(name)) for name in ("", "desk")]
    assert joiner[0] == joiner[1]


def test_keys_are_of_one_pair_in_one_order() -> None:
    one, other = b"1" * 32, b"2" * 32
    keys = {pairing_key(b"k", *pair) for pair in [(one, other), (other, one), (one, one)]}
    assert len(keys) == 3
    assert pairing_key(b"k", one, other) not in {b"k", derived(b"k", b"coterie pairing confirmation")}


@given(st.text(max_size=20), st.binary(max_size=9), st.text(max_size=20), st.binary(max_size=9))
def test_passwords_of_other_forms_and_secrets_differ(form: str, secret: bytes, form2: str, secret2: bytes) -> None:
    assert (password(form, secret) == password(form2, secret2)) == ((form, secret) == (form2, secret2))


# --- labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("laptop", "laptop"),
        ("Build-Server_2.local", "Build-Server_2.local"),
        ("anna's  laptop", "anna-s-laptop"),
        ("api@desk", "api-desk"),
        ("bücher", "bucher"),
        ("\u0430pi", "pi"),
        ("\u202eevil\x1b[31m", "U-202E-evil-U-001B-31m"),
        ("-.-", "device"),
        ("", "device"),
        ("\u65e5\u672c", "device"),
        ("x" * 100, "x" * (DEVICE_NAME_CHARS - 1)),
    ],
)
def test_labels(name: str, label: str) -> None:
    assert label_of(name) == label


@given(st.text())
def test_a_label_can_stand_in_an_address(name: str) -> None:
    label = label_of(name)
    assert 0 < len(label) <= DEVICE_NAME_CHARS
    assert label.isascii()
    assert label.isprintable()
    assert not set(label) & set("@ :,/\\'\"|<>[]")
    assert label_of(label) == label
