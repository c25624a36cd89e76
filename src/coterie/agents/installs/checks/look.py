"""What all checks of one agent look at: its installation, and its files, each read once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from coterie.agents.installs import jsontext
from coterie.agents.installs.changes import value_at
from coterie.agents.installs.checks.probes import Handshakes
from coterie.agents.installs.entries import SERVER, State, runs_hook
from coterie.agents.installs.install import HOME_VARIABLE, Found, Install
from coterie.agents.installs.jsontext import Dialect
from coterie.agents.installs.targets import Standing, read
from coterie.errors import CoterieError
from coterie.files import home
from coterie.texts import BadText, Path, tomltext

LENIENT = Dialect(comments=True, commas=True, bom=True)
"""For files in which nothing is ours: whether their owner reads them is not the question here."""


class Server(NamedTuple):
    """The registration of our MCP server, as it stands."""

    path: str
    """The file."""
    command: list[str]
    """The program and its arguments; empty if the entry names none."""
    environ: dict[str, str]
    entry: dict[str, Any]


class HookEntry(NamedTuple):
    """One registered hook of ours."""

    event: str
    group: int
    place: int
    """In its group."""
    matcher: str | None
    entry: dict[str, Any]

    @property
    def command(self) -> str:
        """Its shell line."""
        return str(self.entry["command"])


class Look:
    """One agent, as it stands on this machine."""

    def __init__(self, install: Install, cwd: str, handshakes: Handshakes) -> None:
        self.install = install
        self.cwd = cwd
        self.handshakes = handshakes
        self.found: Found = install.found()
        self.broken: dict[str, CoterieError] = {}
        """The files of ours that cannot be read, and why."""
        self.standing: list[Standing] = []
        for target in install.targets():
            try:
                self.standing += target.standing()
            except CoterieError as error:
                self.broken[target.path] = error

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment of whoever asks."""
        return self.install.setup.environ

    @property
    def name(self) -> str:
        """What the agent is called in commands."""
        return self.install.kind.name

    @property
    def home(self) -> str:
        """The folder of the Coterie that asks."""
        return home(self.environ).folder

    def states(self, what: str) -> list[State]:
        """How the entries stand whose name begins so."""
        return [standing.state for standing in self.standing if standing.what.startswith(what)]

    @property
    def absent(self) -> bool:
        """Whether nothing of ours is in its configuration, as far as that can be read."""
        real = [s.state for s in self.standing if s.what.startswith(("MCP server", "hook ", "plugin"))]
        return not self.broken and all(state is State.MISSING for state in real)

    # --- its files ------------------------------------------------------------------------------------------------

    def json(self, path: str) -> Any:
        """The data of a JSON file; None if it is not there, or cannot be read (of files of ours `broken` tells)."""
        return self._data(path, lambda text: jsontext.parse(text, LENIENT))

    def toml(self, path: str) -> Any:
        """The data of a TOML file."""
        return self._data(path, tomltext.parse)

    def _data(self, path: str, parse: Any) -> Any:
        if path in self.broken:
            return None
        try:
            content = read(path)
            return None if content is None else parse(content.decode())
        except (CoterieError, BadText, UnicodeDecodeError):
            return None

    def server(self, path: str, data: Any, at: Path, environ: str = "env") -> Server | None:
        """The registration of our server in the data of a file; None if there is none."""
        entry = value_at(data, (*at, SERVER))
        if not isinstance(entry, dict):
            return None
        given = entry.get("command")
        rest = entry.get("args")
        words = given if isinstance(given, list) else [given, *(rest if isinstance(rest, list) else [])]
        command = [word for word in words if isinstance(word, str)]
        variables = entry.get(environ)
        pairs = variables.items() if isinstance(variables, dict) else ()
        return Server(path, command, {k: v for k, v in pairs if isinstance(v, str)}, entry)

    def hooks(self, data: Any) -> Iterator[HookEntry]:
        """The hooks of ours in the data of a file, for whatever event."""
        events = value_at(data, ("hooks",))
        for event, groups in (events if isinstance(events, dict) else {}).items():
            for number, group in enumerate(groups if isinstance(groups, list) else []):
                entries = value_at(group, ("hooks",))
                for index, entry in enumerate(entries if isinstance(entries, list) else []):
                    if isinstance(entry, dict) and runs_hook(entry.get("command"), self.name):
                        matcher = group.get("matcher")
                        yield HookEntry(event, number, index, matcher if isinstance(matcher, str) else None, entry)


def home_of(variables: Mapping[str, str]) -> str:
    """The folder of Coterie for a program that gets these variables."""
    named = variables.get(HOME_VARIABLE)
    return home({HOME_VARIABLE: named} if named else {}).folder


def short(path: str, environ: Mapping[str, str]) -> str:
    """`path` with ``~`` for the person's home folder."""
    base = environ.get("HOME", "").rstrip("/")
    return "~" + path[len(base) :] if base and path.startswith(base + "/") else path


def shortened(text: str, environ: Mapping[str, str]) -> str:
    """A text with its paths as a person reads them."""
    return " ".join(short(word, environ) for word in text.split(" "))


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def is_text_in(value: Any, name: str) -> bool:
    """Whether a value is a list that holds this text."""
    return isinstance(value, list) and name in value


def ancestors(path: str) -> list[str]:
    """A folder and those above it, the nearest first."""
    found = [path]
    while os.path.dirname(path) != path:
        path = os.path.dirname(path)
        found.append(path)
    return found
