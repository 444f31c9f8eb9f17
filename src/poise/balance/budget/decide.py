"""Which budgets are worth writing, and what they say: out of what every budget was measured to be. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from poise.balance.budget.grouping import budgets as group_budgets
from poise.balance.budget.measure import Measures, Sheet, burn_windows
from poise.balance.budget.periods import periods
from poise.model.balance import Budget, Burn, PeriodBudget
from poise.model.counting import definition
from poise.model.event_types import BUDGET_CHANGED
from poise.model.exclusion import Stretch
from poise.model.increments import Summed
from poise.model.period import period
from poise.model.policy import BudgetPolicy
from poise.model.record import Decision, Event, Ref, Write
from poise.model.slices import Contradiction
from poise.model.standing import MIN_FAILURES, classify, fires

REFRESH_MAX_S: Final = 60.0
MATERIAL_RATIO: Final = 0.001
LOOKED_MAX_S: Final = 300.0  # a burn whose budget was not written for longer is not known to have gone on


class Seen(Struct, frozen=True, kw_only=True):
    """One budget: its column among all that were measured, and what was written of it before.

    ``is_due``: it was not written for so long that it is written though nothing changed. ``is_watched``: it
    was looked at ever since it was written, however long ago.
    """

    sheet: Sheet
    measures: Measures
    sums: Summed
    column: int
    before: Budget | None
    ref: Ref
    interpolated: bool = False
    problem: str = ""
    is_due: bool = False
    is_watched: bool = False
    excluded: tuple[Stretch, ...] = ()
    contradictions: Mapping[int, Contradiction] = {}  # by place
    unadjusted: Measures | None = None  # without exclusions; None where there are none for this budget


def decide(seen: Seen, now: datetime) -> Decision:
    """Write the budget when something material changed; say so when its state did."""
    budget, policy = budget_of(seen), seen.sheet.policies[seen.column]
    if not seen.is_due and not _material(seen.before, budget, policy, now):
        return Decision()
    event = _transition(seen.before, budget, policy, now)
    return Decision(
        reads=(seen.ref,),
        writes=(Write(kind="Budget", key=budget.key, body=budget),),
        events=(event,) if event else (),
    )


def budget_of(seen: Seen) -> Budget:
    """The budget of one column, as people and the gate read it."""
    at, measures = seen.column, seen.measures
    objective, period = seen.sheet.objectives[at], measures.period
    left, allowed = float(measures.left_ratio[at]), float(measures.allowed[at])
    measured_s = float(measures.measured_s[at])
    groups = group_budgets(seen.sheet, measures, at)
    burns, since = _burns(seen), _instant(float(measures.since_s[at]))
    return Budget(
        service=objective.service,
        objective=objective.name,
        target_ratio=objective.target_ratio,
        window_s=objective.window_s,
        good=float(period.good[at]),
        bad=float(period.bad[at]),
        allowed=allowed,
        left_ratio=left,
        burns=burns,
        coverage_ratio=float(period.coverage_ratio[at]),
        bootstrap=bool(measures.bootstrap[at]),
        since=since,
        measured_at=None if math.isnan(measured_s) else _instant(measured_s),
        at=measures.now,
        rate_per_s=float(measures.rate_per_s[at]),
        recovers_at=_recovery(seen, allowed) if left <= 0 and not objective.is_derived else None,
        interpolated=seen.interpolated,
        problem=seen.problem,
        excess=float(measures.excess[at]),
        alerts=objective.alerts,
        burning_since=_burning_since(seen, burns, since),
        contradiction=_contradiction(seen),
        assumed_bad=float(period.assumed[at]),
        definition=definition(objective),
        stale_after_s=seen.sheet.policies[at].stale_after_s,
        excluded_s=float(measures.excluded_s[at]),
        group=groups[0].group if groups else "",
        groups=groups,
        periods=_periods(seen),
        unadjusted_bad=None if seen.unadjusted is None else float(seen.unadjusted.period.bad[at]),
        unadjusted_left_ratio=None if seen.unadjusted is None else float(seen.unadjusted.left_ratio[at]),
    )


def refresh_s(policy: BudgetPolicy) -> float:
    """How old a budget may grow unchanged: well within what the gate calls stale."""
    return min(REFRESH_MAX_S, policy.stale_after_s / 3)


def _periods(seen: Seen) -> tuple[PeriodBudget, ...]:
    """Over every window of the objective; of a grouped one, those of the group that is told."""
    column, sheet, measures = _told(seen), seen.sheet, seen.measures
    if math.isnan(float(measures.measured_s[seen.column])) or sheet.objectives[column].is_derived:
        return ()
    objective, since_s = sheet.objectives[column], float(measures.since_s[column])
    until_s = float(measures.measured_s[seen.column])
    place = int(sheet.places[column])
    return periods(objective, place, seen.sums, since_s, until_s, measures.now, seen.excluded)


def _contradiction(seen: Seen) -> Contradiction | None:
    """The newest of the objective and its groups that lies in the window."""
    columns = (seen.column, *seen.sheet.members.get(seen.column, ()))
    places = [int(seen.sheet.places[column]) for column in columns]
    start = seen.measures.now - timedelta(seconds=seen.sheet.objectives[seen.column].window_s)
    found = [one for place in places if (one := seen.contradictions.get(place)) and one.until > start]
    return max(found, key=lambda one: one.until, default=None)


def _told(seen: Seen) -> int:
    """The column whose events are told: the objective's own, or that of its worst group."""
    mine = seen.sheet.members.get(seen.column, ())
    known = [one for one in mine if not math.isnan(float(seen.measures.measured_s[one]))]
    return min(known, key=lambda one: float(seen.measures.left_ratio[one]), default=seen.column)


def _burns(seen: Seen) -> tuple[Burn, ...]:
    at, sheet, measures = seen.column, seen.sheet, seen.measures
    own = burn_windows(sheet.policies[at], sheet.objectives[at].alerts)
    column = measures.burns.columns(at)
    told = zip(
        sheet.windows_s,
        measures.burn_rate[:, at].tolist(),
        measures.burn_known[:, at].tolist(),
        column.coverage_ratio.tolist(),
        column.events.tolist(),
        column.failed.tolist(),
        strict=True,
    )
    return tuple(
        Burn(window_s=window_s, rate=rate if known else None, coverage_ratio=covered, events=events, bad=bad)
        for window_s, rate, known, covered, events, bad in told
        if window_s in own
    )


def _burning_since(seen: Seen, burns: tuple[Burn, ...], since: datetime) -> tuple[datetime | None, ...]:
    """By tier of the objective's own: since when it burns. What nobody looked at for long begins anew."""
    objective, before, now = seen.sheet.objectives[seen.column], seen.before, seen.measures.now
    alerts = objective.alerts
    if alerts is None:
        return ()
    known: tuple[datetime | None, ...] = (None,) * len(alerts.tiers)
    if before is not None and before.alerts == alerts and before.definition == definition(objective):
        looked = seen.is_watched or (now - before.at).total_seconds() <= LOOKED_MAX_S
        known = before.burning_since if looked else known
    age_s, least = (now - since).total_seconds(), alerts.failures_min or MIN_FAILURES
    return tuple(
        (began or now) if fires(tier, burns, age_s, least) else None
        for tier, began in zip(alerts.tiers, known, strict=True)
    )


def _recovery(seen: Seen, allowed: float) -> datetime | None:
    """When enough bad events leave the window, if no more come and traffic stays as it is.

    None for a budget that follows from others: none of its events is counted by itself.
    """
    objective = seen.sheet.objectives[_told(seen)]
    if objective.composite is not None and objective.slicing is None:
        return None
    if objective.calendar is not None:
        return period(objective.window, seen.measures.now).end
    start = seen.measures.now.timestamp() - objective.window_s
    most = max(0.0, allowed * (1.0 - 1e-9) - 1e-9)
    leaves = seen.sums.spent_by(objective.key, start, most)
    return None if leaves is None else _instant(leaves) + timedelta(seconds=objective.window_s)


def _material(before: Budget | None, after: Budget, policy: BudgetPolicy, now: datetime) -> bool:
    if before is None:
        return True
    declared = (before.target_ratio, before.window_s, before.bootstrap, before.since, before.problem)
    if declared != (after.target_ratio, after.window_s, after.bootstrap, after.since, after.problem):
        return True
    if (before.unadjusted_left_ratio is None) != (after.unadjusted_left_ratio is None):
        return True
    if (before.definition, before.alerts) != (after.definition, after.alerts):
        return True
    if [one is None for one in before.burning_since] != [one is None for one in after.burning_since]:
        return True
    if abs(after.left_ratio - before.left_ratio) >= MATERIAL_RATIO:
        return True
    if (before.good + before.bad > 0) != (after.good + after.bad > 0):
        return True  # the first event: a budget without one says nothing yet
    old, new = classify(before, policy, before.at), classify(after, policy, now)
    return (old.state, old.rule, old.fast_burn) != (new.state, new.rule, new.fast_burn)


def _transition(before: Budget | None, after: Budget, policy: BudgetPolicy, now: datetime) -> Event | None:
    """One event where the state differs from the one written before; none else."""
    old = classify(before, policy, before.at) if before else None
    new = classify(after, policy, now)
    if old is not None and old.state is new.state:
        return None
    return Event(
        type=BUDGET_CHANGED,
        subject=after.key,
        summary=f"{new.text}: {new.state.value}",
        data={
            "from": old.state.value if old else None,
            "to": new.state.value,
            "rule": new.rule,
            "left_ratio": after.left_ratio,
            "coverage_ratio": after.coverage_ratio,
            "good": after.good,
            "bad": after.bad,
            "allowed": after.allowed,
        },
    )


def _instant(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)
