"""The post office: takes messages in, brings them before their recipients, and keeps the books true.

Every decision is the mailbox's (coterie.messages); here it meets the store and the connections. Whatever a mailbox
changes is written before anybody is told of it. If a write fails, the mailbox is read again from the store; what was
reported to us of a text is not reported twice, so it is kept, and written with the next that happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from coterie.daemon.events import Events
from coterie.daemon.inboxes import Inboxes
from coterie.daemon.local import Connection
from coterie.daemon.waits import Waits
from coterie.errors import CoterieError
from coterie.frames import Letter
from coterie.messages import Carrier, Change, Entry, Mailbox, Offer, Outcome, State
from coterie.peers import Peer
from coterie.store import messages as stored
from coterie.store.db import Store
from coterie.store.messages import NewMessage

log = logging.getLogger(__name__)

OVER = frozenset({State.EXPIRED, State.REFUSED, State.DEAD})
"""The ends that a message comes to here, and not by what its recipient does."""


class Post:
    """The mailboxes of this device."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        adapter_of: Callable[[str], Connection | None],
        on_waiting: Callable[[str], None],
        may_wake: Callable[[str], bool],
        events: Events,
        on_given: Callable[[str, str], None],
    ) -> None:
        self.waits = Waits()
        self.inboxes = Inboxes(adapter_of, self._offered, may_wake)
        self._store = store
        self._clock = clock
        self._on_waiting = on_waiting
        """Called with a peer for whom mail may wait that nothing here can bring now."""
        self._events = events
        self._on_given = on_given
        """Called with a peer and a message whose text is before it from now on."""
        self._boxes: dict[str, Mailbox] = {}
        self._writing: Counter[str] = Counter()
        self._stale: set[str] = set()
        self._unsaid: dict[str, list[Change]] = {}
        """What was reported of the offers of a peer, and could not be written."""
        self._settling: dict[str, list[asyncio.Future[None]]] = {}
        self.on_moved: Callable[[str], None] = _nobody
        """Called with a message whose state changed on the disk."""

    # --- books ------------------------------------------------------------------------------------------

    def box(self, peer: str) -> Mailbox:
        """The mailbox of a peer, read from the store the first time."""
        if peer not in self._boxes:
            self._boxes[peer] = stored.mailbox(self._store.reader, peer)
        return self._boxes[peer]

    def letters(self, messages: Sequence[str]) -> list[Letter]:
        """What frames need of these messages."""
        return stored.letters(self._store.reader, messages)

    def _offered(self, peer: str, call: str) -> list[str]:
        return [offer.message for offer in self.box(peer).open_offers(call)]

    def record(self, peer: str, changes: Sequence[Change], *, soon: bool = False) -> Awaitable[None]:
        """Write what the mailbox of `peer` changed; done when it is on the disk. Writes keep the order of the calls.
        One that nobody waits for may wait for company (`soon`).
        """
        if not changes:
            return _nothing()
        for change in changes:
            if is_given(change):
                self._on_given(peer, change.message)
        now = self._clock()
        self._writing[peer] += 1
        writing = self._store.write(lambda database: stored.apply(database, changes, now), soon=soon)
        return self._recorded(peer, changes, writing)

    async def _recorded(self, peer: str, changes: Sequence[Change], writing: asyncio.Future[None]) -> None:
        try:
            await writing
        except CoterieError:
            self._stale.add(peer)
            # That a message was to end is no report: it did not, and its offer is as open as before.
            ended = {change.message for change in changes if change.state in OVER}
            reports = (change for change in changes if is_report(change) and change.message not in ended)
            self._unsaid.setdefault(peer, []).extend(reports)
            raise
        finally:
            self._writing[peer] -= 1
            if not self._writing[peer]:
                del self._writing[peer]
                self._refresh(peer)
        self._settled(changes)
        self._events.changed(changes)
        for change in changes:
            if change.state:
                self.on_moved(change.message)

    def record_soon(self, peer: str, changes: Sequence[Change]) -> None:
        """The same for changes that nobody waits for; a failure is logged, and the mailbox read again."""
        if changes:
            asyncio.ensure_future(self.record(peer, list(changes), soon=True)).add_done_callback(_log_failure)

    def _say_again(self, peer: str) -> None:
        """Write what was reported and could not be written. A mailbox that is yet to be read again waits for that."""
        if peer not in self._unsaid or peer in self._stale:
            return
        box = self.box(peer)
        self.record_soon(peer, [change for before in self._unsaid.pop(peer) for change in box.report(before)])

    def waiting(self, peer: str) -> list[str]:
        """The messages for a peer that no carrier has, oldest first."""
        return self.box(peer).waiting()

    def forget(self, peer: str) -> None:
        """The peer ended long ago."""
        self._boxes.pop(peer, None)
        self._unsaid.pop(peer, None)

    def _refresh(self, peer: str) -> None:
        """Read a mailbox again whose books may have gone ahead of the store."""
        if peer in self._stale:
            self._stale.discard(peer)
            self._boxes.pop(peer, None)

    # --- in ------------------------------------------------------------------------------------------

    def plan(self, message: str, sender: Peer, recipient: Peer, letter: Letter, wants_answer: bool) -> Offer | None:
        """The offer that a message is born with: to whoever waits for it, else by the inbox, else none yet."""
        box = self.box(recipient.id)
        wait = self.waits.match(recipient.id, sender.id, letter.thread, wants_answer)
        if wait and wait.main:
            return Offer(message, 1, Carrier.WAIT, wait.call, box.step)
        # Behind one that waits it waits too, and goes out after it.
        if self.inboxes.is_ready(recipient.id) and not box.newest_waits():
            call = self.inboxes.call_for(recipient.id, letter)
            return Offer(message, 1, Carrier.INBOX, call, box.step)
        return None

    def arrived(self, message: NewMessage, wants_answer: bool) -> None:
        """A message is stored: put it into its mailbox, and on its way."""
        recipient, offer = message.recipient, message.offer
        self._events.accepted(message.id)
        box = self.box(recipient)
        box.accept(Entry(message.id, State.QUEUED, 1 if offer else 0, offer, size=len(message.text.encode())))
        if offer is None:
            self.push(recipient)  # Its inbox may have opened since it was planned.
        elif offer.carrier is Carrier.INBOX:
            self._hand_over(recipient, message.id, offer.call)
        elif not self.waits.answer(offer.call, message.id):
            # The wait ended while its answer was being stored: the next carrier has it.
            self.record_soon(recipient, box.failed(offer.id, "the wait was over"))
            self.push(recipient)
        if offer is None or offer.carrier is not Carrier.WAIT:
            self._tell_subagent(message, wants_answer)

    def _tell_subagent(self, message: NewMessage, wants_answer: bool) -> None:
        """A sub-agent that waits is given the answer too; that is no offer, as the main agent has not seen it."""
        wait = self.waits.match(message.recipient, message.sender, message.thread, wants_answer)
        if wait and not wait.main:
            self.waits.answer(wait.call, message.id)

    def session_reads(self, peer: str) -> None:
        """The main agent called a tool. In a session without hooks that is the only sign that it reads its inbox."""
        if not self.box(peer).hooked:
            self.inboxes.sign_of_life(peer)

    def acknowledge(self, peer: str, message: str) -> None:
        """`peer` answered `message`: close what is open for it. The state itself was written with the answer."""
        changes = self.box(peer).acknowledge(message)
        self.record_soon(peer, changes)
        if not any(change.state for change in changes):
            self._events.acknowledged(message)  # It was shown long ago, and its mailbox has it no more.
            self.on_moved(message)
        self.inboxes.sign_of_life(peer)

    # --- out ------------------------------------------------------------------------------------------

    def push(self, peer: str) -> None:
        """Offer by inbox whatever no carrier has, or say that it waits."""
        self._say_again(peer)
        if not self.inboxes.is_ready(peer):
            self._on_waiting(peer)
            return
        box = self.box(peer)
        changes: list[Change] = []
        pushed: list[tuple[str, str]] = []
        for message in box.waiting():
            if not self.inboxes.is_ready(peer):
                break
            call = self.inboxes.call_for(peer, self.letters([message])[0])
            changes += box.offer(message, Carrier.INBOX, call, written=False)
            pushed.append((message, call))
        if changes:
            writing = self.record(peer, changes)
            asyncio.ensure_future(self._push(peer, writing, pushed)).add_done_callback(_log_failure)

    async def _push(self, peer: str, writing: Awaitable[None], pushed: list[tuple[str, str]]) -> None:
        try:
            await writing
        except CoterieError:
            for _, call in pushed:
                self.inboxes.release(peer, call)
            self.inboxes.try_later(peer, self.push)
            raise
        for message, call in pushed:
            self._hand_over(peer, message, call)

    def _hand_over(self, peer: str, message: str, call: str) -> None:
        if self.inboxes.add(peer, call):
            return
        box = self.box(peer)
        lost = [offer for offer in box.open_offers(call) if offer.message == message]
        self.record_soon(peer, [c for offer in lost for c in box.failed(offer.id, "its adapter went away")])
        self.push(peer)

    def reported(self, peer: str, call: str, failure: str | None) -> Awaitable[None]:
        """The adapter wrote a line to the inbox, or could not. Known at once, and on the disk when it is done."""
        box = self.box(peer)
        changes: list[Change] = []
        for offer in box.open_offers(call):
            changes += box.written(offer.id) if failure is None else box.failed(offer.id, failure)
        self.inboxes.reported(peer, call, failure is not None, self.push)
        return self.record(peer, changes, soon=True)

    def written(self, peer: str, calls: Iterable[str]) -> Awaitable[None]:
        """The texts with these names are out: in a tool's result, on a terminal. Known at once, as above: what a model
        makes of a text may follow it in the same moment.
        """
        box = self.box(peer)
        offers = [offer for call in calls for offer in box.open_offers(call)]
        return self.record(peer, [change for offer in offers for change in box.written(offer.id)], soon=True)

    def adapter_came(
        self, peer: str, written: Iterable[str], held: Mapping[str, Collection[str]], under_way: Collection[str]
    ) -> list[str]:
        """An adapter registered: texts that it wrote and could not report are written, others never were, but for
        those `under_way` on other connections, and those that it was given since it said what it wrote. What it has
        `held` since before stands in results to come: returns the calls of which it is still to report.
        """
        box = self.box(peer)
        known = set(written)
        offers = [o for o in box.open_offers() if not o.written]
        changes = [c for o in offers if o.call in known for c in box.written(o.id)]
        lost = {o.call for o in offers} - known - set(under_way) - set(held) - self.inboxes.calls(peer)
        changes += box.fail_unwritten("its adapter never wrote it", lost)
        for call, messages in held.items():
            # What a sub-agent was told stands in its results too, and was never offered there.
            given = [message for message in messages if stored.was_offered(self._store.reader, message, call)]
            changes += box.hold(call, given)
        self.record_soon(peer, changes)
        self.push(peer)
        return [call for call in held if box.open_offers(call)]

    def adapter_gone(self, peer: str) -> None:
        """No adapter any more: lines that were to be written will not be."""
        self.inboxes.forget(peer)
        box = self.box(peer)
        lines = {offer.call for offer in box.open_offers() if offer.carrier is Carrier.INBOX}
        self.record_soon(peer, box.fail_unwritten("its adapter is gone", lines))

    def connection_gone(self, peer: str, calls: Collection[str]) -> None:
        """A connection ended that was given these texts and did not report on them."""
        self.record_soon(peer, self.box(peer).fail_unwritten("the connection ended before it was written", calls))
        self.push(peer)

    def nobody_writes(self, peer: str) -> None:
        """At the start of a daemon: nobody is left who could write what was given to this peer."""
        self.record_soon(peer, self.box(peer).fail_unwritten("its process is gone"))

    def session_ended(self, peer: str) -> None:
        """The session is over: nothing that is open will be evidenced any more."""
        self.inboxes.forget(peer)
        self.record_soon(peer, self.box(peer).lapse("the session ended"))

    async def readdress(self, before: str, peer: str) -> None:
        """The peer `before` turned out to be `peer`: what waits for it is for that one."""
        box = self.box(before)
        if not box.entries:
            return
        await self.record(before, box.lapse("its session is another peer's"))
        moved = list(self.box(before).entries.values())
        await self._store.write(lambda database: stored.readdress(database, before, peer))
        self._boxes.pop(before, None)
        for entry in moved:
            self.box(peer).accept(Entry(entry.id, State.QUEUED, entry.attempts, size=entry.size))
        self.push(peer)

    async def asked_for(self, peer: str, message: str, call: str) -> None:
        """The recipient asked for the text of an unread message: that answer is its offer now."""
        await self.record(peer, self.box(peer).ask(message, call))

    # --- waiting ------------------------------------------------------------------------------------------

    async def give_to_wait(self, waiter: str, message: str, call: str) -> bool:
        """Have the result named `call` carry a message, if no other carrier has it. False if one has, or had."""
        box = self.box(waiter)
        if message not in box.entries:
            return False
        if box.entries[message].offer is None:
            try:
                await self.record(waiter, box.take(Carrier.WAIT, call, [message], written=False))
            except CoterieError:  # That the answer cannot be given says nothing of the send, which is stored.
                return False
        # Read again: what failed meanwhile may have made it another mailbox.
        return any(offer.message == message for offer in self.box(waiter).open_offers(call))

    def not_carried(self, peer: str, call: str) -> None:
        """The result named `call` goes out without what was to stand in it: the next carrier has that."""
        changes = self.box(peer).fail_unwritten("the wait was over", [call])
        if changes:
            self.record_soon(peer, changes)
            self.push(peer)

    async def settled(self, peer: str, messages: Iterable[str], wait_s: float) -> None:
        """Return when the open offers of these messages were written, or after `wait_s` seconds."""
        entries = (self.box(peer).entries.get(message) for message in messages)
        pending = [e.id for e in entries if e and e.offer and not e.offer.written]
        if not pending or wait_s <= 0:
            return
        futures = [asyncio.get_running_loop().create_future() for _ in pending]
        for message, future in zip(pending, futures, strict=True):
            self._settling.setdefault(message, []).append(future)
        await asyncio.wait(futures, timeout=wait_s)
        for message in pending:
            self._settling.pop(message, None)

    def _settled(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for future in self._settling.pop(change.message, ()):
                if not future.done():
                    future.set_result(None)


def is_given(change: Change) -> bool:
    """Whether this is the moment in which a text came before its reader: a carrier has it, or there is evidence before
    the carrier said so.
    """
    unsaid = change.offer is not None and not change.offer.written
    return change.state is State.OFFERED or (change.outcome is Outcome.SHOWN and unsaid)


def is_report(change: Change) -> bool:
    """Whether a change says what became of a text that was given out, and not what is to be given out."""
    over = change.offer is not None and (change.offer.written or change.outcome is not Outcome.OPEN)
    return over or change.state is State.SHOWN


def _nobody(message: str) -> None:
    """Nobody is told."""


async def _nothing() -> None:
    """What there is to wait for when nothing changed."""


def _log_failure(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and done.exception():
        log.error("the books could not be written: %s", done.exception())
