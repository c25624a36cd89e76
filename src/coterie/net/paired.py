"""What comes of a pairing, on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from coterie.devices import device_id
from coterie.net.certificates import fingerprint

CONFIRM_BYTES = 32
Say = Callable[[str], None]
"""Tells the person who looks on what is happening, in a few words."""


def quiet(_: str) -> None:
    """Nobody looks on."""


@dataclass(frozen=True, slots=True)
class Paired:
    """The other device, as pairing has shown it. Its key is proved by the first link only."""

    certificate_der: bytes
    name: str
    """Its label by its own wish; another device may have it already."""
    key: bytes = field(repr=False)
    """The pairing key."""
    addresses: tuple[str, ...]
    """Where it says that it listens, as host:port."""
    done: bool = True
    """False if the joiner was not heard again after the last word of the inviter: then it may not know."""

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of its certificate."""
        return fingerprint(self.certificate_der)

    @property
    def id(self) -> str:
        """Its device id."""
        return device_id(self.fingerprint)
