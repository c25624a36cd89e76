"""``coterie up`` and ``coterie down``."""

from __future__ import annotations

import fcntl
import os
import select
import time

import click

from coterie.cli import say
from coterie.cli.options import examples, human_option, json_option
from coterie.client import Client, connect
from coterie.errors import Silent, SwitchedOff, Unavailable
from coterie.files import Home, check_file, home, make_folder, open_private

END_S = 5.0
"""How long the daemon may take to leave. It gives itself two seconds to finish what is under way."""
LOOK_FIRST_S, LOOK_MOST_S = 0.005, 0.1
"""Between two looks at its lock: quick at first, as it usually takes milliseconds."""


@click.command(epilog=examples("coterie up"))
@human_option
@json_option
def up(i_am_human: bool, as_json: bool) -> None:
    """Switch coterie on, and start its daemon.

    Once it is off, only a person may switch it on again.
    """
    daemon = _running()
    started = daemon is None
    if daemon is None:
        daemon = connect("cli", even_if_off=True)
    was_off = os.path.lexists(home().off)
    if was_off:
        daemon.call("daemon.up", {"i_am_human": i_am_human})
    pid = daemon.hello["pid"]
    if as_json:
        say.result_json({"up": True, "started": started, "was_off": was_off, "pid": pid})
    else:
        say.result(f"coterie is on: its daemon {'started' if started else 'was running'}, pid {pid}")


@click.command(epilog=examples("coterie down", "coterie up"))
@human_option
@json_option
def down(i_am_human: bool, as_json: bool) -> None:
    """Switch coterie off on this machine, until: coterie up.

    Sessions go on without it. Mail that waits is kept.
    """
    place = home()
    pid = _switch_off(place, i_am_human)
    if as_json:
        say.result_json({"down": True, "was_running": pid is not None, "pid": pid})
    elif pid is None:
        say.result("coterie is off, its daemon was not running; to switch it on: coterie up")
    else:
        say.result(f"coterie is off, its daemon (pid {pid}) has ended; to switch it on: coterie up")


def _running() -> Client | None:
    """A connection to the daemon if it runs. Raises what is worse than its absence."""
    try:
        return connect("cli", start=False)
    except Unavailable as error:
        if type(error) in (Unavailable, SwitchedOff):
            return None
        raise


def _switch_off(place: Home, i_am_human: bool) -> int | None:
    """Returns the pid of the daemon that ended, or None if there was none."""
    deadline = time.monotonic() + END_S
    daemon = _running()
    if daemon is None:
        # The daemon makes the mark itself, for a person only. Without one nobody can tell who is asking.
        make_folder(place.folder)
        os.close(open_private(place.off, os.O_WRONLY))
        daemon = _starting(place, deadline)
    if daemon is None:
        return None
    pid: int = daemon.hello["pid"]
    process = _process(pid)
    daemon.call("daemon.down", {"i_am_human": i_am_human})
    pause = LOOK_FIRST_S
    while not (_is_free(place) and _is_over(process)):
        pause = _pause(pause, deadline, pid)
    return pid


def _starting(place: Home, deadline: float) -> Client | None:
    """The daemon, if somebody began to start it before the mark was there."""
    pause = LOOK_FIRST_S
    while not _is_free(place):
        daemon = _running()
        if daemon:
            return daemon
        pause = _pause(pause, deadline, 0)
    return None


def _pause(pause: float, deadline: float, pid: int) -> float:
    """Wait a little; returns how long to wait the next time. Raises `Silent` when it was long enough."""
    if time.monotonic() > deadline:
        who = f"the daemon (pid {pid})" if pid else "a daemon that is starting"
        raise Silent(
            f"coterie is switched off, and {who} has not ended after {END_S:g} s",
            f"if it is stuck: kill {pid}" if pid else "try again",
        )
    time.sleep(pause)
    return min(pause * 2, LOOK_MOST_S)


def _is_free(place: Home) -> bool:
    """Whether no daemon holds the lock, which goes with its process."""
    if not check_file(place.lock):
        return True
    lock = open_private(place.lock, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(lock)


def _process(pid: int) -> int | None:
    """Something to see the end of a process by; None where there is no such thing, and its lock must do."""
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        return None


def _is_over(process: int | None) -> bool:
    return process is None or bool(select.select([process], [], [], 0)[0])
