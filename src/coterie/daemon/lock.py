"""The lock that makes the daemon the only one: flock on a file of its own, held for its whole life.

The socket cannot serve as the lock: asyncio's ``start_unix_server(path=...)`` silently takes over a living daemon's
socket. flock goes with the process, so kill -9 leaves nothing to clean up, and a stopped daemon keeps it.
"""

from __future__ import annotations

import fcntl
import os

from coterie.errors import Unavailable
from coterie.files import Home, open_private


class Held(Unavailable):
    """Another daemon serves; its pid is in the message."""


def take(place: Home, handed: int | None) -> int:
    """Hold the lock, as handed over by the starter or taken now, with our pid in it. Returns the descriptor; closing
    it gives the lock up. Raises `Held` if another daemon holds it.
    """
    lock = open_private(place.lock, os.O_RDWR) if handed is None else handed
    os.set_inheritable(lock, False)  # git, which we start, must not keep the lock beyond our end.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise Held(f"a daemon serves {place.folder} already (pid {holder or 'unknown'})") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock
