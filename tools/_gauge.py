"""Memory, descriptors, write-ahead log and processor time of a process over time, and what can be said of a slope."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psutil

from _parts import MIB

SAMPLES_MAX = 600
"""Samples of one run: enough for a picture, and for the error of a slope to be small."""
WIDTH, HEIGHT = 64, 6
"""Columns and rows of a picture."""
SURE = 2.0
"""Standard errors that a slope must be over a limit before it is called over. One run in forty errs so by chance."""
BLOCKS = 20
"""Parts of a run whose means are taken for the error of a slope. What follows one another closely is alike, so that
single samples would promise more than they know; the means of longer parts are less so."""


@dataclass(frozen=True)
class Sample:
    """One look at a process."""

    at_s: float
    """Since the beginning of the gauge."""
    pid: int
    rss_mib: float
    descriptors: int
    wal_mib: float
    cpu_s: float
    """On a processor so far."""


@dataclass(frozen=True)
class Slope:
    """Growth over time, by least squares, with its standard error."""

    per_hour: float
    error: float

    def is_over(self, limit: float) -> bool:
        """Whether it is more than `limit` beyond chance."""
        return self.per_hour - SURE * self.error > limit

    def __str__(self) -> str:
        return f"{self.per_hour:+.2f} +- {SURE * self.error:.2f}"


class Gauge:
    """Looks at a process again and again, in a thread of its own."""

    def __init__(self, pid_of: Callable[[], int], wal: str, every_s: float) -> None:
        self.samples: list[Sample] = []
        self._pid_of = pid_of
        self._wal = wal
        self._every_s = every_s
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="gauge", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._begun = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            # A process that is just being replaced is looked at next time.
            with contextlib.suppress(psutil.Error, OSError):
                self.samples.append(sample(self._pid_of(), self._wal, self._begun))
            if self._over.wait(self._every_s):
                return

    def of(self, pid: int, after_s: float = 0.0) -> list[Sample]:
        """The samples of one process, from `after_s` on."""
        return [found for found in self.samples if found.pid == pid and found.at_s >= after_s]


@contextlib.contextmanager
def gauging(pid_of: Callable[[], int], wal: str, seconds: float) -> Iterator[Gauge]:
    """A gauge for a run of about so many seconds."""
    gauge = Gauge(pid_of, wal, max(0.1, seconds / SAMPLES_MAX))
    gauge.start()
    try:
        yield gauge
    finally:
        gauge.stop()


def sample(pid: int, wal: str, begun: float) -> Sample:
    """One look at a process. Raises `psutil.Error` if it is gone."""
    process = psutil.Process(pid)
    with process.oneshot():
        rss, cpu = process.memory_info().rss, process.cpu_times()
        used = cpu.user + cpu.system
    try:
        log = os.path.getsize(wal)
    except FileNotFoundError:
        log = 0
    return Sample(time.monotonic() - begun, pid, rss / MIB, process.num_fds(), log / MIB, used)


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope:
    """Growth an hour. Fewer than three values have none that could be told."""
    if len(times_s) < 3:
        return Slope(0.0, math.inf)
    size = max(1, len(times_s) // BLOCKS)
    times, means = _blocks(times_s, size), _blocks(values, size)
    middle_t, middle_v = sum(times) / len(times), sum(means) / len(means)
    spread = sum((at - middle_t) ** 2 for at in times)
    if spread == 0 or len(times) < 3:
        return Slope(0.0, math.inf)
    rise = sum((at - middle_t) * (value - middle_v) for at, value in zip(times, means, strict=True)) / spread
    left = sum((v - middle_v - rise * (at - middle_t)) ** 2 for at, v in zip(times, means, strict=True))
    error = math.sqrt(left / (len(times) - 2) / spread)
    return Slope(rise * 3600, error * 3600)


def _blocks(values: Sequence[float], size: int) -> list[float]:
    return [sum(values[at : at + size]) / size for at in range(0, len(values) - size + 1, size)]


def picture(title: str, samples: Sequence[Sample], value: Callable[[Sample], float], unit: str) -> list[str]:
    """Lines that show how a value went, for a terminal of 80 columns."""
    if not samples:
        return [f"{title}: no samples"]
    columns = _columns(samples, value)
    low, high = min(columns), max(columns)
    span = high - low
    lines = [f"{title} ({unit})"]
    for row in range(HEIGHT, 0, -1):
        level = low + span * (row - 0.5) / HEIGHT
        label = f"{high:9.1f}" if row == HEIGHT else f"{low:9.1f}" if row == 1 else " " * 9
        lines.append(f"{label} |" + "".join("#" if column >= level or row == 1 else " " for column in columns).rstrip())
    begin, end = samples[0].at_s, samples[-1].at_s
    lines.append(" " * 10 + "+" + "-" * len(columns))
    lines.append(" " * 11 + f"{begin:.0f} s".ljust(max(0, len(columns) - 8)) + f"{end:.0f} s".rjust(8))
    return lines


def _columns(samples: Sequence[Sample], value: Callable[[Sample], float]) -> list[float]:
    """The highest value of each column: a peak must not vanish in a mean."""
    count = min(WIDTH, len(samples))
    edges = [round(number * len(samples) / count) for number in range(count + 1)]
    return [max(map(value, samples[low:high])) for low, high in itertools.pairwise(edges)]


def rows_over_time(samples: Sequence[Sample], rows: int = 6) -> list[tuple[str, ...]]:
    """A small table: time, memory, descriptors, log and processor share, at a few moments."""
    if len(samples) < 2:
        return []
    picked = [samples[round(number * (len(samples) - 1) / rows)] for number in range(rows + 1)]
    found: list[tuple[str, ...]] = [("time", "memory", "descriptors", "log", "CPU since")]
    for before, now in zip([picked[0], *picked], picked, strict=False):
        passed = now.at_s - before.at_s
        share = f"{(now.cpu_s - before.cpu_s) / passed:.0%}" if passed > 0 and now.pid == before.pid else "-"
        line = (f"{now.at_s:.0f} s", f"{now.rss_mib:.1f} MiB", str(now.descriptors), f"{now.wal_mib:.1f} MiB", share)
        found.append(line)
    return found
