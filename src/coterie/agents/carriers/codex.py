"""Tells the threads of Codex that there is mail. Measured with 0.169.0.

``turn/start`` on the app-server begins a turn in an idle thread, and in a busy one it joins the turn under way, so that
no turn id can be out of date. Without further parameters model, sandbox and approvals stay what they are. A thread that
does not take it (a review, say, cannot be steered) and a window without app-server have the queue of Codex:
``codex queue`` stores the text, and the window takes it at the end of its turn, within ten seconds.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from functools import partial

from coterie.agents.carriers.appserver import DOCTOR, AppServer, Json
from coterie.agents.carriers.carrier import Carrier, Nudge
from coterie.agents.carriers.codex_host import home_of, is_socket
from coterie.errors import CoterieError, Refused, Unavailable
from coterie.limits import APP_SERVER_S, CODEX_QUEUE_S, NUDGE_S

PLACES = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"
"""Where the command is looked for when no process of Codex showed where it is."""
OURS = "coterie doctor codex"
"""What to do about the command that is run."""
SPARE_S = 0.5
"""So much before NUDGE_S is over the carrier itself gives up: only it knows whether the nudge had gone out."""
LOOK_S = NUDGE_S - APP_SERVER_S - SPARE_S - 1.0
"""How long to look at the thread before it is told: what follows is one answer, and a second for the queue."""
_THREAD = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,199}")


class CodexCarrier(Carrier):
    """The app-servers that are connected to, and the queue."""

    def __init__(self) -> None:
        self.noted: Callable[[str, str, Json], None] = lambda endpoint, method, params: None
        """Called with an endpoint and what its app-server told everybody."""
        self.lost: Callable[[str], None] = lambda endpoint: None
        """Called with an endpoint whose connection is over."""
        self._servers: dict[str, asyncio.Future[AppServer]] = {}
        self._programs: dict[str, str] = {}

    def learn(self, home: str, program: str) -> None:
        """A process of Codex with this CODEX_HOME runs this program."""
        self._programs[home] = program

    async def server(self, endpoint: str) -> AppServer:
        """The connection to the app-server at `endpoint`; it stays open. Raises `Unavailable` or `Unsafe`."""
        connecting = self._servers.get(endpoint)
        if connecting is None:
            ended = partial(self._over, endpoint)
            connect = AppServer.connect(endpoint, partial(self._told, endpoint), ended)
            connecting = self._servers[endpoint] = asyncio.ensure_future(connect)
            connecting.add_done_callback(partial(self._connected, endpoint))
        return await asyncio.shield(connecting)

    def connected(self, endpoint: str) -> AppServer | None:
        """The connection to the app-server at `endpoint`, if there is one."""
        found = self._servers.get(endpoint)
        made = found is not None and found.done() and not found.cancelled() and not found.exception()
        return found.result() if found and made else None

    def _connected(self, endpoint: str, connecting: asyncio.Future[AppServer]) -> None:
        if connecting.cancelled() or connecting.exception():
            if self._servers.get(endpoint) is connecting:
                del self._servers[endpoint]
        elif connecting.result().is_over:  # It greeted, and went before anybody had it.
            self._over(endpoint, connecting.result())

    def _told(self, endpoint: str, method: str, params: Json) -> None:
        self.noted(endpoint, method, params)

    def _over(self, endpoint: str, server: AppServer) -> None:
        if self.connected(endpoint) is server:
            del self._servers[endpoint]
            self.lost(endpoint)

    # --- telling ------------------------------------------------------------------------------------------

    async def nudge(self, endpoint: str, session: str, text: str) -> Nudge:
        """Begin a turn with `text`, or put it into the turn under way, or into the queue."""
        until = asyncio.get_running_loop().time() + NUDGE_S - SPARE_S
        if not is_socket(endpoint):
            return await self._queue(endpoint, session, text, until)
        server, status = await self._look(endpoint, session)
        if status == "notLoaded":
            raise Unavailable("its thread is not loaded any more", "codex resume brings it back")
        try:
            await server.call("turn/start", {"threadId": session, "input": [{"type": "text", "text": text}]})
        except Refused:
            return await self._queue(home_of(endpoint), session, text, until)
        return Nudge.STEERED if status == "active" else Nudge.STARTED

    async def _look(self, endpoint: str, session: str) -> tuple[AppServer, str]:
        """The app-server and the status of its thread. Raises `Unavailable`, and the thread was told nothing."""
        try:
            async with asyncio.timeout(LOOK_S):
                server = await self.server(endpoint)
                return server, await self._status(server, session)
        except TimeoutError:
            raise Unavailable("the app-server of codex did not answer in time", DOCTOR) from None
        except CoterieError as error:
            raise Unavailable(error.message, error.hint) from None

    async def interrupt(self, endpoint: str, session: str) -> bool:
        """End the turn under way. False if there was none."""
        if not is_socket(endpoint):
            raise Unavailable("its codex has no app-server, which alone could be asked", "press Esc in its window")
        server, status = await self._look(endpoint, session)
        if status != "active":
            return False
        try:
            listed = await server.call("thread/turns/list", {"threadId": session, "limit": 1})
            await server.call("turn/interrupt", {"threadId": session, "turnId": listed["data"][0]["id"]})
        except Refused as error:
            raise Unavailable(error.message, "press Esc in its window") from None
        except (KeyError, IndexError, TypeError):
            raise Unavailable("codex names no turn that could be interrupted", "press Esc in its window") from None
        return True

    async def close(self) -> None:
        """Let go of every app-server."""
        servers, self._servers = list(self._servers.values()), {}
        for connecting in servers:
            connecting.cancel()
            if connecting.done() and not connecting.cancelled() and not connecting.exception():
                connecting.result().close()

    async def _status(self, server: AppServer, session: str) -> str:
        """``idle``, ``active``, ``notLoaded`` or ``systemError``."""
        try:
            thread = (await server.call("thread/read", {"threadId": session})).get("thread")
        except Refused:
            return "notLoaded"
        status = thread.get("status") if isinstance(thread, dict) else None
        return str(status.get("type")) if isinstance(status, dict) else "notLoaded"

    # --- the queue ------------------------------------------------------------------------------------------

    async def _queue(self, home: str, session: str, text: str, until: float) -> Nudge:
        program = self._program(home)
        if program is None or not _THREAD.fullmatch(session):
            raise Unavailable("the codex command was not found, so nothing can be queued", OURS)
        command = [program, "queue", f"--thread={session}", f"--message={text}"]
        environ = {"HOME": os.path.expanduser("~"), "CODEX_HOME": home, "PATH": PLACES, "LANG": "C.UTF-8"}
        try:
            running = await asyncio.create_subprocess_exec(
                *command, env=environ, cwd="/", stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, start_new_session=True
            )
        except OSError as error:
            raise Unavailable(f"{program} cannot be run: {error.strerror}", OURS) from None
        try:
            patience = min(CODEX_QUEUE_S, until - asyncio.get_running_loop().time())
            _, said = await asyncio.wait_for(running.communicate(), patience)
        except TimeoutError:
            running.kill()
            await running.wait()
            raise Unavailable("codex queue did not end in time", OURS, unanswered=True) from None
        except asyncio.CancelledError:
            running.kill()
            raise
        if running.returncode and running.returncode < 0:
            raise Unavailable("codex queue was ended by a signal", OURS, unanswered=True)
        if running.returncode:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            raise Unavailable(f"codex queue failed: {last[:200]}", OURS)
        return Nudge.QUEUED

    def _program(self, home: str) -> str | None:
        program = self._programs.get(home)
        if program and os.access(program, os.X_OK):
            return program
        return shutil.which("codex", path=f"{os.path.expanduser('~/.local/bin')}:{PLACES}")


def carrier() -> CodexCarrier:
    """The carrier of this kind."""
    return CodexCarrier()
