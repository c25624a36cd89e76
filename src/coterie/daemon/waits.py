"""Sends that wait for an answer: who waits for whom, and what ends a wait."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

OVER_KEPT = 64
"""Calls remembered as given up. It matters while a send is being stored, and few are at any moment."""


@dataclass(slots=True, eq=False)
class Wait:
    """One waiting send."""

    waiter: str
    recipient: str
    thread: str
    call: str
    """Names the result that will carry the answer; made of the message's id, so that it is the same call when it is
    sent again."""
    main: bool
    """Whether the main agent waits; a sub-agent is told the answer, and the main agent is brought it all the same."""
    answered: asyncio.Future[str]
    """The id of the answer; empty if whoever waited is gone."""


def call_of(message: str) -> str:
    """The call of a send that waits."""
    return f"wait:{message}"


class Waits:
    """Every wait under way."""

    def __init__(self) -> None:
        self._waits: list[Wait] = []
        self._over: deque[tuple[str, str]] = deque(maxlen=OVER_KEPT)

    def begin(self, wait: Wait) -> None:
        """A send waits, unless its caller gave it up while it was being stored."""
        self._waits.append(wait)
        if (wait.waiter, wait.call) in self._over:
            self.give_up(wait)

    def call_over(self, waiter: str, call: str) -> None:
        """`waiter` has given up this call of its own and reads no result of it, be it that its wait is yet to begin."""
        self._over.append((waiter, call))
        for wait in [wait for wait in self._waits if (wait.waiter, wait.call) == (waiter, call)]:
            self.give_up(wait)

    def end(self, wait: Wait) -> None:
        """It waits no more."""
        if wait in self._waits:
            self._waits.remove(wait)

    def give_up(self, wait: Wait) -> None:
        """Whoever waited is gone: an answer that comes now takes another way."""
        self.end(wait)
        if not wait.answered.done():
            wait.answered.set_result("")

    def between(self, waiter: str, recipient: str) -> Wait | None:
        """The wait of `waiter` for `recipient`, whatever it is about."""
        return next((w for w in self._waits if w.waiter == waiter and w.recipient == recipient), None)

    def in_thread(self, thread: str) -> list[Wait]:
        """Every wait for an answer in this thread."""
        return [wait for wait in self._waits if wait.thread == thread and not wait.answered.done()]

    def match(self, waiter: str, sender: str, thread: str, wants_answer: bool) -> Wait | None:
        """The wait that a message from `sender` ends: one in the same thread; or any for that sender, if the sender
        is about to wait too, since two that wait for each other would wait in vain.
        """
        for wait in self._waits:
            if wait.waiter != waiter or wait.recipient != sender or wait.answered.done():
                continue
            if wait.thread == thread or wants_answer:
                return wait
        return None

    def answer(self, call: str, message: str) -> bool:
        """Give a wait its answer. False if nobody waits any more."""
        for wait in self._waits:
            if wait.call == call and not wait.answered.done():
                wait.answered.set_result(message)
                return True
        return False
