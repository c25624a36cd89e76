"""What time does to the books: messages expire, old history goes, peers that stay away have ended.

Timers are exact, so that an idle daemon does not wake up to look at the clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from coterie.daemon.post import Post
from coterie.daemon.presence import Presence
from coterie.limits import ACKNOWLEDGED_KEPT_S, AWAY_KEPT_S, ENDED_KEPT_S, HISTORY_BYTES_MAX, UPKEEP_S
from coterie.messages import State as MessageState
from coterie.peers import PERSON, Event, State, after
from coterie.store import messages as stored
from coterie.store import peers
from coterie.store.db import Store

log = logging.getLogger(__name__)


class Expiry:
    """Ends messages whose life is over, when it is over."""

    def __init__(self, store: Store, post: Post, clock: Callable[[], float]) -> None:
        self._store = store
        self._post = post
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._next: float | None = None

    def start(self) -> None:
        """End what expired while no daemon ran, and set the timer."""
        self._run()

    def at_latest(self, when: float) -> None:
        """A message expires at `when`: look then, unless an earlier look is set already."""
        if self._next is None or when < self._next:
            self._set(when)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer:
            self._timer.cancel()

    def _set(self, when: float) -> None:
        self.close()
        self._next = when
        # A timer measures by the monotonic clock: look again at least once a day, should the wall clock be set.
        wait = min(max(when - self._clock(), 0.0), UPKEEP_S)
        self._timer = self._loop.call_later(wait, self._run)

    def _run(self) -> None:
        self._timer, self._next = None, None
        for message, recipient in stored.expired(self._store.reader, self._clock()):
            box = self._post.box(recipient)
            entry = box.entries.get(message)
            offered = entry is not None and entry.state is MessageState.OFFERED
            why = "offered, and no sign that it was read in time" if offered else "it could not be offered in time"
            self._post.record_soon(recipient, box.end(message, MessageState.EXPIRED, why))
        soonest = stored.next_expiry(self._store.reader)
        if soonest is not None:
            # What has just been ended still stands in the reader's view; the next look is a moment later.
            self._set(max(soonest, self._clock() + 1.0))


class Upkeep:
    """Once a day: history beyond its bounds goes, and peers away too long have ended."""

    def __init__(self, store: Store, presence: Presence, post: Post, clock: Callable[[], float]) -> None:
        self._store = store
        self._presence = presence
        self._post = post
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look now, and every day."""
        now = self._clock()
        writing = self._store.write(
            lambda connection: stored.forget_old(connection, now - ACKNOWLEDGED_KEPT_S, HISTORY_BYTES_MAX)
        )
        writing.add_done_callback(_report)
        for peer in list(self._presence.roster):
            away = peer.kind != PERSON and peer.state is State.AWAY and peer.seen < now - AWAY_KEPT_S
            if away and not self._post.box(peer.id).entries:
                peer.state = after(peer.state, Event.FINISHED)
                self._presence.save(peer).add_done_callback(_report)
            elif peer.state is State.ENDED and peer.seen < now - ENDED_KEPT_S:
                self._presence.roster.remove(peer)
                self._post.forget(peer.id)
        forgetting = self._store.write(lambda connection: peers.forget_ended(connection, now - ENDED_KEPT_S))
        forgetting.add_done_callback(_report)
        self._timer = asyncio.get_running_loop().call_later(UPKEEP_S, self.start)

    def close(self) -> None:
        """Stop."""
        if self._timer:
            self._timer.cancel()


def _report(done: asyncio.Future[int] | asyncio.Future[None]) -> None:
    if not done.cancelled() and done.exception():
        log.error("upkeep failed", exc_info=done.exception())
    elif not done.cancelled() and done.result():
        log.info("%s old rows removed", done.result())
