"""Ending the session of a peer: its own process, or where several share one, the turn under way."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from coterie.addresses import describe, resolve_here
from coterie.daemon import processes
from coterie.daemon.handlers.daemon import check_person
from coterie.daemon.handlers.params import Params, flag, text
from coterie.daemon.nudges import can_be_told
from coterie.errors import BadInput, Refused
from coterie.files import check_file, open_private
from coterie.limits import KILL_LOOK_S, KILL_S
from coterie.peers import LISTED, RESUMABLE_KINDS, SHARED_PROCESS_KINDS, Peer, Process, in_scope
from coterie.policy import KillScope, check_kill

if TYPE_CHECKING:
    from coterie.daemon.callers import Caller
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon

log = logging.getLogger(__name__)

WORD_BYTES_MAX = 16
"""Of the file that holds the scope, which is one of three words."""


def shows(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Whom a kill would end, `also` by a process that they share, and nothing is ended. Raises as `kill` does."""
    peer = _allowed(daemon, daemon.presence.caller(connection), params)
    return {**_named(peer), "also": [_named(other) for other in _sharing(daemon, peer)]}


async def kill(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """End a session. `how` says what was seen: ended, still-runs, interrupted, no-turn. A process that serves more
    peers is left alone, unless a person says `also`.
    """
    caller = daemon.presence.caller(connection)
    peer = _allowed(daemon, caller, params)
    force = flag(params, "force") and caller.human
    others = _sharing(daemon, peer)
    if others and not (flag(params, "also") and caller.human):
        raise _shared(peer, others, is_human=caller.human)
    who = "the person" if caller.human or caller.peer is None else describe(caller.peer)
    ending = ", and with it ".join(map(describe, [peer, *others]))
    log.warning("%s ends %s (pid %d asked)", who, ending, connection.pid)
    if peer.kind in SHARED_PROCESS_KINDS:
        interrupted = await daemon.nudges.carrier(peer.kind).interrupt(peer.endpoint, peer.sessions[-1])
        how = "interrupted" if interrupted else "no-turn"
    else:
        assert peer.agent
        how = "ended" if await _end(peer.agent, force=force) else "still-runs"
    return {**_named(peer), "how": how, "also": [_named(other) for other in others]}


def _named(peer: Peer) -> dict[str, Any]:
    return {"peer": peer.id, "name": peer.name, "kind": peer.kind}


def _allowed(daemon: Daemon, caller: Caller, params: Params) -> Peer:
    """The peer that the call names. Raises `Refused` unless the caller may end it, and it can be ended."""
    me = caller.peer
    peer = resolve_here(text(params, "peer"), daemon.presence.roster, me)
    same_repo = me is not None and bool(in_scope([peer], "repo", me.cwd, me.repo))
    check_kill(_scope(daemon), is_human=caller.human, same_repo=same_repo)
    _check_can_end(peer, me)
    return peer


def _sharing(daemon: Daemon, peer: Peer) -> list[Peer]:
    """Who else ends with its process: OpenCode serves every folder that is open in it with one."""
    if peer.kind in SHARED_PROCESS_KINDS:
        return []
    others = (other for other in daemon.presence.roster if other is not peer and other.state in LISTED)
    return [other for other in others if other.agent == peer.agent]


def _shared(peer: Peer, others: list[Peer], *, is_human: bool) -> Refused:
    line = f"coterie kill {peer.id}"
    return Refused(
        f"the process of {describe(peer)} serves {'; '.join(map(describe, others))} too, which would end with it",
        f"to end them all: {line} --yes" if is_human else f"ask the person to type: {line}",
    )


def _check_can_end(peer: Peer, me: Peer | None) -> None:
    """Raises `Refused` if there is nothing of it that may be ended."""
    if peer is me:
        raise Refused("that is this session itself", "end it as your user ends it")
    if peer.state not in LISTED:
        raise Refused(f"{describe(peer)} is not here: nothing runs", "coterie peers shows who is here")
    if peer.kind in SHARED_PROCESS_KINDS:
        # Its process may be everybody's app-server.
        if not can_be_told(peer):
            raise Refused(f"the turn of {describe(peer)} cannot be interrupted from here", "interrupt it in its window")
    elif peer.kind not in RESUMABLE_KINDS or peer.agent is None:
        raise Refused(f"it is not known which process is that of {describe(peer)}", "end it where it was started")


async def _end(process: Process, *, force: bool) -> bool:
    """Ask it to end, by its own pid and no other's; whether it has."""
    if not processes.send(process, signal.SIGKILL if force else signal.SIGTERM):
        return True
    loop = asyncio.get_running_loop()
    deadline = loop.time() + KILL_S
    while processes.is_alive(process):
        if loop.time() > deadline:
            return False
        await asyncio.sleep(KILL_LOOK_S)
    return True


def allow(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Let agents end each other's sessions, or no longer."""
    check_person(daemon, connection, params, "peers.allow_kill")
    said = text(params, "scope")
    if said not in list(KillScope):
        raise BadInput(f"no scope {said[:40]!r}", f"one of: {', '.join(KillScope)}")
    before = _scope(daemon)
    if check_file(daemon.place.kills):
        os.unlink(daemon.place.kills)
    if said != KillScope.NOBODY:
        descriptor = open_private(daemon.place.kills, os.O_WRONLY)
        try:
            os.write(descriptor, said.encode())
        finally:
            os.close(descriptor)
    log.warning("the person lets agents end sessions of: %s", said)
    return {"scope": said, "before": before.value}


def _scope(daemon: Daemon) -> KillScope:
    """What the person allowed. What cannot be read allows nothing."""
    if not check_file(daemon.place.kills):
        return KillScope.NOBODY
    descriptor = open_private(daemon.place.kills, os.O_RDONLY)
    try:
        said = os.read(descriptor, WORD_BYTES_MAX).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)
    return KillScope(said) if said in list(KillScope) else KillScope.NOBODY
