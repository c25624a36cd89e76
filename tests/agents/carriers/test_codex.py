"""How threads of Codex are told: a stand-in for its app-server on a real socket, and one for its command."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

import coterie.agents.carriers.appserver as appserver
from appserver import FakeAppServer, thread
from conftest import running, wait_for
from coterie.agents.carriers.carrier import Nudge
from coterie.agents.carriers.codex import CodexCarrier, carrier
from coterie.agents.carriers.codex_host import CONTROL
from coterie.errors import CoterieError, Refused, Unavailable, Unsafe

THREAD = "01a1f8b6-553f-7bf3-9c28-671f1f799ddd"
Check = Callable[[CodexCarrier, FakeAppServer, str], Awaitable[None]]


@pytest.fixture
def home() -> Iterator[Path]:
    """A CODEX_HOME with a short path, as a socket lies in it."""
    folder = Path(tempfile.mkdtemp(prefix="codex-"))
    yield folder
    shutil.rmtree(folder)


def run(home: Path, check: Check, **threads: dict[str, Any]) -> None:
    """Run `check` with a carrier and a server that has these threads."""

    async def main() -> None:
        fake, telling = FakeAppServer(), carrier()
        fake.threads.update({loaded["id"]: loaded for loaded in threads.values()})
        server = await fake.serve(str(home))
        try:
            await asyncio.wait_for(check(telling, fake, str(home / CONTROL)), 20)
        finally:
            await telling.close()
            server.close()
            await server.wait_closed()

    asyncio.run(main())


def command(home: Path, script: str) -> str:
    """A stand-in for the command of Codex."""
    program = home / "codex"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(("status", "nudge"), [("idle", Nudge.STARTED), ("active", Nudge.STEERED)])
def test_a_turn_begins_or_is_joined(home: Path, status: str, nudge: Nudge) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        assert await telling.nudge(endpoint, THREAD, "wake up") is nudge
        assert ("turn/start", {"threadId": THREAD, "input": [{"type": "text", "text": "wake up"}]}) in fake.asked

    run(home, check, one=thread(THREAD, status={"type": status}))


def test_one_connection_serves_many_nudges(home: Path) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        await asyncio.gather(*(telling.nudge(endpoint, THREAD, str(number)) for number in range(20)))
        assert [method for method, _ in fake.asked].count("initialize") == 1
        assert [method for method, _ in fake.asked].count("turn/start") == 20

    run(home, check, one=thread(THREAD))


def test_we_say_who_we_are_and_are_spared_what_we_do_not_need(home: Path) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        await telling.server(endpoint)
        ((_, params),) = fake.asked
        assert params["clientInfo"]["name"] == "coterie"
        spared = params["capabilities"]["optOutNotificationMethods"]
        assert "item/agentMessage/delta" in spared
        assert not {"thread/started", "thread/closed", "thread/status/changed"} & set(spared)

    run(home, check)


@pytest.mark.parametrize("found", [{}, {"one": thread(THREAD, status={"type": "notLoaded"})}])
def test_a_thread_that_is_not_loaded_is_not_told(home: Path, found: dict[str, Any]) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        with pytest.raises(Unavailable, match="not loaded"):
            await telling.nudge(endpoint, THREAD, "wake up")

    run(home, check, **found)


def test_a_thread_that_cannot_be_steered_has_the_queue(home: Path) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        telling.learn(str(home), command(home, 'printf "%s\\n" "$@" "$CODEX_HOME" > "$CODEX_HOME/queued"; env >&2'))
        fake.refused["turn/start"] = "active turn not steerable: review"
        assert await telling.nudge(endpoint, THREAD, "wake up") is Nudge.QUEUED

    run(home, check, one=thread(THREAD, status={"type": "active"}))
    queued = (home / "queued").read_text().splitlines()
    assert queued == ["queue", f"--thread={THREAD}", "--message=wake up", str(home)]


def test_a_window_without_app_server_has_the_queue(home: Path) -> None:
    async def check() -> None:
        telling = carrier()
        telling.learn(str(home), command(home, "exit 0"))
        assert await telling.nudge(str(home), THREAD, "wake up") is Nudge.QUEUED
        telling.learn(str(home), command(home, "echo 'no such thread' >&2; exit 1"))
        with pytest.raises(Unavailable, match="codex queue failed: no such thread") as failed:
            await telling.nudge(str(home), THREAD, "wake up")
        assert not failed.value.unanswered
        telling.learn(str(home), command(home, "kill -9 $$"))
        with pytest.raises(Unavailable, match="ended by a signal") as killed:
            await telling.nudge(str(home), THREAD, "wake up")
        assert killed.value.unanswered
        telling.learn(str(home), command(home, "exit 1"))
        for odd in ("--help", "t 1", ""):
            with pytest.raises(Unavailable):
                await telling.nudge(str(home), odd, "wake up")
        with pytest.raises(Unavailable, match="no app-server"):
            await telling.interrupt(str(home), THREAD)
        await telling.close()

    asyncio.run(check())


def test_a_queue_that_hangs_is_given_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coterie.agents.carriers.codex.CODEX_QUEUE_S", 0.2)

    async def check() -> None:
        telling = carrier()
        telling.learn(str(home), command(home, f"echo $$ > {home}/pid; exec sleep 60"))
        with pytest.raises(Unavailable, match="did not end in time") as raised:
            await telling.nudge(str(home), THREAD, "wake up")
        assert raised.value.unanswered, "it may be in the queue"

    asyncio.run(check())
    wait_for(lambda: not running(int((home / "pid").read_text())), "the command is gone")


def test_a_turn_is_interrupted(home: Path) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        assert await telling.interrupt(endpoint, THREAD) is True
        assert ("turn/interrupt", {"threadId": THREAD, "turnId": "turn-1"}) in fake.asked
        fake.threads[THREAD]["status"] = {"type": "idle"}
        assert await telling.interrupt(endpoint, THREAD) is False
        fake.threads[THREAD]["status"] = {"type": "active"}
        fake.refused["turn/interrupt"] = "no"
        with pytest.raises(Unavailable, match="refused turn/interrupt: no"):
            await telling.interrupt(endpoint, THREAD)

    run(home, check, one=thread(THREAD, status={"type": "active"}))


def test_a_version_that_names_no_turn_is_said_so(home: Path) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        server = await telling.server(endpoint)
        call = server.call

        async def other(method: str, params: dict[str, Any]) -> dict[str, Any]:
            return {} if method == "thread/turns/list" else await call(method, params)

        server.call = other  # type: ignore[method-assign]
        with pytest.raises(Unavailable, match="names no turn"):
            await telling.interrupt(endpoint, THREAD)

    run(home, check, one=thread(THREAD, status={"type": "active"}))


def test_nobody_there_is_said_so_and_tried_again_next_time(home: Path) -> None:
    async def check() -> None:
        telling, endpoint = carrier(), str(home / CONTROL)
        with pytest.raises(Unavailable, match="no app-server"):
            await telling.nudge(endpoint, THREAD, "wake up")
        fake = FakeAppServer()
        fake.threads[THREAD] = thread(THREAD)
        server = await fake.serve(str(home))
        assert await telling.nudge(endpoint, THREAD, "wake up") is Nudge.STARTED
        await telling.close()
        server.close()

    asyncio.run(check())


def test_an_end_is_told_once_and_answers_what_was_asked(home: Path) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        ended = asyncio.get_running_loop().create_future()
        telling.lost = ended.set_result
        server = await telling.server(endpoint)
        asking = asyncio.ensure_future(server.call("test/drop", {}))
        with pytest.raises(Unavailable):
            await asking
        assert await ended == endpoint
        with pytest.raises(Unavailable):
            await server.call("thread/loaded/list", {})
        assert await telling.server(endpoint) is not server

    run(home, check)


def test_what_is_told_comes_with_its_place(home: Path) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        told = asyncio.get_running_loop().create_future()
        telling.noted = lambda *said: told.set_result(said)
        server = await telling.server(endpoint)
        for odd in ("}", "[1]", '{"id": 99, "result": {}}', '{"id": 1, "method": "item/tool/requestUserInput"}'):
            await server.call("test/raw", {"text": odd})
        await server.call("test/tell", {"method": "thread/closed", "params": {"threadId": THREAD}})
        assert await told == (endpoint, "thread/closed", {"threadId": THREAD})

    run(home, check)


def test_an_answer_that_never_comes_is_not_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        await telling.server(endpoint)
        monkeypatch.setattr(appserver, "APP_SERVER_S", 0.1)
        fake.take = lambda connection, message: asyncio.sleep(0)  # type: ignore[method-assign, assignment]
        with pytest.raises(Unavailable, match="did not answer thread/read") as raised:
            await telling.nudge(endpoint, THREAD, "wake up")
        assert not raised.value.unanswered, "it was only looked at"

    run(home, check, one=thread(THREAD))


@pytest.mark.parametrize("dropped", [False, True])
def test_a_turn_that_may_have_begun_is_said_so(home: Path, monkeypatch: pytest.MonkeyPatch, dropped: bool) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        take = fake.take

        async def silent(connection: ServerConnection, message: dict[str, Any]) -> None:
            if message.get("method") != "turn/start":
                await take(connection, message)
            elif dropped:
                connection.transport.abort()

        fake.take = silent  # type: ignore[method-assign]
        await telling.server(endpoint)
        monkeypatch.setattr(appserver, "APP_SERVER_S", 5 if dropped else 0.1)
        with pytest.raises(Unavailable) as raised:
            await telling.nudge(endpoint, THREAD, "wake up")
        assert raised.value.unanswered

    run(home, check, one=thread(THREAD))


def test_over_a_connection_that_has_ended_nothing_was_asked(home: Path) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        server = await telling.server(endpoint)
        server.close()
        with pytest.raises(Unavailable) as raised:
            await server.call("turn/start", {})
        assert not raised.value.unanswered

    run(home, check)


def test_a_look_that_takes_long_leaves_the_time_for_an_answer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        monkeypatch.setattr("coterie.agents.carriers.codex.LOOK_S", 0.1)
        fake.take = lambda connection, message: asyncio.sleep(0)  # type: ignore[method-assign, assignment]
        with pytest.raises(Unavailable, match="did not answer in time") as raised:
            await telling.nudge(endpoint, THREAD, "wake up")
        assert not raised.value.unanswered

    run(home, check, one=thread(THREAD))


def test_one_that_greets_and_goes_before_anybody_has_it_is_not_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greet = appserver.AppServer._greet

    async def greets_and_goes(self: appserver.AppServer, path: str) -> None:
        await greet(self, path)
        self._connection.transport.abort()
        await self._reading

    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        lost: list[str] = []
        telling.lost = lost.append
        monkeypatch.setattr(appserver.AppServer, "_greet", greets_and_goes)
        assert (await telling.server(endpoint)).is_over
        assert (lost, telling.connected(endpoint)) == ([endpoint], None)
        monkeypatch.undo()
        assert await telling.nudge(endpoint, THREAD, "wake up") is Nudge.STARTED

    run(home, check, one=thread(THREAD))


def test_what_left_in_part_may_have_been_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        server = await telling.server(endpoint)
        for connection in fake.clients:
            connection.transport.pause_reading()
        monkeypatch.setattr(appserver, "APP_SERVER_S", 0.1)
        with pytest.raises(Unavailable, match="is gone") as raised:
            await server.call("turn/start", {"threadId": THREAD, "input": "x" * 4_000_000})
        assert raised.value.unanswered

    run(home, check, one=thread(THREAD))


def test_a_refusal_has_its_reason(home: Path) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        with pytest.raises(Refused, match="refused fs/readFile: thread not found"):
            await (await telling.server(endpoint)).call("fs/readFile", {})
        fake.refused["initialize"] = "too old"

    run(home, check)


def test_only_a_socket_of_our_own_is_spoken_on(home: Path, as_root: None) -> None:
    async def check(telling: CodexCarrier, fake: FakeAppServer, endpoint: str) -> None:
        os.chown(home / "real.sock", 12345, 12345)
        with pytest.raises(Unsafe, match="not a socket of yours"):
            await telling.server(endpoint)
        with pytest.raises(Unavailable, match="not a socket of yours"):
            await telling.nudge(endpoint, THREAD, "wake up")
        assert fake.asked == []

    run(home, check)


def test_a_file_is_no_socket_and_a_socket_no_app_server(home: Path) -> None:
    path = home / CONTROL
    path.parent.mkdir()
    path.write_text("no socket")

    async def reach() -> CoterieError:
        with pytest.raises(CoterieError) as refused:
            await carrier().server(str(path))
        return refused.value

    assert isinstance(asyncio.run(reach()), Unsafe)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert isinstance(asyncio.run(reach()), Unavailable)
