"""A process that gets away from who started it, in the ways named, and becomes a command then.

usage: python escape.py WAYS COMMAND..., WAYS being a list with commas (or "-") of

    orphan      its parent has ended
    session     a session of its own, without a terminal
    scrubbed    with no variable but those that a coterie command needs
    terminal    on a terminal that it made itself
    renamed     it is what its parent was, in place of it: no shell is left in between
"""

from __future__ import annotations

import os
import pty
import sys
import time

KEPT = ("PATH", "HOME", "COTERIE_HOME", "LANG")


def orphan() -> None:
    """Fork, end the parent, and go on once that is gone."""
    parent = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.001)


def on_a_terminal(command: list[str], environ: dict[str, str]) -> None:
    """Run the command on a terminal of our making, and read what it says."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(command[0], command, environ)
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:  # EIO: it has ended.
        pass
    os.waitpid(child, 0)


def main() -> None:
    ways, command = sys.argv[1].split(","), sys.argv[2:]
    environ = {name: os.environ[name] for name in KEPT} if "scrubbed" in ways else dict(os.environ)
    if "session" in ways:
        if os.fork():
            os._exit(0)
        os.setsid()
    if "orphan" in ways:
        orphan()
    if "scrubbed" in ways:  # Of those that stay behind, too.
        again = [sys.executable, "-P", __file__, ",".join({*ways} - {"scrubbed", "session", "orphan"}) or "-", *command]
        os.execve(again[0], again, environ)
    if "terminal" in ways:
        on_a_terminal(command, environ)
    else:
        os.execve(command[0], command, environ)


if __name__ == "__main__":
    main()
