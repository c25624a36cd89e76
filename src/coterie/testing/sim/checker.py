"""The history checker: reads events only, and says what in them is not as promised.

Each rule is a function that yields what is wrong. What a rule lets pass it lets pass for a reason that stands there:
from outside it cannot be seen whether a text was lost before its recipient had it or before the daemon heard of it, so
what may be given again after a fault is not held against the daemon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from coterie.testing.sim import afar
from coterie.testing.sim.history import Event
from coterie.testing.sim.ledger import Ledger, Seen

OVER = ("shown", "acknowledged")
ENDED = ("expired", "refused", "dead")
RANK = {"queued": 0, "offered": 1, "shown": 2, "acknowledged": 3}
SLACK_S = 5.0
"""What a message may live longer or shorter than its life: clocks are read at different moments."""

UNDER_WAY_S = 0.002
"""What a line takes at most from the daemon to its adapter and on, twice over."""

_ENDS = {"crash", "left", "cut", "killed", "began", "cleared", "no adapter", "new adapter", "no hook"}
DISTURBING = frozenset(
    {*_ENDS, "failed", "dropped", "unreported", "taken back", "interrupted", "withdrawn", "given back"}
)
"""After one of these, in the daemon or the recipient's session, a text may be given out of turn, and rightly so."""
LOST_REPORT = frozenset({"crash", "left", "cut", "unreported", "no hook", "no adapter"})
"""After one of these the daemon may rightly not know that a text went out."""
LAPSE = frozenset({"killed", "began", "cleared", "taken back", "no hook"})
"""After one of these an offer to that session has lapsed, or may have."""
STOPPING = frozenset({"stop", "stopped", "killed"})
STOPS = 2
"""Stops after which an offer without evidence has lapsed."""


def check(events: Iterable[Event]) -> list[str]:
    """What is wrong with a history. Empty if it is as promised."""
    ledger = Ledger(events)
    rules = (*RULES, *afar.RULES)
    return [f"{rule.__name__.lstrip('_').replace('_', ' ')}: {what}" for rule in rules for what in rule(ledger)]


def _no_defect(ledger: Ledger) -> Iterator[str]:
    for event in ledger.events:
        if event.kind == "defect":
            yield str(event).strip()


def _every_send_is_answered(ledger: Ledger) -> Iterator[str]:
    for body, sent in ledger.sends.items():
        later = ledger.events[sent.at :]
        if not sent.outcome and not any(event.who == sent.who and event.kind == "killed" for event in later):
            yield f"{body}: {ledger.where(sent.at)}"


def _accepted_is_kept(ledger: Ledger) -> Iterator[str]:
    for message, seen in ledger.messages.items():
        if seen.accepted is not None and seen.kept is None:
            yield f"{message} is nowhere: {ledger.where(seen.accepted)}"


def _kept_arrives(ledger: Ledger) -> Iterator[str]:
    """In the end each message was shown, or is over for a reason, or waits for one that is away."""
    for message, seen in _in_books(ledger):
        state = _state(seen)
        if state in OVER or (state == "expired" and _lived(ledger, seen)) or _is_over_afar(ledger, seen):
            continue
        if state not in ("queued", "offered"):
            yield f"{message} is {state}, as {_of(seen, 'reason')!r}"
        elif not _waits_rightly(ledger, seen):
            yield f"{message} is {state} while its recipient is here ({_of(seen, 'to')})"


def _waits_rightly(ledger: Ledger, seen: Seen) -> bool:
    books = seen.there[0] if seen.there else seen.kept or {}
    session, state = ledger.peers.get(books.get("to_id", ""), ("", "gone"))
    if state not in ("live", "loaded"):
        return True
    has = ledger.sessions.get(session, {})
    # Without hooks nothing proves that a line in an inbox was read, but an answer; nor does a report that got lost.
    return bool(has.get("inbox")) and not has.get("hooks") and bool(seen.out)


def _life_counts(ledger: Ledger) -> Iterator[str]:
    """No message outlives its life, and none ends before: whatever the wall clock was set to."""
    for message, seen in _in_books(ledger):
        # What became of a message on a device that is forgotten is never told: it stays as it was told last.
        open_here = _state(seen) in ("queued", "offered") and not ledger.is_estranged(seen)
        if open_here and seen.accepted is not None and _lived(ledger, seen, -SLACK_S):
            yield f"{message} should have expired"
        early = [number for number, state in seen.told if state == "expired" and not _lived(ledger, seen, at=number)]
        if early:
            yield f"{message}: {ledger.where(early[0])}"


def _lived(ledger: Ledger, seen: Seen, slack_s: float = SLACK_S, at: int = -1) -> bool:
    """Whether its life was over at that event. It began when the daemon took it, before its sender heard of that."""
    if seen.kept is None:
        return True
    began = seen.accepted if slack_s < 0 and seen.accepted is not None else ledger.sends[_of(seen, "body")].at
    return ledger.events[at].at - ledger.events[began].at >= float(seen.kept["life"]) - slack_s


def _stored_once(ledger: Ledger) -> Iterator[str]:
    copies = Counter((_of(seen, "body"), _of(seen, "to_id")) for _, seen in _in_books(ledger))
    for (body, to), count in copies.items():
        if count > 1:
            yield f"{body} is there {count} times for {to}"


def _refused_never_appears(ledger: Ledger) -> Iterator[str]:
    for message, seen in ledger.messages.items():
        if seen.kept is None and not seen.is_notice and (seen.out or seen.read):
            yield f"{message} was given out and is not in the books: {ledger.where((seen.out or seen.read)[0])}"
        elif seen.kept is not None and ledger.sends[_of(seen, "body")].outcome == "refused":
            yield f"{message}, of which its sender was told that it was refused, is there ({_of(seen, 'body')})"


def _told_is_true(ledger: Ledger) -> Iterator[str]:
    """What a sender was told never exceeds what really happened."""
    for message, seen in ledger.messages.items():
        told = [*seen.told, *([(len(ledger.events) - 1, _state(seen))] if seen.kept else [])]
        for number, state in told:
            if not _happened(seen, state, number) and not (state == "shown" and _unseen(ledger, seen, number)):
                yield f"{message} was not {state}: {ledger.where(number)}"
                break


def _happened(seen: Seen, state: str, by: int) -> bool:
    first = {
        "offered": seen.out[:1],
        "shown": seen.read[:1],
        "acknowledged": [seen.answered] if seen.answered is not None else [],
    }.get(state)
    return first is None or any(number < by for number in first)


def _unseen(ledger: Ledger, seen: Seen, by: int) -> bool:
    """Whether its prompt was taken back, or its session cleared before it was read, and the hook that would have shown
    that told nothing.
    """
    since = [number for number in (seen.taken_back, _cleared(ledger, seen, by)) if number is not None]
    if not since:
        return False
    who, later = ledger.events[min(since)].who, ledger.events[min(since) : by]
    return any(event.kind == "no hook" and event.who == who for event in later)


def _cleared(ledger: Ledger, seen: Seen, by: int) -> int | None:
    """When the session was cleared to which a text went out before."""
    for out in seen.out:
        for number in range(out, by):
            event = ledger.events[number]
            if event.kind == "cleared" and event.who == ledger.events[out].who:
                return number
    return None


def _told_goes_forward(ledger: Ledger) -> Iterator[str]:
    """Once a sender was told that it was shown, it is not told less."""
    for message, seen in ledger.messages.items():
        most = 0
        for number, state in seen.told:
            rank = RANK.get(state, most)
            if most >= RANK["shown"] and rank < most:
                yield f"{message}: {ledger.where(number)}"
                break
            most = max(most, rank)


def _shown_once(ledger: Ledger) -> Iterator[str]:
    """No text goes out again after there was evidence that it was read."""
    for message, seen in ledger.messages.items():
        proofs = [number for number, state in seen.told if state in OVER]
        proof = min([*proofs, *([seen.proved] if seen.proved is not None else [])], default=None)
        again = [
            number for number in seen.out if proof is not None and number > proof and _later(ledger, proof, number)
        ]
        if again:
            yield f"{message}: {ledger.where(again[0])}"


def _later(ledger: Ledger, proof: int, out: int) -> bool:
    """Whether the text was given out after the proof: what is on its way to a carrier by then cannot be called back."""
    return ledger.events[out].at - ledger.events[proof].at > UNDER_WAY_S


def _one_carrier_at_a_time(ledger: Ledger) -> Iterator[str]:
    for message, seen in ledger.messages.items():
        for first, second in zip(seen.out, seen.out[1:], strict=False):
            if not _let_go(ledger, message, first, second):
                yield f"{message}: {ledger.where(first)} / {ledger.where(second)}"
                break


def _let_go(ledger: Ledger, message: str, first: int, second: int) -> bool:
    """Whether the carrier that had it at `first` may have lost it before `second`."""
    who, reported = ledger.events[first].who, False
    stops = int(_is_stopping(ledger, who, first))
    # A session that cannot be resumed lives as long as its adapter: it has no other process that is known.
    lapse = LAPSE if ledger.sessions.get(who, {}).get("resumable") else LAPSE | {"no adapter"}
    for event in ledger.events[first + 1 : second]:
        mine = event.who == who
        reported = reported or (mine and event.kind == "reported" and message in event.what["ids"])
        stops += mine and event.kind == "stop"
        if (
            (mine and event.kind in lapse)
            or stops >= STOPS
            or (not reported and event.kind in LOST_REPORT and ledger.here(who, event))
        ):
            return True
    return False


def _is_stopping(ledger: Ledger, who: str, at: int) -> bool:
    """Whether a stop was under way, of which the daemon may have heard after that event."""
    earlier = (ledger.events[number] for number in range(at - 1, -1, -1))
    return next((event.kind == "stop" for event in earlier if event.who == who and event.kind in STOPPING), False)


def _order_is_kept(ledger: Ledger) -> Iterator[str]:
    """Of two messages from one peer to another the older goes out first, where nothing was in the way of it."""
    pairs: dict[tuple[str, str], list[tuple[str, Seen]]] = {}
    for message, seen in sorted(_in_books(ledger), key=lambda one: int(_of(one[1], "seq"))):
        pairs.setdefault((_of(seen, "from_id"), _of(seen, "to_id")), []).append((message, seen))
    for messages in pairs.values():
        for (older, before), (younger, after) in pairwise(messages):
            held = before.let_through is not None or after.let_through is not None
            if held or not after.out or before.accepted is None:
                continue
            if _overtaken(ledger, before, younger, after.out[0]):
                yield f"{younger} went out before {older}: {ledger.where(after.out[0])}"


def _overtaken(ledger: Ledger, older: Seen, younger: str, out: int) -> bool:
    event = ledger.events[out]
    if event.what["carrier"] == "wait" or (older.out and older.out[0] < out) or _state(older) in ENDED:
        return False  # An answer that is waited for goes to whoever waits.
    together: list[str] = event.what["ids"]
    if older.kept and older.kept["id"] in together:
        return together.index(older.kept["id"]) > together.index(younger)
    sent = ledger.sends[_of(older, "body")].at
    return not any(
        other.kind in DISTURBING and (other.who == event.who or _is_machine(ledger, event.who, other.who))
        for other in ledger.events[sent:out]
    )


def _is_machine(ledger: Ledger, who: str, other: str) -> bool:
    """Whether `other` is what the device of `who` runs on."""
    return other.partition("-")[0] in ("daemon", "world") and ledger.site(other) in ("", ledger.site(who))


def _answer_acknowledges(ledger: Ledger) -> Iterator[str]:
    for message, seen in _in_books(ledger):
        about = ledger.messages.get(_of(seen, "reply_to"))
        books = about and (about.there[0] if about.there else about.kept)
        if ledger.is_estranged(seen) or (about and ledger.is_estranged(about)):
            continue
        if about and books and books["to_id"] == _of(seen, "from_id") and _state(about) != "acknowledged":
            yield f"{message} answers {_of(seen, 'reply_to')}, which is {_state(about)}"


def _is_over_afar(ledger: Ledger, seen: Seen) -> bool:
    """Whether a message to another device came to an end there, or on its way, and it is said why. Of a device that
    was forgotten nothing more is heard.
    """
    afar = "@" in _of(seen, "to")
    ended = _state(seen) in ("refused", "dead") and bool(_of(seen, "reason")) and not seen.out
    return ledger.is_estranged(seen) or (afar and ended)


def _in_books(ledger: Ledger) -> Iterator[tuple[str, Seen]]:
    return ((message, seen) for message, seen in ledger.messages.items() if seen.kept is not None)


def _of(seen: Seen, name: str) -> str:
    return str((seen.kept or {}).get(name) or "")


def _state(seen: Seen) -> str:
    return _of(seen, "state")


Rule = Callable[[Ledger], Iterator[str]]
RULES: tuple[Rule, ...] = (
    _no_defect,
    _every_send_is_answered,
    _accepted_is_kept,
    _kept_arrives,
    _life_counts,
    _stored_once,
    _refused_never_appears,
    _told_is_true,
    _told_goes_forward,
    _shown_once,
    _one_carrier_at_a_time,
    _order_is_kept,
    _answer_acknowledges,
)
