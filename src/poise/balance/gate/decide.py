"""The verdict: go, slow or hold, for one change on one service. Unknown data is never a go.

The two exceptions say so: a first release is ``go (bootstrap)``, a young objective ``slow (bootstrap)``.
Read ``judge`` first; each rule is one function that answers or passes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct, structs

from poise.model.balance import Budget, Override, Reason, Verdict, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.policy import BudgetPolicy
from poise.model.service import Service
from poise.model.standing import BudgetState, Standing, classify, missing, severity

OVERDUE_TOLD = 3


class Question(Struct, frozen=True, kw_only=True):
    """May ``digest`` take ``weight_percent`` of the service's traffic, from ``from_percent`` now?

    ``first_release``: nothing of the service is live.
    """

    change_class: ChangeClass
    digest: str = ""
    step: int = 0
    weight_percent: int = 0
    from_percent: int = 0
    first_release: bool = False


class OpenIncident(Struct, frozen=True, kw_only=True):
    """An incident of the service that is not over; ``key`` and one sentence."""

    key: str
    summary: str


class OverdueAction(Struct, frozen=True, kw_only=True):
    """What a review of the service asked for and nobody has done; ``incident`` is its number."""

    incident: int
    n: int
    text: str
    owner: str
    due_at: datetime


class Facts(Struct, frozen=True, kw_only=True):
    """Everything that a verdict is judged from; stored with it as plain data."""

    question: Question
    service: Service
    objectives: tuple[str, ...]
    budgets: tuple[Budget, ...]
    policy: BudgetPolicy
    overrides: tuple[Override, ...]
    incidents: tuple[OpenIncident, ...]
    now: datetime
    overdue: tuple[OverdueAction, ...] = ()  # absent from what was judged before reviews were read


class _Answer(Struct, frozen=True, kw_only=True):
    """A rule's answer before sizes; ``paced``: the policy's small steps and long bakes."""

    kind: VerdictKind
    paced: bool = False
    reasons: tuple[Reason, ...]
    until: datetime | None = None
    override: int | None = None


def judge(
    question: Question,
    service: Service,
    budgets: Sequence[Budget],
    policy: BudgetPolicy,
    overrides: Sequence[Override] = (),
    incidents: Sequence[OpenIncident] = (),
    *,
    objectives: Sequence[str],
    now: datetime,
    overdue: Sequence[OverdueAction] = (),
) -> Verdict:
    """The verdict. ``objectives`` are the keys declared; one without a budget is unknown.

    ``overrides`` are those whose signature was verified; expiry and digest are judged here.
    """
    facts = Facts(
        question=question,
        service=service,
        objectives=tuple(sorted(objectives)),
        budgets=tuple(sorted(budgets, key=lambda budget: budget.key)),
        policy=policy,
        overrides=tuple(overrides),
        incidents=tuple(incidents),
        now=now,
        overdue=tuple(overdue),
    )
    return structs.replace(_verdict(facts), inputs=msgspec.json.decode(msgspec.json.encode(facts)))


def replay(inputs: dict[str, Any]) -> Verdict:
    """The verdict again, from its stored inputs alone: equal byte for byte."""
    facts = msgspec.convert(inputs, Facts)
    return structs.replace(_verdict(facts), inputs=inputs)


def _verdict(facts: Facts) -> Verdict:
    standings = _standings(facts)
    answer = (
        _rollback(facts)
        or _overridden(facts)
        or _first(facts)
        or _undeclared(facts, standings)
        or _by_budget(facts, standings)
    )
    steps = facts.policy.slow_steps_percent if answer.paced else facts.service.strategy.steps_percent
    question = facts.question
    return Verdict(
        kind=answer.kind,
        service=facts.service.key,
        digest=question.digest,
        step=question.step,
        weight_percent=question.weight_percent,
        max_weight_percent=_cap_percent(facts, answer, steps),
        change_class=question.change_class,
        bake_factor=facts.policy.slow_bake_factor if answer.paced else 1.0,
        steps_percent=steps,
        reasons=answer.reasons,
        until=answer.until,
        at=facts.now,
        override=answer.override,
    )


def _standings(facts: Facts) -> tuple[Standing, ...]:
    """Every declared objective, worst first."""
    known = {budget.key: classify(budget, facts.policy, facts.now) for budget in facts.budgets}
    keys = {*facts.objectives, *known}
    return tuple(sorted((known.get(key) or missing(key) for key in keys), key=severity, reverse=True))


def _rollback(facts: Facts) -> _Answer | None:
    if facts.question.change_class is not ChangeClass.ROLLBACK:
        return None
    return _Answer(kind=VerdictKind.GO, reasons=(_reason("rollback", "a rollback is always allowed"),))


def _overridden(facts: Facts) -> _Answer | None:
    digest, now = facts.question.digest, facts.now
    valid = [
        override
        for override in facts.overrides
        if override.service == facts.service.key
        and override.at <= now < override.expires_at
        and override.digest in (None, digest)
    ]
    if not valid:
        return None
    newest = max(valid, key=lambda override: override.n)
    text = f"{newest.by} overrides the gate until {newest.expires_at:%H:%M} UTC: {newest.reason}"
    numbers = {"override": newest.n, "overrides_so_far": newest.n}
    return _Answer(
        kind=VerdictKind.GO,
        reasons=(_reason("override", text, numbers),),
        until=newest.expires_at,
        override=newest.n,
    )


def _first(facts: Facts) -> _Answer | None:
    if not facts.question.first_release:
        return None
    text = "nothing of it is live yet, so there is nothing to measure"
    return _Answer(kind=VerdictKind.GO, reasons=(_reason("bootstrap", text),))


def _undeclared(facts: Facts, standings: Sequence[Standing]) -> _Answer | None:
    """No objective at all: a worker has no traffic to judge by; anything else is unknown."""
    if standings:
        return None
    if facts.service.port is None:
        text = "it has no port, hence no traffic to hold to an objective"
        held = facts.incidents and not _repairs(facts)
        return _Answer(
            kind=VerdictKind.HOLD if held else VerdictKind.SLOW,
            paced=True,
            reasons=(*_incidents(facts), *_overdue(facts), _reason("no-objective", text)),
        )
    return _Answer(
        kind=VerdictKind.HOLD,
        reasons=(_reason("no-objective", "no objective is declared, so nobody knows what it may cost"),),
    )


def _by_budget(facts: Facts, standings: Sequence[Standing]) -> _Answer:
    """The worst objective decides; the class of change decides what that means."""
    worst = standings[0]
    repairs, incidents, overdue = _repairs(facts), _incidents(facts), _overdue(facts)
    reasons = tuple(
        _reason(one.rule, one.text, one.numbers | {"objective": one.objective})
        for one in standings
        if one.state is worst.state
    )
    burning = worst.fast_burn or bool(incidents)
    if worst.state is BudgetState.UNKNOWN or (not repairs and (burning or worst.state is BudgetState.SPENT)):
        return _Answer(
            kind=VerdictKind.HOLD, paced=True, reasons=(*incidents, *reasons), until=_until(facts, standings)
        )
    if repairs and worst.state is not BudgetState.HEALTHY and worst.rule != "bootstrap":
        name = facts.question.change_class.value
        mend = _reason("repair", f"a {name} goes whatever the budget, in small steps")
        kind = VerdictKind.SLOW if burning else VerdictKind.GO
        return _Answer(kind=kind, paced=True, reasons=(mend, *incidents, *reasons))
    if worst.state is BudgetState.SLOW or incidents or overdue:
        return _Answer(kind=VerdictKind.SLOW, paced=True, reasons=(*incidents, *overdue, *reasons))
    return _Answer(kind=VerdictKind.GO, reasons=reasons[:1])


def _repairs(facts: Facts) -> bool:
    return facts.question.change_class in (ChangeClass.FIX, ChangeClass.SECURITY)


def _incidents(facts: Facts) -> tuple[Reason, ...]:
    return tuple(
        _reason("incident", f"an incident is open: {one.summary}", {"incident": one.key})
        for one in facts.incidents
    )


def _overdue(facts: Facts) -> tuple[Reason, ...]:
    """What was promised after an incident and not done makes room for itself: features wait, repairs do not.

    The longest overdue are told, the rest counted.
    """
    late = sorted(
        (one for one in facts.overdue if one.due_at < facts.now),
        key=lambda one: (one.due_at, one.incident, one.n),
    )
    if _repairs(facts) or not late:
        return ()
    told = [_late(one, facts.now) for one in late[:OVERDUE_TOLD]]
    if len(late) > OVERDUE_TOLD:
        text = f"{len(late) - OVERDUE_TOLD} more actions are overdue: poise postmortem list"
        told.append(_reason("overdue-action", text, {"more": len(late) - OVERDUE_TOLD}))
    return tuple(told)


def _late(one: OverdueAction, now: datetime) -> Reason:
    days = (now - one.due_at).days
    since = f"{days} day{'' if days == 1 else 's'}" if days else "less than a day"
    text = (
        f"action {one.n} of incident {one.incident} ({one.owner}: {one.text}) is overdue by {since}; "
        f"once it is done: poise postmortem action done {one.incident} {one.n}"
    )
    numbers = {"incident": one.incident, "action": one.n, "owner": one.owner, "days_overdue": days}
    return _reason("overdue-action", text, numbers)


def _until(facts: Facts, standings: Sequence[Standing]) -> datetime | None:
    """When asking again makes sense, where the numbers tell: a spent budget's recovery, a burn's end."""
    if any(one.state is BudgetState.UNKNOWN for one in standings):
        return None
    times: list[datetime] = []
    for one in standings:
        if one.state is BudgetState.SPENT:
            times += [
                budget.recovers_at
                for budget in facts.budgets
                if budget.key == one.objective and budget.recovers_at is not None
            ]
        elif one.fast_burn:
            times.append(facts.now + timedelta(seconds=float(one.numbers["short_s"])))
    return max(times, default=None)


def _cap_percent(facts: Facts, answer: _Answer, steps: tuple[int, ...]) -> int:
    """The most that this step may take, 0..100.

    The first step costs at most the strategy's share of the budget left even if every canary request
    fails; later ones have the rollout's own evidence. A repair on a spent budget takes the smallest step.
    """
    question = facts.question
    if answer.kind is VerdictKind.HOLD:
        return 0
    if question.change_class is ChangeClass.ROLLBACK or question.first_release:
        return 100
    following = 100
    if answer.paced:
        following = min((step for step in steps if step > question.from_percent), default=100)
    if question.from_percent > 0:
        return following
    bake = facts.policy.slow_bake_factor if answer.paced else 1.0
    smallest = min(steps, default=1)
    caps = [_affordable_percent(budget, facts.service, bake, smallest) for budget in facts.budgets]
    return max(1, min([following, *caps]))


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
    return min(100, int(100.0 * strategy.budget_risk_share * left_events / exposed))


def why(verdict: Verdict) -> str:
    """The verdict in one paragraph: what, for which change, why, how large and until when."""
    parts = [f"{verdict.kind.value.capitalize()} for a {verdict.change_class.value} on {verdict.service}:"]
    parts.append("; ".join(reason.text for reason in verdict.reasons) + ".")
    if verdict.kind is not VerdictKind.HOLD:
        weights = ", ".join(f"{step} %" for step in verdict.steps_percent) or "all at once"
        parts.append(
            f"This step may take at most {verdict.max_weight_percent} % of traffic; steps: {weights}."
        )
    if verdict.bake_factor > 1 and verdict.kind is VerdictKind.SLOW:
        parts.append(f"Each step bakes {verdict.bake_factor:g} times as long.")
    if verdict.until is not None:
        label = "The override ends" if verdict.override is not None else "It may change"
        parts.append(f"{label} at {verdict.until:%Y-%m-%d %H:%M} UTC.")
    return " ".join(parts)


def why_budgets(budgets: Iterable[Budget], policy: BudgetPolicy, now: datetime) -> str:
    """How a service's budgets stand, worst first, in one paragraph."""
    ordered = sorted((classify(budget, policy, now) for budget in budgets), key=severity, reverse=True)
    sentences = [f"{one.text[:1].upper()}{one.text[1:]} ({one.state.value})." for one in ordered]
    return " ".join(sentences) or "No budget has been computed yet."


def _reason(rule: str, text: str, numbers: dict[str, Any] | None = None) -> Reason:
    return Reason(rule=rule, text=text, numbers=numbers or {})
