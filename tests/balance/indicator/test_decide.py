"""Counting: event-exact sums whatever the readings look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.balance.indicator.decide import advance, deltas_by_bound, measured, plan, quantile
from poise.model.counting import Steps, Tally, Wanted
from poise.model.objective import IndicatorKind, Objective
from poise.model.signal import LATENCY_BUCKET, REQUESTS_TOTAL, Epoch, Points, Series

SERVICE = "acme/production/shop"
AVAILABILITY = Objective(
    service=SERVICE, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999
)
TOTAL, ERRORS = plan(AVAILABILITY).wanted


def points(wanted: Wanted, *values: tuple[float, float], epoch: str = "e1") -> tuple[Wanted, Points]:
    series = Series(wanted.name, tuple(sorted(wanted.labels.items())))
    return wanted, Points(series=series, epoch=epoch, points=values)


def epoch(name: str, first: float, last: float, kept: float | None = None) -> Epoch:
    return Epoch(name=name, first_at=first, kept_from=first if kept is None else kept, last_at=last)


def counted(steps: Steps) -> tuple[float, float]:
    return sum(steps.total), sum(steps.total) - sum(steps.good)


def test_deltas_are_differences_of_readings() -> None:
    _, steps = advance(
        Tally(),
        [points(TOTAL, (10, 100), (20, 150), (30, 170)), points(ERRORS, (10, 5), (20, 6), (30, 6))],
        [epoch("e1", 0, 30)],
        start=10,
        since=0,
    )
    assert (steps.at, steps.total, steps.good) == ((20, 30), (50, 20), (49, 20))


def test_a_reset_within_an_epoch_counts_the_new_value() -> None:
    _, steps = advance(
        Tally(), [points(TOTAL, (10, 100), (20, 7), (30, 9))], [epoch("e1", 0, 30)], start=10, since=0
    )
    assert steps.total == (7, 2)


def test_a_series_new_within_a_known_epoch_counts_from_its_first_value() -> None:
    """Case c: error series are born with their first errors; those are not lost."""
    _, steps = advance(
        Tally(),
        [points(TOTAL, (10, 100), (20, 160)), points(ERRORS, (20, 50))],
        [epoch("e1", 0, 20)],
        start=10,
        since=0,
    )
    assert counted(steps) == (60, 50)


def test_a_first_epoch_of_unknown_age_is_only_a_baseline() -> None:
    _, steps = advance(
        Tally(), [points(TOTAL, (10, 1000), (20, 1010))], [epoch("e1", 10, 20)], start=0, since=0
    )
    assert counted(steps) == (10, 0)


def test_an_epoch_that_began_while_watching_counts_from_zero() -> None:
    """Envoy restarted: what the new one counted before its first reading happened after ``since``."""
    found = [points(TOTAL, (5, 100), (10, 110)), points(TOTAL, (20, 30), (30, 40), epoch="e2")]
    lives = [epoch("e1", 0, 10), epoch("e2", 20, 30)]
    _, steps = advance(Tally(), found, lives, start=5, since=0)
    assert counted(steps) == (10 + 40, 0)
    _, steps = advance(Tally(), found[1:], lives, start=5, since=25)
    assert counted(steps)[0] == 10, "an epoch from before the objective is only a baseline"


def test_a_gap_within_an_epoch_is_counted_and_known() -> None:
    lives = [epoch("e1", 0, 5000)]
    tally, steps = advance(Tally(), [points(TOTAL, (10, 100), (5000, 900))], lives, start=10, since=0)
    assert counted(steps) == (800, 0)
    assert measured(tally, lives) == ((0, 5000),)


def test_the_tail_before_a_new_epoch_is_unknown() -> None:
    lives = [epoch("e1", 0, 100), epoch("e2", 160, 200)]
    found = [points(TOTAL, (100, 1)), points(TOTAL, (200, 1), epoch="e2")]
    tally, _ = advance(Tally(), found, lives, start=0, since=0)
    assert measured(tally, lives) == ((0, 100), (160, 200))


def test_a_series_that_vanished_is_unknown_from_then_on() -> None:
    """Case g: the target disappears while the source is still read."""
    lives = [epoch("e1", 0, 500)]
    tally, _ = advance(Tally(), [points(TOTAL, (10, 1), (100, 5))], lives, start=0, since=0)
    assert measured(tally, lives) == ((0, 100),)


def test_a_source_that_is_read_and_never_had_the_series_saw_no_traffic() -> None:
    lives = [epoch("e1", 0, 500)]
    assert measured(Tally(), lives) == ((0, 500),)
    assert measured(Tally(), []) == ()


def latency(threshold_ms: float) -> Objective:
    return Objective(
        service=SERVICE,
        name="latency",
        indicator=IndicatorKind.LATENCY,
        target_ratio=0.95,
        threshold_ms=threshold_ms,
    )


@pytest.mark.parametrize(
    ("threshold_ms", "good", "interpolated"),
    [(100, 80, False), (50, 60, False), (75, 70, True), (25, 30, True), (1000, 95, False), (0.5, 0.6, True)],
)
def test_latency_is_exact_at_a_bound_and_flagged_between(
    threshold_ms: float, good: float, interpolated: bool
) -> None:
    buckets = {"50": 60.0, "100": 80.0, "1000": 95.0, "+Inf": 100.0}
    reading = plan(latency(threshold_ms), buckets)
    assert reading.interpolated is interpolated
    found = [points(want, (10, 0), (20, buckets[want.labels["le"]])) for want in reading.wanted]
    assert all(want.name == LATENCY_BUCKET for want in reading.wanted)
    _, steps = advance(Tally(), found, [epoch("e1", 0, 20)], start=10, since=0)
    assert sum(steps.total) == 100
    assert sum(steps.good) == pytest.approx(good)


def test_what_lies_beyond_the_last_finite_bound_is_not_called_good() -> None:
    reading = plan(latency(2000), ["1000", "+Inf"])
    assert {want.labels["le"]: want.good_weight for want in reading.wanted} == {"1000": 1.0, "+Inf": 0.0}


@given(
    st.lists(st.tuples(st.floats(0, 100), st.booleans(), st.integers(0, 1000)), min_size=1, max_size=60),
    st.data(),
)
def test_counting_in_pieces_equals_adding_everything(
    readings: list[tuple[float, bool, int]], data: st.DataObject
) -> None:
    """Brute force: the process counts events; readings, resets and pieces may fall anywhere."""
    at, value, events = 0.0, 0.0, 0.0
    series: list[tuple[float, float]] = [(0.0, 0.0)]
    for gap, reset, happened in readings:
        at += gap + 0.01
        value = float(happened) if reset and happened < value else value + happened
        events += happened
        series.append((at, value))
    lives = [epoch("e1", -1, at)]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(series) - 1), max_size=5)))
    tally, start, total = Tally(), 0.0, 0.0
    for piece in (series[a:b] for a, b in zip([0, *cuts], [*cuts, len(series)], strict=True)):
        tally, steps = advance(tally, [points(TOTAL, *piece)], lives, start=start, since=0)
        start, total = piece[-1][0], total + sum(steps.total)
    assert total == events


def test_a_quantile_is_linear_within_its_bucket() -> None:
    counts = {10.0: 50.0, 20.0: 90.0, 100.0: 100.0, float("inf"): 100.0}
    assert quantile(counts, 0.5) == 10
    assert quantile(counts, 0.7) == 15
    assert quantile(counts, 0.95) == 60
    assert quantile({}, 0.5) is None
    assert quantile({10.0: 0.0}, 0.5) is None
    assert quantile({10.0: 1.0, float("inf"): 100.0}, 0.99) == 10


def test_bucket_deltas_are_summed_over_epochs() -> None:
    def bucket(le: str, name: str, *values: tuple[float, float]) -> Points:
        return Points(series=Series(LATENCY_BUCKET, (("le", le),)), epoch=name, points=values)

    found = [bucket("10", "e1", (0, 5), (10, 9)), bucket("10", "e2", (20, 1), (30, 4))]
    assert deltas_by_bound(found, 0) == {10.0: 7.0}


def test_requests_are_what_availability_is_of() -> None:
    assert TOTAL.name == REQUESTS_TOTAL and TOTAL.labels == {"service": SERVICE}
