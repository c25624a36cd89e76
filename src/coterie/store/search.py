"""Finding messages by their words. The index is filled when somebody searches, in portions that let sends go on."""

from __future__ import annotations

import re
import sqlite3
from typing import NamedTuple

from coterie.errors import BadInput
from coterie.limits import SEARCH_CHARS_MAX

_TERM = re.compile(r'"([^"]*)("?)(\*?)|([^\s"]+)')
_FILL = """
INSERT INTO messages_text (rowid, text) SELECT seq, text FROM messages WHERE seq > ? ORDER BY seq LIMIT ?
"""
_REACHED = """
UPDATE indexed SET upto = coalesce(
    (SELECT max(seq) FROM (SELECT seq FROM messages WHERE seq > upto ORDER BY seq LIMIT ?)), upto
)
"""
_LEFT = "SELECT max(0, (SELECT coalesce(max(seq), 0) FROM messages) - upto) FROM indexed"
# The rows come out of the index newest first, one by one: a common word costs no more than a page of it. The unary
# plus keeps SQLite from beginning with the messages of a thread or a peer.
_FOUND = """
SELECT messages.*, highlight(messages_text, 0, :open, :close) AS marked,
       (SELECT carrier FROM offers WHERE message = messages.id ORDER BY number DESC LIMIT 1) AS carrier
FROM messages_text JOIN messages ON messages.seq = messages_text.rowid
WHERE messages_text MATCH :query AND messages_text.rowid < :before
  AND (:peer IS NULL OR :peer IN (+sender, +recipient)) AND (:other IS NULL OR :other IN (+sender, +recipient))
  AND (:thread IS NULL OR +thread = :thread)
ORDER BY messages_text.rowid DESC LIMIT :limit
"""


class Found(NamedTuple):
    """A message in which words were found."""

    row: sqlite3.Row
    hits: list[tuple[int, int]]
    """Where they stand in its text: from the first character to the one after the last."""


def query_of(words: str) -> str:
    """What to ask the index for the words of a user, in whom nothing is syntax but a phrase in quotes and a ``*``
    behind a beginning. Raises `BadInput`.
    """
    if len(words) > SEARCH_CHARS_MAX or "\0" in words:
        raise BadInput(f"search for text of at most {SEARCH_CHARS_MAX} characters", "name the rarest of the words")
    terms = []
    for phrase, _, star, word in _TERM.findall(words):
        beginning = bool(star) or word.endswith("*")
        text = (phrase or word).rstrip("*")
        if any(char.isalnum() for char in text):  # Of anything else the index knows nothing.
            terms.append('"{}"{}'.format(text.replace('"', '""'), " *" if beginning else ""))
    if not terms:
        raise BadInput(f"there is no word to search for in {words[:40]!r}", 'a word, a "phrase", or a beginning*')
    return " ".join(terms)


def fill(connection: sqlite3.Connection, count: int) -> int:
    """Take the next `count` messages into the index. Returns what is `left`."""
    upto = connection.execute("SELECT upto FROM indexed").fetchone()[0]
    connection.execute(_FILL, (upto, count))
    connection.execute(_REACHED, (count,))
    return left(connection)


def left(connection: sqlite3.Connection) -> int:
    """How many numbers of messages are not in the index yet: 0 if every message is. To count the messages would take as
    long as to take them in.
    """
    number: int = connection.execute(_LEFT).fetchone()[0]
    return number


def find(
    connection: sqlite3.Connection,
    query: str,
    mark: str,
    *,
    peer: str | None,
    other: str | None,
    thread: str | None,
    before: int | None,
    limit: int,
) -> list[Found]:
    """The messages that hold what `query_of` made, newest first, narrowed as those of the log. `mark` must stand in no
    text: a fresh token does.
    """
    opened, closed = f"<{mark}<", f">{mark}>"
    values = {
        "query": query,
        "open": opened,
        "close": closed,
        "peer": peer,
        "other": other,
        "thread": thread,
        "before": before or 1 << 62,
        "limit": limit,
    }
    return [Found(row, _hits(row["marked"], opened, closed)) for row in connection.execute(_FOUND, values)]


def _hits(marked: str, opened: str, closed: str) -> list[tuple[int, int]]:
    before, *pieces = marked.split(opened)
    position, hits = len(before), []
    for piece in pieces:
        hit, _, rest = piece.partition(closed)
        hits.append((position, position + len(hit)))
        position += len(hit) + len(rest)
    return hits
