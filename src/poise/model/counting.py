"""What counting a service's events needs and yields: plans, tallies, steps and measured spans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from poise.model.objective import IndicatorKind, Objective
from poise.model.signal import Epoch, Points, Series

Span = tuple[float, float]  # measured time (from, to], UTC epoch seconds


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


class Tally(Struct, frozen=True, kw_only=True):
    """Where counting stands: the last value of each (series, epoch), and each epoch's last total."""

    last: dict[tuple[Series, str], float] = {}
    seen: dict[str, float] = {}  # epoch -> instant of the newest point of the total's series


class Steps(Struct, frozen=True, kw_only=True):
    """Deltas at ascending instants: ``total`` and ``good`` events since the instant before."""

    at: tuple[float, ...] = ()
    total: tuple[float, ...] = ()
    good: tuple[float, ...] = ()


def increments(points: Points, after: float, until: float) -> list[tuple[float, float]]:
    """What a monotone counter grew by at each of its points in (after, until], ascending.

    The first point is only where counting begins. A decrease is a restart: the new value counts.
    """
    grown = []
    for (_, before), (at, value) in pairwise(points.points):
        if after < at <= until:
            grown.append((at, value - before if value >= before else value))
    return grown


QUERIED: Final = "query/"  # how the epochs of readings by query begin
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
    """By role: what one event of it adds to all events and to good ones."""
    return _WEIGHTS.get(frozenset(selectors(objective)), {})


def queried(objective: Objective) -> str:
    """How epochs of this objective begin as it is defined now: another definition is counted anew."""
    source = objective.queries.source if objective.queries else ""
    said = [source, *(f"{role} {text}" for role, text in sorted(selectors(objective).items()))]
    return f"{QUERIED}{objective.key}/{sha256(chr(0).join(said).encode()).hexdigest()[:8]}/"


def epochs_of(objective: Objective, epochs: Iterable[Epoch]) -> list[Epoch]:
    """The lives of the counters that this objective is counted from: Envoy's, or its own queries'."""
    if objective.indicator is IndicatorKind.QUERY:
        return [one for one in epochs if one.name.startswith(queried(objective))]
    if objective.indicator not in (IndicatorKind.AVAILABILITY, IndicatorKind.LATENCY):
        return []  # nothing is read for it yet: never measured, so unknown
    return [one for one in epochs if not one.name.startswith(QUERIED)]
