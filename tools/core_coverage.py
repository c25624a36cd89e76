"""Whether each file of the core is covered, every line and branch, by its own tests alone.

A file that other tests happen to run through is not tested by them: they would pass with its answers wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "core-coverage"
CORE = (
    "errors",
    "ids",
    "jsonline",
    "frames",
    "activity",
    "peers",
    "addresses",
    "snapshots",
    "messages",
    "policy",
    "guards",
    "tallies",
    "config",
    "words",
    "spelling",
    "devices",
    "endpoints",
    "invitations",
    "pairing",
    "links",
    "envelopes",
)
AT_ONCE = 2
TIME_LIMIT_S = 120

# What only the type checker reads is never run.
SETTINGS = """\
[report]
exclude_also =
    if TYPE_CHECKING:
"""


@dataclass(frozen=True)
class Result:
    """What the tests of one file cover of it."""

    name: str
    covered: bool
    report: str
    seconds: float


def coverage(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run coverage with our settings only, so that those for the whole suite do not widen what is measured."""
    verb, *rest = arguments
    command = [sys.executable, "-m", "coverage", verb, f"--rcfile={WORK / 'settings'}", *rest]
    return subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIME_LIMIT_S,
    )


def measure(name: str) -> Result:
    """Run the tests of one file and look what they cover of it."""
    start = time.monotonic()
    source, tests, data = f"src/coterie/{name}.py", f"tests/test_{name}.py", f"--data-file={WORK / name}"
    run = coverage("run", "--branch", f"--include={source}", data, "-m", "pytest", "-p", "no:cacheprovider", tests)
    seconds = time.monotonic() - start
    if run.returncode:
        return Result(name, covered=False, report=run.stdout, seconds=seconds)
    report = coverage("report", f"--include={source}", data, "--show-missing", "--fail-under=100", "--precision=2")
    return Result(name, report.returncode == 0, report.stdout, seconds)


def main() -> int:
    """Measure every core file, print a line for each, and fail unless all are covered."""
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "settings").write_text(SETTINGS)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(measure, CORE))
    print("file       lines  branches  covered  seconds")
    for result in results:
        print(line(result))
    for result in results:
        if not result.covered:
            print(f"\n{result.name} is not covered by tests/test_{result.name}.py alone:\n{result.report}")
    return 0 if all(result.covered for result in results) else 1


def line(result: Result) -> str:
    """A row of the table, from the last line of the report: TOTAL, lines, missed, branches, half taken, per cent."""
    total = next((text.split() for text in result.report.splitlines() if text.startswith("TOTAL ")), None)
    _, lines, _, branches, _, share = total or ["", "?", "", "?", "", "failed"]
    return f"{result.name:<10} {lines:>5}  {branches:>8}  {share:>7}  {result.seconds:>7.1f}"


if __name__ == "__main__":
    sys.exit(main())
