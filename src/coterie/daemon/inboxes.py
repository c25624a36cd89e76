"""Pushing mail through the inboxes of sessions: in batches, one line each, never more lines than a client keeps.

The adapter does the posting (a session in bypass mode takes text from its own children only); here is decided what
goes into which line and when. A message that is to go by inbox gets its offer when it is stored, in the batch that
will carry it, so that no other carrier has its text meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from coterie import ids
from coterie.daemon.local import Connection
from coterie.errors import Defect
from coterie.frames import SEPARATOR, Letter, frame, in_bytes
from coterie.limits import FRAME_BYTES_MAX, INBOX_GAP_S, INBOX_LINES_MAX, INBOX_RETRIES_S, INBOX_SLOW_GAP_S
from coterie.points import point

WORDS_BYTES = 100
"""Room for the line above the frames."""


@dataclass(slots=True)
class Batch:
    """One line to be."""

    call: str
    frames: dict[str, str] = field(default_factory=dict)
    """What each of its messages will look like: made once, as its size decides where it goes."""
    size: int = WORDS_BYTES
    planned: int = 0
    """Messages that are being stored and will join; their commits are under way, so they come within moments."""
    closed: bool = False
    """Whether it takes no more: it goes as soon as what is planned has joined."""


@dataclass(slots=True)
class _Line:
    """The inbox of one session, as far as we know it, and the connection of the adapter that writes to it."""

    adapter: Connection
    batches: deque[Batch] = field(default_factory=deque)
    under_way: Batch | None = None
    unread_lines: int = 0
    """Lines written since the last sign that the session reads."""
    not_before: float = 0.0
    timer: asyncio.TimerHandle | None = None
    failures: int = 0
    retry: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Nothing more will be written."""
        for timer in (self.timer, self.retry):
            if timer:
                timer.cancel()


class Inboxes:
    """The inboxes of all sessions."""

    def __init__(
        self,
        adapter_of: Callable[[str], Connection | None],
        offered: Callable[[str, str], list[str]],
        may_wake: Callable[[str], bool],
    ) -> None:
        self._adapter_of = adapter_of
        self._offered = offered
        """The messages of a peer whose open offer is in the batch of this name: some may be over meanwhile."""
        self._may_wake = may_wake
        """Whether a peer may be told now: a line wakes an idle session, and its person may not want that."""
        self._lines: dict[str, _Line] = {}
        self._loop = asyncio.get_running_loop()

    def is_ready(self, peer: str) -> bool:
        """Whether mail for `peer` may be planned for its inbox: it goes out now, or in a while."""
        adapter = self._adapter_of(peer)
        if adapter is None or not adapter.inbox or not adapter.is_open() or not self._may_wake(peer):
            return False
        line = self._line(peer)
        # Past the cap one line at a time still goes out, slowly: the cap is about bursts.
        return line is None or not line.batches or line.unread_lines + len(line.batches) < INBOX_LINES_MAX

    def call_for(self, peer: str, letter: Letter) -> str:
        """Plan a place for `letter`: the name of the batch that will carry it. Once the offer is stored (or not),
        the caller says `add` (or `release`).
        """
        framed = frame(letter)
        size = in_bytes(framed) + len(SEPARATOR)
        batches = self._open_line(peer).batches
        if not batches or batches[-1].closed or batches[-1].size + size > FRAME_BYTES_MAX:
            batches.append(Batch(ids.new_token()))
        batch = batches[-1]
        batch.size += size
        batch.planned += 1
        batch.frames[letter.id] = framed
        return batch.call

    def add(self, peer: str, call: str) -> bool:
        """A planned message is stored: it goes out with its batch, as soon as the inbox may be written to. False if
        the batch is no more, as the adapter went away meanwhile.
        """
        batch = self._planned(peer, call)
        if batch is None:
            return False
        batch.planned -= 1
        self._pump(peer)
        return True

    def release(self, peer: str, call: str) -> None:
        """A planned message could not be stored."""
        batch = self._planned(peer, call)
        if batch:
            batch.planned -= 1
            self._pump(peer)

    def _line(self, peer: str) -> _Line | None:
        """The line to the adapter that serves the session now; one to an adapter before it is of no use any more."""
        line = self._lines.get(peer)
        if line and line.adapter is not self._adapter_of(peer):
            self.forget(peer)
            return None
        return line

    def _open_line(self, peer: str) -> _Line:
        line = self._line(peer)
        if line is None:
            adapter = self._adapter_of(peer)
            if adapter is None:
                raise Defect("mail was planned for an inbox that nobody writes to")
            line = self._lines[peer] = _Line(adapter)
        return line

    def calls(self, peer: str) -> set[str]:
        """The batches that the adapter has, or is going to be given: no report on them can have come yet."""
        line = self._line(peer)
        if line is None:
            return set()
        under_way = {line.under_way.call} if line.under_way else set()
        return under_way | {batch.call for batch in line.batches}

    def _planned(self, peer: str, call: str) -> Batch | None:
        line = self._line(peer)
        return next((batch for batch in line.batches if batch.call == call), None) if line else None

    def reported(self, peer: str, call: str, failed: bool, again: Callable[[str], None]) -> None:
        """The adapter reported on a line, one way or the other. After a failure `again` is called in a while."""
        line = self._line(peer)
        if line is None or line.under_way is None or line.under_way.call != call:
            return
        line.under_way = None
        if failed:
            line.unread_lines -= 1
            self.try_later(peer, again)
        else:
            line.failures = 0
        self._pump(peer)

    def try_later(self, peer: str, again: Callable[[str], None]) -> None:
        """Something went wrong on the way to the inbox: call `again` in a while, a few times."""
        line = self._line(peer)
        if line and line.retry is None and line.failures < len(INBOX_RETRIES_S):
            line.retry = self._loop.call_later(INBOX_RETRIES_S[line.failures], self._retry, peer, again)
            line.failures += 1

    def _retry(self, peer: str, again: Callable[[str], None]) -> None:
        line = self._line(peer)
        if line:
            line.retry = None
            again(peer)

    def sign_of_life(self, peer: str) -> None:
        """The session reads: what was posted before is no longer waiting in its client."""
        line = self._line(peer)
        if line and line.unread_lines:
            line.unread_lines = 0
            line.not_before = min(line.not_before, self._loop.time() + INBOX_GAP_S)
            if line.timer:
                line.timer.cancel()
                line.timer = None
            self._pump(peer)

    def forget(self, peer: str) -> None:
        """The session or its adapter is gone; what was not written is the caller's to offer again."""
        line = self._lines.pop(peer, None)
        if line:
            line.cancel()

    def _pump(self, peer: str) -> None:
        line = self._line(peer)
        if line is None or line.under_way or not line.batches:
            return
        wait = line.not_before - self._loop.time()
        if wait > 0:
            if line.timer is None:
                line.timer = self._loop.call_later(wait, self._gap_over, peer)
            return
        batch = line.batches[0]
        batch.closed = True
        if batch.planned:
            return
        line.batches.popleft()
        frames = [batch.frames[message] for message in self._offered(peer, batch.call)]
        if frames:
            self._write(line, batch, frames)
        else:
            self._pump(peer)

    def _write(self, line: _Line, batch: Batch, frames: list[str]) -> None:
        line.under_way = batch
        line.unread_lines += 1
        gap = INBOX_GAP_S if line.unread_lines < INBOX_LINES_MAX else INBOX_SLOW_GAP_S
        line.not_before = self._loop.time() + gap
        point("before-push")
        line.adapter.notify("push", {"call": batch.call, "text": _text(frames)})

    def _gap_over(self, peer: str) -> None:
        line = self._line(peer)
        if line:
            line.timer = None
            self._pump(peer)


def _text(frames: list[str]) -> str:
    count = "a message" if len(frames) == 1 else f"{len(frames)} messages"
    return SEPARATOR.join([f"coterie brings {count} from other agents.", *frames])
