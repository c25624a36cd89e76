"""Whom a message is for: the forms of an address, and whom each means.

    p_7f3k9q2m, p_7f3k, 7f3k     the peer with that id, or the only one whose id begins so
    bob                          the peer with that name, whatever its case
    bob@laptop                   that peer of a paired device
    role:builder@laptop          every holder of the role who is here on that device, as far as it tells
    role:builder                 every holder of the role who is here (live or loaded)
    repo                         everybody here in the sender's repository
    all                          every live peer of this device
    me                           the sender itself

Without an @ an address means this device, but for the whole id of a peer of another one: a name of ours that ended must
not come to mean a stranger's. Nobody: refused, with who is here. Several where one is meant: refused, with the
candidates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from coterie.errors import Ambiguous, BadInput, NoMatch, Refused
from coterie.frames import one_line
from coterie.limits import ID_PREFIX_MIN
from coterie.peers import LISTED, Peer, Roster, State, in_scope

GROUPS = ("me", "all", "repo")
ROLE = "role:"
CANDIDATES_SHOWN = 8
ELSEWHERE_SHOWN = 4
"""Peers of other devices that are named where no peer here is meant."""
LABEL_CHARS = 40


@dataclass(frozen=True, slots=True)
class Recipients:
    """Whom an address means."""

    peers: list[Peer]
    group: bool
    """Whether the address may mean several: then each gets a copy, and ended peers are passed over."""


def describe(peer: Peer) -> str:
    """A peer on one line, as a candidate."""
    where = f" in {one_line(peer.cwd, 60)}" if peer.cwd else ""
    return f"{peer.address} = {peer.id} ({peer.kind}, {peer.state}{where})"


def _candidates(peers: Iterable[Peer]) -> str:
    shown = sorted(peers, key=lambda peer: (peer.state not in LISTED, -peer.seen))
    lines = [describe(peer) for peer in shown[:CANDIDATES_SHOWN]]
    more = len(shown) - len(lines)
    return "; ".join([*lines, f"and {more} more"] if more else lines) or "nobody else is here"


def resolve_one(address: str, roster: Roster, sender: Peer | None) -> Peer:
    """The one peer that `address` means. Raises as `resolve` does, and `BadInput` for the address of a group."""
    found = resolve(address, roster, sender)
    if found.group:
        raise BadInput(f"{address[:40]!r} may mean several peers", "name one")
    return found.peers[0]


def resolve_here(address: str, roster: Roster, sender: Peer | None) -> Peer:
    """The one peer of this device that `address` means. Raises as `resolve_one` does, and `Refused` for another's."""
    peer = resolve_one(address, roster, sender)
    if peer.device:
        raise Refused(
            f"{describe(peer)} is a session of another device", f"do it on {one_line(peer.label, LABEL_CHARS)}"
        )
    return peer


def resolve(address: str, roster: Roster, sender: Peer | None) -> Recipients:
    """Whom `address` means for `sender` (None: a caller that is no peer itself).

    Raises `BadInput`, `NoMatch` or `Ambiguous`, each with what to do next.
    """
    text = address.strip()
    if not text:
        raise BadInput("the address is empty", "list_peers shows who can be written to")
    name, at, label = text.partition("@")
    if at:
        return _elsewhere(name.strip(), _device(label.strip(), roster), roster)
    if text in GROUPS or text.startswith(ROLE):
        return _group(text, roster, sender)
    return Recipients([_one(name, roster)], group=False)


def _device(label: str, roster: Roster) -> str:
    """The device that is called `label` here, or has that for its whole id."""
    for device, known in roster.labels.items():
        if label.casefold() == known.casefold() or label.replace("-", "").upper() == device:
            return device
    called = ", ".join(one_line(known, LABEL_CHARS) for known in sorted(roster.labels.values()))
    hint = f"paired are: {called}" if called else f"none is paired; on this one: {_candidates(_addressable(roster))}"
    raise NoMatch(f"no paired device is called {label[:LABEL_CHARS]!r}", hint)


def _elsewhere(name: str, device: str, roster: Roster) -> Recipients:
    """Whom `name` means on another device: what it says of its sessions is all that is known."""
    label = one_line(roster.labels[device], LABEL_CHARS)
    there = roster.remotes(device)
    if name in GROUPS:
        raise BadInput(f"{name!r} means peers of one's own device only", f"name one: {_known(there, label)}")
    if name.startswith(ROLE):
        role = name.removeprefix(ROLE).strip().casefold()
        found = [peer for peer in there if peer.role.casefold() == role and role and peer.state in LISTED]
        if not found:
            raise NoMatch(f"nobody with that role is known to be on {label} now", _known(there, label))
        return Recipients(found, group=True)
    named = [peer for peer in there if peer.name.casefold() == name.casefold() or name in (peer.there, peer.id)]
    found = [peer for peer in named if peer.state is not State.ENDED] or named
    if not found:
        raise NoMatch(f"nobody on {label} is known to be called {name[:60]!r}", _known(there, label))
    if len(found) > 1:
        raise Ambiguous(f"{name[:60]!r} means {len(found)} peers of {label}", f"use an id: {_candidates(found)}")
    return Recipients(found, group=False)


def _known(there: list[Peer], label: str) -> str:
    shown = [peer for peer in there if peer.state is not State.ENDED]
    return f"on {label}: {_candidates(shown)}" if shown else f"{label} has shown no session so far"


def _group(text: str, roster: Roster, sender: Peer | None) -> Recipients:
    if sender is None:
        raise BadInput(f"{text!r} needs a sender that is a peer", "name a peer")
    if text == "me":
        return Recipients([sender], group=False)
    others = [peer for peer in roster if peer is not sender and peer.state in LISTED]
    if text == "repo":
        found = in_scope(others, "repo", sender.cwd, sender.repo)
    elif text == "all":
        found = [peer for peer in others if peer.state is State.LIVE]
    else:
        role = text.removeprefix(ROLE).strip().casefold()
        found = [peer for peer in others if peer.role.casefold() == role and role]
    if not found:
        raise NoMatch(f"{text!r} reaches nobody now", f"here: {_candidates(others)}")
    return Recipients(found, group=True)


def _one(text: str, roster: Roster) -> Peer:
    exact = roster.get(text.lower())
    if exact:
        return exact
    named = roster.named(text)
    present = [peer for peer in named if peer.state is not State.ENDED]
    found = present or named or _by_prefix(text.lower(), roster)
    if not found:
        here = f"here: {_candidates(_addressable(roster))}"
        raise NoMatch(f"nobody here is called {text[:60]!r}", f"{_others(text, roster)}{here}")
    if len(found) > 1:
        raise Ambiguous(f"{text[:60]!r} means {len(found)} peers", f"use an id: {_candidates(found)}")
    return found[0]


def _others(text: str, roster: Roster) -> str:
    """Who is called so on other devices: to be named in full, and never meant by the bare name."""
    found = [peer for peer in roster.remotes() if peer.name.casefold() == text.casefold()]
    called = sorted(peer.address for peer in found if peer.state is not State.ENDED)[:ELSEWHERE_SHOWN]
    return f"on other devices: {', '.join(called)}; " if called else ""


def _addressable(roster: Roster) -> list[Peer]:
    return [peer for peer in roster if peer.state is not State.ENDED]


def _by_prefix(text: str, roster: Roster) -> list[Peer]:
    start = text.removeprefix("p_")
    if len(start) < ID_PREFIX_MIN:
        return []
    found = [peer for peer in roster if peer.id.startswith("p_" + start)]
    return [peer for peer in found if peer.state is not State.ENDED] or found
