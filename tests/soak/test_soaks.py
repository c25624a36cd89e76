"""The soak in small: each part for seconds, with all of its promises. `make soak` has them in full."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from _flood import flood
from _history import history
from _soaks import Report, Verdict
from _throng import throng
from _weeks import weeks

NEEDS_TIME = ("slope of",)
"""Promises about memory over time. Seconds do not show them."""


def broken(report: Report) -> list[Verdict]:
    assert any(verdict.ok for verdict in report.verdicts), "nothing was promised"
    return [v for v in report.verdicts if v.ok is False and not v.claim.startswith(NEEDS_TIME)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(lambda: flood(messages=600, quiet=4, talk_s=0.3), id="a flood beside quiet sessions"),
        pytest.param(lambda: throng(4.0, sessions=60, senders=20, real=2), id="many that write all the time"),
        pytest.param(lambda: weeks(8.0), id="sessions that come and go, and a daemon that is killed"),
        pytest.param(lambda: history(old=3_000, seconds=1.0), id="the upkeep over a long history"),
    ],
)
def test_in_small(part: Callable[[], Report]) -> None:
    """A machine that is busy with something else may miss a figure once."""
    found = broken(part()) and broken(part())
    assert found == []
