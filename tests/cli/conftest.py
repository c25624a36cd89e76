"""A shell in a test's home."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cli.detached import COTERIE, Command, Ended
from conftest import Place, a_place, wait_for
from coterie import ids
from coterie.daemon.callers import person_name
from daemon.pairs import configure, free_port


class Peer:
    """A session that is registered by this process: it speaks for itself, and looks at its mail when it is told to."""

    def __init__(self, place: Place, name: str, cwd: str = "/") -> None:
        self._connection = place.connect("adapter")
        # Of Codex several sessions may share a process, as those of a test do.
        self.call("peers.register", kind="codex", cwd=cwd, session=f"session-{name}")
        self.card = self.call("peers.describe", name=name)["peer"]

    def call(self, method: str, **params: Any) -> Any:
        """Call a method as this peer."""
        return self._connection.call(method, params)

    def send(self, text: str, **whom: str) -> str:
        """Send a message; returns its id."""
        message = ids.new_message_id()
        self.call("messages.send", id=message, text=text, **whom)
        return message

    def read(self, text: str) -> str:
        """Look for mail until this text has come, as a session without an inbox does; returns its id."""

        def look() -> bool:
            call = ids.new_token()
            found.extend(self.call("mail.take", call=call)["letters"])
            self.call("mail.written", calls=[call])
            return any(letter["text"] == text for letter in found)

        found: list[dict[str, Any]] = []
        wait_for(look, f"{text!r} comes")
        return next(letter["id"] for letter in found if letter["text"] == text)


class Shell:
    """A person's shell in a home."""

    me = person_name()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.cwd = str(place.root)

    def peer(self, name: str, **how: Any) -> Peer:
        """A peer with this name, and a daemon for it."""
        return Peer(self.place, name, **how)

    def start(self, *arguments: str, env: dict[str, str] | None = None, **how: Any) -> Command:
        """Start a coterie command."""
        return Command([COTERIE, *arguments], {**self.place.environ, **(env or {})}, self.cwd, **how)

    def run(self, *arguments: str, env: dict[str, str] | None = None, **how: Any) -> Ended:
        """Run a coterie command to its end."""
        return self.start(*arguments, env=env, **how).finish()

    def all(self, *commands: list[str], **how: Any) -> list[Ended]:
        """Run commands at once that do not get in each other's way."""
        started = [self.start(*arguments, **how) for arguments in commands]
        return [command.finish() for command in started]

    def ok(self, *arguments: str, **how: Any) -> str:
        """The output of a command that must do what it is told, and not complain."""
        ended = self.run(*arguments, **how)
        assert ended.status == 0, str(ended)
        assert "Traceback" not in ended.err
        return ended.out

    def json(self, *arguments: str, **how: Any) -> Any:
        """What a command prints with --json."""
        return parsed(self.run(*arguments, "--json", **how).out)

    def after(self, python: str, *arguments: str, then: str = "", **how: Any) -> Ended:
        """Run a command with some Python run before it in its process, and some after it."""
        code = f"import sys\n{python}\nfrom coterie.cli.main import main\nstatus = main()\n{then}\nsys.exit(status)"
        command = [sys.executable, "-P", "-c", code, *arguments]
        return Command(command, self.place.environ, self.cwd, **how).finish()


def parsed(out: str) -> Any:
    """The one JSON object in an output, which is one line of printable ASCII."""
    assert out.isascii(), out
    assert out.removesuffix("\n").isprintable(), out
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def shell(place: Place) -> Shell:
    """A shell in the test's home; no daemon runs there yet."""
    return Shell(place)


def _device(place: Place, name: str) -> Shell:
    """A shell on a device that listens, once it does, on this machine alone."""
    configure(place, relay_name=name, relay_listen_addr="127.0.0.1", relay_listen_port=free_port())
    return Shell(place)


@pytest.fixture
def desk(place: Place) -> Shell:
    """A shell on a device; no daemon runs there yet."""
    return _device(place, "desk")


@pytest.fixture
def laptop() -> Iterator[Shell]:
    """A shell on another device."""
    with a_place() as there:
        yield _device(there, "laptop")
