"""Real parts for tests: a home of its own for each, a real daemon in it, and stand-ins for agents."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from coterie import client
from coterie.files import Home
from coterie.testing.agent import Agent

settings.register_profile("ours", deadline=None, print_blob=True)
settings.load_profile("ours")

DAEMON = [sys.executable, "-P", "-m", "coterie.daemon"]
RUN = "from coterie.daemon.main import main; raise SystemExit(main())"
END_S = 20


class Place:
    """A home for one test, and the daemon that serves it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = Home(str(root / "home"))
        os.mkdir(self.home.folder, 0o700)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "LANG": "C.UTF-8",
            "COTERIE_HOME": self.home.folder,
        }
        self.inside: tuple[str, ...] = ()
        """What a command begins with, to run where this home is."""
        self.agents: list[Agent] = []
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.connections: list[client.Client] = []

    def start(self, *arguments: str, environ: dict[str, str] | None = None, patch: str = "") -> subprocess.Popen[bytes]:
        """Start a daemon as a child, and return once it serves (or ended). `patch` is Python that it runs first."""
        ready, say_ready = os.pipe()
        os.set_inheritable(say_ready, True)
        program = [sys.executable, "-P", "-c", f"{patch}\n{RUN}"] if patch else DAEMON
        command = [*self.inside, *program, "--ready-fd", str(say_ready), *arguments]
        daemon = subprocess.Popen(command, env=environ or self.environ, pass_fds=[say_ready], stderr=subprocess.PIPE)
        os.close(say_ready)
        with open(ready, "rb") as said:
            said.readline()
        self.daemons.append(daemon)
        return daemon

    def pid(self) -> int:
        """The pid of the daemon that serves now."""
        return client.lock_holder(self.home)

    def kill(self) -> None:
        """Kill the daemon, and return when its lock is free."""
        pid = self.pid()
        assert is_daemon(pid), "pid 0 would be this process and all of its group"
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not running(pid), "the daemon is gone")

    def connect(self, kind: str = "cli", **options: Any) -> client.Client:
        """A connection from this process."""
        connection = client.connect(kind, at=self.home, **options)
        self.connections.append(connection)
        return connection

    def agent(self, session: str | None = None, **options: Any) -> Agent:
        """A stand-in agent in this home, its handshake done."""
        agent = self.raw_agent(session, **options)
        agent.initialize()
        return agent

    def raw_agent(self, session: str | None = None, **options: Any) -> Agent:
        """A stand-in agent that has said nothing yet."""
        folder = tempfile.mkdtemp(dir=self.root)
        agent = Agent(self.home.folder, folder, session=session, **options)
        self.agents.append(agent)
        return agent

    def named(self, name: str, **options: Any) -> Agent:
        """A stand-in agent that has told its name, which is its session id too."""
        agent = self.agent(f"session-{name}", **options)
        agent.tool("set_summary", name=name)
        return agent

    def row(self, query: str, *values: Any) -> Any:
        """One row of the database, read beside the daemon."""
        return next(iter(self.rows(query, *values)), None)

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Rows of the database, read beside the daemon."""
        import sqlite3

        connection = sqlite3.connect(f"file:{self.home.database}?mode=ro", uri=True)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def state(self, message: str) -> str:
        """The state of a message, as stored."""
        return str(self.row("SELECT state FROM messages WHERE id = ?", message)[0])

    def wait_state(self, message: str, state: str) -> None:
        """Wait until a message is in this state, as stored."""
        wait_for(lambda: self.state(message) == state, f"{message} is {state}, not {self.state(message)}")

    def close(self) -> None:
        """End everything that was started, by its pid."""
        for connection in self.connections:
            connection.close()
        for agent in self.agents:
            agent.close()
        pid = self.pid()
        if pid and running(pid) and is_daemon(pid):
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGTERM)
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.terminate()
            daemon.communicate()
        if pid:
            wait_for(lambda: not (running(pid) and is_daemon(pid)), "the daemon ends")


def pytest_configure() -> None:
    """Whoever started us in the background of a script had us ignore Ctrl-C, and what we start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def running(pid: int) -> bool:
    """Whether a process with this pid runs and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
    except (FileNotFoundError, ProcessLookupError):  # Before it is opened, or before it is read.
        return False


def is_daemon(pid: int) -> bool:
    """Whether the process is one of our daemons: only what a test started is ever ended."""
    try:
        return b"coterie.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], object], what: str, timeout: float = END_S) -> None:
    """Wait for something that nothing announces: a process of another parent, a row of another process."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.002)


def must_have(there: bool, what: str) -> None:
    """Skip a test for which this machine lacks something; where tests count (CI), that is a failure."""
    if there:
        return
    if os.environ.get("CI"):
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")


@pytest.fixture
def as_root() -> None:
    """For what only root can set up."""
    must_have(os.geteuid() == 0, "root")


@contextlib.contextmanager
def a_place() -> Iterator[Place]:
    """A home. Its path is short, as a socket lies in it."""
    root = Path(tempfile.mkdtemp(prefix="coterie-"))
    here = Place(root)
    try:
        yield here
    finally:
        here.close()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def place() -> Iterator[Place]:
    """A home for the test."""
    with a_place() as here:
        yield here


@pytest.fixture
def daemon(place: Place) -> Place:
    """A home with a daemon that serves it."""
    place.start()
    return place
