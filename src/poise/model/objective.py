"""Objectives (SLO): what is counted, how it is budgeted, over which window, and how much must be good."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct

from poise.model.policy import DAY_S, Alerting

GROUPS_MAX: Final = 50
EXCLUDED_MAX_RATIO: Final = 0.1  # of a window; so that exclusions cannot eat the objective
MEASURED_EVERY_S: Final = 30.0
LATE_AFTER_S: Final = 300.0


class IndicatorKind(StrEnum):
    """What makes good and total events."""

    AVAILABILITY = "availability"  # Envoy's counters; good: answered without a 5xx
    LATENCY = "latency"  # Envoy's histogram; good: answered within threshold_ms
    QUERY = "query"  # counters that a metrics store is asked for
    HISTOGRAM = "histogram"  # a classic histogram of a metrics store; good: at most ``bound``
    RAW_RATIO = "raw-ratio"  # a gauge that is a ratio already; each value is one event
    THRESHOLD = "threshold"  # a gauge that is compared with a value; each value is one event
    BOOLEAN = "boolean"  # a gauge that is 1 when good; each value is one event
    PROBE = "probe"  # a declared probe; each look is one event
    COMPOSITE = "composite"  # out of other objectives

    @property
    def is_gauge(self) -> bool:
        """Whether its events are values of a gauge, so that time between two of them is not counted."""
        return self in _GAUGES


_GAUGES: Final = frozenset(
    {IndicatorKind.RAW_RATIO, IndicatorKind.THRESHOLD, IndicatorKind.BOOLEAN, IndicatorKind.PROBE}
)


class Treatment(StrEnum):
    """What a value means that has no reading before it, or is lower than that one."""

    COUNT = "count"  # the whole value was counted since
    IGNORE = "ignore"  # it is only where counting begins


class Queries(Struct, frozen=True, kw_only=True):
    """Selectors of monotone counters, two of the three; their series are summed.

    ``source`` names a data source of the project; empty: the embedded store.
    """

    source: str = ""
    good: str | None = None
    bad: str | None = None
    total: str | None = None


class Comparison(StrEnum):
    """How a value is compared with the bound. Source: OpenSLO v1, objectives, ``op``."""

    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"

    @property
    def sign(self) -> str:
        """As in arithmetic: ``<``."""
        return {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}[self.value]


class Gauge(Struct, frozen=True, kw_only=True):
    """A gauge that a metrics store is asked for, in PromQL; empty ``source``: the embedded store.

    A plain selector is read sample by sample, any other expression every ``every_s``. A value is good when
    ``op`` holds against ``bound``; a raw ratio itself is the good share (``failure``: the bad one).
    """

    query: str
    source: str = ""
    op: Comparison = Comparison.GTE
    bound: float = 1.0
    failure: bool = False
    every_s: float = MEASURED_EVERY_S


class Histogram(Struct, frozen=True, kw_only=True):
    """A classic histogram: a selector of its ``_bucket`` series, and the bound in its own unit."""

    query: str
    bound: float
    source: str = ""


class Method(StrEnum):
    """What one unit of the budget is. Source: OpenSLO v1, ``budgetingMethod``."""

    OCCURRENCES = "Occurrences"  # an event
    TIMESLICES = "Timeslices"  # a slice of time, good when enough of its events were
    RATIO_TIMESLICES = "RatioTimeslices"  # a slice of time, good in the share in which its events were


class Slicing(Struct, frozen=True, kw_only=True):
    """Slices of ``slice_s``, aligned with the epoch; of Timeslices the ratio from which one is good."""

    slice_s: float
    target_ratio: float | None = None


class CalendarUnit(StrEnum):
    """What a calendar window is counted in; OpenSLO's shorthands."""

    HOUR = "h"
    DAY = "d"
    WEEK = "w"
    MONTH = "M"
    QUARTER = "Q"
    YEAR = "Y"


class Calendar(Struct, frozen=True, kw_only=True):
    """Windows of ``count`` units that follow one another, before and after ``starts`` alike.

    ``starts`` is wall time in the IANA ``zone`` (``2026-01-01T00:00:00``). Hours are of elapsed time, all
    other units of the calendar, so that a day of 23 or 25 hours is one day.
    """

    unit: CalendarUnit
    count: int = 1
    zone: str = "UTC"
    starts: str = "2024-01-01T00:00:00"  # a Monday, the first of a month, quarter and leap year


class Window(Struct, frozen=True, kw_only=True):
    """The period of a budget: rolling, or aligned with the calendar; then it lasts at most ``window_s``."""

    window_s: float
    calendar: Calendar | None = None


class Combination(StrEnum):
    """How a composite follows from its components."""

    BURN = "burn"  # OpenSLO v1: what burns a component's budget burns the composite's, times its weight
    WEIGHTED = "weighted"  # the weighted mean of their ratios, slice by slice
    ALL_OF = "all-of"  # a journey: every step must be good
    ANY_OF = "any-of"  # alternatives: one good is enough


class Component(Struct, frozen=True, kw_only=True):
    """A part of a composite: an objective of the same environment by its key."""

    objective: str
    weight: float = 1.0


class WhenDelayed(StrEnum):
    """What a component counts as that has not told of a slice ``max_delay_s`` after its end.

    Source: Nobl9's Composite SLO 2.0 for the first three.
    """

    COUNT_AS_GOOD = "CountAsGood"
    COUNT_AS_BAD = "CountAsBad"
    IGNORE = "Ignore"  # the slice is that of the others
    UNKNOWN = "Unknown"  # the slice is unknown time


class Composite(Struct, frozen=True, kw_only=True):
    """An objective made of others."""

    combination: Combination
    components: tuple[Component, ...]
    max_delay_s: float = LATE_AFTER_S
    when_delayed: WhenDelayed = WhenDelayed.UNKNOWN


class Objective(Struct, frozen=True, kw_only=True):
    """An SLO: the target ratio of good units over a window.

    ``also`` are more windows over the same counts; the gate knows ``window_s`` and ``calendar`` alone.
    ``group_by`` are labels: each of their values has a budget of its own, and the worst one is the
    objective's. ``requires`` are objectives (keys) that this one cannot do better than.
    ``alerts`` are tiers of its own; with None those of the policy and the project alert.
    """

    service: str
    name: str
    indicator: IndicatorKind
    target_ratio: float
    window_s: float = 28 * DAY_S
    threshold_ms: float | None = None
    source: str = "default"
    queries: Queries | None = None  # of IndicatorKind.QUERY alone
    gauge: Gauge | None = None  # of a gauge alone
    histogram: Histogram | None = None
    composite: Composite | None = None
    method: Method = Method.OCCURRENCES
    slicing: Slicing | None = None  # of both kinds of time-slices
    calendar: Calendar | None = None
    also: tuple[Window, ...] = ()
    group_by: tuple[str, ...] = ()
    groups_max: int = GROUPS_MAX
    requires: tuple[str, ...] = ()
    excluded_max_ratio: float = EXCLUDED_MAX_RATIO
    title: str = ""
    alerts: Alerting | None = None
    group: str = ""  # of one group that is counted by itself, such as ``region=eu``; never declared
    first_sample: Treatment = Treatment.COUNT  # of a series that is new among known ones
    on_reset: Treatment = Treatment.COUNT  # of a counter that fell

    @property
    def is_queried(self) -> bool:
        """Whether it is counted from a metrics store, not from Envoy."""
        return self.indicator not in (IndicatorKind.AVAILABILITY, IndicatorKind.LATENCY)

    @property
    def is_derived(self) -> bool:
        """Whether its budget follows from its components' budgets: nothing is counted for it itself."""
        return self.composite is not None and self.slicing is None

    @property
    def key(self) -> str:
        """``project/environment/service/objective``; of one group ``...#group``."""
        return f"{self.service}/{self.name}#{self.group}" if self.group else f"{self.service}/{self.name}"

    @property
    def whole(self) -> str:
        """The key of the objective that it is, or that it is a group of."""
        return f"{self.service}/{self.name}"

    def group_of(self, labels: Iterable[tuple[str, str]]) -> str:
        """``region=eu,zone=``: the group of a series by its labels; empty where nothing is grouped."""
        told = dict(labels)
        return ",".join(f"{name}={told.get(name, '')}" for name in self.group_by)

    @property
    def window(self) -> Window:
        """The window that the gate knows."""
        return Window(window_s=self.window_s, calendar=self.calendar)

    @property
    def windows(self) -> tuple[Window, ...]:
        """Every window, the gate's first."""
        return (self.window, *self.also)
