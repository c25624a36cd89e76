"""The connection under a link, driven by hand: what ends it, once, and what waits for a transport that has enough."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from coterie.devices import device_id
from coterie.limits import LINK_CLOSE_S, LINK_LINE_BYTES_MAX, LINK_OUTGOING_BYTES_MAX
from coterie.links import Answer, End, Link
from coterie.net import connection
from coterie.net.connection import TOGETHER_BYTES, Connection, spelled

PRINTS = [hashlib.sha256(bytes([number])).digest() for number in range(2)]
ENDS = [End(device_id(print_), print_) for print_ in PRINTS]


class Transport(asyncio.Transport):
    """Keeps what is written, and says it has enough once it holds more than `most`."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.held = 0
        self.most = 1 << 62
        self.ended: list[str] = []
        self.protocol: Connection | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return name if name == "ssl_object" else default

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))
        self.held += len(data)
        if self.held > self.most and self.protocol:
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.held

    def close(self) -> None:
        self.ended.append("close")

    def abort(self) -> None:
        self.ended.append("abort")

    def lines(self) -> list[bytes]:
        return b"".join(self.written).splitlines()


class Keeper:
    """Whose connection it is; it keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.introduces = True

    def introduce(self, connection: Connection, fingerprint: bytes) -> Link | str:
        return a_link(0) if self.introduces else "nobody knows it"

    def proved(self, connection: Connection) -> None:
        self.told.append("proved")

    def receive(self, connection: Connection, frame: Any) -> None:
        self.told.append(frame)

    def ended(self, connection: Connection, why: str) -> None:
        self.told.append(("ended", why))

    def lost(self, connection: Connection) -> None:
        self.told.append("lost")


def a_link(side: int) -> Link:
    now = asyncio.get_running_loop().time()
    ours, theirs = ENDS[side], ENDS[1 - side]
    return Link(ours, theirs, dialled=not side, key=bytes(32), nonce=bytes([side]) * 32, heartbeat_s=30, now=now)


class Rig:
    """A connection, and a link at its other end."""

    def __init__(self, introduces: bool = True) -> None:
        self.keeper = Keeper()
        self.keeper.introduces = introduces
        self.transport = Transport()
        self.connection = Connection(self.keeper, "there")
        self.transport.protocol = self.connection
        self.other = a_link(1)
        self.connection.connection_made(self.transport)

    def says(self, data: bytes) -> None:
        self.connection.data_received(data)

    def shakes(self) -> None:
        """Prove themselves to each other."""
        answer = self.other.feed(self.transport.lines()[0], 0)
        assert isinstance(answer, Answer)
        self.says(self.other.begin() + answer.line)
        self.connection._flush()
        self.other.feed(self.transport.lines()[1], 0)
        assert self.connection.proved
        self.transport.written.clear()
        self.transport.held = 0


def on_a_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def wrapped() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connection, "peer_fingerprint", lambda name: PRINTS[1] if name == "ssl_object" else None)
            asyncio.run(test())  # type: ignore[arg-type]

    return wrapped


@on_a_loop
async def test_what_is_not_introduced_is_ended_without_a_word() -> None:
    rig = Rig(introduces=False)
    assert rig.transport.ended == ["abort"]
    assert rig.transport.written == []
    assert rig.connection.settled.result() == "nobody knows it"
    assert not rig.connection.send({})
    assert rig.connection.device == ""
    rig.connection.set_heartbeat(5)


@pytest.mark.parametrize("said", [b"[]\n", b"x" * (LINK_LINE_BYTES_MAX + 1)])
def test_a_breach_ends_it_once(said: bytes) -> None:
    @on_a_loop
    async def run() -> None:
        rig = Rig()
        rig.shakes()
        rig.says(rig.other.send({"n": 1}) + said + b"\n" + rig.other.send({"n": 2}))
        rig.says(rig.other.send({"n": 3}))
        rig.connection.connection_lost(None)
        told = [what if isinstance(what, (str, dict)) else what[0] for what in rig.keeper.told]
        assert told == ["proved", {"n": 1}, "ended", "lost"]
        assert rig.transport.ended == ["abort"]
        assert rig.connection.closed.is_set()

    run()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (None, "the other side closed it"),
        (ConnectionResetError(), "the connection broke"),
        (TimeoutError(), "what was sent did not get through"),
    ],
)
def test_why_it_was_lost(error: Exception | None, why: str) -> None:
    @on_a_loop
    async def run() -> None:
        rig = Rig()
        rig.shakes()
        rig.connection.connection_lost(error)
        assert rig.keeper.told == ["proved", ("ended", why), "lost"]

    run()


@on_a_loop
async def test_frames_of_one_moment_go_out_in_one_write() -> None:
    rig = Rig()
    rig.shakes()
    for n in range(100):
        assert rig.connection.send({"n": n})
    assert rig.transport.written == []
    await asyncio.sleep(0)
    assert len(rig.transport.written) == 1
    assert len(rig.transport.lines()) == 100


@on_a_loop
async def test_what_a_full_transport_does_not_take_waits_in_order() -> None:
    rig = Rig()
    rig.shakes()
    rig.transport.most = TOGETHER_BYTES
    text = "x" * 1000
    for n in range(500):
        assert rig.connection.send({"n": n, "text": text})
    assert rig.transport.held < 3 * TOGETHER_BYTES
    while len(rig.transport.lines()) < 500:
        rig.transport.held = 0
        rig.connection.resume_writing()
    for n, line in enumerate(rig.transport.lines()):
        assert rig.other.feed(line, 0) == ({"n": n, "text": text},)


@on_a_loop
async def test_more_than_may_wait_ends_it() -> None:
    rig = Rig()
    rig.shakes()
    rig.connection.pause_writing()
    text, sent = "x" * 60_000, 0
    while rig.connection.send({"text": text}):
        sent += len(text)
    assert LINK_OUTGOING_BYTES_MAX - 2 * len(text) < sent <= LINK_OUTGOING_BYTES_MAX
    assert rig.keeper.told[-1] == ("ended", "it reads nothing of what it is sent")
    assert rig.transport.ended == ["abort"]


@on_a_loop
async def test_what_waits_still_goes_out_when_it_is_ended() -> None:
    rig = Rig()
    rig.shakes()
    rig.connection.send({"n": 1})
    rig.connection.end("it is over")
    assert rig.transport.lines() == [b'{"n":1,"f":{"n":1}}']
    assert rig.transport.ended == ["close"]
    await asyncio.sleep(0)
    assert len(rig.transport.written) == 1


@on_a_loop
async def test_who_does_not_let_it_close_is_cut_off() -> None:
    rig = Rig()
    rig.shakes()
    loop = asyncio.get_running_loop()
    began = loop.time()
    rig.connection.end("it is over")
    async with asyncio.timeout(10):
        while rig.transport.ended != ["close", "abort"]:  # noqa: ASYNC110 (a timer of asyncio's own)
            await asyncio.sleep(0.01)
    assert loop.time() - began >= LINK_CLOSE_S


@on_a_loop
async def test_a_sign_of_life_is_answered() -> None:
    rig = Rig()
    rig.shakes()
    rig.says(b'{"n":1,"f":null}\n')
    await asyncio.sleep(0)
    assert rig.transport.lines() == [b'{"n":1,"f":true}']


@pytest.mark.parametrize(
    ("seconds", "words"), [(90, "90 s"), (119.4, "119 s"), (600, "10 min"), (7199, "120 min"), (8 * 3600, "8 h")]
)
def test_times_as_people_say_them(seconds: float, words: str) -> None:
    assert spelled(seconds) == words
