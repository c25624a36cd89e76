"""Processes that make load, apart from the one that measures, so that what they take of the processors is known.

usage: python tools/_loads.py read COUNT FOLDERS       sessions with inboxes, which read what they are pushed
       python tools/_loads.py send COUNT RATE SECONDS  sessions that send RATE messages a second in all
       python tools/_loads.py flood COUNT IN_FLIGHT    one session that sends COUNT messages as fast as it is let

Each joins its sessions, prints a line of JSON with their peers, and waits for a line on stdin: whom to write to, as
JSON. At the end it prints what it saw. `read` ends when its stdin does.
"""

from __future__ import annotations

import json
import math
import re
import select
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

from _sessions import Session, Sessions
from coterie import ids
from coterie.files import home

BODY = "x" * 470
SENT = re.compile(r"sent (\d+)\.")
TICK_S = 0.05
TURN_S = 10.0
"""How long a turn of a session takes that reads. Within it, fewer lines come than its client keeps."""
CALM_S = 20.0
"""How long what is under way at the end may take."""

Json = dict[str, Any]


def spread(values_ms: Sequence[float]) -> Json:
    """What is told of many delays, in milliseconds."""
    ordered = sorted(values_ms)

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)

    if not ordered:
        return {"count": 0}
    return {"count": len(ordered), "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": at(1.0)}


def tell(message: Json) -> None:
    print(json.dumps(message), flush=True)


def read(count: int, folders: int) -> None:
    """Take in what is pushed until stdin ends."""
    sessions = Sessions(home())
    came = array("d")
    seen: Counter[str] = Counter()

    def pushed(session: Session, text: str, now: int) -> None:
        for sent in SENT.findall(text):
            came.append((now - int(sent)) / 1e6)
            seen[f"{session.id} {sent}"] += 1

    sessions.on_push = pushed
    for number in range(count):
        sessions.join(f"reader-{number}", f"/folder-{number % folders}")
    tell({"peers": [session.peer for session in sessions.all]})
    begun, begun_s, turns = time.process_time(), time.monotonic(), 0
    while not select.select([0], [], [], 0)[0]:
        sessions.serve(TICK_S)
        while turns < (time.monotonic() - begun_s) * count / TURN_S:
            sessions.prompt(sessions.all[turns % count])
            turns += 1
    _settle(sessions)
    for session in sessions.all:
        sessions.prompt(session)
    _settle(sessions)
    twice = sum(times > 1 for times in seen.values())
    tell({"inbox_ms": spread(came), "twice": twice, "cpu_s": time.process_time() - begun})
    sessions.close()


def _settle(sessions: Sessions) -> None:
    """Serve until nothing more is under way and nothing comes."""
    until = time.monotonic() + CALM_S
    quiet_since = time.monotonic()
    while time.monotonic() < until and (sessions.under_way() or time.monotonic() - quiet_since < 1.0):
        before = time.monotonic()
        sessions.serve(TICK_S)
        if time.monotonic() - before < TICK_S:
            quiet_since = time.monotonic()


class Books:
    """What became of each send."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.refused: Counter[str] = Counter()
        self.unexplained: list[str] = []
        """Refusals that do not say which limit it was, or when to try again; and errors of any other kind."""
        self.took_ms = array("d")

    def note(self, message: str, begun: int, answer: Json) -> None:
        """A send was answered."""
        self.took_ms.append((time.monotonic_ns() - begun) / 1e6)
        error = answer.get("error")
        if error is None:
            self.accepted.append(message)
            return
        data = error.get("data", {})
        if data.get("kind") == "limited" and data.get("limit") and "retry_s" in data and data.get("hint"):
            self.refused[data["limit"]] += 1
        else:
            self.unexplained.append(f"{error.get('message')} ({data.get('kind')})")

    def to_json(self) -> Json:
        return {
            "accepted": len(self.accepted),
            "refused": dict(self.refused),
            "unexplained": self.unexplained[:5],
            "unexplained_count": len(self.unexplained),
            "answer_ms": spread(self.took_ms),
        }


def _send(sessions: Sessions, session: Session, to: str, books: Books) -> None:
    message, now = ids.new_message_id(), time.monotonic_ns()
    params = {"id": message, "to": to, "text": f"sent {now}. {BODY}"}
    sessions.ask(session, "messages.send", params, lambda answer: books.note(message, now, answer))


def send(count: int, rate: float, seconds: float) -> None:
    """An even stream: each reader has the next message after as many as there are readers, so that none comes while
    the inbox is kept free on purpose. Whom a session writes to changes, as the guards watch pairs.
    """
    sessions, books, late = Sessions(home()), Books(), array("d")
    for number in range(count):
        sessions.join(f"sender-{number}", inbox=False)
    tell({"peers": [session.peer for session in sessions.all]})
    readers: list[str] = json.loads(sys.stdin.readline())
    begun_cpu, begun, number = time.process_time(), time.monotonic(), 0
    while (now := time.monotonic() - begun) < seconds:
        due = number / rate
        if now < due:
            sessions.serve(due - now)
            continue
        late.append((now - due) * 1000)
        shift = number // len(readers)
        _send(sessions, sessions.all[(number + shift) % count], readers[number % len(readers)], books)
        number += 1
    _settle(sessions)
    cpu = time.process_time() - begun_cpu
    tell({"sent": number, **books.to_json(), "late_ms": spread(late), "cpu_s": cpu, "under_way": sessions.under_way()})
    sessions.close()


def flood(count: int, in_flight: int) -> None:
    """As fast as it goes, in turn to each of those named."""
    sessions, books = Sessions(home()), Books()
    flooder = sessions.join("flooder", inbox=False)
    tell({"peers": [flooder.peer]})
    victims: list[str] = json.loads(sys.stdin.readline())
    begun_cpu, begun, sent = time.process_time(), time.monotonic(), 0
    while len(books.took_ms) < count:
        while sent < count and sent - len(books.took_ms) < in_flight:
            _send(sessions, flooder, victims[sent % len(victims)], books)
            sent += 1
        sessions.serve(CALM_S)
    took = time.monotonic() - begun
    tell({"sent": sent, **books.to_json(), "seconds": took, "cpu_s": time.process_time() - begun_cpu})
    sys.stdin.readline()  # It stays until what it did to the others has been looked at.
    sessions.close()


def main() -> None:
    what, *values = sys.argv[1:]
    if what == "read":
        read(int(values[0]), int(values[1]))
    elif what == "send":
        send(int(values[0]), float(values[1]), float(values[2]))
    else:
        flood(int(values[0]), int(values[1]))


if __name__ == "__main__":
    main()
