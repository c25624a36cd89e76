"""The list of words keeps the rules that its docstring gives."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from string import ascii_lowercase

from coterie.words import LETTERS, by_start, words


def slips(word: str) -> Iterator[str]:
    """What one slip of the finger makes of a word."""
    for at in range(len(word) + 1):
        yield from (word[:at] + letter + word[at:] for letter in ascii_lowercase)
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]
        yield word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
        yield from (word[:at] + letter + word[at + 1 :] for letter in ascii_lowercase)


def test_there_are_2048_in_order() -> None:
    assert len(words()) == 2048 == len(set(words()))
    assert list(words()) == sorted(words())


def test_each_has_four_to_seven_letters() -> None:
    assert [word for word in words() if not re.fullmatch("[a-z]{4,7}", word)] == []


def test_four_letters_tell_which() -> None:
    assert len(by_start()) == 2048
    assert [words()[place] for place in by_start().values()] == list(words())
    assert all(words()[place].startswith(start) and len(start) == LETTERS for start, place in by_start().items())


def test_no_slip_makes_one_of_them_another() -> None:
    listed = set(words())
    assert [(word, other) for word in words() for other in slips(word) if other != word and other in listed] == []


def test_a_slip_is_each_kind() -> None:
    assert {"cat", "carts", "card", "crat"} <= set(slips("cart"))
    assert not {"car-t", "ca", "carton", "tarc"} & set(slips("cart"))


def test_none_is_hexadecimal() -> None:
    assert [word for word in words() if set(word) <= set("abcdef")] == []


def test_the_list_never_changes() -> None:
    """Another list would be another version of the format."""
    digest = hashlib.sha256("\n".join(words()).encode()).hexdigest()
    assert digest == "28ff93ba544367c9bc5d4001d76943a004dbf50b7e5fb4bbc38f698955b38834"
