"""What a person reads of an objective."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from poise.balance.objective.decide import Status, lasts_until, sentence, status
from poise.balance.policy.decide import standings
from poise.model.balance import Budget, Burn
from poise.model.policy import DAY_S, BudgetPolicy

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = BudgetPolicy()


def budget(left: float, rate: float | None = None, **changes: Any) -> Budget:
    fields: dict[str, Any] = {
        "service": "acme/production/shop",
        "objective": "availability",
        "target_ratio": 0.999,
        "window_s": 28 * DAY_S,
        "good": 1e6,
        "bad": 1.0,
        "allowed": 1000.0,
        "left_ratio": left,
        "burns": (Burn(window_s=3600, rate=rate, coverage_ratio=1),),
        "coverage_ratio": 1.0,
        "bootstrap": False,
        "since": NOW - timedelta(days=30),
        "measured_at": NOW,
        "at": NOW,
    }
    return Budget(**(fields | changes))


@pytest.mark.parametrize(
    ("seen", "word", "text"),
    [
        (budget(0.9, 0.0), Status.MET, "90 % of the budget is left; at this pace it lasts."),
        (
            budget(0.38, 0.665),
            Status.AT_RISK,
            "38 % of the budget is left; at this pace it lasts until 9 December.",
        ),
        (
            budget(0.5, 20.0),
            Status.MET,
            "50 % of the budget is left; at this pace it lasts until 24 November at 04:48 UTC.",
        ),
        (budget(-0.5), Status.SPENT, "The budget is spent and overspent by 50 %."),
        (
            budget(0.0, recovers_at=NOW + timedelta(days=3)),
            Status.SPENT,
            "The budget is spent; without new failures it is back on 26 November.",
        ),
        (
            budget(0.9, measured_at=None),
            Status.UNKNOWN,
            "Availability was never measured, so nobody knows what is left.",
        ),
        (
            budget(0.9, None, bootstrap=True),
            Status.MET,
            "90 % of the budget is left; at this pace it lasts.",
        ),
    ],
)
def test_status_and_sentence(seen: Budget, word: Status, text: str) -> None:
    assert status(seen, POLICY, NOW) is word
    assert sentence(seen, POLICY, NOW) == text


def test_a_budget_that_outlasts_its_window_has_no_end() -> None:
    assert lasts_until(budget(0.9, 0.5), NOW) is None
    assert lasts_until(budget(0.25, 0.5), NOW) == NOW + timedelta(days=14)


def test_a_service_stands_as_its_worst_objective_and_a_missing_one_is_worst() -> None:
    good, spent = budget(0.9), budget(-1.0, objective="latency")
    found = standings([good, spent], [good.key, "acme/production/shop/z"], POLICY, NOW)
    assert [(one.objective.rsplit("/", 1)[-1], one.state.value) for one in found] == [
        ("z", "unknown"),
        ("latency", "spent"),
        ("availability", "healthy"),
    ]
