"""What only the daemon can tell `coterie doctor`: how each session is reached, and what proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie.agents import by_name
from coterie.agents.kind import AgentKind
from coterie.daemon import processes
from coterie.daemon.handlers.params import Params
from coterie.daemon.handlers.peers import card
from coterie.peers import LISTED, PERSON, Peer
from coterie.store import evidence
from coterie.store import peers as stored

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon


def sessions(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Every session that is here. Whether what is named here answers is for whoever asks to try."""
    unread = stored.unread_counts(daemon.store.reader)
    here = [peer for peer in daemon.presence.roster if peer.state in LISTED and peer.kind != PERSON]
    me = daemon.presence.caller(connection).peer
    return {"sessions": [{**_evidence(daemon, peer), **card(daemon, peer, unread), "me": peer is me} for peer in here]}


def _evidence(daemon: Daemon, peer: Peer) -> dict[str, Any]:
    now = daemon.clock()
    shown = evidence.last_shown(daemon.store.reader, peer.id)
    since = evidence.waiting_since(daemon.store.reader, peer.id)
    adapter = daemon.presence.adapters.get(peer.id)
    return {
        "adapter_pid": adapter.pid if adapter else None,
        "inbox": _inbox(peer) if adapter and adapter.inbox else None,
        "endpoint": peer.endpoint or None,
        "nudge_failure": daemon.nudges.outcome(peer, "").failure,
        "hooked": peer.hooked,
        "reports": _reports(by_name(peer.kind)),
        "busy": peer.busy,
        "age_s": max(0.0, now - peer.since),
        "heard_s": _ago(now, peer.heard),
        "waiting_s": _ago(now, since),
        "shown": {"id": shown["id"], "by": shown["carrier"], "ago_s": _ago(now, shown["closed_at"])} if shown else None,
    }


def _reports(kind: AgentKind) -> str:
    """When hooks of this kind report first: at the "start" of a session, with its first "prompt", or never (empty)."""
    if type(kind).hook_event is AgentKind.hook_event:
        return ""
    return "prompt" if kind.registers_at_first_call else "start"


def _inbox(peer: Peer) -> str:
    """Where the inbox of a session is: its adapter was told in its environment. Empty if that cannot be known."""
    environ = processes.environment(peer.adapter.pid) if peer.adapter else {}
    inbox = by_name(peer.kind).inbox(environ)
    return str(getattr(inbox, "path", ""))


def _ago(now: float, then: float | None) -> float | None:
    return None if then is None else max(0.0, now - then)
