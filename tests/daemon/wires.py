"""Two daemons joined by a fabric of the tests: lines over a Unix socket, with every liberty that a fabric may take.

What is above the seam is the shipped code, identities and signatures too; there is no TLS and no pairing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from conftest import Place, a_place, wait_for
from coterie import ids
from coterie.client import Client
from coterie.daemon.main import Daemon, Starter
from coterie.devices import Device, Grant, Standing
from coterie.errors import Unavailable
from coterie.jsonline import decode, encode
from coterie.net.fabric import Json, Receiver
from coterie.net.identity import Identity, load_or_make
from coterie.peers import remote_id

LINE_MAX = 1 << 20
RETRY_S = 0.01
LOOK_S = 0.01
DYING_S = 1.0
"""A killed process may be seen to live so long."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How often a frame suffers what, from 0 to 1."""

    lost: float = 0.0
    """Lost, though the fabric took it."""
    repeated: float = 0.0
    late: float = 0.0
    """Overtaken by what is sent up to `late_s` seconds later."""
    late_s: float = 0.2
    seed: int = 1


class Wire:
    """A fabric with a way to one other device. While the file `path`.cut is there it has none."""

    def __init__(self, path: str, device: str, faults: Faults, receiver: Receiver) -> None:
        self.faults = faults
        self._path = path
        self._device = device
        self._receiver = receiver
        self._random = Random(faults.seed)
        self._writer: asyncio.StreamWriter | None = None

    # --- what the daemon calls ----------------------------------------------------------------------------------

    def send(self, device: str, frame: Json) -> bool:
        """Take a frame, and do with it what the faults say."""
        if self._writer is None or device != self._device:
            return False
        if self._random.random() >= self.faults.lost:
            self._deliver(encode(frame))
            if self._random.random() < self.faults.repeated:
                self._deliver(encode(frame))
        return True

    def present(self) -> frozenset[str]:
        """The other device, if there is a way."""
        return frozenset([self._device] if self._writer else [])

    def cut(self, device: str, why: str) -> None:
        """End the way."""
        if device == self._device:
            self._end()

    def _deliver(self, line: bytes) -> None:
        late = self._random.random() < self.faults.late
        delay = self._random.random() * self.faults.late_s if late else 0
        asyncio.get_running_loop().call_later(delay, self._write, self._writer, line)

    def _write(self, writer: asyncio.StreamWriter | None, line: bytes) -> None:
        if writer and writer is self._writer:
            writer.write(line)

    # --- the socket ---------------------------------------------------------------------------------------------

    def is_cut(self) -> bool:
        """Whether the test holds the two apart."""
        return os.path.exists(f"{self._path}.cut")

    async def listen(self) -> None:
        """Take the other side's connections."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        await asyncio.start_unix_server(self._met, self._path, limit=LINE_MAX)

    async def dial(self) -> None:
        """Connect again and again."""
        while True:
            with contextlib.suppress(OSError):
                if not self.is_cut():
                    await self._met(*await asyncio.open_unix_connection(self._path, limit=LINE_MAX))
            await asyncio.sleep(RETRY_S)

    async def watch(self) -> None:
        """End the way when the test says so."""
        while True:
            if self._writer and self.is_cut():
                self._end()
            await asyncio.sleep(LOOK_S)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._end()
        if self.is_cut():
            writer.close()
            return
        self._writer = writer
        self._receiver.came(self._device)
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                frame = decode(line)
                assert isinstance(frame, dict)
                if writer is self._writer:
                    self._receiver.receive(self._device, frame)
        if writer is self._writer:
            self._end()

    def _end(self) -> None:
        writer, self._writer = self._writer, None
        if writer:
            writer.close()
            self._receiver.left(self._device)


def install(path: str, listens: bool, home: str, name: str, grants: str, faults: dict[str, Any]) -> None:
    """Have the daemon of this process know the device of `home`, called `name`, and be joined with it."""
    serve = Daemon.serve

    async def joined(daemon: Daemon, starter: Starter) -> None:
        other = load_or_make(os.path.join(home, "device"))
        wire = Wire(path, other.id, Faults(**faults), daemon.network)
        daemon.network.fabric = wire
        loop = asyncio.get_running_loop()
        loop.call_later(0, lambda: loop.create_task(begin(daemon, wire, other)))
        await serve(daemon, starter)

    async def begin(daemon: Daemon, wire: Wire, other: Identity) -> None:
        if daemon.devices.get(other.id) is None:
            given = frozenset(Grant(word) for word in grants.split())
            known = Device(other.id, name, other.certificate_der, Standing.PAIRED, given)
            await daemon.devices.save(known)
        tasks = [wire.watch(), wire.listen() if listens else wire.dial()]
        await asyncio.gather(*tasks)

    Daemon.serve = joined  # type: ignore[method-assign]


class Site:
    """One of two daemons that are joined."""

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.name = name
        self.identity = load_or_make(place.home.device)
        self.daemon: subprocess.Popen[bytes]

    @property
    def id(self) -> str:
        """The id of its device."""
        return self.identity.id


class Pair:
    """Two of them: `desk`, which listens, and `laptop`."""

    def __init__(
        self,
        desk: Place,
        laptop: Place,
        faults: Faults | None = None,
        grants: str = "see message",
        patch: str = "",
        alone: bool = False,
    ) -> None:
        self.path = str(desk.root / "wire")
        self.desk, self.laptop = Site(desk, "desk"), Site(laptop, "laptop")
        self.faults = faults or Faults()
        self.patch = patch
        self.grants = grants
        """What the desk gives the laptop."""
        self.start(self.desk)
        if not alone:  # The other one is a test.
            self.start(self.laptop)

    def start(self, site: Site, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the daemon of one of them."""
        other = self.laptop if site is self.desk else self.desk
        grants = self.grants if site is self.desk else "see message"
        said = (self.path, site is self.desk, other.place.home.folder, other.name, grants, asdict(self.faults))
        setting = f"import sys; sys.path[:0] = [{str(Path(__file__).parents[1])!r}]\n"
        joining = f"from daemon.wires import install\ninstall(*{said!r})\n"
        site.daemon = site.place.start(*arguments, patch=setting + self.patch + joining)
        return site.daemon

    def revive(self, site: Site, *arguments: str) -> subprocess.Popen[bytes]:
        """Start its daemon if it was killed, or is about to end."""
        try:
            site.daemon.wait(DYING_S)
        except subprocess.TimeoutExpired:
            return site.daemon
        return self.start(site, *arguments)

    def cut(self) -> None:
        """Hold them apart."""
        Path(f"{self.path}.cut").touch()

    def heal(self) -> None:
        """Let them meet again."""
        os.unlink(f"{self.path}.cut")


@pytest.fixture
def desk() -> Iterator[Place]:
    """The home of one of the two."""
    yield from _home()


@pytest.fixture
def laptop() -> Iterator[Place]:
    """The home of the other."""
    yield from _home()


def _home() -> Iterator[Place]:
    with a_place() as place:
        yield place
        log = Path(place.home.log)
        assert not log.exists() or "defect" not in log.read_text()


def knows(agent: Any, name: str) -> None:
    """Wait until an agent is shown a session of the other device."""
    wait_for(lambda: name in agent.tool("list_peers", scope="network"), f"{name} is seen")


class Writer:
    """A session that sends as fast as it can."""

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.connection = self._connect()
        self.connection.call("peers.describe", {"name": name})

    def _connect(self) -> Client:
        connection = self.place.connect("adapter", start=False)
        self.card = connection.call("peers.register", {"kind": "other", "cwd": "/"})["peer"]
        return connection

    def send(self, to: str, text: str, **more: Any) -> Any:
        """Send, and return what is said of the one copy."""
        params = {"id": ids.new_message_id(), "to": to, "text": text, **more}
        return self.connection.call("messages.send", params)["messages"][0]

    def insist(self, pair: Pair, to: str, text: str) -> None:
        """Send until it is accepted; a daemon that dies meanwhile is started again."""
        message = ids.new_message_id()
        while True:
            try:
                self.connection.call("messages.send", {"id": message, "to": to, "text": text})
            except Unavailable:
                pair.revive(pair.desk)
                self.connection = self._connect()
            else:
                return


def there(site: Site, place: Place, name: str) -> str:
    """The id at the other device of a session of `site`."""
    row = site.place.row("SELECT id FROM peers WHERE name = ?", name)
    found = remote_id(site.id, row[0])
    wait_for(lambda: place.row("SELECT 1 FROM neighbours WHERE id = ?", found), f"{name} is known there")
    return found


def apart(pair: Pair, writer: Writer) -> None:
    """Hold the two apart, and return when the writer's daemon knows."""
    pair.cut()
    listed = {"scope": "network"}
    wait_for(lambda: not writer.connection.call("peers.list", listed)["devices"][0]["connected"], "they are apart")


def texts(place: Place) -> list[str]:
    """The messages of other devices, in the order in which they came."""
    query = "SELECT text FROM messages WHERE sender_name LIKE '%@%' ORDER BY seq"
    return [row[0] for row in place.rows(query)]


def waiting(place: Place) -> int:
    """How many messages wait for another device."""
    return int(place.row("SELECT count(*) FROM outbox WHERE state = 'waits'")[0])
