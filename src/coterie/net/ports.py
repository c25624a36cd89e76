"""Sockets that listen at an address and a port, or the reason why none can."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

from coterie.endpoints import address
from coterie.errors import Refused
from coterie.limits import LINK_BACKLOG

_TRIES = 16
"""How often another port is asked for, when any will do and one of the addresses has it taken."""
Place = tuple[socket.AddressFamily, tuple[Any, ...]]


async def bound(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at every address of `host`, all on one port; :: is IPv4 too. Raises `Refused`."""
    if host == "::" and not _has_ipv6():
        host = "0.0.0.0"  # noqa: S104 (all addresses are what was asked for)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Refused(
            f"no address {host!r} to listen at: {error.strerror}", "0.0.0.0 is all of IPv4, :: of both"
        ) from None
    places: list[Place] = list(dict.fromkeys((family, place) for family, _, _, _, place in found))
    for _ in range(_TRIES - 1):
        try:
            return _listening(places, port)
        except Refused:
            if port or len(places) < 2:
                raise
    return _listening(places, port)


def _has_ipv6() -> bool:
    """Whether the system has it: it can be built without, and switched off."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
            one.bind(("::", 0))
    except OSError:
        return False
    return True


def _listening(places: list[Place], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for family, place in places:
            sockets.append(_listen(family, (place[0], port, *place[2:]), both=len(places) == 1))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise _refused(place[0], port, error) from None
    return sockets


def _listen(family: socket.AddressFamily, place: tuple[Any, ...], *, both: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
        listener.setblocking(False)
        listener.bind(place)
        listener.listen(LINK_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _refused(host: str, port: int, error: OSError) -> Refused:
    place = address(host, port)
    if error.errno == errno.EADDRINUSE:
        hint = "take another one: --port N (0: any that is free)"
        return Refused(f"port {port} is taken by another program ({place})", hint)
    if error.errno == errno.EADDRNOTAVAIL:
        return Refused(f"this machine has no address {host}", "0.0.0.0 listens at every one of IPv4, :: at all")
    if error.errno == errno.EACCES:
        return Refused(f"port {port} is not yours to listen at", "take one above 1023: --port N")
    return Refused(f"cannot listen at {place}: {os.strerror(error.errno or 0)}", "take another address or port")
