"""The process in which a thread of Codex lives, as its command line and its environment tell. Measured with 0.169.0.

Windows share one app-server, ``codex app-server ...``, which listens at a fixed place in CODEX_HOME. A window that was
started with ``--no-daemon`` keeps its threads itself, and so does ``codex exec``, which runs one prompt.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

CONTROL = os.path.join("app-server-control", "app-server-control.sock")
"""Where the app-server listens, in CODEX_HOME. The file is a link to a socket with a short path."""
ONE_SHOT = frozenset({"exec", "e", "review"})
"""Subcommands that end after one prompt."""


class Role(StrEnum):
    """What a process of Codex does."""

    SERVER = "server"
    """Keeps the threads of several windows."""
    WINDOW = "window"
    """A window that keeps its threads itself."""
    ONCE = "once"
    """Runs one prompt; what is queued for it is never delivered."""


@dataclass(frozen=True, slots=True)
class Host:
    """A process that keeps threads."""

    role: Role
    home: str
    """Its CODEX_HOME."""
    program: str
    """The program that it runs."""

    @property
    def endpoint(self) -> str:
        """Where its threads can be told something: the socket of the app-server, or the folder whose queue a window
        looks at; empty if nowhere.
        """
        places = {Role.SERVER: os.path.join(self.home, CONTROL), Role.WINDOW: self.home, Role.ONCE: ""}
        return places[self.role]


def host(arguments: Sequence[str], environ: Mapping[str, str], program: str) -> Host | None:
    """What the process is, or None if it is not Codex."""
    if not any(os.path.basename(name) == "codex" for name in (program, *arguments[:1])):
        return None
    home = environ.get("CODEX_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".codex")
    return Host(_role(arguments[1:]), home, program)


def home_of(endpoint: str) -> str:
    """The CODEX_HOME that an endpoint lies in."""
    return endpoint.removesuffix(os.sep + CONTROL)


def is_socket(endpoint: str) -> bool:
    """Whether an endpoint is an app-server's; otherwise it is a folder with a queue."""
    return endpoint.endswith(os.sep + CONTROL)


def _role(arguments: Sequence[str]) -> Role:
    # Options may stand before the subcommand, and which of them take a value changes: so any word counts. A prompt
    # is one argument too, and has more than one word.
    if "app-server" in arguments:
        return Role.SERVER
    return Role.ONCE if ONE_SHOT.intersection(arguments) else Role.WINDOW
