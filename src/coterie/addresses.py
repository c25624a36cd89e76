"""Whom a message is for: the forms of an address, and whom each means.

    p_7f3k9q2m, p_7f3k, 7f3k     the peer with that id, or the only one whose id begins so
    bob                          the peer with that name, whatever its case
    bob@laptop                   that peer of a paired device
    role:builder                 every holder of the role who is here (live or loaded)
    repo                         everybody here in the sender's repository
    all                          every live peer of this device
    me                           the sender itself

Nobody: refused, with who is here. Several where one is meant: refused, with the candidates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from coterie.errors import Ambiguous, BadInput, NoMatch
from coterie.frames import one_line
from coterie.limits import ID_PREFIX_MIN
from coterie.peers import LISTED, Peer, Roster, State, in_scope

CANDIDATES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Recipients:
    """Whom an address means."""

    peers: list[Peer]
    group: bool
    """Whether the address may mean several: then each gets a copy, and ended peers are passed over."""


def describe(peer: Peer) -> str:
    """A peer on one line, as a candidate."""
    where = f" in {one_line(peer.cwd, 60)}" if peer.cwd else ""
    return f"{peer.name} = {peer.id} ({peer.kind}, {peer.state}{where})"


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


def resolve(address: str, roster: Roster, sender: Peer | None) -> Recipients:
    """Whom `address` means for `sender` (None: a caller that is no peer itself).

    Raises `BadInput`, `NoMatch` or `Ambiguous`, each with what to do next.
    """
    text = address.strip()
    if not text:
        raise BadInput("the address is empty", "list_peers shows who can be written to")
    if text in ("me", "all", "repo") or text.startswith("role:"):
        return _group(text, roster, sender)
    name, at, device = text.partition("@")
    if at:
        raise NoMatch(
            f"no paired device is called {device[:40]!r}", f"on this device: {_candidates(_addressable(roster))}"
        )
    return Recipients([_one(name, roster)], group=False)


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
        role = text.removeprefix("role:").strip().casefold()
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
        raise NoMatch(f"nobody here is called {text[:60]!r}", f"here: {_candidates(_addressable(roster))}")
    if len(found) > 1:
        raise Ambiguous(f"{text[:60]!r} means {len(found)} peers", f"use an id: {_candidates(found)}")
    return found[0]


def _addressable(roster: Roster) -> list[Peer]:
    return [peer for peer in roster if peer.state is not State.ENDED]


def _by_prefix(text: str, roster: Roster) -> list[Peer]:
    start = text.removeprefix("p_")
    if len(start) < ID_PREFIX_MIN:
        return []
    found = [peer for peer in roster if peer.id.startswith("p_" + start)]
    return [peer for peer in found if peer.state is not State.ENDED] or found
