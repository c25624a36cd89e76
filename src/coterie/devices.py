"""Devices: one user's daemon on one machine, known by its key; what each may do here, and how its id is spelled.

The id of a device is the SHA-256 of its certificate in base32, each thirteen symbols followed by a check. A name is a
label that the person of this device may change; it proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from coterie.errors import BadInput
from coterie.spelling import BASE32, base32, check_symbol, grouped, symbols

FINGERPRINT_BYTES = 32
ID_CHARS = 56
GROUP_CHARS = 7
_PART = 13
"""Symbols before a check: 52 make four parts."""
_SEED = 1
"""The version of the spelling."""


class Grant(StrEnum):
    """What a paired device may do here. Given by the person, never claimed."""

    SEE = "see"
    """Be told of the sessions here, as far as `relay.share` shows them."""
    MESSAGE = "message"
    """Write to them."""
    TASK = "task"
    """Have agents of this device work for it."""
    EXEC = "exec"
    """Run commands here."""
    KNOWLEDGE = "knowledge"
    """Exchange what was learned."""


AFTER_PAIRING = frozenset({Grant.SEE, Grant.MESSAGE})
"""What pairing itself gives; the rest is the person's to add."""


class Standing(StrEnum):
    """What a device is to this one."""

    PROVISIONAL = "provisional"
    """Paired, and no connection has proved both keys yet."""
    PAIRED = "paired"
    FORGOTTEN = "forgotten"
    """Its key is refused, for ever; pairing again makes it paired again."""


@dataclass(slots=True)
class Device:
    """Another device, as this one knows it."""

    id: str
    name: str
    """Its label here, unique among those not forgotten."""
    certificate: bytes
    """DER."""
    standing: Standing = Standing.PROVISIONAL
    grants: frozenset[Grant] = AFTER_PAIRING
    """What it may do here."""
    addresses: list[str] = field(default_factory=list)
    """Where it may be reached, as host:port, the best first."""
    dial: bool = False
    """Whether this side keeps a link to it."""
    paired_at: float = 0.0
    seen_at: float | None = None
    """When a link to it last lived."""
    theirs: frozenset[Grant] | None = None
    """What this device may do there, as it said last; None as long as it has not said so."""
    forgot_us: bool = False
    """Whether it said that it will have nothing to do with this device any more."""

    def may(self, grant: Grant) -> bool:
        """Whether the person gave it this right."""
        return self.standing is not Standing.FORGOTTEN and grant in self.grants


def device_id(fingerprint: bytes) -> str:
    """The id of the device whose certificate has this SHA-256."""
    assert len(fingerprint) == FINGERPRINT_BYTES
    text = base32(fingerprint)
    return "".join(part + _check(part) for part in (text[at : at + _PART] for at in range(0, len(text), _PART)))


def _check(part: str) -> str:
    return BASE32[check_symbol(symbols(part) or [], 5, _SEED)]


def shown(device: str) -> str:
    """A device id as people are shown it: eight groups of seven."""
    return grouped(device, GROUP_CHARS)


def short(device: str) -> str:
    """The first group: enough to tell one's own devices apart, and no proof of anything."""
    return device[:GROUP_CHARS]


def read_id(text: str) -> str:
    """The device id that somebody typed, in any case, with dashes or blanks. Raises `BadInput` at any slip."""
    values = symbols("".join(text.split()).replace("-", ""))
    if values is None or len(values) != ID_CHARS:
        raise BadInput(f"{text[:80]!r} is no device id", "it has eight groups of seven letters and digits")
    typed = "".join(BASE32[value] for value in values)
    for at in range(0, ID_CHARS, _PART + 1):
        if _check(typed[at : at + _PART]) != typed[at + _PART]:
            group = at // GROUP_CHARS + 1
            raise BadInput("that device id has a slip in it", f"look at groups {group} and {group + 1}")
    return typed


def known_grants(words: Iterable[str]) -> frozenset[Grant]:
    """The rights among words. One that a newer release gave and this one does not know is none here."""
    known = {grant.value: grant for grant in Grant}
    return frozenset(known[word] for word in words if word in known)


def grants_in(text: str) -> frozenset[Grant]:
    """The rights that words name, with commas or blanks. Raises `BadInput` for one that is none."""
    wanted = set()
    for word in text.replace(",", " ").split():
        if word.lower() not in list(Grant):
            raise BadInput(f"{word[:40]!r} is no right", f"one of: {', '.join(Grant)}")
        wanted.add(Grant(word.lower()))
    return frozenset(wanted)


def free_label(wish: str, devices: Iterable[Device]) -> str:
    """`wish`, or the first of wish-2, wish-3... that no device has which is not forgotten."""
    taken = {device.name.casefold() for device in devices if device.standing is not Standing.FORGOTTEN}
    label, number = wish, 1
    while label.casefold() in taken:
        number += 1
        label = f"{wish}-{number}"
    return label
