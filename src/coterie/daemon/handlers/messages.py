"""Sending: a message is understood, stored, put on its way, and reported on."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from coterie import ids
from coterie.addresses import Recipients, describe, resolve
from coterie.daemon.handlers.history import find_message, is_main
from coterie.daemon.handlers.params import Params, flag, maybe_text, number, text
from coterie.daemon.handlers.peers import reach
from coterie.daemon.nudges import Outcome
from coterie.daemon.pending import Pending
from coterie.daemon.waits import Wait, call_of
from coterie.errors import BadInput, CoterieError, NoMatch, Refused
from coterie.frames import ITSELF, Letter, frame, heading, text_bytes
from coterie.guards import Send as Counted
from coterie.limits import (
    DAY_S,
    MESSAGE_BYTES_MAX,
    MESSAGE_LIFE_MAX_S,
    MESSAGE_LIFE_MIN_S,
    SETTLE_S,
    WAIT_S_MAX,
)
from coterie.peers import PERSON, Peer, State
from coterie.store import messages as stored
from coterie.store import outbox
from coterie.store.db import Row, tell
from coterie.store.messages import NewMessage
from coterie.store.outbox import Posting
from coterie.store.soundness import UNREADABLE

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon


class _Send(NamedTuple):
    """One send, understood."""

    id: str
    sender: Peer
    recipients: list[Peer]
    body: str
    thread: str
    reply_to: str | None
    acknowledges: str | None
    life_s: float
    wait_s: float
    main: bool
    """Whether the main agent sends, and not a sub-agent of its session."""
    about: Row | None
    """The message that it answers."""


def send(daemon: Daemon, connection: Connection, params: Params) -> Pending | Any:
    """Accept a message: the answer comes after it is on the disk, and says how far it got.

    A send that is sent again (same id) is not stored twice: the answer is that of the stored message.
    """
    sender = daemon.presence.self_of(connection)
    settle_s = number(params, "settle_s", 0, 0, SETTLE_S)
    try:
        request = _understand(daemon, connection, sender, params)
        counted = daemon.guards.admit(
            request.id, sender, request.recipients, request.thread, request.body, request.about
        )
    except CoterieError:
        # Sent again, and its recipient has gone since: what was accepted stays accepted.
        before = stored.copies(daemon.store.reader, text(params, "id"))
        if before and before[0]["sender"] == sender.id:
            return {"messages": _report_stored(daemon, before)}
        raise
    fresh = _fresh(daemon, request, counted)
    postings = _postings(daemon, request, counted, fresh)
    accepted = Pending()

    def told(before: list[Row] | None, failure: Exception | None) -> None:
        # On its way at once, before whoever answers has its turn.
        try:
            daemon.guards.done(counted, stored=not (before or failure))
            if postings:
                daemon.outbox.done(postings, stored=not (before or failure))
            accepted.settle(_arrive(daemon, request, fresh, before or [], failure))
        except Exception as error:  # noqa: BLE001 (it is handed on whole to whoever waits for the answer)
            accepted.settle(None, error)

    job = partial(stored.accept, send_id=request.id, fresh=fresh, answers=request.acknowledges)
    if postings:
        job = partial(outbox.accept, send_id=request.id, fresh=fresh, answers=request.acknowledges, postings=postings)
    daemon.store.write_then(job, told)
    if request.wait_s or settle_s:
        return _finish(daemon, connection, request, accepted, settle_s)
    return _report_when(daemon, request, accepted)


def _report_when(daemon: Daemon, request: _Send, accepted: Pending) -> Pending:
    """The short way, without a task of its own: it halves what a send costs."""
    answer = Pending()

    def told(before: list[Row], error: Exception | None) -> None:
        if error:
            answer.settle(None, error)
        else:
            answer.settle({"messages": _report(daemon, request, before)})

    accepted.then(told)
    return answer


def _future_of(pending: Pending) -> asyncio.Future[list[Row]]:
    future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
    pending.then(partial(tell, future))
    return future


async def _finish(
    daemon: Daemon,
    connection: Connection,
    request: _Send,
    accepted: Pending,
    settle_s: float,
) -> dict[str, Any]:
    before = await _future_of(accepted)
    answer = None
    if request.wait_s and connection.is_open():  # Whoever left meanwhile waits for nothing.
        answer = await _await_answer(daemon, connection, request, again=bool(before))
    elif not request.wait_s:
        for number, peer in enumerate(request.recipients, start=1):
            copy = ids.copy_id(request.id, number)
            if peer.device:
                await daemon.outbox.settled(peer.device, copy, settle_s)
                continue
            await daemon.nudges.settled(peer.id, settle_s)
            await daemon.post.settled(peer.id, [copy], settle_s)
    return {"messages": _report(daemon, request, before), **(answer or {})}


async def _await_answer(daemon: Daemon, connection: Connection, request: _Send, *, again: bool) -> dict[str, Any]:
    if request.main:
        connection.carries(request.sender.id, call_of(request.id), [])
    answer = await _answered_before(daemon, request) if again and request.main else None
    answer = answer or await _wait(daemon, connection, request)
    if request.main and not answer.get("answer"):
        # Whatever came for this result in the same moment does not stand in it.
        connection.calls.pop(call_of(request.id), None)
        daemon.post.not_carried(request.sender.id, call_of(request.id))
    return answer


def _arrive(
    daemon: Daemon, request: _Send, fresh: list[NewMessage], before: list[Row], failure: Exception | None
) -> list[Row]:
    """Once the write is done: put what is new on its way. Returns what had been stored before."""
    if failure or before:
        _release(daemon, fresh)
    if failure:
        before = _accepted_before(daemon, request)
        if not before:
            raise failure
    if before:
        return before
    for message in fresh:
        daemon.post.arrived(message, wants_answer=bool(request.wait_s))
    if request.acknowledges:
        daemon.post.acknowledge(request.sender.id, request.acknowledges)
    daemon.expiry.at_latest(request.life_s)
    return []


def _accepted_before(daemon: Daemon, request: _Send) -> list[Row]:
    """What is stored of a send that could not be written now: sent again on a disk that takes no more, it stays
    accepted. If it cannot be read either (the disk is gone, or the daemon leaves), nothing is known of it.
    """
    try:
        rows = stored.copies(daemon.store.reader, request.id)
    except UNREADABLE:
        return []
    return [row for row in rows if row["sender"] == request.sender.id]


def _release(daemon: Daemon, fresh: list[NewMessage]) -> None:
    for message in fresh:
        if message.offer:
            daemon.post.inboxes.release(message.recipient, message.offer.call)


# --- understanding -------------------------------------------------------------------------------------------------


def _understand(daemon: Daemon, connection: Connection, sender: Peer, params: Params) -> _Send:
    send_id = text(params, "id")
    if not ids.is_message_id(send_id) or "." in send_id:
        raise BadInput(f"{send_id[:40]!r} is not a message id", "the sender makes it, before the first try")
    body = text(params, "text")
    _check_size(body)
    about = _answered(daemon, sender, maybe_text(params, "reply_to"))
    recipients = _recipients(daemon, sender, maybe_text(params, "to"), about)
    _check_recipients(recipients, hold=flag(params, "hold"))
    wait_s = number(params, "wait_s", 0, 0, WAIT_S_MAX)
    if wait_s and len(recipients.peers) != 1:
        raise BadInput("only an answer of one peer can be waited for", "name one peer, or do not wait")
    return _Send(
        id=send_id,
        sender=sender,
        recipients=recipients.peers,
        body=body,
        thread=about["thread"] if about else send_id,
        reply_to=about["id"] if about else None,
        acknowledges=about["id"] if about and about["recipient"] == sender.id else None,
        life_s=_life(daemon, params),
        wait_s=wait_s,
        main=is_main(daemon, connection, sender, params),
        about=about,
    )


def _life(daemon: Daemon, params: Params) -> float:
    usual = daemon.settings.now().number("mail.life_days") * DAY_S
    return number(params, "life_s", usual, MESSAGE_LIFE_MIN_S, MESSAGE_LIFE_MAX_S)


def _check_size(body: str) -> None:
    # Bounds that cost nothing, whatever somebody sends: a character takes one byte at least, and when it is spelled
    # out with a quote before it twelve at most.
    if len(body) * 12 <= MESSAGE_BYTES_MAX:
        return
    size = len(body) if len(body) > MESSAGE_BYTES_MAX else text_bytes(body)
    if size > MESSAGE_BYTES_MAX:
        raise BadInput(
            f"the message is {size} bytes when it is shown; {MESSAGE_BYTES_MAX} fit",
            "write it to a file and send the path, or send it in parts",
        )


def _answered(daemon: Daemon, sender: Peer, reply_to: str | None) -> Row | None:
    """The message that a send answers: one from or to its sender, or any if that is a person, who sees them all."""
    if not reply_to:
        return None
    about = find_message(daemon, None if sender.kind == PERSON else sender, reply_to)
    if about["sender"] == ITSELF:
        raise BadInput(
            f"{about['id']} is a notice of coterie itself, and nobody reads an answer to it",
            "it names what to type instead",
        )
    return about


def _recipients(daemon: Daemon, sender: Peer, to: str | None, about: Row | None) -> Recipients:
    if to:
        return resolve(to, daemon.presence.roster, sender)
    if about is None:
        raise BadInput("nobody is named", "give to: a name or id from list_peers; or reply_to: a message id")
    other = about["sender"] if about["sender"] != sender.id else about["recipient"]
    peer = daemon.presence.roster.get(other)
    if peer is None:
        gone = "is on a device that is not paired any more" if "@" in about["sender_name"] else "ended long ago"
        raise NoMatch(f"{about['sender_name']} {gone}", "list_peers shows who is here")
    return Recipients([peer], group=False)


def _check_recipients(recipients: Recipients, *, hold: bool) -> None:
    ended = [peer for peer in recipients.peers if peer.state is State.ENDED]
    if ended and not hold:
        raise Refused(
            f"{describe(ended[0])} has ended and will not read it",
            "to keep it all the same: hold=true (coterie send --hold)",
        )


def _fresh(daemon: Daemon, request: _Send, counted: Counted) -> list[NewMessage]:
    try:
        return [_new(daemon, request, counted, peer, n) for n, peer in enumerate(request.recipients, start=1)]
    except BaseException:
        daemon.guards.done(counted, stored=False)
        raise


def _postings(daemon: Daemon, request: _Send, counted: Counted, fresh: list[NewMessage]) -> list[Posting]:
    """What goes to other devices, counted there. Raises `Limited`."""
    pairs = zip(fresh, request.recipients, strict=True)
    postings = [daemon.outbox.posting(message.id, peer, request.body) for message, peer in pairs if peer.device]
    if not postings:
        return []
    try:
        daemon.outbox.admit(postings)
    except CoterieError:
        _release(daemon, fresh)
        daemon.guards.done(counted, stored=False)
        raise
    return postings


def _new(daemon: Daemon, request: _Send, counted: Counted, recipient: Peer, number: int) -> NewMessage:
    message = ids.copy_id(request.id, number)
    sender = request.sender
    letter = Letter(
        message, sender.name, sender.kind, stored.THIS_DEVICE, request.thread, request.reply_to, request.body
    )
    now = daemon.clock()
    return NewMessage(
        id=message,
        sender=sender.id,
        sender_name=sender.name,
        sender_kind=sender.kind,
        recipient=recipient.id,
        thread=request.thread,
        reply_to=request.reply_to,
        text=request.body,
        accepted_at=now,
        expires_at=now + request.life_s,
        offer=daemon.post.plan(message, sender, recipient, letter, bool(request.wait_s)),
        cause=counted.cause.id if counted.cause else None,
        path=" ".join(counted.path),
    )


# --- answering ------------------------------------------------------------------------------------------------------


async def _wait(daemon: Daemon, connection: Connection, request: _Send) -> dict[str, Any]:
    recipient = request.recipients[0]
    other = daemon.post.waits.between(recipient.id, request.sender.id)
    if other:
        return {"no_wait": f"{recipient.name} waits for an answer from you in thread {other.thread}: not waiting"}
    answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    wait = Wait(request.sender.id, recipient.id, request.thread, call_of(request.id), request.main, answered)
    daemon.post.waits.begin(wait)
    connection.waits.append(wait)
    try:
        message = await asyncio.wait_for(asyncio.shield(answered), request.wait_s)
    except TimeoutError:
        return {"answer": None}
    finally:
        daemon.post.waits.end(wait)
        connection.waits.remove(wait)
    return _answer(daemon, message, wait.call) if message else {"answer": None}


async def _answered_before(daemon: Daemon, request: _Send) -> dict[str, Any] | None:
    """The answer that came while the daemon was away from a send that is now sent again, if one did. Its text goes
    into this result unless another carrier has it.
    """
    recipient, waiter = request.recipients[0].id, request.sender.id
    call = call_of(request.id)
    given = daemon.post.box(waiter).open_offers(call)
    if given:
        return _answer(daemon, given[0].message, call)
    row = stored.answer_to(daemon.store.reader, request.id, recipient, waiter)
    if row is None:
        return None
    if await daemon.post.give_to_wait(waiter, row["id"], call):
        return _answer(daemon, row["id"], call)
    return {"answered": heading(stored.letter(row))}


def _answer(daemon: Daemon, message: str, call: str) -> dict[str, Any]:
    letter = daemon.post.letters([message])[0]
    return {"answer": {"id": message, "call": call, "frame": frame(letter), "text": letter.text}}


def _report(daemon: Daemon, request: _Send, before: list[Row]) -> list[dict[str, Any]]:
    """What is known of each copy at this moment."""
    if before:
        return _report_stored(daemon, stored.copies(daemon.store.reader, request.id))
    copies = enumerate(request.recipients, start=1)
    return [_line(daemon, ids.copy_id(request.id, n), peer.id, None, request.life_s) for n, peer in copies]


def _report_stored(daemon: Daemon, rows: list[Row]) -> list[dict[str, Any]]:
    return [
        _line(daemon, row["id"], row["recipient"], row["state"], row["expires_at"] - row["accepted_at"]) for row in rows
    ]


def _line(daemon: Daemon, message: str, recipient: str, state: str | None, life_s: float) -> dict[str, Any]:
    entry = daemon.post.box(recipient).entries.get(message)
    if entry:
        state = entry.state.value
    elif state is None:
        row = stored.find(daemon.store.reader, message)
        state = row["state"] if row else "queued"
    peer = daemon.presence.roster.get(recipient)
    there = daemon.outbox.standing(message) if peer is None or peer.device else None
    return {
        "id": message,
        "to": peer.address if peer else recipient,
        "to_id": recipient,
        "to_state": peer.state.value if peer else State.ENDED.value,
        "state": state,
        "life_s": life_s,
        "carrier": entry.offer.carrier.value if entry and entry.offer else there["carrier"] if there else None,
        "reach": reach(daemon, peer) if peer else "none",
        **_told(daemon, peer, message),
        **({"there": there} if there else {}),
    }


def _told(daemon: Daemon, peer: Peer | None, message: str) -> dict[str, str]:
    """What is known of a nudge, where the recipient's client takes one."""
    outcome = daemon.nudges.outcome(peer, message) if peer else Outcome()
    return {
        **({"nudge": outcome.nudge.value} if outcome.nudge else {}),
        **({"nudge_failure": outcome.failure} if outcome.failure else {}),
    }
