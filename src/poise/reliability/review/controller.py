"""Review's shell: reads an incident's record and what its users got, decides."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from poise.model import event_types
from poise.model.balance import Budget
from poise.model.counting import increments, weights
from poise.model.incident import Diagnosis, Incident, IncidentState
from poise.model.objective import IndicatorKind, Objective
from poise.model.record import Decision, Recorded, Ref
from poise.model.review import Review, ReviewEdit
from poise.model.signal import ERRORS_TOTAL, LATENCY_BUCKET, QUERY_TOTAL, REQUESTS_TOTAL
from poise.model.spend import SpendLedger
from poise.ports.store import Store
from poise.ports.totals import Totals
from poise.reliability.review.decide import Seen, decide
from poise.reliability.review.draft import Facts, Impact

NAME: Final = "review"
EVENTS_MAX: Final = 1000
EDITS_MAX: Final = 1000
SERVICES_MAX: Final = 20
REVIEWED_MAX: Final = 1000
BEFORE_S: Final = 600.0  # what happened so long before the onset is part of the story
AFTER_S: Final = 60.0
SETTLED_S: Final = 900.0  # so long after its end an incident's record is complete: it is drafted no more
TYPES: Final = (
    event_types.ALERT_FIRING, event_types.ALERT_RESOLVED, event_types.ROLLOUT_STARTED,
    event_types.ROLLOUT_STEPPED, event_types.ROLLOUT_HELD, event_types.ROLLOUT_ROLLING_BACK,
    event_types.ROLLOUT_FAILED, event_types.SERVICE_DEPLOYED, event_types.SERVICE_UPGRADED,
    event_types.SERVICE_ROLLED_BACK, event_types.SERVICE_REMOVED, event_types.OVERRIDE_CREATED,
    event_types.CONFIG_CHANGED, event_types.SECRET_CHANGED, event_types.HEAL_ORDERED,
    event_types.HEAL_WITHHELD, event_types.SCALE_CHANGED, event_types.SCALE_WITHHELD,
    event_types.ROLLBACK_REQUESTED, event_types.BUDGET_CHANGED, event_types.ORDER_TAKEN,
    event_types.GATE_ANSWERED,
)  # fmt: skip
_OWN_EVENTS: Final = (
    event_types.REVIEW_DRAFTED, event_types.REVIEW_EDITED, event_types.REVIEW_PUBLISHED,
    event_types.ACTION_ADDED, event_types.ACTION_DONE,
)  # fmt: skip


class ReviewController:
    """One key per incident."""

    name = NAME

    def __init__(self, store: Store, signals: Totals) -> None:
        self._store = store
        self._signals = signals

    async def keys(self) -> Iterable[str]:
        """Every incident that is resolved and has no review yet, and every review with unread edits."""
        incidents, _ = await self._store.scan(Incident, last=True, limit=REVIEWED_MAX)
        reviews, _ = await self._store.scan(Review, last=True, limit=REVIEWED_MAX)
        reviewed = {one.key for one in reviews}
        fresh = [
            one.key for one in incidents if one.state is IncidentState.RESOLVED and one.key not in reviewed
        ]
        return [*fresh, *sorted(reviewed)]

    def wakes(self, ref: Ref) -> str | None:
        """An incident or its diagnosis was written, or somebody edited its review."""
        if ref.kind in ("Incident", "Diagnosis"):
            return ref.key
        return ref.key.rpartition("/")[0] if ref.kind == "ReviewEdit" else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read what the review is made from and decide."""
        incident, ref = await self._store.get(Incident, key)
        review, review_ref = await self._store.get(Review, key)
        if incident is None or (review is None and incident.state is not IncidentState.RESOLVED):
            return Decision()
        seen_to = review.edits_seen if review else 0
        edits, edits_ref = await self._store.scan(
            ReviewEdit, f"{key}/", after=f"{key}/{seen_to:06d}", limit=EDITS_MAX
        )
        diagnosis, diagnosis_ref = await self._store.get(Diagnosis, key)
        drafting = review is None or not (review.edited or review.published_at)
        if review is not None and not edits and (not drafting or _is_settled(incident, diagnosis, now)):
            return Decision()
        facts = Facts(incident=incident)
        if drafting:
            facts = Facts(
                incident=incident,
                diagnosis=diagnosis,
                impacts=tuple(await self._impacts(incident)),
                ledgers=tuple(await self._ledgers(incident)),
                events=tuple(await self._events(incident, diagnosis)),
            )
        reads = (ref, review_ref, edits_ref, diagnosis_ref)
        return decide(Seen(facts=facts, review=review, edits=tuple(edits), reads=reads), now)

    async def _events(self, incident: Incident, diagnosis: Diagnosis | None) -> list[Recorded]:
        """What happened to the incident, its services and what is suspected, ascending."""
        start = incident.onset_at - timedelta(seconds=BEFORE_S)
        end = (incident.resolved_at or incident.opened_at) + timedelta(seconds=AFTER_S)
        suspects = [one.subject for one in diagnosis.suspects[:3]] if diagnosis else []
        services = dict.fromkeys(
            [incident.service, *incident.services, *("/".join(one.split("/")[:3]) for one in suspects)]
        )
        found: dict[int, Recorded] = {}
        for row in await self._store.journal(subject=incident.key, last=True, limit=EVENTS_MAX):
            if _is_under(row, incident.key) and row.event.type not in _OWN_EVENTS:
                found[row.sequence] = row
        for service in list(services)[:SERVICES_MAX]:
            rows = await self._store.journal(subject=service, types=TYPES, last=True, limit=EVENTS_MAX)
            for row in rows:
                if _is_under(row, service) and start <= row.at <= end and _is_telling(row):
                    found[row.sequence] = row
        return [found[sequence] for sequence in sorted(found)]

    # -- what users got ---------------------------------------------------------------------------

    async def _impacts(self, incident: Incident) -> list[Impact]:
        start = incident.onset_at
        end = incident.cleared_at or incident.resolved_at or start
        impacts = []
        for service in dict.fromkeys([incident.service, *incident.services]):
            objectives, _ = await self._store.scan(Objective, f"{service}/")
            for objective in objectives:
                bad, total = await self._counted(objective, start, max(start, end))
                if total > 0:
                    budget, _ = await self._store.get(Budget, objective.key)
                    allowed = budget.allowed if budget else None
                    impacts.append(Impact(objective=objective.key, bad=bad, total=total, allowed=allowed))
        return impacts

    async def _ledgers(self, incident: Incident) -> list[SpendLedger]:
        found: list[SpendLedger] = []
        for service in list(dict.fromkeys([incident.service, *incident.services]))[:SERVICES_MAX]:
            found += (await self._store.scan(SpendLedger, f"{service}/"))[0]
        return found

    async def _counted(self, objective: Objective, start: datetime, end: datetime) -> tuple[float, float]:
        """(bad, all) events of an objective in (start, end]."""
        if objective.indicator is IndicatorKind.QUERY:
            return await self._queried(objective, start, end)
        if objective.indicator not in (IndicatorKind.AVAILABILITY, IndicatorKind.LATENCY):
            return 0.0, 0.0
        service = {"service": objective.service}
        if objective.indicator is IndicatorKind.AVAILABILITY:
            total = await self._sum(REQUESTS_TOTAL, service, start, end)
            return await self._sum(ERRORS_TOTAL, service, start, end), total
        newest = await self._signals.latest(LATENCY_BUCKET, service)
        bounds = {dict(points.series.labels)["le"] for points in newest}
        within = _bound(bounds, objective.threshold_ms or 0.0)
        total = await self._sum(LATENCY_BUCKET, service | {"le": "+Inf"}, start, end)
        if within is None:
            return 0.0, 0.0
        return max(0.0, total - await self._sum(LATENCY_BUCKET, service | {"le": within}, start, end)), total

    async def _queried(self, objective: Objective, start: datetime, end: datetime) -> tuple[float, float]:
        total = good = 0.0
        for role, (to_all, to_good) in weights(objective).items():
            grown = await self._sum(QUERY_TOTAL, {"objective": objective.key, "role": role}, start, end)
            total, good = total + to_all * grown, good + to_good * grown
        return max(0.0, total - good), total

    async def _sum(self, name: str, labels: dict[str, str], start: datetime, end: datetime) -> float:
        found = await self._signals.select(name, labels, start, end)
        window = (start.timestamp(), end.timestamp())
        return sum(grown for points in found for _, grown in increments(points, *window))


def _is_settled(incident: Incident, diagnosis: Diagnosis | None, now: datetime) -> bool:
    """Whether nothing more will come that a draft says; a diagnosis that came late has its time too."""
    if incident.resolved_at is None:
        return False
    last = max(incident.resolved_at, diagnosis.at if diagnosis else incident.resolved_at)
    return (now - last).total_seconds() > SETTLED_S


def _bound(bounds: Iterable[str], threshold_ms: float) -> str | None:
    """The largest bucket bound that is within the threshold."""
    return max((one for one in bounds if float(one) <= threshold_ms), key=float, default=None)


def _is_under(row: Recorded, key: str) -> bool:
    return row.event.subject == key or row.event.subject.startswith(f"{key}/")


def _is_telling(row: Recorded) -> bool:
    """Of the gate's answers, only one that was forced belongs to the story."""
    return row.event.type != event_types.GATE_ANSWERED or row.event.data.get("override") is not None
