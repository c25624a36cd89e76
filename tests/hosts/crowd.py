"""Strangers at a door: many connections, each of which comes back as soon as it is turned away.

usage: python crowd.py ADDRESS COUNT silent|dribble SECONDS SOURCES

They come from SOURCES addresses of this host (10.77.N.k, k as in its first). Who dribbles sends a byte of a TLS hello
now and then. When the time is over, or stdin ends, it prints how many connections there were, and all that was said to
them, as hexadecimal.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import subprocess
import sys
import time

PORT = 9847
AGAIN = 25
"""Connections that come back at once; so the wire is not what is tested."""
TICK_S = 0.02
SAID_MAX = 100_000
HELLO = bytes.fromhex("16030100a5010000a10303") + os.urandom(32)


class Crowd:
    """All of them."""

    def __init__(self, where: str, sources: int) -> None:
        self.where, self.sources = where, sources
        found = subprocess.run(["ip", "-br", "addr", "show", "wire"], capture_output=True, text=True, check=True)
        self.number = found.stdout.split("10.77.0.")[1].split("/")[0]
        self.opened = 0
        self.said = b""
        self.waiting: dict[int, list[socket.socket | int]] = {}
        self.poll = select.epoll()

    def come(self) -> None:
        """One more connects."""
        stranger = socket.socket()
        stranger.setblocking(False)
        stranger.bind((f"10.77.{self.opened % self.sources}.{self.number}", 0))
        with contextlib.suppress(BlockingIOError):
            stranger.connect((self.where, PORT))
        self.waiting[stranger.fileno()] = [stranger, 0]
        self.poll.register(stranger, select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR)
        self.opened += 1

    def leave(self) -> None:
        """Those who were turned away leave."""
        for descriptor, _ in self.poll.poll(TICK_S):
            stranger = self.waiting.pop(descriptor)[0]
            assert isinstance(stranger, socket.socket)
            with contextlib.suppress(OSError):
                self.said = (self.said + stranger.recv(65_536))[:SAID_MAX]
            stranger.close()

    def dribble(self) -> None:
        """Each says one byte more."""
        for pair in self.waiting.values():
            stranger, sent = pair
            assert isinstance(stranger, socket.socket)
            assert isinstance(sent, int)
            with contextlib.suppress(OSError):
                pair[1] = sent + stranger.send(HELLO[sent : sent + 1])


def main(where: str, count: str, how: str, seconds: str, sources: str) -> None:
    """Press until it is over."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    crowd, end = Crowd(where, int(sources)), time.monotonic() + float(seconds)
    print("ready", flush=True)
    while time.monotonic() < end and not select.select([0], [], [], 0)[0]:
        for _ in range(min(int(count) - len(crowd.waiting), AGAIN if crowd.opened else int(count))):
            crowd.come()
        time.sleep(TICK_S)
        crowd.leave()
        if how == "dribble":
            crowd.dribble()
    print(crowd.opened, crowd.said.hex(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
