"""What is read for an objective, and quantiles for charts. ``counters`` counts it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from poise.model.counting import Plan, Wanted, definition, increments, weights
from poise.model.objective import IndicatorKind, Objective
from poise.model.signal import ERRORS_TOTAL, LATENCY_BUCKET, QUERY_TOTAL, REQUESTS_TOTAL, Points


def plan(objective: Objective, bounds: Iterable[str] = ()) -> Plan:
    """What to read. ``bounds`` are the ``le`` labels (ms) that the service's histogram has now.

    Availability: total minus errors. Latency: the cumulative bucket at the threshold over the largest
    bucket; between two bounds the good events are interpolated linearly and the plan says so. Of a metrics
    store: what was read of its roles; nothing for a composite, which is made of others.
    """
    if objective.is_queried:
        return Plan(
            wanted=tuple(
                Wanted(
                    name=QUERY_TOTAL,
                    labels={
                        "objective": objective.whole,
                        "role": role,
                        "definition": definition(objective),
                        **({"group": objective.group} if objective.group else {}),
                    },
                    total_weight=total,
                    good_weight=good,
                )
                for role, (total, good) in weights(objective).items()
                if bool(objective.group) is bool(objective.group_by)
            )
        )
    service = {"service": objective.service}
    if objective.indicator is IndicatorKind.AVAILABILITY:
        return Plan(
            wanted=(
                Wanted(name=REQUESTS_TOTAL, labels=service, total_weight=1.0, good_weight=1.0),
                Wanted(name=ERRORS_TOTAL, labels=service, total_weight=0.0, good_weight=-1.0),
            )
        )
    shares = _bucket_shares(sorted(bounds, key=float), objective.threshold_ms or 0.0)
    largest = max(bounds, key=float, default="+Inf")
    by_bound = {largest: 0.0} | shares
    wanted = tuple(
        Wanted(
            name=LATENCY_BUCKET,
            labels=service | {"le": bound},
            total_weight=1.0 if bound == largest else 0.0,
            good_weight=weight,
        )
        for bound, weight in by_bound.items()
    )
    return Plan(wanted=wanted, interpolated=any(0.0 < share < 1.0 for share in shares.values()))


def _bucket_shares(bounds: Sequence[str], threshold_ms: float) -> dict[str, float]:
    """By bound: the share of its cumulative count that is good. At most two bounds take part."""
    below = [bound for bound in bounds if float(bound) <= threshold_ms]
    above = [bound for bound in bounds if float(bound) > threshold_ms]
    if not above:  # nothing slower is told apart
        return {below[-1]: 1.0} if below else {}
    low_ms = float(below[-1]) if below else 0.0
    high_ms = float(above[0])
    if low_ms == threshold_ms or math.isinf(high_ms):
        return {below[-1]: 1.0} if below else {}
    share = (threshold_ms - low_ms) / (high_ms - low_ms)
    shares = {above[0]: share}
    return shares | {below[-1]: 1.0 - share} if below else shares


def deltas_by_bound(found: Sequence[Points], start: float) -> dict[float, float]:
    """Events per cumulative bucket bound (ms) since ``start``, summed over epochs: for ``quantile``."""
    counts: dict[float, float] = {}
    for points in found:
        bound = float(dict(points.series.labels)["le"])
        fresh = sum(delta for _, delta in increments(points, start, math.inf))
        counts[bound] = counts.get(bound, 0.0) + fresh
    return counts


def quantile(counts: Mapping[float, float], share: float) -> float | None:
    """The latency (ms) below which ``share`` (0..1) of the events lie; None without events.

    ``counts`` are cumulative by bound. Linear within a bucket, from 0 in the first; the last finite
    bound when the answer lies beyond it. Source: Prometheus' histogram_quantile.
    """
    bounds = sorted(counts)
    if not bounds or counts[bounds[-1]] <= 0:
        return None
    cumulative: NDArray[np.float64] = np.maximum.accumulate([counts[bound] for bound in bounds])
    rank = share * float(cumulative[-1])
    place = int(np.searchsorted(cumulative, rank, side="left"))
    if math.isinf(bounds[place]):
        return bounds[place - 1] if place else None
    low, below = (bounds[place - 1], float(cumulative[place - 1])) if place else (0.0, 0.0)
    inside = float(cumulative[place]) - below
    return low if inside <= 0 else low + (bounds[place] - low) * (rank - below) / inside
