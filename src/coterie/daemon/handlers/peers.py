"""Registration, lists, names."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coterie.addresses import resolve_here
from coterie.agents import KINDS
from coterie.agents.kind import OTHER
from coterie.daemon import processes
from coterie.daemon.handlers.params import Params, flag, maybe_text, number, text, texts
from coterie.daemon.nudges import asleep, can_be_told
from coterie.daemon.usage import Share, root, total
from coterie.devices import Device
from coterie.errors import BadInput
from coterie.frames import one_line
from coterie.limits import PATH_CHARS_MAX, SESSION_CHARS_MAX
from coterie.peers import LISTED, PERSON, SCOPES, VISITOR, Claim, Peer, Process, in_scope
from coterie.policy import check_human
from coterie.store import peers as stored

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon

CWD_CHARS = 200
"""A path as others are shown it. Its name may be anything, so it is shown neutralised and bounded."""


async def register(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """An adapter says whose session it serves. The pid is the kernel's word, the rest the adapter's."""
    claim = Claim(
        kind=agent_kind(params),
        cwd=folder(text(params, "cwd")),
        adapter=_adapter(connection.pid),
        agent=_agent(connection.pid, int(number(params, "agent_pid", 0, 0, 1 << 31))),
        session=daemon.threads.root(session_id(params)) if params.get("session") else None,
        one_shot=flag(params, "one_shot"),
        subagent=flag(params, "subagent") or params.get("session") in daemon.threads.parents,
    )
    connection.inbox = flag(params, "inbox")
    displaced = flag(params, "displaced")
    written, held = texts(params, "written"), _held(params)
    peer, known = await daemon.presence.register(connection, claim, displaced=displaced)
    await daemon.settings.met(peer)
    daemon.threads.met(peer, connection.pid)
    daemon.usage.came()
    if not peer.hooked:
        daemon.post.box(peer.id).hooked = False
    if not displaced and daemon.presence.adapters.get(peer.id) is connection:
        under_way = {call for other in daemon.server.connections for call in other.calls}
        for call in daemon.post.adapter_came(peer.id, written, held, under_way):
            connection.carries(peer.id, call, connection.calls.get(call, []))
    return {"peer": card(daemon, peer, {}), "known": known}


def _held(params: Params) -> dict[str, list[str]]:
    """The calls of results that the adapter has not written yet, each with the messages that stand in it."""
    held = params.get("held", {})
    if not isinstance(held, dict):
        raise BadInput("held must name the messages of each call")
    return {call: texts(held, call) for call in held}


def folder(path: str) -> str:
    """A working folder as the caller's kernel names it. It is not looked at here: it may lie on a mount that hangs."""
    if not path.startswith("/") or "\0" in path or len(path) > PATH_CHARS_MAX:
        raise BadInput(f"cwd must be an absolute path of at most {PATH_CHARS_MAX} characters")
    return path


def agent_kind(params: Params) -> str:
    """The kind of agent. A person is none: nobody becomes the person of this device by saying so."""
    kind = text(params, "kind")
    known = [kind.name for kind in (*KINDS, OTHER)]
    if kind not in known:
        raise BadInput(f"no agent kind {kind[:40]!r}", f"one of: {', '.join(known)}")
    return kind


def session_id(params: Params) -> str:
    """A host session id."""
    session = text(params, "session")
    if len(session) > SESSION_CHARS_MAX:
        raise BadInput(f"a session id has at most {SESSION_CHARS_MAX} characters")
    return session


def _adapter(pid: int) -> Process:
    process = processes.identify(pid)
    if process is None:  # Its end could never be noticed.
        raise BadInput("the process that asks is gone")
    return process


def _agent(adapter: int, said: int) -> Process | None:
    """The agent's process: the one the adapter names if it really is an ancestor, else the adapter's parent."""
    lineage = processes.lineage(adapter)
    parent = lineage[1] if len(lineage) > 1 else 0
    return processes.identify(said if said in lineage[1:] else parent)


async def list_peers(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Who is here, in a scope, beginning with who asks; and, beside, which devices are paired. Their sessions are named
    in scope network only, and counted in each.
    """
    scope = text(params, "scope", "machine")
    if scope not in SCOPES:
        raise BadInput(f"no scope {scope[:40]!r}", f"one of: {', '.join(SCOPES)}")
    caller = daemon.presence.caller(connection)
    me = caller.peer
    cwd = folder(maybe_text(params, "cwd") or (me.cwd if me else "") or "/")
    repo = me.repo if me and me.cwd == cwd else ""
    everybody = flag(params, "everybody")
    here = [p for p in daemon.presence.roster if p is not me and (everybody or p.state in LISTED)]
    if scope == "repo" and not repo:  # A person's shell, or a folder that became a repository since.
        repo = await daemon.presence.repositories.common_dir(cwd)
    found = in_scope(here, scope, cwd, repo)
    devices = _devices(daemon, scope == "network", everybody)
    if not flag(params, "usage"):
        return {**_listing(daemon, me, found), "devices": devices}
    everyone = [me, *found] if me else found
    shares = await daemon.usage.of(everyone)
    holders = Counter(map(root, daemon.presence.roster))
    listing = _listing(daemon, me, found)
    for peer, shown in zip(everyone, [listing["me"]] * bool(me) + listing["peers"], strict=True):
        shown.update(_took(shares.get(peer.id), holders[root(peer)]))
    return {**listing, "total": total(shares, everyone), "devices": devices}


def _listing(daemon: Daemon, me: Peer | None, found: list[Peer]) -> dict[str, Any]:
    unread, oldest = stored.unread_counts(daemon.store.reader), stored.oldest_unread(daemon.store.reader)
    found.sort(key=lambda peer: (peer.state not in LISTED, peer.kind == PERSON, -peer.since))

    def shown(peer: Peer) -> dict[str, Any]:
        waits_s = max(0.0, daemon.clock() - oldest[peer.id]) if peer.id in oldest else None
        return {**card(daemon, peer, unread), "oldest_unread_s": waits_s}

    return {"me": shown(me) if me else None, "peers": [shown(peer) for peer in found]}


def _devices(daemon: Daemon, named: bool, everybody: bool) -> list[dict[str, Any]]:
    """The paired devices, those with a way to them first. Of one without, who was there when it was heard last."""
    present = daemon.network.present()
    devices = sorted(daemon.devices, key=lambda device: (device.id not in present, device.name.casefold()))
    return [_device(daemon, device, device.id in present, named, everybody) for device in devices]


def _device(daemon: Daemon, device: Device, connected: bool, named: bool, everybody: bool) -> dict[str, Any]:
    peers = daemon.presence.roster.remotes(device.id)
    here = [peer for peer in peers if peer.told in LISTED]
    known = sorted(peers if everybody else here, key=lambda p: (p.told not in LISTED, p.kind == VISITOR, p.name, p.id))
    absent_s = None if connected or device.seen_at is None else max(0.0, daemon.clock() - device.seen_at)
    return {
        "id": device.id,
        "name": device.name,
        "connected": connected,
        "absent_s": absent_s,
        "sessions": sum(peer.kind != VISITOR for peer in here),
        **({"peers": [{**card(daemon, peer, {}), "oldest_unread_s": None} for peer in known]} if named else {}),
    }


def _took(share: Share | None, holders: int) -> dict[str, Any]:
    """What the processes of a session take of the machine, and how many sessions share them."""
    return {
        "cpu_percent": share.cpu_percent if share else None,
        "cpu_over_s": share.cpu_over_s if share else None,
        "memory_bytes": share.memory if share else None,
        "processes": len(share.pids) if share else None,
        "shared_by": holders if share else None,
    }


def card(daemon: Daemon, peer: Peer, unread: dict[str, int]) -> dict[str, Any]:
    """What others are told of a peer."""
    told = daemon.summary_of(peer)
    return {
        "id": peer.id,
        "name": peer.name,
        "address": peer.address,
        "device": peer.label,
        "kind": peer.kind,
        "state": peer.state.value,
        "role": peer.role,
        "cwd": one_line(peer.cwd, CWD_CHARS),
        "repo": peer.repo,
        "summary": told.text,
        "summary_own": told.own,
        "summary_age_s": max(0.0, daemon.clock() - told.at) if told.at else None,
        "reach": reach(daemon, peer),
        "unread": unread.get(peer.id, 0),
        "branch": one_line(peer.activity.branch, CWD_CHARS),
        "busy": busy(daemon, peer),
        "heard_s": max(0.0, daemon.clock() - peer.heard) if peer.heard is not None else None,
        "pid": peer.agent.pid if peer.agent else None,
        "since": peer.since,
    }


def busy(daemon: Daemon, peer: Peer) -> bool | None:
    """Whether a session is in the middle of a turn; None where nothing tells, or has not since this daemon began."""
    told = peer.followed or (peer.hooked and peer.heard is not None and peer.heard >= daemon.started_at)
    return peer.busy if peer.state in LISTED and told else None


def reach(daemon: Daemon, peer: Peer) -> str:
    """How a message gets to a peer now, in a word."""
    if peer.device:
        return "link" if peer.device in daemon.network.present() else "waits"
    adapter = daemon.presence.adapters.get(peer.id)
    if peer.kind == PERSON:
        return "terminal"
    awake = daemon.may_wake(peer)
    if adapter and adapter.inbox and awake:
        return "inbox"
    if can_be_told(peer) and awake and not asleep(peer, daemon.clock()):
        return "nudge"
    if peer.hooked and peer.state in LISTED:
        return "hooks"
    return "tools" if adapter else "none"


async def describe(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Set the caller's own name, role and summary."""
    peer = daemon.presence.self_of(connection)
    await daemon.presence.describe(peer, params)
    return {"peer": card(daemon, peer, {})}


async def rename_other(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Set the name or role of another peer; a person's verb."""
    caller = daemon.presence.caller(connection)
    check_human("peers.rename_other", caller.human)
    peer = resolve_here(text(params, "peer"), daemon.presence.roster, caller.peer)
    await daemon.presence.describe(peer, params)
    return {"peer": card(daemon, peer, {})}
