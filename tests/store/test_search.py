"""The search index: whose words they are, what is found, and that it never says what the messages do not."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import Place
from coterie import ids
from coterie.client import Client
from coterie.errors import BadInput, Unavailable
from coterie.limits import SEARCH_CHARS_MAX
from coterie.messages import State
from coterie.store import db, migrations, search
from coterie.store import messages as stored
from coterie.store.messages import NewMessage

NOW = 1_800_000_000.0
MARK = "mark"


@pytest.fixture
def database(place: Place) -> Iterator[sqlite3.Connection]:
    """A database as a daemon has it."""
    open(place.home.database, "x").close()
    connection = db.connect(place.home.database)
    migrations.migrate(connection, place.home, NOW)
    yield connection
    connection.close()


def put(database: sqlite3.Connection, *texts: str, sender: str = "p_a", thread: str = "") -> list[str]:
    """Store messages; returns their ids."""
    made = []
    for text in texts:
        message = ids.new_message_id()
        new = NewMessage(message, sender, sender, "claude", "p_b", thread or message, None, text, NOW, NOW + 60)
        stored.accept(database, message, [new], None)
        made.append(message)
    return made


def found(database: sqlite3.Connection, words: str, **narrow: Any) -> list[str]:
    """The texts that are found, newest first, with what was hit in brackets."""
    wanted = {"peer": None, "other": None, "thread": None, "before": None, "limit": 50, **narrow}
    return [marked(each) for each in search.find(database, search.query_of(words), MARK, **wanted)]


def marked(each: search.Found) -> str:
    text, shown, at = each.row["text"], "", 0
    for low, high in each.hits:
        shown += f"{text[at:low]}[{text[low:high]}]"
        at = high
    return shown + text[at:]


def fill_all(connection: Client) -> None:
    """Search until the index holds everything."""
    while connection.call("messages.search", {"words": "word"})["left"]:
        pass


def check(database: sqlite3.Connection) -> None:
    """The index holds what the messages say, no more and no less. Raises `sqlite3.DatabaseError` if it does not."""
    assert search.left(database) == 0
    database.execute("INSERT INTO messages_text (messages_text, rank) VALUES ('integrity-check', 1)")


def test_words_are_the_users_and_never_syntax() -> None:
    for words, query in {
        "deploy": '"deploy"',
        "two words": '"two" "words"',
        '"a phrase" more': '"a phrase" "more"',
        "migr*": '"migr" *',
        '"a phr"*': '"a phr" *',
        "this NOT that": '"this" "NOT" "that"',
        "text:x NEAR(a) ^b -c": '"text:x" "NEAR(a)" "^b" "-c"',
        'unbalanced "quote here': '"unbalanced" "quote here"',
        'a"b c"d': '"a" "b c" "d"',
        "... word ( )": '"word"',
    }.items():
        assert search.query_of(words) == query, words


def test_what_holds_no_word_is_refused() -> None:
    for words in ("", "  ", "...", '""', "*", "x" * (SEARCH_CHARS_MAX + 1), "a\0b"):
        with pytest.raises(BadInput):
            search.query_of(words)


def test_every_query_is_understood(database: sqlite3.Connection) -> None:
    put(database, "text")
    search.fill(database, 10)
    for words in (
        "a'b",
        'x"y',
        "AND",
        "a AND",
        "(",
        "a(",
        "a)b",
        "{a}",
        "a:b",
        "^a",
        "a+b",
        "-a",
        "a*b",
        "*a",
        "日本*",
        "\u00df",
    ):
        try:
            found(database, words)
        except BadInput:
            assert not any(char.isalnum() for char in words)


def test_it_finds_words_phrases_and_beginnings(database: sqlite3.Connection) -> None:
    put(database, "Deploy the staging server", "the server of staging", "Größe: ÜBER alles", "日本語 テスト")
    search.fill(database, 10)
    assert found(database, "staging server") == ["the [server] of [staging]", "Deploy the [staging] [server]"]
    assert found(database, '"staging server"') == ["Deploy the [staging server]"]
    assert found(database, "depl*") == ["[Deploy] the staging server"]
    assert found(database, "depl") == []
    assert found(database, "uber") == ["Größe: [ÜBER] alles"]
    assert found(database, "日本*") == ["[日本語] テスト"]


def test_it_is_narrowed_like_the_log(database: sqlite3.Connection) -> None:
    (first,) = put(database, "word one")
    put(database, "word two", thread=first)
    put(database, "word three", sender="p_c")
    search.fill(database, 10)
    assert found(database, "word", thread=first) == ["[word] two", "[word] one"]
    assert found(database, "word", peer="p_a") == ["[word] two", "[word] one"]
    assert found(database, "word", peer="p_b", other="p_c") == ["[word] three"]
    assert found(database, "word", limit=1) == ["[word] three"]
    assert found(database, "word", before=3, limit=1) == ["[word] two"]


def test_a_text_cannot_pass_for_a_hit(database: sqlite3.Connection) -> None:
    put(database, f"word <{ids.new_token()}< >x> <mark")
    search.fill(database, 10)
    assert found(database, "word")[0].startswith("[word] <")
    assert found(database, "word")[0].count("[") == 1


def test_it_is_filled_in_portions(database: sqlite3.Connection) -> None:
    put(database, *(f"word {number}" for number in range(25)))
    assert search.left(database) == 25
    assert [search.fill(database, 10) for _ in range(4)] == [15, 5, 0, 0]
    check(database)
    put(database, "word again")
    assert search.left(database) == 1
    assert len(found(database, "word")) == 25


def test_what_is_forgotten_leaves_the_index_too(database: sqlite3.Connection) -> None:
    gone = put(database, *(f"old {number}" for number in range(5)))
    put(database, "old but unread")
    search.fill(database, 4)  # The last ones are not in it yet.
    for message in gone:
        stored.move(database, message, State.SHOWN, "hook", NOW)
    database.execute("DELETE FROM messages WHERE state = 'shown'")
    search.fill(database, 10)
    check(database)
    assert found(database, "old") == ["[old] but unread"]


def test_numbers_that_are_given_out_again_are_taken_in_again(database: sqlite3.Connection) -> None:
    put(database, "one", "two", "three")
    search.fill(database, 10)
    database.execute("DELETE FROM messages WHERE seq > 1")
    put(database, "four", "five", "six")  # Two of them have the numbers of those that went.
    assert search.left(database) == 3
    database.execute("DELETE FROM messages WHERE seq = 2")  # Not in the index: nothing may be taken out of it.
    search.fill(database, 10)
    check(database)
    assert found(database, "four") == []
    assert found(database, "six") == ["[six]"]
    database.execute("DELETE FROM messages")
    assert search.fill(database, 10) == 0
    put(database, "seven")
    search.fill(database, 10)
    check(database)


def test_a_daemon_killed_while_it_fills_the_index(place: Place) -> None:
    open(place.home.database, "x").close()
    os.chmod(place.home.database, 0o600)
    database = db.connect(place.home.database)
    migrations.migrate(database, place.home, NOW)
    count = 4_000
    database.execute("BEGIN")
    put(database, *(f"word {number} {'and so on ' * 20}" for number in range(count)))
    database.execute("COMMIT")
    database.close()
    for visit in (5, 6, 7):
        place.start("--crash-at", f"before-commit:{visit}")
        connection = place.connect(start=False)
        with pytest.raises(Unavailable):
            fill_all(connection)
        assert place.daemons[-1].wait(20) == -signal.SIGKILL
        assert place.row("SELECT upto FROM indexed")[0] < count
    assert place.row("SELECT upto FROM indexed")[0] > 0, "it was in the middle of it"
    place.start()
    fill_all(place.connect(start=False))
    place.kill()
    database = db.connect(place.home.database)
    check(database)
    assert (
        database.execute("SELECT count(*) FROM messages_text WHERE messages_text MATCH 'word'").fetchone()[0] == count
    )
    database.close()
