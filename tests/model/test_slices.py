"""Time-slices: OpenSLO's worked numbers, and laws against counting by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.model.objective import Method, Slicing
from poise.model.slices import KNOWN_MIN_RATIO, Reading, Slice, Sliced, advance, unit

MINUTE = Slicing(slice_s=60.0, target_ratio=0.95)


def minutes(bad_ratios: Sequence[float], events: float = 100.0) -> list[Reading]:
    """One reading a minute, each with so many of ``events`` bad."""
    return [
        Reading((n + 1) * 60.0, events * (1 - bad), events * bad, n * 60.0)
        for n, bad in enumerate(bad_ratios)
    ]


def judged(readings: list[Reading], slicing: Slicing, method: Method) -> tuple[Slice, ...]:
    end = readings[-1].at_s + 10 * slicing.slice_s
    return advance(Sliced(), readings, slicing, method, now_s=end)[1]


def spent_after(minutes_bad: int, slicing: Slicing, method: Method, target: float, window: int, base: float,
                under_attack: float) -> float:  # fmt: skip
    """The share of the budget that so many bad minutes of a window cost."""
    ratios = [under_attack] * minutes_bad + [base] * (window - minutes_bad)
    found = judged(minutes(ratios), slicing, method)
    assert len(found) == window
    return math.fsum(one.bad for one in found) / ((1 - target) * window)


def test_timeslices_allow_16_h_48_min_of_two_weeks_at_95_percent() -> None:
    """OpenSLO's example: 20,160 slices, of which 5 % are 1,008 minutes."""
    two_weeks = 14 * 24 * 60
    for bad, spent in ((16 * 60 + 48, False), (16 * 60 + 49, True)):
        used = spent_after(bad, MINUTE, Method.TIMESLICES, 0.95, two_weeks, 0.01, 0.99)
        assert (used > 1 + 1e-9) is spent
    assert spent_after(1008, MINUTE, Method.TIMESLICES, 0.95, two_weeks, 0.01, 0.99) == pytest.approx(1.0)


def test_ratio_timeslices_allow_about_13_h_45_min() -> None:
    """OpenSLO's example says about: exactly it is 822.86 minutes (13 h 43 min), 1 % being lost anyway."""
    two_weeks = 14 * 24 * 60
    slicing = Slicing(slice_s=60.0)
    used = [
        spent_after(bad, slicing, Method.RATIO_TIMESLICES, 0.95, two_weeks, 0.01, 0.99)
        for bad in (822, 823, 825)
    ]
    assert used[0] < 1 < used[1] < used[2]
    assert used[2] == pytest.approx(1.0, abs=0.003)


def test_a_week_at_99_95_percent_allows_5_min_2_4_s() -> None:
    """OpenSLO's example of low traffic; a slice is bad at six of a hundred, as its target is 95 %."""
    week = 7 * 24 * 60
    assert (1 - 0.9995) * week * 60 == pytest.approx(5 * 60 + 2.4)
    assert spent_after(5, MINUTE, Method.TIMESLICES, 0.9995, week, 0.0, 0.06) < 1
    assert spent_after(6, MINUTE, Method.TIMESLICES, 0.9995, week, 0.0, 0.06) > 1
    assert unit(95, 5, MINUTE, Method.TIMESLICES) == 1.0


def test_no_traffic_burns_nothing() -> None:
    """A quiet night is a good night: it was measured, and nobody was failed."""
    assert judged(minutes([0.0], events=0.0), MINUTE, Method.TIMESLICES) == (Slice(60.0, 1.0, 0.0),)
    assert judged(minutes([0.0], events=0.0), Slicing(slice_s=60.0), Method.RATIO_TIMESLICES) == (
        Slice(60.0, 1.0, 0.0),
    )


def test_a_slice_that_was_hardly_measured_is_unknown() -> None:
    """Twenty seconds say nothing of a minute, neither good nor bad."""
    assert judged([Reading(60.0, 0.0, 10.0, 40.0)], MINUTE, Method.TIMESLICES) == ()
    assert judged([Reading(60.0, 0.0, 10.0, 30.0)], MINUTE, Method.TIMESLICES) == (Slice(60.0, 0.0, 1.0),)


def test_a_slice_waits_for_a_reading_past_its_end_or_until_it_is_late() -> None:
    """Judged too early it would miss what comes a moment later."""
    state, found = advance(Sliced(), minutes([0.5])[:1], MINUTE, Method.TIMESLICES, now_s=59.0)
    assert found == (Slice(60.0, 0.0, 1.0),)  # the reading reaches to its very end
    half = [Reading(40.0, 1.0, 0.0, 0.0)]
    state, found = advance(Sliced(), half, MINUTE, Method.TIMESLICES, now_s=100.0)
    assert found == ()
    state, found = advance(state, [], MINUTE, Method.TIMESLICES, now_s=179.0)
    assert found == ()
    state, found = advance(state, [], MINUTE, Method.TIMESLICES, now_s=180.0)
    assert found == (Slice(60.0, 1.0, 0.0),)
    assert advance(state, half, MINUTE, Method.TIMESLICES, now_s=200.0)[1] == ()  # told twice is harmless


def test_a_gap_between_two_readings_of_a_counter_is_spread_over_it() -> None:
    """All of it in the last minute would call nine bad minutes good."""
    found = judged([Reading(600.0, 900.0, 100.0, 0.0)], MINUTE, Method.TIMESLICES)
    assert [one.bad for one in found] == [1.0] * 10


readings_of_counters = st.lists(
    st.tuples(st.integers(1, 200), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=60
)


@given(
    steps=readings_of_counters,
    cuts=st.lists(st.integers(0, 60), max_size=5),
    slice_s=st.sampled_from([30, 60, 300]),
)
def test_it_makes_no_difference_how_often_one_looks(
    steps: list[tuple[int, int, int]], cuts: list[int], slice_s: int
) -> None:
    """A slow tick, a fast one and a restart that counts anew must give the same budget."""
    at, readings = 0, []
    for length, good, bad in steps:
        readings.append(Reading(float(at + length), float(good), float(bad), float(at)))
        at += length
    slicing, end = Slicing(slice_s=float(slice_s), target_ratio=0.9), float(at + 10 * slice_s)
    whole = advance(Sliced(), readings, slicing, Method.TIMESLICES, now_s=end)[1]
    state, before = Sliced(), 0
    parts: list[Slice] = []
    for cut in [*sorted(min(cut, len(readings)) for cut in cuts), len(readings)]:
        now = readings[cut - 1].at_s if cut else 0.0
        state, found = advance(state, readings[before:cut], slicing, Method.TIMESLICES, now_s=now)
        parts += found
        before = cut
    parts += advance(state, [], slicing, Method.TIMESLICES, now_s=end)[1]
    assert tuple(parts) == whole


@given(
    gaps=st.lists(st.booleans(), min_size=1, max_size=200),
    bad=st.lists(st.integers(0, 10), min_size=200, max_size=200),
)
def test_slices_equal_counting_by_hand(gaps: list[bool], bad: list[int]) -> None:
    """Readings every ten seconds, some missing: a slice is what lay in it, or unknown when too little did."""
    readings = [
        Reading((n + 1) * 10.0, 10.0 - bad[n], float(bad[n]), n * 10.0)
        for n, gone in enumerate(gaps)
        if not gone
    ]
    end = len(gaps) * 10.0 + 1000.0
    found = advance(Sliced(), readings, Slicing(slice_s=60.0), Method.RATIO_TIMESLICES, now_s=end)[1]
    expected = []
    for first in range(0, len(gaps), 6):
        mine = [n for n in range(first, min(first + 6, len(gaps))) if not gaps[n]]
        if len(mine) * 10.0 >= KNOWN_MIN_RATIO * 60.0:
            expected.append(((first + 6) * 10.0, sum(10 - bad[n] for n in mine) / (10 * len(mine))))
    assert [one.end_s for one in found] == [at for at, _ in expected]
    assert [one.good for one in found] == pytest.approx([good for _, good in expected])
    assert all(one.good + one.bad == pytest.approx(1.0) and 0 <= one.good <= 1 for one in found)


@pytest.mark.parametrize("method", [Method.TIMESLICES, Method.RATIO_TIMESLICES])
@pytest.mark.parametrize(("good", "bad"), [(120.0, -20.0), (-20.0, 120.0), (104.0, -4.0)])
def test_a_slice_with_more_good_or_bad_events_than_events_is_unknown(
    method: Method, good: float, bad: float
) -> None:
    """Clipped, it would be a good one."""
    readings = [Reading(60.0, good, bad, 0.0), Reading(120.0, 101.0, -1.0, 60.0)]
    assert [one.end_s for one in judged(readings, MINUTE, method)] == [120.0]


def test_a_slice_that_cannot_be_says_by_how_much_and_when() -> None:
    """Unknown alone sends people looking for a gap in the scrapes."""
    readings = [Reading(60.0, 95.0, 5.0, 0.0), Reading(120.0, 140.0, -40.0, 60.0)]
    state, slices = advance(Sliced(), readings, MINUTE, Method.TIMESLICES, now_s=0.0)
    assert [one.end_s for one in slices] == [60.0] and state.contradicted is not None
    assert state.contradicted.sentence == "contradictory: good exceeds total by 40 at 1970-01-01 00:01 UTC"
    later, _ = advance(state, [Reading(180.0, -7.0, 100.0, 120.0)], MINUTE, Method.TIMESLICES, now_s=0.0)
    assert later.contradicted is not None
    assert later.contradicted.sentence == "contradictory: bad exceeds total by 7 at 1970-01-01 00:02 UTC"
    after, _ = advance(later, [Reading(240.0, 100.0, 0.0, 180.0)], MINUTE, Method.TIMESLICES, now_s=0.0)
    assert after.contradicted == later.contradicted, "what came after does not undo it"
