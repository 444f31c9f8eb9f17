"""From what is to what a page shows: views made of the record and the signals.

Reads only; a page of a service reads one window of signals, whatever the objectives' windows are.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from poise.api.logs import lines_of
from poise.api.parts import Parts
from poise.api.queries import may_see, needs_somebody, recent_rollouts, service_status, status
from poise.api.views import ServiceStatus
from poise.balance.objective.decide import sentence as budget_sentence
from poise.model.access import Principal, Role
from poise.model.balance import PeriodBudget
from poise.model.delivery import Change, JobRun, Rollout, RolloutState, Run, RunState
from poise.model.errors import NotFound
from poise.model.event_types import HEAL_ORDERED, REPLICA_KILLED
from poise.model.period import name as window_name
from poise.model.policy import BudgetPolicy
from poise.model.service import Project, Service
from poise.spec.explain_objective import measures
from poise.web import (
    incident_views,
    links,
    overview_views,
    run_views,
    service_compose,
    service_views,
    spend_compose,
    views,
)
from poise.web.history import event_row
from poise.web.permits_compose import permits
from poise.web.previews import preview_rows
from poise.web.rules import rule_group_rows
from poise.web.series import answers, chart_of
from poise.web.targets import target_rows

CHANGES: Final = 8


async def chrome(parts: Parts, asker: Principal | None, csrf: str, project: str = "") -> views.Chrome:
    """What surrounds a page for this reader."""
    newest = await parts.store.journal(limit=1, last=True)
    role = asker.role_in(project or "*") if asker else None
    return views.Chrome(
        at=parts.clock.now(),
        principal=asker.name if asker else None,
        csrf=csrf,
        sequence=newest[-1].sequence if newest else 0,
        may_act=role is not None and role.rank >= Role.OPERATOR.rank,
        may_say=role is not None and role.rank >= Role.DEVELOPER.rank,
        where=project,
        project=project or await _first_project(parts, asker),
    )


async def _first_project(parts: Parts, asker: Principal | None) -> str:
    """The project whose pages a page of no project leads to."""
    if asker is None:
        return ""
    known, _ = await parts.store.scan(Project, limit=50)
    return next((one.name for one in known if may_see(asker, one.name)), "")


async def overview(
    parts: Parts,
    asker: Principal,
    around: views.Chrome,
    incidents: tuple[incident_views.IncidentRow, ...] = (),
) -> overview_views.OverviewView:
    """All services that the asker may see, those in need first, and the newest runs."""
    found = await status(parts, asker)
    burning = await spend_compose.burns(parts)
    runs, _ = await parts.store.scan(Run, limit=50, last=True)
    seen = [run for run in runs if may_see(asker, run.project)]
    return overview_views.OverviewView(
        chrome=around,
        incidents=incidents,
        services=tuple(_service_row(one, burning.get(one.key, "")) for one in found.services),
        places=await service_compose.places(parts, asker),
        runs=tuple([await _run_row(parts, run) for run in seen[: -CHANGES - 1 : -1]]),
        targets=target_rows(parts, asker),
        rule_groups=rule_group_rows(parts, asker),
    )


def _service_row(one: ServiceStatus, burning: str) -> overview_views.ServiceRow:
    worst = min(one.budgets, key=lambda budget: budget.left_ratio, default=None)
    elsewhere = one.service.runs_elsewhere
    return overview_views.ServiceRow(
        key=one.key,
        sentence=one.sentence,
        verdict=one.verdict.kind if one.live or elsewhere or needs_somebody(one) else None,
        budget_left_ratio=worst.left_ratio if worst and worst.measured_at else None,
        release=f"r{one.live.release}" if one.live else "",
        deployed_at=one.live.finished_at if one.live else None,
        replicas_ready=one.replicas_ready,
        replicas_wanted=0 if elsewhere else one.service.replicas.min,
        rollout=one.active.n if one.active else None,
        objective=worst.key if worst else "",
        trend=spend_compose.trend(worst),
        burning=burning,
        elsewhere=elsewhere,
    )


async def _run_row(parts: Parts, run: Run) -> overview_views.RunRow:
    change, _ = await parts.store.get(Change, f"{run.project}/{run.commit}")
    return overview_views.RunRow(
        project=run.project,
        n=run.n,
        state=run.state,
        summary=change.summary if change else run.commit[:10],
        branch=run.branch,
        created_at=run.created_at,
    )


async def service(parts: Parts, key: str, window: str, around: views.Chrome) -> service_views.ServiceView:
    """One service: the verdict, the chart, what runs, what changed."""
    declared, _ = await parts.store.get(Service, key)
    if declared is None:
        raise NotFound("POISE-E404", f"no service {key}", mend="Run: poise status")
    now = parts.clock.now()
    one = await service_status(parts, declared, now)
    project, _ = await parts.store.get(Project, declared.project)
    policy = project.policy if project else BudgetPolicy()
    rollouts = await recent_rollouts(parts, key)
    worst = min(one.budgets, key=lambda budget: budget.left_ratio, default=None)
    known = one.live is not None or declared.runs_elsewhere
    return service_views.ServiceView(
        chrome=around,
        key=key,
        sentence=" ".join((*one.notices, budget_sentence(worst, policy, now)))
        if worst and known
        else one.sentence,
        verdict=one.verdict.kind,
        verdict_at=one.verdict.at,
        reasons=tuple(reason.text for reason in one.verdict.reasons),
        budget_left_ratio=worst.left_ratio if worst else None,
        policy=service_views.PolicyView(
            name=policy.name,
            slow_below_ratio=policy.slow_below_ratio,
            hold_below_ratio=policy.hold_below_ratio,
        ),
        objectives=tuple(_objective_rows(one)),
        chart=await chart_of(parts, one, worst, rollouts, window, now),
        running=tuple(await _running(parts, one, now)),
        notes=tuple(await _notes(parts, key)),
        changes=tuple(_change_row(rollout) for rollout in rollouts[: -CHANGES - 1 : -1]),
        spends=await spend_compose.spenders(parts, key),
        elsewhere=declared.runs_elsewhere,
        permits=await permits(parts, one.verdict, around),
        depends_on=tuple(f"{declared.project}/{declared.environment}/{name}" for name in declared.depends_on),
        rollout=one.active.n if one.active else None,
        rollout_sentence=one.sentence if one.active else "",
        can_roll_back=any(rollout.state is RolloutState.RETIRED for rollout in rollouts),
        settings=None if declared.runs_elsewhere else await service_compose.settings_view(parts, key),
        capacity=None if declared.runs_elsewhere else service_compose.capacity_view(one),
        environments=await service_compose.environments(parts, declared),
        previews=await preview_rows(parts, declared),
    )


def _objective_rows(one: ServiceStatus) -> Iterable[service_views.ObjectiveRow]:
    budgets = {budget.objective: budget for budget in one.budgets}
    for objective in one.objectives:
        budget = budgets.get(objective.name)
        burns = {burn.window_s: burn.rate for burn in budget.burns} if budget else {}
        events = budget.good + budget.bad if budget else 0.0
        yield service_views.ObjectiveRow(
            name=objective.name,
            target_ratio=objective.target_ratio,
            now_ratio=budget.good / events if budget and events and not objective.is_derived else None,
            left_ratio=budget.left_ratio if budget else None,
            burn_1h=burns.get(3600.0),
            burn_6h=burns.get(21_600.0),
            burn_3d=burns.get(259_200.0),
            coverage_ratio=budget.coverage_ratio if budget else None,
            problem=budget.problem if budget else "",
            window=window_name(objective.window),
            measures=measures(objective),
            group=budget.group if budget else "",
            unexcluded_left_ratio=budget.unadjusted_left_ratio if budget else None,
            periods=tuple(_period_row(one) for one in budget.periods) if budget else (),
        )


def _period_row(one: PeriodBudget) -> service_views.PeriodRow:
    events = one.good + one.bad
    return service_views.PeriodRow(
        name=one.name,
        start=one.start,
        end=one.end,
        now_ratio=one.good / events if events else None,
        left_ratio=one.left_ratio,
        coverage_ratio=one.coverage_ratio,
    )


async def _running(parts: Parts, one: ServiceStatus, now: datetime) -> Iterable[service_views.RunningRow]:
    acked = one.route.acked if one.route else {}
    rows = []
    for rollout in (one.live, one.active):
        if rollout is None or rollout.state is RolloutState.WAITING:
            continue
        mine = [replica for replica in one.replicas if replica.rollout == rollout.n]
        rate_per_s, latency_ms = await answers(parts, rollout, now)
        rows.append(
            service_views.RunningRow(
                release=f"r{rollout.release}",
                replicas_ready=sum(replica.ready for replica in mine),
                replicas_wanted=max(len(mine), rollout.replicas),
                weight_percent=acked.get(rollout.n, 0),
                requests_per_s=rate_per_s,
                latency_ms_p95=latency_ms,
            )
        )
    return rows


async def _notes(parts: Parts, key: str) -> list[str]:
    rows = await parts.store.journal(subject=key, types=(HEAL_ORDERED, REPLICA_KILLED), limit=3, last=True)
    return [f"{row.at:%H:%M} {row.event.summary}" for row in reversed(rows)]


def _change_row(rollout: Rollout) -> service_views.ChangeRow:
    bad = rollout.state in (RolloutState.ROLLED_BACK, RolloutState.FAILED)
    return service_views.ChangeRow(
        label=f"r{rollout.release}",
        summary=rollout.summary,
        at=rollout.created_at,
        outcome=rollout.state.value.replace("_", " "),
        bad=bad,
        href=links.rollout(rollout.service_key, rollout.n),
    )


async def run(parts: Parts, project: str, n: int, around: views.Chrome) -> run_views.RunView:
    """One run with its log so far."""
    found, _ = await parts.store.get(Run, f"{project}/{n:06d}")
    if found is None:
        raise NotFound("POISE-E404", f"no run {n} of {project}", mend="Run: poise status")
    change, _ = await parts.store.get(Change, f"{project}/{found.commit}")
    known, _ = await parts.store.get(Project, project)
    last = (known or Project(name=project)).environments[-1]
    lines = await lines_of(parts.data, found, 0, run_views.LOG_LINES_MAX, parts.masker)
    first: dict[str, int] = {}
    for line in lines:
        first.setdefault(line.source, line.n)
    return run_views.RunView(
        chrome=around,
        project=project,
        n=n,
        sentence=_run_sentence(found),
        state=found.state,
        commit=found.commit,
        branch=found.branch,
        summary=change.summary if change else "",
        author=change.author if change else "",
        created_at=found.created_at,
        finished_at=found.finished_at,
        jobs=tuple(_job_view(job, first) for job in found.jobs),
        tests=found.tests,
        lines=tuple(run_views.LogLine(n=line.n, text=line.text) for line in lines),
        problem=found.problem,
        releases=tuple((key, links.service(_service_of(key, last))) for key in found.releases),
    )


def _service_of(release_key: str, environment: str) -> str:
    project, name, _ = release_key.split("/")
    return f"{project}/{environment}/{name}"


def _took_s(started: datetime | None, finished: datetime | None) -> float | None:
    return (finished - started).total_seconds() if started and finished else None


def _job_view(job: JobRun, first: dict[str, int]) -> run_views.JobView:
    return run_views.JobView(
        id=job.id,
        state=job.state,
        needs=job.needs,
        took_s=_took_s(job.started_at, job.finished_at),
        steps=tuple(
            run_views.StepView(
                name=step.name,
                state=step.state,
                took_s=_took_s(step.started_at, step.finished_at),
                exit_code=step.exit_code,
                line=first.get(f"{job.id} / {step.name}"),
            )
            for step in job.steps
        ),
    )


def _run_sentence(found: Run) -> str:
    took = _took_s(found.created_at, found.finished_at)
    tests = f", {found.tests.passed} tests passed" if found.tests.passed else ""
    if found.state is RunState.SUCCESS:
        return f"Succeeded after {took or 0:.0f} s{tests}; {len(found.releases)} releases."
    if found.state.is_final:
        bad = next((step.name for job in found.jobs for step in job.steps if step.state is found.state), "")
        where = f" in step {bad}" if bad else ""
        return f"{found.state.value.capitalize()}{where} after {took or 0:.0f} s."
    return f"{found.state.value.capitalize()}."


async def audit(parts: Parts, asker: Principal, subject: str, around: views.Chrome) -> views.AuditView:
    """A page of the journal, newest first."""
    rows = await parts.store.journal(subject=subject, limit=views.EVENT_ROWS_MAX, last=True)
    shown = [row for row in rows if may_see(asker, row.event.subject.split("/", 1)[0])]
    return views.AuditView(
        chrome=around,
        events=tuple(event_row(row) for row in reversed(shown)),
        total=around.sequence,
        subject=subject,
    )
