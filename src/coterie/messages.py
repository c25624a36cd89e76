"""How far a message got, and what counts as evidence: states, offers, and the mailbox of one peer, as pure code.

    queued -> offered -> shown -> acknowledged        and: expired, refused, dead

*queued*: stored. *offered*: written to a carrier. *shown*: there is evidence that the main agent's model was given
it. *acknowledged*: answered, or acknowledged in so many words. An offer is one attempt by one carrier, and a message
has at most one that is open: while it is open, every other carrier shows the heading only.

An offer closes on evidence, lapses at the second Stop without any or when the session ends, and never by time:
a tool may run for ten minutes. What is evidence depends on the carrier:

- inbox and queue: the message's id inside a prompt that the agent was given, whatever became of the offer meanwhile;
- hook context that went out with a prompt: any event but another prompt, at which the client may have taken both back;
- tool result and other hook context: an event of a later *step* of the main agent, where a step is one request to the
  model; two calls of one step run one after the other before the model sees the first result, so a later call
  alone proves nothing;
- a session without hooks shows no steps: there, an answer or a later `check_messages` closes the offers of
  earlier tool results;
- one piece of evidence for a text holds for every message in that text; what tells of a message only (its id, an
  answer) tells of a text if that is the only one that ever carried the message.

Calls and events of sub-agents are no evidence, and sub-agents are given headings only.

Every change comes out of here as a `Change`, which the daemon writes to the store before it answers anybody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from coterie.errors import Defect
from coterie.limits import STOPS_WITHOUT_EVIDENCE, SUBAGENT_CALLS_MAX


class State(StrEnum):
    """How far a message got."""

    QUEUED = "queued"
    OFFERED = "offered"
    SHOWN = "shown"
    ACKNOWLEDGED = "acknowledged"
    EXPIRED = "expired"
    REFUSED = "refused"
    DEAD = "dead"


_ENDS = {State.ACKNOWLEDGED, State.EXPIRED, State.REFUSED, State.DEAD}

TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.OFFERED, State.SHOWN, *_ENDS}),
    State.OFFERED: frozenset({State.QUEUED, State.SHOWN, *_ENDS}),
    State.SHOWN: frozenset({State.ACKNOWLEDGED}),
    State.ACKNOWLEDGED: frozenset(),
    State.EXPIRED: frozenset({State.SHOWN, State.ACKNOWLEDGED}),
    State.REFUSED: frozenset(),
    State.DEAD: frozenset(),
}
"""What may follow. Back to queued is an offer that lapsed; from shown there is no way back, which is the promise
that no text is offered again after it was shown. An answer may come after its message expired; so may another device's
word that it was shown."""

UNREAD = frozenset({State.QUEUED, State.OFFERED})


class Carrier(StrEnum):
    """Ways of bringing a message into a session."""

    INBOX = "inbox"
    """The agent client's own inbox, posted to by the adapter."""
    TOOL = "tool"
    """A result of one of our tools, `check_messages` included."""
    WAIT = "wait"
    """The result of the send that waited for this answer."""
    HOOK = "hook"
    """Context added by one of our hooks."""
    TERMINAL = "terminal"
    """A person's terminal, which is shown what is printed on it."""


WITH_PROMPT = "prompt:"
"""Begins the name of a text that went out with a prompt, so that a daemon that comes back knows which did."""
BY_PROMPT = frozenset({Carrier.INBOX})
"""Carriers whose evidence is the id inside a prompt."""
BY_STEP = frozenset({Carrier.TOOL, Carrier.WAIT, Carrier.HOOK})
"""Carriers whose evidence is an event of a later step. A terminal reports by itself that it took the text."""


class Outcome(StrEnum):
    """How an offer ended."""

    OPEN = "open"
    SHOWN = "shown"
    LAPSED = "lapsed"
    FAILED = "failed"


@dataclass(slots=True)
class Offer:
    """One attempt to bring one message before its recipient."""

    message: str
    number: int
    carrier: Carrier
    call: str
    """Names the text that carried it: a tool call, an inbox line. What one text carried is shown together."""
    step: int
    """The recipient's step at which it was given."""
    written: bool = False
    stops: int = 0
    given: int | None = field(default=None, compare=False)
    """The recipient's step when it was opened, if this daemon opened it."""

    @property
    def id(self) -> str:
        """The message's id and the number of the attempt."""
        return f"{self.message}#{self.number}"

    @property
    def is_with_prompt(self) -> bool:
        """Whether it went out with a prompt, hence before the step that its recipient was at: any event proves it."""
        return self.call.startswith(WITH_PROMPT)

    @property
    def is_only(self) -> bool:
        """Whether no other text ever carried the message: whoever read it read this one."""
        return self.number == 1


@dataclass(slots=True)
class Entry:
    """One unread message of a mailbox. Its text stays in the store."""

    id: str
    state: State = State.QUEUED
    attempts: int = 0
    offer: Offer | None = None
    headed: bool = False
    """Whether its heading was shown beside an open offer, so that it is not repeated with every tool result."""
    size: int = 0
    """Bytes of its text."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something the store must know: a message's new state, or an offer's, or both."""

    message: str
    state: State | None = None
    reason: str = ""
    offer: Offer | None = None
    outcome: Outcome | None = None


class Signal(StrEnum):
    """What a host session tells of its main agent, in the words of no vendor."""

    PROMPT = "prompt"
    """A prompt is about to be given to the model; its text is known."""
    TOOL = "tool"
    """A tool is about to run, or has run."""
    STEP = "step"
    """The results of one step are complete, and the next request to the model follows."""
    STOP = "stop"
    """The model's answer is complete."""


def check(before: State, now: State) -> None:
    """Raises `Defect` for a transition that the table does not have."""
    if now not in TRANSITIONS[before]:
        raise Defect(f"a message cannot go from {before} to {now}")


@dataclass(slots=True)
class Mailbox:
    """The unread mail of one peer and its open offers."""

    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 0
    """Bytes of the texts of all of them."""
    step: int = 0
    hooked: bool = False
    """Whether the session's hooks report to us; only then can steps be told apart."""
    subagent_calls: deque[str] = field(default_factory=lambda: deque(maxlen=SUBAGENT_CALLS_MAX))
    with_prompt: set[str] = field(default_factory=set)
    """Offers whose text went out with a prompt after which nothing was heard yet."""
    delegated: int = 0
    """Tools under way in which a sub-agent works, where hooks tell of sub-agents by these tools only."""

    # --- what comes in ---------------------------------------------------------------------------------------

    def accept(self, entry: Entry) -> None:
        """Take in a message that is stored; a message already here stays as it is. Of two open offers (the end of the
        first could not be stored, the second could) the later one counts.
        """
        here = self.entries.setdefault(entry.id, entry)
        if here is entry:
            self.size += entry.size
        elif here.offer and entry.offer and entry.offer.number > here.offer.number:
            here.offer = entry.offer
        if entry.offer:
            self.step = max(self.step, entry.offer.step + entry.offer.is_with_prompt)
            self._note_prompt(entry.offer)  # Had anything been heard since, it would not be open any more.

    def waiting(self) -> list[str]:
        """Messages that no carrier has, oldest first."""
        return [entry.id for entry in self.entries.values() if entry.offer is None]

    def newest_waits(self) -> bool:
        """Whether no carrier has the newest message. All that waits need not be looked through for that."""
        newest = next(reversed(self.entries.values()), None)
        return newest is not None and newest.offer is None

    def open_offers(self, call: str | None = None) -> list[Offer]:
        """The open offers; with `call`, those of one text."""
        offers = (entry.offer for entry in self.entries.values() if entry.offer)
        return [offer for offer in offers if call is None or offer.call == call]

    # --- what goes out ----------------------------------------------------------------------------------------

    def offer(self, message: str, carrier: Carrier, call: str, written: bool, boundary: bool = False) -> list[Change]:
        """Open an offer. Raises `Defect` if one is open: two carriers must never have the same text.

        `boundary`: the text goes out between two steps (with a prompt, at a stop), so that any later event is
        evidence; otherwise it stands in the results of the step under way, and only a later step is.
        """
        entry = self.entries[message]
        if entry.offer:
            raise Defect(f"{message} has an open offer already")
        entry.attempts += 1
        entry.headed = False
        step = self.step - 1 if boundary else self.step
        entry.offer = Offer(message, entry.attempts, carrier, call, step, written, given=self.step)
        self._note_prompt(entry.offer)
        state = self._move(entry, State.OFFERED) if written else None
        return [Change(message, state, carrier, entry.offer, Outcome.OPEN)]

    def candidates(self, call: str, main: bool) -> list[str]:
        """The messages whose text may go into the text named `call`, oldest first.

        The same call again gets the same messages: its first answer may have been lost with the daemon. A
        sub-agent (`main` is False) gets none.
        """
        again = [offer.message for offer in self.open_offers(call)]
        return again or (self.waiting() if main else [])

    def take(
        self, carrier: Carrier, call: str, full: Iterable[str], boundary: bool = False, written: bool = True
    ) -> list[Change]:
        """Offer the messages `full`, out of the candidates, in the text named `call`.

        It is not `written` yet if whoever puts it out will report that; a hook, say, cannot.
        """
        fresh = [message for message in full if self.entries[message].offer is None]
        return [c for m in fresh for c in self.offer(m, carrier, call, written=written, boundary=boundary)]

    def ask(self, message: str, call: str) -> list[Change]:
        """The recipient asked for the text of a message: the answer named `call` is its offer now."""
        entry = self.entries.get(message)
        if entry is None or (entry.offer and entry.offer.call == call):
            return []
        before = self.failed(entry.offer.id, "asked for by id") if entry.offer else []
        return [*before, *self.take(Carrier.TOOL, call, [message], written=False)]

    def hold(self, call: str, messages: Iterable[str]) -> list[Change]:
        """The texts of these messages stand in the result named `call`, which is not out yet. A daemon that lost sight
        of that may have closed their offers, or opened others, of which the unwritten ones come to nothing.
        """
        changes: list[Change] = []
        for entry in [self.entries[message] for message in messages if message in self.entries]:
            if entry.offer and not entry.offer.written and entry.offer.call != call:
                changes += self.failed(entry.offer.id, "it stands in a result")
            if entry.offer is None:
                changes += self.offer(entry.id, Carrier.WAIT, call, written=False)
        return changes

    def headings(
        self,
        call: str,
        main: bool,
        everything: bool,
        carrier: Carrier | None = None,
        no_room: Collection[str] = (),
        beside: Collection[str] = (),
    ) -> list[str]:
        """The messages that the text named `call` only names: another carrier has them, or there was `no_room`.
        What stands `beside` it, in a text that goes out together with it, need not be named.

        A heading is shown once beside an open offer, and not by the `carrier` that has the text already; `everything`
        repeats it all the same. A sub-agent is shown nothing but headings, and what it is shown does not count.
        """
        here = {call, *beside}
        named = [
            entry
            for entry in self.entries.values()
            if (entry.offer.call not in here if entry.offer else not main or entry.id in no_room)
        ]
        if not everything:
            named = [e for e in named if not e.headed and (e.offer is None or e.offer.carrier is not carrier)]
        if main:
            for entry in named:
                entry.headed = True
        return [entry.id for entry in named]

    def written(self, offer_id: str) -> list[Change]:
        """A carrier reports that it wrote the text. A report about an offer that is over changes nothing."""
        entry = self._offered(offer_id)
        if entry is None or entry.offer is None or entry.offer.written:
            return []
        entry.offer.written = True
        if entry.offer.given != self.step:
            # The report came after its step ended; only what comes after the writing proves anything.
            entry.offer.step = max(entry.offer.step, self.step - entry.offer.is_with_prompt)
        return [Change(entry.id, self._move(entry, State.OFFERED), entry.offer.carrier, entry.offer, Outcome.OPEN)]

    def failed(self, offer_id: str, why: str) -> list[Change]:
        """A carrier reports that the text did not get out; the next carrier may have it."""
        entry = self._offered(offer_id)
        return self._close(entry, Outcome.FAILED, why) if entry else []

    def fail_unwritten(self, why: str, calls: Collection[str] | None = None) -> list[Change]:
        """Whoever was to write these texts (None: any that is unwritten) is gone, and did not report."""
        unwritten = [o for o in self.open_offers() if not o.written and (calls is None or o.call in calls)]
        return [change for offer in unwritten for change in self.failed(offer.id, why)]

    def report(self, change: Change) -> list[Change]:
        """Take in once more what could not be stored: that a text was written, shown, or is over."""
        offer, outcome = change.offer, change.outcome
        if offer is None or outcome is None:
            return self._read_late({change.message}) if change.state is State.SHOWN else []
        entry = self._offered(offer.id)
        if entry is None:
            return []
        if outcome is Outcome.OPEN:
            return self.written(offer.id)
        shown = outcome is Outcome.SHOWN
        return list(self._shown(entry, offer)) if shown else self._close(entry, outcome, change.reason)

    # --- evidence -----------------------------------------------------------------------------------------------

    def signal(self, kind: Signal, ids: Iterable[str] = (), *, again: bool = False) -> list[Change]:
        """The main agent did something; `ids` are those inside a prompt. A stop is `again` if a hook kept the turn
        going at the stop before: what was posted meanwhile waits for the next turn, so it counts as the same stop.
        """
        self.hooked = True
        named = set(ids)
        changes = [*self._see_prompt(named), *self._rewind()] if kind is Signal.PROMPT else []
        self.with_prompt.clear()
        if kind in (Signal.PROMPT, Signal.STOP):
            self.step += 1
            self.delegated = 0  # A tool that was interrupted does not tell that it has run.
        changes += self._see_steps()
        if kind is Signal.PROMPT:
            changes += self._read_late(named)
        if kind is Signal.STEP:
            self.step += 1
        if kind is Signal.STOP and not again:
            changes += self._count_stop()
        return changes

    def checked(self, call: str) -> list[Change]:
        """The agent looked for mail with the call `call`: in a session without hooks, evidence for earlier texts."""
        if self.hooked:
            return []
        return self._show(o for o in self.open_offers() if o.carrier in BY_STEP and o.written and o.call != call)

    def acknowledge(self, message: str) -> list[Change]:
        """The recipient answered `message`: it has read a text that carried it. If there was one only, it has read all
        else in that.
        """
        entry = self.entries.get(message)
        if entry is None:
            return []
        changes = []
        if entry.offer:
            beside = self.open_offers(entry.offer.call) if entry.offer.is_only else []
            others = [o for o in beside if o.message != message]
            changes = [Change(message, None, "answered", entry.offer, Outcome.SHOWN), *self._show(others)]
        return [*changes, self._end(entry, State.ACKNOWLEDGED, "answered")]

    def show(self, call: str) -> list[Change]:
        """The text named `call` was shown for certain: a terminal took it."""
        return self._show(self.open_offers(call))

    def note_call(self, tool_use_id: str) -> None:
        """Remember that a tool call is a sub-agent's."""
        self.subagent_calls.append(tool_use_id)

    def delegate(self, *, begins: bool) -> None:
        """A tool in which a sub-agent works begins, or has run."""
        self.delegated = self.delegated + 1 if begins else max(0, self.delegated - 1)

    # --- ends ---------------------------------------------------------------------------------------------------

    def lapse(self, why: str, call: str | None = None) -> list[Change]:
        """Every open offer (or those of one text) is over without evidence: the session ended."""
        return [
            change
            for offer in self.open_offers(call)
            for change in self._close(self.entries[offer.message], Outcome.LAPSED, why)
        ]

    def end(self, message: str, state: State, reason: str) -> list[Change]:
        """The message is over without having been shown: expired, refused or dead."""
        entry = self.entries.get(message)
        if entry is None:
            return []
        offer = entry.offer
        closed = [Change(message, None, reason, offer, Outcome.LAPSED)] if offer else []
        return [*closed, self._end(entry, state, reason)]

    def learn(self, message: str, state: State, reason: str) -> list[Change]:
        """The device of this peer, another one, tells how far a message got. What is over here the store decides."""
        entry = self.entries.get(message)
        if entry and state not in TRANSITIONS[entry.state]:
            return []
        if entry and state not in UNREAD:
            return [self._end(entry, state, reason)]
        return [Change(message, self._move(entry, state) if entry else state, reason)]

    # --- inside ---------------------------------------------------------------------------------------------------

    def _note_prompt(self, offer: Offer) -> None:
        """What goes out with a prompt may be taken back with it: Claude Code rewinds one that its user interrupts at
        once.
        """
        if offer.is_with_prompt:
            self.with_prompt.add(offer.id)

    def _move(self, entry: Entry, state: State) -> State:
        check(entry.state, state)
        entry.state = state
        return state

    def _end(self, entry: Entry, state: State, reason: str) -> Change:
        self._move(entry, state)
        entry.offer = None
        del self.entries[entry.id]
        self.size -= entry.size
        return Change(entry.id, state, reason)

    def _offered(self, offer_id: str) -> Entry | None:
        entry = self.entries.get(offer_id.partition("#")[0])
        return entry if entry and entry.offer and entry.offer.id == offer_id else None

    def _close(self, entry: Entry, outcome: Outcome, why: str) -> list[Change]:
        offer, entry.offer = entry.offer, None
        state = self._move(entry, State.QUEUED) if entry.state is State.OFFERED else None
        return [Change(entry.id, state, why, offer, outcome)]

    def _show(self, offers: Iterable[Offer]) -> list[Change]:
        return [change for offer in list(offers) for change in self._shown(self.entries[offer.message], offer)]

    def _shown(self, entry: Entry, offer: Offer) -> Iterator[Change]:
        yield Change(entry.id, None, offer.carrier, offer, Outcome.SHOWN)
        yield self._end(entry, State.SHOWN, offer.carrier)

    def _see_prompt(self, ids: set[str]) -> list[Change]:
        lines = [o for o in self.open_offers() if o.carrier in BY_PROMPT]
        calls = {o.call for o in lines if o.message in ids and o.is_only}
        # Of a line that is yet to be written nothing else was read: another one came that its client kept for long.
        return self._show(o for o in lines if o.message in ids or (o.call in calls and o.written))

    def _read_late(self, ids: set[str]) -> list[Change]:
        """The model is being given these very texts, in a line whose offer is over: another carrier has the message
        now, or none.
        """
        changes: list[Change] = []
        for entry in [entry for entry in self.entries.values() if entry.id in ids]:
            if entry.offer:
                changes.append(Change(entry.id, None, "an earlier line was read", entry.offer, Outcome.LAPSED))
            if entry.state is State.QUEUED:
                changes.append(Change(entry.id, self._move(entry, State.OFFERED), Carrier.INBOX))
            changes.append(self._end(entry, State.SHOWN, Carrier.INBOX))
        return changes

    def _rewind(self) -> list[Change]:
        """A prompt follows a prompt, and nothing came of the first: what went out with it may never have been sent."""
        unproved = [self.entries[o.message] for o in self.open_offers() if o.id in self.with_prompt]
        return [c for entry in unproved for c in self._close(entry, Outcome.LAPSED, "its prompt was taken back")]

    def _see_steps(self) -> list[Change]:
        return self._show(o for o in self.open_offers() if o.carrier in BY_STEP and o.written and o.step < self.step)

    def _count_stop(self) -> list[Change]:
        changes: list[Change] = []
        for offer in self.open_offers():
            if not offer.written:
                continue  # Nothing was there to be read at this Stop.
            offer.stops += 1
            entry = self.entries[offer.message]
            if offer.stops >= STOPS_WITHOUT_EVIDENCE:
                changes += self._close(entry, Outcome.LAPSED, "no evidence by the second stop")
            else:
                changes.append(Change(entry.id, None, "", offer, Outcome.OPEN))
        return changes
