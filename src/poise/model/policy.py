"""The error-budget policy: what a budget's state means for the next change.

Every bound is a field with its default here and nowhere else.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

DAY_S = 86_400.0
BURN_WINDOWS_S = (300.0, 1800.0, 3600.0, 21_600.0, 3 * DAY_S)  # measured whatever the policy says


class OnUnknown(StrEnum):
    """What unknown time means for the gate."""

    HOLD = "hold"
    BAD = "bad"
    IGNORE = "ignore"


class Level(StrEnum):
    """How fast a service may go, from fastest to slowest. A rollback is allowed at every level."""

    FAST = "fast"  # larger steps, shorter bakes, more rollouts at once
    NORMAL = "normal"  # as the service declares
    SLOW = "slow"  # smaller steps, longer bakes
    APPROVAL = "approval"  # as slow, and features need an operator's approval
    FREEZE = "freeze"  # fixes and security only

    @property
    def rank(self) -> int:
        """Position from fastest (0) to slowest."""
        return list(Level).index(self)


class BurnTier(Struct, frozen=True, kw_only=True):
    """A multiwindow burn-rate condition: both windows over ``factor``.

    Source: SRE workbook, chapter 5, table 5-8 (short window = long / 12).
    """

    long_s: float
    short_s: float
    factor: float


class Urgency(StrEnum):
    """What a tier of an objective's own is for."""

    PAGE = "page"  # somebody is paged
    TICKET = "ticket"  # it waits for working hours


class AlertTier(BurnTier, frozen=True, kw_only=True):
    """A tier that an objective declares: it alerts once both windows burn over ``factor`` for ``hold_s``."""

    severity: Urgency = Urgency.PAGE
    hold_s: float = 0.0


class Alerting(Struct, frozen=True, kw_only=True):
    """An objective's own tiers, instead of the policy's; fewer bad events than ``failures_min`` are no burn.

    None: as few as the project's alerts say.
    """

    tiers: tuple[AlertTier, ...]
    failures_min: int | None = None

    @property
    def windows_s(self) -> tuple[float, ...]:
        """The windows whose burn they ask for, ascending."""
        return tuple(sorted({window for tier in self.tiers for window in (tier.long_s, tier.short_s)}))


class Parallel(Struct, frozen=True, kw_only=True):
    """How many rollouts of one environment may be under way at once, by level."""

    fast: int = 10
    normal: int = 5
    slow: int = 2


class Condition(Struct, frozen=True, kw_only=True):
    """A team's own rule: where ``when`` (CEL) is true, changes of ``classes`` go no faster than ``level``."""

    name: str
    when: str
    level: Level
    why: str = ""
    classes: tuple[str, ...] = ("feature",)


class ClassRule(Struct, frozen=True, kw_only=True):
    """What makes a change one of ``change_class``: a label, or that all its paths match one of ``paths``."""

    change_class: str
    paths: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


class PlanItem(Struct, frozen=True, kw_only=True):
    """What a team planned against a class of outage: ``item`` names it, ``quarter`` reads ``2026Q4``."""

    outage_class: str
    quarter: str
    item: str


class BudgetPolicy(Struct, frozen=True, kw_only=True):
    """How the error budget paces change. Ratios are of the period's budget, 0..1 (below 0: overspent).

    Above ``fast_above_ratio`` a service goes fast, below ``slow_below_ratio`` slowly, below
    ``approval_below_ratio`` with an approval, at or below ``hold_below_ratio`` not at all. A slower level is
    entered at once; a faster one only with ``leave_margin_ratio`` to spare and after ``dwell_s`` at the
    slower. Where the forecast gives a chance of ``exhaustion_slow_ratio`` or more that the budget is spent,
    it goes slowly at most. Until an objective has ``bootstrap_s`` of age and ``bootstrap_events`` events its
    verdict is slow and its budget is the declared or observed rate x period.

    Source: SRE workbook, appendix B (error budget policy): overspend of four weeks, 20 % by one incident,
    20 % of a quarter by one class of outage, exemption for causes elsewhere, escalation.
    """

    name: str = "default"
    fast_above_ratio: float = 0.8
    slow_below_ratio: float = 0.4
    approval_below_ratio: float = 0.1
    hold_below_ratio: float = 0.0
    leave_margin_ratio: float = 0.05
    dwell_s: float = 3600.0
    coverage_min_ratio: float = 0.9
    stale_after_s: float = 60.0
    on_unknown: OnUnknown = OnUnknown.HOLD
    bootstrap_s: float = DAY_S
    bootstrap_events: int = 10_000
    fast_steps_percent: tuple[int, ...] = ()  # none: every second step of the service's own
    fast_bake_factor: float = 0.5
    slow_steps_percent: tuple[int, ...] = (2, 5, 10, 25, 50)
    slow_bake_factor: float = 2.0
    slow_alpha_factor: float = 2.0
    parallel: Parallel = Parallel()
    fast_burn: tuple[BurnTier, ...] = (
        BurnTier(long_s=3600.0, short_s=300.0, factor=14.4),
        BurnTier(long_s=21_600.0, short_s=1800.0, factor=6.0),
    )
    exhaustion_slow_ratio: float = 0.5
    overspend_window_s: float = 28 * DAY_S
    incident_share_ratio: float = 0.2
    postmortem_due_s: float = 7 * DAY_S
    outage_class_share_ratio: float = 0.2
    plan: tuple[PlanItem, ...] = ()
    escalate_to: tuple[str, ...] = ()
    escalate_after_s: float = 900.0  # a dispute may stay open so long before somebody is paged
    override_max_s: float = DAY_S
    approval_max_s: float = DAY_S
    exemption_max_s: float = 28 * DAY_S
    conditions: tuple[Condition, ...] = ()
    classes: tuple[ClassRule, ...] = ()

    @property
    def burn_windows_s(self) -> tuple[float, ...]:
        """The windows whose burn this policy asks for, ascending."""
        tiers = {window_s for tier in self.fast_burn for window_s in (tier.long_s, tier.short_s)}
        return tuple(sorted({*tiers, self.overspend_window_s}))


class PolicyState(Struct, frozen=True, kw_only=True):
    """At which level a service is, since when and why; key as the service's. Written by policy.

    It is kept so that a restart, or a budget that wavers around a bound, does not change how fast one may
    go. ``left_ratio`` is the worst objective's when this was written; None where nobody knows it.
    """

    service: str
    policy: str
    level: Level
    since: datetime
    at: datetime
    objective: str = ""
    left_ratio: float | None = None
    text: str = ""
    faster_at: datetime | None = None  # when it may be faster at the earliest, if the budget stays as it is

    @property
    def key(self) -> str:
        """``project/environment/service``."""
        return self.service


class Duty(Struct, frozen=True, kw_only=True):
    """What the policy demands after trouble and is not done yet; until then no faster than ``level``."""

    rule: str
    text: str
    level: Level
    numbers: dict[str, Any] = {}


class Checked(Struct, frozen=True, kw_only=True):
    """A condition as it was evaluated: whether it holds, or the ``problem`` that nobody can tell."""

    condition: Condition
    holds: bool = False
    problem: str = ""
