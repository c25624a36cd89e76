"""Names are looked up beside the work, once at a time each, and never hold up the end."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from coterie.net.names import ADDRESSES_MAX, Names


def test_an_address_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Thread", None)
    found = asyncio.run(Names().find("127.0.0.1", 5))
    assert found == [(socket.AF_INET, ("127.0.0.1", 5))]
    assert asyncio.run(Names().find("::1", 5)) == [(socket.AF_INET6, ("::1", 5, 0, 0))]


def test_a_name_has_addresses() -> None:
    assert (socket.AF_INET, ("127.0.0.1", 5)) in asyncio.run(Names().find("localhost", 5))


@pytest.mark.parametrize(
    "name", ["no-such-host.invalid", "a..b", "é" * 80 + ".x"], ids=["unknown", "empty label", "long label"]
)
def test_a_name_that_nobody_knows(name: str) -> None:
    with pytest.raises(socket.gaierror):
        asyncio.run(Names().find(name, 5))


class Service:
    """A name service that answers when it is told to, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answer = threading.Event()
        self.ended = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: int, *, type: int, flags: int) -> list[Any]:  # noqa: A002
        if flags:
            raise socket.gaierror
        self.asked.append(host)
        self.answer.wait(10)
        return [(socket.AF_INET, type, 6, "", (f"10.0.0.{number}", port)) for number in range(9)]


def test_who_asks_meanwhile_waits_for_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch)

    async def main() -> None:
        looked = Names()
        given_up = asyncio.ensure_future(looked.find("box", 5))
        others = [asyncio.ensure_future(looked.find("box", 5)) for _ in range(3)]
        await asyncio.sleep(0)
        given_up.cancel()
        service.answer.set()
        found = await asyncio.gather(*others)
        assert found[0] == found[1] == found[2]
        assert len(found[0]) == ADDRESSES_MAX
        assert service.asked == ["box"]
        await looked.find("box", 5)
        assert service.asked == ["box", "box"], "an answer is not kept"

    asyncio.run(main())


def test_a_service_that_never_answers_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch)
    threads = set(threading.enumerate())

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await Names().find("box", 5)

    asyncio.run(main())
    looking = set(threading.enumerate()) - threads
    assert all(thread.daemon for thread in looking), "the process can end"
    service.answer.set()  # The answer finds no loop any more.
    for thread in looking:
        thread.join(10)
