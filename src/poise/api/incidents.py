"""Routes of incidents and alerts: who reads them, and what people say in them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta, Struct

from poise.api import access
from poise.api.asks import Name
from poise.api.idempotency import create_patiently
from poise.api.params import After, Cursor, Flag, Limit, Number, Part
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.api.timeline import Entry, timeline
from poise.api.views import Created, Page
from poise.model.access import Role
from poise.model.errors import NotFound
from poise.model.incident import (
    Alert,
    AlertState,
    Diagnosis,
    Escalation,
    Incident,
    IncidentState,
    IncidentVerb,
    Severity,
)
from poise.model.incident import Page as PageSent
from poise.model.record import Decision
from poise.reliability.incident.controller import give_order, open_by_hand

LISTED: Final = 5000  # the newest incidents that a list looks through
ALERTS_SHOWN: Final = 20
PAGES_SHOWN: Final = 100
_PROJECT: Final = "/api/v1/projects/{project:str}"
_INCIDENT: Final = _PROJECT + "/incidents/{n:int}"
_DEVELOPERS_SAY: Final = (IncidentVerb.ACKNOWLEDGE, IncidentVerb.NOTE)

Asked = Request[Any, Any, Any]
Text = Annotated[str, Meta(max_length=2000)]
Which = Annotated[str, QueryParameter(name="state", max_length=20)]


class SayInIncident(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word; ``text`` is the note, the new severity, or the number that it is part of."""

    verb: IncidentVerb
    text: Text = ""


class OpenIncident(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trouble that a person saw before any alert did."""

    service: Name
    title: Annotated[str, Meta(min_length=3, max_length=200)]
    severity: Severity = Severity.SEV2
    environment: Name = "production"


class IncidentView(Struct, frozen=True, kw_only=True):
    """An incident with all that its page shows beside the timeline; ``alerts`` are the newest."""

    incident: Incident
    sentence: str
    alerts: tuple[Alert, ...] = ()
    diagnosis: Diagnosis | None = None
    escalation: Escalation | None = None
    pages: tuple[PageSent, ...] = ()


@get(_PROJECT + "/incidents", opt={"permission": "viewer"})
async def list_incidents(
    request: Asked, project: Part, which: Which = "", cursor: Cursor = "", limit: Limit = 100
) -> Page[Incident]:
    """Incidents, those that need somebody first, then the newest first. ``state``: ``open`` or a state."""
    found, _ = await parts_of(request).store.scan(Incident, f"{project}/", last=True, limit=LISTED)
    wanted = [one for one in found if _is_wanted(one, which)]
    wanted.sort(key=_place)
    if cursor:
        final, _, n = cursor.partition(":")
        past = (final == "final", -int(n) if n.isdecimal() else 0)
        wanted = [one for one in wanted if _place(one) > past]
    page = wanted[:limit]
    more = f"{'final' if page[-1].state.is_final else 'open'}:{page[-1].n}" if len(wanted) > limit else None
    return Page(items=page, next=more)


def _place(incident: Incident) -> tuple[bool, int]:
    return (incident.state.is_final, -incident.n)


def _is_wanted(incident: Incident, state: str) -> bool:
    if state == "open":
        return not incident.state.is_final
    return not state or incident.state == state


@get(_INCIDENT, opt={"permission": "viewer"})
async def get_incident(request: Asked, project: Part, n: Number) -> Response[IncidentView]:
    """One incident with its newest alerts, pages and what is suspected."""
    store = parts_of(request).store
    incident, etag = await _incident(parts_of(request), project, n)
    alerts = [(await store.get(Alert, key))[0] for key in incident.alerts[:ALERTS_SHOWN]]
    view = IncidentView(
        incident=incident,
        sentence=sentence_of(incident),
        alerts=tuple(alert for alert in alerts if alert is not None),
        diagnosis=(await store.get(Diagnosis, incident.key))[0],
        escalation=(await store.get(Escalation, incident.key))[0],
        pages=tuple((await store.scan(PageSent, f"{incident.key}/", last=True, limit=PAGES_SHOWN))[0]),
    )
    return Response(view, headers={"ETag": etag})


@get(_INCIDENT + "/timeline", opt={"permission": "viewer"})
async def get_timeline(
    request: Asked, project: Part, n: Number, cursor: After = 0, limit: Limit = 100, newest: Flag = False
) -> Page[Entry]:
    """What happened, from an hour before the onset; ``newest``: the last ones before ``cursor``."""
    parts = parts_of(request)
    incident, _ = await _incident(parts, project, n)
    return await timeline(parts.store, incident, cursor=cursor, limit=limit, newest=newest)


@get(_PROJECT + "/alerts", opt={"permission": "viewer"})
async def list_alerts(
    request: Asked, project: Part, firing: Flag = False, cursor: Cursor = "", limit: Limit = 100
) -> Page[Alert]:
    """Alerts by key, Poise's own and those of other systems."""
    store, found = parts_of(request).store, list[Alert]()
    while len(found) <= limit:
        page, _ = await store.scan(Alert, f"{project}/", after=cursor, limit=500)
        found += [one for one in page if not firing or one.state is AlertState.FIRING]
        if len(page) < 500:
            break
        cursor = page[-1].key
    return Page(items=found[:limit], next=found[limit - 1].key if len(found) > limit else None)


@post(_INCIDENT + "/orders", opt={"permission": "developer", "once": True})
async def say_in_incident(request: Asked, project: Part, n: Number, data: JSONBody[SayInIncident]) -> Created:
    """Acknowledge or note (developer); mitigate, resolve, reopen, rate or merge (operator)."""
    parts, asker = parts_of(request), request.scope["user"]
    if data.verb not in _DEVELOPERS_SAY:
        access.check(asker, Role.OPERATOR, project)

    async def make() -> tuple[Decision, Created]:
        decision = await give_order(
            parts.store,
            key=f"{project}/{n:06d}",
            verb=data.verb,
            by=asker.name,
            text=data.text,
            now=parts.clock.now(),
        )
        return decision, Created(key=decision.writes[0].key, sentence=f"{asker.name}: {data.verb} {n}.")

    return await create_patiently(request, parts, data, Created, make)


@post(_PROJECT + "/incidents", opt={"permission": "developer", "once": True})
async def open_incident(request: Asked, project: Part, data: JSONBody[OpenIncident]) -> Created:
    """Open an incident by hand; alerts of its service join it."""
    parts, asker = parts_of(request), request.scope["user"]

    async def make() -> tuple[Decision, Created]:
        decision, incident = await open_by_hand(
            parts.store,
            service=f"{project}/{data.environment}/{data.service}",
            title=data.title,
            severity=data.severity,
            by=asker.name,
            now=parts.clock.now(),
        )
        return decision, Created(key=incident.key, sentence=decision.events[0].summary)

    return await create_patiently(request, parts, data, Created, make)


async def _incident(parts: Parts, project: str, n: int) -> tuple[Incident, str]:
    incident, ref = await parts.store.get(Incident, f"{project}/{n:06d}")
    if incident is None:
        raise NotFound("POISE-I404", f"no incident {n} of {project}", mend="Run: poise incident list")
    return incident, f'"{ref.generation}"'


def sentence_of(incident: Incident) -> str:
    """How it stands, in words."""
    n, what = incident.n, f"({incident.severity}) {incident.title}"
    match incident.state:
        case IncidentState.OPEN:
            return f"Incident {n} {what}: nobody has acknowledged it."
        case IncidentState.ACKNOWLEDGED:
            return f"Incident {n} {what}: {incident.acknowledged_by} is on it."
        case IncidentState.MITIGATED:
            return f"Incident {n} {what}: users are well again, the cause is still there."
        case IncidentState.RESOLVED:
            return f"Incident {n} {what}: resolved by {incident.resolved_by}."
        case IncidentState.MERGED:
            return f"Incident {n} is part of incident {incident.merged_into}."


ROUTES = [
    list_incidents, get_incident, get_timeline, list_alerts, say_in_incident, open_incident,
]  # fmt: skip
