"""What a budget means under a policy: its state, with the threshold and the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct, structs

from poise.model.balance import Budget, Burn, Counted
from poise.model.policy import BudgetPolicy, BurnTier, OnUnknown

MIN_FAILURES: Final = 4.0  # fewer bad events are no fast burn, whatever their ratio
FUTURE_TOLERANCE_S: Final = 5.0
ROUNDING: Final = 1e-6


class BudgetState(StrEnum):
    """Ordered from best to worst; an unknown budget is worse than a spent one: nobody knows it."""

    HEALTHY = "healthy"
    SLOW = "slow"
    SPENT = "spent"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Position from best (0) to worst."""
        return list(BudgetState).index(self)


class Standing(Struct, frozen=True, kw_only=True):
    """How one objective stands: its state by which rule, in a sentence with its numbers."""

    objective: str
    state: BudgetState
    rule: str
    text: str
    numbers: dict[str, Any] = {}
    fast_burn: bool = False
    left_ratio: float | None = None


def classify(budget: Budget, policy: BudgetPolicy, now: datetime) -> Standing:
    """The state of one budget. The first rule that applies names it."""
    fault = _unknown(budget, policy, now)
    if fault is not None:
        return fault
    left = budget.left_ratio
    tier = next((tier for tier in policy.fast_burn if fires(tier, budget.burns)), None)
    rule, state, text = _rule(budget, policy, left)
    numbers: dict[str, Any] = {
        "left_ratio": left,
        "slow_below_ratio": policy.slow_below_ratio,
        "hold_below_ratio": policy.hold_below_ratio,
        "coverage_ratio": budget.coverage_ratio,
    }
    if budget.problem and budget.measured_at is not None:
        age_s = (now - budget.measured_at).total_seconds()
        text = f"{text} (as of {age_s:.0f} s ago; it cannot be read now: {budget.problem})"
        numbers |= {"age_s": age_s, "stale_after_s": policy.stale_after_s}
    if tier is not None:
        numbers |= {"burn_factor": tier.factor, "long_s": tier.long_s, "short_s": tier.short_s}
        if state is not BudgetState.SPENT:
            rule, state = "fast-burn", BudgetState.SLOW
            text = f"{_name(budget)} burns its budget over {tier.factor:g} times too fast"
    return Standing(
        objective=budget.key, state=state, rule=rule, text=text, numbers=numbers,
        fast_burn=tier is not None, left_ratio=left,
    )  # fmt: skip


def missing(objective: str) -> Standing:
    """An objective is declared but no budget was ever computed for it."""
    return Standing(
        objective=objective,
        state=BudgetState.UNKNOWN,
        rule="no-budget",
        text=f"{objective.rsplit('/', 1)[-1]} has no budget yet",
    )


def edges(policy: BudgetPolicy) -> tuple[float, ...]:
    """What is left (ratios) at which a standing under the policy may change."""
    entered = (
        policy.hold_below_ratio,
        policy.approval_below_ratio,
        policy.slow_below_ratio,
        policy.fast_above_ratio,
    )
    return (*entered, *(one + policy.leave_margin_ratio for one in entered))


def stale_after_s(budget: Budget, policy: BudgetPolicy) -> float:
    """How old its newest measurement may be: the policy's bound, or its source's where that is longer."""
    return max(policy.stale_after_s, budget.stale_after_s)


def as_of(budget: Budget, counted: Counted | None, policy: BudgetPolicy) -> Budget:
    """The budget as it is still known to stand: what changed since it was written was not material.

    One that was fresh when it was written is as fresh at the last round of counting: had it become stale, it
    would have been written. One that was not stays as it is, with its age.
    """
    if counted is None or counted.at <= budget.at or budget.measured_at is None:
        return budget
    lag = budget.at - budget.measured_at
    if lag.total_seconds() > stale_after_s(budget, policy):
        return budget
    return structs.replace(budget, at=counted.at, measured_at=counted.at - lag)


def severity(standing: Standing) -> tuple[int, bool, float, str]:
    """Sort key, the worst highest: by state, then fast burn, then what is left. Never an average."""
    return (standing.state.rank, standing.fast_burn, -(standing.left_ratio or 0.0), standing.objective)


def fires(
    tier: BurnTier, burns: Iterable[Burn], age_s: float = math.inf, failures_min: float = MIN_FAILURES
) -> bool:
    """Whether both windows burn over the factor and enough failed to mean anything.

    An objective of ``age_s`` younger than the long window has not burned for all of it yet: its rate counts
    for the share of the window that it has lived, so that ten slow requests on the first day wake nobody.

    Source: SRE workbook, chapter 5 (multiwindow, multi-burn-rate); minimum failures after Grafana SLO.
    """
    by_window = {burn.window_s: burn for burn in burns}
    long, short = by_window.get(tier.long_s), by_window.get(tier.short_s)
    if long is None or short is None or long.rate is None or short.rate is None:
        return False
    lived_ratio = min(1.0, max(0.0, age_s) / tier.long_s)
    return long.bad >= failures_min and long.rate * lived_ratio > tier.factor and short.rate > tier.factor


def numbers_of(budget: Budget) -> tuple[float, ...]:
    """Every number that must be one for the budget to be usable."""
    rates = (burn.rate for burn in budget.burns if burn.rate is not None)
    counted = (budget.good, budget.bad, budget.allowed, budget.left_ratio, budget.coverage_ratio)
    return (*counted, budget.target_ratio, budget.rate_per_s, budget.excess, *rates)


def _unknown(budget: Budget, policy: BudgetPolicy, now: datetime) -> Standing | None:
    """Why the budget cannot be relied on, if so."""
    name = _name(budget)
    if budget.measured_at is None:
        rule, text, numbers = "not-measured", f"{name} was never measured", {}
    elif (age_s := (now - budget.measured_at).total_seconds()) > stale_after_s(budget, policy):
        rule, text = "stale", f"{name} was last measured {age_s:.0f} s ago"
        numbers = {"age_s": age_s, "stale_after_s": stale_after_s(budget, policy)}
    elif age_s < -FUTURE_TOLERANCE_S:
        rule, text, numbers = "future", f"{name} was measured in the future", {"age_s": age_s}
    elif not all(map(math.isfinite, numbers_of(budget))):
        rule, text, numbers = "no-number", f"{name} has no usable number", {}
    elif budget.excess > 0:
        rule, short = "contradiction", f"{budget.service.rpartition('/')[2]}/{name}"
        text = (
            f"{name}'s counters contradict one another: its source tells {budget.excess:,.4g} more good or"
            " bad events than events. Count all with selectors of the same series, or take that time out:"
            f" poise slo exclude NAME {short} --from INSTANT --for 1h --reason TEXT"
        )
        numbers = {"excess": budget.excess, "good": budget.good, "bad": budget.bad}
    elif contradiction := _contradiction(budget, now):
        rule, text, numbers = "contradiction", f"{name}'s numbers contradict one another: {contradiction}", {}
    elif _partial(budget, policy) and policy.on_unknown is OnUnknown.HOLD:
        rule = "partial"
        text = f"only {_percent(budget.coverage_ratio)} of {name}'s time was measured{_contradicted(budget)}"
        numbers = {
            "coverage_ratio": budget.coverage_ratio,
            "coverage_min_ratio": policy.coverage_min_ratio,
        }
        if budget.contradiction is not None:
            numbers["excess"] = budget.contradiction.excess
    else:
        return None
    return Standing(
        objective=budget.key, state=BudgetState.UNKNOWN, rule=rule, text=text, numbers=dict(numbers)
    )


def _contradiction(budget: Budget, now: datetime) -> str:
    """What cannot be, whoever wrote it; empty when nothing is."""
    if min(budget.good, budget.bad, budget.allowed, budget.rate_per_s) < 0:
        return "a count is below zero"
    if budget.left_ratio > 1.0 + ROUNDING:
        return "more is left than there was"
    if not 0.0 <= budget.coverage_ratio <= 1.0 + ROUNDING:
        return "more time was measured than there was"
    if not 0.0 < budget.target_ratio < 1.0:
        return f"a target of {budget.target_ratio:g} leaves no budget"
    if budget.bad > budget.allowed and budget.left_ratio > ROUNDING:
        return "more failed than is allowed, yet something is left"
    if (budget.since - now).total_seconds() > FUTURE_TOLERANCE_S:
        return "it begins in the future"
    return "a burn rate is below zero" if any((one.rate or 0.0) < 0 for one in budget.burns) else ""


def _contradicted(budget: Budget) -> str:
    return "" if budget.contradiction is None else f" ({budget.contradiction.sentence})"


def mend_of(budget: Budget) -> str:
    """What mends counters whose slice of time contradicts itself."""
    assert budget.contradiction is not None
    begin = budget.contradiction.since
    length_s = (budget.contradiction.until - begin).total_seconds()
    short = f"{budget.service.rpartition('/')[2]}/{budget.objective}"
    return (
        "Count all with selectors of the same series, or take that time out: "
        f"poise slo exclude NAME {short} --from {begin:%Y-%m-%dT%H:%M:%SZ} --for {length_s:.0f}s "
        "--reason TEXT"
    )


def _partial(budget: Budget, policy: BudgetPolicy) -> bool:
    return not budget.bootstrap and budget.coverage_ratio < policy.coverage_min_ratio


def _rule(budget: Budget, policy: BudgetPolicy, left: float) -> tuple[str, BudgetState, str]:
    name = _name(budget)
    if left <= policy.hold_below_ratio:
        return "spent", BudgetState.SPENT, f"{name}'s budget is spent ({_percent(left)} is left)"
    if budget.bootstrap:
        events = f"{budget.good + budget.bad:,.0f} events"
        return "bootstrap", BudgetState.SLOW, f"{name} is young (bootstrap, {events} so far)"
    if _partial(budget, policy):
        text = f"part of {name}'s time is unknown{_contradicted(budget)}"
        return "unknown-time", BudgetState.SLOW, text
    if left < policy.slow_below_ratio:
        limit = _percent(policy.slow_below_ratio)
        return "low", BudgetState.SLOW, f"{_percent(left)} of {name}'s budget is left, below {limit}"
    return "healthy", BudgetState.HEALTHY, f"{_percent(left)} of {name}'s budget is left"


def _name(budget: Budget) -> str:
    return budget.objective


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.4g} %"
