"""The daily upkeep over a long history, while agents write: how long they wait for it, and what the log grows to."""

from __future__ import annotations

import contextlib
import sqlite3
import time

from _gauge import gauging
from _parts import Place, percentile, place
from _soaks import Report, raise_guards
from coterie import client, ids
from coterie.limits import ACKNOWLEDGED_KEPT_S, DAY_S, HISTORY_BYTES_MAX, MIB, WAL_BYTES_MAX
from coterie.messages import State
from coterie.store import db
from coterie.store import messages as stored
from coterie.store.messages import NewMessage

OLD, RECENT = 50_000, 1.0
"""Messages whose time is over, and how many of the others, in parts of HISTORY_BYTES_MAX."""
BODY = "x" * 500
WRITE_S = 5.0
FORGET_MAX_S = 240.0
"""It takes half of the writer's time at most, and is no hurry."""
WAIT_MAX_MS = 1_000.0
"""A session may wait so long beside the upkeep, once a day."""


def history(old: int = OLD, seconds: float = WRITE_S) -> Report:
    """A daemon starts over a long history, tidies it up, and serves meanwhile."""
    report = Report()
    with place("coterie-soak-") as here:
        raise_guards(here.home.folder)
        client.connect("cli", at=here.home).close()
        here.end_daemon()
        recent = int(old * RECENT)
        _fill(here, old, time.time() - ACKNOWLEDGED_KEPT_S - DAY_S)
        _fill(here, recent, time.time() - DAY_S)
        begun = time.monotonic()
        with (
            contextlib.closing(client.connect("adapter", at=here.home)) as sender,
            gauging(here.daemon, here.home.database + "-wal", seconds) as gauge,
        ):
            up_ms = (time.monotonic() - begun) * 1000
            took = _write(here, sender, seconds)
        report.samples = gauge.samples
        _judge(report, here, old, recent, up_ms, took)
    return report


def _fill(here: Place, count: int, at: float) -> None:
    """Messages as a daemon leaves them that were answered then."""
    with contextlib.closing(db.connect(here.home.database)) as books:
        books.execute("BEGIN")
        for number in range(count):
            message, peer = ids.new_message_id(), f"p_old{number % 50}"
            text = f"{number} {BODY}"
            new = NewMessage(message, peer, "old", "claude", peer, message, None, text, at, at + DAY_S)
            stored.accept(books, message, [new], None)
            stored.move(books, message, State.ACKNOWLEDGED, "answered", at)
        books.execute("COMMIT")


def _write(here: Place, sender: client.Client, seconds: float) -> list[float]:
    """Milliseconds of each write, one after another: a session joins, then it sends."""
    begun, number = time.monotonic(), 0
    until = begun + seconds
    sender.call("peers.register", {"kind": "other", "cwd": "/"})
    took = [(time.monotonic() - begun) * 1000]
    event = {"event": "start", "kind": "claude", "session": "reader", "cwd": "/"}
    with contextlib.closing(client.connect("hook", at=here.home)) as hook:
        reader = hook.call("session.event", event)["peer"]
    while time.monotonic() < until or (_left(here) and time.monotonic() < begun + FORGET_MAX_S):
        begun, number = time.monotonic(), number + 1
        sender.call("messages.send", {"id": ids.new_message_id(), "to": reader, "text": f"{number} {BODY}"})
        took.append((time.monotonic() - begun) * 1000)
        time.sleep(0.005)
    return took


def _left(here: Place) -> bool:
    """Whether something is left that is to go. It has the lowest number, as it was there first."""
    with contextlib.closing(sqlite3.connect(f"file:{here.home.database}?mode=ro", uri=True)) as books:
        row = books.execute("SELECT changed_at FROM messages ORDER BY seq LIMIT 1").fetchone()
    return bool(row[0] < time.time() - ACKNOWLEDGED_KEPT_S)


def _judge(report: Report, here: Place, old: int, recent: int, up_ms: float, took: list[float]) -> None:
    with contextlib.closing(sqlite3.connect(f"file:{here.home.database}?mode=ro", uri=True)) as books:
        count = "SELECT count(*), sum(length(text)) FROM messages WHERE sender LIKE 'p_old%'"
        left, size = books.execute(count).fetchone()
    report.add("old messages are gone, recent ones kept", f"{recent:,} of {old + recent:,}", f"{left:,}",
               left == recent and (size or 0) <= HISTORY_BYTES_MAX)  # fmt: skip
    report.add("the daemon came up over that history", "", f"{up_ms:.0f} ms", None)
    report.at_most("a session joins or sends beside the upkeep, longest", WAIT_MAX_MS, max(took), "ms")
    report.add("the same, p50, p99", "", f"{percentile(took, 0.5):.2f}, {percentile(took, 0.99):.2f} ms", None)
    wal = max(sample.wal_mib for sample in report.samples)
    report.at_most("write-ahead log, largest", WAL_BYTES_MAX / MIB, wal, "MiB")
