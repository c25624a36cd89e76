"""What the parts of the soak share: a verdict, and the processes that make load."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from _gauge import Sample, picture, rows_over_time
from _parts import Place
from coterie.config import KEYS

LOADS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_loads.py")
LASTING_SLACK = 2
"""A command or a hook may be under way in all of the samples."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """One promise, and what was measured of it."""

    claim: str
    promised: str
    measured: str
    ok: bool | None
    """None where nothing is promised."""


@dataclass
class Report:
    """What a part found."""

    verdicts: list[Verdict] = field(default_factory=list)
    figures: Json = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def add(self, claim: str, promised: str, measured: str, ok: bool | None) -> None:
        self.verdicts.append(Verdict(claim, promised, measured, ok))

    def at_most(self, claim: str, limit: float, value: float, unit: str) -> None:
        self.add(claim, f"<= {limit:g} {unit}", f"{value:.2f} {unit}", value <= limit)

    def pictures(self) -> list[str]:
        """The samples, as a table and as pictures."""
        lines = ["".join(f"{cell:>13}" for cell in row) for row in rows_over_time(self.samples)]
        for title, value, unit in _SHOWN:
            lines += ["", *picture(title, self.samples, value, unit)]
        return lines


_SHOWN: tuple[tuple[str, Callable[[Sample], float], str], ...] = (
    ("memory of the daemon", lambda sample: sample.rss_mib, "MiB"),
    ("its descriptors", lambda sample: float(sample.descriptors), "open"),
)


def lasting(samples: Sequence[Sample]) -> tuple[str, bool]:
    """The descriptors that stay open, at the beginning and the end, and whether they are as many. What is open for a
    moment does not count: the fewest of a while are what stays.
    """
    part = max(1, len(samples) // 4)
    first, last = (min(found.descriptors for found in some) for some in (samples[:part], samples[-part:]))
    return f"{first}, {last}", last <= first + LASTING_SLACK


def raise_guards(home: str) -> None:
    """Let agents of this home send as much as can be set: the guards look at everything and refuse nothing, so that
    what is measured is the way that is shipped.
    """
    os.makedirs(home, mode=0o700, exist_ok=True)
    lines = [f"{name} = {key.high}" for name, key in KEYS.items() if name.startswith("guards.")]
    with open(os.open(os.path.join(home, "config.toml"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")


class Load:
    """One process of `_loads.py`."""

    def __init__(self, here: Place, *command: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, LOADS, *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=here.environ,
            text=True,
            process_group=0,  # A Ctrl-C at the terminal is for the soak, which then ends them in good order.
        )
        here.remember(self._process.pid)
        self.peers: list[str] = self._said()["peers"]

    def _said(self) -> Json:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process that makes load ended with {self._process.wait()}")
        said: Json = json.loads(line)
        return said

    def begin(self, peers: list[str]) -> None:
        """Let it write to these."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(peers) + "\n")
        self._process.stdin.flush()

    def has_said(self) -> bool:
        """Whether its result is there, or it has ended."""
        assert self._process.stdout
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def result(self) -> Json:
        """What it saw; waits for it."""
        return self._said()

    def end(self) -> None:
        """Let it go."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def close(self) -> None:
        """It is over, or is ended."""
        self.end()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


@contextlib.contextmanager
def load(here: Place, *command: object) -> Iterator[Load]:
    """A process that makes load, and is gone afterwards."""
    found = Load(here, *command)
    try:
        yield found
    finally:
        found.close()
