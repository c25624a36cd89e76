"""What made an agent write: the message that it answers, or else the one that it was given last.

Nobody can look into a model. What it was given last by another agent, in a thread that it did not begin, counts as the
cause of what it sends, until its user or another person speaks to it, or CAUSE_S are over. Order is that of events, and
time that of a clock that nobody sets; the database is asked once for each peer, after the start of a daemon.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from coterie.guards import Cause
from coterie.limits import CAUSE_S, COUNTS_KEPT_MAX, GIVEN_KEPT
from coterie.peers import PERSON, Peer
from coterie.store import counts
from coterie.store import messages as stored
from coterie.store.db import Row, Store


class Causes:
    """For each peer the cause of what it would send now."""

    def __init__(self, store: Store, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._steady = steady
        self._found: dict[str, tuple[Cause | None, float]] = {}
        """The cause, and when (by the steady clock) it was given."""
        self._given: dict[str, deque[tuple[str, float]]] = {}
        """What was given since, not looked at yet."""

    def gave(self, peer: str, message: str) -> None:
        """The text of a message is before its reader, as far as is known."""
        given = self._given.setdefault(peer, deque(maxlen=GIVEN_KEPT))
        if len(given) == GIVEN_KEPT:
            self._found.pop(peer, None)  # What falls out at the other end is found in the database.
        given.append((message, self._steady()))
        if len(self._given) > COUNTS_KEPT_MAX:
            del self._given[next(iter(self._given))]

    def spoke_to(self, peer: str) -> None:
        """Its user spoke to it: what it does from here on is done for them."""
        self._given.pop(peer, None)
        self._keep(peer, None, 0.0)

    def of(self, sender: Peer, answered: Row | None) -> Cause | None:
        """The cause of a send that answers this message, or none."""
        if answered is not None and answered["recipient"] == sender.id:
            return cause_of(answered)
        found, at = self._found.get(sender.id) or self._load(sender)
        if sender.id in self._given:
            found, at = self._newest(sender.id) or (found, at)
            self._keep(sender.id, found, at)
        return found if found and self._steady() - at <= CAUSE_S else None

    def _newest(self, peer: str) -> tuple[Cause | None, float] | None:
        """The newest of what was given that can be a cause; None if nothing can."""
        for message, at in reversed(self._given.pop(peer)):
            row = stored.find(self._store.reader, message)
            if row is None or row["sender"] == peer:
                continue
            if row["sender_kind"] == PERSON:
                return None, at
            first = stored.find(self._store.reader, row["thread"])
            if first is None or first["sender"] != peer:
                return cause_of(row), at
        return None

    def _load(self, sender: Peer) -> tuple[Cause | None, float]:
        now = self._clock()
        row = counts.last_given(self._store.reader, sender.id, max(sender.prompted or 0.0, now - CAUSE_S))
        if row is None or row["sender_kind"] == PERSON:
            return self._keep(sender.id, None, 0.0)
        return self._keep(sender.id, cause_of(row), self._steady() - max(0.0, now - row["given"]))

    def _keep(self, peer: str, cause: Cause | None, at: float) -> tuple[Cause | None, float]:
        self._found[peer] = cause, at
        if len(self._found) > COUNTS_KEPT_MAX:
            del self._found[next(iter(self._found))]
        return cause, at


def cause_of(row: Row) -> Cause:
    """A stored message as a cause. One from before there were paths begins its own."""
    path = tuple(row["path"].split()) or (row["sender"],)
    return Cause(row["id"], path, human=row["sender_kind"] == PERSON)
