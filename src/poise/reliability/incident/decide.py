"""Incidents from groups of alerts: opened, joined, merged, raised, cleared and reopened. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from poise.model import event_types
from poise.model.incident import Alert, AlertGroup, Incident, IncidentOrder, IncidentState, Severity
from poise.model.record import Decision, Event, Read, Ref, Write
from poise.model.service import Detection, Service
from poise.reliability.incident import lifecycle
from poise.reliability.incident.grouping import (
    NEWEST,
    deepest,
    owner,
    parts,
    place,
    rank,
    summed_up,
    worst,
)


class Seen(Struct, frozen=True, kw_only=True):
    """One environment. ``alerts`` are all of ``owner``; None when they are as ``groups`` sums them up.

    ``next_n`` is the number of the next incident, ``absent`` proves that it is free. ``rollouts`` maps a
    service to the rollout that was live at the onset of its alerts.
    """

    project: str
    environment: str
    owner: str
    timing: Detection = Detection()
    services: dict[str, Service] = {}
    alerts: tuple[Alert, ...] | None = None
    groups: tuple[AlertGroup, ...] = ()
    incidents: dict[int, Incident] = {}
    rollouts: dict[str, int] = {}
    next_n: int = 1
    reads: tuple[Read, ...] = ()


class _Work:
    """What is being decided: groups and incidents as they shall be, and what is told of it."""

    def __init__(self, seen: Seen) -> None:
        self.groups = {group.key: group for group in seen.groups}
        self.incidents = dict(seen.incidents)
        self.events: list[Event] = []
        self.wakes: list[datetime] = []
        self.next_n = seen.next_n

    def tell(self, kind: str, incident: Incident, said: str, **data: object) -> None:
        facts: dict[str, object] = {
            "state": incident.state,
            "severity": incident.severity,
            "service": incident.service,
            "services": list(incident.services),
            "rollouts": incident.rollouts,  # what was live at the onset: the link to deployments
            "onset_at": incident.onset_at.isoformat(),
        }
        self.events.append(Event(type=kind, subject=incident.key, summary=said, data=facts | data))


def decide(seen: Seen, now: datetime) -> Decision:
    """Groups and incidents of one environment after the alerts of one service changed."""
    work = _Work(seen)
    if seen.alerts is not None:
        _sum_up(seen, work)
    covered = _settle_final(seen, work, now)
    active = [group for key, group in work.groups.items() if key not in covered]
    for part in parts(active, seen.services, seen.timing.group_window_s):
        _gather(seen, work, part, now)
    for n, incident in sorted(work.incidents.items()):
        if not incident.state.is_final:
            work.incidents[n] = _brought_up_to_date(seen, work, incident, now)
    return _decision(seen, work, now)


def _decision(seen: Seen, work: _Work, now: datetime) -> Decision:
    before = {group.key: group for group in seen.groups}
    writes = [
        Write(kind="Incident", key=one.key, body=one)
        for n, one in sorted(work.incidents.items())
        if seen.incidents.get(n) != one
    ]
    reads: list[Read] = [
        Ref("Incident", write.key, 0)
        for write in writes
        if isinstance(write.body, Incident) and write.body.n >= seen.next_n
    ]
    for key in sorted({*before, *work.groups}):
        if before.get(key) != work.groups.get(key):
            writes.append(Write(kind="AlertGroup", key=key, body=work.groups.get(key)))
    return Decision(
        reads=(*seen.reads, *reads),
        writes=tuple(writes),
        events=tuple(work.events),
        wake_at=min((at for at in work.wakes if at > now), default=None),
    )


def _sum_up(seen: Seen, work: _Work) -> None:
    """The groups of the owner's alerts, as they are now."""
    found: dict[tuple[str, str], list[Alert]] = {}
    for alert in seen.alerts or ():
        found.setdefault(place(alert, seen.services), []).append(alert)
    mine = {(group.service, group.group) for group in seen.groups if owner(group) == seen.owner}
    for where in sorted({*found, *mine}):
        key = f"{where[0]}/{where[1]}"
        before = work.groups.get(key)
        made = summed_up(where, found.get(where, ()), *_episode(seen, before, found.get(where, ())))
        if made is None:
            work.groups.pop(key, None)
        else:
            work.groups[key] = made


def _episode(
    seen: Seen, before: AlertGroup | None, alerts: Sequence[Alert]
) -> tuple[AlertGroup | None, datetime | None]:
    """What went before: nothing, once its incident is over for so long that what fires now is another."""
    if before is None:
        return None, None
    incident = seen.incidents.get(before.incident) if before.incident is not None else None
    over_at = incident.resolved_at if incident is not None and incident.state.is_final else None
    if over_at is None:
        return before, before.after
    fresh = [alert.seen_at for alert in alerts if alert.seen_at > over_at and alert.ended_at is None]
    late = fresh and (min(fresh) - over_at).total_seconds() > seen.timing.reopen_within_s
    return (None, over_at) if late else (before, before.after)


def _settle_final(seen: Seen, work: _Work, now: datetime) -> set[str]:
    """Groups of incidents that are over: reopened, followed into a merge, forgotten, else covered."""
    covered = set()
    for key, group in list(work.groups.items()):
        incident = _survivor(work, group.incident)
        if incident is None:
            work.groups[key] = replace(group, incident=None)
            continue
        if incident.n != group.incident:
            group = work.groups[key] = replace(group, incident=incident.n)
        over_at = incident.resolved_at
        if not incident.state.is_final or over_at is None:
            continue
        until = over_at + timedelta(seconds=seen.timing.reopen_within_s)
        if group.firing and group.fired_at > over_at:
            _reopen(work, incident, group)
        elif not group.firing and now >= until:
            del work.groups[key]
        else:
            covered.add(key)
            work.wakes.append(until)
    return covered


def _survivor(work: _Work, n: int | None) -> Incident | None:
    """The incident that ``n`` lives on in."""
    seen: set[int] = set()
    incident = work.incidents.get(n) if n is not None else None
    while incident is not None and incident.merged_into is not None and incident.n not in seen:
        seen.add(incident.n)
        incident = work.incidents.get(incident.merged_into)
    return incident


def _reopen(work: _Work, incident: Incident, group: AlertGroup) -> None:
    after = work.incidents[incident.n] = lifecycle.reopened(incident)
    said = f"incident {incident.n} is open again: {_short(group.service)}: {group.title}"
    work.tell(event_types.INCIDENT_REOPENED, after, said)


def _gather(seen: Seen, work: _Work, part: Sequence[AlertGroup], now: datetime) -> None:
    """One part is one incident: an open one that it joins, or after a short wait a new one."""
    numbers = {
        group.incident
        for group in part
        if group.incident is not None and not work.incidents[group.incident].state.is_final
    }
    if numbers:
        survivor = min(numbers)
        for n in sorted(numbers - {survivor}):
            _merge(work, n, survivor)
    elif not any(group.firing for group in part):
        for group in part:
            del work.groups[group.key]
        return
    else:
        opens_at = min(group.seen_at for group in part) + timedelta(seconds=seen.timing.group_wait_s)
        if now < opens_at:
            work.wakes.append(opens_at)
            return
        survivor = _open(seen, work, part, now)
    for group in part:
        if group.incident != survivor:
            work.groups[group.key] = replace(group, incident=survivor)


def _open(seen: Seen, work: _Work, part: Sequence[AlertGroup], now: datetime) -> int:
    n, work.next_n = work.next_n, work.next_n + 1
    chief = deepest(part, seen.services)
    severity = worst(group.severity for group in part if group.firing)
    incident = work.incidents[n] = Incident(
        project=seen.project,
        environment=seen.environment,
        n=n,
        title=_title(chief),
        severity=severity,
        service=chief.service,
        services=tuple(sorted({group.service for group in part})),
        alerts=_newest(part),
        alert_count=sum(group.count for group in part),
        rollouts=_rollouts(seen, part),
        onset_at=min(group.onset_at for group in part),
        opened_at=now,
    )
    others = len(incident.services) - 1
    more = f" ({others} more service{'s' if others > 1 else ''})" if others else ""
    said = f"incident {n} ({severity}) is open: {incident.title}{more}"
    work.tell(event_types.INCIDENT_DETECTED, incident, said, alerts=list(incident.alerts))
    return n


def _merge(work: _Work, n: int, into: int) -> None:
    """``n`` turned out to be of the same cause as ``into``; who acknowledged it has acknowledged both."""
    gone, kept = work.incidents[n], work.incidents[into]
    work.incidents[n] = replace(gone, state=IncidentState.MERGED, merged_into=into)
    if kept.state is IncidentState.OPEN and gone.acknowledged_at is not None:
        kept = replace(
            kept,
            state=IncidentState.ACKNOWLEDGED,
            acknowledged_at=gone.acknowledged_at,
            acknowledged_by=gone.acknowledged_by,
        )
    work.incidents[into] = replace(
        kept,
        severity=worst((kept.severity, gone.severity)),
        opened_at=min(kept.opened_at, gone.opened_at),
        rollouts=gone.rollouts | kept.rollouts,
    )
    said = f"incident {n} is part of incident {into}: their services depend on one another"
    work.tell(event_types.INCIDENT_MERGED, work.incidents[n], said, merged_into=into)
    work.tell(event_types.INCIDENT_JOINED, work.incidents[into], f"incident {n} is part of it", merged=n)


def _brought_up_to_date(seen: Seen, work: _Work, incident: Incident, now: datetime) -> Incident:
    """An open incident as its groups say; what a person rated it stays until something worse comes."""
    groups = [group for group in work.groups.values() if group.incident == incident.n]
    if not groups:
        return incident
    by_key = {group.key: group for group in seen.groups}
    chief = deepest(groups, seen.services)
    moved = chief.service != incident.service and not incident.declared_by
    after = replace(
        incident,
        title=_title(chief) if moved else incident.title,
        service=chief.service if moved else incident.service,
        services=tuple(sorted({*incident.services, *(group.service for group in groups)})),
        alerts=_newest(groups),
        alert_count=max(incident.alert_count, sum(group.count for group in groups)),
        onset_at=min([incident.onset_at, *(group.onset_at for group in groups)]),
        rollouts=_rollouts(seen, groups) | incident.rollouts,
        severity=_raised(incident, groups, by_key),
        cleared_at=_cleared_at(incident, groups, now),
    )
    _tell_joined(work, incident, after)
    return after


def _raised(incident: Incident, groups: Sequence[AlertGroup], before: dict[str, AlertGroup]) -> Severity:
    """The severity, raised by a group that is new here or became worse than it was."""
    severity = incident.severity
    for group in groups:
        old = before.get(group.key)
        is_new = old is None or old.incident != incident.n
        if group.firing and (is_new or old is None or rank(group.severity) < rank(old.severity)):
            severity = worst((severity, group.severity))
    return severity


def _cleared_at(incident: Incident, groups: Sequence[AlertGroup], now: datetime) -> datetime | None:
    if any(group.firing for group in groups) or not any(group.count for group in groups):
        return None
    return incident.cleared_at or now


def _tell_joined(work: _Work, before: Incident, after: Incident) -> None:
    more = after.alert_count - before.alert_count
    new = sorted(set(after.services) - set(before.services))
    if new:
        names = ", ".join(map(_short, new))
        work.tell(event_types.INCIDENT_JOINED, after, f"{names} is part of incident {after.n}", services=new)
    elif more > 0:
        said = f"{more} more alert{'s are' if more > 1 else ' is'} part of incident {after.n}"
        work.tell(event_types.INCIDENT_JOINED, after, said, alerts=after.alert_count)
    if after.severity is not before.severity:
        said = f"incident {after.n} is {after.severity} now, it was {before.severity}"
        work.tell(event_types.INCIDENT_RATED, after, said, before=before.severity)


def _newest(groups: Sequence[AlertGroup]) -> tuple[str, ...]:
    newest = sorted(groups, key=lambda group: (group.fired_at, group.key), reverse=True)
    return tuple(key for group in newest for key in group.newest)[:NEWEST]


def _rollouts(seen: Seen, groups: Sequence[AlertGroup]) -> dict[str, int]:
    return {g.service: seen.rollouts[g.service] for g in groups if g.service in seen.rollouts}


def _title(group: AlertGroup) -> str:
    name = _short(group.service)
    return f"{group.group if name == '-' else name}: {group.title}"[:200]


def _short(service: str) -> str:
    return service.rsplit("/", 1)[-1]


# -- one incident ---------------------------------------------------------------------------------


class SeenIncident(Struct, frozen=True, kw_only=True):
    """One incident with the orders that it has not followed yet, and its groups where one merges it."""

    incident: Incident
    groups: tuple[AlertGroup, ...] = ()
    orders: tuple[IncidentOrder, ...] = ()
    timing: Detection = Detection()
    reads: tuple[Read, ...] = ()


def decide_incident(seen: SeenIncident, now: datetime) -> Decision:
    """Follow what people said; resolve what has been clear for long enough."""
    incident, events = lifecycle.followed(seen.incident, seen.orders)
    at = lifecycle.closes_at(incident, seen.timing)
    if at is not None and now >= at:
        incident, event = lifecycle.closed(incident, now)
        events.append(event)
    writes = [Write(kind="Incident", key=incident.key, body=incident)] if incident != seen.incident else []
    if incident.merged_into is not None:
        for group in seen.groups:
            moved = replace(group, incident=incident.merged_into)
            writes.append(Write(kind="AlertGroup", key=group.key, body=moved))
    return Decision(
        reads=seen.reads,
        writes=tuple(writes),
        events=tuple(events),
        wake_at=at if at is not None and at > now else None,
    )
