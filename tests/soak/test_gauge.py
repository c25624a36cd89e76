"""What is said of a slope must be true, or a soak proves nothing."""

from __future__ import annotations

import math
import os
import random

import pytest

from _gauge import HEIGHT, Sample, Slope, gauging, picture, rows_over_time, slope
from conftest import wait_for


def samples(values: list[float]) -> list[Sample]:
    return [Sample(float(at), 7, value, 10, 0.0, at / 2) for at, value in enumerate(values)]


def test_a_straight_line_has_its_slope_and_no_error() -> None:
    found = slope([0.0, 1.0, 2.0, 3.0], [1.0, 1.5, 2.0, 2.5])
    assert found.per_hour == pytest.approx(1800)
    assert found.error == pytest.approx(0, abs=1e-6)
    assert found.is_over(1799)
    assert not found.is_over(1801)


@pytest.mark.parametrize("true", [0.0, 5.0])
def test_a_slope_in_noise_lies_within_its_error(true: float) -> None:
    """The error is what it says: nineteen times in twenty the true slope is within two of it."""
    chance, times, within = random.Random(1), [float(at) for at in range(600)], 0
    for _ in range(200):
        found = slope(times, [true * at / 3600 + chance.gauss(0, 0.1) for at in times])
        within += abs(found.per_hour - true) <= 2 * found.error
    assert within >= 180


def test_a_leak_is_seen_in_ten_minutes() -> None:
    """Of ten MiB an hour, in the noise that was measured."""
    chance, times = random.Random(2), [float(at) for at in range(600)]
    found = slope(times, [10 * at / 3600 + chance.gauss(0, 0.05) for at in times])
    assert found.is_over(1.0)
    assert not slope(times, [chance.gauss(0, 0.05) for _ in times]).is_over(1.0)


def test_what_cannot_be_told_is_not_told() -> None:
    assert slope([0.0, 1.0], [1.0, 9.0]).error == math.inf
    assert not Slope(100.0, math.inf).is_over(1.0)


def test_a_picture_fits_a_terminal_and_keeps_a_peak() -> None:
    values = [1.0] * 999
    values[500] = 9.0
    lines = picture("memory", samples(values), lambda sample: sample.rss_mib, "MiB")
    assert len(lines) == HEIGHT + 3
    assert max(map(len, lines)) <= 80
    assert lines[1].count("#") == 1, "the peak"
    assert "9.0" in lines[1]
    assert "1.0" in lines[HEIGHT]


def test_the_share_of_a_processor() -> None:
    rows = rows_over_time(samples([1.0] * 61))
    assert rows[0][-1] == "CPU since"
    assert {row[-1] for row in rows[2:]} == {"50%"}


def test_a_gauge_looks_at_a_living_process() -> None:
    with gauging(os.getpid, "/nowhere", 1.0) as gauge:
        wait_for(lambda: len(gauge.samples) > 1, "two samples")
    assert all(sample.pid == os.getpid() and sample.rss_mib > 1 and not sample.wal_mib for sample in gauge.samples)
    assert len(gauge.of(os.getpid(), gauge.samples[-1].at_s)) == 1


def test_a_gauge_outlives_what_it_looks_at() -> None:
    with gauging(lambda: 0 if gauge_is_early() else os.getpid(), "/nowhere", 1.0) as gauge:
        wait_for(lambda: gauge.samples, "a sample after all")
    assert gauge.samples[0].pid == os.getpid()


_looks = iter([True, True])


def gauge_is_early() -> bool:
    return next(_looks, False)
