"""Durable sends as fast as the daemon takes them: many connections of one process, each with some sends in flight."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sqlite3
import time

from _parts import Place, place
from _soaks import raise_guards
from coterie import client, ids
from coterie.jsonline import encode
from coterie.limits import CALL_S

CONNECTIONS = 16
BODY = "x" * 500
RECEIVE_BYTES = 1 << 16
CALM_S = 0.3
"""After the connections are made, and before the clock starts."""


def durable_sends(in_flight: int, each: int) -> float:
    """Sends a second over 16 connections that each keep `in_flight` under way, until each has sent `each`.

    A send counts when its answer has come, which is after its row is on the disk; that all of them are there is
    checked. The recipients are sessions without an adapter, so that only accepting and storing is measured, with guards
    that look at each send and refuse none.
    """
    with place("coterie-bench-") as here:
        raise_guards(here.home.folder)
        senders = [client.connect("adapter", at=here.home) for _ in range(CONNECTIONS)]
        here.daemon()
        recipients = []
        for number, sender in enumerate(senders):
            sender.call("peers.register", {"kind": "other", "cwd": here.root})
            session = {"event": "start", "kind": "claude", "session": f"s{number}", "cwd": here.root}
            recipients.append(sender.call("session.event", session)["peer"])
        recipients.append(recipients.pop(0))
        lines = [[send_line(recipient, number) for number in range(each)] for recipient in recipients]
        time.sleep(CALM_S)
        for sender in senders:
            drain(sender.connection)
        took = exchange([sender.connection for sender in senders], lines, in_flight)
        for sender in senders:
            sender.close()
        _check(here, CONNECTIONS * each)
        here.end_daemon(signal.SIGTERM)
    return CONNECTIONS * each / took


def send_line(recipient: str, number: int) -> bytes:
    """The line that sends a message."""
    params = {"id": ids.new_message_id(), "to": recipient, "text": f"{number} {BODY}"}
    return encode({"jsonrpc": "2.0", "id": number, "method": "messages.send", "params": params})


def drain(connection: socket.socket) -> None:
    """Read what is no answer: to the daemon, all connections are adapters of one session, each told of the next."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        connection.recv(RECEIVE_BYTES)


def exchange(connections: list[socket.socket], lines: list[list[bytes]], in_flight: int) -> float:
    """Send each connection's lines, so many at once, and return once all are answered; the seconds that it took."""
    selector = selectors.DefaultSelector()
    for number, connection in enumerate(connections):
        connection.settimeout(CALL_S)
        selector.register(connection, selectors.EVENT_READ, number)
    begun = time.monotonic()
    for connection, waiting in zip(connections, lines, strict=True):
        connection.sendall(b"".join(waiting[:in_flight]))
        del waiting[:in_flight]
    left = {number: in_flight + len(waiting) for number, waiting in enumerate(lines)}
    while left:
        ready = selector.select(CALL_S)
        if not ready:
            raise RuntimeError("the daemon does not answer")
        for key, _ in ready:
            data = connections[key.data].recv(RECEIVE_BYTES)
            if not data or b'"error"' in data:
                raise RuntimeError(f"a send failed: {data[:300]!r}")
            answered = data.count(b"\n")
            waiting = lines[key.data]
            if waiting:
                connections[key.data].sendall(b"".join(waiting[:answered]))
                del waiting[:answered]
            left[key.data] -= answered
            if not left[key.data]:
                del left[key.data]
                selector.unregister(connections[key.data])
    return time.monotonic() - begun


def _check(here: Place, expected: int) -> None:
    with contextlib.closing(sqlite3.connect(f"file:{here.home.database}?mode=ro", uri=True)) as books:
        stored = books.execute("SELECT count(*) FROM messages").fetchone()[0]
    if stored != expected:
        raise RuntimeError(f"{expected} sends were answered and {stored} are stored")


def disk(folder: str, rounds: int, pause_s: float = 0.0) -> list[float]:
    """Milliseconds for writing 4 KiB to the end of a file and fsync, in `folder`, with a pause before each."""
    path = os.path.join(folder, "fsync")
    took = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for _ in range(rounds):
            time.sleep(pause_s)
            begun = time.monotonic_ns()
            os.write(descriptor, bytes(4096))
            os.fsync(descriptor)
            took.append((time.monotonic_ns() - begun) / 1e6)
    finally:
        os.close(descriptor)
        os.unlink(path)
    return took
