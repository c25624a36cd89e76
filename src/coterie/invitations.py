"""Invitations: how a one-time secret, and where to bring it, is spelled for people, and read again.

    code   ABC-DEF-GHI-JKL-MNO            IPv4 address, port, 22 bits of secret, a check
    words  nine of 2,048                  IPv4 address, port, 40 bits, a check
    link   coterie://name@host:port/k/... any addresses, 64 bits, the fingerprint of the certificate, two checks
    raw    0123-4567-89ab-cdef            56 bits, two checks; the address is told apart from it

`docs/invitations.md` has the bits. The four cannot be mistaken for each other: a link has a scheme, nine words have 36
letters or more, a raw code has 16 hexadecimal digits and nothing else, a code 15 symbols, one of which at least is a
letter that is neither a digit nor looks like one. So a character too many or too few does not make one the other.

Whoever invites reads what it spelled, and has the secret from there. No error here repeats what was typed: it is a
secret, and errors are logged. Only a word that is on no list is answered with words like it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from functools import cache

from coterie.endpoints import PORT_MAX, Endpoint, address, parse_address
from coterie.errors import BadInput
from coterie.limits import DEVICE_NAME_CHARS
from coterie.spelling import BASE32, base32, check_symbol, grouped, symbols
from coterie.words import LETTERS, by_start, words

VERSION = 1
"""Of the formats. Every check is seeded with it, so that no other version reads what this one spelled."""

CODE_CHARS = 15
RAW_CHARS = 16
WORDS = 9
LINK_ADDRESSES_MAX = 8
"""A machine has an address or two a network; a joiner tries each."""
TEXT_CHARS_MAX = 2_000
"""The longest link takes 900 or so. A check can tell 2,046 places apart."""

_FINGERPRINT_BYTES = 32
_WORD_BITS = 11
_LINK_CHECKS = 5
_ADDRESS_BITS = 48

_SCHEME = "coterie://"
_LINK = re.compile(r"coterie://([a-z0-9._-]+)@([^/@]+)/k/([a-z0-9]{64})-([a-z0-9]{5})")
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_AROUND = " \t\r\n<>()\"'`.,;:"
_APART = re.compile(r"[\s.,_-]+")
_ALIKE = {
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00b7\u2022"), "-"),
    **dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"), None),
}
"""What chat programs and word processors make of a dash, and what they put between letters that nobody sees."""

_HEX = "0123456789abcdef"
_LIKE_HEX = frozenset("ABCDEFOI234567")
"""Symbols of a code that are hexadecimal digits, or typed for one."""
_ZERO_BITS = 7
"""The last symbol of a code of claudectl has three bits too many, which are zero."""

_ASK = "get another on the other device: coterie relay invite"


class Form(StrEnum):
    """The four spellings."""

    CODE = "code"
    WORDS = "words"
    LINK = "link"
    RAW = "raw"


_SECRET_BITS = {Form.CODE: 22, Form.WORDS: 40, Form.LINK: 64, Form.RAW: 56}


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an invitation says."""

    form: Form
    secret: bytes = field(repr=False)
    """`secret_bytes` of them. What goes into the PAKE is `pairing.password` of it, of which the form is part."""
    addresses: tuple[Endpoint, ...] = ()
    """Where the inviter listens, the best first. A raw code has none."""
    fingerprint: bytes | None = None
    """SHA-256 of the inviter's certificate; a link alone has it."""
    name: str = ""
    """What the inviter calls itself, in a link; it proves nothing."""


def secret_bytes(form: Form) -> int:
    """How many random bytes a secret of this form is made of. Of a code's three the first two bits are not used."""
    return -(-_SECRET_BITS[form] // 8)


def read(text: str) -> Invitation:
    """What somebody typed, pasted or scanned. Raises `BadInput`: what is wrong with it, and what to do."""
    if len(text) > TEXT_CHARS_MAX:
        raise BadInput("that is too long for an invitation", _ASK)
    plain = text.translate(_ALIKE).strip(_AROUND)
    if "cctl:" in plain.lower():
        raise _claudectl("a link")
    if ":" in plain or "/" in plain:
        return _read_link("".join(plain.split()))
    tokens = [token for token in _APART.split(plain) if token]
    return _read_tokens(tokens, "".join(tokens))


def _read_tokens(tokens: list[str], joined: str) -> Invitation:
    if not joined:
        raise BadInput("there is no invitation", _ASK)
    if not (joined.isascii() and joined.isalnum()):
        raise BadInput("that has characters in it that no invitation has", _ASK)
    if len(tokens) > 1 and all(map(_is_word, tokens)):
        return _read_words(tokens)
    if len(joined) == CODE_CHARS:
        return _read_code(joined.upper())
    if len(joined) == RAW_CHARS:
        return _read_raw(joined.lower())
    if len(joined) > RAW_CHARS + LETTERS:
        return _read_words(tokens)
    raise BadInput(
        f"that has {len(joined)} letters and digits",
        f"a relay code has {CODE_CHARS}, a raw code {RAW_CHARS}, and a phrase {WORDS} words",
    )


def _claudectl(what: str) -> BadInput:
    return BadInput(f"that looks like {what} of claudectl, which cannot work here", _ASK)


# --- The secret ------------------------------------------------------------------------------------------------------


def _number(form: Form, secret: bytes) -> int:
    assert len(secret) == secret_bytes(form), "the caller draws as many bytes as `secret_bytes` says"
    return int.from_bytes(secret, "big") & (1 << _SECRET_BITS[form]) - 1


def _bytes(form: Form, number: int) -> bytes:
    return number.to_bytes(secret_bytes(form), "big")


def _mask(form: Form, number: int) -> int:
    """What hides the address from a glance: whoever has the whole text has the secret, and so the mask."""
    drawn = hashlib.sha256(f"coterie invitation {VERSION} {form} ".encode() + _bytes(form, number)).digest()
    return int.from_bytes(drawn, "big") & (1 << _ADDRESS_BITS) - 1


def _packed(form: Form, place: int, number: int) -> int:
    return (place ^ _mask(form, number)) << _SECRET_BITS[form] | number


def _unpacked(form: Form, packed: int) -> Invitation:
    """Raises `BadInput` if there is no such address: then the check let a slip through."""
    number = packed & (1 << _SECRET_BITS[form]) - 1
    place = packed >> _SECRET_BITS[form] ^ _mask(form, number)
    host, port = ".".join(map(str, (place >> 16).to_bytes(4, "big"))), place & PORT_MAX
    if not _reachable(host) or not port:
        raise BadInput("there is a slip in that invitation", f"compare it with the other screen, or {_ASK}")
    return Invitation(form, _bytes(form, number), ((host, port),))


def _reachable(host: str) -> bool:
    """Whether an IPv4 address can be one device's: not 0.x.x.x, multicast, or above."""
    return 0 < int(host.partition(".")[0]) < 224


def _place(ip: str, port: int, what: str) -> int:
    host, _ = parse_address(address(ip, port))
    if not re.fullmatch(r"[0-9.]+", host) or not _reachable(host):
        raise BadInput(f"{ip[:80]!r} does not fit into {what}", "it takes an IPv4 address; a link takes any address")
    return int.from_bytes(bytes(map(int, host.split("."))), "big") << 16 | port


def _split(number: int, places: int, bits: int) -> list[int]:
    return [number >> bits * place & (1 << bits) - 1 for place in reversed(range(places))]


def _joined(values: Sequence[int], bits: int) -> int:
    number = 0
    for value in values:
        number = number << bits | value
    return number


def _two_checks(values: Sequence[int], bits: int) -> tuple[int, int]:
    """Checks that two wrong symbols, wherever, cannot get past.

    The weights of the second are those of the first in reverse. The ratio of two places' weights in the one is the
    inverse of that in the other, and as the generator's order is odd, both are never the same.
    """
    return check_symbol(values, bits, VERSION), check_symbol(values[::-1], bits, VERSION)


# --- Relay code ------------------------------------------------------------------------------------------------------


def spell_code(ip: str, port: int, secret: bytes) -> str:
    """The relay code for an IPv4 address. Raises `BadInput` for another address.

    A secret whose code could be taken for hexadecimal digits (four in a million) gives way to the next one.
    """
    place, number = _place(ip, port, "a relay code"), _number(Form.CODE, secret)
    text = _code(place, number)
    while _LIKE_HEX.issuperset(text):
        number = number + 1 & (1 << _SECRET_BITS[Form.CODE]) - 1
        text = _code(place, number)
    return grouped(text, 3)


def _code(place: int, number: int) -> str:
    values = _split(_packed(Form.CODE, place, number), CODE_CHARS - 1, 5)
    return "".join(BASE32[value] for value in [*values, check_symbol(values, 5, VERSION)])


def _read_code(text: str) -> Invitation:
    values = symbols(text)
    if values is None:
        place = next(at for at, symbol in enumerate(text) if symbol not in BASE32 + "018")
        raise BadInput(f"group {place // 3 + 1} of that relay code has a 9 in it, which no code has", "look again")
    if _LIKE_HEX.issuperset(BASE32[value] for value in values):
        raise BadInput(
            f"that is no relay code, and for a raw code it has {CODE_CHARS} digits instead of {RAW_CHARS}",
            f"look at each group, or {_ASK}",
        )
    *data, check = values
    if check_symbol(data, 5, VERSION) != check:
        if _is_claudectls(values):
            raise _claudectl("a relay code")
        raise BadInput("there is a slip in that relay code", f"compare its five groups, or {_ASK}")
    return _unpacked(Form.CODE, _joined(data, 5))


def _is_claudectls(values: list[int]) -> bool:
    """Whether a code without our check has a private address in clear where claudectl's have the inviter's."""
    first, second = (_joined(values, 5) >> 75 - 16).to_bytes(2, "big")
    private = first == 10 or (first, second) == (192, 168) or (first == 172 and 16 <= second < 32)
    return private and not values[-1] & _ZERO_BITS


# --- Words -----------------------------------------------------------------------------------------------------------


def spell_words(ip: str, port: int, secret: bytes) -> str:
    """The word phrase for an IPv4 address. Raises `BadInput` for another address."""
    packed = _packed(Form.WORDS, _place(ip, port, "a word phrase"), _number(Form.WORDS, secret))
    values = _split(packed, WORDS - 1, _WORD_BITS)
    return "-".join(words()[value] for value in [*values, check_symbol(values, _WORD_BITS, VERSION)])


def _read_words(tokens: list[str]) -> Invitation:
    found = [by_start().get(token[:LETTERS].lower()) if token.isalpha() else None for token in tokens]
    values = [value for value in found if value is not None]
    if len(values) != len(tokens) or len(values) != WORDS:
        values = _run_together("".join(tokens).lower()) or _not_nine(tokens, found)
    *data, check = values
    if check_symbol(data, _WORD_BITS, VERSION) != check:
        raise BadInput(
            "each word is on the list, and together they do not fit",
            f"compare the nine and their order with the other screen, or {_ASK}",
        )
    return _unpacked(Form.WORDS, _joined(data, _WORD_BITS))


def _run_together(letters: str) -> list[int] | None:
    """Nine whole words with blanks inside words or none between them; None if they are not nine, or not whole.

    The first four letters decide which word comes, so there is one way to part them.
    """
    values: list[int] = []
    at = 0
    while at < len(letters) and len(values) <= WORDS:
        value = by_start().get(letters[at : at + LETTERS])
        if value is None or not letters.startswith(words()[value], at):
            return None
        values.append(value)
        at += len(words()[value])
    return values if len(values) == WORDS else None


def _is_word(token: str) -> bool:
    place = by_start().get(token[:LETTERS].lower())
    return place is not None and words()[place] == token.lower()


def _not_nine(tokens: list[str], found: list[int | None]) -> list[int]:
    if len(tokens) == WORDS and all(len(token) < LETTERS for token in tokens):
        raise _claudectl("a word phrase")
    if None in found:
        at = found.index(None)
        like = get_close_matches(tokens[at].lower()[:20], words(), n=3)
        hint = f"perhaps {', or '.join(like)}" if like else "look again"
        raise BadInput(f"word {at + 1} is not on the list", hint)
    raise BadInput(f"that is {len(tokens)} words, and a phrase has {WORDS}", "type them all, the first four letters do")


# --- Raw code --------------------------------------------------------------------------------------------------------


def spell_raw(secret: bytes) -> str:
    """The raw code: the secret alone."""
    values = _split(_number(Form.RAW, secret), RAW_CHARS - 2, 4)
    return grouped("".join(_HEX[value] for value in [*values, *_two_checks(values, 4)]), 4)


def _read_raw(text: str) -> Invitation:
    values = [_HEX.find(digit) for digit in text]
    if values.count(-1) > 2:
        raise BadInput(
            f"that has {RAW_CHARS} characters, too many for a relay code",
            f"a relay code has {CODE_CHARS}; a raw code has {RAW_CHARS}, of 0 to 9 and a to f",
        )
    if -1 in values:
        group = values.index(-1) // 4 + 1
        raise BadInput(f"group {group} of that raw code has a character that is none of 0 to 9, a to f", "look again")
    wrong = _syndrome(values)
    if wrong != (0, 0):
        look = f"look at group {_slips()[wrong] // 4 + 1} first" if wrong in _slips() else "compare its four groups"
        raise BadInput(
            "there is a slip in that raw code",
            f"{look}, or get another on the other device: coterie relay pair; one of claudectl cannot work here",
        )
    return Invitation(Form.RAW, _bytes(Form.RAW, _joined(values[:-2], 4)))


def _syndrome(values: Sequence[int]) -> tuple[int, int]:
    """What the checks should have been, and were not; (0, 0) if they fit. It depends on what is wrong alone."""
    first, second = _two_checks(values[:-2], 4)
    return first ^ values[-2], second ^ values[-1]


@cache
def _slips() -> dict[tuple[int, int], int]:
    """Which digit is wrong, if one alone is: each has syndromes of its own."""
    right = [0] * (RAW_CHARS - 2) + [*_two_checks([0] * (RAW_CHARS - 2), 4)]
    return {
        _syndrome([*right[:at], right[at] ^ error, *right[at + 1 :]]): at
        for at in range(RAW_CHARS)
        for error in range(1, 16)
    }


# --- Link ------------------------------------------------------------------------------------------------------------


def spell_link(name: str, addresses: Sequence[Endpoint], secret: bytes, fingerprint: bytes) -> str:
    """The link, for whoever scans or pastes. Raises `BadInput` for an address that is good on this device only."""
    assert 0 < len(addresses) <= LINK_ADDRESSES_MAX
    assert len(fingerprint) == _FINGERPRINT_BYTES
    label = _NO_NAME.sub("-", name).strip("-")[:DEVICE_NAME_CHARS] or "device"
    key = _bytes(Form.LINK, _number(Form.LINK, secret)) + fingerprint
    link = f"{_SCHEME}{label}@{','.join(map(_for_others, addresses))}/k/{base32(key).lower()}"
    return f"{link}-{_link_check(link.lower())}"


def _for_others(endpoint: Endpoint) -> str:
    text = address(*endpoint)
    if "%" in text:
        raise BadInput(f"{text[:80]!r} has a zone, which means something on this device only", "give another address")
    return address(*parse_address(text))


def _link_check(link: str) -> str:
    first, second = _two_checks(link.encode("ascii"), _WORD_BITS)
    return "".join(BASE32[value] for value in _split(first << _WORD_BITS | second, _LINK_CHECKS, 5)).lower()


def _read_link(text: str) -> Invitation:
    if not text.lower().startswith(_SCHEME):
        raise BadInput("that is no invitation", f"a link begins with {_SCHEME}; {_ASK}")
    found = _LINK.fullmatch(text.lower()) if text.isascii() else None
    key, check = (symbols(found[3]), symbols(found[4])) if found else (None, None)
    if not found or key is None or check is None:
        raise BadInput("that link is not whole, or has a slip in it", f"copy it from end to end, or {_ASK}")
    spelled = "".join(BASE32[value] for value in key).lower()
    if _link_check(text.lower()[: found.start(3)] + spelled) != "".join(BASE32[value] for value in check).lower():
        raise BadInput("there is a slip in that link", f"copy it again, or {_ASK}")
    data = _joined(key, 5).to_bytes(secret_bytes(Form.LINK) + _FINGERPRINT_BYTES, "big")
    secret, fingerprint = data[:-_FINGERPRINT_BYTES], data[-_FINGERPRINT_BYTES:]
    name = text[found.start(1) : found.end(1)][:DEVICE_NAME_CHARS]
    return Invitation(Form.LINK, secret, _endpoints(found[2]), fingerprint, name)


def _endpoints(text: str) -> tuple[Endpoint, ...]:
    listed = text.split(",")
    if len(listed) > LINK_ADDRESSES_MAX or "%" in text:
        raise BadInput("that link has addresses that cannot be used", _ASK)
    return tuple(map(parse_address, listed))
