"""Messages and offers in the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from coterie.errors import BadInput
from coterie.frames import Letter
from coterie.messages import TRANSITIONS, Carrier, Change, Entry, Mailbox, Offer, Outcome, State

THIS_DEVICE = "this device"


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that is about to be accepted, with the offer that it may be born with."""

    id: str
    sender: str
    sender_name: str
    sender_kind: str
    recipient: str
    thread: str
    reply_to: str | None
    text: str
    accepted_at: float
    expires_at: float
    offer: Offer | None = None


_INSERT = """
INSERT INTO messages (id, sender, sender_name, sender_kind, recipient, thread, reply_to, text, state, accepted_at,
                      changed_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?)
"""
# Copies end in ".2", ".3"...; the slash is the character after the full stop.
_COPIES = "SELECT * FROM messages WHERE id = ?1 OR (id > ?1 || '.' AND id < ?1 || '/') ORDER BY seq"
_INSERT_OFFER = """
INSERT INTO offers (message, number, carrier, call, step, written, stops, outcome, reason, opened_at)
VALUES (?, ?, ?, ?, ?, ?, ?, 'open', '', ?)
ON CONFLICT (message, number) DO UPDATE SET step = excluded.step, written = excluded.written, stops = excluded.stops
"""
_CLOSE_OFFER = "UPDATE offers SET outcome = ?, reason = ?, closed_at = ? WHERE message = ? AND number = ?"
# The guard makes a change that comes late (after an acknowledgement, say) harmless instead of wrong.
_MOVE = "UPDATE messages SET state = ?, reason = ?, changed_at = ? WHERE id = ? AND state IN ({})"
_UNREAD = """
SELECT messages.id, state, number, carrier, call, step, written, stops,
       (SELECT count(*) FROM offers AS past WHERE past.message = messages.id) AS attempts
FROM messages LEFT JOIN offers ON offers.message = messages.id AND offers.outcome = 'open'
WHERE recipient = ? AND state IN ('queued', 'offered') ORDER BY messages.seq
"""
_HOOKED = "SELECT 1 FROM peers WHERE id = ? AND hooked"
_READDRESS = "UPDATE messages SET recipient = ? WHERE recipient = ? AND state IN ('queued', 'offered')"
_BY_PREFIX = """
SELECT * FROM messages WHERE id >= :low AND id < :high AND (:peer IS NULL OR :peer IN (sender, recipient))
ORDER BY seq LIMIT 5
"""
_ANSWER = """
SELECT answer.* FROM messages AS asked JOIN messages AS answer ON answer.thread = asked.thread
WHERE asked.id = ? AND answer.seq > asked.seq AND answer.sender = ? AND answer.recipient = ? ORDER BY answer.seq LIMIT 1
"""
_RECEIPTS = """
SELECT id, recipient, state, reason FROM messages
WHERE sender = ? AND told <> state AND state IN ({}) ORDER BY seq DESC LIMIT ?
"""
_TOLD = "UPDATE messages SET told = ? WHERE id = ?"
_EXPIRED = """
SELECT id, recipient FROM messages WHERE state IN ('queued', 'offered') AND expires_at <= ?
"""
_NEXT_EXPIRY = "SELECT min(expires_at) FROM messages WHERE state IN ('queued', 'offered')"
_UNANSWERED = """
SELECT id FROM messages WHERE recipient = ? AND state = 'shown' ORDER BY seq DESC LIMIT ?
"""
_LOG = """
SELECT messages.*, (SELECT carrier FROM offers WHERE message = messages.id ORDER BY number DESC LIMIT 1) AS carrier
FROM messages WHERE seq < :before {} ORDER BY seq DESC LIMIT :limit
"""
_FORGET_OLD = "DELETE FROM messages WHERE state IN ('acknowledged', 'expired', 'refused', 'dead') AND changed_at < ?"
_OVERSIZE = """
DELETE FROM messages WHERE seq IN (
    SELECT seq FROM (
        SELECT seq, sum(length(CAST(text AS BLOB))) OVER (ORDER BY seq DESC) AS total
        FROM messages WHERE state NOT IN ('queued', 'offered')
    ) WHERE total > ?
)
"""


def copies(connection: sqlite3.Connection, send_id: str) -> list[sqlite3.Row]:
    """What is stored of one send: a row for each recipient."""
    return connection.execute(_COPIES, (send_id,)).fetchall()


def accept(
    connection: sqlite3.Connection, send_id: str, fresh: Sequence[NewMessage], answers: str | None
) -> list[sqlite3.Row]:
    """Store the messages of one send, unless it was stored before: then return what is there.

    `answers` is the message that the send acknowledges. Raises `BadInput` if the id is another sender's.
    """
    try:
        for message in fresh:
            _insert(connection, message)
    except sqlite3.IntegrityError:
        # The first copy has the id of the send, so nothing was inserted yet. Looking first would cost every send.
        stored = copies(connection, send_id)
        if not stored:
            raise
        if stored[0]["sender"] != fresh[0].sender:
            raise BadInput("this message id was used by another sender", "make a fresh id") from None
        return stored
    if answers:
        move(connection, answers, State.ACKNOWLEDGED, f"answered by {send_id}", fresh[0].accepted_at)
    return []


def _insert(connection: sqlite3.Connection, message: NewMessage) -> None:
    connection.execute(
        _INSERT,
        (
            message.id,
            message.sender,
            message.sender_name,
            message.sender_kind,
            message.recipient,
            message.thread,
            message.reply_to,
            message.text,
            message.accepted_at,
            message.accepted_at,
            message.expires_at,
        ),
    )
    if message.offer:
        _save_offer(connection, message.offer, message.accepted_at)
        if message.offer.written:
            move(connection, message.id, State.OFFERED, message.offer.carrier, message.accepted_at)


def _save_offer(connection: sqlite3.Connection, offer: Offer, now: float) -> None:
    connection.execute(
        _INSERT_OFFER,
        (offer.message, offer.number, offer.carrier, offer.call, offer.step, offer.written, offer.stops, now),
    )


def move(connection: sqlite3.Connection, message: str, state: State, reason: str, now: float) -> bool:
    """Change the state of a message, from any state from which the table allows it. False if it allows none."""
    before = ", ".join(f"'{start}'" for start, nexts in TRANSITIONS.items() if state in nexts)
    return connection.execute(_MOVE.format(before), (state, reason, now, message)).rowcount > 0


def apply(connection: sqlite3.Connection, changes: Iterable[Change], now: float) -> None:
    """Write what a mailbox changed."""
    for change in changes:
        offer = change.offer
        if offer and change.outcome is Outcome.OPEN:
            _save_offer(connection, offer, now)
        elif offer:
            connection.execute(_CLOSE_OFFER, (change.outcome, change.reason, now, offer.message, offer.number))
        if change.state:
            move(connection, change.message, change.state, change.reason, now)


def mailbox(connection: sqlite3.Connection, peer: str) -> Mailbox:
    """The unread mail of a peer, as the store knows it."""
    box = Mailbox(hooked=connection.execute(_HOOKED, (peer,)).fetchone() is not None)
    for row in connection.execute(_UNREAD, (peer,)):
        offer = None
        if row["number"] is not None:
            offer = Offer(
                row["id"],
                row["number"],
                Carrier(row["carrier"]),
                row["call"],
                row["step"],
                bool(row["written"]),
                row["stops"],
            )
        box.accept(Entry(row["id"], State(row["state"]), row["attempts"], offer))
    return box


def readdress(connection: sqlite3.Connection, before: str, peer: str) -> None:
    """Give the unread mail of one peer to another."""
    connection.execute(_READDRESS, (peer, before))


def find(connection: sqlite3.Connection, message: str) -> sqlite3.Row | None:
    """One message by its whole id."""
    row: sqlite3.Row | None = connection.execute("SELECT * FROM messages WHERE id = ?", (message,)).fetchone()
    return row


def find_by_prefix(connection: sqlite3.Connection, prefix: str, peer: str | None) -> list[sqlite3.Row]:
    """The messages from or to `peer` (None: anybody's) whose id begins with `prefix`; at most a handful."""
    return connection.execute(_BY_PREFIX, {"low": prefix, "high": prefix + "~", "peer": peer}).fetchall()


def letters(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Letter]:
    """What a frame needs of each message, in the order of `ids`."""
    found = [find(connection, message) for message in ids]
    return [letter(row) for row in found if row]


def letter(row: sqlite3.Row) -> Letter:
    """What a frame needs of one message."""
    return Letter(
        id=row["id"],
        sender_name=row["sender_name"],
        sender_kind=row["sender_kind"],
        device=THIS_DEVICE,
        thread=row["thread"],
        reply_to=row["reply_to"],
        text=row["text"],
    )


def answer_to(connection: sqlite3.Connection, message: str, sender: str, recipient: str) -> sqlite3.Row | None:
    """The first message from `sender` to `recipient` in the thread of `message` and after it."""
    row: sqlite3.Row | None = connection.execute(_ANSWER, (message, sender, recipient)).fetchone()
    return row


def receipts(connection: sqlite3.Connection, sender: str, states: Collection[State], limit: int) -> list[sqlite3.Row]:
    """The sender's messages that came into one of these states and that it was not told of."""
    places = ", ".join("?" * len(states))
    return connection.execute(_RECEIPTS.format(places), (sender, *states, limit)).fetchall()


def told(connection: sqlite3.Connection, states: Iterable[tuple[str, str]]) -> None:
    """Note which state (second) the sender of each message (first) was told."""
    connection.executemany(_TOLD, [(state, message) for message, state in states])


def expired(connection: sqlite3.Connection, now: float) -> list[tuple[str, str]]:
    """Unread messages whose life is over, each with its recipient."""
    return [(row["id"], row["recipient"]) for row in connection.execute(_EXPIRED, (now,))]


def next_expiry(connection: sqlite3.Connection) -> float | None:
    """When the next unread message expires."""
    found: float | None = connection.execute(_NEXT_EXPIRY).fetchone()[0]
    return found


def unanswered(connection: sqlite3.Connection, peer: str, limit: int) -> list[str]:
    """Messages that were shown to a peer and not acknowledged, newest first."""
    return [row["id"] for row in connection.execute(_UNANSWERED, (peer, limit))]


def log(
    connection: sqlite3.Connection,
    *,
    peer: str | None,
    other: str | None,
    thread: str | None,
    before: int | None,
    limit: int,
) -> list[sqlite3.Row]:
    """Messages from or to `peer` (and to or from `other`), of one `thread`, older than `before`; newest first."""
    conditions = ""
    if peer:
        # Two indexed halves; an OR over both columns would read every message there is.
        conditions += (
            " AND seq IN (SELECT seq FROM messages WHERE sender = :peer"
            " UNION SELECT seq FROM messages WHERE recipient = :peer)"
        )
    if other:
        conditions += " AND :other IN (sender, recipient)"
    if thread:
        conditions += " AND thread = :thread"
    values = {"peer": peer, "other": other, "thread": thread, "before": before or 1 << 62, "limit": limit}
    return connection.execute(_LOG.format(conditions), values).fetchall()


def forget_old(connection: sqlite3.Connection, before: float, bytes_max: int) -> int:
    """Remove messages that ended before `before`, and the oldest of those that are over beyond `bytes_max` of text.
    Unread messages are never touched. Returns how many went.
    """
    old = connection.execute(_FORGET_OLD, (before,)).rowcount
    return old + connection.execute(_OVERSIZE, (bytes_max,)).rowcount


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many messages are in each state."""
    return dict(connection.execute("SELECT state, count(*) FROM messages GROUP BY state").fetchall())
