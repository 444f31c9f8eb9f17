"""The shapes of what is scraped, as the API tells it and the command line reads it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

NEVER: Final = "0001-01-01T00:00:00Z"  # as Prometheus writes it


class ActiveTarget(Struct, frozen=True, kw_only=True):
    """A target; what Prometheus does not say comes last."""

    discoveredLabels: dict[str, str]
    labels: dict[str, str]
    scrapePool: str
    scrapeUrl: str
    globalUrl: str
    lastError: str
    lastScrape: str
    lastScrapeDuration: float
    health: str
    scrapeInterval: str
    scrapeTimeout: str
    project: str = ""
    samples: int = 0
    faults: tuple[str, ...] = ()
    faultCounts: dict[str, int] = {}


class DroppedTarget(Struct, frozen=True, kw_only=True):
    """What was found and is not scraped, and why."""

    discoveredLabels: dict[str, str]
    scrapePool: str = ""
    project: str = ""
    why: str = ""


class Targets(Struct, frozen=True, kw_only=True):
    """The answer; ``faults`` are by ``project/job``: what could not be found."""

    activeTargets: tuple[ActiveTarget, ...] = ()
    droppedTargets: tuple[DroppedTarget, ...] = ()
    droppedTargetCounts: dict[str, int] = {}
    faults: dict[str, str] = {}


class TargetMetadata(Struct, frozen=True, kw_only=True):
    """What one target says of one metric family."""

    target: dict[str, str]
    metric: str
    type: str
    help: str
    unit: str
