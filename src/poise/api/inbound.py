"""What other systems tell: alerts of Alertmanager, and CloudEvents. Told twice is told once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, TypeVar

from litestar import Request, post
from msgspec import Struct

from poise.adapters import alertmanager, cdevents
from poise.adapters.cdevents import Incoming
from poise.api.forges import REMEMBERED, forgotten, headers_of, remembered
from poise.api.params import Part
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.model.alerting import NO_SERVICE, Place
from poise.model.errors import NotFound
from poise.model.event_types import ALERT_FIRING, ALERT_RESOLVED, ALERTS_TRUNCATED
from poise.model.exchange import Delivery
from poise.model.incident import Alert, AlertSource, AlertState, Severity
from poise.model.record import Event, Ref, Write
from poise.model.service import Project, Service
from poise.ports.store import Stale, Transaction

CHUNK: Final = 250  # objects in one transaction: what the writer holds the store for
ATTEMPTS: Final = 5
ORIGIN: Final = "cdevents"
SUMMARY_CHARS: Final = 200
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_PROJECT: Final = "/api/v1/projects/{project:str}"
_INCIDENT: Final = re.compile(r"dev\.cdevents\.incident\.(detected|reported|resolved)\.")

Asked = Request[Any, Any, Any]
T = TypeVar("T")


class AlertsTaken(Struct, frozen=True, kw_only=True):
    """How many alerts of a payload began, ended, or said nothing new; how many the sender left out."""

    firing: int
    resolved: int
    repeated: int
    truncated: int


class EventsTaken(Struct, frozen=True, kw_only=True):
    """How many events were stored, had been before, and are of types that Poise does not know."""

    stored: int
    repeated: int
    unknown: int


@post(_PROJECT + "/webhooks/alertmanager", opt={"permission": "developer"}, status_code=200)
async def receive_alerts(request: Asked, project: Part) -> AlertsTaken:
    """A notification of Alertmanager (webhook version 4). Repeats change nothing."""
    parts, asker = parts_of(request), request.scope["user"].name
    said = alertmanager.read(await request.body())
    place = await _place(parts, project)
    told = alertmanager.alerts(said, place, parts.clock.now())
    counts = [0, 0]
    for chunk in _chunks(told):
        firing, resolved = await _again(lambda chunk=chunk: _write_alerts(parts, chunk, asker))  # type: ignore[misc]
        counts = [counts[0] + firing, counts[1] + resolved]
    if said.truncated_alerts > 0:
        summary = f"Alertmanager left out {said.truncated_alerts} alerts of a group."
        event = Event(
            type=ALERTS_TRUNCATED, subject=project, summary=summary, actor=asker,
            data={"truncated": said.truncated_alerts, "group": said.group_key[:SUMMARY_CHARS]},
        )  # fmt: skip
        await parts.store.commit(Transaction(at=parts.clock.now(), events=[event]))
    return AlertsTaken(
        firing=counts[0],
        resolved=counts[1],
        repeated=len(said.alerts) - sum(counts),
        truncated=max(0, said.truncated_alerts),
    )


@post(_PROJECT + "/events", opt={"permission": "developer"}, status_code=202)
async def receive_events(request: Asked, project: Part) -> EventsTaken:
    """CloudEvents, structured, binary or as a batch. Known CDEvents are checked; others are kept as they are.

    All events of a request are good, or none is stored.
    """
    parts, asker = parts_of(request), request.scope["user"].name
    body = await request.body()
    headers = {name: values[-1] for name, values in headers_of(request).items()}
    told = cdevents.read(headers.get("content-type", ""), headers, body)
    place = await _place(parts, project)
    once = {_digest(event): event for event in told}
    fresh: list[Incoming] = []
    for chunk in _chunks(list(once.items())):
        fresh += await _again(lambda chunk=chunk: _write_events(parts, chunk, place, asker))  # type: ignore[misc]
    return EventsTaken(
        stored=len(fresh),
        repeated=len(told) - len(fresh),
        unknown=sum(not event.known for event in fresh),
    )


async def _write_alerts(parts: Parts, told: Sequence[Alert], asker: str) -> tuple[int, int]:
    reads, writes, events = [], [], []
    for alert in told:
        known, ref = await parts.store.get(Alert, alert.key)
        after = alertmanager.merged(known, alert)
        if after is not None:
            reads.append(ref)
            writes.append(Write(kind="Alert", key=after.key, body=after))
            events.append(alert_event(after, asker))
    if writes:
        await parts.store.commit(Transaction(at=parts.clock.now(), reads=reads, writes=writes, events=events))
    firing = sum(event.type == ALERT_FIRING for event in events)
    return firing, len(events) - firing


def alert_event(alert: Alert, actor: str) -> Event:
    """That an alert fires or has ended."""
    firing = alert.state is AlertState.FIRING
    return Event(
        type=ALERT_FIRING if firing else ALERT_RESOLVED,
        subject=alert.key,
        summary=f"{alert.summary}" if firing else f"ended: {alert.summary}",
        actor=actor,
        data={
            "source": alert.source.value,
            "severity": alert.severity.value,
            "started_at": alert.started_at.isoformat(),
            "count": alert.count,
        },
    )


async def _write_events(
    parts: Parts, told: Sequence[tuple[str, Incoming]], place: Place, asker: str
) -> list[Incoming]:
    """Store those that are new, each with its delivery; what was stored."""
    now, project = parts.clock.now(), place.project
    reads: list[Ref] = []
    writes: list[Write] = []
    events: list[Event] = []
    fresh: list[Incoming] = []
    for digest, event in told:
        known, ref = await parts.store.get(Delivery, f"{project}/{ORIGIN}/{digest}")
        if known is not None:
            continue
        fresh.append(event)
        reads.append(ref)
        writes += remembered(project, ORIGIN, (digest,), now + REMEMBERED)
        events.append(_recorded(event, place, asker))
        if alert := _alert_of(event, place, now):
            writes.append(Write(kind="Alert", key=alert.key, body=alert))
            events.append(alert_event(alert, asker))
    if fresh:
        writes += await forgotten(parts, project, ORIGIN, told[0][0])
        await parts.store.commit(Transaction(at=now, reads=reads, writes=writes, events=events))
    return fresh


def _recorded(event: Incoming, place: Place, asker: str) -> Event:
    """The journal's entry: the type as it came, the event whole under ``event``."""
    kind = event.type.removeprefix(cdevents.CDEVENTS)
    summary = f"{event.source} says: {kind} of {event.subject or _subject_id(event)}"
    return Event(
        type=event.type,
        subject=_subject(event, place.project),
        summary=summary[:SUMMARY_CHARS],
        actor=asker,
        data={
            "external": True,
            "known": event.known,
            "id": event.id,
            "source": event.source,
            "timestamp": event.at.isoformat() if event.at else None,
            "event": event.data,
        },
    )


def _alert_of(event: Incoming, place: Place, now: datetime) -> Alert | None:
    """An incident that another system reports is a condition to look at here."""
    match = _INCIDENT.match(event.type)
    if match is None or not event.known:
        return None
    environment, service = cdevents.place_of(event)
    where = environment if environment in place.environments else place.environments[-1]
    named = service if f"{where}/{service}" in place.services else NO_SERVICE
    content = event.data["subject"]["content"]
    said = str(content.get("description") or f"{event.source} reports an incident")[:SUMMARY_CHARS]
    at = min(event.at or now, now)
    resolved = match[1] == "resolved"
    return Alert(
        service=f"{place.project}/{where}/{named}",
        name=f"cdevents:{sha256(_subject_id(event).encode()).hexdigest()[:16]}",
        source=AlertSource.CDEVENTS,
        severity=Severity.SEV2,
        state=AlertState.RESOLVED if resolved else AlertState.FIRING,
        summary=" ".join(said.split()),
        labels={"incident": _subject_id(event)[:SUMMARY_CHARS], "source": event.source[:SUMMARY_CHARS]},
        started_at=at,
        seen_at=now,
        ended_at=at if resolved else None,
    )


def _subject(event: Incoming, project: str) -> str:
    environment, service = cdevents.place_of(event) if event.known else ("", "")
    if _NAME.fullmatch(environment) and _NAME.fullmatch(service):
        return f"{project}/{environment}/{service}"
    return project


def _subject_id(event: Incoming) -> str:
    subject = event.data.get("subject")
    return str(subject.get("id", "")) if isinstance(subject, dict) else ""


def _digest(event: Incoming) -> str:
    return sha256(f"{event.source}\0{event.id}".encode()).hexdigest()[:32]


async def _place(parts: Parts, name: str) -> Place:
    project, _ = await parts.store.get(Project, name)
    if project is None:
        raise NotFound("POISE-E404", f"no project {name}", mend="Run: poise up")
    services, _ = await parts.store.scan(Service, f"{name}/")
    return Place(
        project=name,
        environments=project.environments,
        services={f"{service.environment}/{service.name}" for service in services},
    )


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), CHUNK):
        yield items[first : first + CHUNK]


async def _again(work: Callable[[], Any]) -> Any:
    """Do it over when something changed in between; the other told may have been told the same."""
    for attempt in range(ATTEMPTS):
        try:
            return await work()
        except Stale:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


ROUTES = [receive_alerts, receive_events]
