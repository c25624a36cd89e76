"""One `coterie init` at a time: what one remembers about a file must not be overwritten by another that planned before.

The lock is a flock on a file beside the record. It goes with the process, so a run that was killed leaves nothing to
clean up. It is not held while a person is asked: what was agreed to is planned again once it is taken.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from coterie.errors import Refused
from coterie.files import make_folder, open_private

TURN_S = 2.0
"""How long to wait for another run. Measured: it holds the lock for 13 ms; where Claude Code's file has 6 MB, 0.6 s."""
_LOOK_S = 0.02
"""Between two tries: flock cannot wait for a limited time."""
_PID_BYTES_MAX = 20


@contextlib.contextmanager
def turn(folder: str) -> Iterator[None]:
    """Be the only run that changes anything. Raises `Refused` if another does not end."""
    make_folder(folder)
    lock = open_private(os.path.join(folder, "lock"), os.O_RDWR)
    try:
        _take(lock)
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(lock)


def _take(lock: int) -> None:
    deadline = time.monotonic() + TURN_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(lock, _PID_BYTES_MAX, 0).decode("ascii", "replace").strip()
                raise Refused(
                    f"another coterie init is running (pid {holder or 'unknown'}), and nothing was changed",
                    "wait until it has ended, and run it again",
                ) from None
        time.sleep(_LOOK_S)
