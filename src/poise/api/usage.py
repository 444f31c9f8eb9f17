"""What each replica uses of CPU and memory, from the newest readings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from poise.api.views import ReplicaUsage
from poise.model.signal import REPLICA_CPU_TOTAL, REPLICA_MEMORY, Points
from poise.ports.totals import Totals

USAGE_WINDOW_S: Final = 15.0  # CPU is the mean over at most so long


async def usage_of(signals: Totals, service: str, now: datetime) -> tuple[ReplicaUsage, ...]:
    """CPU and memory of each replica that was measured lately, by rollout and index."""
    start = now - timedelta(seconds=USAGE_WINDOW_S)
    labels = {"service": service}
    cpu = await signals.select(REPLICA_CPU_TOTAL, labels, start, now, include_before=False)
    memory = await signals.select(REPLICA_MEMORY, labels, start, now, include_before=False)
    newest = {points.series.labels: points.points[-1][1] for points in memory}
    found = [
        ReplicaUsage(
            rollout=int(dict(points.series.labels)["rollout"]),
            index=int(dict(points.series.labels)["index"]),
            cpu_ratio=cpu_ratio(points),
            memory_bytes=newest.get(points.series.labels),
        )
        for points in cpu
    ]
    return tuple(sorted(found, key=lambda one: (one.rollout, one.index)))


def cpu_ratio(points: Points) -> float | None:
    """CPU seconds per second, 1 for a whole core; None before two measurements of one process.

    A measurement is repeated until the next, so what counts is when the value changed.
    """
    course = _of_newest(points.points)
    if len(course) < 2:
        return None
    changes = [after for before, after in pairwise(course) if after[1] != before[1]]
    told = changes if len(changes) > 1 else course
    (begin, before), (end, after) = told[0], told[-1]
    return (after - before) / (end - begin)


def _of_newest(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """The points since the newest process began: its CPU time starts at nothing."""
    falls = [i for i in range(1, len(points)) if points[i][1] < points[i - 1][1]]
    return points[falls[-1] :] if falls else points
