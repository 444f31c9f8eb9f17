"""How a service stands under its policy: every objective, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from poise.model.balance import Budget
from poise.model.policy import BudgetPolicy
from poise.model.standing import Standing, classify, missing, severity


def decide(
    budgets: Sequence[Budget], declared: Sequence[str], policy: BudgetPolicy, now: datetime
) -> tuple[Standing, ...]:
    """The standing of each objective in ``declared`` (keys), worst first; one without a budget is unknown."""
    known = {budget.key: classify(budget, policy, now) for budget in budgets}
    standings = [known.get(key) or missing(key) for key in sorted({*declared, *known})]
    return tuple(sorted(standings, key=severity, reverse=True))
