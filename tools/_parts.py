"""What the demonstration and the benchmark share: a temporary home, and the processes in it, which all end with it."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import psutil

from coterie import client
from coterie.files import Home
from coterie.testing.agent import Agent

MIB = 1 << 20
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
END_S = 10.0
"""How long processes may take to end before they are killed."""
ROOT_BYTES_MAX = 60
"""A longer path would leave no room for the sockets below it."""
SCRIPTS = os.path.dirname(sys.executable)
"""Where the console scripts of this installation lie, beside its Python."""


class Place:
    """A home of its own in a temporary folder. It knows every process that it started, and leaves none behind."""

    def __init__(self, prefix: str) -> None:
        self.root = _short_folder(prefix)
        self.home = Home(os.path.join(self.root, "home"))
        self.environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": self.root,
            "LANG": "C.UTF-8",
            "COTERIE_HOME": self.home.folder,
        }
        self.agents: list[Agent] = []
        self.started: list[psutil.Process] = []

    def agent(self, session: str | None, **options: Any) -> Agent:
        """A stand-in agent with its adapter; the handshake is the caller's."""
        agent = Agent(self.home.folder, tempfile.mkdtemp(prefix="a-", dir=self.root), session=session, **options)
        self.agents.append(agent)
        for pid in (agent.pids["pid"], agent.pids["adapter"]):
            self.remember(pid)
        return agent

    def remember(self, pid: int) -> None:
        """Note a process that has to be gone in the end."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process not in self.started:
                self.started.append(process)

    def daemon(self) -> int:
        """The pid of the daemon that serves now, or 0."""
        pid = client.lock_holder(self.home)
        if not pid or not self._is_ours(pid):
            return 0
        self.remember(pid)
        return pid

    def end_daemon(self, number: int = signal.SIGTERM) -> None:
        """End the daemon, also one that is just starting, and return when its lock is free."""
        deadline = time.monotonic() + END_S
        while not self._lock_is_free():
            pid = self.daemon()
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if time.monotonic() > deadline else number)
            time.sleep(0.01)

    def close(self) -> None:
        """End every process and remove the folder."""
        for agent in self.agents:
            if agent.process.stdin and not agent.process.stdin.closed:
                with contextlib.suppress(BrokenPipeError):
                    agent.process.stdin.close()  # All are told before any is waited for.
        for agent in self.agents:
            agent.close()
        self.end_daemon()
        deadline = time.monotonic() + END_S
        while left := self._left():  # Adapters end by themselves when their agent is gone.
            if time.monotonic() > deadline:
                for process in left:
                    process.kill()
            time.sleep(0.01)
        shutil.rmtree(self.root, ignore_errors=True)

    def remains(self) -> list[str]:
        """What is still there after `close`: nothing, if all is well."""
        processes = [f"process {process.pid}" for process in self._left()]
        return processes + ([self.root] if os.path.lexists(self.root) else [])

    def _left(self) -> list[psutil.Process]:
        """Living processes that we started, or that bear our home in their environment."""
        known = [process for process in self.started if _lives(process)]
        others = [process for process in psutil.process_iter() if process not in known and self._is_ours(process.pid)]
        return known + [process for process in others if process.pid != os.getpid()]

    def _is_ours(self, pid: int) -> bool:
        try:
            process = psutil.Process(pid)
            return _lives(process) and process.environ().get("COTERIE_HOME") == self.home.folder
        except (psutil.Error, OSError):
            return False

    def _lock_is_free(self) -> bool:
        try:
            lock = os.open(self.home.lock, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True


def _short_folder(prefix: str) -> str:
    folder = os.path.realpath(tempfile.gettempdir())
    if len(os.fsencode(folder)) > ROOT_BYTES_MAX:
        folder = os.path.realpath("/tmp")
    return tempfile.mkdtemp(prefix=prefix, dir=folder)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def place(prefix: str) -> Iterator[Place]:
    """A home that is gone afterwards, whatever happens; a Ctrl-C does not interrupt the tidying."""
    here = Place(prefix)
    try:
        yield here
    finally:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTS}
        here.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def take_signals() -> None:
    """Have the first Ctrl-C, TERM or HUP raise KeyboardInterrupt, and those after it left aside: the tidying that
    follows is not to be interrupted.
    """
    taken = [number for number in INTERRUPTS if signal.getsignal(number) is not signal.SIG_IGN]

    def interrupt(number: int, frame: object) -> NoReturn:
        for other in taken:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in taken:
        signal.signal(number, interrupt)


def memory(pid: int) -> tuple[float, float]:
    """Resident and private MiB of a process."""
    found = psutil.Process(pid).memory_full_info()
    return found.rss / MIB, found.uss / MIB


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return percentile(values, 0.5)


def run(command: Sequence[str], environ: dict[str, str], cwd: str | None = None) -> str:
    """What a command prints; raises CalledProcessError, with what it said, if it fails."""
    done = subprocess.run(command, env=environ, cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout
