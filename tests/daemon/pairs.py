"""Two devices on one machine: two homes, each with a daemon, joined by real links over loopback."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from conftest import Place, wait_for
from coterie.client import Client
from coterie.jsonline import decode, encode

PERSON = """
from coterie.daemon import callers, processes
callers.identify = lambda pid, roster: callers.Caller(human=True, peer=None)
"""
"""A daemon to which every caller that is no session is a person: a test may run below an agent."""
QUICK = """
import coterie.links as links, coterie.daemon.pairings as pairings
links.RECONNECT_FIRST_S = 0.05
pairings.MEET_S = 10.0
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configure(place: Place, **values: Any) -> None:
    """Write the person's file: relay_name="a" is relay.name = "a"."""
    tables: dict[str, str] = {}
    for name, value in values.items():
        table, _, key = name.partition("_")
        tables[table] = tables.get(table, f"[{table}]\n") + f"{key} = {json.dumps(value)}\n"
    path = Path(place.home.config)
    path.touch(0o600)
    path.write_text("".join(tables.values()))


class Terminal:
    """A person's connection, which keeps what it is told of a pairing."""

    def __init__(self, place: Place) -> None:
        self.client: Client = place.connect("cli")
        self.stages: list[dict[str, Any]] = []
        self._last = 1000

    def call(self, method: str, **params: Any) -> Any:
        """Call a method as a person; what is told meanwhile is kept. Raises what the daemon answers."""
        self.begin(method, **params)
        return self.answer()

    def begin(self, method: str, **params: Any) -> None:
        """Call a method as a person, and wait for nothing."""
        self._last += 1
        request = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": {**params, "i_am_human": True}}
        self.client.connection.settimeout(30)
        self.client.connection.sendall(encode(request))

    def answer(self) -> Any:
        """The answer to the last call. Raises what the daemon answers."""
        from coterie.errors import from_wire

        self.client.connection.settimeout(30)
        while True:
            for message in self._read():
                if message.get("id") == self._last:
                    if "error" in message:
                        raise from_wire(message["error"])
                    return message["result"]

    def _read(self) -> list[dict[str, Any]]:
        answers = []
        data = self.client.connection.recv(65_536)
        assert data, "the daemon closed the connection"
        for line in self.client.reader.feed(data):
            assert isinstance(line, bytes)
            message = decode(line)
            assert isinstance(message, dict)
            if message.get("method") == "pairing":
                self.stages.append(message["params"])
            else:
                answers.append(message)
        return answers

    def until(self, stage: str) -> dict[str, Any]:
        """Read on until this stage was told."""
        self.client.connection.settimeout(30)
        while not any(told["stage"] == stage for told in self.stages):
            self._read()
        return next(told for told in self.stages if told["stage"] == stage)

    def close(self) -> None:
        """The terminal is closed."""
        self.client.close()


class Computer:
    """One of the devices."""

    def __init__(self, place: Place, name: str, patch: str = "", early: str = "", **settings: Any) -> None:
        """`patch` is Python that its daemon runs first, and `early` before that."""
        self.place = place
        self.name = name
        self.port = free_port()
        self.settings = {"relay_name": name, "relay_listen_addr": "127.0.0.1", "relay_listen_port": self.port}
        self.settings.update(settings)
        self.patch = early + PERSON + QUICK + patch
        configure(place, **self.settings)
        self.start()

    def start(self) -> None:
        """Start its daemon."""
        self.place.start(patch=self.patch)
        self.terminal = Terminal(self.place)

    def call(self, method: str, **params: Any) -> Any:
        """Call a method as its person."""
        return self.terminal.call(f"relay.{method}", **params)

    def card(self, name: str) -> Any:
        """What it knows of another device."""
        return next((device for device in self.call("peers")["devices"] if device["name"] == name), None)

    def wait(self, name: str, **wanted: Any) -> Any:
        """Wait until the card of another device has these values."""

        def there() -> bool:
            found = self.card(name)
            return found is not None and all(found[key] == value for key, value in wanted.items())

        wait_for(there, f"{self.name} knows of {name}: {wanted}")
        return self.card(name)

    def config(self) -> str:
        """What the person's file says."""
        return Path(self.place.home.config).read_text()

    def log(self) -> str:
        """What the daemon wrote into its log."""
        return Path(self.place.home.log).read_text()


def pair(desk: Computer, laptop: Computer, form: str = "code") -> Terminal:
    """Pair them by an invitation of the first; returns the terminal that invited."""
    inviting = Terminal(desk.place)
    invitation = inviting.call("relay.invite", forms=[form])
    joining = Terminal(laptop.place)
    if form == "raw":
        joining.call("relay.accept", code=invitation["raw"], peer=invitation["listening"][0])
    else:
        joining.call("relay.join", text=invitation[form])
    inviting.until("connected")
    return inviting
