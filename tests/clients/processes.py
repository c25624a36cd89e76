"""Processes of the lab: started as nobody's children, found by their HOME, ended by their pids."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")
LOOK_S = 0.05
"""Between two looks at what nothing announces: a screen, the end of another's child."""
SETTLED_S = 3.0
"""How long a process may take to end of itself."""


class LabError(AssertionError):
    """Something in the lab could not be started, or did not happen within its time."""


class Result(NamedTuple):
    """A command that ended."""

    status: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"status {self.status}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def wait_until(probe: Callable[[], T | None], timeout: float, what: str) -> T:
    """The first true value of `probe`. Raises `LabError` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise LabError(f"not within {timeout:g} s: {what}")
        time.sleep(LOOK_S)
    return value


class Command:
    """A command under way that is the child of the first process, as one that a person started elsewhere would be.

    The daemon tells persons from agents by the ancestors of a caller; whoever runs the tests must not count.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], cwd: Path, logs: Path) -> None:
        self.command = list(command)
        stamp = time.time_ns()
        self._files = [logs / f"{stamp}.{stream}" for stream in ("out", "err")]
        self._status, status = os.pipe()
        script = f'echo $$ >&{status}; "$@" {status}>&-; echo $? >&{status}'
        # Output goes to files: a daemon that the command leaves behind may keep its output open.
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            subprocess.run(
                ["setsid", "--fork", "/bin/bash", "-c", script, "bash", *command],
                env=dict(environ),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[status],
                check=True,
            )
        os.close(status)
        self._said = b""
        self._read(10, lambda: b"\n" in self._said)
        self.pid = int(self._said.split()[0])

    def finish(self, timeout: float) -> Result:
        """Wait for its end. Raises `LabError` if it does not end in time, and ends it."""
        if not self._read(timeout, lambda: self._said.count(b"\n") > 1):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            raise LabError(f"not within {timeout:g} s: {shlex.join(self.command)}\n{self._result(-1)}")
        os.close(self._status)
        return self._result(int(self._said.split()[1]))

    def _result(self, status: int) -> Result:
        return Result(status, *(file.read_text(errors="replace") for file in self._files))

    def _read(self, timeout: float, enough: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + timeout
        while not enough():
            if not select.select([self._status], [], [], max(0, deadline - time.monotonic()))[0]:
                return False
            data = os.read(self._status, 100)
            if not data:
                return enough()
            self._said += data
        return True


def process_file(pid: int, name: str) -> str:
    """A file about a process, "" when it is gone or another user's."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    return ""


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    return process_file(pid, "stat").rpartition(")")[2].split()[:1] not in ([], ["Z"])


def of_home(home: str) -> list[int]:
    """The processes whose HOME this is."""
    mark = rf"\0HOME={re.escape(home)}\0"
    pids = map(int, filter(str.isdigit, os.listdir("/proc")))
    return [pid for pid in pids if re.search(mark, f"\0{process_file(pid, 'environ')}\0") and alive(pid)]


def end_all(home: str) -> list[int]:
    """End every process with this HOME, those too that others of them start meanwhile; returns their pids."""
    ended: set[int] = set()
    for sign in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        pids = of_home(home)
        ended |= set(pids)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        with contextlib.suppress(LabError):
            wait_until(lambda: not of_home(home), SETTLED_S, "the end of the lab's processes")
    return sorted(ended)
