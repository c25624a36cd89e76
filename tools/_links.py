"""Devices on this machine, paired over its loopback: how long pairing, a link and a message take, and what they cost.

Run as ``python _links.py echo FOLDER`` it is the other side of an echo over TLS, as plain as it can be: what links are
measured beside.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from _crowd import BODY, CALM_S
from _load import drain, exchange, send_line
from _parts import SCRIPTS, Place, memory, place
from _soaks import raise_guards
from coterie import client
from coterie.limits import INBOX_GAP_S
from coterie.net.identity import load_or_make
from coterie.net.tls import client_context, server_context

COMMAND = os.path.join(SCRIPTS, "coterie")
CODE = r"\b(?:[A-Z2-7]{3}-){4}[A-Z2-7]{3}\b"
CONNECT = """
import sys, time
from coterie.client import connect
daemon = connect("cli")
begun = time.monotonic()
card = daemon.call("relay.connect", {"to": sys.argv[1], "i_am_human": True})
print((time.monotonic() - begun) * 1e3)
assert card["connected"], card
"""
WAIT_S = 60.0
LOOK_S = 0.002
HEARTBEAT_S = 1
CATCH_UP_S = 300.0
IN_FLIGHT = 8
HANDSHAKES = 30
LINE = (BODY + "\n").encode()


@dataclass(frozen=True)
class Echo:
    """A line over a TLS connection, in milliseconds."""

    there: list[float]
    """Until it was read on the other side."""
    back: list[float]
    """Until the answer was."""
    handshake: list[float]
    """Until TLS was done on a new connection, its server waiting for it."""


def echo(rounds: int) -> Echo:
    """Measure a plain echo over TLS 1.3 with certificates on both sides, between two processes."""
    with place("coterie-bench-") as here:
        ours, theirs = (load_or_make(os.path.join(here.root, name)) for name in ("client", "server"))
        context = client_context(ours, theirs.certificate_der)
        command = [sys.executable, os.path.abspath(__file__), "echo", here.root]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=here.environ) as server:
            assert server.stdout
            port = int(server.stdout.readline())
            greeted = [_greeting(context, port) for _ in range(HANDSHAKES)]
            with _connect(context, port) as connection:
                took = [_one_echo(connection) for _ in range(rounds)]
                connection.sendall(b"end\n")
    return Echo([there for there, _ in took], [back for _, back in took], greeted)


def _connect(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw)


def _greeting(context: ssl.SSLContext, port: int) -> float:
    begun = time.monotonic_ns()
    with _connect(context, port) as connection:
        _one_echo(connection)  # Only what it answers shows that the server has taken our certificate.
        return (time.monotonic_ns() - begun) / 1e6


def _one_echo(connection: socket.socket) -> tuple[float, float]:
    begun = time.monotonic_ns()
    connection.sendall(LINE)
    read_at = int(connection.recv(100))
    return (read_at - begun) / 1e6, (time.monotonic_ns() - begun) / 1e6


def serve_echo(folder: str) -> None:
    """The other side: answers each line with the time at which it was read, until one says that it is the end."""
    ours, theirs = (load_or_make(os.path.join(folder, name)) for name in ("server", "client"))
    context = server_context(ours, [theirs.certificate_der])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while _answer_all(context, listener.accept()[0]):
            pass


def _answer_all(context: ssl.SSLContext, raw: socket.socket) -> bool:
    """Answer the lines of one connection. False if the last one was the end of all."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    said = b""
    with context.wrap_socket(raw, server_side=True) as connection:
        while more := connection.recv(65_536):
            said += more
            if said == b"end\n":
                return False
            if said.endswith(b"\n"):
                connection.sendall(b"%d" % time.monotonic_ns())
                said = b""
    return True


# --- devices ------------------------------------------------------------------------------------------------------


class Given:
    """A command that a person gives: the child of the first process, as below an agent it would be refused."""

    def __init__(self, here: Place, *command: str) -> None:
        self._said = os.path.join(here.root, f"given-{time.monotonic_ns()}")
        script = '"$@" >"$0" 2>&1; echo "status $?" >>"$0"'
        detached = ["setsid", "--fork", "/bin/sh", "-c", script, self._said, *command]
        subprocess.run(detached, env=here.environ, stdin=subprocess.DEVNULL, check=True)

    def wait_for(self, pattern: str) -> str:
        """What it says that matches. Raises RuntimeError if it ends without."""

        def look() -> str:
            said = self.said()
            found = re.search(pattern, said)
            if found:
                return found[0]
            if "\nstatus " in f"\n{said}":
                raise RuntimeError(f"no {pattern!r} in: {said}")
            return ""

        return str(wait_until(look, pattern))

    def said(self) -> str:
        """What it said so far."""
        try:
            with open(self._said) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def ok(self) -> str:
        """What it said, once it has ended well. Raises RuntimeError if it did not."""
        self.wait_for(r"(?m)^status 0$")
        return self.said()


def typed(device: Device, *arguments: str) -> Given:
    """Give a command of ours."""
    return Given(device.here, COMMAND, *arguments, "--i-am-human")


def wait_until(probe: Callable[[], Any], what: str, timeout: float = WAIT_S) -> Any:
    """The first true value of `probe`. Raises RuntimeError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {timeout:g} s: {what}")
        time.sleep(LOOK_S)
    return value


class Device:
    """A home with a relay of its own, on this machine's loopback."""

    def __init__(self, here: Place, name: str) -> None:
        self.here, self.name = here, name
        self.port = free_port()
        raise_guards(here.home.folder)
        with open(here.home.config, "a") as config:
            config.write(f'[relay]\nname = "{name}"\nlisten_addr = "127.0.0.1"\nlisten_port = {self.port}\n')
            config.write(f"heartbeat_interval_secs = {HEARTBEAT_S}\nreconnect_max_secs = 1\n")
        self._client: client.Client | None = None

    def call(self, method: str, **params: Any) -> Any:
        """Call a method that anybody may."""
        if self._client is None:
            self._client = client.connect("hook", at=self.here.home)
        return self._client.call(method, params)

    def connected(self) -> int:
        """How many links it has."""
        return sum(bool(card["connected"]) for card in self.call("relay.peers")["devices"])

    def wait_connected(self, links: int) -> float:
        """Return once it has so many links; when that was."""
        wait_until(lambda: self.connected() == links, f"{self.name} has {links} links")
        return time.monotonic()

    def stored(self) -> int:
        """How many messages are in its store."""
        store = sqlite3.connect(f"file:{self.here.home.database}?mode=ro", uri=True)
        with contextlib.closing(store):
            return int(store.execute("SELECT count(*) FROM messages").fetchone()[0])

    def lose(self) -> None:
        """Forget the connection to a daemon that ends."""
        if self._client:
            self._client.close()
        self._client = None


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def devices(*names: str) -> Iterator[list[Device]]:
    """Devices that are gone afterwards, whatever happens."""
    with contextlib.ExitStack() as stack:
        made = [Device(stack.enter_context(place("coterie-bench-")), name) for name in names]
        for device in made:
            stack.callback(device.lose)
        yield made


def pair(one: Device, other: Device) -> float:
    """Pair two devices. Milliseconds from the moment at which the joiner has typed until its screen says that both are
    connected, its program's start included.
    """
    inviting = typed(one, "relay", "invite", "--addr", f"127.0.0.1:{one.port}")
    code = inviting.wait_for(CODE)
    begun = time.monotonic()
    joining = typed(other, "relay", "join", code)
    joining.ok()
    took = (time.monotonic() - begun) * 1e3
    inviting.ok()
    for device in (one, other):
        device.here.daemon()
    return took


# --- what is measured -----------------------------------------------------------------------------------------------


@dataclass
class Figures:
    """What was measured of links."""

    pairing_ms: list[float]
    """From Enter on the joining side until its screen says that both are connected."""
    link_ms: list[float]
    """From the word to connect until both have proved who they are."""
    message_ms: list[float]
    """From the tool call on one device to the bytes on the inbox of a session on the other."""
    echo: Echo
    per_second: float
    """Messages over one link: accepted on one device, on the disk of the other."""
    killed_ms: float
    """Until a device is known to be gone whose daemon was killed."""
    silent_ms: float
    """The same of one that went silent."""
    catch_up_s: float
    link_kib: float
    """What a link costs the daemon's memory."""


def measure(rounds: int, sends: int, queued: int, links: int) -> Figures:
    """Measure everything."""
    pairings, link_ms = [], []
    for _ in range(rounds):
        with devices("left", "right") as (left, right):
            pairings.append(pair(left, right))
            link_ms.append(connect_again(left, right))
    plain = echo(sends)
    with devices("left", "right") as (left, right):
        pair(left, right)
        message_ms = Messages(left, right).delays(sends)
        per_second = throughput(left, right, queued)
        catch_up_s = catch_up(left, right, queued)
        silent_ms, killed_ms = go_silent(left, right), be_killed(left, right)
    kib = each_link(links)
    return Figures(pairings, link_ms, message_ms, plain, per_second, killed_ms, silent_ms, catch_up_s, kib)


def connect_again(left: Device, right: Device) -> float:
    """Milliseconds that a link takes between two devices that know each other, as the daemon is told to connect."""
    typed(right, "relay", "disconnect", left.name).ok()
    for device in (left, right):
        device.wait_connected(0)
    took = Given(right.here, sys.executable, "-P", "-c", CONNECT, left.name).ok()
    for device in (left, right):
        device.wait_connected(1)
    return float(took.split()[0])


class Messages:
    """A session on each of two devices, of which one writes to the other."""

    def __init__(self, left: Device, right: Device) -> None:
        self._agents = []
        for device, name in ((left, "writer"), (right, "reader")):
            agent = device.here.agent(f"session-{name}")
            agent.initialize()
            agent.tool("set_summary", name=name)
            self._agents.append(agent)
        self._to = f"reader@{right.name}"
        self._hooks = client.connect("hook", at=right.here.home)
        writer = self._agents[0]
        wait_until(lambda: self._to in writer.tool("list_peers", scope="network"), f"{self._to} is known")

    def delays(self, count: int) -> list[float]:
        """Milliseconds from the tool call to the bytes on the inbox, one message after another."""
        found = [self._one(number) for number in range(count)]
        self._hooks.close()
        return found

    def _one(self, number: int) -> float:
        writer, reader = self._agents
        time.sleep(INBOX_GAP_S)  # Lines to one inbox are kept apart on purpose.
        mark = f"message {number}."
        call = writer.ask_tool("send_message", to=self._to, message=mark + BODY)
        arrived, text = reader.wait_inbox(mark)
        writer.answer_to(call)
        reader.inbox.clear()
        event = {"event": "prompt", "kind": "claude", "session": "session-reader", "prompt": text, "cwd": "/"}
        self._hooks.call("session.event", event)
        return (arrived - writer.times[call][0]) / 1e6


def sleeper(device: Device, name: str) -> None:
    """A session without an adapter, called after its folder and its kind: mail for it is stored and goes nowhere."""
    folder = os.path.join(device.here.root, name)
    os.mkdir(folder)
    device.call("session.event", event="start", kind="claude", session=name, cwd=folder)


def known(left: Device, right: Device, name: str) -> None:
    """Return once a session of the one device is known to the other."""
    wait_until(lambda: f'"{name}-claude"' in json.dumps(left.call("peers.list", scope="network")), f"{name} is known")


def send_many(left: Device, right: Device, name: str, count: int) -> None:
    """Have `count` messages accepted on one device for a session of the other, one connection, many in flight."""
    sender = client.connect("adapter", at=left.here.home)
    sender.call("peers.register", {"kind": "other", "cwd": left.here.root})
    known(left, right, name)
    drain(sender.connection)
    exchange(
        [sender.connection], [[send_line(f"{name}-claude@{right.name}", number) for number in range(count)]], IN_FLIGHT
    )
    sender.close()


def throughput(left: Device, right: Device, count: int) -> float:
    """Messages a second that come over one link, from the first send to the last on the other disk."""
    sleeper(right, "flooded")
    before, begun = right.stored(), time.monotonic()
    send_many(left, right, "flooded", count)
    wait_until(lambda: right.stored() >= before + count, f"{count} messages come", CATCH_UP_S)
    return count / (time.monotonic() - begun)


def catch_up(left: Device, right: Device, count: int) -> float:
    """Seconds from the link that is back until all that waited is on the other disk."""
    sleeper(right, "behind")
    known(left, right, "behind")
    pid = right.here.daemon()
    right.lose()
    os.kill(pid, signal.SIGSTOP)
    left.wait_connected(0)
    before = right.stored()
    send_many(left, right, "behind", count)
    begun = time.monotonic()
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: right.stored() >= before + count, f"{count} messages come", CATCH_UP_S)
    return time.monotonic() - begun


def go_silent(left: Device, right: Device) -> float:
    """Milliseconds until a device is known to be gone that says nothing any more, and does not hang up."""
    for device in (left, right):
        device.wait_connected(1)
    pid = right.here.daemon()
    right.lose()
    begun = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    gone = left.wait_connected(0)
    os.kill(pid, signal.SIGCONT)
    left.wait_connected(1)
    return (gone - begun) * 1e3


def be_killed(left: Device, right: Device) -> float:
    """Milliseconds until a device is known to be gone whose daemon was killed."""
    left.wait_connected(1)
    pid = right.here.daemon()
    right.lose()
    begun = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return (left.wait_connected(0) - begun) * 1e3


def each_link(count: int) -> float:
    """KiB of the daemon's memory for each further link."""
    names = [f"d{number}" for number in range(count + 1)]
    with devices(*names) as (hub, first, *others):
        pair(hub, first)
        before = settled_memory(hub)
        for other in others:
            pair(hub, other)
        hub.wait_connected(count)
        return (settled_memory(hub) - before) * 1024 / len(others)


def settled_memory(device: Device) -> float:
    """Resident MiB of a device's daemon, a little after the last thing that happened."""
    time.sleep(CALM_S)
    return memory(device.here.daemon())[0]


if __name__ == "__main__":
    serve_echo(sys.argv[2])
