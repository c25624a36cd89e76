"""What one device tells another of its sessions: all of it at once, made from what its owner shows, and read strictly.

A session on the wire is an object with `id` and, as far as the owner shows them, `name`, `role`, `kind`, `repo`,
`summary`, `state` and `busy`. Folders, processes and host session ids never leave a device.

Snapshots are numbered: `epoch` grows with each start of their sender, `n` with each snapshot. One that is not newer
than what is known is of no use.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from coterie.errors import BadInput
from coterie.frames import one_line
from coterie.jsonline import encode
from coterie.limits import NAME_CHARS_MAX, NEIGHBOURS_MAX, REPO_CHARS, SNAPSHOT_BYTES_MAX
from coterie.peers import LISTED, PERSON, VISITOR, Peer, State, check_name, check_summary

Json = dict[str, Any]
FIELDS = ("name", "role", "agent", "repo", "summary", "state")
"""What an owner may show of a session, besides that it is there."""
EVERYTHING = frozenset(FIELDS)
COUNT_MAX = 1 << 53
"""An epoch or a number from here on is none: other languages' JSON counts no further."""
UNNAMED_CHARS = 6
"""Of an id, what a session is called by whose name is not shown."""
STATES = (State.LIVE, State.LOADED, State.AWAY)
"""One that has ended is not shown any more."""
UNKNOWN_KIND = "other"

_THERE = re.compile(r"p_[0-9a-z]{1,32}")
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


# --- out ----------------------------------------------------------------------------------------------------------


def fit_name(name: str, there: str) -> str:
    """`name`, or what an address can hold of it: an account may be called otherwise."""
    fit = _NO_NAME.sub("-", name).strip("-._")[:NAME_CHARS_MAX]
    try:
        return check_name(fit)
    except BadInput:
        return unnamed(there)


def unnamed(there: str) -> str:
    """What a session is called whose name is not shown: the beginning of its id on its device."""
    return there.removeprefix("p_")[:UNNAMED_CHARS]


def repo_name(repo: str) -> str:
    """The name of a repository, by its git common directory."""
    folder, _, last = repo.rstrip("/").rpartition("/")
    return one_line(folder.rpartition("/")[2] if last == ".git" else last, REPO_CHARS)


def shown(peer: Peer, summary: str, busy: bool | None, share: Collection[str]) -> Json:
    """A session of this device, as other devices are told of it."""
    fields = {
        "name": ("name", fit_name(peer.name, peer.id)),
        "role": ("role", peer.role),
        "agent": ("kind", peer.kind),
        "repo": ("repo", repo_name(peer.repo)),
        "summary": ("summary", summary),
        "state": ("state", peer.state.value),
    }
    told: Json = {"id": peer.id, **{key: value for what, (key, value) in fields.items() if what in share and value}}
    return {**told, "busy": busy} if "state" in share and busy is not None else told


def chosen(peers: Iterable[Peer], share: Collection[str]) -> list[Peer]:
    """The sessions that are shown at all, in the order in which room is made for them: those who are here first. Where
    states are not shown, one that is away could not be told from one that is here.
    """
    states = STATES if "state" in share else tuple(LISTED)
    found = [peer for peer in peers if peer.state in states]
    return sorted(found, key=lambda peer: (peer.state not in LISTED, -peer.since, peer.id))[:NEIGHBOURS_MAX]


def fitted(sessions: list[Json]) -> list[Json]:
    """As many sessions as one snapshot holds; where room is short, the last go without their summaries first."""
    bare = [{key: value for key, value in session.items() if key != "summary"} for session in sessions]
    room = SNAPSHOT_BYTES_MAX
    taken: list[Json] = []
    for session in bare:
        room -= len(encode(session))
        if room < 0:
            break
        taken.append(session)
    for at, session in enumerate(sessions[: len(taken)]):
        room -= len(encode(session)) - len(encode(taken[at]))
        if room < 0:
            break
        taken[at] = session
    return taken


# --- in -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    """A session of another device, as that one shows it."""

    there: str
    name: str
    kind: str
    state: State
    role: str = ""
    repo: str = ""
    summary: str = ""
    busy: bool | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a device shows of its sessions."""

    epoch: int
    n: int
    shows: bool
    """Whether it shows this device anything; if not, nothing is known of any."""
    sessions: tuple[Session, ...]

    @property
    def number(self) -> tuple[int, int]:
        """What tells which of two is newer."""
        return self.epoch, self.n


def read(frame: Mapping[str, Any], kinds: Collection[str]) -> Snapshot:
    """The snapshot in a frame; `kinds` are the kinds of agents that are known here. Raises `BadInput`."""
    epoch, n = number(frame)
    sessions, shows = frame.get("sessions"), frame.get("shows", True)
    if not isinstance(sessions, list) or len(sessions) > NEIGHBOURS_MAX:
        raise BadInput(f"sessions must be a list of at most {NEIGHBOURS_MAX}")
    if not isinstance(shows, bool):
        raise BadInput("shows must be true or false")
    told = tuple(_session(session, kinds) for session in sessions)
    if len({session.there for session in told}) != len(told):
        raise BadInput("a session stands twice in a snapshot")
    return Snapshot(epoch, n, shows, told)


def number(frame: Mapping[str, Any]) -> tuple[int, int]:
    """The epoch and the number in a frame. Raises `BadInput`."""
    epoch, n = frame.get("epoch"), frame.get("n")
    for value in (epoch, n):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < COUNT_MAX:
            raise BadInput("epoch and n must be numbers from 0")
    assert isinstance(epoch, int)
    assert isinstance(n, int)
    return epoch, n


def _session(session: object, kinds: Collection[str]) -> Session:
    if not isinstance(session, dict):
        raise BadInput("a session must be an object")
    there = check_there(_text(session, "id"))
    busy = session.get("busy")
    if busy is not None and not isinstance(busy, bool):
        raise BadInput("busy must be true or false")
    name, role = _text(session, "name"), _text(session, "role")
    return Session(
        there=there,
        name=check_name(name) if name else unnamed(there),
        kind=kind_of(_text(session, "kind"), kinds),
        state=_state(_text(session, "state")),
        role=check_name(role, "role") if role else "",
        repo=_repo(_text(session, "repo")),
        summary=check_summary(_text(session, "summary")),
        busy=busy,
    )


def check_there(there: str) -> str:
    """The id that a session has on its device. Raises `BadInput`."""
    if not _THERE.fullmatch(there):
        raise BadInput("the id of a session is none")
    return there


def kind_of(kind: str, kinds: Collection[str]) -> str:
    """The kind that a session of another device is here, where it says `kind`. Its person is no person of this one."""
    if kind in (PERSON, VISITOR):
        return VISITOR
    return kind if kind in kinds else UNKNOWN_KIND


def _state(state: str) -> State:
    """Of one whose state is not shown it is only known that it is there."""
    if not state:
        return State.LOADED
    if state not in STATES:
        raise BadInput("the state of a session is none")
    return State(state)


def _repo(repo: str) -> str:
    # Paths stay where they are; one that comes all the same is shown to nobody here either.
    if len(repo) > REPO_CHARS * 4 or "/" in repo:
        raise BadInput("repo must be a name")
    return one_line(repo, REPO_CHARS)


def _text(session: Mapping[str, Any], name: str) -> str:
    value = session.get(name, "")
    if not isinstance(value, str):
        raise BadInput(f"{name} must be a text")
    return value
