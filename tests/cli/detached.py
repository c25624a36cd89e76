"""Runs the command line as a person would: a process of nobody's, with a clean environment, on a terminal or not.

The daemon tells persons from agents by the ancestors of a caller. Were a command a child of the test, it would pass
for whatever agent runs the tests; so it is the child of a shell whose parent is the first process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import NamedTuple

COTERIE = str(Path(sys.executable).with_name("coterie"))
END_S = 20.0
# The trap lets the shell outlive a Ctrl-C that ends the command, and report its status; a trap is not inherited.
SCRIPT = 'trap : INT; "$@" 9>&-; echo $? >&9'
STATUS_FD = 9


class Ended(NamedTuple):
    """A command that ended."""

    status: int
    out: str
    err: str
    """On a terminal both are in `out`."""

    def __str__(self) -> str:
        return f"status {self.status}\n--- out\n{self.out}\n--- err\n{self.err}"


class Command:
    """A command under way."""

    def __init__(
        self,
        arguments: list[str],
        environ: dict[str, str],
        cwd: str,
        *,
        stdin: bytes | None = b"",
        stdout: str = "",
        terminal: int = 0,
    ) -> None:
        """`stdin` None: closed. `stdout`: a file to write to, "closed", or "gone" (a pipe that nobody reads).
        `terminal`: all three are a terminal of so many columns.
        """
        self._texts: dict[int, bytes] = {}
        self._names: dict[str, int] = {}
        self._given: list[int] = []
        self._ended: set[int] = set()
        if terminal:
            standard = self._terminal(terminal)
        else:
            standard = [self._input(stdin), self._output(stdout), self._pipe("err")]
        status = self._pipe("status")
        self.pid = self._spawn(["/bin/sh", "-c", SCRIPT, "sh", *arguments], environ, cwd, [*standard, status])
        for descriptor in {d for d in self._given if d >= 0}:
            os.close(descriptor)

    # --- starting -----------------------------------------------------------------------------------------------

    def _terminal(self, columns: int) -> list[int]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        self._names["out"] = ours
        self._texts[ours] = b""
        self._given.append(theirs)
        return [theirs, theirs, theirs]

    def _pipe(self, name: str) -> int:
        ours, theirs = os.pipe()
        self._names[name] = ours
        self._texts[ours] = b""
        self._given.append(theirs)
        return theirs

    def _input(self, text: bytes | None) -> int:
        if text is None:
            return -1
        with tempfile.TemporaryFile() as file:
            file.write(text)
            file.seek(0)
            self._given.append(os.dup(file.fileno()))
        return self._given[-1]

    def _output(self, where: str) -> int:
        if where == "closed":
            return -1
        if where == "gone":
            reader, writer = os.pipe()
            os.close(reader)
            self._given.append(writer)
            return writer
        if where:
            self._given.append(os.open(where, os.O_WRONLY))
            return self._given[-1]
        return self._pipe("out")

    def _spawn(self, arguments: list[str], environ: dict[str, str], cwd: str, descriptors: list[int]) -> int:
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                if os.fork() == 0:
                    _become(arguments, environ, cwd, descriptors, tell)
            finally:
                os._exit(0)
        os.close(tell)
        os.waitpid(child, 0)
        with open(told, "rb") as pipe:
            return int(pipe.read())

    # --- while it runs ------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.killpg(self.pid, signal.SIGINT)

    def type(self, text: str) -> None:
        """Type at its terminal."""
        os.write(self._names["out"], text.encode())

    def wait_for(self, pattern: str, stream: str = "err") -> str:
        """Return what matches, once the command said it."""
        descriptor = self._names[stream]
        while not (found := re.search(pattern, self._texts[descriptor].decode())):
            assert descriptor in self._read(), f"ended without {pattern!r}: {self._texts}"
        return found[0]

    def finish(self) -> Ended:
        """Wait for its end."""
        while self._read():
            pass
        for descriptor in self._names.values():
            os.close(descriptor)
        texts = {name: self._texts[d].decode().replace("\r\n", "\n") for name, d in self._names.items()}
        return Ended(int(texts["status"]), texts.get("out", ""), texts.get("err", ""))

    def _read(self) -> list[int]:
        """Read what comes next; returns what is still open."""
        open_ones = [d for d in self._names.values() if d not in self._ended]
        deadline = time.monotonic() + END_S
        for descriptor in select.select(open_ones, [], [], deadline - time.monotonic())[0]:
            data = b""
            with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more.
                data = os.read(descriptor, 65_536)
            self._texts[descriptor] += data
            if not data:
                self._ended.add(descriptor)
        assert time.monotonic() < deadline, f"it does not end: {self._texts}"
        return [d for d in open_ones if d not in self._ended]


def _become(arguments: list[str], environ: dict[str, str], cwd: str, descriptors: list[int], tell: int) -> None:
    """In the grandchild: a session of its own, the given descriptors, the command."""
    os.setsid()
    os.write(tell, str(os.getpid()).encode())
    high = [d if d < 0 else fcntl.fcntl(d, fcntl.F_DUPFD_CLOEXEC, 32) for d in descriptors]
    for target, descriptor in zip((0, 1, 2, STATUS_FD), high, strict=True):
        if descriptor < 0:
            with contextlib.suppress(OSError):
                os.close(target)
        else:
            os.dup2(descriptor, target)
    if high[0] >= 0 and os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(cwd)
    os.execve(arguments[0], arguments, environ)
