"""Devices for tests: each with a real identity, real pairing keys, a relay, and a record of what it was told."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from coterie.devices import Device, Standing
from coterie.endpoints import address
from coterie.net import identity
from coterie.net.fabric import Json
from coterie.net.relay import Pace, Relay

FAST = Pace(heartbeat_s=30.0, reconnect_max_s=0.2)
KEY = bytes(range(32))


class Side:
    """One device. Its `devices` may be changed as a person would."""

    def __init__(self, folder: Path, pace: Pace = FAST) -> None:
        self.identity = identity.load_or_make(str(folder))
        self.id = self.identity.id
        self.devices: dict[str, Device] = {}
        self.keys: dict[str, bytes] = {}
        self.told: list[tuple[Any, ...]] = []
        """("came", device), ("left", device), ("frame", device, frame)."""
        self.said: list[str] = []
        self.seen: list[tuple[str, str]] = []
        self.on_frame: Callable[[str, Json], None] | None = None
        self.relay = Relay(
            self.identity,
            self,
            self.keys.get,
            self,
            pace,
            say=self._say,
            seen=lambda device, place: self.seen.append((device, place)),
        )

    def get(self, device: str) -> Device | None:
        return self.devices.get(device)

    def __iter__(self) -> Iterator[Device]:
        return iter([device for device in self.devices.values() if device.standing is not Standing.FORGOTTEN])

    def came(self, device: str) -> None:
        self._tell("came", device)

    def left(self, device: str) -> None:
        self._tell("left", device)

    def receive(self, device: str, frame: Json) -> None:
        if self.on_frame:
            self.on_frame(device, frame)
        else:
            self._tell("frame", device, frame)

    def _say(self, device: str, what: str) -> None:
        self.said.append(what)

    def _tell(self, *what: Any) -> None:
        self.told.append(what)

    def frames(self) -> list[Json]:
        return [what[2] for what in self.told if what[0] == "frame"]

    async def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Wait for what nothing announces."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 (what is waited for announces nothing)
                await asyncio.sleep(0.002)

    async def until_present(self, other: Side) -> None:
        await self.until(lambda: other.id in self.relay.present())

    async def until_gone(self, other: Side) -> None:
        await self.until(lambda: other.id not in self.relay.present())

    def knows(self, other: Side, *addresses: str, key: bytes = KEY) -> Device:
        """Have it be paired with another device."""
        known = Device(other.id, other.id[:7], other.identity.certificate_der, Standing.PAIRED)
        known.addresses = list(addresses)
        self.devices[other.id] = known
        self.keys[other.id] = key
        self.relay.pin(known)
        return known

    def forgets(self, other: Side) -> None:
        """The person forgets it."""
        self.devices[other.id].standing = Standing.FORGOTTEN
        self.keys.pop(other.id, None)
        self.relay.forget(other.id)

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> str:
        return address(host, await self.relay.listen(host, port))


class Sides:
    """Makes devices, and takes them down."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: list[Side] = []

    def make(self, pace: Pace = FAST) -> Side:
        side = Side(self._root / str(len(self._made)), pace)
        self._made.append(side)
        return side

    async def paired(self, pace: Pace = FAST) -> tuple[Side, Side]:
        """Two that are paired; the second listens, and the first knows where."""
        caller, listener = self.make(pace), self.make(pace)
        listener.knows(caller)
        caller.knows(listener, await listener.listen())
        return caller, listener

    async def linked(self, pace: Pace = FAST) -> tuple[Side, Side]:
        """Two with a link, which the first keeps up."""
        caller, listener = await self.paired(pace)
        caller.relay.dial(listener.id)
        await caller.until_present(listener)
        await listener.until_present(caller)
        return caller, listener

    async def close(self) -> None:
        for side in self._made:
            await side.relay.close()


@asynccontextmanager
async def some_sides() -> AsyncIterator[Sides]:
    """Devices for one test. Whatever it leaves open is a defect, and is raised."""
    root = Path(tempfile.mkdtemp(prefix="coterie-"))
    sides = Sides(root)
    try:
        yield sides
    finally:
        await sides.close()
        shutil.rmtree(root)


def free_port() -> int:
    """A port of loopback that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
