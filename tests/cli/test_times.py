"""Durations and moments."""

from __future__ import annotations

import time

import pytest

from coterie.cli.times import duration, in_words, moment, since, span
from coterie.errors import BadInput


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2h", 7200), ("3d", 259_200), ("1d12h", 129_600), (" 5M ", 300), ("0s", 0)]
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "h", "-2h", "1.5h", "2 h", "3w", "\u0663d", "9" * 12 + "s", "nan"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadInput, match="90s, 30m, 2h, 3d"):
        duration(text)


def test_a_moment_is_a_time_ago_or_a_date_here() -> None:
    assert since("2h", 10_000) == 2_800
    assert since("9999d", 10_000) == 0
    assert since("2026-11-02", 0) == time.mktime((2026, 11, 2, 0, 0, 0, 0, 0, -1))
    assert since("2026-11-02 14:30", 0) == since("2026-11-02T14:30", 0) == since("2026-11-02", 0) + 14.5 * 3600


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "99999-01-01"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadInput, match="2026-11-02"):
        since(text, 0)


@pytest.mark.parametrize(
    ("seconds", "short"), [(0, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (86_400, "1d"), (-1, "0s")]
)
def test_ages_are_short(seconds: float, short: str) -> None:
    assert span(seconds) == short


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(604_800, "7 days"), (86_400, "1 day"), (129_600, "36 hours"), (90, "90 seconds"), (1.5, "1.5 seconds")],
)
def test_a_chosen_duration_is_said_exactly(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_moments_say_the_day_only_if_it_is_another() -> None:
    now = time.mktime((2026, 11, 20, 12, 0, 0, 0, 0, -1))
    assert moment(now - 3600, now) == "11:00"
    assert moment(now - 86_400, now) == "11-19 12:00"
    assert moment(time.mktime((2025, 3, 1, 8, 0, 0, 0, 0, -1)), now) == "2025-03-01"
