"""How an agent was started: what its environment does not tell, its command line does. Light.

Read from /proc, so on Linux only; elsewhere nothing is known, and callers take what that means for the usual case: a
session in a terminal.
"""

from __future__ import annotations

import os

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash", "ksh", "fish"})
"""What may stand between an agent and the command of a hook."""
SHELLS_MAX = 4
"""Shells in a row that are looked past; a wrapper in a wrapper is two."""
TERMINALS = ("/dev/pts/", "/dev/tty")


def _read(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def arguments(pid: int) -> list[str]:
    """The command line of a process; empty if it is not known."""
    return _read(pid, "cmdline").split("\0")[:-1]


def on_terminal(pid: int) -> bool:
    """Whether stdin and stdout of a process are terminals; so it is taken for where it is not known."""
    try:
        return all(os.readlink(f"/proc/{pid}/fd/{number}").startswith(TERMINALS) for number in (0, 1))
    except OSError:
        return True


def parent_past_shells() -> int:
    """The nearest ancestor of this process that is no shell."""
    pid = os.getppid()
    for _ in range(SHELLS_MAX):
        # PID (NAME) STATE PARENT ...; proc(5). A name may hold anything, so its last bracket counts.
        name, _, rest = _read(pid, "stat").rpartition(")")
        fields = rest.split()
        if name.partition("(")[2] not in SHELLS or len(fields) < 2:
            break
        pid = int(fields[1])
    return pid
