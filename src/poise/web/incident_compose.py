"""From the record to the pages of incidents: what is open, what is known of one, what it cost.

Reads only, and of a timeline one page, however long it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

import msgspec

from poise.api.incidents import PAGES_SHOWN
from poise.api.parts import Parts
from poise.api.queries import may_see
from poise.api.timeline import timeline
from poise.model.access import Principal
from poise.model.balance import Budget
from poise.model.counting import increments
from poise.model.delivery import Rollout, RolloutState
from poise.model.errors import Invalid, NotFound
from poise.model.incident import (
    Diagnosis,
    Escalation,
    Evidence,
    Incident,
    IncidentVerb,
    Page,
    Suspect,
    SuspectKind,
)
from poise.model.objective import IndicatorKind, Objective
from poise.model.review import Review
from poise.model.signal import Points
from poise.reliability.incident.lifecycle import refusal
from poise.web import incident_views, links, views
from poise.web.incident import incident_sentence
from poise.web.series import errors_between

LOOKED_THROUGH: Final = 5000  # the newest incidents that a list is made of
BEFORE_S: Final = 900.0  # of the chart, before the onset
AFTER_S: Final = 300.0  # and after it was resolved
CHART_MAX_S: Final = 86_400.0
ROLLOUTS_SHOWN: Final = 20
ADDRESS_SHOWN: Final = 40
PROOF_LINKS: Final = 10
_DEVELOPERS_SAY: Final = (IncidentVerb.ACKNOWLEDGE, IncidentVerb.NOTE)


async def find(parts: Parts, project: str, n: int) -> Incident:
    """The incident, or ``NotFound``."""
    found, _ = await parts.store.get(Incident, f"{project}/{n:06d}")
    if found is None:
        raise NotFound("POISE-I404", f"no incident {n} of {project}", mend="Run: poise incident list")
    return found


async def incidents(
    parts: Parts, project: str, before: int, around: views.Chrome
) -> incident_views.IncidentsView:
    """The incidents of a project: open ones first, then the newest; ``before`` continues a list."""
    found, _ = await parts.store.scan(Incident, f"{project}/", last=True, limit=LOOKED_THROUGH)
    opened = [one for one in reversed(found) if not one.state.is_final]
    final = [one for one in reversed(found) if one.state.is_final and (not before or one.n < before)]
    shown = final[: incident_views.INCIDENTS_SHOWN]
    more = len(final) > len(shown)
    return incident_views.IncidentsView(
        chrome=around,
        project=project,
        rows=tuple(row_of(one) for one in (*(() if before else opened), *shown)),
        open_count=len(opened),
        next_href=f"{links.incidents(project)}?before={shown[-1].n}" if more else "",
    )


async def open_incidents(parts: Parts, asker: Principal) -> tuple[incident_views.IncidentRow, ...]:
    """Those of every project that the asker may see, the worst first."""
    found, _ = await parts.store.scan(Incident, last=True, limit=LOOKED_THROUGH)
    opened = [row_of(one) for one in found if not one.state.is_final and may_see(asker, one.project)]
    return tuple(sorted(opened, key=lambda row: (row.severity, row.onset_at)))


def row_of(one: Incident) -> incident_views.IncidentRow:
    """An incident in a list."""
    return incident_views.IncidentRow(
        project=one.project,
        n=one.n,
        title=one.title,
        state=one.state,
        severity=one.severity,
        service=one.service,
        onset_at=one.onset_at,
        ended_at=one.resolved_at,
        acknowledged_by=one.acknowledged_by or "",
        merged_into=one.merged_into,
    )


async def incident(
    parts: Parts, project: str, n: int, kind: str, cursor: int, around: views.Chrome
) -> incident_views.IncidentPageView:
    """The room of one incident."""
    if kind and kind not in incident_views.KINDS:
        raise Invalid("POISE-E425", f"no kind {kind}", why=f"There are {', '.join(incident_views.KINDS)}.")
    one, store = await find(parts, project, n), parts.store
    diagnosis, _ = await store.get(Diagnosis, one.key)
    escalation, _ = await store.get(Escalation, one.key)
    review, _ = await store.get(Review, one.key)
    pages, _ = await store.scan(Page, f"{one.key}/", last=True, limit=PAGES_SHOWN)
    entries, earlier = await _entries(parts, one, kind, cursor)
    chart, bad, total = await _users(parts, one, around.at)
    view = incident_views.IncidentPageView(
        chrome=around,
        project=project,
        n=n,
        title=one.title,
        sentence="",
        state=one.state,
        severity=one.severity,
        service=one.service,
        services=one.services,
        onset_at=one.onset_at,
        opened_at=one.opened_at,
        acknowledged_at=one.acknowledged_at,
        acknowledged_by=one.acknowledged_by or "",
        mitigated_at=one.mitigated_at,
        resolved_at=one.resolved_at,
        merged_into=one.merged_into,
        verbs=_verbs(one, around),
        diagnosis=diagnosis.sentence if diagnosis else "",
        explained=diagnosis.explained if diagnosis else False,
        unusual=tuple(proof.text for proof in diagnosis.unusual) if diagnosis else (),
        suspects=tuple([await _suspect(parts, one, s) for s in diagnosis.suspects]) if diagnosis else (),
        cleared=tuple([await _suspect(parts, one, s) for s in diagnosis.cleared]) if diagnosis else (),
        pages=tuple(_page(page) for page in reversed(pages)),
        paging_problem=escalation.problem if escalation else "",
        next_page_at=escalation.due_at if escalation else None,
        failed_requests=bad,
        all_requests=total,
        impacts=tuple(await _impacts(parts, one, bad)),
        chart=chart,
        entries=entries,
        kind=kind,
        cursor=cursor,
        earlier_href=earlier,
        review_href=links.review(project, n) if review else "",
    )
    return msgspec.structs.replace(view, sentence=incident_sentence(view))


def _verbs(one: Incident, around: views.Chrome) -> tuple[IncidentVerb, ...]:
    """What this reader may say now."""

    def allowed(verb: IncidentVerb) -> bool:
        holds = around.may_act or (around.may_say and verb in _DEVELOPERS_SAY)
        text = str(one.severity) if verb is IncidentVerb.SEVERITY else ""
        return holds and refusal(one, verb, text) is None

    return tuple(verb for verb in IncidentVerb if verb is not IncidentVerb.MERGE and allowed(verb))


async def _suspect(parts: Parts, one: Incident, suspect: Suspect) -> incident_views.SuspectRow:
    is_rollout = suspect.subject.count("/") == 3 and suspect.subject.rpartition("/")[2].isdecimal()
    rollout = (await parts.store.get(Rollout, suspect.subject))[0] if is_rollout else None
    live = rollout is not None and rollout.state is RolloutState.LIVE and rollout.baseline is not None
    revertible = live and suspect.kind in (SuspectKind.DEPLOY, SuspectKind.CONFIG)
    return incident_views.SuspectRow(
        kind=suspect.kind.value,
        summary=suspect.summary,
        score=suspect.score,
        at=suspect.at,
        href=links.about(suspect.subject),
        proofs=tuple(_proof(proof, one.project) for proof in suspect.evidence),
        rollback=rollout.service_key if rollout and revertible and not one.state.is_final else "",
    )


def _proof(proof: Evidence, project: str) -> incident_views.ProofRow:
    places = [(f"event {n}", links.event(project, n)) for n in proof.events[:PROOF_LINKS]]
    return incident_views.ProofRow(text=proof.text, links=tuple(places))


def _page(page: Page) -> incident_views.PageRow:
    address = page.contact.address
    if "://" in address:  # the path of a webhook may hold its secret
        address = "/".join(address.split("/", 3)[:3])
    return incident_views.PageRow(
        person=page.person,
        way=str(page.contact.kind),
        address=address if len(address) <= ADDRESS_SHOWN else address[: ADDRESS_SHOWN - 1] + "…",
        asked_at=page.asked_at,
        sent_at=page.sent_at,
        attempts=page.attempts,
        problem=page.problem,
        closing=page.closing,
    )


async def _entries(
    parts: Parts, one: Incident, kind: str, cursor: int
) -> tuple[tuple[incident_views.EntryRow, ...], str]:
    """A page of the timeline, newest first, and where the earlier ones are."""
    limit = incident_views.ENTRIES_SHOWN
    page = await timeline(parts.store, one, cursor=cursor, limit=limit, newest=True, kind=kind)
    rows = tuple(
        incident_views.EntryRow(
            sequence=entry.sequence,
            at=entry.at,
            kind=entry.kind,
            sentence=entry.sentence,
            actor=entry.actor,
            href=_about(entry.subject, entry.type, one),
            event_href=links.event(one.project, entry.sequence),
        )
        for entry in reversed(page.items)
    )
    if page.next is None:
        return rows, ""
    asked = {"before": page.next} | ({"kind": kind} if kind else {})
    return rows, f"{links.incident(one.project, one.n)}?{urlencode(asked)}#timeline"


def _about(subject: str, type_: str, one: Incident) -> str:
    """The page of what a line is about; this room is no news to whoever stands in it."""
    href = links.about(subject, type_)
    return "" if href == links.incident(one.project, one.n) else href


# -- what users got ---------------------------------------------------------------------------------


async def _users(
    parts: Parts, one: Incident, now: datetime
) -> tuple[views.Chart | None, float | None, float | None]:
    """The primary service's errors around the onset; failed and all requests from onset to end."""
    since = one.onset_at - timedelta(seconds=BEFORE_S)
    ended = one.resolved_at + timedelta(seconds=AFTER_S) if one.resolved_at else now
    until = max(min(now, ended, since + timedelta(seconds=CHART_MAX_S)), since + timedelta(seconds=60))
    points, requests, errors = await errors_between(parts, one.service, since, until)
    if not points:
        return None, None, None
    end = min(one.cleared_at or one.resolved_at or until, until)
    window = (one.onset_at.timestamp(), max(end, one.onset_at).timestamp())
    changes = await _changes(parts, one, since, until)
    chart = views.Chart(
        since=since,
        until=until,
        window=f"{(until - since).total_seconds() / 60:.0f} min",
        points=points,
        markers=(*changes, views.Marker(at=one.onset_at, label="onset", kind="rollback", href="#timeline")),
        bands=(views.Band(since=one.onset_at, until=max(end, one.onset_at), label=""),),
    )
    return chart, _sum(errors, window), _sum(requests, window)


async def _changes(parts: Parts, one: Incident, since: datetime, until: datetime) -> Iterable[views.Marker]:
    found, _ = await parts.store.scan(Rollout, f"{one.service}/", last=True, limit=ROLLOUTS_SHOWN)
    return [
        views.Marker(
            at=rollout.started_at, label=f"r{rollout.release}", href=links.rollout(one.service, rollout.n)
        )
        for rollout in found
        if rollout.started_at is not None and since <= rollout.started_at <= until
    ]


def _sum(found: Sequence[Points], window: tuple[float, float]) -> float:
    return sum(grown for points in found for _, grown in increments(points, *window))


async def _impacts(parts: Parts, one: Incident, bad: float | None) -> Iterable[incident_views.ImpactRow]:
    """The budgets of the services that alert; what the failures cost is known of availability alone."""
    rows = []
    for service in one.services[:ROLLOUTS_SHOWN]:
        budgets, _ = await parts.store.scan(Budget, f"{service}/", limit=ROLLOUTS_SHOWN)
        for budget in budgets:
            objective, _ = await parts.store.get(Objective, budget.key)
            counts_errors = objective is not None and objective.indicator is IndicatorKind.AVAILABILITY
            known = bad is not None and service == one.service and counts_errors and budget.allowed > 0
            rows.append(
                incident_views.ImpactRow(
                    objective=f"{service.rpartition('/')[2]}/{budget.objective}",
                    href=links.service(service),
                    left_ratio=budget.left_ratio,
                    spent_ratio=(bad or 0.0) / budget.allowed if known else None,
                )
            )
    return rows
