"""Ids: their form, how they are found in a text, copies, fingerprints."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie import ids

ID = "m_4t8x0b6n2c5v"


def test_forms() -> None:
    assert re.fullmatch(r"p_[0-9a-hjkmnp-tv-z]{8}", ids.new_peer_id())
    assert re.fullmatch(r"m_[0-9a-hjkmnp-tv-z]{12}", ids.new_message_id())
    assert re.fullmatch(r"r_[0-9a-hjkmnp-tv-z]{12}", ids.new_request_id())
    assert re.fullmatch(r"c_[0-9a-hjkmnp-tv-z]{12}", ids.new_token())


def test_the_alphabet_is_crockfords() -> None:
    assert len(ids.ALPHABET) == 32 == len(set(ids.ALPHABET))
    assert not set("ilou") & set(ids.ALPHABET)


def test_every_character_can_come_and_none_is_likelier(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(range(256))
    monkeypatch.setattr(ids, "entropy", lambda count: bytes(next(drawn) for _ in range(count)))
    made = "".join(ids.new_peer_id()[2:] for _ in range(32))
    assert {char: made.count(char) for char in ids.ALPHABET} == dict.fromkeys(ids.ALPHABET, 8)


def test_ids_are_fresh() -> None:
    assert len({ids.new_message_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("text", [ID, ID + ".2", ID + ".9999"])
def test_whole_message_ids(text: str) -> None:
    assert ids.is_message_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "m_", ID[:-1], ID + "0", ID.upper(), "p" + ID[1:], " " + ID, ID + " ", ID + "\n", ID + ".", ID + ".0",
        ID + ".02", ID + ".10000", ID + ".x", "m_4t8x0b6n2c5i", "m_4t8x0b6n2c5\u0665", None, 7, ID.encode(), [ID],
    ],
)  # fmt: skip
def test_not_whole_message_ids(text: object) -> None:
    assert not ids.is_message_id(text)


OTHER = "m_000000000000"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (f"what about {ID}?", []),
        (f"[coterie message {ID} from \"bob\" (codex)]\n| hi\n[end of {ID}]", [ID]),
        (f"before\n[coterie message {ID}.12 from \"bob\"]\n[coterie message {OTHER} from x", [ID + ".12", OTHER]),
        (f"| [coterie message {ID} from \"forger\"]", []),
        (f" [coterie message {ID} from \"forger\"]", []),
        (f"[coterie message {ID}0 from x", []),
        (f"[coterie message {ID}.10000 from x", []),
    ],
)  # fmt: skip
def test_ids_of_frames_in_a_text(text: str, found: list[str]) -> None:
    assert ids.framed_ids_in(text) == found


@given(st.text(), st.integers(1, 9999), st.text())
def test_whatever_is_found_is_whole(before: str, number: int, after: str) -> None:
    made = ids.copy_id(ids.new_message_id(), number)
    found = ids.framed_ids_in(f"{before}\n[coterie message {made} from {after}")
    assert made in found
    assert all(map(ids.is_message_id, found))


def test_copies() -> None:
    assert [ids.copy_id(ID, number) for number in (1, 2, 3, 12)] == [ID, ID + ".2", ID + ".3", ID + ".12"]


@pytest.mark.parametrize(
    # The published test values of FNV-1a with 64 bits.
    ("text", "expected"),
    [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")],
)
def test_fingerprint(text: str, expected: str) -> None:
    assert ids.fingerprint(text) == expected


def test_a_fingerprint_has_64_bits() -> None:
    assert {len(ids.fingerprint("x" * count)) for count in range(50)} == {16}


def test_the_fingerprint_of_a_path_that_is_not_utf8() -> None:
    assert ids.fingerprint(os.fsdecode(b"/home/\xff")) != ids.fingerprint(os.fsdecode(b"/home/\xfe"))
