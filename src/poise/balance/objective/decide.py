"""How an objective stands, in words: its status, and the sentence for pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from poise.model.balance import Budget
from poise.model.policy import BudgetPolicy
from poise.model.standing import BudgetState, classify

FORECAST_WINDOWS_S: Final = (21_600.0, 3600.0, 1800.0, 300.0)  # the longest that was measured


class Status(StrEnum):
    """What a person is told of an objective."""

    MET = "met"
    AT_RISK = "at risk"
    SPENT = "spent"
    UNKNOWN = "unknown"


def status(budget: Budget, policy: BudgetPolicy, now: datetime) -> Status:
    """The objective's status word; a young objective that is doing well is met."""
    standing = classify(budget, policy, now)
    if standing.rule == "bootstrap" and not standing.fast_burn:
        return Status.MET if budget.left_ratio >= policy.slow_below_ratio else Status.AT_RISK
    return {
        BudgetState.HEALTHY: Status.MET,
        BudgetState.SLOW: Status.AT_RISK,
        BudgetState.SPENT: Status.SPENT,
        BudgetState.UNKNOWN: Status.UNKNOWN,
    }[standing.state]


def lasts_until(budget: Budget, now: datetime) -> datetime | None:
    """When the budget is spent at the present pace; None when it is not, or lasts the whole window.

    Linear: a burn rate of 1 spends a whole budget in one window. The pace is that of the longest burn
    window up to six hours; what leaves the rolling window meanwhile is not credited.
    """
    burns = {burn.window_s: burn.rate for burn in budget.burns}
    rate = next((burns[window] for window in FORECAST_WINDOWS_S if burns.get(window) is not None), None)
    if not rate or budget.left_ratio <= 0:
        return None
    left_s = budget.left_ratio * budget.window_s / rate
    return now + timedelta(seconds=left_s) if left_s < budget.window_s else None


def sentence(budget: Budget, policy: BudgetPolicy, now: datetime) -> str:
    """One line for pages: ``38 % of the budget is left; at this pace it lasts until 9 December.``"""
    standing = classify(budget, policy, now)
    if standing.state is BudgetState.UNKNOWN:
        return f"{standing.text[:1].upper()}{standing.text[1:]}, so nobody knows what is left."
    if standing.state is BudgetState.SPENT:
        back = ""
        if budget.recovers_at is not None:
            back = f"; without new failures it is back on {_day(budget.recovers_at, now)}"
        over = f" and overspent by {-budget.left_ratio * 100:.0f} %" if budget.left_ratio < -0.005 else ""
        return f"The budget is spent{over}{back}."
    start = f"{budget.left_ratio * 100:.0f} % of the budget is left"
    until = lasts_until(budget, now)
    pace = f"at this pace it lasts until {_day(until, now)}" if until else "at this pace it lasts"
    return f"{start}; {pace}."


def _day(at: datetime, now: datetime) -> str:
    """A date as people say it, with the time when it is within a day."""
    if at - now < timedelta(days=1):
        return f"{at.day} {at:%B} at {at:%H:%M} UTC"
    return f"{at.day} {at:%B}" if at.year == now.year else f"{at.day} {at:%B %Y}"
