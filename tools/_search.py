"""Searching a long history: what the first search takes, which fills the index, what later ones take, and what sends
that come meanwhile notice of it.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from _parts import MIB, SCRIPTS, Place, median, percentile, place
from coterie import client, ids
from coterie.files import make_folder
from coterie.messages import State
from coterie.store import db, migrations
from coterie.store import messages as stored
from coterie.store.messages import NewMessage

MESSAGES = 100_000
WORDS_A_MESSAGE = 60
"""About 400 characters: a report, with what was done and where."""
VOCABULARY = 20_000
RARE, COMMON, PAIR = "needle", "w1", "staging server"
SEARCHES, COMMANDS = 50, 20
LIFE_S = 86_400.0


@dataclass(frozen=True)
class Result:
    """What was measured; times in milliseconds."""

    messages: int
    text_mib: float
    index_mib: float
    first_ms: float
    """The first search: everything is taken into the index."""
    send_p50_ms: float
    send_p99_ms: float
    """Sends, one after another, while that went on."""
    quiet_p99_ms: float
    """The same while nothing else did."""
    rare_ms: float
    common_ms: float
    phrase_ms: float
    beginning_ms: float
    fresh_ms: float
    """A search after a message came that is not in the index yet."""
    command_ms: float
    """``coterie search``, whole process."""


def search(count: int = MESSAGES) -> Result:
    """Measure in a home of its own with so many messages."""
    with place("coterie-bench-") as here:
        size = _fill(here, count)
        sender, asker = client.connect("cli", at=here.home), client.connect("cli", at=here.home)
        here.daemon()
        quiet = _sends(sender, 2.0, threading.Event())
        before = os.path.getsize(here.home.database)
        first, meanwhile = _first(sender, asker)
        rare, common, phrase, beginning = (
            median(_searches(asker, words)) for words in (RARE, COMMON, f'"{PAIR}"', "w12*")
        )
        fresh = median([_fresh(sender, asker) for _ in range(SEARCHES)])
        command = median([_command(here) for _ in range(COMMANDS)])
        return Result(
            messages=count,
            text_mib=round(size / MIB, 1),
            index_mib=round((_pages(here) - before) / MIB, 1),
            first_ms=round(first, 1),
            send_p50_ms=round(median(meanwhile), 2),
            send_p99_ms=round(percentile(meanwhile, 0.99), 2),
            quiet_p99_ms=round(percentile(quiet, 0.99), 2),
            rare_ms=round(rare, 2),
            common_ms=round(common, 2),
            phrase_ms=round(phrase, 2),
            beginning_ms=round(beginning, 2),
            fresh_ms=round(fresh, 2),
            command_ms=round(command, 1),
        )


def _fill(here: Place, count: int) -> int:
    """A history such as a busy year leaves. Returns the bytes of its texts."""
    make_folder(here.home.folder)
    os.close(os.open(here.home.database, os.O_CREAT | os.O_RDWR, 0o600))
    database = db.connect(here.home.database)
    migrations.migrate(database, here.home, time.time())
    chance, now, size = random.Random(4), time.time(), 0
    database.execute("BEGIN")
    for number in range(count):
        text = _text(chance, number, count)
        size += len(text.encode())
        message = ids.new_message_id()
        peers = chance.sample(range(50), 2)
        names = [f"p_{peer:08d}" for peer in peers]
        new = NewMessage(message, names[0], "agent", "claude", names[1], message, None, text, now, now + LIFE_S)
        stored.accept(database, message, [new], None)
        stored.move(database, message, State.SHOWN, "inbox", now)
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return size


def _text(chance: random.Random, number: int, count: int) -> str:
    words = [f"w{int(chance.paretovariate(0.6)) % VOCABULARY}" for _ in range(WORDS_A_MESSAGE)]
    if number % (count // 20) == 7:
        words[9] = RARE
    if number % 100 == 3:
        words[20:21] = PAIR.split()
    return " ".join(words)


def _pages(here: Place) -> int:
    """The size of the database once what lies in its log is in it."""
    here.end_daemon()
    return os.path.getsize(here.home.database)


def _ms(what: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    what()
    return (time.perf_counter() - begun) * 1000


def _find(asker: client.Client, words: str) -> list[Any]:
    while True:
        answer = asker.call("messages.search", {"words": words})
        if not answer["left"]:
            found: list[Any] = answer["messages"]
            assert found
            return found


def _searches(asker: client.Client, words: str) -> list[float]:
    return [_ms(lambda: _find(asker, words)) for _ in range(SEARCHES)]


def _send(sender: client.Client) -> None:
    sender.call("messages.send", {"id": ids.new_message_id(), "to": "me", "text": f"fresh {ids.new_token()}"})


def _sends(sender: client.Client, seconds: float, over: threading.Event) -> list[float]:
    until = time.monotonic() + seconds
    took: list[float] = []
    while time.monotonic() < until and not over.is_set() and len(took) < 900:  # A mailbox holds a thousand.
        took.append(_ms(lambda: _send(sender)))
        time.sleep(0.005)
    _read(sender)
    return took


def _read(sender: client.Client) -> None:
    """Read the mail, so that the mailbox has room."""
    while True:
        call = ids.new_token()
        mail = sender.call("mail.take", {"call": call, "check": True, "terminal": True})
        sender.call("mail.shown", {"call": call})
        if not mail["letters"]:
            return


def _first(sender: client.Client, asker: client.Client) -> tuple[float, list[float]]:
    """The first search, and what sends took while it went on."""
    over = threading.Event()
    took: list[float] = []
    sending = threading.Thread(target=lambda: took.extend(_sends(sender, 60.0, over)))
    sending.start()
    first = _ms(lambda: _find(asker, RARE))
    over.set()
    sending.join()
    return first, took


def _fresh(sender: client.Client, asker: client.Client) -> float:
    _send(sender)
    return _ms(lambda: _find(asker, RARE))


def _command(here: Place) -> float:
    command = [os.path.join(SCRIPTS, "coterie"), "search", RARE]
    return _ms(
        lambda: subprocess.run(
            command, env=here.environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    )


if __name__ == "__main__":
    print(search())
