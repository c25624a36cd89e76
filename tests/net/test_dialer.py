"""One call to one address: who is reached, how long it may take, and what is said when nobody is."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

import pytest

from coterie.errors import Refused
from coterie.limits import ADDRESSES_MAX
from coterie.net.dialer import in_turns
from net.sides import Sides, free_port
from net.test_listener import descriptors
from net.test_relay import with_sides


class Reach:
    """Stands for the network: each address answers, fails, or keeps silent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **ways: Any) -> None:
        self.tried: list[str] = []
        self.ways = ways
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect

        async def sock_connect(one: socket.socket, place: tuple[str, int]) -> None:
            self.tried.append(place[0])
            way = ways.get(place[0].replace(".", "_"))
            if isinstance(way, int):
                raise OSError(way, os.strerror(way))
            if way == "silent":
                await asyncio.Event().wait()
            await connect(one, place)

        monkeypatch.setattr(loop, "sock_connect", sock_connect)
        monkeypatch.setattr("coterie.net.dialer.CONNECT_S", 0.05)


def resolves(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    async def find(names: object, host: str, port: int) -> list[Any]:
        return [(socket.AF_INET, (host, port)) for host in hosts]

    monkeypatch.setattr("coterie.net.names.Names.find", find)


@with_sides
async def test_the_next_address_of_a_name_is_tried(sides: Sides) -> None:
    caller, listener = await sides.paired()
    port = listener.relay.listening()[0][1]
    with pytest.MonkeyPatch.context() as patch:
        reach = Reach(patch, a="silent", b=errno.EHOSTUNREACH)
        resolves(patch, "a", "b", "127.0.0.1")
        assert await caller.relay.connect_once(f"box.example:{port}") == listener.id
    assert reach.tried == ["a", "b", "127.0.0.1"]


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (errno.EHOSTUNREACH, "no route to host"),
        (errno.ENETUNREACH, "network is unreachable"),
        (errno.ECONNREFUSED, "nothing listens there"),
        (errno.ECONNRESET, "the other side closed it"),
        (errno.ETIMEDOUT, "no answer"),
        ("silent", "no answer"),
    ],
)
def test_why_nobody_was_reached(way: object, message: str) -> None:
    @with_sides
    async def run(sides: Sides) -> None:
        caller, _ = await sides.paired()
        before = descriptors()
        with pytest.MonkeyPatch.context() as patch:
            Reach(patch, **{"127_0_0_1": way})
            with pytest.raises(Refused, match=f"no link to 127.0.0.1:9: {message}"):
                await caller.relay.connect_once("127.0.0.1:9")
        assert descriptors() == before

    run()


@with_sides
async def test_a_name_that_nobody_knows(sides: Sides) -> None:
    caller, _ = await sides.paired()
    with pytest.raises(Refused, match="nobody knows that name"):
        await caller.relay.connect_once("no-such-host.invalid:9")


@with_sides
async def test_a_call_that_is_given_up_leaves_nothing_behind(sides: Sides) -> None:
    """At every step of it: before it is reached, in the middle of TLS, and before the proof."""
    caller, listener = await sides.paired()
    silent = socket.create_server(("127.0.0.1", 0))
    mute = sides.make()
    caller.knows(mute, await mute.listen())  # It does not know the caller: TLS ends, and no proof comes.
    places = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{silent.getsockname()[1]}"]
    places += ["{}:{}".format(*side.relay.listening()[0]) for side in (listener, mute)]
    before = descriptors()
    for place in places:
        for steps in range(12):
            call = asyncio.ensure_future(caller.relay.connect_once(place))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            for side in (caller, listener):
                for device in list(side.relay.present()):
                    side.relay.cut(device, "the test wants it")
    await caller.until(lambda: descriptors() == before)
    assert caller.relay._all == set()
    silent.close()


@with_sides
async def test_whoever_does_not_prove_itself_in_time_is_given_up(sides: Sides) -> None:
    caller, listener = await sides.paired()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coterie.net.dialer.HANDSHAKE_S", 0.3)
        patch.setattr("coterie.net.connection.Connection._take", lambda connection, line: None)
        with pytest.raises(Refused, match="no answer"):
            await caller.relay.connect_once("{}:{}".format(*listener.relay.listening()[0]))
    assert caller.told == []


@with_sides
async def test_a_link_that_is_ended_at_once_is_none(sides: Sides) -> None:
    caller, listener = await sides.paired()
    place = "{}:{}".format(*listener.relay.listening()[0])

    def cut_at_once(device: str) -> None:
        caller.relay.cut(device, "the test wants it")

    caller.came = cut_at_once  # type: ignore[method-assign]
    with pytest.raises(Refused, match="it was ended at once"):
        await caller.relay.connect_once(place)


@pytest.mark.parametrize("count", range(ADDRESSES_MAX + 1))
def test_every_address_is_tried_and_the_best_again_and_again(count: int) -> None:
    places = [str(number) for number in range(count)]
    turns = in_turns(places)
    assert list(dict.fromkeys(turns)) == places
    assert [turns.count(place) for place in places[1:]] == [1] * (count - 1)
    again = turns + turns  # As the next round follows.
    assert all(places[0] in again[at : at + 3] for at in range(len(turns)))
