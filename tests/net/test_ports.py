"""Sockets that listen, and why none can."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import pytest

from coterie.errors import Refused
from coterie.net import ports


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EADDRINUSE, r"port 9847 is taken by another program \(\[::1\]:9847\)"),
        (errno.EADDRNOTAVAIL, "this machine has no address ::1"),
        (errno.EACCES, "port 9847 is not yours to listen at"),
        (errno.ENOBUFS, r"cannot listen at \[::1\]:9847: No buffer space"),
    ],
)
def test_every_reason_is_named(monkeypatch: pytest.MonkeyPatch, number: int, message: str) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "bind", fails)
    with pytest.raises(Refused, match=message) as refused:
        asyncio.run(ports.bound("::1", 9847))
    assert refused.value.hint


def test_without_ipv6_there_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket.socket

    def only_ipv4(family: int = socket.AF_INET, *arguments: int, **named: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return made(family, *arguments, **named)

    monkeypatch.setattr(socket, "socket", only_ipv4)
    (one,) = asyncio.run(ports.bound("::", 0))
    assert one.getsockname()[0] == "0.0.0.0"
    one.close()


def test_every_address_of_a_name_has_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another port is asked for where the second address has the first one's taken."""
    taken: list[socket.socket] = []
    listening = ports._listening

    def meddled(places: list[ports.Place], port: int) -> list[socket.socket]:
        if len(taken) < 3:
            taken.append(socket.create_server(("127.0.0.2", 0)))
            port = taken[-1].getsockname()[1]
        return listening(places, port)

    async def addresses(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, 1, 6, "", (host, 0)) for host in ("127.0.0.1", "127.0.0.2")]

    async def main() -> list[socket.socket]:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
        return await ports.bound("box", 0)

    monkeypatch.setattr(ports, "_listening", meddled)
    sockets = asyncio.run(main())
    assert len(taken) == 3
    assert [one.getsockname()[0] for one in sockets] == ["127.0.0.1", "127.0.0.2"]
    assert len({one.getsockname()[1] for one in sockets}) == 1
    for one in (*taken, *sockets):
        one.close()
