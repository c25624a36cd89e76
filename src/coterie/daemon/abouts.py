"""What devices tell each other of themselves: `about {name, version, addresses, grants}`, told when they meet, and when
it changes. The addresses are where the sender listens, the grants what it lets the other one do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coterie import __version__
from coterie.daemon.devices import Devices
from coterie.daemon.network import Network
from coterie.devices import Device, Grant, known_grants
from coterie.errors import BadInput
from coterie.limits import DEVICE_NAME_CHARS
from coterie.net.fabric import Json
from coterie.net.lines import addresses_in
from coterie.pairing import label_of

VERSION_CHARS = 40
WORDS_MAX = 16
"""Rights in one `about`, and letters in each: three times those that there are, and twice the longest."""


@dataclass(slots=True)
class Said:
    """What a device told of itself since this daemon runs."""

    name: str = ""
    version: str = ""


class Abouts:
    """What is known of devices by their own word, and what they are told of this one."""

    def __init__(
        self, network: Network, devices: Devices, name: Callable[[], str], addresses: Callable[[], list[str]]
    ) -> None:
        self._network = network
        self._devices = devices
        self._name = name
        self._addresses = addresses
        self._by_device: dict[str, Said] = {}
        self._told: Json = {}
        """What devices were told of this one last, but for what they may do."""
        devices.watchers.append(self._device_changed)

    def said(self, device: str) -> Said:
        """What a device told of itself."""
        return self._by_device.setdefault(device, Said())

    def forget(self, device: str) -> None:
        """What it said counts no more."""
        self._by_device.pop(device, None)

    def take(self, device: str, frame: Json) -> tuple[tuple[str, ...], frozenset[Grant]]:
        """What a device says of itself. Returns where it may be reached, and what this one may do there. Raises
        `BadInput`.
        """
        name, version, grants = frame.get("name"), frame.get("version"), frame.get("grants")
        if not isinstance(name, str) or not isinstance(version, str) or not isinstance(grants, list):
            raise BadInput("what it says of itself makes no sense")
        if len(grants) > WORDS_MAX or not all(isinstance(word, str) and len(word) < WORDS_MAX for word in grants):
            raise BadInput("the rights that it names make no sense")
        if len(name) > DEVICE_NAME_CHARS or len(version) > VERSION_CHARS:
            raise BadInput("what it calls itself is too long")
        addresses = addresses_in(frame)
        said = self.said(device)
        said.name, said.version = label_of(name), version
        return addresses, known_grants(grants)

    def tell(self, device: Device) -> None:
        """Tell a device of this one."""
        self._network.send(device.id, "about", **self._about_us(), grants=sorted(device.grants))

    def tell_all(self) -> None:
        """Tell every device that is there what is new of this one, if anything is."""
        told, self._told = self._told, self._about_us()
        if told != self._told:
            for device in filter(None, map(self._devices.get, self._network.present())):
                self.tell(device)

    def _about_us(self) -> Json:
        return {"name": self._name(), "version": __version__, "addresses": self._addresses()}

    def _device_changed(self, device: Device, change: list[str]) -> None:
        if "grants" in change and device.id in self._network.present():
            self.tell(device)
