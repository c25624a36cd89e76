"""The door: where it is, who is let in, and that nobody stands in it for long."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from pathlib import Path

import pytest

from conftest import must_have
from coterie.errors import Refused
from coterie.limits import UNPROVED_MAX
from coterie.net.tls import pairing_client_context
from net.sides import Side, Sides, free_port
from net.test_relay import with_sides


def descriptors() -> set[str]:
    """What this process has open, but for the folder that is read to find it."""
    return {os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.exists()}


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


async def reads_until_closed(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except (ConnectionError, ssl.SSLError):
        return b""


async def pairs(listener: Side) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection as one makes that is about to pair."""
    host, port = listener.relay.listening()[0]
    return await asyncio.open_connection(host, port, ssl=pairing_client_context(), server_hostname="")


@with_sides
async def test_a_port_that_is_taken_is_named(sides: Sides) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Refused, match=f"port {port} is taken") as refused:
            await sides.make().relay.listen("127.0.0.1", port)
    assert "--port" in refused.value.hint


@with_sides
async def test_after_a_refusal_it_listens_where_it_did(sides: Sides) -> None:
    caller, listener = await sides.paired()
    before = listener.relay.listening()
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(Refused):
        await listener.relay.listen("127.0.0.1", other.getsockname()[1])
    assert listener.relay.listening() == before
    caller.relay.dial(listener.id)
    await caller.until_present(listener)


@pytest.mark.parametrize(
    ("host", "message"),
    [("203.0.113.7", "this machine has no address"), ("no-such-host.invalid", "no address 'no-such-host.invalid'")],
)
def test_addresses_that_are_not_here(host: str, message: str) -> None:
    @with_sides
    async def run(sides: Sides) -> None:
        with pytest.raises(Refused, match=message):
            await sides.make().relay.listen(host, 0)

    run()


@pytest.mark.parametrize("host", ["::", "::1", "localhost", "0.0.0.0", "127.0.0.1", ""])
def test_every_kind_of_address(host: str) -> None:
    must_have(":" not in host or has_ipv6(), "IPv6 on loopback")

    @with_sides
    async def run(sides: Sides) -> None:
        caller, listener = sides.make(), sides.make()
        listener.knows(caller)
        caller.knows(listener)
        port = await listener.relay.listen(host, 0)
        ways = {"::": ["::1", "127.0.0.1", "localhost"], "::1": ["::1"], "": ["127.0.0.1", "localhost"]}
        for way in ways.get(host, ["127.0.0.1"]):
            place = f"[{way}]:{port}" if ":" in way else f"{way}:{port}"
            assert await caller.relay.connect_once(place) == listener.id
        if host == "::":
            assert caller.relay.listening() == []
            assert len(listener.relay.listening()) == 1

    run()


@with_sides
async def test_without_ipv6_all_addresses_are_those_of_ipv4(sides: Sides) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coterie.net.ports._has_ipv6", lambda: False)
        listener = sides.make()
        await listener.relay.listen("::", 0)
    assert listener.relay.listening()[0][0] == "0.0.0.0"


@with_sides
async def test_nothing_listens_until_it_is_told_to(sides: Sides) -> None:
    before = descriptors()
    side = sides.make()
    side.relay.dial("nobody")
    await side.until(lambda: side.said)
    assert descriptors() == before


# --- pairing ----------------------------------------------------------------------------------------------------------


@with_sides
async def test_without_an_invitation_nobody_without_a_certificate_is_served(sides: Sides) -> None:
    listener = sides.make()
    await listener.listen()
    reader, writer = await pairs(listener)
    assert await reads_until_closed(reader) == b""
    writer.close()


@with_sides
async def test_pairing_gets_the_streams_and_what_it_said_last_goes_out(sides: Sides) -> None:
    listener = sides.make()
    await listener.listen()

    async def pairing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> bool:
        writer.write(b"you are at " + host.encode() + b" and said " + await reader.readline())
        return True

    listener.relay.pairing = pairing
    for _ in range(UNPROVED_MAX):  # Nothing of it counts as a failure.
        reader, writer = await pairs(listener)
        writer.write(b"hello\n")
        assert await reads_until_closed(reader) == b"you are at 127.0.0.1 and said hello\n"
        writer.close()
    listener.relay.pairing = None
    reader, writer = await pairs(listener)
    assert await reads_until_closed(reader) == b""
    writer.close()


@with_sides
async def test_pairing_too_must_be_over_in_time(sides: Sides) -> None:
    listener = sides.make()
    await listener.listen()
    ended = []

    async def pairing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> bool:
        try:
            await reader.readline()
        except asyncio.CancelledError:
            ended.append(host)
            raise
        return True

    listener.relay.pairing = pairing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coterie.net.listener.HANDSHAKE_S", 0.2)
        reader, writer = await pairs(listener)
        writer.write(b"dribble")
        assert await reads_until_closed(reader) == b""
        writer.close()
    await listener.until(lambda: ended)


# --- nothing is left behind -------------------------------------------------------------------------------------------


@with_sides
async def test_who_was_driven_out_leaves_nothing_behind(sides: Sides) -> None:
    """At every moment of its visit: just taken, in the middle of TLS, silent, or gone by itself."""
    listener = sides.make()
    await listener.listen()
    host, port = listener.relay.listening()[0]
    before = descriptors()
    connections = []
    for number in range(4 * UNPROVED_MAX):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex((host, port))
        connections.append(one)
        if number % 3 == 0:
            await asyncio.sleep(0)
    await listener.until(lambda: len(listener.relay._strangers) >= UNPROVED_MAX)
    for one in connections:
        one.close()
    await listener.until(lambda: descriptors() == before)
    assert len(listener.relay._strangers) == 0
    await listener.until(lambda: not listener.relay._listener._tasks)


@with_sides
async def test_close_ends_who_stands_at_the_door(sides: Sides) -> None:
    before = descriptors()
    listener = sides.make()
    await listener.listen()
    host, port = listener.relay.listening()[0]
    reader, writer = await asyncio.open_connection(host, port)
    await listener.until(lambda: len(listener.relay._strangers))
    await listener.relay.close()
    assert await reads_until_closed(reader) == b""
    writer.close()
    await writer.wait_closed()
    assert descriptors() == before


@with_sides
async def test_out_of_descriptors_it_waits_and_goes_on(sides: Sides) -> None:
    caller, listener = await sides.paired()
    failures = [errno.EMFILE, errno.ECONNABORTED, errno.ENFILE]

    class Short(socket.socket):
        def accept(self):  # type: ignore[no-untyped-def]
            if failures:
                raise OSError(failures.pop(), "no room")
            return super().accept()

    loop = asyncio.get_running_loop()
    door = listener.relay._listener
    old = door._sockets[0]
    short = Short(fileno=os.dup(old.fileno()))
    short.setblocking(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coterie.net.listener.ACCEPT_PAUSE_S", 0.02)
        loop.remove_reader(old)
        old.close()
        door._sockets = [short]
        door._look(short)
        caller.relay.dial(listener.id)
        await caller.until_present(listener)
    assert failures == []


@with_sides
async def test_listening_again_at_once_at_the_same_port(sides: Sides) -> None:
    """Links that just ended linger in the kernel, and must not hold the port."""
    caller, listener = await sides.linked()
    port = listener.relay.listening()[0][1]
    listener.relay.cut(caller.id, "the test wants it")
    listener.relay.stop_listening()
    assert await listener.relay.listen("127.0.0.1", port) == port
    await caller.until_present(listener)
    assert free_port() != port
