"""What an installation into one kind of agent answers: where the agent is, what is ours in its files, what would
change, and what only the person can do. `coterie init` and `coterie doctor` share it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from coterie.agents.installs import programs
from coterie.agents.installs.entries import CORE_TOOLS, SERVER, Entry, Hook, StrayHooks, hook_command
from coterie.agents.installs.programs import Ours
from coterie.agents.installs.record import Record
from coterie.agents.installs.targets import Edit, Standing, Target, WholeFile
from coterie.agents.kind import AgentKind

HOME_VARIABLE = "COTERIE_HOME"


class Found(NamedTuple):
    """What of an agent is on this machine."""

    program: str | None
    version: str | None
    folder: str | None
    """Its configuration folder."""

    def __bool__(self) -> bool:
        return self.program is not None or self.folder is not None


class Setup(NamedTuple):
    """What all installations of one run share."""

    environ: Mapping[str, str]
    ours: Ours
    allow: bool = False
    """Whether the person asked that the core tools may be called without asking."""

    @property
    def settings(self) -> dict[str, str]:
        """Variables that our programs need to find the same daemon as everybody else."""
        named = self.environ.get(HOME_VARIABLE)
        return {HOME_VARIABLE: os.path.abspath(named)} if named else {}

    def under_home(self, *names: str) -> str:
        """A path in the person's home folder."""
        return os.path.join(_whole(self.environ.get("HOME") or os.path.expanduser("~")), *names)

    def named(self, variable: str) -> str | None:
        """The folder that a variable names, if it does."""
        said = self.environ.get(variable)
        return _whole(said) if said else None


def _whole(path: str) -> str:
    """A path that leads to the same from every folder, and has no ``..`` in it. What stands before a ``..`` may be a
    link, so that only the system knows where it leads.
    """
    path = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    return os.path.realpath(path) if ".." in path.split("/") else os.path.normpath(path)


class Install:
    """Coterie in one kind of agent."""

    kind: AgentKind
    title: str
    """What the agent is called by people."""
    hook_label = ""
    """How its hooks are named, where the client would show their command instead."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def folder(self) -> str:
        """Where the agent keeps its configuration."""
        raise NotImplementedError

    def targets(self) -> Sequence[Target | WholeFile]:
        """The files that are to have something of ours."""
        raise NotImplementedError

    def former(self) -> Sequence[Target | WholeFile]:
        """More files that may have something of ours, by the choice of another day."""
        return ()

    def found(self) -> Found:
        """Where the agent is; false if there is no sign of it."""
        program = programs.find(self.kind.name, self.setup.environ)
        folder = self.folder()
        version = programs.version(program) if program else None
        return Found(program, version, folder if os.path.isdir(folder) else None)

    def files(self) -> list[str]:
        """The files that are to have something of ours."""
        return [target.path for target in self.targets()]

    def instead(self) -> str | None:
        """What already does the same in another way, so that nothing is to be added; None if nothing does."""
        return None

    def installed(self) -> list[Standing]:
        """How each of our entries stands. Raises `CoterieError` if a file cannot be read."""
        return [standing for target in self.targets() for standing in target.standing()]

    def plan(self, record: Record, *, force: bool = False) -> list[Edit]:
        """What is to be done. Raises `CoterieError`, with nothing done, if a file is broken or has a foreign entry."""
        edits = [target.put(record, force=force) for target in self.targets()]
        return [edit for edit in edits if edit]

    def removal(self, record: Record) -> list[Edit]:
        """What takes everything of ours out."""
        # The last first: a folder goes with the file that it was made for, which was the first in it.
        edits = [target.take(record) for target in (*self.former(), *reversed(self.targets()))]
        return [edit for edit in edits if edit]

    def steps(self) -> list[str]:
        """What only the person can do, one sentence or two each."""
        return []

    def hooks(self) -> list[Entry]:
        """The hooks that the agent is to run."""
        name = self.kind.name
        command = hook_command(self.setup.ours.hook, name, self.setup.settings)
        wanted = [Hook(event, command, name, self.hook_label) for event in self.kind.hook_events]
        return [*wanted, StrayHooks(self.kind.hook_events, name)]


def tool_names(form: str) -> tuple[str, ...]:
    """The core tools, as a client spells them."""
    return tuple(form.format(server=SERVER, tool=tool) for tool in CORE_TOOLS)
