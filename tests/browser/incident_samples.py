"""Realistic views of one incident and its post-mortem; ``samples`` hands them on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from poise.model.incident import IncidentState, IncidentVerb, Severity
from poise.model.review import Action, ActionKind, ReviewState
from poise.web import incident_views as iv
from poise.web import links
from poise.web import views as v
from poise.web.incident import incident_sentence

NOW = datetime(2026, 11, 28, 9, 40, tzinfo=UTC)
KEY = "acme/production/storefront"


def chrome() -> v.Chrome:
    return v.Chrome(
        at=NOW, principal="ana", csrf="c5rf-t0ken", sequence=4_812, may_act=True, where="acme / production"
    )


def _at(day: int, hour: int, minute: int) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def incident_row(n: int = 118, state: IncidentState = IncidentState.OPEN, who: str = "") -> iv.IncidentRow:
    return iv.IncidentRow(
        project="acme",
        n=n,
        title="availability of storefront burns 124x",
        state=state,
        severity=Severity.SEV1 if n == 118 else Severity.SEV2,
        service=KEY,
        onset_at=_at(28, 9, 26),
        ended_at=_at(28, 9, 38) if state.is_final else None,
        acknowledged_by=who,
        merged_into=116 if state is IncidentState.MERGED else None,
    )


def incidents() -> iv.IncidentsView:
    states = (IncidentState.OPEN, IncidentState.MITIGATED, IncidentState.RESOLVED, IncidentState.MERGED)
    rows = [incident_row(118 - k, state, "ana" if k else "") for k, state in enumerate(states)]
    return iv.IncidentsView(
        chrome=chrome(),
        project="acme",
        rows=tuple(rows),
        open_count=2,
        next_href="/projects/acme/incidents?before=115",
    )


def _suspects() -> tuple[iv.SuspectRow, ...]:
    proofs = (
        iv.ProofRow(
            text="it took traffic 70 s before the onset",
            links=(("event 4780", "/projects/acme/events/4780"),),
        ),
        iv.ProofRow(text="with it 12.4 % of 5,210 requests fail, without it 0.04 % of 4,877"),
    )
    return (
        iv.SuspectRow(
            kind="config",
            summary="config 17 (TIMEOUT_MS) of payments rollout 9",
            score=0.94,
            at=_at(28, 9, 25),
            href=links.rollout("acme/production/payments", 9),
            proofs=proofs,
            rollback="acme/production/payments",
        ),
        iv.SuspectRow(
            kind="deploy",
            summary="release 43 of storefront (cart: fix rounding)",
            score=0.04,
            proofs=proofs[1:],
        ),
    )


def _pages() -> tuple[iv.PageRow, ...]:
    return (
        iv.PageRow(
            person="ana",
            way="webhook",
            address="https://push.example.org",
            asked_at=_at(28, 9, 28),
            sent_at=_at(28, 9, 29),
            attempts=2,
        ),
        iv.PageRow(
            person="ben",
            way="email",
            address="ben@example.org",
            asked_at=_at(28, 9, 28),
            problem="refused",
        ),
    )


def _chart() -> v.Chart:
    step = timedelta(seconds=20)
    points = tuple(
        v.ChartPoint(at=_at(28, 9, 10) + k * step, error_ratio=0.0004 if k < 48 else 0.121) for k in range(90)
    )
    return v.Chart(
        since=_at(28, 9, 10),
        until=_at(28, 9, 40),
        window="30 min",
        points=points,
        markers=(
            v.Marker(at=_at(28, 9, 25), label="r9", href=links.rollout(KEY, 9)),
            v.Marker(at=_at(28, 9, 26), label="onset", kind="rollback", href="#timeline"),
        ),
        bands=(v.Band(since=_at(28, 9, 26), until=_at(28, 9, 40), label=""),),
    )


def _entries() -> tuple[iv.EntryRow, ...]:
    told = (
        ("note", "ana: payments shows timeouts only, no errors upstream", "ana"),
        ("incident", "ana acknowledged incident 118", "ana"),
        ("page", "paged ana by webhook", "poise"),
        ("verdict", "Gate of storefront: hold features; fixes and rollbacks go", "poise"),
        ("heal", "Healing left 4 replicas alone: all fail together", "poise"),
        ("burn", "availability of storefront burns 124x", "poise"),
        ("config", "ben set config 17 of payments: faster failover", "ben"),
    )
    return tuple(
        iv.EntryRow(
            sequence=4_812 - k,
            at=_at(28, 9, 39 - 2 * k),
            kind=kind,
            sentence=text,
            actor=actor,
            href=links.service(KEY) if k > 2 else "",
            event_href=links.event("acme", 4_812 - k),
        )
        for k, (kind, text, actor) in enumerate(told)
    )


def incident() -> iv.IncidentPageView:
    view = iv.IncidentPageView(
        chrome=replace(chrome(), may_say=True),
        project="acme",
        n=118,
        title="availability of storefront burns 124x",
        sentence="",
        state=IncidentState.ACKNOWLEDGED,
        severity=Severity.SEV1,
        service=KEY,
        services=(KEY, "acme/production/payments"),
        onset_at=_at(28, 9, 26),
        opened_at=_at(28, 9, 28),
        acknowledged_at=_at(28, 9, 30),
        acknowledged_by="ana",
        verbs=(IncidentVerb.MITIGATE, IncidentVerb.RESOLVE, IncidentVerb.NOTE, IncidentVerb.SEVERITY),
        diagnosis="Most likely config 17 (TIMEOUT_MS) of payments rollout 9, 94 % suspected",
        explained=True,
        suspects=_suspects(),
        cleared=(
            iv.SuspectRow(
                kind="scale",
                summary="catalog scaled from 3 to 4",
                score=0.0,
                proofs=(iv.ProofRow(text="errors are the same on old and new replicas"),),
            ),
        ),
        pages=_pages(),
        failed_requests=5_980,
        all_requests=48_220,
        impacts=(
            iv.ImpactRow(
                objective="storefront/availability",
                href=links.service(KEY),
                left_ratio=0.29,
                spent_ratio=0.092,
            ),
        ),
        chart=_chart(),
        entries=_entries(),
        earlier_href="/projects/acme/incidents/118?before=4700#timeline",
        review_href=links.review("acme", 118),
    )
    return replace(view, sentence=incident_sentence(view))


REVIEW_TEXT = """# Incident 118: availability of storefront burns 124x

## Summary

- Incident 118 \\(sev1\\) of storefront in production began 09:26:00 UTC and ended 14 min later.[^1]
- The most likely trigger is config 17 of payments.[^2][^3]

## What went well

The page was answered within **2 min**; see [the runbook](/runbooks/timeouts) and `event/4780`.

| who | what |
|---|---|
| ana | led |

[^1]: `Incident/acme/000118`
[^2]: `Diagnosis/acme/000118`
[^3]: `event/4780`
"""


def review() -> iv.ReviewPageView:
    def action(n: int, due: datetime, done: bool = False) -> Action:
        return Action(
            n=n,
            kind=ActionKind.PREVENT,
            text="bound TIMEOUT_MS in the schema",
            owner="ben",
            due_at=due,
            verification="a test sets 0 and is refused",
            done_at=NOW if done else None,
            done_by="ben" if done else None,
        )

    return iv.ReviewPageView(
        chrome=replace(chrome(), may_say=True),
        project="acme",
        n=118,
        title="Incident 118: availability of storefront burns 124x",
        state=ReviewState.DRAFT,
        text=REVIEW_TEXT,
        etag='"3"',
        times=(("detected", 120.0), ("acknowledged", 240.0), ("mitigated", None), ("resolved", 840.0)),
        failed_requests=5_980,
        budget_spent_ratio=0.092,
        sentences=14,
        actions=(action(1, _at(20, 23, 59)), action(2, _at(29, 23, 59)), action(3, _at(21, 12, 0), True)),
        may_publish=True,
    )


def no_review() -> iv.NoReviewView:
    return iv.NoReviewView(
        chrome=chrome(), project="acme", n=118, title="burns 124x", state=IncidentState.MITIGATED
    )


def event() -> iv.EventView:
    return iv.EventView(
        chrome=chrome(),
        sequence=4_780,
        at=_at(28, 9, 25),
        type="dev.poise.config.changed",
        subject="acme/production/payments/000017",
        summary="ben set TIMEOUT_MS of payments: faster failover",
        actor="ben",
        href=links.service("acme/production/payments"),
        data=(("names", '["TIMEOUT_MS"]'), ("version", "17")),
        hash="a" * 64,
        previous_hash="b" * 64,
    )
