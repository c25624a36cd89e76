"""Devices: how an id is spelled and read, rights, labels."""

from __future__ import annotations

import hashlib
import random
import re
from string import ascii_uppercase, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.devices import (
    AFTER_PAIRING,
    Device,
    Grant,
    Standing,
    device_id,
    free_label,
    grants_in,
    known_grants,
    read_id,
    short,
    shown,
)
from coterie.errors import BadInput

FINGERPRINT = hashlib.sha256(b"a certificate").digest()
ID = device_id(FINGERPRINT)
LIKE = str.maketrans("018", "OIB")


def device(name: str, **fields: object) -> Device:
    return Device(ID, name, b"", **fields)  # type: ignore[arg-type]


def test_an_id_is_the_fingerprint_in_base32_with_four_checks() -> None:
    assert re.fullmatch("[A-Z2-7]{56}", ID)
    assert ID == "QGWNOYQUB6TJFFIKCQIWS7PSNY3S2UXSVFAH3IVM3L6LLXNBOX6JWMQ4"


def test_it_is_shown_in_groups() -> None:
    assert re.fullmatch("([A-Z2-7]{7}-){7}[A-Z2-7]{7}", shown(ID))
    assert short(ID) == shown(ID).partition("-")[0]


@given(st.binary(min_size=32, max_size=32))
def test_what_is_shown_is_read(fingerprint: bytes) -> None:
    made = device_id(fingerprint)
    assert read_id(made) == read_id(shown(made)) == read_id(f" {shown(made).lower()}\n".replace("-", " ")) == made


def test_lookalikes_are_read() -> None:
    typed = ID.replace("O", "0").replace("I", "1").replace("B", "8")
    assert typed != ID
    assert read_id(typed) == ID


def test_every_wrong_symbol_is_caught_and_its_place_named() -> None:
    for at in range(len(ID)):
        for other in ascii_uppercase + digits:
            changed = ID[:at] + other + ID[at + 1 :]
            if changed.translate(LIKE) == ID:
                assert read_id(changed) == ID
            else:
                with pytest.raises(BadInput) as caught:
                    read_id(changed)
                assert other == "9" or str(at // 7 + 1) in caught.value.hint


def test_every_exchange_of_neighbours_is_caught() -> None:
    for at in range(len(ID) - 1):
        changed = ID[:at] + ID[at + 1] + ID[at] + ID[at + 2 :]
        if changed != ID:
            with pytest.raises(BadInput):
                read_id(changed)


@pytest.mark.parametrize("text", ["", ID[:-1], ID + "A", "laptop", ID[:-1] + "9", ID[:-1] + "=", "x" * 10_000])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(BadInput, match="is no device id") as caught:
        read_id(text)
    assert len(caught.value.message) < 120


def test_other_fingerprints_have_other_ids() -> None:
    rng = random.Random(1)
    assert len({device_id(rng.randbytes(32)) for _ in range(500)}) == 500


def test_what_it_may_do() -> None:
    one = device("laptop")
    assert {grant for grant in Grant if one.may(grant)} == AFTER_PAIRING == {Grant.SEE, Grant.MESSAGE}
    one.grants |= {Grant.TASK}
    assert one.may(Grant.TASK)
    assert not one.may(Grant.EXEC)


def test_a_forgotten_device_may_nothing() -> None:
    assert not any(device("laptop", standing=Standing.FORGOTTEN, grants=frozenset(Grant)).may(grant) for grant in Grant)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", set()),
        ("see", {Grant.SEE}),
        ("Task, EXEC", {Grant.TASK, Grant.EXEC}),
        (" see,message task\nsee ", {Grant.SEE, Grant.MESSAGE, Grant.TASK}),
    ],
)
def test_grants_in(text: str, found: set[Grant]) -> None:
    assert grants_in(text) == found


@pytest.mark.parametrize("text", ["root", "see;exec", "see exe", "sée"])
def test_what_is_no_right(text: str) -> None:
    with pytest.raises(BadInput, match="is no right") as caught:
        grants_in(text)
    assert caught.value.hint == "one of: see, message, task, exec, knowledge"


def test_free_label() -> None:
    here = [device("laptop"), device("Desk"), device("desk-2"), device("old", standing=Standing.FORGOTTEN)]
    assert [free_label(wish, here) for wish in ("phone", "LAPTOP", "desk", "old")] == [
        "phone",
        "LAPTOP-2",
        "desk-3",
        "old",
    ]


def test_a_right_that_only_a_newer_release_knows_is_none() -> None:
    assert known_grants(["see", "teleport", "exec", ""]) == {Grant.SEE, Grant.EXEC}
    assert known_grants([]) == frozenset()
