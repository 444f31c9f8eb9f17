"""What slows a change down: each rule of the policy names the fastest level that it allows, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from poise.balance.gate.facts import Facts, OverdueAction
from poise.model.balance import Budget, Reason
from poise.model.grant import Grant, GrantKind
from poise.model.pacing import level_of, settled
from poise.model.policy import Level
from poise.model.standing import BudgetState, Standing

OVERDUE_TOLD: Final = 3
FORESIGHT_FRESH_S: Final = 7200.0


class Pull(Struct, frozen=True, kw_only=True):
    """The fastest level that one rule allows. ``cannot_tell``: it could not be evaluated, so it holds."""

    level: Level
    reason: Reason
    cannot_tell: bool = False


def reason(rule: str, text: str, numbers: dict[str, Any] | None = None) -> Reason:
    """A rule's name, its sentence, its numbers."""
    return Reason(rule=rule, text=text, numbers=numbers or {})


def pulls(facts: Facts, standings: Sequence[Standing]) -> tuple[Pull, ...]:
    """Every rule of the policy that is not content with the fastest level, beside the budgets themselves.

    A change that repairs is held back by nothing of this but a condition that names its class.
    """
    if facts.repairs:
        return conditions(facts)
    found = (*_remembered(facts, standings), *_overspent(facts), *overdue(facts), *_duties(facts))
    return (*found, *_exhaustion(facts), *conditions(facts))


def level(facts: Facts, standings: Sequence[Standing], found: Sequence[Pull]) -> Level:
    """The level in force: the slowest that any rule wants; an exemption lifts a freeze to slow."""
    levels = [base(facts, standings), *(pull.level for pull in found)]
    slowest = max(levels, key=lambda one: one.rank)
    if slowest is Level.FREEZE and not any(
        pull.level is Level.FREEZE and pull.reason.rule == "condition" for pull in found
    ):
        return Level.SLOW if granted(facts, GrantKind.EXEMPTION) else slowest
    return slowest


def base(facts: Facts, standings: Sequence[Standing]) -> Level:
    """The level of the budgets alone, without memory; fast only where the record agrees that it is."""
    worst = standings[0]
    match worst.state:
        case BudgetState.SPENT | BudgetState.UNKNOWN:
            return Level.FREEZE
        case BudgetState.SLOW:
            lefts = [_of_left(one.left_ratio, facts) for one in standings]
            approves = Level.APPROVAL in lefts and not any(one.rule == "bootstrap" for one in standings)
            return Level.APPROVAL if approves else Level.SLOW
        case _:
            remembered = facts.state is not None and facts.state.level is Level.FAST
            calm = remembered and not facts.incidents and not worst.fast_burn
            left = _left(facts, standings)
            return Level.FAST if calm and _of_left(left, facts) is Level.FAST else Level.NORMAL


def of_record(facts: Facts, standings: Sequence[Standing]) -> Level | None:
    """The level of the budgets that have a history, with memory; None where nobody knows one."""
    left, state = _left(facts, standings), facts.state
    if left is None:
        return None
    if state is None or state.policy != facts.policy.name:
        return level_of(left, facts.policy)
    return settled(state.level, state.since, left, facts.policy, facts.now)[0]


def _left(facts: Facts, standings: Sequence[Standing]) -> float | None:
    """What is left of the most spent budget that has a history; None where nobody knows."""
    young = {budget.key for budget in facts.budgets if budget.bootstrap}
    lefts = [one.left_ratio for one in standings if one.objective not in young and one.left_ratio is not None]
    return min(lefts, default=None)


def _of_left(left_ratio: float | None, facts: Facts) -> Level:
    return Level.FREEZE if left_ratio is None else level_of(left_ratio, facts.policy)


def _remembered(facts: Facts, standings: Sequence[Standing]) -> tuple[Pull, ...]:
    """The level that was entered and may not be left yet."""
    state, left = facts.state, _left(facts, standings)
    if state is None or left is None or state.policy != facts.policy.name:
        return ()
    held, ripe_at = settled(state.level, state.since, left, facts.policy, facts.now)
    if held.rank <= base(facts, standings).rank:
        return ()
    wait = (
        f"until {ripe_at:%Y-%m-%d %H:%M} UTC"
        if ripe_at
        else f"until the budget is {_percent(facts.policy.leave_margin_ratio)} above its bound"
    )
    numbers = {
        "level": held.value,
        "since": state.since.isoformat(),
        "leave_margin_ratio": facts.policy.leave_margin_ratio,
        "dwell_s": facts.policy.dwell_s,
    }
    text = f"level {held.value} since {state.since:%Y-%m-%d %H:%M} UTC, kept {wait}"
    return (Pull(level=held, reason=reason("dwell", text, numbers)),)


def _overspent(facts: Facts) -> tuple[Pull, ...]:
    """The clause of the preceding four weeks, for objectives whose own window is another.

    A younger objective is judged by the share of the window that it has lived.

    Source: SRE workbook, appendix B (error budget policy).
    """
    window_s = facts.policy.overspend_window_s
    found = []
    for budget in facts.budgets:
        spent = _spent_over(budget, window_s, facts.now)
        if spent is None or spent <= 1.0 or budget.bootstrap or budget.window_s == window_s:
            continue
        days = window_s / 86_400.0
        text = f"{budget.objective} spent {_percent(spent)} of what the last {days:g} days allow"
        numbers = {"objective": budget.key, "spent_ratio": spent, "window_s": window_s}
        found.append(Pull(level=Level.FREEZE, reason=reason("overspend", text, numbers)))
    return tuple(found)


def _spent_over(budget: Budget, window_s: float, now: datetime) -> float | None:
    burn = next((one for one in budget.burns if one.window_s == window_s), None)
    if burn is None or burn.rate is None or not math.isfinite(burn.rate):
        return None
    return burn.rate * min(1.0, max(0.0, (now - budget.since).total_seconds()) / window_s)


def overdue(facts: Facts) -> tuple[Pull, ...]:
    """What was promised after an incident and not done makes room for itself: features wait.

    The longest overdue are told, the rest counted.
    """
    late = sorted(
        (one for one in facts.overdue if one.due_at < facts.now),
        key=lambda one: (one.due_at, one.incident, one.n),
    )
    told = [_late(one, facts.now) for one in late[:OVERDUE_TOLD]]
    if len(late) > OVERDUE_TOLD:
        text = f"{len(late) - OVERDUE_TOLD} more actions are overdue: poise postmortem list"
        told.append(reason("overdue-action", text, {"more": len(late) - OVERDUE_TOLD}))
    return tuple(Pull(level=Level.SLOW, reason=one) for one in told)


def _late(one: OverdueAction, now: datetime) -> Reason:
    days = (now - one.due_at).days
    since = f"{days} day{'' if days == 1 else 's'}" if days else "less than a day"
    text = (
        f"action {one.n} of incident {one.incident} ({one.owner}: {one.text}) is overdue by {since}; "
        f"once it is done: poise postmortem action done {one.incident} {one.n}"
    )
    numbers = {"incident": one.incident, "action": one.n, "owner": one.owner, "days_overdue": days}
    return reason("overdue-action", text, numbers)


def _duties(facts: Facts) -> tuple[Pull, ...]:
    return tuple(
        Pull(level=one.level, reason=reason(one.rule, one.text, one.numbers)) for one in facts.duties
    )


def _exhaustion(facts: Facts) -> tuple[Pull, ...]:
    """A budget that will probably be spent is spent with care; no or an old forecast says nothing."""
    bound, found = facts.policy.exhaustion_slow_ratio, []
    for key, foresight in sorted(facts.foresights.items()):
        old = (facts.now - foresight.at).total_seconds() > FORESIGHT_FRESH_S or foresight.until <= facts.now
        if old or not foresight.spent_chance >= bound:
            continue
        name = key.rpartition("/")[2]
        text = (
            f"{name}'s budget is spent by {foresight.until:%Y-%m-%d %H:%M} UTC with a chance of "
            f"{_percent(foresight.spent_chance)} ({_percent(foresight.spent_chance_low)} to "
            f"{_percent(foresight.spent_chance_high)})"
        )
        numbers = {
            "objective": key,
            "spent_chance": foresight.spent_chance,
            "exhaustion_slow_ratio": bound,
            "days": foresight.days,
        }
        found.append(Pull(level=Level.SLOW, reason=reason("exhaustion", text, numbers)))
    return tuple(found)


def conditions(facts: Facts) -> tuple[Pull, ...]:
    """The team's own rules that concern this class of change; one that cannot be evaluated holds."""
    found = []
    for one in facts.checked:
        rule = one.condition
        if facts.question.change_class.value not in rule.classes or not (one.holds or one.problem):
            continue
        numbers = {"condition": rule.name, "when": rule.when, "level": rule.level.value}
        if one.problem:
            text = f"condition '{rule.name}' ({rule.when}) cannot be evaluated: {one.problem}"
            found.append(
                Pull(level=Level.FREEZE, reason=reason("condition-error", text, numbers), cannot_tell=True)
            )
        else:
            text = rule.why or f"condition '{rule.name}' holds: {rule.when}"
            found.append(Pull(level=rule.level, reason=reason("condition", text, numbers)))
    return tuple(found)


def granted(facts: Facts, kind: GrantKind) -> Grant | None:
    """The newest grant of a kind that is in force for this digest."""
    valid = [
        one
        for one in facts.grants
        if one.kind is kind
        and one.service == facts.service.key
        and one.is_in_force(facts.now, facts.question.digest)
    ]
    return max(valid, key=lambda one: one.n, default=None)


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.4g} %"
