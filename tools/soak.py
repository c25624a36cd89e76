"""The soak: what is promised of a rough world over a long time, tried for real.

usage: python tools/soak.py [PART...] [--minutes N] [--kills N] [--seeds N] [--small]     (make soak)

parts: flood throng weeks history kills tests simulator; all of them without a name. Prints what it does, a table of
what is promised and measured, and writes build/soak.json. The exit status is 1 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import psutil

import coterie
from _flood import flood
from _history import history
from _parts import take_signals
from _soaks import Report, Verdict
from _throng import throng
from _weeks import weeks

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULT = os.path.join(ROOT, "build", "soak.json")
MINUTES, KILLS, SEEDS = 10.0, 1_000, 2_000
SIMULATOR = "coterie.testing.sim"
BUSY_S = 1.0


def _progress(text: str) -> None:
    sys.stderr.write(text + "\n")


def _run(claim: str, command: Sequence[str], environ: dict[str, str] | None = None) -> Report:
    """A program that says by its exit status whether all is well, and what it did by its last line."""
    report, last = Report(), ""
    command = [sys.executable, *command]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **(environ or {})}, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        for line in running.stdout:
            _progress(f"  {line.rstrip()}")
            last = line.strip() or last
    report.add(claim, "passes", last[:60] or f"exit status {running.returncode}", running.returncode == 0)
    return report


def _kills(count: int) -> Report:
    test = ["-m", "pytest", "-s", "-m", "soak", "tests/daemon/test_kills.py", "-o", "timeout=0"]
    return _run(f"{count:,} kills lose nothing and show nothing twice", test, {"COTERIE_SOAK_KILLS": str(count)})


def _tests() -> Report:
    """The long tests of every part, but the kills, which are a part of their own."""
    test = ["-m", "pytest", "-m", "soak", "--deselect", "tests/daemon/test_kills.py", "-o", "timeout=0"]
    return _run("the long tests", test)


def _simulator(seeds: int) -> Report:
    if importlib.util.find_spec(SIMULATOR) is None:
        report = Report()
        report.add("the simulator", "", "is not there", None)
        return report
    return _run(f"the simulator, {seeds:,} seeds", ["-m", SIMULATOR, "--seeds", str(seeds)])


def _parts(arguments: argparse.Namespace) -> dict[str, Callable[[], Report]]:
    minutes, small = arguments.minutes, arguments.small
    seconds = minutes * 60
    return {
        "flood": lambda: flood(1_000, 6, 1.0) if small else flood(),
        "throng": lambda: throng(seconds, 200, 40, 4) if small else throng(seconds),
        "weeks": lambda: weeks(seconds),
        "history": lambda: history(5_000) if small else history(),
        "kills": lambda: _kills(arguments.kills),
        "tests": _tests,
        "simulator": lambda: _simulator(arguments.seeds),
    }


def _print(name: str, report: Report) -> None:
    print(f"\n{name}")
    rows = [Verdict("claim", "promised", "measured", None), *report.verdicts]
    widths = [max(len(getattr(row, column)) for row in rows) for column in ("claim", "promised", "measured")]
    for row in rows:
        verdict = {True: "ok", False: "BROKEN", None: ""}[row.ok]
        cells = zip((row.claim, row.promised, row.measured), widths, strict=True)
        print("  ".join([*(f"{cell:<{width}}" for cell, width in cells), verdict]).rstrip())
    if report.samples:
        print("\n" + "\n".join(report.pictures()), flush=True)


def _write(found: dict[str, Report]) -> None:
    os.makedirs(os.path.dirname(RESULT), exist_ok=True)
    with open(RESULT, "w") as file:
        json.dump({name: asdict(report) for name, report in found.items()}, file, indent=1)
        file.write("\n")


def main() -> int:
    """Soak; 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(description="Tries for a long time what is promised of a rough world.")
    parser.add_argument("part", nargs="*", help="flood throng weeks history kills tests simulator; default: all")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for each of throng and weeks (10)")
    parser.add_argument("--kills", type=int, default=KILLS, help="how many (1000; before a release 10000)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of the simulator (2000)")
    parser.add_argument("--small", action="store_true", help="fewer sessions and messages, for a look")
    arguments = parser.parse_args()
    parts = _parts(arguments)
    unknown = [name for name in arguments.part if name not in parts]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; one of: {' '.join(parts)}")
    take_signals()
    compileall.compile_dir(os.path.dirname(coterie.__file__), quiet=1)
    begun, found = time.monotonic(), dict[str, Report]()
    try:
        for name in arguments.part or parts:
            busy = psutil.cpu_percent(interval=BUSY_S)
            _progress(f"{time.monotonic() - begun:5.0f} s  {name} (others take {busy:.0f}% of the processors)")
            found[name] = parts[name]()
            _print(name, found[name])
    except KeyboardInterrupt:
        _progress("interrupted; everything that was started has ended")
        return 130
    _write(found)
    broken = [verdict for report in found.values() for verdict in report.verdicts if verdict.ok is False]
    print(f"\n{len(broken)} promises broken; {time.monotonic() - begun:.0f} s; written to {os.path.relpath(RESULT)}")
    for verdict in broken:
        print(f"  BROKEN: {verdict.claim}: {verdict.measured}, promised {verdict.promised}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
