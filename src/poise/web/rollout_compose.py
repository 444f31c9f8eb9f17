"""From the record to the rollout page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from poise.api.parts import Parts
from poise.api.queries import recent_rollouts, service_status
from poise.balance.gate.controller import check
from poise.delivery.rollout.analysis import analysis
from poise.model.balance import Verdict, verdict_key
from poise.model.delivery import Change, Rollout, RolloutState, Verb
from poise.model.errors import NotFound
from poise.model.event_types import ROLLOUT_STEPPED
from poise.model.record import Recorded
from poise.model.service import Service
from poise.web import rollout_views, views
from poise.web.history import event_row
from poise.web.permit_views import PermitsView
from poise.web.permits_compose import permits
from poise.web.provenance import provenance_of
from poise.web.series import CHART_WINDOWS, answers, chart_of

AROUND: Final = timedelta(minutes=5)
"""The chart goes on for so long after the rollout has ended, and begins so long before it."""


async def rollout(parts: Parts, key: str, n: int, around: views.Chrome) -> rollout_views.RolloutView:
    """One rollout: where it is, canary against stable, evidence so far, and what users got meanwhile."""
    found, _ = await parts.store.get(Rollout, f"{key}/{n:06d}")
    if found is None:
        raise NotFound("POISE-E404", f"no rollout {n} of {key}", mend="Run: poise status")
    stable = None
    if found.baseline is not None:
        stable, _ = await parts.store.get(Rollout, f"{key}/{found.baseline:06d}")
    verdict = None
    if found.ask is not None:
        verdict, _ = await parts.store.get(Verdict, verdict_key(found.key, found.ask.n))
    change, _ = await parts.store.get(Change, f"{found.project}/{found.commit}")
    rows = await parts.store.journal(subject=found.key, limit=views.EVENT_ROWS_MAX, last=True)
    said = analysis(found)
    return rollout_views.RolloutView(
        chrome=around,
        key=key,
        n=n,
        sentence=said.sentence,
        state=found.state,
        release=f"r{found.release}",
        stable_release=f"r{stable.release}" if stable else "",
        summary=found.summary,
        commit=found.commit,
        change_class=found.change_class.value,
        class_why=change.class_why if change and change.change_class is found.change_class else "",
        created_at=found.created_at,
        weight_percent=found.weight_percent,
        paused=found.paused,
        verdict=verdict.kind if verdict else None,
        verdict_at=verdict.at if verdict else None,
        reasons=tuple(reason.text for reason in verdict.reasons) if verdict else (),
        steps=steps(found, verdict, rows),
        analysis=said,
        canary_latency_ms_p95=await _latency_ms(parts, found),
        stable_latency_ms_p95=await _latency_ms(parts, stable),
        chart=await _chart(parts, found),
        orders=_possible(found),
        provenance=await provenance_of(parts, found),
        history=tuple(event_row(row) for row in reversed(rows)),
        permits=await _permits(parts, found, around),
    )


def steps(
    found: Rollout, verdict: Verdict | None, rows: Sequence[Recorded]
) -> tuple[rollout_views.RolloutStep, ...]:
    """The weights of the plan: those on record with when they were reached, then those ahead.

    What was not reached by a rollout that is over is no longer ahead: it is left out.
    """
    reached = {
        int(row.event.data["weight_percent"]): row.at
        for row in rows
        if row.event.type == ROLLOUT_STEPPED and "weight_percent" in row.event.data
    }
    is_over = found.state.is_final or found.state is RolloutState.LIVE
    strategy = found.spec.strategy
    plan = verdict.steps_percent if verdict and verdict.steps_percent else strategy.steps_percent
    coming = {*plan, 100} if strategy.is_sized and not found.straight else {100}
    ahead = set() if is_over else {weight for weight in coming if weight > found.weight_percent}

    def phase(weight: int) -> str:
        if weight in ahead:
            return "ahead"
        return "now" if weight == found.weight_percent and not is_over else "done"

    return tuple(
        rollout_views.RolloutStep(weight_percent=weight, phase=phase(weight), at=reached.get(weight))
        for weight in sorted({*reached, *ahead})
    )


async def _latency_ms(parts: Parts, found: Rollout | None) -> float | None:
    return None if found is None else (await answers(parts, found, parts.clock.now()))[1]


async def _chart(parts: Parts, found: Rollout) -> views.Chart | None:
    """What users of the service got while it went out; None before it began."""
    declared, _ = await parts.store.get(Service, found.service_key)
    if found.started_at is None or declared is None:
        return None
    now = parts.clock.now()
    until = min(now, found.finished_at + AROUND) if found.finished_at else now
    needed_s = (until - found.started_at + AROUND).total_seconds()
    window = min(
        (name for name, length in CHART_WINDOWS.items() if length >= needed_s),
        key=lambda name: CHART_WINDOWS[name],
        default=max(CHART_WINDOWS, key=lambda name: CHART_WINDOWS[name]),
    )
    one = await service_status(parts, declared, now)
    return await chart_of(parts, one, None, await recent_rollouts(parts, found.service_key), window, until)


def _possible(found: Rollout) -> tuple[Verb, ...]:
    if found.state.is_final or found.state is RolloutState.LIVE:
        return ()
    steer = (Verb.RESUME,) if found.paused else (Verb.PAUSE,)
    return (Verb.PROMOTE, *steer, Verb.ABORT) if found.state is RolloutState.STEPPING else (Verb.ABORT,)


async def _permits(parts: Parts, found: Rollout, around: views.Chrome) -> PermitsView | None:
    """What would let this rollout go on: by what the gate says now, not by what it once answered."""
    if found.state is RolloutState.LIVE or found.state.is_final:
        return None
    now, digest = parts.clock.now(), found.digest
    verdict = await check(
        parts.store, found.service_key, found.change_class, digest, now, signing_key=parts.signing_key
    )
    entering = found.weight_percent == 0
    return await permits(parts, verdict, around, digest=digest, rollout=found.n, entering=entering)
