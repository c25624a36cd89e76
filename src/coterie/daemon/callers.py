"""Who is calling: a session, or a person. By ancestry, as the kernel knows it, and by the marks agents leave.

Below an agent, or with an agent's marks in its environment or an ancestor's, a caller is that session and not a
person. An orphan still has the leaders of its process group and of its session, which count as ancestors then. A
process that runs an agent's program is an agent, whether it is registered here or not. A hostile program of the same
user can get around all of this, and SECURITY.md says so.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from coterie.agents import by_environment, by_program
from coterie.daemon import processes
from coterie.errors import Refused
from coterie.peers import SHARED_PROCESS_KINDS, Peer, Roster, State


@dataclass(frozen=True, slots=True)
class Caller:
    """Who stands behind a connection."""

    human: bool
    peer: Peer | None
    """The session that it belongs to; None for a person, and for an agent that never registered."""


def identify(pid: int, roster: Roster) -> Caller:
    """Who the process `pid` belongs to."""
    if processes.identify(pid) is None:
        # It connected, left the connection to another process and ended: nobody knows any more who was behind it.
        return Caller(human=False, peer=None)
    lineage = _lineage(pid)
    found = _by_ancestry(lineage[1:], roster)
    if found:
        return Caller(human=False, peer=found)
    for ancestor in lineage:
        environ = processes.environment(ancestor)
        kind = by_environment(environ)
        if kind:
            session = kind.session(environ, {})
            owners = [peer for peer in roster if session and session in peer.sessions]
            return Caller(human=False, peer=owners[0] if owners else None)
        if ancestor != pid and by_program(processes.arguments(ancestor)):
            return Caller(human=False, peer=None)
    return Caller(human=True, peer=None)


def _lineage(pid: int) -> list[int]:
    """A process and its ancestors. Of an orphan, those of the leaders that it still belongs to too."""
    chain = processes.lineage(pid)
    group, session = processes.leaders(pid)
    # Whoever is below the leader of its session is no orphan, and its group may be led by another part of a pipeline.
    # A session whose leader is outside this namespace of processes (0, in some containers) tells nothing of that.
    if session not in chain:
        chain += [*processes.lineage(group), *processes.lineage(session)]
    return list(dict.fromkeys(chain))


def _by_ancestry(lineage: list[int], roster: Roster) -> Peer | None:
    """The peer whose agent is the nearest ancestor. An agent process that several sessions share names none."""
    present = (peer for peer in roster if peer.agent and peer.state is not State.ENDED)
    owners = {
        peer.agent.pid: peer
        for peer in sorted(present, key=lambda peer: peer.seen)
        if peer.agent and peer.kind not in SHARED_PROCESS_KINDS
    }
    for pid in lineage:
        peer = owners.get(pid)
        if peer and peer.agent and processes.is_alive(peer.agent):
            return peer
    return None


def must_be_somebody(caller: Caller) -> None:
    """Raises `Refused` for an agent that never registered: nothing would ever reach it."""
    if not caller.human and caller.peer is None:
        raise Refused(
            "this shell belongs to an agent session that is not registered with coterie",
            "use the coterie tools inside the session, or ask the person to set coterie up for this agent",
        )


def person_name() -> str:
    """What the person of this device is called: the account's name. An @ in it would name another device."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name.replace("@", "-")
    except KeyError:
        return f"user{os.getuid()}"
