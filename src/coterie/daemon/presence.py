"""Who is here: registration, names, and the ends of processes, kept in memory and in the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from coterie import ids
from coterie.daemon import callers, processes
from coterie.daemon.git import Repositories
from coterie.daemon.local import Connection
from coterie.errors import BadInput, CoterieError, Refused
from coterie.limits import ENDED_KEPT_S
from coterie.peers import (
    PERSON,
    Claim,
    Event,
    Peer,
    Process,
    Roster,
    State,
    after,
    anchor,
    check_name,
    check_summary,
    gone,
    made_up_name,
)
from coterie.store import peers as stored
from coterie.store.db import Store

log = logging.getLogger(__name__)


class Presence:
    """The peers of this device."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        on_end: Callable[[Peer], None],
        on_carried: Callable[[Peer], None],
        on_replaced: Callable[[Peer, Peer], Awaitable[None]],
        connections: Callable[[], Iterable[Connection]],
        on_changed: Callable[[Peer], None] = lambda _: None,
        lived: Callable[[], float] | None = None,
    ) -> None:
        self.roster = Roster()
        self.adapters: dict[str, Connection] = {}
        """The connection that carries for each peer: its newest adapter's."""
        self.repositories = Repositories()
        self._store = store
        self._clock = clock
        self._lived = lived or clock
        """Tells who was seen before whom, and how long ago: by the time that passed, which nobody can set back."""
        self._on_end = on_end
        self._on_carried = on_carried
        self._on_replaced = on_replaced
        """Called with a peer that turned out to be another one, and that other."""
        self._person_stored = True
        self.connections = connections
        self.on_changed = on_changed
        """Called with a peer of which something changed, once it is on the disk (what is never stored: at once)."""
        self._watch = processes.Watch(self._process_ended)

    def load(self) -> None:
        """Take up where the last daemon left: whoever lived then and is gone now has gone meanwhile."""
        for peer in stored.load(self._store.reader, self._lived() - ENDED_KEPT_S):
            self.roster.add(peer)
        for peer in list(self.roster):
            process = anchor(peer)
            if peer.kind == PERSON or peer.state in (State.AWAY, State.ENDED):
                continue
            if process and processes.is_alive(process):
                self._watch.add(process)
            else:
                self.gone(peer)

    def unattended(self) -> list[Peer]:
        """The peers without a living adapter, when a daemon has just begun: nobody will report for them."""
        return [p for p in self.roster if not (p.adapter and processes.is_alive(p.adapter))]

    def close(self) -> None:
        """Stop watching processes."""
        self._watch.close()

    def save(self, peer: Peer) -> asyncio.Future[None]:
        """Write a peer to the store."""
        peer.seen = self._lived()
        writing = self._store.write(lambda connection: stored.save(connection, peer))
        writing.add_done_callback(lambda done: self._saved(peer, done))
        return writing

    def _saved(self, peer: Peer, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            self.on_changed(peer)

    # --- sessions ------------------------------------------------------------------------------------------

    async def register(self, connection: Connection, claim: Claim, *, displaced: bool) -> tuple[Peer, bool]:
        """Join the session behind `connection` to its peer. Returns the peer, and whether it was known before.

        The newest process of a session gets its mail; an older one is told. One that says that it was `displaced`
        (a daemon came back under it) does not take the mail back.
        """
        repo = await self.repositories.common_dir(claim.cwd)
        peer = self.roster.join(claim)
        known = peer is not None
        if peer is None:
            peer = self._new_peer(claim)
        connection.peer = peer
        if claim.subagent and known:
            connection.subagent = True
            return peer, known
        self._adopt(peer, claim, repo, displaced=displaced)
        connection.displaced = displaced
        connection.claim = claim
        if not displaced and connection.is_open():  # It may have gone while git was asked.
            self._carry(peer, connection)
        await self.save(peer)
        return peer, known

    async def session_started(self, claim: Claim) -> Peer:
        """A hook tells that a session begins in a process: at its start, after clear or resume, or as a fork.

        The adapter of the process serves whatever session the process has now.
        """
        repo = await self.repositories.common_dir(claim.cwd)
        before = self.roster.by_process(claim)
        peer = self.roster.join(claim) or self._new_peer(claim)
        moved = before is not None and before is not peer
        if before and moved:
            self._hand_process(before, peer)
        self._adopt(peer, claim, repo, displaced=False)
        await self.save(peer)
        if before and moved:
            await self.save(before)
            if not before.sessions:
                # Its adapter registered before it was known which session this is.
                await self._on_replaced(before, peer)
            self._on_carried(peer)
        return peer

    def _hand_process(self, before: Peer, peer: Peer) -> None:
        """The process of one peer goes over to another: its connection and its adapter go with it."""
        peer.adapter, before.adapter, before.agent = before.adapter, None, None
        before.state = after(before.state, gone(before))
        before.connected = False
        connection = self.adapters.pop(before.id, None)
        self._on_end(before)
        if connection:
            connection.peer = peer
            self._carry(peer, connection)

    def _new_peer(self, claim: Claim) -> Peer:
        name = self.roster.free_name(made_up_name(claim.kind, claim.cwd))
        peer = Peer(ids.new_peer_id(), name, claim.kind, since=self._clock())
        self.roster.add(peer)
        return peer

    def _adopt(self, peer: Peer, claim: Claim, repo: str, *, displaced: bool) -> None:
        resumed = bool(claim.session) and peer.state is not State.LIVE
        peer.cwd, peer.repo = claim.cwd, repo
        # An adapter keeps the id that its process began with; once the session has another, only hooks know which.
        if claim.session and not (claim.adapter and peer.sessions):
            self.own_session(peer, claim.session)
        if displaced:
            return
        before = anchor(peer)
        if claim.agent and peer.agent and claim.agent != peer.agent:
            peer.hooked = False  # Another process: whether its hooks report is yet to be seen.
        peer.adapter = claim.adapter or peer.adapter
        peer.agent = claim.agent or peer.agent
        peer.one_shot = peer.one_shot if claim.one_shot is None else claim.one_shot
        peer.recall_due = peer.recall_due or (resumed and bool(peer.sessions))
        self.came(peer)
        now = anchor(peer)
        if before and before != now:
            self._unwatch(before)
        if now:
            self._watch.add(now)

    def own_session(self, peer: Peer, session: str) -> None:
        """Note that `peer` goes by this host session id now; an id belongs to one peer."""
        for other in self.roster:
            if other is not peer and other.kind == peer.kind and session in other.sessions:
                other.sessions.remove(session)
                if not other.sessions and other.state is State.AWAY:
                    other.state = after(other.state, Event.FINISHED)  # Nothing can bring it back.
                    self.save(other).add_done_callback(_log_failure)
        if session in peer.sessions:
            peer.sessions.remove(session)
        peer.sessions.append(session)

    def came(self, peer: Peer) -> None:
        """A session of `peer` is here; only loaded, if no process of it is known whose end could be noticed."""
        peer.state = after(peer.state, Event.CAME if anchor(peer) else Event.LOADED)
        holder = self.roster.claimant(peer.name, but=peer)
        if holder:  # It was away so long that its name went to another.
            self.roster.rename(peer, self.roster.free_name(peer.name))

    def _carry(self, peer: Peer, connection: Connection) -> None:
        older = self.adapters.get(peer.id)
        if older and older is not connection:
            older.displaced = True
            older.notify("displaced", {"by_pid": connection.pid})
        self.adapters[peer.id] = connection
        peer.connected = True

    def disconnected(self, connection: Connection) -> None:
        """A connection ended. The session lives on as long as its process does."""
        peer = connection.peer
        if peer and self.adapters.get(peer.id) is connection:
            del self.adapters[peer.id]
            peer.connected = False

    # --- ends ------------------------------------------------------------------------------------------

    def _process_ended(self, process: Process) -> None:
        for peer in [peer for peer in self.roster if anchor(peer) == process]:
            self.gone(peer)

    def recalled(self, peer: Peer) -> asyncio.Future[None]:
        """The headings of what it was shown before came back, once."""
        peer.recall_due = False
        return self.save(peer)

    def gone(self, peer: Peer) -> None:
        """Its session is over. Mail waits if it can be resumed."""
        peer.state = after(peer.state, gone(peer))
        peer.connected = peer.busy = False
        newest = self.adapters.pop(peer.id, None)
        self._on_end(peer)
        if self._restore_older(peer, newest):
            return
        self.save(peer).add_done_callback(_log_failure)

    def _restore_older(self, peer: Peer, newest: Connection | None) -> bool:
        """The session was alive twice and the newer process is gone: the older one has it again."""
        for connection in self.connections():
            claim = connection.claim
            if connection.peer is not peer or connection is newest or claim is None or not connection.is_open():
                continue
            if not (claim.adapter and processes.is_alive(claim.adapter)):
                continue
            self._adopt(peer, claim, peer.repo, displaced=False)
            connection.displaced = False
            connection.notify("restored", {})
            self._carry(peer, connection)
            self.save(peer).add_done_callback(_log_failure)
            self._on_carried(peer)
            return True
        return False

    def _unwatch(self, process: Process) -> None:
        if not any(anchor(peer) == process for peer in self.roster):
            self._watch.remove(process)

    # --- the person ------------------------------------------------------------------------------------------

    def person(self) -> Peer:
        """The peer that stands for the person of this device; made at their first command."""
        found = next((peer for peer in self.roster if peer.kind == PERSON), None)
        if found is None:
            name = self.roster.free_name(callers.person_name())
            found = Peer(ids.new_peer_id(), name, PERSON, since=self._clock())
            self.roster.add(found)
            self._person_stored = False
        if not self._person_stored:
            # Again if it fails: whatever they write names this peer, also to the next daemon.
            self._person_stored = True
            self.save(found).add_done_callback(self._person_saved)
        return found

    def _person_saved(self, done: asyncio.Future[None]) -> None:
        self._person_stored = not done.cancelled() and done.exception() is None
        _log_failure(done)

    def caller(self, connection: Connection) -> callers.Caller:
        """Who is behind a connection: the registered session, or whoever its process belongs to."""
        if connection.peer:
            return callers.Caller(human=False, peer=connection.peer)
        caller = callers.identify(connection.pid, self.roster)
        return callers.Caller(human=True, peer=self.person()) if caller.human else caller

    def self_of(self, connection: Connection) -> Peer:
        """The peer that a connection speaks for. Raises `Refused` for an agent that never registered."""
        caller = self.caller(connection)
        callers.must_be_somebody(caller)
        assert caller.peer is not None
        return caller.peer

    # --- what a peer is known to do ---------------------------------------------------------------------------

    def look_at_branch(self, peer: Peer) -> None:
        """Ask git which branch the session is on. Nobody waits for it: a hook has no time."""
        asyncio.ensure_future(self._look_at_branch(peer)).add_done_callback(_log_failure)

    async def _look_at_branch(self, peer: Peer) -> None:
        branch = await self.repositories.branch(peer.cwd)
        if branch != peer.activity.branch:
            peer.activity.branch = branch
            await self.save(peer)

    # --- what a peer says of itself --------------------------------------------------------------------------------

    async def describe(self, peer: Peer, params: dict[str, Any]) -> None:
        """Set a peer's name, role and summary; nothing is set unless all can be."""
        name, role, summary = (params.get(key) for key in ("name", "role", "summary"))
        for key, value in (("name", name), ("role", role), ("summary", summary)):
            if value is not None and not isinstance(value, str):
                raise BadInput(f"{key} must be a text")
        wanted = None if name is None else check_name(name)
        role = check_name(role, "role") if role else role
        line = None if summary is None else check_summary(summary)
        holder = self.roster.claimant(wanted, but=peer) if wanted else None
        if wanted and holder:
            raise Refused(
                f"the name {wanted!r} is taken by {holder.id} ({holder.kind}, {holder.state})",
                f"free: {self.roster.free_name(wanted)}",
            )
        before = (peer.name, peer.named, peer.role, peer.summary, peer.summary_at)
        if wanted:
            self.roster.rename(peer, wanted)
            peer.named = True
        if role is not None:
            peer.role = role
        if line is not None:
            peer.summary, peer.summary_at = line, self._clock()
        try:
            await self.save(peer)
        except CoterieError:
            self.roster.rename(peer, before[0])
            _, peer.named, peer.role, peer.summary, peer.summary_at = before
            raise


def _log_failure(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and done.exception():
        log.error("a peer could not be saved", exc_info=done.exception())
