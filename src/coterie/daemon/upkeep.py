"""What time does to the books: messages expire, old history goes, peers that stay away have ended.

It is time that passed, and not what the clock was set to: see coterie/timeline.py.

Timers are exact, so that an idle daemon does not wake up to look at the clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from coterie.config import Settings
from coterie.daemon.clock import Clock
from coterie.daemon.outbox import Outbox
from coterie.daemon.post import Post
from coterie.daemon.presence import Presence
from coterie.limits import AWAY_KEPT_S, DAY_S, ENDED_KEPT_S, MIB, UPKEEP_S
from coterie.messages import Change
from coterie.messages import State as MessageState
from coterie.peers import PERSON, Event, State, after
from coterie.store import history, peers, received
from coterie.store import messages as stored
from coterie.store.db import Store

log = logging.getLogger(__name__)


class Expiry:
    """Ends messages whose life is over, when it is over."""

    def __init__(self, store: Store, post: Post, clock: Clock, outbox: Outbox) -> None:
        self._store = store
        self._post = post
        self._clock = clock
        self._outbox = outbox
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._next: float | None = None
        """When it looks next, by the loop's clock."""

    def start(self) -> None:
        """End what expired while no daemon ran, and set the timer."""
        self._run()

    def at_latest(self, life_s: float) -> None:
        """A message was accepted that lives so long: look then, unless an earlier look is set already."""
        due = self._loop.time() + life_s
        if self._next is None or due < self._next:
            self._set(due)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer:
            self._timer.cancel()

    def _set(self, due: float) -> None:
        self.close()
        # The loop's clock may stand still while the machine sleeps: look again at least once a day.
        self._next = min(due, self._loop.time() + UPKEEP_S)
        self._timer = self._loop.call_at(self._next, self._run)

    def _run(self) -> None:
        self._timer, self._next = None, None
        spans = self._clock.spans()
        for message, recipient in stored.expired(self._store.reader, spans):
            self._expire(message, recipient)
        soonest_s = stored.next_expiry(self._store.reader, spans)
        if soonest_s is not None:
            # What has just been ended still stands in the reader's view; the next look is a moment later.
            self._set(self._loop.time() + max(soonest_s, 1.0))

    def _expire(self, message: str, recipient: str) -> None:
        box = self._post.box(recipient)
        entry = box.entries.get(message)
        if entry is None:
            if stored.is_held(self._store.reader, message):
                over = Change(message, MessageState.EXPIRED, "the person did not let it through in time")
                self._post.record_soon(recipient, [over])
            return
        offered = entry.state is MessageState.OFFERED
        why = "offered, and no sign that it was read in time" if offered else "it could not be offered in time"
        why = self._outbox.expired(message) or why
        self._post.record_soon(recipient, box.end(message, MessageState.EXPIRED, why))


class Upkeep:
    """Once a day: history beyond its bounds goes, and peers away too long have ended."""

    def __init__(
        self,
        store: Store,
        presence: Presence,
        post: Post,
        clock: Clock,
        settings: Callable[[], Settings],
        outbox: Outbox,
    ) -> None:
        self._store = store
        self._presence = presence
        self._post = post
        self._clock = clock
        self._settings = settings
        self._outbox = outbox
        self._timer: asyncio.TimerHandle | None = None
        self._next_step: asyncio.TimerHandle | None = None
        self._closing = False

    def start(self) -> None:
        """Look now, and every day."""
        self._clock.keep()
        settings = self._settings()
        ended = self._clock.older_than(settings.number("history.days") * DAY_S)
        room = int(settings.number("history.mib")) * MIB
        self._forget(history.Walk(ended, room))
        lived = self._clock.lived()
        for peer in list(self._presence.roster):
            away = peer.kind != PERSON and peer.state is State.AWAY and peer.seen < lived - AWAY_KEPT_S
            if away and not self._post.box(peer.id).entries:
                peer.state = after(peer.state, Event.FINISHED)
                self._presence.save(peer).add_done_callback(_report)
            elif peer.state is State.ENDED and peer.seen < lived - ENDED_KEPT_S:
                self._presence.roster.remove(peer)
                self._post.forget(peer.id)
        forgetting = self._store.write(lambda connection: peers.forget_ended(connection, lived - ENDED_KEPT_S))
        forgetting.add_done_callback(_report)
        self._outbox.end_unheard()
        old = self._clock.older_than(received.KEPT_S)
        self._store.write(lambda connection: received.prune(connection, old)).add_done_callback(_report)
        self._timer = asyncio.get_running_loop().call_later(UPKEEP_S, self.start)

    def _forget(self, walk: history.Walk) -> None:
        """A step of the walk, and the next ones: after each, as long as it took is left to others."""
        loop = asyncio.get_running_loop()
        begun = loop.time()

        def done(step: asyncio.Future[None]) -> None:
            if step.cancelled() or self._closing:
                return
            if step.exception():
                _report(step)
            elif not walk.over:
                self._next_step = loop.call_later(loop.time() - begun, self._forget, walk)
            elif walk.removed:
                log.info("%d old messages removed", walk.removed)

        self._store.write(lambda connection: history.forget_old(connection, walk)).add_done_callback(done)

    def close(self) -> None:
        """Stop."""
        self._closing = True
        for timer in (self._timer, self._next_step):
            if timer:
                timer.cancel()


def _report(done: asyncio.Future[int] | asyncio.Future[None]) -> None:
    if not done.cancelled() and done.exception():
        log.error("upkeep failed", exc_info=done.exception())
    elif not done.cancelled() and done.result():
        log.info("%s old rows removed", done.result())
