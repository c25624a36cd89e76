"""Nudges: telling a session's client that there is mail, where the client takes a word and the mail itself must not
come in the user's role.

A nudge is no offer. The mail stays queued until a hook or a tool call of the woken session fetches it. Of a message a
session is told once. When more comes it is told of that: at once if it gave a sign in between, else after a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from coterie.agents import carriers
from coterie.agents.carriers.carrier import Carrier, Nudge
from coterie.errors import CoterieError, Unavailable
from coterie.frames import Letter
from coterie.ids import NUDGE
from coterie.limits import LOADED_WOKEN_S, NUDGE_GAP_S, NUDGE_NAMES_MAX, NUDGE_PATIENCE_S, NUDGE_RETRIES_S, NUDGE_S
from coterie.peers import LISTED, Peer, State

log = logging.getLogger(__name__)

ASLEEP = "it is loaded, gave no sign for half an hour, and may run without a window: not woken"
LEFT = "it is idle, and the person lets mail wake no idle session (mail.wake_idle): it waits for its next prompt"


@dataclass(slots=True)
class Outcome:
    """What is known of the last nudge of a session."""

    nudge: Nudge | None = None
    failure: str = ""


@dataclass(slots=True)
class _Told:
    """One session."""

    named: set[str] = field(default_factory=set)
    """The messages that it was told of, and that wait all the same. It is not told of them twice: a session that
    does not fetch its mail would be woken for ever.
    """
    not_before: float = float("-inf")
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None
    failures: int = 0
    outcome: Outcome = field(default_factory=Outcome)


class Nudges:
    """The sessions that can be told something by the daemon."""

    def __init__(
        self,
        peer_of: Callable[[str], Peer | None],
        waiting: Callable[[str], list[str]],
        letters: Callable[[Sequence[str]], list[Letter]],
        clock: Callable[[], float],
        may_wake: Callable[[Peer], bool],
        make: Callable[[str], Carrier] = carriers.make,
    ) -> None:
        self._peer_of = peer_of
        self._waiting = waiting
        """The messages for a peer that no carrier has, oldest first."""
        self._letters = letters
        self._clock = clock
        self._may_wake = may_wake
        self._make = make
        self._carriers: dict[str, Carrier] = {}
        self._told: dict[str, _Told] = {}
        self._loop = asyncio.get_running_loop()

    def carrier(self, kind: str) -> Carrier:
        """The carrier of a kind of agent, made when it is first needed."""
        if kind not in self._carriers:
            self._carriers[kind] = self._make(kind)
        return self._carriers[kind]

    async def close(self) -> None:
        """Tell nobody any more."""
        for told in self._told.values():
            if told.timer:
                told.timer.cancel()
            if told.task:
                told.task.cancel()
        for carrier in self._carriers.values():
            await carrier.close()

    # --- when ------------------------------------------------------------------------------------------

    def wanted(self, peer: Peer) -> None:
        """Mail waits for `peer`: tell its client now, or when it is time."""
        if not can_be_told(peer) or asleep(peer, self._clock()) or not self._may_wake(peer):
            return
        told = self._told.setdefault(peer.id, _Told())
        if told.task or not self._news(peer.id, told):
            return
        if told.timer:
            if told.failures:
                return
            told.timer.cancel()
            told.timer = None
        # The hooks of a session in the middle of a turn bring the mail itself.
        patience = NUDGE_PATIENCE_S if peer.hooked and peer.busy else 0.0
        wait = max(patience, told.not_before - self._loop.time())
        if wait > 0:
            told.timer = self._loop.call_later(wait, self._due, peer.id)
        else:
            self._begin(peer, told)

    def sign(self, peer: str) -> None:
        """The session gave a sign: of new mail it may be told at once. Whoever reports it looks for mail afterwards."""
        told = self._told.get(peer)
        if told:
            told.not_before = float("-inf")

    def taken(self, peer: str, messages: Sequence[str]) -> None:
        """A carrier has these messages now. Should it fail, the session is told of them again."""
        told = self._told.get(peer)
        if told:
            told.named.difference_update(messages)

    def at_stop(self, peer: Peer, *, hooked: bool) -> str:
        """The words for a hook that may keep the session going, if it was not told of all that waits; else nothing."""
        told = self._told.setdefault(peer.id, _Told())
        messages = self._news(peer.id, told)
        if not messages:
            return ""
        told.named.update(messages)
        return words(self._letters(messages[:NUDGE_NAMES_MAX]), len(messages), hooked=hooked)

    def forget(self, peer: str) -> None:
        """The session is over, or its client is not to be had for a while: what it was told of is not told again, and
        what it may have been told of neither.
        """
        told = self._told.get(peer)
        if told is None:
            return
        if told.task:
            told.named.update(self._waiting(peer))
        for waiting in (told.timer, told.task):
            if waiting:
                waiting.cancel()
        told.timer = told.task = None
        if not told.named:
            del self._told[peer]

    def anew(self, peer: str) -> None:
        """Another session of the peer begins, whose model knows nothing of what the last one was told."""
        told = self._told.get(peer)
        if told:
            told.named.clear()

    async def settled(self, peer: str, wait_s: float) -> None:
        """Return when the nudge under way has an outcome, or after `wait_s` seconds."""
        told = self._told.get(peer)
        if told and told.task:
            await asyncio.wait([told.task], timeout=wait_s)

    def outcome(self, peer: Peer, message: str) -> Outcome:
        """What is known of how `peer` was told of `message`."""
        if can_be_told(peer) and asleep(peer, self._clock()):
            return Outcome(failure=ASLEEP)
        if can_be_told(peer) and not self._may_wake(peer):
            return Outcome(failure=LEFT)
        told = self._told.get(peer.id)
        if told is None or (told.outcome.nudge and message not in told.named):
            return Outcome()
        return told.outcome

    # --- how ------------------------------------------------------------------------------------------

    def _news(self, peer_id: str, told: _Told) -> list[str]:
        """All that waits for a session, if there is something in it that it was not told of; else nothing."""
        waiting = self._waiting(peer_id)
        told.named.intersection_update(waiting)
        return [] if told.named.issuperset(waiting) else waiting

    def _due(self, peer_id: str) -> None:
        told, peer = self._told.get(peer_id), self._peer_of(peer_id)
        if told is None or peer is None:
            return
        told.timer = None
        if can_be_told(peer) and not told.task and self._may_wake(peer):
            self._begin(peer, told)

    def _begin(self, peer: Peer, told: _Told) -> None:
        messages = self._news(peer.id, told)
        if messages:
            told.task = asyncio.ensure_future(self._tell(peer, told, messages))

    async def _tell(self, peer: Peer, told: _Told, messages: list[str]) -> None:
        try:
            text = words(self._letters(messages[:NUDGE_NAMES_MAX]), len(messages), hooked=peer.hooked)
            nudging = self.carrier(peer.kind).nudge(peer.endpoint, peer.sessions[-1], text)
            self._was_told(told, messages, await asyncio.wait_for(nudging, NUDGE_S))
        except TimeoutError:
            self._unknown(peer, told, messages, "its client did not answer in time")
        except CoterieError as error:
            if error.unanswered:
                self._unknown(peer, told, messages, error.message)
            else:
                self._failed(peer, told, error)
        except Exception:
            # A client that says something unheard of must not end the daemon; the log has it whole.
            log.exception("a nudge to %s", peer.id)
            self._failed(peer, told, Unavailable("its client answered something unexpected"))
        finally:
            if told.task is asyncio.current_task():  # One that was given up must not hide the next.
                told.task = None
        if told.outcome.nudge:
            self.wanted(peer)  # More may have come meanwhile.

    def _was_told(self, told: _Told, messages: list[str], nudge: Nudge | None) -> None:
        told.outcome = Outcome(nudge)
        told.named.update(messages)
        told.failures = 0
        told.not_before = self._loop.time() + NUDGE_GAP_S

    def _unknown(self, peer: Peer, told: _Told, messages: list[str], why: str) -> None:
        """It may have been told. To tell it again could cost a turn for each try."""
        log.info("it is not known whether %s was told of its mail: %s", peer.id, why)
        self._was_told(told, messages, None)
        told.outcome = Outcome(failure=f"{why}; whether it was told is not known")

    def _failed(self, peer: Peer, told: _Told, error: CoterieError) -> None:
        log.info("%s was not told of its mail: %s", peer.id, error)
        told.outcome = Outcome(failure=error.message)
        if told.failures < len(NUDGE_RETRIES_S):
            told.timer = self._loop.call_later(NUDGE_RETRIES_S[told.failures], self._due, peer.id)
            told.failures += 1


def can_be_told(peer: Peer) -> bool:
    """Whether the daemon knows a way to the client of its session."""
    return bool(peer.endpoint and peer.sessions) and peer.state in LISTED and peer.kind in carriers.MODULES


def asleep(peer: Peer, now: float) -> bool:
    """Whether it is only loaded, and gave no sign for so long that nobody may be looking. Of one whose client tells
    when it is unloaded it is known that somebody looks, or did lately.
    """
    # Heard in the future: the clock was set back, and nobody knows how long ago that was.
    silent = peer.heard is None or not 0 <= now - peer.heard <= LOADED_WOKEN_S
    return peer.state is State.LOADED and silent and not peer.followed


def words(letters: Sequence[Letter], total: int, *, hooked: bool) -> str:
    """The nudge for `total` messages, of which the first are `letters`: that there is mail, from whom, and how to get
    it. None of what the mail says.
    """
    count = "1 message" if total == 1 else f"{total} messages"
    named = ", ".join(f"{letter.id} from {letter.who()}" for letter in letters)
    more = f" and {total - len(letters)} more" if total > len(letters) else ""
    how = "Its text comes with this; if not, call" if hooked else "To read it, call"
    return f"coterie: {count} for you: {named}{more}. {NUDGE} {how} check_messages of coterie."
