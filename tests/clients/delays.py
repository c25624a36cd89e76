"""How long a message takes to the request of its recipient's model, in the real agents; a part of `make bench`.

usage: PYTHONPATH=tests python -m clients.delays ROUNDS

Writes a JSON object a line, for each agent and state: ``{"agent", "state", "s": [seconds, ...]}``; or what this
machine lacks, as ``{"lacking": "..."}``. The sender is another session on the same daemon. *Idle*: the session waits
for its user. *Busy*: a tool call of it is under way, and ends at once; Gemini can be reached in no other state.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clients.agents import Claude, Codex, Gemini, OpenCode, Session
from clients.conftest import LACKING
from clients.lab import Lab
from coterie import client, ids

STATES: tuple[tuple[type[Session], tuple[str, ...]], ...] = (
    (Claude, ("idle", "busy")),
    (Codex, ("idle", "busy")),
    (OpenCode, ("idle", "busy")),
    (Gemini, ("busy",)),
)


class Sender:
    """A session without an agent."""

    def __init__(self, lab: Lab) -> None:
        self._daemon = client.connect("adapter", at=lab.place)
        self._daemon.call("peers.register", {"kind": "other", "cwd": "/"})

    def send(self, to: str) -> tuple[str, float]:
        """Send a message; its id, and when."""
        message, now = ids.new_message_id(), time.time()
        self._daemon.call("messages.send", {"id": message, "to": to, "text": f"note {message}"})
        return message, now


@contextmanager
def ready(lab: Lab, kind: type[Session]) -> Iterator[tuple[Session, str]]:
    """A session that has been asked once, and its peer."""
    session = lab._session(kind, "bob", None)
    read = session.call("coterie", "check_messages")
    session.when(r"coterie: \d+ messages? for you", f"{read}\nSAY:read", once=False)
    session.start_tui()
    session.ask("prompt-0")
    session.screen.wait_for(r"MOCKREPLY[^\n]*prompt-0")
    yield session, str(lab.wait_peer(session)["id"])
    session.close()


def requested(session: Session, message: str) -> float:
    """When the model was first sent the message, or the word that it is there."""
    session.wait_saw(message)
    return next(request.at for request in session.requests() if message in request.text())


def idle(session: Session, sender: Sender, peer: str, round_: int) -> float:
    """A message to a session whose turn is over."""
    session.settle()
    message, sent = sender.send(peer)
    return requested(session, message) - sent


def busy(session: Session, sender: Sender, peer: str, round_: int) -> float:
    """A message to a session whose model is about to call a tool."""
    work = session.when(f"work-{round_}$", session.call("coterie", "list_peers") + "\nSAY:worked").held()
    session.ask(f"work-{round_}")
    message, sent = sender.send(peer)
    work.set()
    took = requested(session, message) - sent
    session.settle()
    return took


def measure(kind: type[Session], states: tuple[str, ...], rounds: int) -> Iterator[dict[str, Any]]:
    """One agent in a home of its own."""
    with Lab() as lab:
        lab.register()
        with ready(lab, kind) as (session, peer):
            sender = Sender(lab)
            for state in states:
                how = idle if state == "idle" else busy
                took = [round(how(session, sender, peer, number), 3) for number in range(rounds)]
                yield {"agent": kind.kind, "state": state, "s": took}


def main() -> int:
    if LACKING:
        print(json.dumps({"lacking": LACKING}))
        return 0
    for kind, states in STATES:
        for row in measure(kind, states, int(sys.argv[1])):
            print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
