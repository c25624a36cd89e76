"""What is looked at in every kind of agent: the program, our MCP server, our hooks. Each check is a method that yields
what it found; where an earlier one has told the cause, the later ones are silent.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator

from coterie import __version__
from coterie.agents.installs.checks import probes
from coterie.agents.installs.checks.finding import Finding, note, ok, trouble
from coterie.agents.installs.checks.look import HookEntry, Look, Server, home_of, listed, short, shortened
from coterie.agents.installs.entries import ADAPTER, SERVER, State

LINE_BYTES_MAX = 4096
"""Of the first line of a script: the kernel reads 256 bytes."""

Check = Callable[[], Iterator[Finding]]


class Checks:
    """The checks of one kind of agent."""

    scratch: tuple[str, ...] = ()
    """The variables that move what the program writes."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.init = f"coterie init {look.name}"
        """What mends most of it."""
        self.server_cure = self.init
        """What mends the registration of the server."""
        self.instead = look.install.instead()
        self.server = None if self.instead else self.find_server()
        self.hooks = [] if self.instead else self.find_hooks()

    def find_server(self) -> Server | None:
        """The registration of our server, as it stands."""
        raise NotImplementedError

    def find_hooks(self) -> list[HookEntry]:
        """The hooks of ours, as they stand."""
        return []

    def own(self) -> list[Check]:
        """The checks that only this kind has."""
        return []

    def all(self) -> list[Check]:
        """Every check, in the order in which a person reads them."""
        if self.look.found.program is None and self.look.absent:
            return [self.program]
        server = (self.registered, self.starts, self.same_home)
        return [self.program, self.files, *server, self.registered_hooks, self.hook_programs, *self.own()]

    def short(self, path: str) -> str:
        """A path as a person reads it."""
        return short(path, self.look.environ)

    # --- the program, and its files ---------------------------------------------------------------------------------

    def program(self) -> Iterator[Finding]:
        """Whether the agent's program starts."""
        found = self.look.found
        if found.program is None:
            where = self.short(found.folder or "")
            yield note("program", f"no program {self.look.name} was found, only {where}", "put it on PATH, or leave it")
            return
        answer = probes.version(found.program, self.scratch, self.look.environ)
        where = self.short(found.program)
        if answer.text:
            yield ok("program", f"version {answer.text}, {where}")
        else:
            yield trouble("program", f"{where}: {answer.failure}", "install it again, or see that it starts by itself")

    def files(self) -> Iterator[Finding]:
        """Whether the files that are to have something of ours can be read."""
        for error in self.look.broken.values():
            message = shortened(error.message, self.look.environ)
            yield trouble("configuration", message, f"mend it, then: {self.init}")

    # --- the server -------------------------------------------------------------------------------------------------

    def registered(self) -> Iterator[Finding]:
        """Whether our MCP server is in its configuration."""
        if self.instead and self.look.absent:
            yield ok("server", self.instead)
        elif self.instead:
            yield note("server", self.instead, f"{self.init} --remove")
        elif self.look.absent:
            yield trouble("server", "coterie is not in its configuration", self.init)
        elif self.look.states("MCP server") == [State.MISSING]:
            yield trouble("server", f"no MCP server {SERVER} is registered", self.init)
        elif self.server and self._is_foreign:
            where = self.short(self.server.path)
            yield trouble("server", f"{where} has another server under the name {SERVER}", f"{self.init} --force")
        elif self.server:
            yield from self._registered(self.server)

    @property
    def _is_foreign(self) -> bool:
        command = self.server.command[:1] if self.server else []
        return [os.path.basename(word) for word in command] != [ADAPTER]

    def _registered(self, server: Server) -> Iterator[Finding]:
        where, program = self.short(server.path), server.command[0]
        ours = self.look.install.setup.ours.adapter
        path = probes.found(program, self.look.environ)
        if path and ours and os.path.realpath(path) != os.path.realpath(ours):
            evidence = f"the MCP server in {where} is another coterie's than this one: {self.short(path)}"
            yield note("server", evidence, self.server_cure)
        elif path:
            yield ok("server", f"the MCP server is registered in {where}")

    def starts(self) -> Iterator[Finding]:
        """Whether the server starts and answers, by a real handshake."""
        if self.server is None or self._is_foreign:
            return
        program = self.server.command[0]
        why = unusable(program, self.look)
        if why:
            yield trouble("server-starts", f"{self.short(program)} {why}", _mend(program, why, self.server_cure))
            return
        answer = self.look.handshakes.of(self.server.command, self.server.environ)
        if not answer.text:
            yield trouble("server-starts", f"{self.short(program)}: {answer.failure}", "install coterie again, whole")
        elif answer.text != __version__:
            evidence = f"the MCP server is coterie {answer.text}, and this is {__version__}"
            yield note("server-starts", evidence, self.server_cure)
        else:
            yield ok("server-starts", f"the MCP server starts and answers (coterie {answer.text})")

    def same_home(self) -> Iterator[Finding]:
        """Whether server and hooks use the Coterie that asks: two homes never meet."""
        homes = {home_of(self.server.environ)} if self.server and not self._is_foreign else set()
        homes |= {home_of(_variables(hook.command)) for hook in self.hooks}
        others = sorted(homes - {self.look.home})
        if others:
            evidence = f"it uses {listed([self.short(path) for path in others])}, not {self.short(self.look.home)}"
            yield trouble("home", evidence, f"{self.server_cure}, or run coterie with COTERIE_HOME={others[0]}")

    # --- hooks ------------------------------------------------------------------------------------------------------

    def registered_hooks(self) -> Iterator[Finding]:
        """Whether each event that we need has its hook, once."""
        wanted = self.look.install.kind.hook_events
        entries = self.look.states("hook ")
        if not entries or self.instead or self.look.absent:
            return
        count = Counter(hook.event for hook in self.hooks)
        missing = [event for event in wanted if event not in count]
        twice = [event for event, number in count.items() if number > 1]
        if missing:
            evidence = "no hook is registered" if len(missing) == len(wanted) else f"no hook for {listed(missing)}"
            yield trouble("hooks", evidence, self.init)
        elif twice:
            yield note("hooks", f"more than one hook for {listed(twice)}", self.init)
        else:
            yield ok("hooks", f"all {len(wanted)} hooks are registered")

    def hook_programs(self) -> Iterator[Finding]:
        """Whether what the hooks run is there."""
        ours = self.look.install.setup.ours.hook
        programs = {program_of(hook.command) for hook in self.hooks}
        for program in sorted(programs):
            why = unusable(program, self.look)
            if why:
                yield trouble("hook-program", f"{self.short(program)} {why}", _mend(program, why, self.init))
            elif ours and os.path.realpath(program) != os.path.realpath(ours):
                evidence = f"the hooks run another coterie than this one: {self.short(program)}"
                yield note("hook-program", evidence, self.init)


def program_of(command: str) -> str:
    """The program of a shell line of ours."""
    return next(word for word in shlex.split(command) if "=" not in word)


def _variables(command: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in shlex.split(command) if "=" in word)
    return {name: value for name, _, value in pairs}


def unusable(program: str, look: Look) -> str | None:
    """Why a program of ours cannot be run; None if it can."""
    path = probes.found(program, look.environ)
    if path:
        return _left_over(path)
    if not os.path.isabs(program):
        return "is not on PATH"
    if not os.path.exists(program):
        return "is gone"
    return "is not executable"


def _left_over(script: str) -> str | None:
    """A script outlives the environment whose Python its first line names."""
    with open(script, "rb") as file:
        first = file.readline(LINE_BYTES_MAX)
    words = first[2:].split() if first.startswith(b"#!") else []
    if not words or os.path.exists(words[0]):
        return None
    return f"is left over: {os.fsdecode(words[0])}, which runs it, is gone"


def _mend(program: str, why: str, init: str) -> str:
    return f"chmod +x {shlex.quote(program)}" if why.endswith("executable") else init
