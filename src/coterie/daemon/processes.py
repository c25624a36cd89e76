"""Facts about processes: who they are beyond a pid, who their ancestors are, and when they end.

A pid is used again; a pid with its start time is not. On Linux the start is read from /proc in clock ticks since boot
with the boot id before it, since a start in wall-clock time moves when the clock is set. Elsewhere psutil tells.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

from coterie.agents import command_line
from coterie.peers import Process

ANCESTORS_MAX = 64
"""A chain of parents longer than this is not a real one."""
_LINUX = sys.platform.startswith("linux")
_STATE, _PARENT, _TERMINAL, _START = 0, 1, 4, 19  # fields of /proc/PID/stat after the name; proc(5)
# macOS, <sys/event.h>; written out, as Python defines them only there.
_KQ_FILTER_PROC, _KQ_EV_ADD, _KQ_EV_ONESHOT, _KQ_NOTE_EXIT = -5, 0x1, 0x10, 0x80000000


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(8)
    except OSError:
        return "boot"


_BOOT = _boot_id() if _LINUX else ""


def boot() -> str:
    """What tells this boot of the machine from every other; empty where nothing does."""
    return _BOOT if _BOOT != "boot" else ""


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on, or None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return line[line.rindex(b")") + 2 :].decode().split()


def identify(pid: int) -> Process | None:
    """The process with this pid, or None if there is none. A zombie has ended; its parent has not noticed yet."""
    if pid <= 0:
        return None
    if not _LINUX:
        return _identify_by_psutil(pid)
    fields = _stat(pid)
    if fields is None or fields[_STATE] in "ZX":
        return None
    return Process(pid, f"{_BOOT}:{fields[_START]}")


def _identify_by_psutil(pid: int) -> Process | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Process(pid, f"{process.create_time():.2f}")
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied as error:
        raise PermissionError(str(error)) from None


def is_alive(process: Process) -> bool:
    """Whether this very process runs. One that we may not look at is alive: only "no such process" is an end."""
    try:
        return identify(process.pid) == process
    except PermissionError:
        return True


def send(process: Process, number: int) -> bool:
    """Send a signal to this very process and to no later one with its pid. False if it has ended."""
    try:
        descriptor = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process):  # Looked at after it was held on to: what has this pid now is known.
            return False
        if descriptor is None:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def parent(pid: int) -> int:
    """The pid of the parent; 0 if there is none, or none that we may know (/proc mounted with hidepid)."""
    if _LINUX:
        try:
            fields = _stat(pid)
        except PermissionError:
            return 0
        return int(fields[_PARENT]) if fields else 0
    import psutil

    try:
        return int(psutil.Process(pid).ppid())
    except psutil.Error:
        return 0


def lineage(pid: int) -> list[int]:
    """`pid` and its ancestors, nearest first, without the first process."""
    chain: list[int] = []
    while pid > 1 and pid not in chain and len(chain) < ANCESTORS_MAX:
        chain.append(pid)
        pid = parent(pid)
    return chain


def leaders(pid: int) -> tuple[int, int]:
    """The leaders of the process group and of the session that a process is in; 0 for what may not be known, and
    for one outside this namespace of processes. They may have ended; their pids are given to nobody else while the
    group or the session lives.
    """
    try:
        return os.getpgid(pid), os.getsid(pid)
    except OSError:  # It ended meanwhile, or (macOS) its session may not be known to us.
        return 0, 0


def environment(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty if we may not read it."""
    if not _LINUX:
        return dict(_ask_psutil(pid, "environ") or {})
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = (entry.partition(b"=") for entry in file.read().split(b"\0"))
            return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs if name}
    except OSError:
        return {}


def arguments(pid: int) -> list[str]:
    """The command line of a process; empty if we may not read it."""
    if not _LINUX:
        return list(_ask_psutil(pid, "cmdline") or [])
    return command_line.arguments(pid)


def program(pid: int) -> str:
    """The file that a process runs; empty if we may not know."""
    if not _LINUX:
        return str(_ask_psutil(pid, "exe") or "")
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _ask_psutil(pid: int, what: str) -> Any:
    import psutil

    try:
        return getattr(psutil.Process(pid), what)()
    except (psutil.Error, OSError):
        return None


def has_terminal(pid: int) -> bool:
    """Whether a process belongs to a terminal."""
    if _LINUX:
        fields = _stat(pid)  # Of a caller of our own uid, which we may look at.
        return bool(fields) and fields is not None and fields[_TERMINAL] != "0"
    import psutil

    try:
        return psutil.Process(pid).terminal() is not None
    except psutil.Error:
        return False


class Watch:
    """Tells when processes end, without asking again and again: pidfd on Linux, kqueue on macOS."""

    def __init__(self, on_end: Callable[[Process], None]) -> None:
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._watched: dict[Process, int] = {}
        self._queue = None if hasattr(os, "pidfd_open") else select.kqueue()  # type: ignore[attr-defined,unused-ignore]
        if self._queue is not None:
            self._loop.add_reader(self._queue.fileno(), self._read_queue)

    def add(self, process: Process) -> None:
        """Watch a process; one that has ended already is reported soon, like any other."""
        if process in self._watched:
            return
        try:
            self._watched[process] = self._open(process)
        except (OSError, ValueError):
            self._loop.call_soon(self._report_if_gone, process)
            return
        if not is_alive(process):  # It ended, or its pid was taken by another, before we held on to it.
            self._loop.call_soon(self._end, process)

    def remove(self, process: Process) -> None:
        """Stop watching a process."""
        descriptor = self._watched.pop(process, None)
        if descriptor is not None and self._queue is None:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Stop watching all."""
        for process in list(self._watched):
            self.remove(process)
        if self._queue is not None:
            self._loop.remove_reader(self._queue.fileno())
            self._queue.close()

    def _open(self, process: Process) -> int:
        if self._queue is None:
            descriptor = os.pidfd_open(process.pid)
            self._loop.add_reader(descriptor, self._end, process)
            return descriptor
        flags = _KQ_EV_ADD | _KQ_EV_ONESHOT
        event = select.kevent(process.pid, _KQ_FILTER_PROC, flags, _KQ_NOTE_EXIT)  # type: ignore[attr-defined,unused-ignore]
        self._queue.control([event], 0)
        return process.pid

    def _read_queue(self) -> None:
        assert self._queue is not None
        ended = {event.ident for event in self._queue.control(None, 64, 0)}
        for process in [process for process in self._watched if process.pid in ended]:
            self._end(process)

    def _report_if_gone(self, process: Process) -> None:
        if not is_alive(process):
            self._on_end(process)

    def _end(self, process: Process) -> None:
        if process in self._watched:
            self.remove(process)
            self._on_end(process)
