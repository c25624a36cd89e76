"""The threads of Codex as peers: those loaded on an app-server are found before their first prompt, and lost when they
are unloaded.

An adapter that nobody called yet says that it is here. Then the app-server that started it is asked once which threads
it has loaded, and from then on it tells: nothing is polled, and no thread is subscribed to, so that windows notice
nothing. A loaded thread has a window, or had one lately: 60 s after its last window is gone 0.169.0 unloads it, and
ends its adapter. A connection that ends takes its threads with it until the app-server is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeGuard

from coterie.agents.carriers.appserver import AppServer, Json
from coterie.agents.carriers.codex import CodexCarrier
from coterie.agents.carriers.codex_host import Host, Role, host
from coterie.daemon import processes
from coterie.daemon.presence import Presence
from coterie.daemon.search import Search
from coterie.errors import CoterieError, Refused
from coterie.limits import PATH_CHARS_MAX, SESSION_CHARS_MAX, THREADS_MAX
from coterie.peers import LISTED, Claim, Peer, Process, anchor

log = logging.getLogger(__name__)

KIND = "codex"


class Threads:
    """The threads of the app-servers of this device."""

    def __init__(
        self,
        presence: Presence,
        carrier: Callable[[], CodexCarrier],
        reachable: Callable[[Peer], None],
        clock: Callable[[], float],
    ) -> None:
        self.parents: dict[str, str] = {}
        """The parent of each sub-agent's thread."""
        self._presence = presence
        self._carrier_of = carrier
        self._carrier: CodexCarrier | None = None
        self._reachable = reachable
        """Called with a peer whose client can be told something from now on."""
        self._clock = clock
        self._loaded: dict[str, str] = {}
        """The endpoint of each thread that is a peer's."""
        self._others: set[str] = set()
        """Threads that are nobody's: sub-agents', and those that the client makes for titles and the like."""
        self._watch = processes.Watch(self._window_ended)
        self._windows: dict[Process, set[str]] = {}
        """The peers whose threads live in a window's own process."""
        self._searches: dict[str, Search] = {}
        """One for each endpoint."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def close(self) -> None:
        """Follow nobody any more."""
        self._closing = True
        self._watch.close()
        for task in self._tasks:
            task.cancel()

    def root(self, thread: str) -> str:
        """The thread at the root of a sub-agent's, or the thread itself."""
        seen = {thread}
        while (parent := self.parents.get(thread)) and parent not in seen:
            seen.add(parent)
            thread = parent
        return thread

    # --- who says that there is something to look at -------------------------------------------------------------

    def here(self, pid: int) -> None:
        """A child of Codex, the process `pid`, began: there may be a new thread."""
        _, found = _host_of(pid)
        if found and found.role is Role.SERVER:
            self._look_at(found)

    def met(self, peer: Peer, pid: int) -> None:
        """A child of Codex, the process `pid`, showed that it is of the session of `peer`."""
        process, found = _host_of(pid) if peer.kind == KIND else (0, None)
        if found is None:
            return
        before, peer.one_shot = (peer.one_shot, peer.endpoint), found.role is Role.ONCE
        if found.role is not Role.SERVER:
            peer.endpoint = found.endpoint
            self._carriers().learn(found.home, found.program)
            self._keep_window(processes.identify(process), peer)
            if before != (peer.one_shot, peer.endpoint):
                self._presence.save(peer).add_done_callback(_log_failure)
        elif not any(session in self._loaded for session in peer.sessions):
            self._look_at(found)

    def ended(self, peer: Peer) -> None:
        """The session of `peer` is over, as far as its processes tell. If its adapter ended alone, the thread is still
        loaded; if the thread is being unloaded, that is told soon.
        """
        endpoint = self._loaded.get(peer.sessions[-1]) if peer.followed and peer.adapter else None
        if endpoint and not self._closing:
            del self._loaded[peer.sessions[-1]]
            peer.endpoint, peer.followed = "", False
            self._ask_about(endpoint, peer.sessions[-1])

    def _carriers(self) -> CodexCarrier:
        if self._carrier is None:
            self._carrier = self._carrier_of()
            self._carrier.noted, self._carrier.lost = self._told, self._lost
        return self._carrier

    def _look_at(self, found: Host) -> None:
        self._carriers().learn(found.home, found.program)
        self._search(found.endpoint).hint()

    def _search(self, endpoint: str) -> Search:
        if endpoint not in self._searches:
            self._searches[endpoint] = Search(partial(self._follow, endpoint), self._run)
        return self._searches[endpoint]

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error:
            log.error("the threads of codex could not be followed", exc_info=error)

    # --- what the app-server says ------------------------------------------------------------------------------

    async def _follow(self, endpoint: str) -> None:
        """Take in every thread that is loaded now; what changes later is told."""
        server = await self._carriers().server(endpoint)
        listed = (await server.call("thread/loaded/list", {})).get("data")
        for thread in listed[:THREADS_MAX] if isinstance(listed, list) else []:
            if _is_id(thread) and thread not in self._others:
                await self._read(server, endpoint, thread)

    def _ask_about(self, endpoint: str, thread: str) -> None:
        self._on_server(endpoint, lambda server: self._read(server, endpoint, thread))

    def _on_server(self, endpoint: str, work: Callable[[AppServer], Coroutine[Any, Any, None]]) -> None:
        """Do something over the connection that is there. If it is gone, or goes, all that is loaded is asked again
        when it is back.
        """
        server = self._carriers().connected(endpoint)
        if server:
            self._run(self._or_again(endpoint, work(server)))

    async def _or_again(self, endpoint: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except CoterieError as error:
            log.info("the app-server of codex: %s", error)
            self._search(endpoint).lost()

    async def _read(self, server: AppServer, endpoint: str, thread: str) -> None:
        try:
            found = (await server.call("thread/read", {"threadId": thread})).get("thread")
        except Refused:
            return  # Unloaded meanwhile.
        if isinstance(found, dict):
            await self._take(server, endpoint, found)

    async def _take(self, server: AppServer, endpoint: str, thread: Json) -> None:
        """A thread is loaded: its peer is here."""
        session, cwd, parent = thread.get("id"), thread.get("cwd"), thread.get("parentThreadId")
        if not _is_id(session) or session in self._loaded or _status(thread) == "notLoaded":
            return
        if server.is_over:
            return  # What it said last came with its end: nobody would tell of the end of the thread.
        if _is_id(parent):
            self.parents[session] = parent
            await self._leave(server, session)
        elif not _is_users(thread) or not isinstance(cwd, str):
            self._others.add(session)
        else:
            self._loaded[session] = endpoint
            await self._join(endpoint, session, cwd, busy=_status(thread) == "active")

    async def _join(self, endpoint: str, session: str, cwd: str, *, busy: bool) -> None:
        try:
            peer = await self._peer(session, cwd)
            if session in self._loaded:
                await self._followed(peer, endpoint, busy=busy)
            else:  # It was unloaded while git was asked.
                self._let_go(session)
        except Exception:
            # A full disk, say. What is half known would never be looked at again.
            self._loaded.pop(session, None)
            self._let_go(session)
            raise

    async def _leave(self, server: AppServer, thread: str) -> None:
        """Every connection is subscribed to a sub-agent's thread when it begins, and would keep it loaded."""
        self._others.add(thread)
        await server.call("thread/unsubscribe", {"threadId": thread})

    async def _peer(self, session: str, cwd: str) -> Peer:
        claim = Claim(KIND, cwd, session=session)
        known = self._presence.roster.join(claim)
        return known if known and known.state in LISTED else await self._presence.session_started(claim)

    async def _followed(self, peer: Peer, endpoint: str, *, busy: bool) -> None:
        peer.endpoint, peer.followed, peer.busy = endpoint, True, busy
        peer.heard = self._clock()
        await self._presence.save(peer)
        self._reachable(peer)

    def _told(self, endpoint: str, method: str, params: Json) -> None:
        """A notification. Which ones come without a subscription was measured: those about the life of threads."""
        thread, thread_id = params.get("thread"), params.get("threadId")
        if method == "thread/started" and isinstance(thread, dict):
            self._on_server(endpoint, lambda server: self._take(server, endpoint, thread))
        elif method == "thread/closed" and _is_id(thread_id):
            self._unloaded(thread_id)
            self._others.discard(thread_id)
            self.parents.pop(thread_id, None)
        elif method == "thread/status/changed" and _is_id(thread_id):
            self._changed(endpoint, thread_id, _status(params))

    def _changed(self, endpoint: str, thread: str, status: str) -> None:
        if status == "notLoaded":
            self._unloaded(thread)
        elif thread in self._loaded:
            peer = self._peer_of(thread)
            if peer:
                peer.busy, peer.heard = status == "active", self._clock()
                self._presence.on_changed(peer)
        elif thread not in self._others:
            self._ask_about(endpoint, thread)  # A thread that was resumed, or a sub-agent's: nothing else tells.

    def _peer_of(self, session: str) -> Peer | None:
        return next((p for p in self._presence.roster if p.kind == KIND and session in p.sessions), None)

    # --- ends ------------------------------------------------------------------------------------------

    def _unloaded(self, thread: str) -> None:
        if self._loaded.pop(thread, None) is not None:
            self._let_go(thread)

    def _let_go(self, thread: str) -> None:
        """A peer's thread is not loaded any more, or that it is could not be stored."""
        peer = self._peer_of(thread)
        if peer is None or peer.sessions[-1] != thread:
            return
        peer.endpoint, peer.followed = "", False
        if anchor(peer) is None and peer.state in LISTED:
            self._presence.gone(peer)  # Where an adapter lives, its end is the session's.
        else:
            self._presence.save(peer).add_done_callback(_log_failure)

    def _keep_window(self, process: Process | None, peer: Peer) -> None:
        """A thread that only hooks told of has no adapter whose end is its own."""
        if process:
            self._windows.setdefault(process, set()).add(peer.id)
            self._watch.add(process)

    def _window_ended(self, process: Process) -> None:
        for peer_id in self._windows.pop(process, set()):
            peer = self._presence.roster.get(peer_id)
            if peer and anchor(peer) is None and not peer.followed and peer.state in LISTED:
                self._presence.gone(peer)

    def _lost(self, endpoint: str) -> None:
        if self._closing:
            return
        for thread in [thread for thread, at in self._loaded.items() if at == endpoint]:
            self._unloaded(thread)
        self._search(endpoint).lost()  # It may be started anew, or have been too busy.


def _host_of(pid: int) -> tuple[int, Host | None]:
    """The nearest ancestor of a process that is Codex, and its pid."""
    for ancestor in processes.lineage(pid)[1:]:
        found = host(processes.arguments(ancestor), processes.environment(ancestor), processes.program(ancestor))
        if found:
            return ancestor, found
    return 0, None


def _is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= SESSION_CHARS_MAX


def _is_users(thread: Json) -> bool:
    """Whether a person opened it. Codex makes others for itself, for titles and memories."""
    cwd = thread.get("cwd")
    whole = isinstance(cwd, str) and cwd.startswith("/") and len(cwd) <= PATH_CHARS_MAX
    return whole and not thread.get("ephemeral") and thread.get("threadSource") in (None, "user")


def _status(holder: Json) -> str:
    """``idle``, ``active``, ``notLoaded`` or ``systemError``."""
    status = holder.get("status")
    return str(status.get("type")) if isinstance(status, dict) else ""


def _log_failure(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and done.exception():
        log.error("a peer could not be saved", exc_info=done.exception())
