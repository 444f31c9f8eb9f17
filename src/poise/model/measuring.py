"""What a value of a gauge, and what the buckets of a histogram, mean for an objective. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from poise.model.objective import Gauge, IndicatorKind

TOLERANCE: Final = 1e-9


class NotARatio(ValueError):
    """A value of a raw ratio that is none."""


def share(kind: IndicatorKind, gauge: Gauge, value: float) -> float | None:
    """How good one value is, 0..1; None for NaN, which says that nothing happened.

    Raises ``NotARatio`` where a ratio lies outside 0..1.

    >>> share(IndicatorKind.THRESHOLD, Gauge(query="x", op=Comparison.LT, bound=500.0), 499.0)
    1.0
    >>> share(IndicatorKind.RAW_RATIO, Gauge(query="x", failure=True), 0.25)
    0.75
    """
    if math.isnan(value):
        return None
    if kind is not IndicatorKind.RAW_RATIO:
        return float(gauge.op.holds(value, gauge.bound))
    if not -TOLERANCE <= value <= 1.0 + TOLERANCE:
        raise NotARatio(f"{value:g} is no ratio: it is not between 0 and 1")
    ratio = min(1.0, max(0.0, value))
    return 1.0 - ratio if gauge.failure else ratio


def within(buckets: Mapping[float, float], bound: float) -> tuple[float, float, bool] | None:
    """(good, total, interpolated) events of a classic histogram by its cumulative buckets; None without +Inf.

    Good are those of at most ``bound``. Between two bounds they are interpolated linearly, and beyond the
    last finite one nothing more is told apart. **Source:** Prometheus' histogram_quantile, inverted.

    >>> within({0.1: 6.0, 0.5: 10.0, math.inf: 12.0}, 0.3)
    (8.0, 12.0, True)
    >>> within({0.1: 6.0, 0.5: 10.0, math.inf: 12.0}, 0.5)
    (10.0, 12.0, False)
    """
    total = buckets.get(math.inf)
    if total is None:
        return None
    if bound in buckets:
        return buckets[bound], total, False
    below = max((one for one in buckets if one < bound), default=0.0)
    above = min(one for one in buckets if one > bound)
    low = buckets.get(below, 0.0)
    if math.isinf(above):
        return low, total, True
    return low + (buckets[above] - low) * (bound - below) / (above - below), total, True
