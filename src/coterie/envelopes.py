"""What goes from one device to another: a message, who wrote it, and how it came about; read strictly, since whoever
sends it is trusted with nothing.

An envelope is signed by the device that it comes from, so that whatever carries it need not be trusted. Signed are the
bytes of `canonical`: the known members, in one order. Those that are not known are a newer release's, and passed over.

Only durations cross: a message that may wait for an hour and is ten minutes old waits fifty minutes more, whatever
either clock says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from coterie.devices import ID_CHARS
from coterie.errors import BadInput
from coterie.frames import text_bytes
from coterie.ids import ALPHABET, MESSAGE_CHARS, is_message_id
from coterie.jsonline import encode
from coterie.limits import DAY_S, MESSAGE_BYTES_MAX, MESSAGE_LIFE_MAX_S, MESSAGE_LIFE_MIN_S, NAME_CHARS_MAX

Json = dict[str, Any]

VERSION = 1
"""Of an envelope. A newer one may mean something else by its members, and is refused."""
SIGNED = b"coterie envelope 1\n"
"""Begins what is signed: a signature for anything else is none for an envelope."""
SIGNATURE_BYTES = 64
"""Ed25519, RFC 8032, section 5.1.6."""
PATH_MAX = 32
"""Peers on one path. HOPS_MAX is 3; a person may set it higher, and nobody sets it so high."""
AGE_MAX_S = 400 * DAY_S
"""The greatest age that makes sense: no message lives so long."""
_STEP = re.compile(r"[A-Z2-7]{7}:p_[0-9a-z]{1,32}")
_PEER = re.compile(r"p_[0-9a-z]{1,32}")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,19}")
_DEVICE = re.compile(rf"[A-Z2-7]{{{ID_CHARS}}}")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message on its way to another device. Ids are those of the device that it comes from, but for `to`."""

    id: str
    origin: str
    """The device that it comes from."""
    to: str
    """The recipient, as its own device names it."""
    sender: str
    name: str
    kind: str
    thread: str
    reply_to: str | None
    text: str
    life_s: float
    """How long it may wait in all."""
    path: tuple[str, ...] = ()
    """The peers that passed it on, each behind the first group of its device's id and a colon."""
    hops: int = 0


@dataclass(frozen=True, slots=True)
class Posted:
    """An envelope as it was sent this time."""

    envelope: Envelope
    signature: bytes
    age_s: float
    after: str | None = None
    """The envelope before it, of the same sender and recipient, if that is not confirmed yet."""


def to_wire(envelope: Envelope) -> Json:
    """The members of an envelope, in the order in which they are signed."""
    return {
        "v": VERSION,
        "id": envelope.id,
        "origin": envelope.origin,
        "to": envelope.to,
        "from": {"id": envelope.sender, "name": envelope.name, "kind": envelope.kind},
        "thread": envelope.thread,
        "reply_to": envelope.reply_to,
        "text": envelope.text,
        "life_s": float(envelope.life_s),
        "path": list(envelope.path),
        "hops": envelope.hops,
    }


def canonical(envelope: Envelope) -> bytes:
    """What is signed of an envelope."""
    return SIGNED + encode(to_wire(envelope))


def frame(posted: Posted) -> Json:
    """The fields of the frame that carries an envelope."""
    return {
        "age_s": posted.age_s,
        "after": posted.after,
        "envelope": to_wire(posted.envelope),
        "signature": posted.signature.hex(),
    }


# --- reading -----------------------------------------------------------------------------------------------------


class NewerEnvelope(BadInput):
    """Of a version that this release does not know. It is refused, and breaks no rule."""

    def __init__(self, envelope: str) -> None:
        super().__init__("an envelope of a newer release")
        self.envelope = envelope
        """Its id."""


def read(sent: Json) -> Posted:
    """What a frame carries. Raises `BadInput` if anything in it is not as it must be; the words name the member and
    repeat nothing of it.
    """
    inside = sent.get("envelope")
    if not isinstance(inside, dict):
        raise _bad("envelope")
    after = sent.get("after")
    return Posted(
        envelope=_envelope(inside),
        signature=_signature(sent.get("signature")),
        age_s=_number(sent, "age_s", 0.0, AGE_MAX_S),
        after=None if after is None else _message(sent, "after"),
    )


def _envelope(inside: Json) -> Envelope:
    message = _message(inside, "id")
    version = inside.get("v")
    if not isinstance(version, int) or isinstance(version, bool) or version < VERSION:
        raise _bad("v")
    if version > VERSION:
        raise NewerEnvelope(message)
    sender = inside.get("from")
    if not isinstance(sender, dict):
        raise _bad("from")
    return Envelope(
        id=message,
        origin=_matching(inside, "origin", _DEVICE),
        to=_matching(inside, "to", _PEER),
        sender=_matching(sender, "id", _PEER),
        name=_text(sender, "name", NAME_CHARS_MAX),
        kind=_matching(sender, "kind", _KIND),
        thread=_message(inside, "thread"),
        reply_to=None if inside.get("reply_to") is None else _message(inside, "reply_to"),
        text=_body(inside),
        life_s=_number(inside, "life_s", MESSAGE_LIFE_MIN_S, MESSAGE_LIFE_MAX_S),
        path=_path(inside.get("path")),
        hops=int(_number(inside, "hops", 0, PATH_MAX)),
    )


def _bad(member: str) -> BadInput:
    return BadInput(f"{member} of an envelope is not as it must be")


def _text(members: Json, member: str, chars: int) -> str:
    value = members.get(member)
    if not isinstance(value, str) or not 0 < len(value) <= chars:
        raise _bad(member)
    return value


def _matching(members: Json, member: str, pattern: re.Pattern[str]) -> str:
    value = members.get(member)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _bad(member)
    return value


def _message(members: Json, member: str) -> str:
    value = members.get(member)
    if not is_message_id(value):
        raise _bad(member)
    return str(value)


def _number(members: Json, member: str, least: float, most: float) -> float:
    value = members.get(member)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise _bad(member)
    return float(value)


def _body(inside: Json) -> str:
    text = inside.get("text")
    # A character takes a byte at least, so most of what is too long is refused without looking at it.
    if not isinstance(text, str) or len(text) > MESSAGE_BYTES_MAX or text_bytes(text) > MESSAGE_BYTES_MAX:
        raise _bad("text")
    return text


def _path(path: object) -> tuple[str, ...]:
    if not isinstance(path, list) or len(path) > PATH_MAX:
        raise _bad("path")
    if not all(isinstance(step, str) and _STEP.fullmatch(step) for step in path):
        raise _bad("path")
    return tuple(path)


def _signature(value: object) -> bytes:
    if not isinstance(value, str) or len(value) != SIGNATURE_BYTES * 2:
        raise _bad("signature")
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise _bad("signature") from None


# --- receipts ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    """How far a message got on the device of its recipient. It carries no words of that device: what its origin says of
    it are its own.
    """

    id: str
    """As the device names it that it comes from."""
    state: str
    carrier: str = ""
    n: int = 0
    """Of two receipts for one message the one with the greater number is the newer."""


RECEIPTS_MAX = 200
"""Receipts in one frame, and ids in one confirmation: 16 KiB."""
_NUMBER_MAX = 1 << 40


def receipts_to_wire(receipts: Sequence[Receipt]) -> list[Json]:
    """The receipts of a frame."""
    return [{"id": r.id, "state": r.state, "carrier": r.carrier, "n": r.n} for r in receipts]


def read_receipts(sent: Json, states: Sequence[str], carriers: Sequence[str]) -> list[Receipt]:
    """The receipts in a frame. Raises `BadInput`. A state or a carrier that is not among these is a newer release's."""
    found = sent.get("receipts")
    if not isinstance(found, list) or len(found) > RECEIPTS_MAX or not all(isinstance(one, dict) for one in found):
        raise _bad("receipts")
    return [_receipt(one, carriers) for one in found if one.get("state") in states]


def _receipt(one: Json, carriers: Sequence[str]) -> Receipt:
    carrier = str(one.get("carrier"))
    n = int(_number(one, "n", 0, _NUMBER_MAX))
    return Receipt(_message(one, "id"), str(one["state"]), carrier if carrier in carriers else "", n)


def read_ids(sent: Json, member: str) -> list[str]:
    """A list of message ids in a frame; one that is not there is empty. Raises `BadInput`."""
    found = sent.get(member, [])
    if not isinstance(found, list) or len(found) > RECEIPTS_MAX or not all(is_message_id(one) for one in found):
        raise _bad(member)
    return found


def read_noted(sent: Json, states: Sequence[str]) -> list[tuple[str, str]]:
    """The receipts that a frame says are known: message and state. Raises `BadInput`."""
    found = sent.get("receipts")
    if not isinstance(found, list) or len(found) > RECEIPTS_MAX:
        raise _bad("receipts")
    for one in found:
        if not (isinstance(one, list) and len(one) == 2 and is_message_id(one[0]) and isinstance(one[1], str)):
            raise _bad("receipts")
    return [(message, state) for message, state in found if state in states]


# --- what things of elsewhere are called here ----------------------------------------------------------------------


def local_id(device: str, envelope: str) -> str:
    """What a message of a device is called here if its own id is taken."""
    digest = sha256(f"{device}\n{envelope}".encode()).digest()
    return "m_" + "".join(ALPHABET[byte & 31] for byte in digest[:MESSAGE_CHARS])
