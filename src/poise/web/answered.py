"""What users of a project's services got over days: error rate and latency by step, out of the metrics store.

Two questions for a whole project, whatever the number of its services: one per strip. The worker answers
them, within the limits of every query; what it answered is kept until the grid moves on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from poise.api.parts import Parts
from poise.model.errors import PoiseError
from poise.model.signal import ERRORS_TOTAL, LATENCY_BUCKET, REQUESTS_TOTAL
from poise.web.delivery_views import Answered

STEPS: Final = 90
ALIGNED: Final = 12  # the grid moves on by a part of a step, so that looking again costs nothing
GRID_MS_MIN, GRID_MS_MAX = 60_000, 300_000  # so late at most is what happens now
PATIENCE_S: Final = 5.0
QUANTILES: Final = ("0.5", "0.99")
_ERRORS: Final = (
    "sum by (service) (increase({errors}[{step}])) / sum by (service) (increase({requests}[{step}]))"
)
_LATENCY: Final = (
    'histogram_quantiles(sum by (service, le) (increase({buckets}[{step}])), "quantile", 0.5, 0.99)'
)


class Found(Struct, frozen=True, kw_only=True):
    """By key of a service: its points. A service of which no request was counted has none."""

    by_service: Mapping[str, tuple[Answered, ...]] = {}
    step_s: float = 0.0
    problem: str = ""


async def answered(parts: Parts, project: str, since: datetime, until: datetime) -> Found:
    """Every service's points in [since, until]; a ``problem`` where the store could not be asked."""
    step_ms = round((until - since).total_seconds() * 1000) // STEPS
    grid_ms = min(GRID_MS_MAX, max(GRID_MS_MIN, step_ms // ALIGNED))
    end_ms = round(until.timestamp() * 1000) // grid_ms * grid_ms
    start_ms = end_ms - (STEPS - 1) * step_ms
    if parts.ranges is None:
        return Found()
    try:
        asked = [
            await parts.ranges(_written(one, project, step_ms), start_ms, end_ms, step_ms, PATIENCE_S)
            for one in (_ERRORS, _LATENCY)
        ]
    except PoiseError as error:
        return Found(problem=error.what)
    errors = {one.labels.get("service", ""): one.values for one in asked[0]}
    latency = {
        (one.labels.get("service", ""), one.labels.get("quantile", "")): one.values
        for one in asked[1]
    }  # fmt: skip
    instants = range(start_ms, end_ms + 1, step_ms)
    half, most = QUANTILES
    return Found(
        step_s=step_ms / 1000,
        by_service={
            service: tuple(
                Answered(
                    at=datetime.fromtimestamp(at / 1000, UTC),
                    error_ratio=min(1.0, ratios[at]) if at in ratios else None,
                    latency_ms_p50=latency.get((service, half), {}).get(at),
                    latency_ms_p99=latency.get((service, most), {}).get(at),
                )
                for at in instants
            )
            for service, ratios in errors.items()
            if ratios
        },
    )


def _written(expression: str, project: str, step_ms: int) -> str:
    quoted = msgspec.json.encode(f"{re.escape(project)}/.+").decode()
    names = {"requests": REQUESTS_TOTAL, "errors": ERRORS_TOTAL, "buckets": LATENCY_BUCKET}
    selected = {key: f"{name}{{service=~{quoted}}}" for key, name in names.items()}
    return expression.format(step=f"{step_ms}ms", **selected)
