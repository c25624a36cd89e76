"""Lives are counted in time that passed, whatever the clock was set to."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coterie.limits import CLOCK_SET_S, CLOCK_STRETCHES_MAX
from coterie.timeline import Span, Stretch, Timeline

NOW = 1_800_000_000.0
YEARS = 10 * 365 * 86_400.0
HOUR = 3600.0


def ages(timeline: Timeline, lived: float, stamp: float) -> float:
    """How old a stamp is taken for."""
    (span,) = [span for span in timeline.spans(lived) if span.low <= stamp < span.high]
    return span.now - stamp


def test_a_clock_that_was_never_set_judges_all_times() -> None:
    timeline = Timeline.begin(NOW)
    assert timeline.spans(NOW + 5) == [Span(-inf, inf, NOW + 5)]
    assert timeline.older_than(HOUR, NOW + 5) == [(-inf, NOW + 5 - HOUR)]


def test_what_is_less_than_a_setting_is_none() -> None:
    timeline = Timeline.begin(NOW)
    assert not timeline.note(NOW + 10 + CLOCK_SET_S / 2, NOW + 10)
    assert len(timeline.stretches) == 1


def test_years_forward_make_nothing_old() -> None:
    timeline = Timeline.begin(NOW)
    assert timeline.note(NOW + YEARS, NOW + 10)
    assert ages(timeline, NOW + 20, NOW) == 20
    assert ages(timeline, NOW + 20, NOW + YEARS) == 10
    assert ages(timeline, NOW + 20, NOW - HOUR) == HOUR + 20


def test_years_back_make_nothing_live_for_ever() -> None:
    timeline = Timeline.begin(NOW)
    timeline.note(NOW - YEARS, NOW + 10)
    assert ages(timeline, NOW + 10 + HOUR, NOW + 10) == HOUR
    assert ages(timeline, NOW + 10 + HOUR, NOW - YEARS) == HOUR


def test_forward_and_back_again_is_as_if_nothing_was() -> None:
    timeline = Timeline.begin(NOW)
    timeline.note(NOW + YEARS, NOW + 10)
    timeline.note(NOW + 20, NOW + 20)
    assert ages(timeline, NOW + 30, NOW) == 30
    assert ages(timeline, NOW + 30, NOW + 25) == 5
    assert ages(timeline, NOW + 30, NOW + YEARS + 5) == 15
    # What nobody can have stamped is judged by the clocks beside it, and never taken for old.
    assert ages(timeline, NOW + 30, NOW + YEARS / 2) < 0


def test_where_an_hour_comes_twice_the_younger_counts() -> None:
    timeline = Timeline.begin(NOW)
    timeline.note(NOW, NOW + HOUR)
    assert ages(timeline, NOW + HOUR + HOUR / 2, NOW + 60) == HOUR / 2 - 60
    # Beyond what came twice, it is certain.
    assert ages(timeline, NOW + HOUR + HOUR / 2, NOW + HOUR - 60) == HOUR / 2 + 60


@pytest.mark.promise("D7")
@example([(1.0, -3.0), (2.0, 0.0)], 0.0)  # A stamp of this very moment, at the edge of what was said before.
@given(
    st.lists(st.tuples(st.floats(0.1, 1e6), st.floats(-3, 3) | st.floats(-5e8, 5e8)), min_size=1, max_size=90),
    st.floats(0, 1e5),
)
def test_nothing_is_ever_taken_for_older_than_it_is(settings: list[tuple[float, float]], rest: float) -> None:
    lived, timeline, stamps = NOW, Timeline.begin(NOW), [(NOW, NOW)]
    ahead = 0.0
    for passes, by in settings:
        lived += passes
        stamps.append((lived + ahead, lived))
        ahead += by
        timeline.note(lived + ahead, lived)
        stamps.append((lived + ahead, lived))
    lived += rest
    spans = timeline.spans(lived)
    assert (spans[0].low, spans[-1].high) == (-inf, inf)
    assert all(before.high == after.low for before, after in pairwise(spans))
    assert len(timeline.stretches) <= CLOCK_STRETCHES_MAX
    # A small difference is no setting, and stamps follow the clock as it is: so far it may be out.
    known = timeline.stretches[0].lived
    for stamp, at in stamps:
        if at > known:
            assert ages(timeline, lived, stamp) <= lived - at + 2 * CLOCK_SET_S


def test_of_too_many_settings_the_oldest_go() -> None:
    timeline = Timeline.begin(NOW)
    for number in range(1, 3 * CLOCK_STRETCHES_MAX):
        timeline.note(NOW + number * YEARS, NOW + number)
    assert len(timeline.stretches) == CLOCK_STRETCHES_MAX
    assert len(timeline.spans(NOW + 1000)) <= 2 * CLOCK_STRETCHES_MAX + 1


def test_it_is_taken_up_from_its_stretches() -> None:
    timeline = Timeline.begin(NOW)
    timeline.note(NOW + YEARS, NOW + 10)
    again = Timeline([Stretch(s.wall, s.lived, s.end) for s in timeline.stretches])
    assert again.spans(NOW + 99) == timeline.spans(NOW + 99)
