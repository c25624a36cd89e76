"""A disk that is really full: sends are refused and never lie, all else is served, and room is all it takes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Place, must_have, running, wait_for
from coterie import ids
from coterie.client import Client
from coterie.errors import CoterieError, DiskFull
from coterie.limits import START_S
from wire import Raw, kind, request

SIZE = "1m"
ANSWER_S = 1.0
"""Nobody waits longer than this, whatever the disk does."""


@pytest.fixture
def small(place: Place, as_root: None) -> Iterator[Place]:
    """A home on a file system of its own, with room for little."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", place.home.folder]
    must_have(subprocess.run(mount, check=False, capture_output=True).returncode == 0, "the right to mount")
    try:
        yield place
    finally:
        for agent in place.agents:
            agent.close()
        pid = place.pid()
        if pid and running(pid):
            place.kill()
        # Lazily: a daemon that died a moment ago may still be letting go of it.
        subprocess.run(["umount", "-l", place.home.folder], check=True)


@pytest.fixture
def ballast(small: Place) -> Path:
    """The file that fills the rest."""
    return Path(small.home.folder, "ballast")


def fill(ballast: Path) -> None:
    """Take every byte that is left."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def timed(call: Callable[[], Any], within_s: float = ANSWER_S) -> Any:
    """What a call comes to, its error included; it must come in time."""
    began = time.monotonic()
    try:
        return call()
    except CoterieError as error:
        return error
    finally:
        assert time.monotonic() - began < within_s


def started(place: Place) -> Any:
    """A connection for which a daemon is started, or why there is none. A start takes a machine's time besides."""
    return timed(lambda: place.connect("cli"), ANSWER_S + START_S)


class Writer:
    """A session that sends, and knows which of its messages were accepted."""

    def __init__(self, place: Place) -> None:
        # Started as in life, with its log in the home: what cannot be logged must not hurt either.
        self.client: Client = place.connect("adapter")
        self.client.call("peers.register", {"kind": "other", "cwd": "/"})
        event = {"event": "start", "kind": "claude", "session": "reader", "cwd": "/"}
        self.recipient = self.client.call("session.event", event)["peer"]
        self.accepted: list[str] = []
        self.refused: list[str] = []

    def send(self, message: str | None = None) -> CoterieError | None:
        """Send a message (or one again); returns the refusal."""
        message = message or ids.new_message_id()
        params = {"id": message, "to": self.recipient, "text": "y" * 3000}
        answer = timed(lambda: self.client.call("messages.send", params))
        if isinstance(answer, CoterieError):
            self.refused.append(message)
            return answer
        self.accepted.append(message)
        return None

    def stored(self) -> list[str]:
        """The ids in the database, by way of the daemon's own log."""
        rows = self.client.call("messages.log", {"limit": 200})["messages"]
        return [row["id"] for row in rows]


@pytest.mark.promise("D2")
def test_refused_while_it_is_full_and_served_again_when_there_is_room(small: Place, ballast: Path) -> None:
    writer = Writer(small)
    assert writer.send() is None
    fill(ballast)
    # The end of the WAL may still have room for a message or two.
    errors = [writer.send() for _ in range(40)]
    assert len(writer.refused) >= 30
    assert {type(error) for error in errors if error} == {DiskFull}
    assert all(error.hint == "make room, and send it again" for error in errors if error)
    assert writer.stored() == writer.accepted

    ballast.unlink()
    again = writer.refused[0]
    began = time.monotonic()
    while writer.send(again):
        assert time.monotonic() - began < ANSWER_S, "it must work within a second of there being room"
    assert writer.stored() == writer.accepted
    assert writer.client.call("daemon.status")["trouble"] is None


def test_reads_are_served_and_the_status_says_what_is_wrong(small: Place, ballast: Path) -> None:
    writer = Writer(small)
    writer.send()
    fill(ballast)
    while not writer.send():
        pass
    status = timed(lambda: writer.client.call("daemon.status"))
    assert "disk" in status["trouble"]["message"]
    assert "make room" in status["trouble"]["hint"]
    assert status["messages"] == {"queued": len(writer.accepted)}
    peers = timed(lambda: writer.client.call("peers.list"))
    assert [peer["id"] for peer in peers["peers"]] == [writer.recipient]
    assert timed(writer.stored) == writer.accepted
    text = timed(lambda: writer.client.call("messages.read", {"message": writer.accepted[0], "call": "c"}))
    assert "y" * 3000 in text["frame"]


def test_a_refused_batch_refuses_no_neighbour_that_fits(small: Place, ballast: Path) -> None:
    """Many at once: whatever is accepted is stored, and the rest is refused one by one."""
    writer = Writer(small)
    fill(ballast)
    os.truncate(ballast, ballast.stat().st_size - 100_000)
    messages = {number: ids.new_message_id() for number in range(1001, 1065)}
    with Raw(small.home.socket) as raw:
        raw.greet()
        raw.call("peers.register", kind="other", cwd="/")
        sends = [
            request(n, "messages.send", id=message, to=writer.recipient, text=f"{n} " + "y" * 3000)
            for n, message in messages.items()
        ]
        raw.send(b"".join(sends))
        answers = raw.answers(len(messages))
    accepted = {messages[answer["id"]] for answer in answers if "result" in answer}
    refused = {kind(answer) for answer in answers if "error" in answer}
    assert 0 < len(accepted) < len(messages)
    assert refused == {"disk-full"}
    assert {row[0] for row in small.rows("SELECT id FROM messages")} == accepted


def test_who_comes_while_it_is_full_gets_an_answer(small: Place, ballast: Path) -> None:
    writer = Writer(small)
    fill(ballast)
    while not writer.send():
        pass
    newcomer = timed(lambda: small.connect("cli"))
    assert isinstance(newcomer, Client)
    assert isinstance(timed(lambda: newcomer.call("peers.register", {"kind": "other", "cwd": "/"})), DiskFull)
    assert timed(lambda: newcomer.call("daemon.status"))["trouble"]
    agent = small.agent("session-late")
    assert "the disk took no more" in agent.tool("send_message", to=writer.recipient, message="hello")
    ballast.unlink()
    accepted = agent.tool("send_message", to=writer.recipient, message="hello").split()[0]
    assert small.state(accepted) == "queued"


@pytest.mark.promise("D2")
def test_what_was_accepted_before_survives_a_kill_on_a_full_disk(small: Place, ballast: Path) -> None:
    writer = Writer(small)
    fill(ballast)
    while not writer.send():
        pass
    small.kill()
    heir = started(small)
    assert isinstance(heir, Client)
    assert heir.call("daemon.status")["messages"].get("queued", 0) == len(writer.accepted)
    ballast.unlink()
    assert {row[0] for row in small.rows("SELECT id FROM messages")} == set(writer.accepted)
    assert small.row("PRAGMA integrity_check")[0] == "ok"


def test_a_first_start_on_a_full_disk_says_so(small: Place, ballast: Path) -> None:
    fill(ballast)
    error = started(small)
    assert isinstance(error, DiskFull), error
    ballast.unlink()
    assert isinstance(started(small), Client)


def test_a_disk_without_room_for_a_single_file_is_told_like_any_other(small: Place) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=1", small.home.folder], check=True)
    assert isinstance(started(small), DiskFull)


@pytest.mark.promise("D2")
def test_after_it_was_full_all_ends_well(small: Place, ballast: Path) -> None:
    writer = Writer(small)
    fill(ballast)
    while not writer.send():
        pass
    pid = small.pid()
    writer.client.call("daemon.retire")
    wait_for(lambda: not running(pid), "it can leave while the disk is full")
