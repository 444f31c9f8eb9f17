"""What gauges and buckets mean, for many at once as for one."""

from __future__ import annotations

import math
import operator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from poise.model.measuring import scale, within
from poise.model.objective import Comparison, Gauge, IndicatorKind, Objective

HOLDS = {
    Comparison.LT: operator.lt, Comparison.LTE: operator.le,
    Comparison.GT: operator.gt, Comparison.GTE: operator.ge,
}  # fmt: skip
VALUES = st.one_of(st.sampled_from([0.0, 0.5, 1.0, math.nan, math.inf]), st.floats(-2.0, 2.0))


@st.composite
def objectives(draw: st.DrawFn) -> Objective:
    kind = draw(st.sampled_from([IndicatorKind.THRESHOLD, IndicatorKind.RAW_RATIO]))
    gauge = Gauge(query="x", op=draw(st.sampled_from(Comparison)), bound=0.5, failure=draw(st.booleans()))
    return Objective(service="a/b/c", name="d", indicator=kind, target_ratio=0.9, gauge=gauge)


@given(st.lists(st.tuples(objectives(), VALUES), min_size=1, max_size=20))
def test_shares_of_many_are_those_of_each(some: list[tuple[Objective, float]]) -> None:
    """Nothing of one gauge may leak into another's."""
    mine = [one for one, _ in some]
    good, is_odd = scale(mine).shares(np.arange(len(mine)), np.array([value for _, value in some]))
    for (one, value), share, odd in zip(some, good.tolist(), is_odd.tolist(), strict=True):
        assert one.gauge is not None
        is_ratio = one.indicator is IndicatorKind.RAW_RATIO
        assert odd == (is_ratio and not math.isnan(value) and not -1e-9 <= value <= 1.0 + 1e-9)
        if math.isnan(value):
            assert math.isnan(share)
        elif not is_ratio:
            assert share == float(HOLDS[one.gauge.op](value, 0.5))
        elif not odd:
            assert share == abs(float(one.gauge.failure) - min(1.0, max(0.0, value)))


@given(
    st.lists(st.floats(0.001, 100.0), unique=True, max_size=8),
    st.floats(0.001, 200.0),
    st.lists(st.integers(0, 10**12), min_size=18, max_size=18),
)
def test_good_events_of_a_histogram_never_fall(edges: list[float], bound: float, counts: list[int]) -> None:
    """Buckets grow, and so does what is made of them; else a rounding would be read as a restart."""
    assert within(edges, bound) is None
    edges = [*sorted(edges), math.inf]
    counted = within(edges, bound)
    assert counted is not None
    weights, interpolated = counted
    assert interpolated == (bound not in edges)
    assert all(weight >= 0.0 for weight in weights.values()) and sum(weights.values()) <= 1.0 + 1e-12
    before = np.cumsum(counts[: len(edges)])
    after = before + np.cumsum(counts[9 : 9 + len(edges)])

    def good(cumulative: np.ndarray) -> float:
        places = [edges.index(edge) for edge in weights]
        return float(
            sum(cumulative[place] * weight for place, weight in zip(places, weights.values(), strict=True))
        )

    assert good(after) >= good(before)
    assert good(before) <= before[-1]


def test_a_bound_beyond_the_last_finite_bucket_tells_nothing_more_apart() -> None:
    """What is slower than the last bucket's bound is not known to be good."""
    assert within([1.0, math.inf], 3.0) == ({1.0: 1.0}, True)
    assert within([math.inf], 3.0) == ({}, True)
