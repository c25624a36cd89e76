"""What devices tell each other, handed to whom it is for. Nobody above knows which fabric carries it."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from coterie.errors import BadInput
from coterie.net.fabric import Fabric, Json

log = logging.getLogger(__name__)


class Service(Protocol):
    """A part of the daemon that other devices talk to."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of frames that it takes."""

    def came(self, device: str) -> None:
        """There is a way to a device now: say again what it may have missed."""

    def left(self, device: str) -> None:
        """There is none any more."""

    def receive(self, device: str, frame: Json) -> None:
        """A frame of one of its kinds. Raises `BadInput` for one that breaks the rules, which ends the link."""


class Network:
    """The way to other devices, and who here is spoken to."""

    def __init__(self) -> None:
        self.fabric: Fabric | None = None
        """None while nothing has to do with other devices."""
        self._services: list[Service] = []
        self._by_kind: dict[str, Service] = {}

    def add(self, service: Service) -> None:
        """Have `service` told of devices, and of frames of its kinds."""
        self._services.append(service)
        self._by_kind.update(dict.fromkeys(service.kinds, service))

    # --- out ------------------------------------------------------------------------------------------

    def send(self, device: str, kind: str, **fields: Any) -> bool:
        """Hand a frame over to the fabric. False if there is no way now."""
        return self.fabric is not None and self.fabric.send(device, {"kind": kind, **fields})

    def present(self) -> frozenset[str]:
        """The devices to which there is a way now."""
        return self.fabric.present() if self.fabric else frozenset()

    def cut(self, device: str, why: str) -> None:
        """End the way to a device."""
        if self.fabric:
            self.fabric.cut(device, why)

    # --- in: what a fabric calls ----------------------------------------------------------------------

    def came(self, device: str) -> None:
        """There is a way to a device."""
        for service in self._services:
            service.came(device)

    def left(self, device: str) -> None:
        """There is none any more."""
        for service in self._services:
            service.left(device)

    def receive(self, device: str, frame: Json) -> None:
        """A frame came. A kind that nobody here knows is a newer device's, and passed over."""
        kind = frame.get("kind")
        service = self._by_kind.get(kind) if isinstance(kind, str) else None
        if service is None:
            return
        try:
            service.receive(device, frame)
        except BadInput as error:
            # What it says is not repeated in the log: it is a stranger's text.
            log.warning("%s sent a %s that breaks the rules: %s", device[:7], kind, error.message)
            self.cut(device, "it broke the rules")
