"""What the canary and its baseline answered, read from the signals as monotone totals per rollout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from poise.delivery.rollout.sequential import ERRORS, LATENCY, Total
from poise.model.counting import increments, weights
from poise.model.delivery import Rollout
from poise.model.objective import IndicatorKind, Objective
from poise.model.service import JudgedBy, Service
from poise.model.signal import FAILURES_TOTAL, QUERY_TOTAL, ROLLOUT_LATENCY_BUCKET, TRIALS_TOTAL, Points
from poise.ports.totals import Totals

LATENCY_BOUNDS_MS: Final = (5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0)


async def totals_of(
    signals: Totals, rollout: Rollout, objectives: Sequence[Objective], now: datetime
) -> tuple[list[Total], datetime | None]:
    """Totals of the canary and its baseline by metric, and when the newest of them was read."""
    if not rollout.state.is_active:
        return [], None
    found: list[Total] = []
    newest_s = 0.0
    for number in (rollout.n, rollout.baseline):
        if number is None:
            continue
        labels = {"service": rollout.service_key, "rollout": str(number)}
        failures = _summed(await signals.latest(FAILURES_TOTAL, labels))
        for epoch, (at_s, trials) in _newest(await signals.latest(TRIALS_TOTAL, labels)).items():
            newest_s = max(newest_s, at_s)
            failed = failures.get(epoch, 0.0)
            found.append(Total(rollout=number, epoch=epoch, trials=trials, failures=min(failed, trials)))
        if rollout.spec.strategy.latency and rollout.spec.port is not None:
            found += slower(number, await signals.latest(ROLLOUT_LATENCY_BUCKET, labels))
    by_name = {one.name: one for one in objectives}
    for place, judged in enumerate(rollout.spec.strategy.judged_by):
        objective = by_name.get(judged.objective)
        if objective is None:
            continue
        stands_for_requests = rollout.spec.port is None and place == 0
        metric = ERRORS if stands_for_requests else judged.objective
        counted, at_s = await _judged(signals, rollout, objective, judged, metric, now)
        found += counted
        if stands_for_requests:
            newest_s = max(newest_s, at_s)
    return found, datetime.fromtimestamp(newest_s, UTC) if newest_s else None


def strictest(service: Service, objectives: Iterable[Objective]) -> Objective | None:
    """The objective of the service's requests (of a worker: of its jobs) that lets the fewest be bad.

    What keeps it keeps the others. None without one.
    """
    judged = service.strategy.judged_by
    if service.port is None:
        named = judged[0].objective if judged else ""
        some = [one for one in objectives if one.name == named]
    else:
        some = [one for one in objectives if one.indicator is IndicatorKind.AVAILABILITY]
    some = [one for one in some if one.target_ratio < 1]
    return max(some, key=lambda one: (one.target_ratio, one.name), default=None)


def slower(number: int, buckets: Sequence[Points]) -> list[Total]:
    """Per bound of the histogram, how many requests took longer, of all that were timed or timed out."""
    by_epoch: dict[str, dict[float, float]] = {}
    for one in buckets:
        bound = float(dict(one.series.labels).get("le", "inf"))
        if one.points:
            by_epoch.setdefault(one.epoch, {})[bound] = one.points[-1][1]
    found = []
    for epoch, counts in by_epoch.items():
        whole = counts[max(counts)]
        found += [
            Total(
                rollout=number, epoch=epoch, trials=whole, failures=max(0.0, whole - counts[bound]),
                metric=LATENCY, bound_ms=bound,
            )
            for bound in LATENCY_BOUNDS_MS
            if bound in counts
        ]  # fmt: skip
    return found


async def _judged(
    signals: Totals,
    rollout: Rollout,
    objective: Objective,
    judged: JudgedBy,
    metric: str,
    now: datetime,
) -> tuple[list[Total], float]:
    """An objective's events by rollout, as its counters grew since the rollout started."""
    since = rollout.started_at
    if since is None:
        return [], 0.0
    found = await signals.select(QUERY_TOTAL, {"objective": objective.key}, since, now)
    after, until = since.timestamp(), now.timestamp()
    meant = weights(objective)
    sums = {number: [0.0, 0.0] for number in (rollout.n, rollout.baseline) if number is not None}
    newest_s = 0.0
    for points in found:
        labels = dict(points.series.labels)
        number = rollout_in(labels.get("series", ""), judged.label)
        if number not in sums or labels.get("role") not in meant:
            continue
        grown = sum(more for _, more in increments(points, after, until))
        if points.points:
            newest_s = max(newest_s, points.points[-1][0])
        total_weight, good_weight = meant[labels["role"]]
        sums[number][0] += total_weight * grown
        sums[number][1] += (total_weight - good_weight) * grown
    epoch = f"since-{round(after)}"
    totals = [
        Total(rollout=number, epoch=epoch, trials=total, failures=max(0.0, bad), metric=metric)
        for number, (total, bad) in sums.items()
    ]
    return totals, newest_s


def rollout_in(series: str, label: str) -> int | None:
    """The rollout that a counter's series names in ``label``; None when it names none.

    >>> rollout_in("job='mail',rollout='12'", "rollout")
    12
    """
    found = re.search(rf"(?:^|,){re.escape(label)}='(\d{{1,9}})'(?:,|$)", series)
    return int(found[1]) if found else None


def _summed(found: Sequence[Points]) -> dict[str, float]:
    """By epoch; answers and calls that failed are counted apart."""
    by_epoch: dict[str, float] = {}
    for one in found:
        if one.points:
            by_epoch[one.epoch] = by_epoch.get(one.epoch, 0.0) + one.points[-1][1]
    return by_epoch


def _newest(found: Sequence[Points]) -> dict[str, tuple[float, float]]:
    return {one.epoch: one.points[-1] for one in found if one.points}
