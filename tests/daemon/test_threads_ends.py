"""The threads of Codex when something ends at the wrong moment: with a real socket, store and presence, in one loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from appserver import FakeAppServer, thread
from conftest import Place
from coterie.agents.carriers.codex import CodexCarrier
from coterie.agents.carriers.codex_host import CONTROL, Host, Role
from coterie.daemon.presence import Presence
from coterie.daemon.threads import Threads
from coterie.errors import DiskFull
from coterie.peers import Peer, State
from coterie.store.db import Store

TRIES = 3
"""After the first."""


async def replaced(before: Peer, peer: Peer) -> None:
    """No process goes from one session to another here."""


class Parts:
    """The threads of one app-server, and what they are made of."""

    def __init__(self, place: Place, fake: FakeAppServer) -> None:
        self.fake = fake
        self.endpoint = str(place.root / CONTROL)
        self.store = Store.open(place.home, time.time())
        self.presence = Presence(
            self.store,
            time.time,
            on_end=lambda peer: None,
            on_carried=lambda peer: None,
            on_replaced=replaced,
            connections=list,
        )
        self.carrier = CodexCarrier()
        self.reachable: Callable[[Peer], None] = lambda peer: None
        self.threads = Threads(self.presence, lambda: self.carrier, lambda peer: self.reachable(peer), time.time)

        self.losses = 0
        self.changed = asyncio.Event()
        self.lost, self.carrier.lost = self.threads._carriers().lost, self.has_lost

    def has_lost(self, endpoint: str) -> None:
        self.lost(endpoint)
        self.losses += 1
        self.changed.set()

    async def wait_lost(self, losses: int) -> None:
        while self.losses < losses:
            self.changed.clear()
            await self.changed.wait()

    def hint(self) -> None:
        self.threads.here(1)

    async def settle(self) -> None:
        """Wait until nothing is under way: neither a search nor a thread that is taken in."""
        while self.threads._tasks:
            await asyncio.wait(self.threads._tasks)

    def connections(self) -> int:
        return [method for method, _ in self.fake.asked].count("initialize")

    def peer(self) -> Peer:
        (peer,) = self.presence.roster
        return peer


Check = Callable[[Parts], Awaitable[None]]


@pytest.fixture
def run(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[Check], None]:
    monkeypatch.setattr("coterie.daemon.search.APP_SERVER_RETRIES_S", (0.05,) * TRIES)
    found = Host(Role.SERVER, str(place.root), "codex")
    monkeypatch.setattr("coterie.daemon.threads._host_of", lambda pid: (pid, found))

    async def main(check: Check) -> None:
        fake = FakeAppServer()
        fake.threads["t-1"] = thread("t-1", "/web")
        server = await fake.serve(str(place.root))
        parts = Parts(place, fake)
        try:
            await asyncio.wait_for(check(parts), 20)
        finally:
            parts.threads.close()
            await parts.carrier.close()
            await parts.store.close()
            server.close()
            await server.wait_closed()

    return lambda check: asyncio.run(main(check))


def cut(fake: FakeAppServer, at: str) -> None:
    """Have the server drop a connection that asks for `at`."""
    take = fake.take

    async def cutting(connection: ServerConnection, message: dict[str, Any]) -> None:
        if message.get("method") == at:
            connection.transport.abort()
        else:
            await take(connection, message)

    fake.take = cutting  # type: ignore[method-assign]


@pytest.mark.parametrize("at", ["thread/loaded/list", "thread/read"])
def test_a_server_that_greets_and_drops_is_left_alone_until_the_next_hint(
    run: Callable[[Check], None], at: str
) -> None:
    async def check(parts: Parts) -> None:
        cut(parts.fake, at)
        parts.hint()
        await parts.settle()
        assert parts.connections() == 1 + TRIES
        parts.hint()
        await parts.settle()
        assert parts.connections() == 2 + TRIES

    run(check)


def test_a_server_that_drops_whenever_its_thread_is_told_makes_no_endless_loop(run: Callable[[Check], None]) -> None:
    async def check(parts: Parts) -> None:
        told: list[str] = []

        def drop(peer: Peer) -> None:
            told.append(peer.id)
            for connection in parts.fake.clients:
                connection.transport.abort()

        parts.reachable = drop
        parts.hint()
        await parts.wait_lost(1 + TRIES)
        await parts.settle()
        assert len(told) == parts.connections() == 1 + TRIES
        assert (parts.peer().state, parts.peer().endpoint) == (State.AWAY, "")

    run(check)


def test_a_status_over_a_connection_that_drops_does_not_connect_by_itself(run: Callable[[Check], None]) -> None:
    """Each connection told of a thread, and was gone when it was asked about."""

    async def check(parts: Parts) -> None:
        cut(parts.fake, "thread/read")
        answer = parts.fake.answer

        async def telling(method: str, params: dict[str, Any]) -> dict[str, Any]:
            if method == "thread/loaded/list":
                said = {"threadId": "t-1", "status": {"type": "idle"}}
                await parts.fake.obey("test/tell", {"method": "thread/status/changed", "params": said})
                return {"data": []}
            return await answer(method, params)

        parts.fake.answer = telling  # type: ignore[method-assign]
        parts.hint()
        await parts.wait_lost(1 + TRIES)
        await parts.settle()
        assert parts.connections() == 1 + TRIES

    run(check)


@pytest.mark.parametrize("told", [False, True], ids=["listed", "told"])
@pytest.mark.parametrize("write", [1, 2], ids=["the-peer", "its-endpoint"])
def test_a_full_disk_for_a_moment_costs_a_thread_a_moment(
    run: Callable[[Check], None], monkeypatch: pytest.MonkeyPatch, told: bool, write: int
) -> None:
    async def check(parts: Parts) -> None:
        if told:
            loaded = parts.fake.threads.pop("t-1")
            parts.hint()
            await parts.settle()
        save, writes, began = parts.presence.save, 0, asyncio.Event()

        def full(peer: Peer) -> asyncio.Future[None]:
            nonlocal writes
            writes += 1
            began.set()
            if writes != write:
                return save(peer)
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(DiskFull("no room"))
            return failed

        monkeypatch.setattr(parts.presence, "save", full)
        if told:
            parts.fake.threads["t-1"] = loaded
            status = {"threadId": "t-1", "status": {"type": "idle"}}
            await parts.fake.obey("test/tell", {"method": "thread/status/changed", "params": status})
            await began.wait()
        else:
            parts.hint()
        await parts.settle()
        assert writes > write
        peer = parts.peer()
        assert (peer.state, peer.endpoint, peer.followed) == (State.LOADED, parts.endpoint, True)

    run(check)


def test_a_thread_that_is_gone_when_there_is_room_again_leaves_no_ghost(
    run: Callable[[Check], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(parts: Parts) -> None:
        save = parts.presence.save

        def full(peer: Peer) -> asyncio.Future[None]:
            monkeypatch.setattr(parts.presence, "save", save)
            parts.fake.threads.clear()
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(DiskFull("no room"))
            return failed

        monkeypatch.setattr(parts.presence, "save", full)
        parts.hint()
        await parts.settle()
        assert (parts.peer().state, parts.peer().followed) == (State.AWAY, False)

    run(check)


def test_a_thread_that_is_closed_while_git_is_asked_leaves_no_ghost(
    run: Callable[[Check], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(parts: Parts) -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(cwd: str) -> str:
            asked.set()
            await go_on.wait()
            return ""

        monkeypatch.setattr(parts.presence.repositories, "common_dir", slow)
        closed = asyncio.get_running_loop().create_future()
        parts.hint()
        await asked.wait()
        told = parts.carrier.noted

        def noted(*said: Any) -> None:
            told(*said)
            closed.set_result(None)

        parts.carrier.noted = noted
        await parts.fake.obey("test/tell", {"method": "thread/closed", "params": {"threadId": "t-1"}})
        await closed
        go_on.set()
        await parts.settle()
        assert (parts.peer().state, parts.peer().followed) == (State.AWAY, False)

    run(check)


def test_what_a_server_said_last_does_not_bring_its_thread_back(run: Callable[[Check], None]) -> None:
    """The answer and the end of the connection came together, and the end was seen first."""

    async def check(parts: Parts) -> None:
        server = await parts.carrier.server(parts.endpoint)
        call = server.call

        async def last(method: str, params: dict[str, Any]) -> dict[str, Any]:
            answer = await call(method, params)
            if method == "thread/read":
                for connection in parts.fake.clients:
                    connection.transport.abort()
                await parts.wait_lost(1)
                parts.fake.threads.clear()
            return answer

        server.call = last  # type: ignore[method-assign]
        parts.hint()
        await parts.settle()
        assert list(parts.presence.roster) == []

    run(check)
