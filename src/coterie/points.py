"""Named points at which a test may have this process killed, as a power cut would. Free when none is armed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_armed: dict[str, int] = {}
_end: Callable[[], None] = _kill


def arm(name: str, visit: int, end: Callable[[], None] = _kill) -> None:
    """Have this process killed with SIGKILL at the `visit`-th time (from 1) that it comes to the point `name`; or have
    `end` called, where a process is only simulated.
    """
    global _end
    if name not in POINTS:
        raise ValueError(f"no crash point {name!r}; there are: {', '.join(POINTS)}")
    _armed[name], _end = visit, end


def disarm() -> None:
    """Have nothing happen at any point."""
    _armed.clear()


def point(name: str) -> None:
    """A place where the process may end."""
    if not _armed or name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] == 0:
        _end()


POINTS = (
    "before-write",  # a batch was taken from the queue, nothing is written
    "before-commit",  # everything is written, nothing is committed
    "after-commit",  # everything is durable, nobody was told
    "before-push",  # the sender may know; the recipient's adapter has not been told
    "after-push",  # the adapter may have posted; its report has not been stored
    "migration-statement",  # inside the transaction of a migration
    "copy-written",  # a copy of the database is written, not yet on the disk and without its name
    "restore-step",  # between two renames of a restore
    "outbox-stored",  # a message to another device is durable, and was not sent
    "envelope-sent",  # it was handed to the way there, and is not confirmed
    "arrival-stored",  # a message of another device is durable, and that one was not told
    "before-answer",  # an answer is ready and not sent
)
