"""What the policy demands after trouble: a post-mortem with a P0 action, and a plan against what recurs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from poise.model.policy import DAY_S, BudgetPolicy, Duty, Level
from poise.model.review import Priority, Review, ReviewState

FOUR_WEEKS_S: Final = 28 * DAY_S
QUARTER_S: Final = 91.25 * DAY_S  # a quarter of 365 days


def duties(reviews: Sequence[Review], policy: BudgetPolicy, now: datetime) -> tuple[Duty, ...]:
    """What is owed by a service with these reviews.

    Source: SRE workbook, appendix B (error budget policy).
    """
    return (*_postmortems(reviews, policy, now), *_classes(reviews, policy, now))


def quarter_of(at: datetime) -> str:
    """The calendar quarter, UTC.

    >>> from datetime import UTC
    >>> quarter_of(datetime(2026, 11, 20, tzinfo=UTC))
    '2026Q4'
    """
    return f"{at.year}Q{(at.month + 2) // 3}"


def _postmortems(reviews: Iterable[Review], policy: BudgetPolicy, now: datetime) -> list[Duty]:
    """An incident that cost more than its share owes a published post-mortem with a P0 action."""
    found = []
    for review in reviews:
        spent = review.budget_spent_ratio or 0.0
        lacks = _lacks(review)
        if spent <= policy.incident_share_ratio or not lacks:
            continue
        n = int(review.incident.rpartition("/")[2])
        due_at = review.drafted_at + timedelta(seconds=policy.postmortem_due_s)
        late = now > due_at
        text = (
            f"incident {n} spent {_percent(spent)} of the budget, "
            f"over {_percent(policy.incident_share_ratio)}, "
            f"and its post-mortem {lacks} ({'was ' if late else ''}due {due_at:%Y-%m-%d}): "
            f"poise postmortem show {n}"
        )
        numbers = {
            "incident": n,
            "spent_ratio": spent,
            "share_ratio": policy.incident_share_ratio,
            "due_at": due_at.isoformat(),
        }
        level = Level.APPROVAL if late else Level.SLOW
        found.append(Duty(rule="postmortem-due", text=text, level=level, numbers=numbers))
    return found


def _lacks(review: Review) -> str:
    if not any(one.priority is Priority.P0 for one in review.actions):
        return "has no P0 action"
    return "" if review.state is ReviewState.PUBLISHED else "is not published"


def _classes(reviews: Iterable[Review], policy: BudgetPolicy, now: datetime) -> list[Duty]:
    """A class of outage that cost more than its share of a quarter's budget owes an item in the plan.

    A quarter's budget is as many four-week budgets as fit into it.
    """
    since = now - timedelta(seconds=QUARTER_S)
    spent: dict[str, float] = {}
    for review in reviews:
        if review.outage_class and since <= review.drafted_at <= now:
            cost = (review.budget_spent_ratio or 0.0) * FOUR_WEEKS_S / QUARTER_S
            spent[review.outage_class] = spent.get(review.outage_class, 0.0) + cost
    quarters = {quarter_of(now), quarter_of(now + timedelta(seconds=QUARTER_S))}
    planned = {item.outage_class for item in policy.plan if item.quarter in quarters}
    return [
        Duty(
            rule="outage-class",
            text=f"outages of class '{name}' spent {_percent(ratio)} of a quarter's budget, over "
            f"{_percent(policy.outage_class_share_ratio)}; plan a P0 against it: add to 'plan' of the policy",
            level=Level.SLOW,
            numbers={
                "outage_class": name, "spent_ratio": ratio, "share_ratio": policy.outage_class_share_ratio
            },
        )
        for name, ratio in sorted(spent.items())
        if ratio > policy.outage_class_share_ratio and name not in planned
    ]  # fmt: skip


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.3g} %"
