"""What two persons do to pair, each at a terminal: one reads off a screen, the other types."""

from __future__ import annotations

import re

from cli.conftest import Shell
from cli.detached import Command, Ended
from conftest import wait_for

COLUMNS = 120
SHAPES = {
    "code": r"RELAY CODE\s+(\S+)",
    "words": r"NINE WORDS\s+((?:[a-z]+-\s*){8}[a-z]+)",
    "link": r"INVITE LINK\s+(\S+)",
    "raw": r"RAW CODE\s+(\S+)",
}
"""Each form of an invitation as the screen shows it."""
ASKED = r"or the link\?\r\n"
"""The end of the question for an invitation."""


def invite(shell: Shell, *options: str, columns: int = COLUMNS, **how: object) -> tuple[Command, str]:
    """An invitation under way, and its screen."""
    verb = () if "pair" in options else ("invite",)
    command = shell.start("relay", *verb, *options, terminal=columns, **how)
    return command, command.wait_for(r"(?s).*withdraws the invitation", "out").replace("\r\n", "\n")


def spelled(screen: str, form: str = "code") -> str:
    """A form of the invitation on a screen."""
    found = re.search(SHAPES[form], screen)
    assert found, screen
    return found[1]


def join(shell: Shell, text: str, columns: int = COLUMNS) -> Ended:
    """Type what the other screen says, where it is asked for."""
    command = shell.start("relay", "join", terminal=columns)
    command.wait_for(ASKED, "out")
    command.type(f"{text}\n")
    return command.finish()


def pair(one: Shell, other: Shell) -> tuple[Ended, Ended]:
    """Pair two devices; what both screens showed."""
    command, screen = invite(one)
    joined = join(other, spelled(screen))
    assert joined.status == 0, str(joined)
    invited = command.finish()
    assert invited.status == 0, str(invited)
    return invited, joined


def typed(shell: Shell, *arguments: str, columns: int = COLUMNS) -> Ended:
    """A command of the relay at a terminal, to its end."""
    return shell.run("relay", *arguments, terminal=columns)


def done(shell: Shell, *arguments: str, columns: int = COLUMNS) -> str:
    """The screen of a command that must do what it is told."""
    ended = typed(shell, *arguments, columns=columns)
    assert ended.status == 0, str(ended)
    return ended.out


def wait_connected(shell: Shell, device: str, wanted: bool = True) -> None:
    """Wait until a device is connected, or not."""

    def there() -> bool:
        cards = shell.json("relay", "peers")["devices"]
        return any(card["name"] == device and card["connected"] is wanted for card in cards)

    wait_for(there, f"{device} connected: {wanted}")
