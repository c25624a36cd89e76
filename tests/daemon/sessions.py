"""What tests of several sessions share: sessions of this process, a person's commands, limits, and chains."""

from __future__ import annotations

import os
from typing import Any

from cli.detached import COTERIE, Command, Ended
from conftest import Place
from coterie import ids


class Session:
    """A session that is registered by this process; it looks for its mail when it is told to."""

    def __init__(self, place: Place, name: str) -> None:
        self.name = name
        self.connection = place.connect("adapter")
        # Of Codex several sessions may share a process, as those of a test do.
        self.call("peers.register", kind="codex", cwd="/", session=f"session-{name}")
        self.id: str = self.call("peers.describe", name=name)["peer"]["id"]

    def call(self, method: str, **params: Any) -> Any:
        """Call a method as this session."""
        return self.connection.call(method, params)

    def send(self, text: str, **whom: str) -> str:
        """Send a message; returns its id. Raises what the daemon answers."""
        message = whom.pop("id", "") or ids.new_message_id()
        self.call("messages.send", id=message, text=text, **whom)
        return message

    def read(self) -> list[dict[str, Any]]:
        """The mail that waits, as tool results bring it: each has been given to the session from now on."""
        found: list[dict[str, Any]] = []
        waiting = 1
        while waiting:
            call = ids.new_token()
            mail = self.call("mail.take", call=call)
            self.call("mail.written", calls=[call])
            found += mail["letters"]
            waiting = mail["waiting"]
        return found


def person(place: Place, *arguments: str) -> Ended:
    """A command that a person types."""
    return Command([COTERIE, *arguments], place.environ, str(place.root)).finish()


def configure(place: Place, **guards: int) -> None:
    """Set limits, for the daemon that is started next."""
    lines = ["[guards]", *(f"{key} = {value}" for key, value in guards.items())]
    path = os.path.join(place.home.folder, "config.toml")
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")


def chain(place: Place, message: str) -> list[tuple[str, str]]:
    """The senders and ids of the causes of a message, the first one first, the message itself last."""
    found: list[tuple[str, str]] = []
    cause: str | None = message
    while cause:
        sender, cause, name = place.row("SELECT sender_name, cause, id FROM messages WHERE id = ?", cause)
        found.insert(0, (sender, name))
        assert len(found) < 100, "the chain bites its tail"
    return found
