"""How the daemon is born: by setsid, in /, with no descriptor but the two it is given, and a clean environment.

Light, as the first session to need the daemon starts it. The starter already holds the lock and hands it over, so
that of fifty racing starters one starts one process, and the other forty-nine start nothing.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys

from coterie.errors import Unavailable
from coterie.files import Home, open_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT_VARIABLES = ("HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""All that enters the daemon from whoever started it. Tokens, PATH and the terminal of the first agent do not."""
PATH = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"
"""Where the daemon finds git."""

DESCRIPTORS_CLOSED = 4096
"""Descriptors closed at birth. Agents hold a few hundred; going through a limit of a million takes a second."""


def environment(place: Home, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment that the daemon is born with."""
    kept = {name: environ[name] for name in KEPT_VARIABLES if name in environ}
    return {**kept, "PATH": PATH, "COTERIE_HOME": place.folder}


def spawn(place: Home, lock: int, *options: str) -> int:
    """Start the daemon, which inherits the locked descriptor. Returns a pipe on which it says that it serves."""
    if not sys.executable:
        raise Unavailable("this Python does not know its own path, so it cannot start the daemon", "coterie up")
    log = open_private(place.log, os.O_WRONLY | os.O_APPEND)
    ready, say_ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _become_daemon(place, lock, say_ready, log, options)
        finally:
            os._exit(127)
    os.close(say_ready)
    os.close(log)
    os.waitpid(child, 0)
    return ready


def _become_daemon(place: Home, lock: int, say_ready: int, log: int, options: tuple[str, ...]) -> None:
    os.setsid()
    if os.fork():
        os._exit(0)  # The daemon is nobody's child, so that it leaves no zombie with the session that started it.
    os.chdir("/")
    os.umask(0o077)
    null = os.open(os.devnull, os.O_RDWR)
    # Out of the way of 0 to 2 first: a starter whose own stdin is closed may hold the lock there.
    log, lock, say_ready = (fcntl.fcntl(descriptor, fcntl.F_DUPFD, 3) for descriptor in (log, lock, say_ready))
    for standard, target in ((0, null), (1, null), (2, log)):
        os.dup2(target, standard)
    for inherited in range(3, min(os.sysconf("SC_OPEN_MAX"), DESCRIPTORS_CLOSED)):
        if inherited not in (lock, say_ready):
            _close(inherited)
    command = [sys.executable, "-P", "-m", "coterie.daemon"]
    handed = ["--lock-fd", str(lock), "--ready-fd", str(say_ready)]
    os.execve(sys.executable, [*command, *handed, *options], environment(place))


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return  # It was not open.


def readable(descriptor: int, wait_s: float) -> bool:
    """Whether `descriptor` has something to read within `wait_s` seconds."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(wait_s * 1000))
