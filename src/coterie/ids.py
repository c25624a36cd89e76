"""Ids of peers and messages, and the ways a person may shorten them. This module is light.

An id is a letter that says what it names, an underscore, and random characters of Crockford's base32 alphabet in
lower case (no i, l, o, u, so that it can be read aloud): ``p_7f3k9q2m`` a peer, ``m_4t8x0b6n2c5v`` a message.
The sender of a message makes its id, before the first try; twelve characters are 60 bits, and a collision within a
million messages has a chance of one in two million.
"""

from __future__ import annotations

import os
import re

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PEER_CHARS = 8
MESSAGE_CHARS = 12

NUDGE = "Not written by your user."
"""Stands in every nudge, so that a hook knows a prompt that we made."""

_MESSAGE = re.compile(rf"m_[{ALPHABET}]{{{MESSAGE_CHARS}}}(\.[1-9][0-9]{{0,3}})?")
_FRAMED = re.compile(
    rf"^\[coterie message (m_[{ALPHABET}]{{{MESSAGE_CHARS}}}(?:\.[1-9][0-9]{{0,3}})?) from ", re.MULTILINE
)


entropy = os.urandom
"""Where randomness comes from; a simulator puts a seeded source in its place."""


def _random(chars: int) -> str:
    return "".join(ALPHABET[byte & 31] for byte in entropy(chars))


def new_peer_id() -> str:
    """A fresh peer id."""
    return "p_" + _random(PEER_CHARS)


def new_message_id() -> str:
    """A fresh message id; it also serves as the id of a thread that the message begins."""
    return "m_" + _random(MESSAGE_CHARS)


def new_request_id() -> str:
    """A fresh id of something that a device asks of another."""
    return "r_" + _random(MESSAGE_CHARS)


def new_token() -> str:
    """A name for one call of one client, so that a call sent again after a restart is recognised."""
    return "c_" + _random(MESSAGE_CHARS)


def is_message_id(text: object) -> bool:
    """Whether `text` is a whole message id; copies to further recipients end in ``.2``, ``.3`` and so on."""
    return isinstance(text, str) and _MESSAGE.fullmatch(text) is not None


def framed_ids_in(text: str) -> list[str]:
    """The ids of the messages whose frames stand in `text`. A frame that a peer wrote into its own text is quoted, so
    it does not begin its line and does not count.
    """
    found: list[str] = _FRAMED.findall(text)
    return found


def copy_id(send_id: str, number: int) -> str:
    """The id of the `number`-th copy (from 1) of one send; the first copy has the id of the send itself."""
    return send_id if number == 1 else f"{send_id}.{number}"


def fingerprint(text: str) -> str:
    """A short name for a path, as FNV-1a with 64 bits. It guards nothing: it only keeps two homes apart."""
    value = 0xCBF29CE484222325
    for byte in text.encode("utf-8", "surrogateescape"):
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return f"{value:016x}"
