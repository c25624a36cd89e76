"""Traffic between two paired hosts, both ways at once: what was accepted there, and what came out here.

It is counted from what the daemons have no part in: the files in which the writers note what they were told is
accepted, and the lines that came through the inboxes of the readers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from _soaks import raise_guards
from conftest import is_daemon, wait_for
from hosts.host import Host
from ordeal import WRITER, InboxReader, take_over

HEALED_S = 30.0
"""Within so long of healing, everything that was accepted has arrived: what is promised."""
WRITTEN_S = 60.0


class Side:
    """One host: a writer that writes to the other host's reader, and a reader."""

    def __init__(self, host: Host, other: Host) -> None:
        self.host, self.other = host, other
        self.reader = InboxReader(host.named("reader"), host, tells=True)
        self.leave = 0
        self._accepted = Path(host.root, "accepted")
        self._writer: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start the writer, once the other's reader is known here."""
        agent = self.reader.agent
        to = f"reader@{self.other.label}"
        wait_for(lambda: to in agent.tool("list_peers", scope="network"), f"{to} is known on {self.host.label}")
        # It is written down a little later; a daemon that is killed before knows nobody until the link is back.
        wait_for(lambda: self.host.row("SELECT 1 FROM neighbours WHERE name = 'reader'"), f"{to} is written down")
        # Below a shell of its own: sessions without an id are told apart by their parents.
        command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, WRITER, str(self._accepted), to]
        self._writer = self.host.spawn_bytes(*command)

    def let_write(self, count: int) -> None:
        """Give the writer leave to send so many messages more."""
        assert self._writer
        assert self._writer.stdin
        self._writer.stdin.write(b"." * count)
        self._writer.stdin.flush()
        self.leave += count

    def accepted(self) -> list[str]:
        """Every message that the writer was told is accepted."""
        assert self._writer
        assert self._writer.poll() is None, "the writer met an error that no fault explains"
        text = self._accepted.read_text() if self._accepted.exists() else ""
        return text[: text.rfind("\n") + 1].split()

    def given(self) -> Counter[str]:
        """How often each message came out here."""
        self.reader.read()
        return self.reader.given


class Traffic:
    """Both sides of it."""

    def __init__(self, one: Host, other: Host) -> None:
        self.sides = (Side(one, other), Side(other, one))
        for side in self.sides:
            side.begin()

    @staticmethod
    def prepare(*hosts: Host, heartbeat_s: int = 1) -> None:
        """Configure hosts before their daemons start: guards that refuse nothing, a link that soon misses a beat."""
        for host in hosts:
            raise_guards(host.home.folder)
            with open(host.home.config, "a") as config:
                config.write(f'[relay]\nname = "{host.label}"\nheartbeat_interval_secs = {heartbeat_s}\n')
                config.write("reconnect_max_secs = 2\n")

    def write(self, count: int) -> None:
        """Have both sides send so many messages, and do not wait for anything."""
        for side in self.sides:
            side.let_write(count)

    def all_accepted(self) -> None:
        """Return once all that was to be sent was accepted."""
        for side in self.sides:
            wait_for(lambda: len(side.accepted()) == side.leave, "all is accepted", WRITTEN_S)  # noqa: B023

    def missing(self) -> int:
        """How many messages were accepted and did not come out yet."""
        one, other = self.sides
        return sum(
            len(set(sender.accepted()) - set(receiver.given())) for sender, receiver in ((one, other), (other, one))
        )

    def arrived(self, within: float = HEALED_S) -> float:
        """Return once everything that was accepted came out; how many seconds it took."""
        begun = time.monotonic()
        self.all_accepted()
        try:
            wait_for(lambda: not self.missing(), "all comes out", within)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None
        return time.monotonic() - begun

    def told(self) -> str:
        """Where the messages are that did not come out, as each side's store has them."""
        query = "SELECT state, reason, count(*) FROM messages WHERE id IN ({}) GROUP BY 1, 2"
        lines = []
        for sender, receiver in (self.sides, self.sides[::-1]):
            missing = sorted(set(sender.accepted()) - set(receiver.given()))
            for side in (sender, receiver):
                found = side.host.rows(query.format(", ".join("?" * len(missing))), *missing)
                lines.append(f"{len(missing)} of {sender.host.label}, on {side.host.label}: {found}")
        return "\n".join(lines)

    def judge(self) -> None:
        """Everything came once, and in the order in which it was sent."""
        one, other = self.sides
        for sender, receiver in ((one, other), (other, one)):
            accepted = sender.accepted()
            assert len(accepted) == len(set(accepted)) == sender.leave
            given = receiver.given()
            assert set(given) == set(accepted)
            assert {message: times for message, times in given.items() if times > 1} == {}
            assert receiver.reader.again == []
            stored = [row[0] for row in receiver.host.rows("SELECT id FROM messages ORDER BY seq")]
            assert [message for message in stored if message in given] == accepted

    def arm(self, side: int, crash_at: str) -> subprocess.Popen[bytes]:
        """Have the daemon of one side replaced by one that dies at a point."""
        host = self.sides[side].host
        with open(os.devnull, "wb") as nowhere:
            armed = take_over(host, crash_at, lambda: self.kill(side, signal.SIGKILL), nowhere)
        host.daemons.append(armed)
        return armed

    def kill(self, side: int, number: int) -> None:
        """Send a signal to the daemon of one side, if one serves."""
        pid = self.sides[side].host.pid()
        if pid and is_daemon(pid):
            os.kill(pid, number)
