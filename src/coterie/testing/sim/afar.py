"""The rules of the checker for what goes from one device to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from coterie.testing.sim.history import Event
from coterie.testing.sim.ledger import Ledger, Seen

ENDED = frozenset({"expired", "refused", "dead"})
GONE = "ended"
"""The state of a session that will not come back."""
LEAVING = frozenset({"killed", "no adapter", "cleared"})
"""After one of these a session may be called ended."""
HERE = frozenset({"live", "loaded"})
ON_ITS_WAY_S = 0.5
"""What is on its way to a session when its device is forgotten cannot be called back."""


def _messages(ledger: Ledger) -> Iterator[tuple[str, Seen]]:
    """Every message that was accepted for a session of another device."""
    for message, seen in ledger.messages.items():
        if seen.kept is not None and "@" in seen.kept["to"]:
            yield message, seen


def _first(ledger: Ledger, kind: str) -> int | None:
    return next((number for number, event in enumerate(ledger.events) if event.kind == kind), None)


def _of_kind(ledger: Ledger, kind: str) -> list[Event]:
    return [event for event in ledger.events if event.kind == kind]


def _device_of(address: str) -> str:
    return address.partition("@")[2]


def _arrives_in_time(ledger: Ledger) -> Iterator[str]:
    """What was accepted before the world healed is on its recipient's device soon after, or it is said why not."""
    healed = _first(ledger, "healed")
    books = {event.what["site"]: set(event.what["ids"]) for event in _of_kind(ledger, "books")}
    if healed is None or not books:
        return
    for message, seen in _messages(ledger):
        assert seen.kept is not None
        late = seen.accepted is None or seen.accepted > healed
        if late or ledger.is_estranged(seen) or seen.kept["state"] in ENDED:
            continue
        if message not in books.get(_device_of(seen.kept["to"]), ()):
            yield f"{message} is not on {_device_of(seen.kept['to'])} yet: {ledger.where(seen.accepted or 0)}"


def _arrives_once(ledger: Ledger) -> Iterator[str]:
    """A message is in the books of one other device, and there once; nothing is there that nobody sent."""
    texts: dict[tuple[str, str], str] = {}
    for message, seen in ledger.messages.items():
        for books in seen.there:
            copy = (books["body"], books["to_id"])
            if copy in texts:
                yield f"{message} is {texts[copy]} again, on {books['site']}"
            texts[copy] = message
            if ledger.is_estranged(seen):
                continue
            if seen.kept is None or _device_of(seen.kept["to"]) != books["site"]:
                yield f"{message} came to {books['site']}, and was not sent there"


def _comes_in_order(ledger: Ledger) -> Iterator[str]:
    """Of two messages from one peer to another the older arrives first, whatever the way did."""
    pairs: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for message, seen in _messages(ledger):
        for books in seen.there:
            assert seen.kept is not None
            pair = (seen.kept["from_id"], books["to_id"])
            pairs.setdefault(pair, []).append((seen.kept["seq"], books["seq"], message))
    for messages in pairs.values():
        for (_, before, older), (_, after, younger) in pairwise(sorted(messages)):
            if after < before:
                yield f"{younger} came before {older}"


def _books_agree(ledger: Ledger) -> Iterator[str]:
    """In the end both devices say the same of a message."""
    for message, seen in _messages(ledger):
        if ledger.is_estranged(seen):
            continue
        assert seen.kept is not None
        for books in seen.there:
            if books["state"] != seen.kept["state"]:
                yield f"{message} is {seen.kept['state']} where it comes from, and {books['state']} where it is"


def _ends_for_a_reason(ledger: Ledger) -> Iterator[str]:
    for message, seen in _messages(ledger):
        if seen.kept and seen.kept["state"] in ENDED and not seen.kept["reason"]:
            yield f"{message} is {seen.kept['state']}, and nobody says why"


def _nothing_of_the_forgotten(ledger: Ledger) -> Iterator[str]:
    """From the moment on in which a device is forgotten, no session is given anything that comes from it."""
    for number, event in enumerate(ledger.events):
        if event.kind != "forgot":
            continue
        for message, seen in ledger.messages.items():
            late = [out for out in seen.out if out > number and _is_of(seen, event.what, ledger, out)]
            late = [out for out in late if ledger.events[out].at - event.at > ON_ITS_WAY_S]
            if late:
                yield f"{message}: {ledger.where(late[0])}"


def _held_without_a_right(ledger: Ledger) -> Iterator[str]:
    """What a device writes that has no right to write is given to nobody before the person says so."""
    for number, event in enumerate(ledger.events):
        if event.kind != "right gone":
            continue
        pair = {"site": event.what["site"], "other": event.what["of"]}
        until = _given_back(ledger, number)
        for message, seen in ledger.messages.items():
            if seen.kept is None or ledger.sends[seen.kept["body"]].at < number:
                continue
            through = min(until, seen.let_through if seen.let_through is not None else until)
            if any(number < out < through and _is_of(seen, pair, ledger, out) for out in seen.out):
                yield f"{message}: {ledger.where(number)}"


def _given_back(ledger: Ledger, gone: int) -> int:
    """When the right was given back that was taken then; the end, if it never was."""
    what = ledger.events[gone].what
    later = range(gone, len(ledger.events))
    back = (n for n in later if ledger.events[n].kind == "given back" and ledger.events[n].what == what)
    return next(back, len(ledger.events))


def _is_of(seen: Seen, forgot: dict[str, Any], ledger: Ledger, out: int) -> bool:
    """Whether a text that went out came to the device that forgot from the one that it forgot."""
    if ledger.site(ledger.events[out].who) != forgot["site"]:
        return False
    return any(_device_of(books["from"]) == forgot["other"] for books in seen.there)


def _nobody_is_called_gone(ledger: Ledger) -> Iterator[str]:
    """A session of another device is said to have ended only if it may have."""
    left: set[str] = set()
    for event in ledger.events:
        if event.kind in LEAVING:
            left.add(event.who)
        elif event.kind in ("sees", "knows") and event.what["state"] == GONE:
            name = event.what["name"]
            if name in ledger.sessions and name not in left:
                yield str(event).strip()


def _knows_who_is_there(ledger: Ledger) -> Iterator[str]:
    """Once the world has healed, each device knows of all others who is there."""
    own: dict[str, set[str]] = {}
    for event in _of_kind(ledger, "own"):
        if event.what["state"] in HERE:
            own.setdefault(event.what["site"], set()).add(event.what["name"])
    known: dict[tuple[str, str], set[str]] = {}
    for event in _of_kind(ledger, "knows"):
        if event.what["state"] in HERE:
            known.setdefault((event.what["site"], event.what["of"]), set()).add(event.what["name"])
    for site in own:
        for other, there in own.items():
            if other == site or (site, other) in ledger.strangers:
                continue
            seen = known.get((site, other), set())
            if seen != there:
                yield f"{site} knows of {sorted(seen)} on {other}, where {sorted(there)} are"


Rule = Callable[[Ledger], Iterator[str]]
RULES: tuple[Rule, ...] = (
    _arrives_in_time,
    _arrives_once,
    _comes_in_order,
    _books_agree,
    _ends_for_a_reason,
    _nothing_of_the_forgotten,
    _held_without_a_right,
    _nobody_is_called_gone,
    _knows_who_is_there,
)
