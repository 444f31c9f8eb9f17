"""What people's words and time do to one incident. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.model import event_types
from poise.model.incident import Incident, IncidentOrder, IncidentState, IncidentVerb, Severity
from poise.model.record import Event
from poise.model.service import Detection

POISE: Final = "poise"


class Refused(Struct, frozen=True, kw_only=True):
    """Why a word cannot be followed, and what can be said instead."""

    why: str
    mend: str


def refusal(incident: Incident, verb: IncidentVerb, text: str = "") -> Refused | None:
    """Whether ``verb`` may be said of the incident as it stands; None when it may."""
    state, n = incident.state, incident.n
    if state is IncidentState.MERGED:
        return Refused(
            why=f"it is part of incident {incident.merged_into}",
            mend=f"Run: poise incident show {incident.merged_into}",
        )
    if verb is IncidentVerb.NOTE:
        return None
    if verb is IncidentVerb.REOPEN:
        if state is IncidentState.RESOLVED:
            return None
        return Refused(why=f"it is {state}, not resolved", mend=f"Run: poise incident show {n}")
    if state is IncidentState.RESOLVED:
        return Refused(why="it is resolved", mend=f"Run: poise incident reopen {n}")
    if verb is IncidentVerb.ACKNOWLEDGE and state is not IncidentState.OPEN:
        return Refused(
            why=f"{incident.acknowledged_by or 'somebody'} has acknowledged it",
            mend=f"Say more: poise incident note {n} '...'",
        )
    if verb is IncidentVerb.MITIGATE and state is IncidentState.MITIGATED:
        return Refused(why="it is mitigated", mend=f"Run: poise incident resolve {n}")
    if verb is IncidentVerb.SEVERITY and text not in list(Severity):
        return Refused(why=f"'{text}' is no severity", mend="Use sev1, sev2 or sev3.")
    if verb is IncidentVerb.MERGE and (not text.isdecimal() or int(text) == n):
        return Refused(why=f"'{text}' is no other incident's number", mend="Run: poise incident list")
    return None


def followed(incident: Incident, orders: Sequence[IncidentOrder]) -> tuple[Incident, list[Event]]:
    """The incident after what people said, in order, with an event for each word."""
    events = []
    for order in orders:
        refused = refusal(incident, order.verb, order.text)
        if refused is None:
            incident, event = _follow(incident, order)
        else:
            said = f"{order.by} could not {order.verb} incident {incident.n}: {refused.why}"
            event = Event(type=event_types.ORDER_REFUSED, subject=incident.key, summary=said, actor=order.by)
        events.append(event)
        incident = replace(incident, orders_seen=order.k)
    return incident, events


def _follow(incident: Incident, order: IncidentOrder) -> tuple[Incident, Event]:
    by, at, n, text = order.by, order.at, incident.n, order.text
    because = f": {text}" if text else ""
    match order.verb:
        case IncidentVerb.ACKNOWLEDGE:
            after = replace(
                incident, state=IncidentState.ACKNOWLEDGED, acknowledged_at=at, acknowledged_by=by
            )
            kind, said = event_types.INCIDENT_ACKNOWLEDGED, f"{by} acknowledged incident {n}{because}"
        case IncidentVerb.MITIGATE:
            after = replace(
                incident,
                state=IncidentState.MITIGATED,
                mitigated_at=at,
                acknowledged_at=incident.acknowledged_at or at,
                acknowledged_by=incident.acknowledged_by or by,
            )
            kind, said = event_types.INCIDENT_MITIGATED, f"{by} mitigated incident {n}{because}"
        case IncidentVerb.RESOLVE:
            after = replace(incident, state=IncidentState.RESOLVED, resolved_at=at, resolved_by=by)
            kind, said = event_types.INCIDENT_RESOLVED, f"{by} resolved incident {n}{because}"
        case IncidentVerb.REOPEN:
            after = reopened(incident)
            kind, said = event_types.INCIDENT_REOPENED, f"{by} reopened incident {n}{because}"
        case IncidentVerb.NOTE:
            after, kind, said = incident, event_types.INCIDENT_NOTED, f"{by}: {text}"
        case IncidentVerb.SEVERITY:
            after = replace(incident, severity=Severity(text))
            kind, said = event_types.INCIDENT_RATED, f"{by} rated incident {n} {text}"
        case IncidentVerb.MERGE:
            after = replace(incident, state=IncidentState.MERGED, merged_into=int(text))
            kind, said = event_types.INCIDENT_MERGED, f"{by} made incident {n} part of incident {text}"
    event = Event(
        type=kind, subject=incident.key, summary=said, actor=by,
        data={"verb": order.verb, "text": text, "state": after.state, "severity": after.severity},
    )  # fmt: skip
    return after, event


def reopened(incident: Incident) -> Incident:
    """Open again, and somebody has to acknowledge it again."""
    return replace(
        incident,
        state=IncidentState.OPEN,
        acknowledged_at=None,
        acknowledged_by=None,
        mitigated_at=None,
        cleared_at=None,
        resolved_at=None,
        resolved_by=None,
    )


def closes_at(incident: Incident, timing: Detection) -> datetime | None:
    """When it resolves itself if nothing fires again; None while something fires or it is over."""
    if incident.state.is_final or incident.cleared_at is None:
        return None
    return incident.cleared_at + timedelta(seconds=timing.close_after_s)


def closed(incident: Incident, now: datetime) -> tuple[Incident, Event]:
    """It was clear for long enough."""
    after = replace(incident, state=IncidentState.RESOLVED, resolved_at=now, resolved_by=POISE)
    clear_s = (now - (incident.cleared_at or now)).total_seconds()
    said = f"incident {incident.n} is resolved: nothing of it has fired for {clear_s:.0f} s"
    return after, Event(
        type=event_types.INCIDENT_RESOLVED,
        subject=incident.key,
        summary=said,
        data={
            "state": after.state,
            "severity": after.severity,
            "cleared_at": incident.cleared_at.isoformat() if incident.cleared_at else None,
        },
    )
