"""What values of gauges, and the buckets of a histogram, mean for objectives. Pure.

Gauges are measured as columns: all values of all objectives at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.model.objective import Comparison, Gauge, IndicatorKind, Objective

TOLERANCE: Final = 1e-9
_HOLDS: Final = (
    (Comparison.LT, np.less),
    (Comparison.LTE, np.less_equal),
    (Comparison.GT, np.greater),
    (Comparison.GTE, np.greater_equal),
)
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Scale(Struct, frozen=True, eq=False, kw_only=True):
    """What is good of each objective's gauge, one row an objective."""

    bound: Numbers
    holds: tuple[Flags, ...]  # by comparison: whose it is
    is_ratio: Flags  # the value itself is the good share,
    is_failure: Flags  # or the bad one

    def shares(self, owner: NDArray[np.intp], values: Numbers) -> tuple[Numbers, Flags]:
        """How good each value is for its ``owner`` (a row), and which are no ratios though they should be.

        The share is 0..1, and NaN for NaN, which says that nothing happened.

        >>> gauge = Gauge(query="x", op=Comparison.LT, bound=500.0)
        >>> one = Objective(service="s", name="n", indicator=IndicatorKind.THRESHOLD, target_ratio=0.9,
        ...                 gauge=gauge)
        >>> scale([one]).shares(np.array([0, 0, 0]), np.array([499.0, 500.0, math.nan]))[0]
        array([ 1.,  0., nan])
        """
        good = np.zeros(len(values))
        for (_, holds), mine in zip(_HOLDS, self.holds, strict=True):
            some = mine[owner]
            good[some] = holds(values[some], self.bound[owner[some]])
        ratio = self.is_ratio[owner]
        share = np.clip(values[ratio], 0.0, 1.0)
        good[ratio] = np.where(self.is_failure[owner[ratio]], 1.0 - share, share)
        good[np.isnan(values)] = np.nan
        return good, ratio & ((values < -TOLERANCE) | (values > 1.0 + TOLERANCE))


def scale(objectives: Sequence[Objective]) -> Scale:
    """Of objectives with gauges."""
    gauges = [one.gauge or Gauge(query="") for one in objectives]
    is_ratio = np.array([one.indicator is IndicatorKind.RAW_RATIO for one in objectives], dtype=bool)
    return Scale(
        bound=np.array([one.bound for one in gauges], dtype=np.float64),
        holds=tuple(np.array([one.op is op for one in gauges], dtype=bool) & ~is_ratio for op, _ in _HOLDS),
        is_ratio=is_ratio,
        is_failure=np.array([one.failure for one in gauges], dtype=bool),
    )


def within(bounds: Collection[float], bound: float) -> tuple[dict[float, float], bool] | None:
    """How many events of a classic histogram are good: (weights by cumulative bucket, interpolated).

    Good are those of at most ``bound``. Between two bounds they are interpolated linearly, and beyond the
    last finite one nothing more is told apart. None without a bucket for +Inf, which counts all events. No
    weight is negative, so that what grows with the buckets never falls.
    **Source:** Prometheus' histogram_quantile, inverted.

    >>> within([1.0, 5.0, math.inf], 3.0)
    ({1.0: 0.5, 5.0: 0.5}, True)
    >>> within([1.0, 5.0, math.inf], 5.0)
    ({5.0: 1.0}, False)
    """
    if math.inf not in bounds:
        return None
    if bound in bounds:
        return {bound: 1.0}, False
    low = max((one for one in bounds if one < bound), default=None)
    high = min(one for one in bounds if one > bound)
    found = {} if low is None else {low: 1.0}
    from_ = low or 0.0
    if math.isfinite(high) and bound > from_:
        share = (bound - from_) / (high - from_)
        found = dict.fromkeys(found, 1.0 - share) | {high: share}
    return found, True
