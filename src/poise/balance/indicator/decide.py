"""From points of monotone counters to event-exact deltas, measured time, and quantiles for charts.

Rules. A delta is the difference of two readings of one epoch. A decrease within an epoch is a reset:
the new value counts. A series that is new within a known epoch counts from its first value; so does an
epoch that began after ``since``. A gap between two readings of one epoch is counted, not unknown; what
an epoch counted after its last reading is unknown time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from poise.model.counting import Plan, Span, Steps, Tally, Wanted, weights
from poise.model.objective import IndicatorKind, Objective
from poise.model.signal import ERRORS_TOTAL, LATENCY_BUCKET, QUERY_TOTAL, REQUESTS_TOTAL, Epoch, Points


def plan(objective: Objective, bounds: Iterable[str] = ()) -> Plan:
    """What to read. ``bounds`` are the ``le`` labels (ms) that the service's histogram has now.

    Availability: total minus errors. Latency: the cumulative bucket at the threshold over the largest
    bucket; between two bounds the good events are interpolated linearly and the plan says so. A query: what
    was read of its roles.
    """
    if objective.indicator is IndicatorKind.QUERY:
        return Plan(
            wanted=tuple(
                Wanted(
                    name=QUERY_TOTAL,
                    labels={"objective": objective.key, "role": role},
                    total_weight=total,
                    good_weight=good,
                )
                for role, (total, good) in weights(objective).items()
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


def advance(
    tally: Tally,
    found: Sequence[tuple[Wanted, Points]],
    epochs: Sequence[Epoch],
    *,
    start: float,
    since: float,
) -> tuple[Tally, Steps]:
    """Count the points that were selected from ``start`` (UTC epoch seconds) on.

    A first point at or before ``start`` is a baseline. ``since`` is when the objective began.
    """
    last, seen = dict(tally.last), dict(tally.seen)
    total: dict[float, float] = {}
    good: dict[float, float] = {}
    for wanted, points in found:
        if not points.points:
            continue
        key = (points.series, points.epoch)
        base = last.get(key)
        if base is None:
            base = _baseline(points, epochs, start, since)
        for at, delta in _deltas(points, base, after=start):
            total[at] = total.get(at, 0.0) + delta * wanted.total_weight
            good[at] = good.get(at, 0.0) + delta * wanted.good_weight
        last[key] = points.points[-1][1]
        if wanted.total_weight:
            seen[points.epoch] = max(points.points[-1][0], seen.get(points.epoch, -math.inf))
    instants = sorted(total)
    steps = Steps(
        at=tuple(instants),
        total=tuple(total[at] for at in instants),
        good=tuple(good[at] for at in instants),
    )
    return Tally(last=last, seen=seen), steps


def _baseline(points: Points, epochs: Sequence[Epoch], start: float, since: float) -> float | None:
    """0 when the first value counts whole; None when it is only where counting begins."""
    first = points.points[0][0]
    known = next((epoch for epoch in epochs if epoch.name == points.epoch), None)
    if first <= start or known is None:
        return None
    if first > known.kept_from:  # the epoch was read before without this series
        return 0.0
    began_watched = known.first_at == known.kept_from and any(
        other.first_at < known.first_at for other in epochs
    )
    return 0.0 if began_watched and known.first_at > since else None


def _deltas(points: Points, base: float | None, after: float) -> list[tuple[float, float]]:
    """Deltas at each point later than ``after``, given the value before the first point, if any."""
    before = points.points[0][1] if base is None else base
    deltas: list[tuple[float, float]] = []
    for at, value in points.points:
        if at > after or base is not None:
            deltas.append((at, value if value < before else value - before))
        before = value
    return deltas


def measured(tally: Tally, epochs: Sequence[Epoch]) -> tuple[Span, ...]:
    """The time that was measured, as merged spans.

    An epoch is measured from its first kept reading (its counters start at zero, so nothing before is
    lost) to the newest point of the total's series. A source that is read but never had the series has
    seen no traffic, which is known; a series that vanished is unknown from then on.
    """
    spans = []
    for epoch in epochs:
        end = tally.seen.get(epoch.name) if tally.seen else epoch.last_at
        if end is not None and end >= epoch.kept_from:
            spans.append((epoch.kept_from, end))
    return _merged(spans)


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)


def deltas_by_bound(found: Sequence[Points], start: float) -> dict[float, float]:
    """Events per cumulative bucket bound (ms) since ``start``, summed over epochs: for ``quantile``."""
    counts: dict[float, float] = {}
    for points in found:
        bound = float(dict(points.series.labels)["le"])
        fresh = sum(delta for _, delta in _deltas(points, None, after=start))
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
