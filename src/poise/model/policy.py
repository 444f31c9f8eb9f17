"""The error-budget policy: what a budget's state means for the next change.

Every bound is a field with its default here and nowhere else.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

DAY_S = 86_400.0


class OnUnknown(StrEnum):
    """What unknown time means for the gate."""

    HOLD = "hold"
    BAD = "bad"
    IGNORE = "ignore"


class BurnTier(Struct, frozen=True, kw_only=True):
    """A multiwindow burn-rate condition: both windows over ``factor``.

    Source: SRE workbook, chapter 5, table 5-8 (short window = long / 12).
    """

    long_s: float
    short_s: float
    factor: float


class BudgetPolicy(Struct, frozen=True, kw_only=True):
    """How the error budget paces change. Ratios are of the period's budget, 0..1 (below 0: overspent).

    Until an objective has ``bootstrap_s`` of age and ``bootstrap_events`` events its verdict is slow and
    its budget is the declared or observed rate x period.
    """

    name: str = "default"
    slow_below_ratio: float = 0.4
    hold_below_ratio: float = 0.0
    coverage_min_ratio: float = 0.9
    stale_after_s: float = 60.0
    on_unknown: OnUnknown = OnUnknown.HOLD
    bootstrap_s: float = DAY_S
    bootstrap_events: int = 10_000
    slow_steps_percent: tuple[int, ...] = (2, 5, 10, 25, 50)
    slow_bake_factor: float = 2.0
    fast_burn: tuple[BurnTier, ...] = (
        BurnTier(long_s=3600.0, short_s=300.0, factor=14.4),
        BurnTier(long_s=21_600.0, short_s=1800.0, factor=6.0),
    )
    override_max_s: float = DAY_S
