"""Messages and offers in the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from coterie.errors import BadInput, Damaged
from coterie.frames import Letter
from coterie.messages import TRANSITIONS, Carrier, Change, Entry, Mailbox, Offer, Outcome, State
from coterie.store import seals
from coterie.timeline import Span

THIS_DEVICE = "this device"


class NewMessage(NamedTuple):
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
    cause: str | None = None
    """The message whose text made the sender write."""
    path: str = ""
    """The peers that passed it on: their ids, the first sender first, one blank between two."""


_INSERT = """
INSERT INTO messages (id, sender, sender_name, sender_kind, thread, reply_to, text, accepted_at, expires_at,
                      cause, path, recipient, state, changed_at, seal, mark)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?)
"""
# Copies end in ".2", ".3"...; the slash is the character after the full stop.
_COPIES = "SELECT * FROM messages WHERE id = ?1 OR (id > ?1 || '.' AND id < ?1 || '/') ORDER BY seq"
# What is sealed stands in the order of `seals`.
_INSERT_OFFER = """
INSERT INTO offers (message, number, carrier, call, step, written, stops, outcome, reason, opened_at, seal)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'open', '', ?8, sealed(?1, ?2, ?3, ?4, ?5, ?6, ?7, 'open', '', ?8, NULL))
ON CONFLICT (message, number) DO UPDATE SET
    step = excluded.step, written = excluded.written, stops = excluded.stops,
    seal = sealed(message, number, carrier, call, excluded.step, excluded.written, excluded.stops,
                  outcome, reason, opened_at, closed_at)
"""
_CLOSE_OFFER = """
UPDATE offers SET outcome = ?1, reason = ?2, closed_at = ?3,
                  seal = sealed(message, number, carrier, call, step, written, stops, ?1, ?2, opened_at, ?3)
WHERE message = ?4 AND number = ?5
"""
# The guard makes a change that comes late (after an acknowledgement, say) harmless instead of wrong.
_MOVE = """
UPDATE messages SET state = ?1, reason = ?2, changed_at = ?3, mark = sealed(recipient, ?1, ?2, told, ?3)
WHERE id = ?4 AND state IN ({})
"""
_UNREAD = """
SELECT messages.id, state, number, carrier, call, step, written, stops, length(CAST(text AS BLOB)) AS size,
       (SELECT count(*) FROM offers AS past WHERE past.message = messages.id) AS attempts
FROM messages LEFT JOIN offers ON offers.message = messages.id AND offers.outcome = 'open'
WHERE recipient = ? AND state IN ('queued', 'offered') AND messages.id NOT IN (
    SELECT message FROM requests WHERE state = 'held' AND message IS NOT NULL
) ORDER BY messages.seq
"""
_HOOKED = "SELECT 1 FROM peers WHERE id = ? AND hooked"
_READDRESS = """
UPDATE messages SET recipient = ?1, mark = sealed(?1, state, reason, told, changed_at)
WHERE recipient = ?2 AND state IN ('queued', 'offered')
"""
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
_TOLD = "UPDATE messages SET told = ?1, mark = sealed(recipient, state, reason, ?1, changed_at) WHERE id = ?2"
# What another device has stored expires there.
_EXPIRING = """
messages.state IN ('queued', 'offered') AND accepted_at >= ? AND accepted_at < ?
AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.message = messages.id AND outbox.state IN ('stored', 'held'))
"""
_EXPIRED = f"SELECT id, recipient FROM messages WHERE {_EXPIRING} AND expires_at <= ?"  # noqa: S608 (a constant of ours)
_NEXT_EXPIRY = f"SELECT min(expires_at) FROM messages WHERE {_EXPIRING}"  # noqa: S608
_HELD = "SELECT 1 FROM requests WHERE message = ? AND state = 'held'"
_WITHHELD = "SELECT 1 FROM requests WHERE message = ? AND state <> 'approved'"
_UNANSWERED = """
SELECT id FROM messages WHERE recipient = ? AND state = 'shown' ORDER BY seq DESC LIMIT ?
"""
_LOG = """
SELECT messages.*, (SELECT carrier FROM offers WHERE message = messages.id ORDER BY number DESC LIMIT 1) AS carrier
FROM messages WHERE seq < :before {} ORDER BY seq DESC LIMIT :limit
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
            insert(connection, message)
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


def insert(connection: sqlite3.Connection, message: NewMessage) -> None:
    """Store one message. Raises `sqlite3.IntegrityError` if its id is taken."""
    sent = (  # In the order of seals.SENT.
        message.id,
        message.sender,
        message.sender_name,
        message.sender_kind,
        message.thread,
        message.reply_to,
        message.text,
        message.accepted_at,
        message.expires_at,
        message.cause,
        message.path,
    )
    became = (message.recipient, "queued", "", "queued", message.accepted_at)
    values = (*sent, message.recipient, message.accepted_at, seals.sealed(*sent), seals.sealed(*became))
    connection.execute(_INSERT, values)
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
        box.accept(Entry(row["id"], State(row["state"]), row["attempts"], offer, size=row["size"]))
    return box


def was_offered(connection: sqlite3.Connection, message: str, call: str) -> bool:
    """Whether the text named `call` was to carry a message, whatever became of that."""
    return (
        connection.execute("SELECT 1 FROM offers WHERE message = ? AND call = ?", (message, call)).fetchone()
        is not None
    )


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
    """What a frame needs of one message. Raises `Damaged` if the row does not say what was sent."""
    if not seals.is_sealed(row):
        raise Damaged(f"message {row['id']} is damaged on the disk", "the person can see what to do: coterie doctor")
    return Letter(
        id=row["id"],
        sender_name=row["sender_name"],
        sender_kind=row["sender_kind"],
        device=row["sender_name"].partition("@")[2] or THIS_DEVICE,
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


def expired(connection: sqlite3.Connection, spans: Sequence[Span]) -> list[tuple[str, str]]:
    """Unread messages whose life is over, each with its recipient; a life is judged by the clock it began under."""
    rows = (row for span in spans for row in connection.execute(_EXPIRED, (span.low, span.high, span.now)))
    return [(row["id"], row["recipient"]) for row in rows]


def next_expiry(connection: sqlite3.Connection, spans: Sequence[Span]) -> float | None:
    """In how many seconds the next unread message expires."""
    left = ((connection.execute(_NEXT_EXPIRY, (span.low, span.high)).fetchone()[0], span.now) for span in spans)
    return min((expires_at - now for expires_at, now in left if expires_at is not None), default=None)


def is_held(connection: sqlite3.Connection, message: str) -> bool:
    """Whether a message of another device waits for a word of the person, and is in no mailbox."""
    return connection.execute(_HELD, (message,)).fetchone() is not None


def is_withheld(connection: sqlite3.Connection, row: sqlite3.Row) -> bool:
    """Whether a message of another device is kept from its recipient: the person has not let it through, or has
    forgotten its device before it was read.
    """
    if "@" not in row["sender_name"]:
        return False
    return row["state"] == State.DEAD or connection.execute(_WITHHELD, (row["id"],)).fetchone() is not None


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
    after: int | None = None,
) -> list[sqlite3.Row]:
    """Messages from or to `peer` (and to or from `other`), of one `thread`, older than `before` and newer than `after`;
    newest first.
    """
    conditions = " AND seq > :after" if after else ""
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
    values = {
        "peer": peer,
        "other": other,
        "thread": thread,
        "before": before or 1 << 62,
        "limit": limit,
        "after": after,
    }
    return connection.execute(_LOG.format(conditions), values).fetchall()


def first_of(connection: sqlite3.Connection, thread: str) -> str | None:
    """The id of the first message of a thread that is still kept."""
    row = connection.execute("SELECT id FROM messages WHERE thread = ? ORDER BY seq LIMIT 1", (thread,)).fetchone()
    return row["id"] if row else None


def newest(connection: sqlite3.Connection) -> int:
    """The number of the newest message; 0 if there is none."""
    seq: int = connection.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()[0]
    return seq


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many messages are in each state."""
    return dict(connection.execute("SELECT state, count(*) FROM messages GROUP BY state").fetchall())
