"""Host names looked up beside the work. A name service that is not there must hold up nobody else, nor our end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

ADDRESSES_MAX = 4
"""Addresses of one name that are tried: it mostly has one of each kind."""

Found = list[tuple[int, tuple[Any, ...]]]
"""Family and address of each, as a socket takes them."""


class Names:
    """Looks names up, each in a thread of its own: those of the loop are for work that ends, and are waited for."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[Found]] = {}

    async def find(self, host: str, port: int) -> Found:
        """The addresses of a host. Raises `OSError` if there are none. An address needs no thread."""
        try:
            return _found(host, port, socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass
        place = f"{host} {port}"
        if place not in self._under_way:
            self._start(place, host, port)
        return await asyncio.shield(self._under_way[place])

    def _start(self, place: str, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        future.add_done_callback(lambda done: done.exception())  # Whoever asked may have given up.
        self._under_way[place] = future

        def done(found: Found | OSError) -> None:
            del self._under_way[place]
            if isinstance(found, OSError):
                future.set_exception(found)
            else:
                future.set_result(found)

        def look() -> None:
            found: Found | OSError
            try:
                found = _found(host, port, 0)
            except OSError as error:
                found = error
            with contextlib.suppress(RuntimeError):  # The loop has ended meanwhile.
                loop.call_soon_threadsafe(done, found)

        threading.Thread(target=look, name="coterie-name", daemon=True).start()


def _found(host: str, port: int, flags: int) -> Found:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError:  # A name that no name service could be asked for.
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
    return [(family, place) for family, _, _, _, place in found[:ADDRESSES_MAX]]
