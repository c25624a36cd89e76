"""How keys and secrets are spelled for people, and the symbol that catches a slip of the finger.

The alphabet is base32 of RFC 4648, section 6. A check symbol is a weighted sum over the field with as many elements as
there are symbols: every weight is another power of the field's generator, so a single wrong symbol and two exchanged
ones always change the sum.
"""

from __future__ import annotations

from collections.abc import Sequence

BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LOOKALIKES = str.maketrans("018", "OIB")
"""Digits that base32 does without, and the letters that they are taken for."""

_POLYNOMIALS = {4: 0x13, 5: 0x25, 11: 0x805}
"""Primitive polynomials: x^4+x+1, x^5+x^2+1, x^11+x^2+1; x generates every element but zero."""


def check_symbol(values: Sequence[int], bits: int, seed: int) -> int:
    """The check of symbols of `bits` bits each (4, 5 or 11); fewer than 2**bits - 1 of them.

    `seed` is what else must agree, such as the version of a format: another one gives another check.
    """
    size, polynomial = 1 << bits, _POLYNOMIALS[bits]
    assert len(values) < size - 1, "two symbols would have the same weight"
    total, weight = seed % size, 1
    for value in values:
        weight = _times_x(weight, size, polynomial)
        total ^= _product(value, weight, size, polynomial)
    return total


def _times_x(value: int, size: int, polynomial: int) -> int:
    value <<= 1
    return value ^ polynomial if value & size else value


def _product(left: int, right: int, size: int, polynomial: int) -> int:
    product = 0
    while right:
        if right & 1:
            product ^= left
        left, right = _times_x(left, size, polynomial), right >> 1
    return product


def base32(data: bytes) -> str:
    """Bytes in base32, without padding; the last symbol is filled up with zeros."""
    bits = len(data) * 8
    symbols = -(-bits // 5)
    number = int.from_bytes(data, "big") << (symbols * 5 - bits)
    return "".join(BASE32[number >> 5 * place & 31] for place in reversed(range(symbols)))


def symbols(text: str) -> list[int] | None:
    """What base32 symbols stand for, in any case, with 0, 1 and 8 read as what they look like; None if one is none."""
    if not text.isascii():  # Some letters of other scripts become one of ours, or two, in upper case.
        return None
    values = [BASE32.find(letter) for letter in text.upper().translate(_LOOKALIKES)]
    return None if -1 in values else values


def grouped(text: str, size: int) -> str:
    """`text` in groups, a dash between two."""
    return "-".join(text[start : start + size] for start in range(0, len(text), size))
