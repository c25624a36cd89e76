"""What the daemon keeps in memory: whatever comes and goes leaves nothing behind, but what is meant to be kept.

A slope of memory over minutes hides a list that grows by a line an hour. So here the daemon's own lists and tables are
counted, before and after: all that can be reached from it through our own classes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from _sessions import Session, Sessions
from _soaks import raise_guards
from conftest import Place, wait_for
from coterie import ids

# At SIGUSR1 the daemon writes how much it holds; at SIGUSR2 the daily upkeep runs, for which all is old at once.
WATCHED = """
import collections, gc, json, os, signal
import coterie.limits
coterie.limits.ENDED_KEPT_S = coterie.limits.AWAY_KEPT_S = -1.0
from coterie.daemon.main import Daemon

HELD = (dict, list, set, collections.deque, collections.Counter)

def fields(thing):
    names = [*getattr(thing, "__dict__", ()), *(n for c in type(thing).__mro__ for n in getattr(c, "__slots__", ()))]
    return [(name, getattr(thing, name)) for name in names if hasattr(thing, name)]

def walk(path, thing):
    # Each thing under the shortest way to it.
    sizes, seen, waiting = {}, {id(thing)}, collections.deque([(path, thing)])
    while waiting:
        path, thing = waiting.popleft()
        if isinstance(thing, HELD):
            sizes[path] = sizes.get(path, 0) + len(thing)
            below = [(path + "[]", value) for value in (thing.values() if isinstance(thing, dict) else thing)]
        elif type(thing).__module__.startswith("coterie."):
            below = [(path + "." + name, value) for name, value in fields(thing)]
        else:
            continue
        waiting += [pair for pair in below if id(pair[1]) not in seen and not seen.add(id(pair[1]))]
    return sizes

def the_daemon():
    return next(thing for thing in gc.get_objects() if isinstance(thing, Daemon))

def count(*_):
    sizes = walk("daemon", the_daemon())
    path = os.environ["COTERIE_HOME"] + "/sizes"
    with open(path + ".new", "w") as file:
        json.dump(sizes, file)
    os.rename(path + ".new", path)

signal.signal(signal.SIGUSR1, count)
signal.signal(signal.SIGUSR2, lambda *_: the_daemon().upkeep.start())
"""
SESSIONS = 6
MESSAGES = 30
ROUNDS = 3
BOUNDED = (
    "daemon.guards._books",
    "daemon.causes",
    "daemon.notices",
    "daemon.usage._samples",
    "daemon.presence.repositories",
)
UNREAD = "daemon.post._boxes[].entries"


def sizes(place: Place) -> dict[str, int]:
    """How much is held, by where."""
    path = Path(place.home.folder) / "sizes"
    path.unlink(missing_ok=True)
    os.kill(place.pid(), signal.SIGUSR1)
    wait_for(path.exists, "the daemon has counted")
    found: dict[str, int] = json.loads(path.read_text())
    return found


def settled(place: Place, expected: dict[str, int] | None = None) -> dict[str, int]:
    """The sizes once nothing is under way any more: two counts that are the same, or as `expected`."""
    last = [sizes(place)]

    def same() -> bool:
        last.append(sizes(place))
        return last[-1] == (expected or last[-2])

    with contextlib.suppress(AssertionError):
        wait_for(same, "it is at rest", timeout=3)
    return last[-1]


def serve_all(sessions: Sessions) -> None:
    def served() -> bool:
        sessions.serve(0.01)
        return not sessions.under_way()

    wait_for(served, "all is answered")


def talk(place: Place, names: list[str]) -> None:
    """Sessions come, write, are brought what was written, read it, answer, and go."""
    with contextlib.closing(Sessions(place.home)) as sessions:
        for name in names:
            sessions.join(name)
        write_to_each_other(sessions)
        wait_for(lambda: sessions.serve(0.01) or not waiting(place, sessions), "everything was pushed")
        for session in sessions.all:
            for message in session.came[:2]:
                say(sessions, session, reply_to=message)
            sessions.prompt(session)
        serve_all(sessions)
        take_and_leave(sessions)


def write_to_each_other(sessions: Sessions) -> None:
    for number in range(MESSAGES):
        sender = sessions.all[number % SESSIONS]
        to = sessions.all[(number + 1 + number // SESSIONS) % SESSIONS]
        if to is not sender:
            say(sessions, sender, to=to.peer)
    serve_all(sessions)


def waiting(place: Place, sessions: Sessions) -> list[str]:
    """What these sessions were not brought yet."""
    here = {session.peer for session in sessions.all}
    queued = place.rows("SELECT id, recipient FROM messages WHERE state = 'queued'")
    return [message for message, recipient in queued if recipient in here]


def say(sessions: Sessions, session: Session, **how: str) -> None:
    params = {"id": ids.new_message_id(), "text": f"this is {ids.new_token()}", **how}
    sessions.ask(session, "messages.send", params, well)


def well(answer: dict[str, Any]) -> None:
    assert "error" not in answer, answer


def take_and_leave(sessions: Sessions) -> None:
    """They look for mail, and are gone before they report it; one waits for an answer, and is gone too."""
    for session in sessions.all:
        sessions.ask(session, "mail.take", {"call": ids.new_token(), "check": True}, well)
        sessions.ask(session, "peers.list", {}, well)
    serve_all(sessions)
    waiting = {"id": ids.new_message_id(), "to": sessions.all[0].peer, "text": ids.new_token(), "wait_s": 20}
    sessions.ask(sessions.all[1], "messages.send", waiting, well)
    sessions.serve(0.05)


@pytest.fixture
def watched(place: Place) -> Place:
    raise_guards(place.home.folder)
    place.start(patch=WATCHED)
    return place


def test_what_comes_again_and_again_leaves_nothing(watched: Place) -> None:
    names = [f"session-{number}" for number in range(SESSIONS)]
    steady = watched.named("steady")
    talk(watched, names)
    talk(watched, names)  # The second time all is known that is to be remembered.
    before = settled(watched)
    for _ in range(ROUNDS):
        talk(watched, names)
        steady.hook("UserPromptSubmit", prompt="go on")
        steady.hook("Stop")
    after = settled(watched, before)
    unread = watched.row("SELECT count(*) FROM messages WHERE state IN ('queued', 'offered')")[0]
    assert after.pop(UNREAD) == unread, "mail that waits is kept, and nothing else"
    assert grown(before, after) == {}


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    """What holds more, but for what is bounded by a number, or let go at the next look."""
    return {
        path: (before.get(path, 0), size)
        for path, size in after.items()
        if size > before.get(path, 0) and not path.startswith(BOUNDED)
    }


def test_who_is_forgotten_is_forgotten_everywhere(watched: Place) -> None:
    """Sessions that were away too long, and then ended too long ago: after the upkeep nothing of them is left."""
    before = settled(watched)
    agents = [watched.named(f"other-{number}") for number in range(3)]
    for agent in agents[1:]:
        agent.tool("send_message", to="other-0", message=f"this is {agent.session}")
        agents[0].hook("UserPromptSubmit", prompt=agents[0].wait_inbox(f"this is {agent.session}")[1])
        agent.hook("UserPromptSubmit", prompt="go on")
        agent.hook("Stop")
        agent.hook("SessionStart", source="clear", session_id=f"{agent.session}-cleared")
    assert grown(before, settled(watched)), "else nothing could be forgotten"
    for agent in agents:
        agent.kill()
    count = "SELECT count(*) FROM peers WHERE state = ?"
    wait_for(lambda: watched.row(count, "away")[0] == len(agents), "they are away")
    os.kill(watched.pid(), signal.SIGUSR2)
    wait_for(lambda: not watched.rows("SELECT 1 FROM peers"), "they have ended, and are out of the database")
    os.kill(watched.pid(), signal.SIGUSR2)
    assert grown(before, settled(watched, before)) == {}
