"""The budget of one objective from its running totals: pure sums, always numbers, never NaN."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from poise.balance.budget.ledger import Ledger
from poise.model.balance import Budget, Burn
from poise.model.counting import Span
from poise.model.event_types import BUDGET_CHANGED
from poise.model.objective import Objective
from poise.model.policy import DAY_S, BudgetPolicy
from poise.model.record import Decision, Event, Ref, Write
from poise.model.standing import classify

BURN_WINDOWS_S: Final = (300.0, 1800.0, 3600.0, 21_600.0, 3 * DAY_S)
RATE_WINDOW_S: Final = 3600.0
REFRESH_MAX_S: Final = 60.0
MATERIAL_RATIO: Final = 0.001


class Seen(Struct, frozen=True, kw_only=True):
    """What the budget is decided from. ``since`` is when the objective began to be measured."""

    objective: Objective
    policy: BudgetPolicy
    ledger: Ledger
    spans: tuple[Span, ...]
    since: datetime
    before: Budget | None
    ref: Ref
    interpolated: bool = False
    problem: str = ""


def decide(seen: Seen, now: datetime) -> Decision:
    """Write the budget when something material changed; say so when its state did."""
    budget = measure(seen, now)
    if not _material(seen.before, budget, seen.policy, now):
        return Decision()
    event = _transition(seen.before, budget, seen.policy, now)
    return Decision(
        reads=(seen.ref,),
        writes=(Write(kind="Budget", key=budget.key, body=budget),),
        events=(event,) if event else (),
    )


def measure(seen: Seen, now: datetime) -> Budget:
    """The budget at ``now``: sums over the window, clipped to the objective's start."""
    objective, policy = seen.objective, seen.policy
    start = _start(seen, now, objective.window_s)
    good, bad = seen.ledger.window(start, now.timestamp())
    last = max((end for _, end in seen.spans), default=None)
    age_s = max(0.0, (now - seen.since).total_seconds())
    bootstrap = age_s < policy.bootstrap_s or good + bad < policy.bootstrap_events
    allowed = allowed_events(objective, good + bad, age_s, bootstrap=bootstrap)
    burns = tuple(_burn(seen, now, window_s) for window_s in burn_windows(policy))
    return Budget(
        service=objective.service,
        objective=objective.name,
        target_ratio=objective.target_ratio,
        window_s=objective.window_s,
        good=good,
        bad=bad,
        allowed=allowed,
        left_ratio=left_ratio(bad, allowed),
        burns=burns,
        coverage_ratio=_coverage(seen, now, objective.window_s),
        bootstrap=bootstrap,
        since=seen.since,
        measured_at=None if last is None else datetime.fromtimestamp(last, UTC),
        at=now,
        rate_per_s=_rate(seen, now),
        recovers_at=_recovery(seen, now, allowed) if left_ratio(bad, allowed) <= 0 else None,
        interpolated=seen.interpolated,
        problem=seen.problem,
    )


def allowed_events(objective: Objective, events: float, age_s: float, *, bootstrap: bool) -> float:
    """The bad events that the period allows: (1 - target) x period events.

    In bootstrap the period's events are the larger of those counted and the observed rate x period.
    """
    if bootstrap and age_s > 0:
        events = max(events, events * objective.window_s / min(age_s, objective.window_s))
    return (1.0 - objective.target_ratio) * events


def left_ratio(bad: float, allowed: float) -> float:
    """1 - bad / allowed; 1 where nothing happened; at most 0 where nothing is allowed but was spent."""
    if bad <= 0:
        return 1.0
    return 1.0 - bad / allowed if allowed > 0 else min(0.0, 1.0 - bad)


def burn_windows(policy: BudgetPolicy) -> tuple[float, ...]:
    """The windows (seconds, ascending) that burn is measured over: the workbook's and the policy's."""
    return tuple(sorted({*policy.burn_windows_s, *BURN_WINDOWS_S}))


def horizon_s(objective: Objective, policy: BudgetPolicy) -> float:
    """How far back any of the sums looks."""
    return max(objective.window_s, *burn_windows(policy))


def refresh_s(policy: BudgetPolicy) -> float:
    """How old a budget may grow unchanged: well within what the gate calls stale."""
    return min(REFRESH_MAX_S, policy.stale_after_s / 3)


def coverage(spans: Sequence[Span], start: float, end: float) -> float:
    """The share of (start, end] that was measured, 0..1; 0 for an empty window."""
    if end <= start:
        return 0.0
    known_s = sum(max(0.0, min(to, end) - max(begin, start)) for begin, to in spans)
    return min(1.0, known_s / (end - start))


def _start(seen: Seen, now: datetime, window_s: float) -> float:
    return max(now.timestamp() - window_s, seen.since.timestamp())


def _burn(seen: Seen, now: datetime, window_s: float) -> Burn:
    good, bad = seen.ledger.window(_start(seen, now, window_s), now.timestamp())
    known = _coverage(seen, now, window_s)
    events = good + bad
    rate: float | None = None if known <= 0 else 0.0
    if events > 0:
        rate = bad / events / max(1e-9, 1.0 - seen.objective.target_ratio)
    return Burn(window_s=window_s, rate=rate, coverage_ratio=known, events=events, bad=bad)


def _coverage(seen: Seen, now: datetime, window_s: float) -> float:
    """Measured time over the window. What follows a fresh last reading is pending, not unknown."""
    if not seen.spans:
        return 0.0
    last = max(end for _, end in seen.spans)
    end, start = now.timestamp(), _start(seen, now, window_s)
    if end - last <= seen.policy.stale_after_s:
        end = min(end, last)
        if end <= start:
            return 1.0
    return coverage(seen.spans, start, end)


def _rate(seen: Seen, now: datetime) -> float:
    """Events a second, the larger of the last hour's and the last five minutes'."""
    rates = []
    for window_s in (RATE_WINDOW_S, BURN_WINDOWS_S[0]):
        start = _start(seen, now, window_s)
        elapsed_s = now.timestamp() - start
        if elapsed_s > 0:
            rates.append(sum(seen.ledger.window(start, now.timestamp())) / elapsed_s)
    return max(rates, default=0.0)


def _recovery(seen: Seen, now: datetime, allowed: float) -> datetime | None:
    """When enough bad events leave the rolling window, if no more come and traffic stays as it is."""
    start = _start(seen, now, seen.objective.window_s)
    leaves = seen.ledger.bad_falls_to(start, now.timestamp(), max(0.0, allowed * (1.0 - 1e-9) - 1e-9))
    if leaves is None or leaves == float("-inf"):
        return None
    return datetime.fromtimestamp(leaves, UTC) + timedelta(seconds=seen.objective.window_s)


def _material(before: Budget | None, after: Budget, policy: BudgetPolicy, now: datetime) -> bool:
    if before is None:
        return True
    declared = (before.target_ratio, before.window_s, before.bootstrap, before.since, before.problem)
    if declared != (after.target_ratio, after.window_s, after.bootstrap, after.since, after.problem):
        return True
    if (now - before.at).total_seconds() >= refresh_s(policy):
        return True
    if abs(after.left_ratio - before.left_ratio) >= MATERIAL_RATIO:
        return True
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
