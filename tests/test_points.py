"""Crash points: armed, the process is killed at the visit asked for; otherwise they do nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coterie import points

VISITS = """
import sys
from coterie.points import arm, point
arm("before-write", int(sys.argv[1]))
for visit in range(1, 4):
    print(visit, flush=True)
    point("after-commit")
    point("before-write")
"""


def visits(visit: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", VISITS, str(visit)], stdout=subprocess.PIPE, text=True, check=False, timeout=30
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(("visit", "said"), [(1, "1\n"), (3, "1\n2\n3\n")])
def test_the_process_ends_at_the_visit_asked_for(visit: int, said: str) -> None:
    assert visits(visit) == (-signal.SIGKILL, said)


def test_a_visit_that_never_comes() -> None:
    assert visits(4) == (0, "1\n2\n3\n")


def test_nothing_is_armed_by_itself() -> None:
    for name in points.POINTS:
        points.point(name)


def test_a_point_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no crash point 'somewhere'; there are: before-write, before-commit"):
        points.arm("somewhere", 1)
    assert points._armed == {}


def test_every_point_stands_in_the_code() -> None:
    """A test that arms a point nobody visits would pass without testing anything."""
    source = "".join(path.read_text() for path in Path(points.__file__).parent.rglob("*.py"))
    assert [name for name in points.POINTS if f'point("{name}")' not in source] == []
