"""The timeline of an incident, made from the journal when it is read: nobody writes it by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from poise.api.views import Page
from poise.model import event_types as types
from poise.model.incident import Incident
from poise.model.record import Recorded
from poise.ports.store import Store

BEFORE_S: Final = 3600.0  # so long before the onset a change may matter

_DEPLOY: Final = (
    types.SERVICE_DEPLOYED, types.SERVICE_UPGRADED, types.SERVICE_ROLLED_BACK, types.SERVICE_REMOVED,
    types.ROLLOUT_CREATED, types.ROLLOUT_STARTED, types.ROLLOUT_STEPPED, types.ROLLOUT_ROLLING_BACK,
    types.ROLLOUT_FAILED, types.ROLLBACK_REQUESTED, types.ORDER_TAKEN, types.ORDER_REFUSED,
)  # fmt: skip
_CONFIG: Final = (types.CONFIG_CHANGED, types.SECRET_CHANGED, types.REDECLARED, types.UNDECLARED)
_VERDICT: Final = (types.GATE_ANSWERED, types.ROLLOUT_HELD, types.OVERRIDE_CREATED)
_HEAL: Final = (
    types.HEAL_ORDERED,
    types.HEAL_WITHHELD,
    types.HEAL_SPENT,
    types.REPLICA_REPLACED,
    types.REPLICA_KILLED,
)
_SCALE: Final = (types.SCALE_CHANGED, types.SCALE_WITHHELD)
_OF_SERVICE: Final = {
    types.ALERT_FIRING: "alert",
    types.ALERT_RESOLVED: "alert",
    types.BUDGET_CHANGED: "burn",
    types.DRIFT_FOUND: "drift",
    **dict.fromkeys(_DEPLOY, "deploy"),
    **dict.fromkeys(_CONFIG, "config"),
    **dict.fromkeys(_VERDICT, "verdict"),
    **dict.fromkeys(_HEAL, "heal"),
    **dict.fromkeys(_SCALE, "scale"),
}
_OF_INCIDENT: Final = {
    types.INCIDENT_NOTED: "note",
    types.PAGE_ASKED: "page",
    types.PAGE_SENT: "page",
    types.PAGE_FAILED: "page",
    types.PAGE_NOBODY: "page",
    types.ESCALATED: "page",
    types.CAUSE_DIAGNOSED: "cause",
    types.REVIEW_DRAFTED: "review",
    types.REVIEW_EDITED: "review",
    types.REVIEW_PUBLISHED: "review",
    types.ACTION_ADDED: "review",
    types.ACTION_DONE: "review",
}
_OF_LIFE: Final = (
    types.INCIDENT_DETECTED, types.INCIDENT_JOINED, types.INCIDENT_ACKNOWLEDGED, types.INCIDENT_MITIGATED,
    types.INCIDENT_REOPENED, types.INCIDENT_RESOLVED, types.INCIDENT_MERGED,
    types.INCIDENT_RATED,
)  # fmt: skip


class Entry(Struct, frozen=True, kw_only=True):
    """One line: what happened, who did it, and which event of the journal says so.

    ``kind`` is alert, burn, deploy, config, verdict, heal, scale, drift, incident, page, note, cause or
    review. ``subject`` is the key of what it is about.
    """

    sequence: int
    at: datetime
    kind: str
    sentence: str
    actor: str
    subject: str
    type: str


async def timeline(
    store: Store,
    incident: Incident,
    *,
    cursor: int = 0,
    limit: int = 100,
    newest: bool = False,
    kind: str = "",
) -> Page[Entry]:
    """One page, ascending by sequence, after ``cursor``; with ``newest`` the last ones before ``cursor``.

    ``kind`` shows lines of that kind alone; of "alert" and "burn", which share types, a page may hold fewer
    than ``limit``. Cost: a few index look-ups for the window, then a page of each service.
    """
    first = await first_after(store, incident.onset_at - timedelta(seconds=BEFORE_S))
    until = 0 if incident.resolved_at is None else await first_after(store, incident.resolved_at)
    rows: list[Recorded] = []
    for subject, wanted, end in _streams(incident, until, kind):
        low, high = (first - 1, _sooner(end, cursor)) if newest else (max(first - 1, cursor), end)
        rows += [
            row
            for row in await store.journal(
                after=low, before=high, limit=limit + 1, subject=subject, types=wanted, last=newest
            )
            if _is_under(row.event.subject, subject)
        ]
    rows.sort(key=lambda row: row.sequence)
    more = len(rows) > limit
    page = rows[-limit:] if newest else rows[:limit]
    edge = (page[0] if newest else page[-1]).sequence if page and more else None
    entries = [one for one in map(_entry, page) if not kind or one.kind == kind]
    return Page(items=entries, next=None if edge is None else str(edge))


def _sooner(end: int, cursor: int) -> int:
    return min(end, cursor) if end and cursor else end or cursor


def _streams(incident: Incident, until: int, kind: str) -> list[tuple[str, tuple[str, ...], int]]:
    """(subject, types, end): all of the incident's own; of its services until it was resolved."""
    own, of_service = _types(kind)
    found: list[tuple[str, tuple[str, ...], int]] = []
    if own or not kind:
        found.append((incident.key, own, 0))
    if not of_service:
        return found
    for service in incident.services:
        if service.endswith("/-"):  # only its own alerts of those whose service nobody knows
            found += [(alert, of_service, until) for alert in incident.alerts if alert.startswith(service)]
        else:
            found.append((service, of_service, until))
    return found


def _types(kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The types of lines of a kind: of the incident (none: all there are), and of its services."""
    if not kind:
        return (), tuple(_OF_SERVICE)
    if kind == "incident":
        return _OF_LIFE, ()
    sought = {kind, "alert"} if kind == "burn" else {kind}
    of_service = tuple(type_ for type_, told in _OF_SERVICE.items() if told in sought)
    return tuple(type_ for type_, told in _OF_INCIDENT.items() if told == kind), of_service


def _is_under(subject: str, prefix: str) -> bool:
    return subject == prefix or subject.startswith(prefix + "/")


def _entry(row: Recorded) -> Entry:
    event = row.event
    kind = _OF_INCIDENT.get(event.type) or _OF_SERVICE.get(event.type) or "incident"
    if kind == "alert" and "/burn/" in event.subject:
        kind = "burn"
    return Entry(
        sequence=row.sequence,
        at=row.at,
        kind=kind,
        sentence=event.summary,
        actor=event.actor,
        subject=event.subject,
        type=event.type,
    )


async def first_after(store: Store, at: datetime) -> int:
    """The sequence of the first event later than ``at`` (one above the last when there is none).

    Instants never retreat along the journal, so it is found by halving.
    """
    newest = await store.journal(limit=1, last=True)
    low, high = 0, newest[0].sequence if newest else 0
    while low < high:
        middle = (low + high) // 2
        row = (await store.journal(after=middle, limit=1))[0]
        if row.at > at:
            high = middle
        else:
            low = middle + 1
    return low + 1
