"""From what is on record of an objective, and what was counted, to the view of its page. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from poise.api.parts import Parts
from poise.api.queries import recent_rollouts
from poise.balance.objective.decide import Status, status
from poise.balance.objective.decide import sentence as budget_sentence
from poise.model.balance import COUNTED_KEY, Budget, Counted
from poise.model.composite import infeasible
from poise.model.counting import selectors
from poise.model.delivery import Rollout, RolloutState
from poise.model.errors import NotFound
from poise.model.exclusion import Exclusion
from poise.model.incident import Incident
from poise.model.objective import IndicatorKind, Objective, Window
from poise.model.period import name as window_name
from poise.model.policy import BudgetPolicy, PolicyState
from poise.model.service import Project
from poise.model.signal import ERRORS_TOTAL, LATENCY_BUCKET, REQUESTS_TOTAL
from poise.model.spend import Outlook, SpendLedger, of_budget
from poise.model.standing import as_of
from poise.spec.durations import format_duration
from poise.spec.explain_objective import measures
from poise.spec.recurrence import stretches
from poise.web import links
from poise.web.burned import burn_down
from poise.web.objective_views import BurnDown, ObjectiveView, PartRow
from poise.web.views import Band, Chrome, Marker

INCIDENTS_SEEN: Final = 100
EXCLUSIONS_SHOWN: Final = 20


async def objective(parts: Parts, key: str, around: Chrome) -> ObjectiveView:
    """One objective; NotFound where it is not declared."""
    store, now = parts.store, parts.clock.now()
    one, _ = await store.get(Objective, key)
    if one is None:
        mend = f"Run: poise slo {key.split('/')[2]}"
        raise NotFound("POISE-E404", f"no objective {key}", mend=mend)
    service = one.service
    project, _ = await store.get(Project, service.partition("/")[0])
    policy = (project or Project(name="")).policy
    budget = await _budget(parts, key, policy)
    outlook, _ = await store.get(Outlook, key)
    ledger, _ = await store.get(SpendLedger, key)
    if one.is_derived:
        outlook, ledger = None, None  # of a time when they were written for it, too
    state, _ = await store.get(PolicyState, service)
    near, _ = await store.scan(Objective, f"{service.rpartition('/')[0]}/")
    exclusions = [
        found
        for found in (await store.scan(Exclusion, f"{service.partition('/')[0]}/"))[0]
        if found.covers(key)
    ]
    return ObjectiveView(
        chrome=around,
        objective=one,
        status=(status(budget, policy, now) if budget else Status.UNKNOWN).value,
        sentence=_sentence(one, budget, policy, now),
        period=period_words(one.window),
        policy=policy,
        budget=budget,
        level=state,
        outlook=outlook,
        ledger=of_budget(ledger, budget) if ledger else None,
        burn_down=await _burn_down(parts, one, budget, policy, exclusions, now),
        source=measures(one),
        queries=queries(one),
        siblings=tuple(other.name for other in near if other.service == service),
        parts=await _parts(parts, one, policy),
        infeasible=next((found.sentence for found in infeasible(near) if found.objective == key), ""),
        exclusions=tuple(exclusions[-EXCLUSIONS_SHOWN:]),
    )


async def _budget(parts: Parts, key: str, policy: BudgetPolicy) -> Budget | None:
    budget, _ = await parts.store.get(Budget, key)
    counted, _ = await parts.store.get(Counted, COUNTED_KEY)
    return None if budget is None else as_of(budget, counted, policy)


def _sentence(one: Objective, budget: Budget | None, policy: BudgetPolicy, now: datetime) -> str:
    if budget is None:
        return f"{one.name} has no budget yet, so nobody knows what is left."
    said = budget_sentence(budget, policy, now)
    return f"{said} It is young: the window is projected from what was seen." if budget.bootstrap else said


def period_words(window: Window) -> str:
    """The window as a sentence says it: ``28 days``, ``a month (Europe/Berlin)``."""
    days = window.window_s / 86_400.0
    if window.calendar is not None:
        return window_name(window)
    return f"{days:.0f} days" if days >= 2 and days == round(days) else format_duration(window.window_s)


def queries(one: Objective) -> tuple[tuple[str, str], ...]:
    """By role, what is asked for the counts of the window, in PromQL."""
    window = f"[{format_duration(one.window_s)}]"
    if one.indicator is IndicatorKind.AVAILABILITY:
        counters = (("total", REQUESTS_TOTAL), ("bad", ERRORS_TOTAL))
        return tuple(
            (role, f'sum(increase({name}{{service="{one.service}"}}{window}))') for role, name in counters
        )
    if one.indicator is IndicatorKind.LATENCY:
        bound = f"{one.threshold_ms or 0:g}"
        return tuple(
            (role, f'sum(increase({LATENCY_BUCKET}{{service="{one.service}",le="{le}"}}{window}))')
            for role, le in (("good", bound), ("total", "+Inf"))
        )
    if one.gauge is not None:
        return (("value", one.gauge.query),)
    if one.histogram is not None:
        return (("buckets", f"sum by (le) (increase({one.histogram.query}{window}))"),)
    return tuple((role, f"sum(increase({text}{window}))") for role, text in selectors(one).items())


async def _parts(parts: Parts, one: Objective, policy: BudgetPolicy) -> tuple[PartRow, ...]:
    """Components and what is required, with how their budgets stand."""
    wanted: list[tuple[str, str, float | None]] = [(key, "required", None) for key in one.requires]
    if one.composite is not None:
        wanted = [(part.objective, "component", part.weight) for part in one.composite.components] + wanted
    rows = []
    for key, role, weight in wanted:
        declared, _ = await parts.store.get(Objective, key)
        budget = await _budget(parts, key, policy)
        rows.append(
            PartRow(
                key=key,
                role=role,
                target_ratio=declared.target_ratio if declared else None,
                left_ratio=budget.left_ratio if budget and budget.measured_at else None,
                coverage_ratio=budget.coverage_ratio if budget else None,
                weight=weight if weight != 1.0 else None,
            )
        )
    return tuple(rows)


async def _burn_down(
    parts: Parts,
    one: Objective,
    budget: Budget | None,
    policy: BudgetPolicy,
    exclusions: Sequence[Exclusion],
    now: datetime,
) -> BurnDown | None:
    found = burn_down(parts.curve, one, budget, policy, now) if budget is not None else None
    if found is None:
        return None
    rollouts = await recent_rollouts(parts, one.service)
    return found.with_events(
        markers=tuple(_markers(rollouts, found.since)),
        incidents=await _incidents(parts, one.service, found.since, now),
        excluded=tuple(
            Band(since=_instant(start, now), until=_instant(end, now), label=exclusion.reason)
            for exclusion in exclusions
            for start, end in stretches(exclusion, found.since, now)
        ),
    )


def _instant(at_s: float, now: datetime) -> datetime:
    return datetime.fromtimestamp(at_s, now.tzinfo)


def _markers(rollouts: Sequence[Rollout], since: datetime) -> list[Marker]:
    """Deploys, settings and rollbacks, each with the way to its rollout."""
    found = []
    for one in rollouts:
        at = one.started_at or one.created_at
        if at < since or one.state in (RolloutState.WAITING, RolloutState.SUPERSEDED):
            continue
        back, is_deploy = one.state is RolloutState.ROLLED_BACK, "release" in one.changes
        word = f"r{one.release}" if is_deploy else "settings"
        kind = "rollback" if back else "deploy" if is_deploy else "config"
        href = links.rollout(one.service_key, one.n)
        found.append(Marker(at=at, label=word + (" rolled back" if back else ""), kind=kind, href=href))
    return found


async def _incidents(parts: Parts, service: str, since: datetime, now: datetime) -> tuple[Band, ...]:
    project, environment, _ = service.split("/")
    found, _ = await parts.store.scan(Incident, f"{project}/", last=True, limit=INCIDENTS_SEEN)
    bands = []
    for one in found:
        ended = one.cleared_at or one.resolved_at or now
        mine = one.environment == environment and service in (one.service, *one.services)
        if mine and one.merged_into is None and ended >= since:
            until = max(ended, one.onset_at + timedelta(seconds=1))
            bands.append(Band(since=max(one.onset_at, since), until=until, label=f"incident {one.n}"))
    return tuple(bands)
