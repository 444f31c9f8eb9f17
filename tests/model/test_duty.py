"""What the workbook's policy demands after trouble, clause by clause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from poise.model.duty import duties
from poise.model.policy import BudgetPolicy, Level, PlanItem
from poise.model.review import Action, ActionKind, Priority, Review, ReviewState

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POLICY = BudgetPolicy()
P0 = Action(
    n=1, kind=ActionKind.PREVENT, text="limit retries", owner="ada", due_at=NOW + timedelta(days=9),
    verification="a drill", priority=Priority.P0,
)  # fmt: skip


def review(n: int = 7, spent: float | None = 0.3, days_ago: float = 2, **changes: Any) -> Review:
    fields: dict[str, Any] = {
        "incident": f"acme/{n:06d}",
        "title": "x",
        "text": "x",
        "budget_spent_ratio": spent,
        "drafted_at": NOW - timedelta(days=days_ago),
    }
    return Review(**(fields | changes))


DONE = review(actions=(P0,), state=ReviewState.PUBLISHED)


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (review(), Level.SLOW),
        (review(days_ago=8), Level.APPROVAL),
        (review(actions=(P0,)), Level.SLOW),
        (structs.replace(DONE, actions=(structs.replace(P0, priority=Priority.P1),)), Level.SLOW),
        (DONE, None),
        (review(spent=0.2), None),
        (review(spent=None), None),
    ],
)
def test_an_incident_that_cost_too_much_owes_a_published_post_mortem_with_a_p0(
    found: Review, level: Level | None
) -> None:
    """SRE workbook, appendix B: over 20 % by a single incident demands a post-mortem with a P0 action."""
    owed = duties([found], POLICY, NOW)
    assert [one.level for one in owed] == ([] if level is None else [level])
    assert all("incident 7" in one.text and one.numbers["spent_ratio"] == 0.3 for one in owed)


def test_a_class_of_outage_that_recurs_owes_an_item_in_the_plan() -> None:
    """SRE workbook, appendix B: over 20 % of a quarter by one class demands a P0 in the plan."""
    found = [structs.replace(DONE, incident=f"acme/{n:06d}", outage_class="dns") for n in range(1, 4)]
    (owed,) = duties(found, POLICY, NOW)
    assert owed.rule == "outage-class" and owed.numbers["outage_class"] == "dns"
    assert owed.numbers["spent_ratio"] == pytest.approx(3 * 0.3 * 28 / 91.25)
    planned = PlanItem(outage_class="dns", quarter="2027Q1", item="JIRA-1")
    assert duties(found, structs.replace(POLICY, plan=(planned,)), NOW) == ()
    old = structs.replace(planned, quarter="2026Q2")
    assert duties(found, structs.replace(POLICY, plan=(old,)), NOW) == (owed,)


def test_classes_are_counted_apart_and_for_one_quarter() -> None:
    """Two classes at 15 % each are two small troubles; last spring is over."""
    spread = [structs.replace(DONE, outage_class=name) for name in ("dns", "release")]
    assert duties(spread, POLICY, NOW) == ()
    past = [structs.replace(DONE, outage_class="dns", drafted_at=NOW - timedelta(days=100))] * 4
    assert duties(past, POLICY, NOW) == ()
