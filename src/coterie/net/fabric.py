"""The seam between what devices tell each other and what carries it: direct links today.

Above the seam nobody knows what is below. A fabric may lose a frame, with or without telling, repeat it, delay it, and
deliver two in the other order; what must arrive is sent again until it is confirmed.
"""

from __future__ import annotations

from typing import Any, Protocol

Json = dict[str, Any]


class Receiver(Protocol):
    """Whoever is told what comes from other devices. Called on the event loop; must not block."""

    def came(self, device: str) -> None:
        """There is a way to a device now, and both have proved who they are."""

    def left(self, device: str) -> None:
        """There is none any more."""

    def receive(self, device: str, frame: Json) -> None:
        """A device sent a frame: a JSON object of at most LINK_LINE_BYTES_MAX, of which nothing else is known."""


class Fabric(Protocol):
    """Ways to other devices."""

    def send(self, device: str, frame: Json) -> bool:
        """Hand over a frame. False if there is no way now. True says nothing about its arrival."""

    def present(self) -> frozenset[str]:
        """The devices to which there is a way now."""

    def cut(self, device: str, why: str) -> None:
        """End the way to a device now: it broke the rules, or was forgotten. `why` is for our log."""
