"""A crowd of strangers, as a process of its own: so many connections at once to one place, and a new one for each that
is closed. They send a byte now and then, or nothing. Once all have come, it says so on stdout.

    python flood.py HOST PORT COUNT dribble|silent SOURCE...
"""

from __future__ import annotations

import errno
import itertools
import selectors
import socket
import sys
import time

BYTES = b"\x16\x03\x01\x02\x00" + bytes(512)
"""How a TLS record begins."""
DRIP_S = 0.5
AGAIN_S = 0.2


def main(host: str, port: int, count: int, dribble: bool, sources: list[str]) -> None:
    poll = selectors.DefaultSelector()
    whence = itertools.cycle(sources)
    made = 0
    sent: dict[socket.socket, int] = {}
    due: list[float] = [0.0] * count
    dripped = time.monotonic()
    while True:
        now = time.monotonic()
        while due and due[0] <= now:
            due.pop(0)
            one = socket.socket()
            one.setblocking(False)
            one.bind((next(whence), 0))
            one.connect_ex((host, port))
            poll.register(one, selectors.EVENT_READ)
            sent[one] = 0
            made += 1
            if made == count:
                print("all have come", flush=True)
        for key, _ in poll.select(0.02):
            one = key.fileobj
            assert isinstance(one, socket.socket)
            try:
                over = one.recv(4096) == b""
            except OSError as error:
                over = error.errno != errno.EAGAIN
            if over:
                poll.unregister(one)
                one.close()
                del sent[one]
                due.append(now + AGAIN_S)
        if dribble and now - dripped > DRIP_S:
            dripped = now
            for one, at in list(sent.items()):
                try:
                    sent[one] += one.send(BYTES[at : at + 1])
                except OSError:
                    continue


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "dribble", sys.argv[5:])
