"""Objectives (SLO): what is counted, how, and how much of it must be good."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from poise.model.policy import DAY_S


class IndicatorKind(StrEnum):
    """Which counters make good and total events."""

    AVAILABILITY = "availability"  # Envoy's; good: answered without a 5xx
    LATENCY = "latency"  # Envoy's; good: answered within threshold_ms
    QUERY = "query"  # counters that a metrics store is asked for


class Queries(Struct, frozen=True, kw_only=True):
    """Selectors of monotone counters, two of the three; their series are summed.

    ``source`` names a data source of the project; empty: the embedded store.
    """

    source: str = ""
    good: str | None = None
    bad: str | None = None
    total: str | None = None


class Objective(Struct, frozen=True, kw_only=True):
    """An SLO: the target ratio of good events over a rolling window."""

    service: str
    name: str
    indicator: IndicatorKind
    target_ratio: float
    window_s: float = 28 * DAY_S
    threshold_ms: float | None = None
    source: str = "default"
    queries: Queries | None = None  # of IndicatorKind.QUERY alone

    @property
    def key(self) -> str:
        """``project/environment/service/objective``."""
        return f"{self.service}/{self.name}"
