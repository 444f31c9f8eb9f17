"""How a service stands under its policy, and the level that is kept on record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from poise.model.balance import Budget
from poise.model.event_types import POLICY_LEVEL_CHANGED
from poise.model.pacing import level_of, settled
from poise.model.policy import BudgetPolicy, Level, PolicyState
from poise.model.record import Decision, Event, Read, Write
from poise.model.standing import BudgetState, Standing, classify, missing, severity

MATERIAL_RATIO: Final = 0.01  # a smaller move of the budget is not written down


class Seen(Struct, frozen=True, kw_only=True):
    """What the room looks at for one service. ``declared`` are keys of objectives."""

    service: str
    policy: BudgetPolicy
    budgets: tuple[Budget, ...]
    declared: tuple[str, ...]
    before: PolicyState | None
    reads: tuple[Read, ...] = ()


def decide(seen: Seen, now: datetime) -> Decision:
    """Write the level when it, or what it rests on, has changed; an event when the level itself did.

    Objectives in bootstrap move no level: their numbers mean little, and their verdict is slow anyway.
    """
    before = seen.before
    found = standings(seen.budgets, seen.declared, seen.policy, now)
    if not found:
        return _forget(seen)
    if any(one.state is BudgetState.UNKNOWN for one in found):
        return Decision()
    young = {budget.key for budget in seen.budgets if budget.bootstrap}
    lefts = [
        (one.left_ratio, one) for one in found if one.left_ratio is not None and one.objective not in young
    ]
    if not lefts:
        return Decision()
    left, worst = min(lefts, key=lambda pair: pair[0])
    state = _state(seen, worst, left, now)
    if before is not None and _is_same(before, state):
        return Decision(wake_at=before.faster_at)
    changed = before is None or before.level is not state.level
    return Decision(
        reads=seen.reads,
        writes=(Write(kind="PolicyState", key=state.key, body=state),),
        events=(_changed(before, state),) if changed else (),
        wake_at=state.faster_at,
    )


def standings(
    budgets: Sequence[Budget], declared: Sequence[str], policy: BudgetPolicy, now: datetime
) -> tuple[Standing, ...]:
    """The standing of each objective in ``declared`` (keys), worst first; one without a budget is unknown."""
    known = {budget.key: classify(budget, policy, now) for budget in budgets}
    found = [known.get(key) or missing(key) for key in sorted({*declared, *known})]
    return tuple(sorted(found, key=severity, reverse=True))


def _state(seen: Seen, worst: Standing, left: float, now: datetime) -> PolicyState:
    before = seen.before
    if before is None or before.policy != seen.policy.name:
        level, faster_at, since = _without_fast(level_of(left, seen.policy)), None, now
        if level_of(left, seen.policy) is Level.FAST:
            faster_at = now + timedelta(seconds=seen.policy.dwell_s)
    else:
        level, faster_at = settled(before.level, before.since, left, seen.policy, now)
        since = before.since if level is before.level else now
    return PolicyState(
        service=seen.service,
        policy=seen.policy.name,
        level=level,
        since=since,
        at=now,
        objective=worst.objective,
        left_ratio=left,
        text=worst.text,
        faster_at=faster_at,
    )


def _without_fast(level: Level) -> Level:
    """A service that nobody has watched yet is not fast at once."""
    return Level.NORMAL if level is Level.FAST else level


def _is_same(before: PolicyState, after: PolicyState) -> bool:
    held = (before.level, before.policy, before.objective, before.faster_at)
    if held != (after.level, after.policy, after.objective, after.faster_at):
        return False
    return abs((before.left_ratio or 0.0) - (after.left_ratio or 0.0)) < MATERIAL_RATIO


def _forget(seen: Seen) -> Decision:
    if seen.before is None:
        return Decision()
    return Decision(reads=seen.reads, writes=(Write(kind="PolicyState", key=seen.service, body=None),))


def _changed(before: PolicyState | None, after: PolicyState) -> Event:
    was = f", {before.level.value} before" if before is not None else ""
    name = after.service.rpartition("/")[2]
    return Event(
        type=POLICY_LEVEL_CHANGED,
        subject=after.service,
        summary=f"{name} may go at level {after.level.value}{was}: {after.text}",
        data={
            "from": before.level.value if before else None,
            "to": after.level.value,
            "policy": after.policy,
            "objective": after.objective,
            "left_ratio": after.left_ratio,
        },
    )
