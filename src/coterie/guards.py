"""The guards: what an agent may send, so that no loop, flood or chain of agents goes on unseen.

Pure: whoever asks gives the time, in seconds of a clock that only goes forward, and what the store knows (`Known`). A
guard refuses the whole send, names the recipient, and says when to try again; it never drops anything. A send that is
accepted counts from then on, and no more if the store does not take it (`Books.done`).

A person is bound by the size of mailboxes only; an agent that writes to a person by that, the rate and the repeats.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from coterie.limits import (
    COUNTS_KEPT_MAX,
    EXCHANGE_MAX,
    FAN_OUT_AGENT_MAX,
    HOPS_MAX,
    MAILBOX_BYTES_MAX,
    MAILBOX_MESSAGES_MAX,
    PAIR_BURST,
    PAIR_PER_MINUTE,
    PAIRS_KEPT_MAX,
    REPEAT_S,
    REPEATS_MAX,
    TEXTS_KEPT_MAX,
    THREAD_MAX,
)
from coterie.peers import PERSON, Peer
from coterie.tallies import Tally


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an agent may send; a person may set each (`coterie config`). The reasons stand in coterie.limits."""

    pair_burst: int = PAIR_BURST
    pair_per_minute: int = PAIR_PER_MINUTE
    repeats: int = REPEATS_MAX
    thread: int = THREAD_MAX
    exchange: int = EXCHANGE_MAX
    hops: int = HOPS_MAX
    fan_out: int = FAN_OUT_AGENT_MAX
    mailbox_messages: int = MAILBOX_MESSAGES_MAX
    mailbox_bytes: int = MAILBOX_BYTES_MAX


class Refusal(NamedTuple):
    """Why a send is refused."""

    limit: str
    """pair-rate, repeats, thread, exchange, hops, fan-out or mailbox."""
    recipient: Peer
    retry_s: float | None
    """In how many seconds it would be accepted; None where time alone does not help."""
    message: str
    hint: str
    go_on: str = ""
    """What a person types to let it go on, where that is how."""


class Cause(NamedTuple):
    """The message whose text made its reader write."""

    id: str
    path: tuple[str, ...]
    """The ids of the peers that passed it on, the first sender first."""
    human: bool
    """Whether a person wrote it: then nothing is passed on, but asked for."""


Pair = tuple[str, str]


class Send:
    """One send, as far as the guards look at it."""

    __slots__ = (
        "agents",
        "at",
        "by_agent",
        "cause",
        "counted",
        "id",
        "pairs",
        "path",
        "recipients",
        "reply_to",
        "sender",
        "size",
        "text",
        "thread",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 (the word that it is everywhere)
        sender: Peer,
        recipients: Sequence[Peer],
        thread: str,
        text: str,
        cause: Cause | None = None,
        reply_to: str | None = None,
    ) -> None:
        self.id = id
        self.sender = sender
        self.recipients = recipients
        self.thread = thread
        self.reply_to = reply_to
        self.cause = cause
        self.by_agent = sender.kind != PERSON
        self.agents = [peer for peer in recipients if peer.kind != PERSON] if self.by_agent else []
        """The recipients among which a loop could be."""
        mine = sender.id
        self.pairs: list[Pair] = [(mine, p.id) if mine < p.id else (p.id, mine) for p in self.agents]
        """Its sender with each of them, in no order."""
        self.path = onward(cause, mine)
        self.text = hash(text)
        self.size = len(text.encode())
        self.at = 0.0
        """When it was counted."""
        self.counted: Limits | None = None
        """By which limits it was counted."""

    def spread(self) -> Pair | None:
        """The cause and who makes something of it; None where nothing is passed on."""
        return (self.cause.id, self.sender.id) if self.cause and not self.cause.human else None

    def beyond(self) -> list[Peer]:
        """The recipients, but for persons, that its text did not come through."""
        return [peer for peer in self.agents if peer.id not in self.path]


def onward(cause: Cause | None, sender: str) -> tuple[str, ...]:
    """The path of what `sender` makes of a cause. It has an id once, so answers back and forth make it no longer."""
    if cause is None or cause.human:
        return (sender,)
    return cause.path if sender in cause.path else (*cause.path, sender)


class Known(Protocol):
    """What the store knows."""

    def thread(self, thread: str) -> int:
        """Sends of agents in a thread since a person's last word in it."""

    def exchange(self, pair: Pair) -> int:
        """Messages between two agents since a person's last word to either."""

    def reached(self, spread: Pair) -> Iterable[str]:
        """Whom a peer (second) wrote to because of a cause (first)."""

    def unread(self, peer: str) -> tuple[int, int]:
        """The unread messages of a peer, and the bytes of their texts."""


class Rates:
    """How fast each agent writes to each other, and what it repeats: in memory, as a new daemon may forget it.

    A pair's bucket is one number: when it is full again. At most PAIRS_KEPT_MAX buckets that are not full and
    TEXTS_KEPT_MAX texts are kept; past that the least used are forgotten, and begin anew.
    """

    def __init__(self, pairs_max: int = PAIRS_KEPT_MAX, texts_max: int = TEXTS_KEPT_MAX) -> None:
        self._pairs_max = pairs_max
        self._texts_max = texts_max
        self._full: OrderedDict[Pair, float] = OrderedDict()  # A dict takes ever longer to find its first key.
        self._said: OrderedDict[int, tuple[float, ...] | float] = OrderedDict()
        """When each pair said each text: a number if once, as most are. There are many, so little is kept of each."""

    def too_fast(self, pair: Pair, limits: Limits, now: float) -> float | None:
        """In how many seconds the next message may go from the first to the second; None if it may go now."""
        full = self._full.get(pair)
        if full is None:
            return None
        wait = full - now - (limits.pair_burst - 1) * _every(limits)
        return wait if wait > ROUNDING_S else None

    def too_often(self, pair: Pair, text: int, limits: Limits, now: float) -> float | None:
        """In how many seconds the same text may go again; None if it may go now."""
        said = self._said.get(hash(pair) ^ text)
        if said is None:
            return None
        times = [at for at in _times(said) if at > now - REPEAT_S]
        return times[-limits.repeats] + REPEAT_S - now if len(times) >= limits.repeats else None

    def take(self, pair: Pair, text: int, limits: Limits, now: float) -> None:
        """A message goes."""
        self._full[pair] = max(self._full.get(pair, now), now) + _every(limits)
        self._full.move_to_end(pair)
        key = hash(pair) ^ text
        said = self._said.get(key)
        if said is None:
            self._said[key] = now
        else:
            self._said[key] = (*_times(said), now)[-limits.repeats :]
            self._said.move_to_end(key)
        self._forget(now)

    def give_back(self, pair: Pair, text: int, limits: Limits, at: float) -> None:
        """What was taken at that time, by these limits, was not stored."""
        if pair in self._full:
            self._full[pair] -= _every(limits)
        key = hash(pair) ^ text
        times = list(_times(self._said.get(key, ())))
        if at in times:
            times.remove(at)
            self._said[key] = tuple(times)

    def _forget(self, now: float) -> None:
        """The least used, if it says nothing any more or there are too many. Each message adds one at most."""
        pair = next(iter(self._full))
        if self._full[pair] <= now or len(self._full) > self._pairs_max:
            del self._full[pair]
        key = next(iter(self._said))
        last = max(_times(self._said[key]), default=0.0)
        if last <= now - REPEAT_S or len(self._said) > self._texts_max:
            del self._said[key]

    def __len__(self) -> int:
        return max(len(self._full), len(self._said))


def _times(said: tuple[float, ...] | float) -> tuple[float, ...]:
    return said if isinstance(said, tuple) else (said,)


ROUNDING_S = 1e-6
"""What adding up seconds may be wrong by."""


def _every(limits: Limits) -> float:
    return 60.0 / limits.pair_per_minute


class Books:
    """Everything that the guards of one daemon count."""

    def __init__(self, known: Known) -> None:
        self.rates = Rates()
        self.threads: Tally[str] = Tally(known.thread)
        self.exchanges: Tally[Pair] = Tally(known.exchange)
        self._known = known
        self._reached: OrderedDict[Pair, dict[str, int]] = OrderedDict()
        self._coming: dict[str, list[int]] = {}
        """Messages and bytes that are being stored for each recipient."""
        self._flying: set[str] = set()

    def admit(self, send: Send, limits: Limits, now: float) -> Refusal | None:
        """Count a send, or say why it is refused. One that is being stored already is the store's business: it counts
        once.
        """
        if send.id in self._flying:
            return None
        refusal = self._refusal(send, limits, now) if send.by_agent else self._full(send, limits)
        if refusal is None:
            self._count(send, limits, now)
        return refusal

    def done(self, send: Send, *, stored: bool) -> None:
        """The store took it, or did not: it failed, or had it before."""
        limits, send.counted = send.counted, None
        if limits is None:
            return
        self._flying.discard(send.id)
        for peer in send.recipients:
            self._came(peer.id, send.size)
        if send.by_agent:
            self._uncount(send, limits, stored=stored)
        elif stored:
            self.threads.restart(send.thread)
            self.spoke_to({peer.id for peer in send.recipients})

    def came(self, sender: str, recipient: str, thread: str | None) -> None:
        """A message of another device's peer is stored; with the thread that it goes on in."""
        pair = (sender, recipient) if sender < recipient else (recipient, sender)
        self.exchanges.add(pair)
        if thread is not None:
            self.threads.add(thread)

    def spoke_to(self, peers: Collection[str]) -> None:
        """A person had a word with these peers."""
        self.exchanges.reset(lambda pair: pair[0] in peers or pair[1] in peers)

    # --- counting -----------------------------------------------------------------------------------------------

    def _count(self, send: Send, limits: Limits, now: float) -> None:
        send.counted, send.at = limits, now
        self._flying.add(send.id)
        for peer in send.recipients:
            coming = self._coming.get(peer.id)
            if coming is None:
                coming = self._coming[peer.id] = [0, 0]
            coming[0] += 1
            coming[1] += send.size
            if send.by_agent:
                self.rates.take((send.sender.id, peer.id), send.text, limits, now)
        if not send.by_agent:
            return
        if send.thread != send.id:
            self.threads.begin(send.thread)
        for pair in send.pairs:
            self.exchanges.begin(pair)
        if spread := send.spread():
            reached = self._reach(spread)
            for peer in send.beyond():
                reached[peer.id] = reached.get(peer.id, 0) + 1

    def _came(self, peer: str, size: int) -> None:
        coming = self._coming[peer]
        coming[0] -= 1
        coming[1] -= size
        if not coming[0] and len(self._coming) > COUNTS_KEPT_MAX:
            del self._coming[peer]

    def _uncount(self, send: Send, limits: Limits, *, stored: bool) -> None:
        if send.thread != send.id:
            self.threads.done(send.thread, stored=stored)
        for pair in send.pairs:
            self.exchanges.done(pair, stored=stored)
        if stored:
            return
        for peer in send.recipients:
            self.rates.give_back((send.sender.id, peer.id), send.text, limits, send.at)
        if spread := send.spread():
            reached = self._reach(spread)
            for peer in send.beyond():
                reached[peer.id] = reached.get(peer.id, 1) - 1

    def _reach(self, spread: Pair) -> dict[str, int]:
        """How many messages went to each recipient because of a cause."""
        reached = self._reached.get(spread)
        if reached is None:
            reached = self._reached[spread] = dict.fromkeys(self._known.reached(spread), 1)
        self._reached.move_to_end(spread)
        if len(self._reached) > COUNTS_KEPT_MAX:
            del self._reached[next(iter(self._reached))]
        return reached

    # --- refusing -----------------------------------------------------------------------------------------------

    def _refusal(self, send: Send, limits: Limits, now: float) -> Refusal | None:
        return (
            _too_many(send, limits)
            or (self._too_far(send, limits) if send.cause else None)
            or self._too_long(send, limits)
            or self._full(send, limits)
            or self._too_fast(send, limits, now)
        )

    def _too_far(self, send: Send, limits: Limits) -> Refusal | None:
        """What is passed on: through how many, and to how many."""
        beyond, spread = send.beyond(), send.spread()
        if not (beyond and spread):
            return None
        hops = len(send.path) - 1
        if hops > limits.hops:
            return Refusal(
                "hops",
                beyond[0],
                None,
                f"what {spread[0]} told you came through {hops} peers, and is not passed on to one more"
                f" ({beyond[0].name})",
                "answer those it came from, or ask your user",
                f'coterie send {send.sender.name} "pass it on"',
            )
        reached = {peer for peer, count in self._reach(spread).items() if count > 0 and peer not in send.path}
        fresh = [peer for peer in beyond if peer.id not in reached]
        if len(reached) + len(fresh) <= limits.fan_out or not fresh:
            return None
        return Refusal(
            "fan-out",
            fresh[-1],
            None,
            f"what {spread[0]} told you went to {len(reached)} peers already; an agent passes one text on to"
            f" {limits.fan_out}",
            "ask the person to send it to the others",
        )

    def _too_long(self, send: Send, limits: Limits) -> Refusal | None:
        """Agents among themselves: how much without a word of a person."""
        if not send.agents:
            return None
        if send.thread != send.id:  # One that begins is looked up when it is answered.
            said = self.threads.count(send.thread)
            if said >= limits.thread:
                return Refusal(
                    "thread",
                    send.agents[0],
                    None,
                    f"agents have sent {said} messages in thread {send.thread} without a word of a person",
                    "do not go on in another thread",
                    f'coterie reply {send.reply_to or send.thread} "go on"',
                )
        for peer, pair in zip(send.agents, send.pairs, strict=True):
            said = self.exchanges.count(pair)
            if said >= limits.exchange:
                return Refusal(
                    "exchange",
                    peer,
                    None,
                    f"you and {peer.name} have exchanged {said} messages without a word of a person to either",
                    "tell your user how far you are",
                    f'coterie send {peer.name} "go on"',
                )
        return None

    def _full(self, send: Send, limits: Limits) -> Refusal | None:
        for peer in send.recipients:
            unread, size = self._known.unread(peer.id)
            coming = self._coming.get(peer.id, (0, 0))
            unread, size = unread + coming[0], size + coming[1]
            if unread < limits.mailbox_messages and size + send.size <= limits.mailbox_bytes:
                continue
            return Refusal(
                "mailbox",
                peer,
                None,
                f"{peer.name} has {unread} unread messages of {size} bytes, and its mailbox takes no more",
                f"it has to read first; list_peers says how much of its mail {peer.name} has not read",
            )
        return None

    def _too_fast(self, send: Send, limits: Limits, now: float) -> Refusal | None:
        for peer in send.recipients:
            pair = (send.sender.id, peer.id)
            wait = self.rates.too_often(pair, send.text, limits, now)
            if wait is not None:
                return Refusal(
                    "repeats",
                    peer,
                    wait,
                    f"{peer.name} has had this text from you {limits.repeats} times within {REPEAT_S / 60:g} minutes",
                    "do not repeat it: what was accepted is not lost. A text that says something new is taken",
                )
            wait = self.rates.too_fast(pair, limits, now)
            if wait is not None:
                return Refusal(
                    "pair-rate",
                    peer,
                    wait,
                    f"you write to {peer.name} faster than {limits.pair_per_minute} messages a minute, after a burst"
                    f" of {limits.pair_burst}",
                    "put what belongs together into one message",
                )
        return None


def _too_many(send: Send, limits: Limits) -> Refusal | None:
    count = len(send.recipients)
    if count <= limits.fan_out:
        return None
    return Refusal(
        "fan-out",
        send.recipients[limits.fan_out],
        None,
        f"that is {count} peers; an agent may write to {limits.fan_out} at once",
        "name those it is for, or ask the person to send it",
    )
