"""What counting a service's events needs and yields: plans, tallies, steps and measured spans."""

from __future__ import annotations

from itertools import pairwise

from msgspec import Struct

from poise.model.signal import Points, Series

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
