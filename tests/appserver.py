"""A process that stands in for the app-server of Codex: it speaks the messages that were measured with 0.169.0.

usage: codex appserver.py app-server ADAPTER...       (CODEX_HOME is where its socket goes; `codex` is a link to Python)

Besides, it obeys a test, over the same socket: `test/load` (a thread), `test/tell` (a notification for everybody),
`test/refuse` (an error for a method), `test/drop` (all connections), `test/asked` (what others called).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import unix_connect

from coterie.agents.carriers.codex_host import CONTROL

Json = dict[str, Any]
HERE = Path(__file__)


def thread(thread_id: str, cwd: str = "/", **fields: Any) -> Json:
    """A thread as `thread/read` gives it."""
    user = {"ephemeral": False, "parentThreadId": None, "threadSource": "user", "preview": ""}
    return {"id": thread_id, "sessionId": thread_id, "cwd": cwd, "status": {"type": "idle"}, **user, **fields}


class FakeAppServer:
    """The server's side of all connections."""

    def __init__(self) -> None:
        self.threads: dict[str, Json] = {}
        self.refused: dict[str, str] = {}
        self.asked: list[tuple[str, Json]] = []
        self.clients: set[ServerConnection] = set()
        """Those that have greeted; a test's own connection has not."""

    async def serve(self, home: str) -> Any:
        """Listen where Codex does: the name that is known is a link."""
        path = os.path.join(home, CONTROL)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        real = os.path.join(home, "real.sock")
        server = await unix_serve(self.talk, real, ping_interval=None)
        os.symlink(real, path)
        return server

    async def talk(self, connection: ServerConnection) -> None:
        try:
            async for text in connection:
                await self.take(connection, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self.clients.discard(connection)

    async def take(self, connection: ServerConnection, message: Json) -> None:
        assert "jsonrpc" not in message
        if "id" not in message:
            return
        method, params = message["method"], message["params"]
        if not method.startswith("test/"):
            self.asked.append((method, params))
            self.clients.add(connection)
        try:
            if method in self.refused:
                raise ValueError(self.refused[method])
            answer = {"result": await self.answer(method, params)}
        except (KeyError, ValueError) as error:
            answer = {"error": {"code": -32600, "message": str(error)}}
        await connection.send(json.dumps({"id": message["id"], **answer}))

    async def answer(self, method: str, params: Json) -> Json:
        named = self.threads.get(params.get("threadId", ""))
        match method:
            case "initialize":
                return {"userAgent": "fake"}
            case "thread/loaded/list":
                return {"data": list(self.threads)}
            case "thread/read" if named:
                return {"thread": named}
            case "thread/unsubscribe":
                return {"status": "unsubscribed"}
            case "thread/turns/list":
                return {"data": [{"id": "turn-1"}]}
            case "turn/start" | "turn/interrupt" if named:
                return {"turn": {"id": "turn-1"}}
        return await self.obey(method, params)

    async def obey(self, method: str, params: Json) -> Json:
        match method:
            case "test/load":
                self.threads[params["id"]] = params
            case "test/unload":
                del self.threads[params["id"]]
            case "test/tell":
                for connection in self.clients:
                    await connection.send(json.dumps(params))
            case "test/raw":
                for connection in self.clients:
                    await connection.send(params["text"])
            case "test/refuse":
                self.refused |= params
            case "test/drop":
                for connection in list(self.clients):
                    connection.transport.abort()
            case "test/asked":
                return {"asked": self.asked}
            case _:
                raise ValueError("thread not found")
        return {}


class Control:
    """The test's connection to it."""

    def __init__(self, home: Path) -> None:
        connect = unix_connect(str(home / "real.sock"), uri="ws://localhost/", ping_interval=None)
        self._open = contextlib.ExitStack()
        self.connection = self._open.enter_context(connect)

    def do(self, method: str, /, **params: Any) -> Json:
        self.connection.send(json.dumps({"id": 1, "method": f"test/{method}", "params": params}))
        while True:
            message: Json = json.loads(self.connection.recv(20))
            if message.get("id") == 1:
                result: Json = message["result"]
                return result

    def tell(self, method: str, /, **params: Any) -> None:
        self.do("tell", method=method, params=params)

    def status(self, thread_id: str, status: str) -> None:
        """What everybody is told when a turn begins or ends, or a thread is unloaded."""
        self.tell("thread/status/changed", threadId=thread_id, status={"type": status})

    def asked(self, method: str) -> list[Json]:
        return [params for name, params in self.do("asked")["asked"] if name == method]

    def close(self) -> None:
        self._open.close()


def command(root: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    """What starts it as Codex, with an adapter below it, and the environment for that."""
    program = root / "codex"
    if not program.exists():
        program.symlink_to(sys.executable)
    adapter = [sys.executable, "-P", "-m", "coterie.mcp.main"]
    environ = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "CODEX_HOME": str(root / "home-of-codex")}
    return [str(program), str(HERE), *words, "--", *adapter], environ


async def main(words: list[str]) -> int:
    """Serve until the adapter ends."""
    fake = FakeAppServer()
    separator = words.index("--")
    server = await fake.serve(os.environ["CODEX_HOME"]) if "app-server" in words[:separator] else None
    loads = json.loads(os.environ.get("LOADED", "[]"))
    fake.threads.update({loaded["id"]: loaded for loaded in loads})
    adapter = await asyncio.create_subprocess_exec(*words[separator + 1 :])
    status = await adapter.wait()
    if server:
        server.close()
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
