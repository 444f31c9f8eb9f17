"""What counting a service's events needs: plans, and what the readings of a counter mean."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from poise.model.objective import Objective
from poise.model.signal import Points


class Wanted(Struct, frozen=True, kw_only=True):
    """A series to select, and what its deltas mean: weights to add to total and to good events."""

    name: str
    labels: dict[str, str]
    total_weight: float
    good_weight: float


class Plan(Struct, frozen=True, kw_only=True):
    """What to read for an objective; ``interpolated`` when no bucket bound equals the threshold."""

    wanted: tuple[Wanted, ...]
    interpolated: bool = False


def increments(points: Points, after: float, until: float) -> list[tuple[float, float]]:
    """What a monotone counter grew by at each of its points in (after, until], ascending.

    The first point is only where counting begins. A decrease is a restart: the new value counts.
    """
    grown = []
    for (_, before), (at, value) in pairwise(points.points):
        if after < at <= until:
            grown.append((at, value - before if value >= before else value))
    return grown


QUERIED: Final = "query/"  # how the epochs of readings of a metrics store begin
STALE_AFTER_S: Final = 90.0  # of the embedded store; a data source has its own
Weights = Mapping[str, tuple[float, float]]
_WEIGHTS: Final[Mapping[frozenset[str], Weights]] = MappingProxyType(
    {
        frozenset({"good", "total"}): {"total": (1.0, 0.0), "good": (0.0, 1.0)},
        frozenset({"bad", "total"}): {"total": (1.0, 1.0), "bad": (0.0, -1.0)},
        frozenset({"good", "bad"}): {"good": (1.0, 1.0), "bad": (1.0, 0.0)},
    }
)


def selectors(objective: Objective) -> dict[str, str]:
    """The counters that a query objective reads, by role (good, bad, total)."""
    asked = objective.queries
    if asked is None:
        return {}
    found = (("good", asked.good), ("bad", asked.bad), ("total", asked.total))
    return {role: text for role, text in found if text}


def weights(objective: Objective) -> Weights:
    """By role: what one event adds to all events and to good ones; empty where nothing is read for it."""
    if objective.gauge is not None or objective.histogram is not None:
        return _WEIGHTS[frozenset({"good", "total"})]
    return _WEIGHTS.get(frozenset(selectors(objective)), {})


def definition(objective: Objective) -> str:
    """What is counted, as eight hexadecimal digits: equal counts have equal ones, whatever the target."""
    said = msgspec.json.encode(
        (
            objective.indicator,
            objective.threshold_ms,
            objective.queries,
            objective.gauge,
            objective.histogram,
            objective.composite,
            objective.method,
            objective.slicing,
            objective.group_by,
            objective.first_sample,
            objective.on_reset,
        )
    )
    return sha256(said).hexdigest()[:8]
