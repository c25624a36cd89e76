"""Base32 and the check symbol, against another way of counting and against the standard library."""

from __future__ import annotations

import base64
import random
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.spelling import BASE32, base32, check_symbol, grouped, symbols

POLYNOMIALS = {4: 0b1_0011, 5: 0b10_0101, 11: 0b1000_0000_0101}


def powers(bits: int) -> list[int]:
    """Every power of x, one after the other: long division, and no trick."""
    found = [1]
    while len(found) < 2**bits - 1:
        doubled = found[-1] * 2
        found.append(doubled ^ POLYNOMIALS[bits] if doubled >= 2**bits else doubled)
    return found


def by_logarithms(values: list[int], bits: int, seed: int) -> int:
    """The check, counted with tables of logarithms."""
    power = powers(bits)
    log = {value: place for place, value in enumerate(power)}
    total: int = seed % 2**bits
    for place, value in enumerate(values, start=1):
        if value:
            total ^= power[(log[value] + place) % len(power)]
    return total


@pytest.mark.parametrize("bits", [4, 5, 11])
def test_x_generates_every_element_but_zero(bits: int) -> None:
    assert set(powers(bits)) == set(range(1, 2**bits))


@pytest.mark.parametrize("bits", [4, 5, 11])
def test_the_check_is_a_sum_with_powers_as_weights(bits: int) -> None:
    rng = random.Random(bits)
    for _ in range(50):
        values = [rng.randrange(2**bits) for _ in range(rng.randrange(min(200, 2**bits - 1)))]
        assert check_symbol(values, bits, 7) == by_logarithms(values, bits, 7)


@pytest.mark.parametrize("bits", [4, 5])
def test_every_wrong_symbol_is_caught(bits: int) -> None:
    size = 2**bits
    values = [(3 * place + 1) % size for place in range(size - 2)]
    right = check_symbol(values, bits, 1)
    for place, other in product(range(len(values)), range(size)):
        changed = [*values[:place], other, *values[place + 1 :]]
        assert (check_symbol(changed, bits, 1) == right) == (changed == values)


@pytest.mark.parametrize("bits", [4, 5])
def test_every_exchange_is_caught_with_the_check_itself_too(bits: int) -> None:
    size = 2**bits
    values = [(7 * place + 2) % size for place in range(size - 2)]
    whole = [*values, check_symbol(values, bits, 1)]
    for left, right in combinations(range(len(whole)), 2):
        changed = list(whole)
        changed[left], changed[right] = whole[right], whole[left]
        fits = check_symbol(changed[:-1], bits, 1) == changed[-1]
        assert fits == (whole[left] == whole[right])


@pytest.mark.parametrize("bits", [4, 5, 11])
def test_another_seed_is_another_check(bits: int) -> None:
    assert len({check_symbol([1, 2, 3], bits, seed) for seed in range(2**bits)}) == 2**bits


def test_no_two_symbols_may_have_one_weight() -> None:
    check_symbol([1] * 14, 4, 1)
    with pytest.raises(AssertionError):
        check_symbol([1] * 15, 4, 1)


@given(st.binary(max_size=64))
def test_base32_is_that_of_the_standard(data: bytes) -> None:
    assert base32(data) == base64.b32encode(data).decode().rstrip("=")


@given(st.lists(st.integers(0, 31)))
def test_symbols_are_read_in_any_case(values: list[int]) -> None:
    text = "".join(BASE32[value] for value in values)
    assert symbols(text) == symbols(text.lower()) == values


def test_lookalikes() -> None:
    assert symbols("018") == symbols("OIB") == symbols("oib")


@pytest.mark.parametrize("text", ["9", "A9", "A-B", " A", "Ä", "\u0660", "\u0131", "\u00df", "="])
def test_what_is_no_symbol(text: str) -> None:
    assert symbols(text) is None


@pytest.mark.parametrize(("text", "size", "shown"), [("", 3, ""), ("AB", 3, "AB"), ("ABCDEFG", 3, "ABC-DEF-G")])
def test_grouped(text: str, size: int, shown: str) -> None:
    assert grouped(text, size) == shown
