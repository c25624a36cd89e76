"""What the sessions of this machine take of it: CPU and memory of their process trees. Looked at when somebody asks.

The tree of a session is its agent's process and all that descend from it. Processor time is that of the living
processes and of the ended children that they waited for (cutime of proc(5)), so that what a short command took is
not lost. Memory is the resident set; pages that processes share count in each of them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from coterie.limits import USAGE_FIRST_S, USAGE_LEAST_S
from coterie.peers import LISTED, Peer, Process, anchor

_LINUX = sys.platform.startswith("linux")
STAT_BYTES = 1024
"""More than /proc/PID/stat ever holds: 52 numbers and a name."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/PID/stat after the name; proc(5).
_STATE, _PARENT, _TIMES, _START, _RSS = 0, 1, slice(11, 15), 19, 21


class Taken(NamedTuple):
    """One process at one moment."""

    parent: int
    start: str
    """Tells it from a later process with the same pid."""
    cpu_s: float
    memory: int


class Sample(NamedTuple):
    """The tree of a session at one moment, by pid."""

    at: float
    tree: dict[int, Taken]


class Share(NamedTuple):
    """What a tree took."""

    cpu_percent: float | None
    """Of one core; None without an earlier look."""
    cpu_over_s: float | None
    memory: int
    pids: frozenset[int]


Table = dict[int, Taken]


def table() -> Table:
    """Every process that we may look at. Takes milliseconds, so it is read beside the event loop."""
    return _by_proc() if _LINUX else _by_psutil()


def _by_proc() -> Table:
    found: Table = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        line = _read(f"/proc/{name}/stat")
        if not line:
            continue  # It ended meanwhile, or /proc hides it.
        fields = line[line.rindex(b")") + 2 :].split()
        if fields[_STATE] not in (b"Z", b"X"):
            cpu = sum(map(int, fields[_TIMES])) / _TICKS
            found[int(name)] = Taken(int(fields[_PARENT]), fields[_START].decode(), cpu, int(fields[_RSS]) * _PAGE)
    return found


def _read(path: str) -> bytes:
    """A small file; empty if it cannot be read. A file object would cost as much again."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, STAT_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _by_psutil() -> Table:
    import psutil

    found: Table = {}
    for process in psutil.process_iter(["ppid", "create_time", "cpu_times", "memory_info"]):
        info = process.info
        if info["cpu_times"] and info["memory_info"]:  # Of other users' processes there is neither.
            cpu = float(sum(info["cpu_times"][:4]))
            found[process.pid] = Taken(info["ppid"], f"{info['create_time']:.2f}", cpu, info["memory_info"].rss)
    return found


def trees(processes: Table, roots: Iterable[int]) -> dict[int, dict[int, Taken]]:
    """The processes of each tree, its root among them; empty for a root that is gone."""
    children: dict[int, list[int]] = {}
    for pid, taken in processes.items():
        children.setdefault(taken.parent, []).append(pid)
    return {root: _tree(processes, children, root) for root in set(roots)}


def _tree(processes: Table, children: Mapping[int, list[int]], root: int) -> dict[int, Taken]:
    found: dict[int, Taken] = {}
    ahead = [root]
    while ahead:
        pid = ahead.pop()
        if pid in processes and pid not in found:
            found[pid] = processes[pid]
            ahead += children.get(pid, ())
    return found


def cpu_between(before: Mapping[int, Taken], now: Mapping[int, Taken], alive: Mapping[int, Taken]) -> float:
    """The seconds of processor time that a tree took between two moments. A process that left the tree and lives on
    takes its own time with it.
    """
    left = {
        pid: taken
        for pid, taken in before.items()
        if pid not in now and pid in alive and alive[pid].start == taken.start
    }
    return max(0.0, sum(t.cpu_s for t in now.values()) - sum(t.cpu_s for p, t in before.items() if p not in left))


class Usage:
    """The last look at each session."""

    def __init__(
        self,
        roster: Callable[[], Iterable[Peer]],
        read: Callable[[], Table] = table,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._roster = roster
        self._read = read
        self._clock = clock
        self._samples: dict[str, Sample] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[Any] | None = None

    def close(self) -> None:
        """Look no more."""
        for waiting in (self._timer, self._looking):
            if waiting:
                waiting.cancel()

    def came(self) -> None:
        """A session is here: take a first look in a moment, one for all that come together."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(USAGE_FIRST_S, self._first)

    def _first(self) -> None:
        self._timer = None
        self._looking = asyncio.ensure_future(self._take_first())

    async def _take_first(self) -> None:
        await self.of([peer for peer in self._roster() if peer.id not in self._samples])

    async def of(self, peers: Iterable[Peer]) -> dict[str, Share]:
        """What the sessions of these peers took since each was looked at last, by peer; without those that have no
        process. A look that is hardly older than this one is left in its place: the clock of processes has ticks of
        ten milliseconds.
        """
        roots = {peer.id: process for peer in peers if (process := root(peer))}
        if not roots:
            return {}
        processes = await asyncio.to_thread(self._read)
        now = self._clock()
        found = trees(processes, (process.pid for process in roots.values()))
        self._forget()
        shares = {}
        for peer, process in roots.items():
            tree = found[process.pid]
            if tree:
                shares[peer] = self._share(peer, process.pid, Sample(now, tree), processes)
        return shares

    def _share(self, peer: str, pid: int, sample: Sample, processes: Table) -> Share:
        before = self._samples.get(peer)
        if before and (pid not in before.tree or before.tree[pid].start != sample.tree[pid].start):
            before = None  # Another process has the session now.
        over = sample.at - before.at if before else 0.0
        if before is None or over >= USAGE_LEAST_S:
            self._samples[peer] = sample
        memory = sum(taken.memory for taken in sample.tree.values())
        percent = None
        if before and over > 0:
            percent = 100 * cpu_between(before.tree, sample.tree, processes) / over
        return Share(percent, over if before else None, memory, frozenset(sample.tree))

    def _forget(self) -> None:
        here = {peer.id for peer in self._roster() if peer.state in LISTED}
        for gone in set(self._samples) - here:
            del self._samples[gone]


def root(peer: Peer) -> Process | None:
    """The process at the root of a session's tree, while it is here: the agent's, though several may share it."""
    return (peer.agent or anchor(peer)) if peer.state in LISTED else None


def total(shares: Mapping[str, Share], peers: Iterable[Peer]) -> dict[str, Any]:
    """What all these sessions take together: a process that several share, or that lies in several trees, once."""
    by_root = {process.pid: shares[peer.id] for peer in peers if peer.id in shares and (process := root(peer))}
    inner = {pid for pid in by_root for other, share in by_root.items() if other != pid and pid in share.pids}
    outer = [share for pid, share in by_root.items() if pid not in inner]
    known = [share.cpu_percent for share in outer if share.cpu_percent is not None]
    return {
        "cpu_percent": sum(known) if known else None,
        "memory_bytes": sum(share.memory for share in outer),
        "processes": sum(len(share.pids) for share in outer),
    }
