"""How large a step may be, so that a bad canary costs a set share of the budget at most."""

from __future__ import annotations

import math

from poise.balance.gate.facts import Facts
from poise.model.balance import Budget, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.pacing import Pace
from poise.model.service import Service


def cap_percent(facts: Facts, kind: VerdictKind, pace: Pace, *, stepped: bool) -> int:
    """The most that this step may take, 0..100; ``stepped``: no further than the next of the pace's steps.

    The first step costs at most the strategy's share of the budget left even if every canary request
    fails; a later one even if the canary fails as many more as its own evidence still allows. A repair on a
    spent budget takes the smallest step first.
    """
    question, steps = facts.question, pace.steps_percent
    if kind is VerdictKind.HOLD:
        return 0
    if question.change_class is ChangeClass.ROLLBACK or question.first_release or question.interrupted:
        return 100
    if not facts.service.strategy.is_sized:
        return 100  # its strategy has no smaller step: go or hold is all that the budget can say
    following = 100
    if stepped:
        following = min((step for step in steps if step > question.from_percent), default=100)
    if question.from_percent > 0:
        return min([following, *(_evident_percent(one, facts, pace.bake_factor) for one in facts.budgets)])
    smallest = min(steps, default=1)
    caps = [_affordable_percent(one, facts.service, pace.bake_factor, smallest) for one in facts.budgets]
    return max(1, min([following, *caps]))


def _evident_percent(budget: Budget, facts: Facts, bake_factor: float) -> int:
    """Weight at which a step's excess failures cost the share of the budget left, by the canary's evidence.

    On a spent budget, and where nobody measures the canary, nothing can be sized: the steps alone count.

    Source: (upper bound of excess ratio) x weight x rate x step <= share x (left ratio x allowed events).
    """
    excess_ratio, strategy = facts.question.excess_ratio_high, facts.service.strategy
    left_events = budget.left_ratio * budget.allowed
    if excess_ratio is None or not left_events > 0:
        return 100
    risked = excess_ratio * budget.rate_per_s * strategy.step_s * bake_factor
    if not risked > 0:
        return 100
    return int(min(100.0, 100.0 * strategy.budget_risk_share * left_events / risked))


def _affordable_percent(budget: Budget, service: Service, bake_factor: float, smallest: int) -> int:
    """Weight at which a step of failures alone costs the share of the budget left; 100 without traffic.

    Source: canary requests = weight x rate x step <= share x (left ratio x allowed events).
    """
    strategy = service.strategy
    exposed = budget.rate_per_s * strategy.step_s * bake_factor
    left_events = budget.left_ratio * budget.allowed
    if not all(map(math.isfinite, (exposed, left_events))):
        return smallest
    if exposed <= 0:
        return 100
    if left_events <= 0:
        return smallest
    return int(min(100.0, 100.0 * strategy.budget_risk_share * left_events / exposed))
