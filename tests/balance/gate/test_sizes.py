"""The canary's weight at the edges of what numbers can be."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from poise.balance.gate.decide import judge
from poise.balance.gate.facts import Facts, Question
from poise.balance.gate.sizes import _affordable_percent, cap_percent
from poise.model.balance import Budget, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.pacing import pace_of
from poise.model.policy import BudgetPolicy, Level
from poise.model.service import Service, Strategy, StrategyKind

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_hardly_any_traffic_is_no_overflow() -> None:
    """Less than a request in the age of the universe is as good as none: the whole weight is affordable."""
    budget = Budget(
        service="a/p/s", objective="x", target_ratio=0.9, window_s=60.0, good=1e9, bad=0.0, allowed=1e300,
        left_ratio=1.0, burns=(), coverage_ratio=1.0, bootstrap=False, since=NOW, measured_at=NOW, at=NOW,
        rate_per_s=1e-300,
    )  # fmt: skip
    service = Service(project="a", environment="p", name="s", command="x", port=1)
    assert _affordable_percent(budget, service, 1.0, 5) == 100


@pytest.mark.parametrize(
    ("left_ratio", "excess_ratio", "percent"),
    [
        (0.5, 1.0, 5),  # 0.1 x 500 events left / (10/s x 100 s x 1)
        (0.5, 0.1, 50),
        (0.5, 0.0, 100),
        (0.5, None, 100),  # nobody measures: the steps alone count
        (0.0, 1.0, 100),  # spent: a repair must get through
    ],
)
def test_the_next_step_costs_its_share_even_at_the_worst_that_the_evidence_allows(
    left_ratio: float, excess_ratio: float | None, percent: int
) -> None:
    """A canary that may still be very bad gets little of the traffic; one that surely is not gets on."""
    budget = Budget(
        service="a/p/s", objective="x", target_ratio=0.999, window_s=60.0, good=1e6, bad=0.0, allowed=1000.0,
        left_ratio=left_ratio, burns=(), coverage_ratio=1.0, bootstrap=False, since=NOW, measured_at=NOW,
        at=NOW, rate_per_s=10.0,
    )  # fmt: skip
    facts = Facts(
        question=Question(
            change_class=ChangeClass.FEATURE, from_percent=5, weight_percent=100,
            excess_ratio_high=excess_ratio,
        ),
        service=Service(project="a", environment="p", name="s", strategy=Strategy(step_s=100.0)),
        objectives=(budget.key,), budgets=(budget,), policy=BudgetPolicy(), overrides=(), incidents=(),
        now=NOW,
    )  # fmt: skip
    pace = pace_of(Level.NORMAL, (5, 20, 50), facts.policy)
    assert cap_percent(facts, VerdictKind.GO, pace, stepped=False) == percent


def test_a_strategy_without_a_smaller_step_is_asked_go_or_hold_alone() -> None:
    """A cap that it cannot take would hold it for ever; the verdict says that nothing was made smaller."""
    budget = Budget(
        service="a/p/s", objective="x", target_ratio=0.999, window_s=60.0, good=1e6, bad=0.0, allowed=1000.0,
        left_ratio=0.5, burns=(), coverage_ratio=1.0, bootstrap=False, since=NOW, measured_at=NOW,
        at=NOW, rate_per_s=10.0,
    )  # fmt: skip
    strategy = Strategy(kind=StrategyKind.BLUE_GREEN)
    service = Service(project="a", environment="p", name="s", strategy=strategy)
    question = Question(change_class=ChangeClass.FEATURE, weight_percent=100, digest="sha256:b")
    objectives = [budget.key]
    verdict = judge(question, service, [budget], BudgetPolicy(), objectives=objectives, now=NOW)
    assert (verdict.kind, verdict.max_weight_percent) == (VerdictKind.GO, 100)
    assert verdict.reasons[-1].rule == "unsized"
    spent = msgspec.structs.replace(budget, left_ratio=-0.1)
    held = judge(question, service, [spent], BudgetPolicy(), objectives=objectives, now=NOW)
    assert (held.kind, held.max_weight_percent) == (VerdictKind.HOLD, 0)
