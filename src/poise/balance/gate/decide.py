"""The verdict: go, slow or hold, for one change on one service. Unknown data is never a go.

The two exceptions say so: a first release is ``go (bootstrap)``, a young objective ``slow (bootstrap)``.
Read ``judge`` first; each rule is one function that answers or passes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct, structs

from poise.balance.gate.facts import RULES, Facts, Holds, OpenIncident, OverdueAction, Question
from poise.balance.gate.holds import Stop, approved, locked, stops
from poise.balance.gate.levels import Pull, granted, level, of_record, pulls, reason
from poise.balance.gate.sizes import cap_percent
from poise.model.balance import Budget, Override, Reason, Verdict, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.errors import Conflict
from poise.model.grant import Grant, GrantKind
from poise.model.pacing import PARALLEL_MAX, Pace, pace_of
from poise.model.policy import BudgetPolicy, Checked, Duty, Level, PolicyState
from poise.model.service import Service
from poise.model.spend import Foresight
from poise.model.standing import BudgetState, Standing, classify, missing, numbers_of, severity


class _Answer(Struct, frozen=True, kw_only=True):
    """A rule's answer before sizes; ``paced``: never larger steps nor shorter bakes than at level slow."""

    kind: VerdictKind
    paced: bool = False
    reasons: tuple[Reason, ...]
    until: datetime | None = None
    override: int | None = None
    level: Level = Level.NORMAL
    unbounded: bool = False


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
    state: PolicyState | None = None,
    duties: Sequence[Duty] = (),
    checked: Sequence[Checked] = (),
    grants: Sequence[Grant] = (),
    problems: Mapping[str, str] | None = None,
    foresights: Mapping[str, Foresight] | None = None,
    holds: Holds | None = None,
) -> Verdict:
    """The verdict. ``objectives`` are the keys declared; one without a budget is unknown.

    ``overrides`` and ``grants`` are those whose signature was verified; expiry, digest and whether a second
    person agreed are judged here. ``checked`` are the policy's conditions as evaluated; ``problems`` say, by
    objective, why it could not be read, ``foresights`` what will be left of it; ``holds`` is what holds a
    change besides the budget.
    """
    usable = [one for one in budgets if all(map(math.isfinite, numbers_of(one)))]
    broken = {one.key: f"{one.objective} has no usable number" for one in budgets if one not in usable}
    facts = Facts(
        question=question,
        service=service,
        objectives=tuple(sorted(objectives)),
        budgets=tuple(sorted(usable, key=lambda budget: budget.key)),
        policy=policy,
        overrides=tuple(overrides),
        incidents=tuple(incidents),
        now=now,
        overdue=tuple(overdue),
        state=state,
        duties=tuple(duties),
        checked=tuple(checked),
        grants=tuple(grants),
        problems={**broken, **(problems or {})},  # no JSON keeps a NaN, so none is an input
        foresights=dict(foresights or {}),
        holds=holds or Holds(),
        rules=RULES,
    )
    return structs.replace(_verdict(facts), inputs=msgspec.json.decode(msgspec.json.encode(facts)))


def replay(inputs: dict[str, Any]) -> Verdict:
    """The verdict again, from its stored inputs alone: equal byte for byte.

    ``Conflict`` for one that another version of these rules judged.
    """
    facts = facts_of(inputs)
    if facts.rules != RULES:
        raise Conflict(
            "POISE-B410",
            f"this verdict was judged by rules {facts.rules}; these are rules {RULES}",
            why="Rules change between versions of Poise; each replays its own.",
            mend="Replay it with the version that judged it.",
        )
    return structs.replace(_verdict(facts), inputs=inputs)


def supposing(inputs: dict[str, Any], granted: Override | Grant) -> Verdict:
    """The verdict that the same inputs would yield if this were granted too. Nothing is: it has no inputs."""
    facts = facts_of(inputs)
    if isinstance(granted, Override):
        return _verdict(structs.replace(facts, overrides=(*facts.overrides, granted)))
    return _verdict(structs.replace(facts, grants=(*facts.grants, granted)))


def _verdict(facts: Facts) -> Verdict:
    stood = standings(facts)
    answer = (
        _rollback(facts)
        or _interrupted(facts)
        or _held(facts, stood, locked(facts))
        or _overridden(facts)
        or _held(facts, stood, stops(facts))
        or _by_policy(facts, stood)
    )
    question, pace = facts.question, _pace(facts, answer)
    return Verdict(
        kind=answer.kind,
        service=facts.service.key,
        digest=question.digest,
        step=question.step,
        weight_percent=question.weight_percent,
        max_weight_percent=cap_percent(facts, answer.kind, pace, stepped=answer.paced),
        change_class=question.change_class,
        bake_factor=pace.bake_factor,
        alpha_factor=_alpha_factor(facts, stood),
        steps_percent=pace.steps_percent,
        reasons=(*answer.reasons, *_beside(facts, answer)),
        until=answer.until,
        at=facts.now,
        override=answer.override,
        level=answer.level,
        parallel_rollouts=PARALLEL_MAX if answer.unbounded or facts.repairs else pace.parallel_rollouts,
        policy=facts.policy.name,
        lapses_at=_lapses_at(facts, answer),
    )


def _lapses_at(facts: Facts, answer: _Answer) -> datetime | None:
    """When a freeze window opens for what was not held: people go by the calendar, not by an earlier word."""
    question = facts.question
    passes = facts.repairs or question.interrupted or question.change_class is ChangeClass.ROLLBACK
    if passes or answer.override is not None or answer.kind is VerdictKind.HOLD:
        return None
    return facts.holds.freezes_at


def _beside(facts: Facts, answer: _Answer) -> tuple[Reason, ...]:
    """What is worth knowing beside the answer's own reasons."""
    if answer.kind is VerdictKind.HOLD:
        return _pending(facts)
    return (*approved(facts), *_unsized(facts))


def _alpha_factor(facts: Facts, stood: Sequence[Standing]) -> float:
    """How much more readily what starts now is found harmful: the budgets say, not who lets it in.

    What is young has no budget yet that could be burdened. What nobody knows is held; who lets it in all the
    same gets the declared tests.
    """
    known = of_record(facts, stood)
    return facts.policy.slow_alpha_factor if known is not None and known.rank >= Level.SLOW.rank else 1.0


def _pace(facts: Facts, answer: _Answer) -> Pace:
    slowest = max(answer.level, Level.SLOW, key=lambda one: one.rank) if answer.paced else answer.level
    return pace_of(slowest, facts.service.strategy.steps_percent, facts.policy)


def facts_of(inputs: dict[str, Any]) -> Facts:
    """What a verdict was judged from, as it stands in its inputs."""
    return msgspec.convert(inputs, Facts)


def standings(facts: Facts) -> tuple[Standing, ...]:
    """Every declared objective, worst first."""
    known = {budget.key: classify(budget, facts.policy, facts.now) for budget in facts.budgets}
    for key, problem in facts.problems.items():
        known[key] = Standing(objective=key, state=BudgetState.UNKNOWN, rule="unreadable", text=problem)
    keys = {*facts.objectives, *known}
    return tuple(sorted((known.get(key) or missing(key) for key in keys), key=severity, reverse=True))


def _rollback(facts: Facts) -> _Answer | None:
    if facts.question.change_class is not ChangeClass.ROLLBACK:
        return None
    text = "a rollback is always allowed"
    return _Answer(kind=VerdictKind.GO, reasons=(reason("rollback", text),), unbounded=True)


def _interrupted(facts: Facts) -> _Answer | None:
    """What is live was stopped for it by the gate's word: holding it now would leave users with nothing."""
    if not facts.question.interrupted:
        return None
    text = "nobody is served until it is: what was live is stopped, which was allowed"
    return _Answer(kind=VerdictKind.GO, reasons=(reason("interrupted", text),), unbounded=True)


def _overridden(facts: Facts) -> _Answer | None:
    digest, now = facts.question.digest, facts.now
    valid = [
        override
        for override in facts.overrides
        if override.service == facts.service.key
        and override.is_approved
        and override.at <= now < override.expires_at
        and override.digest in (None, digest)
    ]
    if not valid:
        return None
    newest = max(valid, key=lambda override: override.n)
    text = f"{newest.by} overrides the gate until {newest.expires_at:%H:%M} UTC: {newest.reason}"
    text += f" ({_second(newest.approved_by)})"
    numbers = {
        "override": newest.n,
        "overrides_so_far": newest.n,
        "approved_by": newest.approved_by,
        "alone": newest.alone,
    }
    return _Answer(
        kind=VerdictKind.GO,
        reasons=(reason("override", text, numbers),),
        until=newest.expires_at,
        override=newest.n,
    )


def _second(name: str) -> str:
    return f"approved by {name}" if name else "nobody else could approve it"


def _by_policy(facts: Facts, stood: Sequence[Standing]) -> _Answer:
    return _ruled(facts) or _first(facts) or _undeclared(facts, stood) or _by_budget(facts, stood)


def _held(facts: Facts, stood: Sequence[Standing], found: Sequence[Stop]) -> _Answer | None:
    """What holds it besides the policy; then why the policy would hold it as well."""
    if not found:
        return None
    beside = _by_policy(facts, stood)
    also = beside if beside.kind is VerdictKind.HOLD else None
    ends = [*(one.until for one in found), *([also.until] if also else [])]
    known = [end for end in ends if end is not None]
    return _Answer(
        kind=VerdictKind.HOLD,
        paced=True,
        reasons=(*(one.reason for one in found), *(also.reasons if also else ())),
        until=max(known) if len(known) == len(ends) else None,
        level=max((one.level for one in found), key=lambda one: one.rank),
    )


def _ruled(facts: Facts) -> _Answer | None:
    """Where people disagreed with the policy, those it names decided."""
    ruling = granted(facts, GrantKind.RULING)
    if ruling is None:
        return None
    text = f"{ruling.decided_by} ruled until {ruling.expires_at:%Y-%m-%d %H:%M} UTC: {ruling.reason}"
    numbers = {"grant": ruling.n, "asked_by": ruling.by, "alone": ruling.alone}
    return _Answer(
        kind=VerdictKind.SLOW,
        paced=True,
        reasons=(reason("ruling", text, numbers),),
        until=ruling.expires_at,
        level=Level.SLOW,
    )


def _first(facts: Facts) -> _Answer | None:
    if not facts.question.first_release:
        return None
    text = "nothing of it is live yet, so there is nothing to measure"
    return _Answer(kind=VerdictKind.GO, reasons=(reason("bootstrap", text),), unbounded=True)


def _undeclared(facts: Facts, stood: Sequence[Standing]) -> _Answer | None:
    """No objective at all: a worker has no traffic to judge by; anything else is unknown."""
    if stood:
        return None
    if facts.service.port is None and not facts.service.runs_elsewhere:
        own = reason("no-objective", "it has no port, hence no traffic to hold to an objective")
        found = pulls(facts, stood)
        stop = _demanded(facts, found, Level.SLOW, (*_incidents(facts), own))
        if stop is not None:
            return stop
        held = facts.incidents and not facts.repairs
        return _Answer(
            kind=VerdictKind.HOLD if held else VerdictKind.SLOW,
            paced=True,
            reasons=(*_incidents(facts), *(pull.reason for pull in found), own),
            level=Level.SLOW,
        )
    text = "no objective is declared, so nobody knows what it may cost"
    return _Answer(kind=VerdictKind.HOLD, reasons=(reason("no-objective", text),), level=Level.FREEZE)


def _by_budget(facts: Facts, stood: Sequence[Standing]) -> _Answer:
    """The worst objective decides; the class of change, and what else the policy says, what that means."""
    worst, repairs, incidents = stood[0], facts.repairs, _incidents(facts)
    found = pulls(facts, stood)
    at = level(facts, stood, found)
    reasons = tuple(
        reason(one.rule, one.text, one.numbers | {"objective": one.objective})
        for one in stood
        if one.state is worst.state
    )
    burning = worst.fast_burn or bool(incidents)
    if worst.state is BudgetState.UNKNOWN or (burning and not repairs):
        return _Answer(
            kind=VerdictKind.HOLD, paced=True, reasons=(*incidents, *reasons),
            until=_until(facts, stood), level=at,
        )  # fmt: skip
    wanted = max((pull.level for pull in found), key=lambda one: one.rank, default=Level.FAST)
    stop = _demanded(facts, found, wanted if repairs else at, reasons, _until(facts, stood))
    if stop is not None:
        return stop
    slowing = tuple(pull.reason for pull in found if pull.level.rank >= Level.SLOW.rank)
    if repairs and worst.state is not BudgetState.HEALTHY and worst.rule != "bootstrap":
        name = facts.question.change_class.value
        mend = reason("repair", f"a {name} goes whatever the budget, in small steps")
        kind = VerdictKind.SLOW if burning else VerdictKind.GO
        return _Answer(kind=kind, paced=True, reasons=(mend, *incidents, *slowing, *reasons), level=at)
    if at.rank >= Level.SLOW.rank or incidents:
        first = (*incidents, *_exempted(facts, stood), *slowing)
        return _Answer(kind=VerdictKind.SLOW, paced=True, reasons=(*first, *reasons), level=at)
    return _Answer(kind=VerdictKind.GO, reasons=reasons[:1], level=at)


def _demanded(
    facts: Facts,
    found: Sequence[Pull],
    at: Level,
    reasons: Sequence[Reason],
    until: datetime | None = None,
) -> _Answer | None:
    """What stops a change at this level: a rule that cannot be evaluated, a freeze, a lacking approval."""
    broken = tuple(pull.reason for pull in found if pull.cannot_tell)
    if broken:
        return _Answer(kind=VerdictKind.HOLD, paced=True, reasons=(*broken, *reasons), level=Level.FREEZE)
    why = tuple(pull.reason for pull in found if pull.level is at)
    if at is Level.FREEZE:
        return _Answer(kind=VerdictKind.HOLD, paced=True, reasons=(*why, *reasons), until=until, level=at)
    if at is not Level.APPROVAL:
        return None
    given = granted(facts, GrantKind.APPROVAL)
    name = facts.question.change_class.value
    if given is None:
        service = facts.service.name
        text = f"a {name} needs an operator's approval now: poise gate approve {service} --reason '...'"
        lacks = reason("approval", text, {"level": at.value})
        return _Answer(
            kind=VerdictKind.HOLD, paced=True, reasons=(lacks, *why, *reasons), until=until, level=at
        )
    text = f"{given.decided_by} approved it at {given.decided_at:%Y-%m-%d %H:%M} UTC: {given.reason}"
    if given.alone:
        text += f" ({_second('')})"
    numbers = {"grant": given.n, "asked_by": given.by, "alone": given.alone}
    return _Answer(
        kind=VerdictKind.SLOW,
        paced=True,
        reasons=(reason("approval", text, numbers), *why, *reasons),
        until=given.expires_at,
        level=at,
    )


def _exempted(facts: Facts, stood: Sequence[Standing]) -> tuple[Reason, ...]:
    """Why a spent budget does not freeze."""
    given = granted(facts, GrantKind.EXEMPTION)
    if given is None or facts.repairs or stood[0].state is BudgetState.UNKNOWN:
        return ()
    cause = given.cause.value if given.cause else "elsewhere"
    text = (
        f"{given.decided_by} exempted it until {given.expires_at:%Y-%m-%d %H:%M} UTC "
        f"(cause: {cause}): {given.reason}"
    )
    numbers = {"grant": given.n, "asked_by": given.by, "cause": cause, "alone": given.alone}
    return (reason("exemption", text, numbers),)


def _unsized(facts: Facts) -> tuple[Reason, ...]:
    """That the budget cannot make the step smaller, where the strategy has no smaller one."""
    question, strategy = facts.question, facts.service.strategy
    nothing_else = question.first_release or question.interrupted
    if strategy.is_sized or nothing_else or question.change_class is ChangeClass.ROLLBACK:
        return ()
    text = f"strategy {strategy.kind.value} has no step that the budget could make smaller"
    return (reason("unsized", text),)


def _pending(facts: Facts) -> tuple[Reason, ...]:
    """What was asked for and waits for somebody to decide; it grants nothing yet."""
    service, found = facts.service.name, []
    for override in facts.overrides:
        if not override.is_approved and override.at <= facts.now < override.expires_at:
            text = (
                f"override {override.n} of {override.by} waits for another operator: "
                f"poise gate approve {service} --override {override.n}"
            )
            found.append(reason("override-pending", text, {"override": override.n}))
    for grant in facts.grants:
        if grant.is_open(facts.now):
            who = "another operator"
            if grant.kind is GrantKind.RULING:
                who = " or ".join(facts.policy.escalate_to) or "an admin"
            text = f"{grant.kind.value} {grant.n}, asked for by {grant.by}, waits for {who}: {grant.reason}"
            found.append(reason("grant-pending", text, {"grant": grant.n}))
    return tuple(found)


def _incidents(facts: Facts) -> tuple[Reason, ...]:
    return tuple(
        reason("incident", f"an incident is open: {one.summary}", {"incident": one.key})
        for one in facts.incidents
    )


def _until(facts: Facts, stood: Sequence[Standing]) -> datetime | None:
    """When asking again makes sense, where the numbers tell: a spent budget's recovery, a burn's end."""
    if any(one.state is BudgetState.UNKNOWN for one in stood):
        return None
    times: list[datetime] = []
    for one in stood:
        if one.state is BudgetState.SPENT:
            times += [
                budget.recovers_at
                for budget in facts.budgets
                if budget.key == one.objective and budget.recovers_at is not None
            ]
        elif one.fast_burn:
            times.append(facts.now + timedelta(seconds=float(one.numbers["short_s"])))
    return max(times, default=None)


def why(verdict: Verdict) -> str:
    """The verdict in one paragraph: what, for which change, why, how large and until when."""
    parts = [f"{verdict.kind.value.capitalize()} for a {verdict.change_class.value} on {verdict.service}:"]
    parts.append("; ".join(one.text for one in verdict.reasons) + ".")
    if verdict.kind is not VerdictKind.HOLD:
        weights = ", ".join(f"{step} %" for step in verdict.steps_percent) or "all at once"
        parts.append(
            f"This step may take at most {verdict.max_weight_percent} % of traffic; steps: {weights}."
        )
    if verdict.bake_factor > 1 and verdict.kind is VerdictKind.SLOW:
        parts.append(f"Each step bakes {verdict.bake_factor:g} times as long.")
    if verdict.alpha_factor > 1 and verdict.kind is not VerdictKind.HOLD:
        parts.append(f"What starts now is tested for harm at {verdict.alpha_factor:g} times its alpha.")
    if verdict.bake_factor < 1 and verdict.kind is VerdictKind.GO:
        parts.append(f"Each step bakes {verdict.bake_factor:g} times as long: the budget allows it.")
    if verdict.until is not None:
        label = "It may change" if verdict.kind is VerdictKind.HOLD else "It ends"
        label = "The override ends" if verdict.override is not None else label
        parts.append(f"{label} at {verdict.until:%Y-%m-%d %H:%M} UTC.")
    return " ".join(parts)


def why_budgets(budgets: Iterable[Budget], policy: BudgetPolicy, now: datetime) -> str:
    """How a service's budgets stand, worst first, in one paragraph."""
    ordered = sorted((classify(budget, policy, now) for budget in budgets), key=severity, reverse=True)
    sentences = [f"{one.text[:1].upper()}{one.text[1:]} ({one.state.value})." for one in ordered]
    return " ".join(sentences) or "No budget has been computed yet."
