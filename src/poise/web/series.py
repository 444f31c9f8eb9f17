"""From counters to a chart's rows: what users got per interval, and the budget that was left then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from poise.adapters.worker.asking import AskedUsual
from poise.api.parts import Parts
from poise.api.views import ServiceStatus
from poise.balance.indicator.decide import deltas_by_bound, quantile
from poise.model.balance import Budget
from poise.model.counting import weights
from poise.model.delivery import Rollout, RolloutState
from poise.model.objective import IndicatorKind
from poise.model.signal import (
    ERRORS_TOTAL,
    LATENCY_BUCKET,
    QUERY_TOTAL,
    REQUESTS_TOTAL,
    ROLLOUT_LATENCY_BUCKET,
    TRIALS_TOTAL,
    Points,
)
from poise.web import links, views

CHART_WINDOWS: Final = {"15m": 900.0, "1h": 3600.0, "6h": 21_600.0, "24h": 86_400.0}
CHART_STEPS: Final = 90
RATE_WINDOW_S: Final = 60.0


async def chart_of(
    parts: Parts,
    one: ServiceStatus,
    worst: Budget | None,
    rollouts: Sequence[Rollout],
    window: str,
    now: datetime,
) -> views.Chart | None:
    """The service's last ``window`` up to ``now``; None before anything was read."""
    since = now - timedelta(seconds=CHART_WINDOWS[window])
    requests = await parts.signals.select(REQUESTS_TOTAL, {"service": one.key}, since, now)
    if not requests:
        return await _queried_chart(parts, one, worst, rollouts, window, since, now)
    errors = await parts.signals.select(ERRORS_TOTAL, {"service": one.key}, since, now)
    buckets = await parts.signals.select(LATENCY_BUCKET, {"service": one.key}, since, now)
    latency = next((o for o in one.objectives if o.indicator is IndicatorKind.LATENCY), None)
    available = next((o for o in one.objectives if o.indicator is IndicatorKind.AVAILABILITY), None)
    points = list(_points(requests, errors, buckets, worst, since, now))
    first = next((n for n, point in enumerate(points) if point.error_ratio is not None), 0)
    points = points[max(0, first - 1) :]  # a young service's chart begins with its first reading
    begin = points[0].at if points else since
    return views.Chart(
        since=begin,
        until=now,
        window=window,
        points=tuple(points),
        markers=tuple(_markers(rollouts, begin)),
        error_goal_ratio=1 - available.target_ratio if available else None,
        latency_goal_ms=latency.threshold_ms if latency else None,
        usual=await AskedUsual(parts.queries)(one.key, begin, now) if parts.queries else None,
    )


async def _queried_chart(
    parts: Parts,
    one: ServiceStatus,
    worst: Budget | None,
    rollouts: Sequence[Rollout],
    window: str,
    since: datetime,
    now: datetime,
) -> views.Chart | None:
    """The chart of a service whose events a metrics store counts: of its first such objective."""
    objective = next((o for o in one.objectives if o.indicator is IndicatorKind.QUERY), None)
    if objective is None:
        return None
    edges = _edges(since, now)
    asked: list[float | None] = [None] * CHART_STEPS
    good = [0.0] * CHART_STEPS
    for role, (to_all, to_good) in weights(objective).items():
        labels = {"objective": objective.key, "role": role}
        grown = increases(await parts.signals.select(QUERY_TOTAL, labels, since, now), edges)
        for n, count in enumerate(grown):
            if count is not None and to_all:
                asked[n] = (asked[n] or 0.0) + to_all * count
            good[n] += to_good * (count or 0.0)
    if all(count is None for count in asked):
        return None
    failed = [None if count is None else max(0.0, count - good[n]) for n, count in enumerate(asked)]
    points = tuple(_rows(asked, failed, {}, worst, since, now))
    return views.Chart(
        since=since,
        until=now,
        window=window,
        points=points,
        markers=tuple(_markers(rollouts, since)),
        error_goal_ratio=1 - objective.target_ratio,
    )


def _edges(since: datetime, now: datetime) -> list[float]:
    step_s = (now - since).total_seconds() / CHART_STEPS
    return [since.timestamp() + n * step_s for n in range(CHART_STEPS + 1)]


def _points(
    requests: list[Points],
    errors: list[Points],
    buckets: list[Points],
    worst: Budget | None,
    since: datetime,
    now: datetime,
) -> Iterable[views.ChartPoint]:
    edges = _edges(since, now)
    bounds = {dict(one.series.labels)["le"] for one in buckets}
    by_bound = {
        float(bound): increases([one for one in buckets if dict(one.series.labels)["le"] == bound], edges)
        for bound in bounds
    }
    return _rows(increases(requests, edges), increases(errors, edges), by_bound, worst, since, now)


def _rows(
    asked: Sequence[float | None],
    failed: Sequence[float | None],
    by_bound: Mapping[float, Sequence[float | None]],
    worst: Budget | None,
    since: datetime,
    now: datetime,
) -> Iterable[views.ChartPoint]:
    step_s = (now - since).total_seconds() / CHART_STEPS
    failed_after = sum(count or 0.0 for count in failed)
    for n in range(CHART_STEPS):
        count = asked[n]
        failed_after -= failed[n] or 0.0
        slow = {bound: grown[n] or 0.0 for bound, grown in by_bound.items()}
        yield views.ChartPoint(
            at=since + timedelta(seconds=(n + 1) * step_s),
            error_ratio=min(1.0, (failed[n] or 0.0) / count) if count else None,
            latency_ms_p95=quantile(slow, 0.95) if count and slow else None,
            budget_left_ratio=_left(worst, failed_after) if count is not None else None,
        )


def _left(worst: Budget | None, failed_after: float) -> float | None:
    """The budget left before the failures that came after: today's, with those given back."""
    if worst is None or worst.allowed <= 0:
        return None
    return min(1.0, worst.left_ratio + failed_after / worst.allowed)


def increases(found: Sequence[Points], edges: Sequence[float]) -> list[float | None]:
    """Per interval between edges: by how much the counters grew; None where nothing was read."""
    grown: list[float | None] = [None] * (len(edges) - 1)
    step_s = edges[1] - edges[0]
    for one in found:
        for (_, before), (at, after) in zip(one.points, one.points[1:], strict=False):
            n = int((at - edges[0]) / step_s - 1e-9)
            if 0 <= n < len(grown):
                grown[n] = (grown[n] or 0.0) + (after - before if after >= before else after)
    return grown


def _markers(rollouts: Sequence[Rollout], since: datetime) -> Iterable[views.Marker]:
    for rollout in rollouts:
        at = rollout.started_at or rollout.created_at
        if at < since or rollout.state in (RolloutState.WAITING, RolloutState.SUPERSEDED):
            continue
        back = rollout.state is RolloutState.ROLLED_BACK
        yield views.Marker(
            at=at,
            label=f"r{rollout.release}" + (" rolled back" if back else ""),
            kind="rollback" if back else "deploy",
            href=links.rollout(rollout.service_key, rollout.n),
        )


async def errors_between(
    parts: Parts, key: str, since: datetime, until: datetime
) -> tuple[tuple[views.ChartPoint, ...], list[Points], list[Points]]:
    """What users of a service got in a window, as points and as the counters (requests, errors)."""
    requests = await parts.signals.select(REQUESTS_TOTAL, {"service": key}, since, until)
    errors = await parts.signals.select(ERRORS_TOTAL, {"service": key}, since, until)
    if not requests:
        return (), [], []
    return tuple(_points(requests, errors, [], None, since, until)), requests, errors


async def answers(parts: Parts, rollout: Rollout, now: datetime) -> tuple[float, float | None]:
    """What a rollout answered in the last minute: requests per second, and their p95 in ms."""
    labels = {"service": rollout.service_key, "rollout": str(rollout.n)}
    since = now - timedelta(seconds=RATE_WINDOW_S)
    trials = await parts.signals.select(TRIALS_TOTAL, labels, since, now)
    buckets = await parts.signals.select(ROLLOUT_LATENCY_BUCKET, labels, since, now)
    answered = sum(one.points[-1][1] - one.points[0][1] for one in trials if one.points)
    return answered / RATE_WINDOW_S, quantile(deltas_by_bound(buckets, since.timestamp()), 0.95)
