"""Who can receive messages on this device: the states of a peer, how a process is joined to one, and their index.

A peer outlives its processes. It is joined by what a claim shows, strongest first (`Roster.join`):

1. the same adapter process: a daemon came back under a living session;
2. the same agent process: ``/clear`` gave the session a new id, or an adapter was started again;
3. the same host session id: the session was resumed in a new process;
4. otherwise it is a new peer. A fork is always a new peer.

An adapter keeps the session id that its process began with, and a hook is told the id that the session has now: so a
hook's claim goes by its id first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from coterie.activity import Activity, Summary, summary
from coterie.errors import BadInput
from coterie.frames import neutralise
from coterie.ids import ALPHABET, PEER_CHARS
from coterie.limits import NAME_CHARS_MAX, SUMMARY_CHARS_MAX


class State(StrEnum):
    """What a list says of a peer."""

    LIVE = "live"
    """Its agent process runs (or, for a person: mail is kept for the next look)."""
    LOADED = "loaded"
    """A thread that is loaded somewhere, while no window of it can be proved."""
    AWAY = "away"
    """No process now; the session can be resumed, and mail waits for it."""
    ENDED = "ended"
    """One-shot and over, or over for good; a send is refused unless it is held on purpose."""


class Event(StrEnum):
    """What changes a peer's state."""

    CAME = "came"
    LOADED = "loaded"
    GONE = "gone"
    """The agent's process is no more, and the session can be resumed."""
    FINISHED = "finished"
    """The agent's process is no more, and the session was for one prompt or cannot be resumed."""


TRANSITIONS: dict[tuple[State, Event], State] = {
    (state, event): after
    for state in State
    for event, after in {
        Event.CAME: State.LIVE,
        Event.LOADED: State.LOADED,
        Event.GONE: State.ENDED if state is State.ENDED else State.AWAY,
        Event.FINISHED: State.ENDED,
    }.items()
}

LISTED = frozenset({State.LIVE, State.LOADED})

REMOTE_ID_CHARS = PEER_CHARS + 4

PERSON = "person"
"""The kind of the peer that stands for a person."""
VISITOR = "visitor"
"""The kind of a person of another device: whether it is one is that device's word, so it sets nothing right here."""
SHARED_PROCESS_KINDS = frozenset({"codex"})
"""Kinds of which several sessions share one process, so that its pid joins nothing."""
FOLDER_KINDS = frozenset({"opencode"})
"""Kinds of which one process serves several folders, each with an adapter of its own: process and folder join."""
RESUMABLE_KINDS = frozenset({"claude", "codex", "gemini", "opencode"})
"""Kinds whose sessions have ids that a later process can take up again."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    start: str
    """Boot and start time, opaque; equal for the same process only."""


@dataclass(slots=True)
class Peer:
    """One peer of this device. Times are seconds since the epoch, for display only."""

    id: str
    name: str
    kind: str
    state: State = State.LIVE
    named: bool = False
    """Whether somebody chose the name; a made-up one gives way."""
    role: str = ""
    cwd: str = ""
    repo: str = ""
    """The git common directory: the same for every worktree and subdirectory."""
    summary: str = ""
    summary_at: float | None = None
    one_shot: bool = False
    agent: Process | None = None
    adapter: Process | None = None
    sessions: list[str] = field(default_factory=list)
    """Host session ids, the newest last."""
    connected: bool = False
    """Whether an adapter of it is connected now; known to the running daemon only."""
    recall_due: bool = False
    """After a resume, compact or clear: what was shown and not acknowledged comes back as headings, once."""
    hooked: bool = False
    """Whether its hooks report to us."""
    endpoint: str = ""
    """Where its client can be told that there is mail; empty if nowhere."""
    heard: float | None = None
    """When its session last gave a sign: an event of its hooks, a call of a tool."""
    prompted: float | None = None
    """When its user spoke to it last."""
    followed: bool = False
    """Whether its client tells us when the session is unloaded; known to the running daemon only."""
    busy: bool = False
    """Whether its hooks told of a turn that has not ended; known to the running daemon only."""
    activity: Activity = field(default_factory=Activity)
    since: float = 0.0
    seen: float = 0.0
    device: str = ""
    """The device it is on; empty for this one."""
    there: str = ""
    """Its id on that device."""
    label: str = ""
    """What that device is called here."""
    told: State | None = None
    """The state that its device told of it last; None for one that it does not show. `state` is what that is worth now:
    away, while there is no word from the device.
    """

    @property
    def address(self) -> str:
        """What others write to reach it by name."""
        return f"{self.name}@{self.label}" if self.device else self.name


@dataclass(frozen=True, slots=True)
class Claim:
    """What a process shows of the session it belongs to."""

    kind: str
    cwd: str
    adapter: Process | None = None
    agent: Process | None = None
    session: str | None = None
    source: str = "startup"
    """startup, resume, clear, compact or fork, as the agent's own hook says; an adapter only knows startup."""
    one_shot: bool | None = None
    """Whether the session is for one prompt; None from whoever does not know."""
    subagent: bool = False
    """Whether the adapter serves a sub-agent of the session, and not its main agent."""


def after(state: State, event: Event) -> State:
    """The state that follows."""
    return TRANSITIONS[state, event]


def anchor(peer: Peer) -> Process | None:
    """The process whose end is the end of the session: the agent's own where a session has one to itself, else the
    adapter, of which every session has one.
    """
    alone = peer.kind in RESUMABLE_KINDS and peer.kind not in SHARED_PROCESS_KINDS
    return peer.agent if alone and peer.agent else peer.adapter


def gone(peer: Peer) -> Event:
    """What the end of a peer's process means for it."""
    resumable = peer.kind in RESUMABLE_KINDS and bool(peer.sessions)
    return Event.GONE if resumable and not peer.one_shot else Event.FINISHED


def remote_id(device: str, there: str) -> str:
    """The id here of the peer of another device that is called `there` on it. Longer than those that are made here, so
    that no device can name a peer of this one.
    """
    digest = hashlib.sha256(f"{device}\n{there}".encode()).digest()
    return "p_" + "".join(ALPHABET[byte & 31] for byte in digest[:REMOTE_ID_CHARS])


def summary_of(peer: Peer, now: float, *, prompts: bool = True, files: bool = True, outside: bool = True) -> Summary:
    """What others are told, at the time `now`, that a peer does; without its prompts, its files, or those outside of
    its folder, if so wished.
    """
    if peer.device:
        return Summary(peer.summary)
    told = peer.activity.line(prompts=prompts, files=files, outside=outside)
    return summary(peer.summary, peer.summary_at, told, peer.heard, now)


class Roster:
    """The index of all peers that a send may reach or a claim may be joined to.

    Peers of other devices are found by their id and by `remotes`, and nowhere else: no claim joins one, and no name of
    this device means one.
    """

    def __init__(self, peers: Iterable[Peer] = ()) -> None:
        self._by_id: dict[str, Peer] = {}
        self._by_name: dict[str, list[Peer]] = {}
        self._remotes: dict[str, Peer] = {}
        self.labels: dict[str, str] = {}
        """What each paired device is called here, also one that shows no peer."""
        for peer in peers:
            self.add(peer)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, peer_id: str) -> Peer | None:
        """The peer with exactly this id, on whatever device."""
        return self._by_id.get(peer_id) or self._remotes.get(peer_id)

    def remotes(self, device: str | None = None) -> list[Peer]:
        """The peers of another device; None: of all others."""
        return [peer for peer in self._remotes.values() if device is None or peer.device == device]

    def addresses(self) -> dict[str, str]:
        """What each peer is called, by its id: those of other devices too."""
        return {peer.id: peer.address for peer in (*self, *self._remotes.values())}

    def add_remote(self, peer: Peer) -> None:
        """Take in a peer of another device, or what is new of it."""
        assert peer.device
        self._remotes[peer.id] = peer

    def remove_remote(self, peer: Peer) -> None:
        """Forget a peer of another device; its messages stay in the store."""
        self._remotes.pop(peer.id, None)

    def named(self, name: str) -> list[Peer]:
        """Every peer with this name, whatever its case."""
        return self._by_name.get(name.casefold(), [])

    def add(self, peer: Peer) -> None:
        """Take in a peer."""
        self._by_id[peer.id] = peer
        self._by_name.setdefault(peer.name.casefold(), []).append(peer)

    def remove(self, peer: Peer) -> None:
        """Forget a peer; its messages stay in the store."""
        del self._by_id[peer.id]
        self._unname(peer)

    def rename(self, peer: Peer, name: str) -> None:
        """Give `peer` another name. Whether it is free is `claimant`'s business."""
        self._unname(peer)
        peer.name = name
        self._by_name.setdefault(name.casefold(), []).append(peer)

    def _unname(self, peer: Peer) -> None:
        left = [other for other in self.named(peer.name) if other is not peer]
        if left:
            self._by_name[peer.name.casefold()] = left
        else:
            self._by_name.pop(peer.name.casefold(), None)

    def claimant(self, name: str, but: Peer | None = None) -> Peer | None:
        """Who holds `name` and has not ended, other than `but`."""
        return next((p for p in self.named(name) if p is not but and p.state is not State.ENDED), None)

    def free_name(self, wish: str) -> str:
        """`wish`, or the first of wish-2, wish-3... that nobody holds."""
        name, number = wish, 1
        while self.claimant(name):
            number += 1
            name = f"{wish[: NAME_CHARS_MAX - 5]}-{number}"
        return name

    def join(self, claim: Claim) -> Peer | None:
        """The peer that a claim belongs to, or None if it makes a new one."""
        by_process = self.by_process(claim)
        by_session = self._by_session(claim)
        if claim.source == "fork":
            # Its adapter may have registered it before its hook told of it, or the hook may tell twice.
            return by_session if by_session is not None and by_session is by_process else None
        if claim.source == "resume" or claim.adapter is None:
            # What a hook says of its session is true now, also where the event that began it was missed.
            return by_session or by_process
        return by_process or by_session

    def by_process(self, claim: Claim) -> Peer | None:
        """The peer whose processes a claim shows."""
        if claim.adapter:
            served = [peer for peer in self if peer.adapter == claim.adapter and peer.kind == claim.kind]
            if claim.kind in SHARED_PROCESS_KINDS:
                served = [peer for peer in served if not claim.session or claim.session in peer.sessions]
            if served:
                return newest(served)
        if claim.agent is None or claim.kind in SHARED_PROCESS_KINDS:
            return None
        same = [peer for peer in self if peer.agent == claim.agent and peer.kind == claim.kind]
        if claim.kind in FOLDER_KINDS:
            same = [peer for peer in same if peer.cwd == claim.cwd]
        if claim.kind not in RESUMABLE_KINDS:
            # One process of an unknown kind may hold several sessions, each with an adapter of its own.
            same = [peer for peer in same if not peer.connected]
        return newest(same)

    def _by_session(self, claim: Claim) -> Peer | None:
        if not claim.session:
            return None
        return newest(p for p in self if claim.session in p.sessions and p.kind == claim.kind)


def newest(peers: Iterable[Peer]) -> Peer | None:
    """The peer seen last."""
    return max(peers, key=lambda peer: peer.seen, default=None)


# --- What peers are called ------------------------------------------------------------------------------------

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_CHARS_MAX - 1}}}")
RESERVED_NAMES = frozenset({"all", "me", "repo", "role", "network", "machine", "directory", "coterie"})


def check_name(name: str, what: str = "name") -> str:
    """`name` if it can serve as a name or role. Raises `BadInput` that says what a name looks like."""
    name = name.strip()
    hint = f"use letters, digits, dots, dashes and underscores, at most {NAME_CHARS_MAX}, such as build-server"
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name[:40]!r} cannot be a {what}", hint)
    if what == "name" and (name.casefold() in RESERVED_NAMES or name[:2].lower() in ("p_", "m_")):
        raise BadInput(f"{name!r} means something else in an address", hint)
    return name


def check_summary(summary: str) -> str:
    """`summary` on one line. Raises `BadInput` if it is too long: nothing is cut silently."""
    # Looked at before it is neutralised, which takes time for each character.
    line = " ".join(neutralise(summary).split()) if len(summary) <= SUMMARY_CHARS_MAX * 2 else summary
    if len(line) > SUMMARY_CHARS_MAX:
        raise BadInput(
            f"the summary has {len(line)} characters; {SUMMARY_CHARS_MAX} are shown", "say it in two sentences"
        )
    return line


def made_up_name(kind: str, cwd: str) -> str:
    """A name for a peer that nobody named: its folder and its agent kind."""
    folder = re.sub(r"[^A-Za-z0-9._-]+", "-", cwd.rstrip("/").rpartition("/")[2]).strip("-._")
    name = f"{folder[: NAME_CHARS_MAX - 14]}-{kind}" if folder else kind
    return name if _NAME.fullmatch(name) else kind


# --- Scopes ------------------------------------------------------------------------------------------------------

SCOPES = ("machine", "directory", "repo", "network")


def in_scope(peers: Iterable[Peer], scope: str, cwd: str, repo: str) -> list[Peer]:
    """The peers that a list with this scope shows. Outside a repository, scope repo is the directory.

    Scope network adds the peers of other devices, which come from elsewhere; here it is the machine.
    """
    if scope == "repo" and repo:
        return [peer for peer in peers if peer.repo == repo]
    if scope in ("repo", "directory"):
        return [peer for peer in peers if peer.cwd == cwd]
    return list(peers)
