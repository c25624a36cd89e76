"""An ordeal for the daemon: writers write, readers read, and it is killed, at random moments and at every named point.

What was lost or shown twice is counted from three things that the daemon has no part in: the files in which the writers
note what they were told is accepted, the database as SQLite shows it, and what came out at the readers.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from _soaks import raise_guards
from conftest import DAEMON, Place, is_daemon, running, wait_for
from coterie import client
from coterie.errors import Unavailable
from coterie.points import POINTS
from coterie.testing.agent import Agent

WRITERS = 3
WRITER = str(Path(__file__).with_name("daemon") / "writer.py")
FRAME = re.compile(r"^\[coterie message (m_[0-9a-z.]+) from ", re.MULTILINE)
KILLED = re.compile("the daemon (ended|was started|went away|took the|holds its|closes every|does not answer)")
AT_START = "migration-statement"
ELSEWHERE = {"copy-written", "restore-step", "outbox-stored", "envelope-sent", "arrival-stored"}
"""Points of backup and restore, and of what goes to other devices: no message between two sessions here comes by them.
Their own tests kill there."""
ON_THE_WAY = tuple(point for point in POINTS if point != AT_START and point not in ELSEWHERE)
EVERY_WAY = {"random", AT_START, *ON_THE_WAY}
VISITS = {"before-push": 2, "after-push": 2}
"""Up to which visit a point is armed. An inbox is written to at most three times a second."""
VISITS_OTHERWISE = 12
IN_VAIN = 200
"""Times that the writers write until a daemon comes to the point where it is to die, before the test gives up."""


class Recipient:
    """A session that reads: it notes every whole text that it was given, and when each was known to be shown."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.given: Counter[str] = Counter()
        self.again: list[str] = []
        """Texts that were given although they had been shown."""

    def _take(self, text: str, shown_before: set[str]) -> None:
        for message in FRAME.findall(text):
            self.given[message] += 1
            if message in shown_before:
                self.again.append(message)


class InboxReader(Recipient):
    """Its inbox brings the mail, and its hook tells of prompts; unless it `tells` which messages they hold, every
    offer stays open, and nothing may be posted again all the same.
    """

    def __init__(self, agent: Agent, place: Place, *, tells: bool) -> None:
        super().__init__(agent)
        self._place = place
        self._tells = tells
        self._client: client.Client | None = None
        self._read = 0
        self._shown: set[str] = set()

    def read(self) -> None:
        """Take in the lines that have come, and report them as prompts."""
        while self.agent.has_said():
            self.agent.wait(lambda event: True, "whatever comes")
        while self._read < len(self.agent.inbox):
            _, text = self.agent.inbox[self._read]
            self._read += 1
            self._take(text, self._shown)
            self._report(text)
            self._shown.update(FRAME.findall(text))

    def _report(self, text: str) -> None:
        """As its hook does at a prompt, again and again until a daemon took it in."""
        mentioned = FRAME.findall(text) if self._tells else []
        event = {"event": "prompt", "kind": "claude", "session": self.agent.session, "cwd": "/", "mentioned": mentioned}
        while True:
            try:
                self._client = self._client or self._place.connect("hook")
                self._client.call("session.event", event)
            except Unavailable:
                self._client = None
            else:
                return


class ToolReader(Recipient):
    """It has no inbox and no hooks: it looks for mail, and its next look shows that it was given the last."""

    def __init__(self, agent: Agent, place: Place, peer: str) -> None:
        super().__init__(agent)
        self._place = place
        self._peer = peer
        self._asked: int | None = None
        self._before: set[str] = set()
        self._shown: set[str] = set()
        self._looked_to = 0

    def read(self) -> None:
        """Take in the answer to the last look, and look again. It may take a daemon or two, so nobody waits for it."""
        if self._asked is not None:
            answer = self.agent.answer_to(self._asked)
            text = answer["result"]["content"][0]["text"]
            # A daemon killed while it starts is an error to whoever started it; its next look is as good as this one.
            assert not answer["result"]["isError"] or KILLED.search(text), answer
            self._take(text, self._before)
        self._before = self._place_shown()
        self._asked = self.agent.ask_tool("check_messages")

    def _place_shown(self) -> set[str]:
        """What the database says was shown. What lies before the first that was not needs no second look."""
        query = "SELECT seq, id, state FROM messages WHERE recipient = ? AND seq > ? ORDER BY seq"
        all_so_far = True
        for seq, message, state in self._place.rows(query, self._peer, self._looked_to):
            if state in ("shown", "acknowledged"):
                self._shown.add(message)
                self._looked_to = seq if all_so_far else self._looked_to
            else:
                all_so_far = False
        return set(self._shown)


class Ordeal:
    """Writers, readers, and the one who kills."""

    def __init__(self, place: Place, chance: random.Random) -> None:
        self.place = place
        self.chance = chance
        self.kills: Counter[str] = Counter()
        self.stderr = (place.root / "stderr").open("ab")
        self.readers: list[InboxReader | ToolReader] = []
        self.writers: list[subprocess.Popen[bytes]] = []
        self.leave = 0
        """How many messages the writers were given leave to send."""
        self._accepted: list[str] = []
        self._read_to = [0] * WRITERS

    # --- the cast -------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        place = self.place
        raise_guards(place.home.folder)  # They would soon refuse what writers write that nobody ever has a word with.
        recipients = []
        for name in ("ann", "bob", "cat"):
            agent = place.named(name, inbox=name != "cat")
            peer = place.row("SELECT id FROM peers WHERE name = ?", name)[0]
            recipients.append(peer)
            if name == "cat":
                self.readers.append(ToolReader(agent, place, peer))
            else:
                self.readers.append(InboxReader(agent, place, tells=name == "ann"))
        event = {"event": "start", "kind": "claude", "session": "asleep", "cwd": "/"}
        recipients.append(place.connect("hook").call("session.event", event)["peer"])
        for number in range(WRITERS):
            # Each below a shell of its own: sessions without an id are told apart by their parents.
            command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, WRITER]
            command += [str(self.accepted_file(number)), *recipients]
            self.writers.append(subprocess.Popen(command, env=place.environ, stdin=subprocess.PIPE))

    def accepted_file(self, number: int) -> Path:
        return self.place.root / f"accepted-{number}"

    def accepted(self) -> list[str]:
        """Every message that a writer was told is accepted."""
        for number in range(WRITERS):
            with contextlib.suppress(FileNotFoundError), self.accepted_file(number).open("rb") as file:
                file.seek(self._read_to[number])
                whole, end, _ = file.read().rpartition(b"\n")
                self._read_to[number] += len(whole) + len(end)
                self._accepted += whole.decode().split()
        return self._accepted

    def let_write(self, count: int) -> None:
        """Give each writer leave to send so many messages more."""
        for writer in self.writers:
            assert writer.stdin
            writer.stdin.write(b"." * count)
            writer.stdin.flush()
        self.leave += count * len(self.writers)

    def await_accepted(self, count: int, dead: Any = lambda: False) -> None:
        """Wait until so many messages were accepted, or something died."""

        def done() -> bool:
            assert all(writer.poll() is None for writer in self.writers), "a writer met an error that no kill explains"
            return len(self.accepted()) >= count or bool(dead())

        wait_for(done, f"{count} accepted")

    # --- the killing ----------------------------------------------------------------------------------------

    def kill(self, how: str) -> None:
        """Kill whoever serves."""
        pid = self.place.pid()
        if pid and is_daemon(pid):  # The lock may name one that is dead, or be empty for an instant.
            os.kill(pid, signal.SIGKILL)
            self.kills[how] += 1

    def kill_at_random(self) -> None:
        """Whoever serves is killed while the writers write; they start the next one."""
        count = self.chance.randint(1, 12)
        before = len(self.accepted())
        self.let_write(count)
        self.await_accepted(before + self.chance.randint(0, count * WRITERS))
        self.kill("random")
        self.await_accepted(self.leave)

    def kill_at(self, point: str) -> None:
        """A daemon that will die at a visit to `point` takes over, and the writers write until it has."""
        visit = self.chance.randint(1, VISITS.get(point, VISITS_OTHERWISE))
        armed = self.start_armed(f"{point}:{visit}")
        for _ in range(IN_VAIN):
            if armed.poll() is not None:
                break
            self.let_write(3)
            self.await_accepted(self.leave, lambda: armed.poll() is not None)
            self.read()
        assert armed.poll() is not None, f"no daemon came to {point}"
        assert armed.wait() == -signal.SIGKILL
        self.kills[point] += 1
        self.await_accepted(self.leave)

    def start_armed(self, crash_at: str) -> subprocess.Popen[bytes]:
        """Start a daemon in the place of the one that serves, before anybody else does."""
        return take_over(self.place, crash_at, lambda: self.kill("random"), self.stderr)

    # --- the reading ----------------------------------------------------------------------------------------

    def read(self) -> None:
        for reader in self.readers:
            reader.read()

    def finish(self) -> None:
        """No more kills: the writers end, and everybody reads all that is there."""
        for writer in self.writers:
            assert writer.stdin
            writer.stdin.close()
            assert writer.wait(20) == 0

        def all_read() -> bool:
            self.read()
            return sum(len(reader.given) for reader in self.readers) >= len(self.stored_for_readers())

        wait_for(all_read, "everybody has read everything")

    def stored_for_readers(self) -> list[str]:
        query = "SELECT messages.id FROM messages JOIN peers ON peers.id = recipient WHERE peers.name <> 'claude'"
        return [row[0] for row in self.place.rows(query)]


def take_over(place: Place, crash_at: str, kill: Callable[[], None], stderr: BinaryIO) -> subprocess.Popen[bytes]:
    """Have whoever serves killed, and start a daemon in its place that is to die at a point, before another starts."""
    lock = os.open(place.home.lock, os.O_RDWR)
    command = [*place.inside, *DAEMON, "--lock-fd", str(lock), "--crash-at", crash_at]
    try:
        while True:
            kill()
            deadline = time.monotonic() + 0.05
            while time.monotonic() < deadline:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return subprocess.Popen(command, env=place.environ, pass_fds=[lock], stderr=stderr)
    finally:
        os.close(lock)


def crash_while_the_database_is_made(place: Place, kills: Counter[str]) -> None:
    """The very first starts are killed too, between the statements of the schema."""
    for visit in (1, 4, 9):
        crashed = place.start("--crash-at", f"{AT_START}:{visit}")
        assert crashed.wait(20) == -signal.SIGKILL
        kills[AT_START] += 1


def endure(place: Place, kills: int, seed: int) -> Ordeal:
    """Kill so often, and let everybody read what there is. With `finish` it ends; what became of it is `judge`'s."""
    ordeal = Ordeal(place, random.Random(seed))
    crash_while_the_database_is_made(place, ordeal.kills)
    ordeal.set_up()
    try:
        points = itertools.cycle(ON_THE_WAY)
        while ordeal.kills.total() < kills:
            if ordeal.chance.random() < 0.5:
                ordeal.kill_at_random()
            else:
                ordeal.kill_at(next(points))
            ordeal.read()
        ordeal.finish()
    finally:
        ordeal.stderr.close()
        for writer in ordeal.writers:
            if writer.stdin:
                writer.stdin.close()
            writer.wait()
    return ordeal


def judge(ordeal: Ordeal) -> None:
    """Nothing that was accepted is lost, and nothing that was shown was given again."""
    place = ordeal.place
    accepted = ordeal.accepted()
    stored = [row[0] for row in place.rows("SELECT id FROM messages")]
    assert len(set(accepted)) == len(accepted) == ordeal.leave
    assert set(accepted) <= set(stored), "an accepted message is lost"
    assert len(set(stored)) == len(stored)
    assert place.row("PRAGMA integrity_check")[0] == "ok"

    again = {reader.agent.session: reader.again for reader in ordeal.readers if reader.again}
    assert again == {}, "what had been shown was given again"
    given = sum((reader.given for reader in ordeal.readers), Counter())
    assert set(given) == set(ordeal.stored_for_readers())
    assert {message for message, times in given.items() if times > 1} == set()
    assert "Traceback" not in (place.root / "stderr").read_text()
    assert running(place.pid())
