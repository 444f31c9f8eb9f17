"""Incident's shell: grouping looks at an environment, the other controller at one incident.

Two, so that an acknowledgement touches one incident however many alerts are open.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from poise.model import event_types
from poise.model.delivery import Rollout, RolloutState
from poise.model.errors import Conflict, NotFound
from poise.model.incident import (
    Alert,
    AlertGroup,
    Incident,
    IncidentOrder,
    IncidentState,
    IncidentVerb,
    Severity,
)
from poise.model.record import Decision, Event, Read, Ref, Write
from poise.model.service import Project, Service
from poise.ports.store import LIST_LIMIT, Store
from poise.reliability.incident.decide import Seen, SeenIncident, decide, decide_incident
from poise.reliability.incident.grouping import UNKNOWN
from poise.reliability.incident.lifecycle import followed, refusal

ALERTS_MAX: Final = 20_000  # of one service
ROLLOUTS_SEEN: Final = 20
ORDERS_AT_ONCE: Final = 100


class GroupingController:
    """Keys are services, and ``project/environment/-`` for alerts of no known one."""

    name = "grouping"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._summed: dict[str, int] = {}  # service -> the alerts' sequence that its groups are made of

    async def keys(self) -> Iterable[str]:
        """Every declared service, the unknown one of each environment, and what still has alerts."""
        services, _ = await self._store.scan(Service)
        groups, _ = await self._store.scan(AlertGroup)
        found = {service.key for service in services} | {group.service for group in groups}
        return sorted(found | {f"{key.rpartition('/')[0]}/{UNKNOWN}" for key in found})

    def wakes(self, ref: Ref) -> str | None:
        """An alert concerns its service; a group that somebody else wrote concerns its own."""
        if ref.kind == "Alert":
            return "/".join(ref.key.split("/", 3)[:3])
        if ref.kind == "AlertGroup":
            service, _, group = ref.key.rpartition("/")
            return f"{service.rpartition('/')[0]}/{UNKNOWN}" if group else service
        return None

    async def look(self, key: str, now: datetime) -> Decision:
        """Sum up the service's alerts if they changed, and decide for its environment.

        The alerts are not among the reads: one that comes meanwhile wakes this key again, and a storm
        would make every decision stale.
        """
        project_name, environment, _ = key.split("/", 2)
        under = f"{project_name}/{environment}/"
        project, project_ref = await self._store.get(Project, project_name)
        services, services_ref = await self._store.scan(Service, under)
        groups, groups_ref = await self._store.scan(AlertGroup, under)
        incidents, incident_refs = await self._incidents(project_name, groups)
        alerts, sequence = await self._alerts(key)
        last, _ = await self._store.scan(Incident, f"{project_name}/", last=True, limit=1)
        seen = Seen(
            project=project_name,
            environment=environment,
            owner=key,
            timing=(project or Project(name="")).alerts,
            services={service.key: service for service in services},
            alerts=alerts,
            groups=tuple(groups),
            incidents=incidents,
            rollouts=await self._rollouts(groups, alerts or ()),
            next_n=last[0].n + 1 if last else 1,
            reads=(project_ref, services_ref, groups_ref, *incident_refs),
        )
        decision = decide(seen, now)
        if decision.is_empty:
            self._summed[key] = sequence
        else:
            self._summed.pop(key, None)  # until it is known that the decision was recorded
        return decision

    async def _incidents(
        self, project: str, groups: list[AlertGroup]
    ) -> tuple[dict[int, Incident], list[Read]]:
        """The incidents that groups are part of, and those that they were merged into."""
        found: dict[int, Incident] = {}
        refs: list[Read] = []
        wanted = sorted({group.incident for group in groups if group.incident is not None})
        while wanted:
            n = wanted.pop()
            incident, ref = await self._store.get(Incident, f"{project}/{n:06d}")
            refs.append(ref)
            if incident is not None:
                found[n] = incident
                if incident.merged_into is not None and incident.merged_into not in found:
                    wanted.append(incident.merged_into)
        return found, refs

    async def _alerts(self, key: str) -> tuple[tuple[Alert, ...] | None, int]:
        """All alerts under a service and their sequence; None when they were summed up already."""
        prefix = f"{key}/"
        page, ref = await self._store.scan(Alert, prefix, limit=1)
        if self._summed.get(key) == ref.sequence:
            return None, ref.sequence
        found: list[Alert] = []
        after = ""
        while len(found) < ALERTS_MAX:
            page, _ = await self._store.scan(Alert, prefix, after=after)
            found += page
            if len(page) < LIST_LIMIT:
                break
            after = page[-1].key
        return tuple(found), ref.sequence

    async def _rollouts(self, groups: list[AlertGroup], alerts: tuple[Alert, ...]) -> dict[str, int]:
        """What was live at the onset, of every service that is not part of an incident yet."""
        onsets: dict[str, datetime] = {}
        for alert in alerts:
            onsets[alert.service] = min(alert.started_at, onsets.get(alert.service, alert.started_at))
        onsets |= {group.service: group.onset_at for group in groups if group.incident is None}
        live = {}
        for service, onset_at in onsets.items():
            rollouts, _ = await self._store.scan(Rollout, f"{service}/", last=True, limit=ROLLOUTS_SEEN)
            n = live_at(rollouts, onset_at)
            if n is not None:
                live[service] = n
        return live


def live_at(rollouts: Iterable[Rollout], at: datetime) -> int | None:
    """The number of the rollout that was live at ``at``; the one that is live where none was."""
    served = [one for one in rollouts if one.state in (RolloutState.LIVE, RolloutState.RETIRED)]
    began = [one for one in served if one.finished_at is not None and one.finished_at <= at]
    chosen = max(began or served, key=lambda one: (one.state is RolloutState.LIVE, one.n), default=None)
    if began:
        chosen = max(began, key=lambda one: one.n)
    return chosen.n if chosen is not None else None


class IncidentController:
    """One key per open incident."""

    name = "incident"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keys(self) -> Iterable[str]:
        """Every incident that somebody has to do with."""
        found: list[str] = []
        after = ""
        while page := (await self._store.scan(Incident, after=after))[0]:
            found += [incident.key for incident in page if not incident.state.is_final]
            after = page[-1].key
        return found

    def wakes(self, ref: Ref) -> str | None:
        """The incident itself, and what people say in it."""
        if ref.kind == "Incident":
            return ref.key
        return ref.key.rpartition("/")[0] if ref.kind == "IncidentOrder" else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide for one incident."""
        store = self._store
        incident, ref = await store.get(Incident, key)
        if incident is None:
            return Decision()
        orders = await pending(store, incident)
        project, project_ref = await store.get(Project, incident.project)
        reads: list[Read] = [ref, project_ref]
        groups: list[AlertGroup] = []
        if any(order.verb is IncidentVerb.MERGE for order in orders):
            place = f"{incident.project}/{incident.environment}/"
            groups, groups_ref = await store.scan(AlertGroup, place)
            reads.append(groups_ref)
        seen = SeenIncident(
            incident=incident,
            orders=tuple(orders),
            groups=tuple(group for group in groups if group.incident == incident.n),
            timing=(project or Project(name="")).alerts,
            reads=tuple(reads),
        )
        return decide_incident(seen, now)


async def pending(store: Store, incident: Incident) -> list[IncidentOrder]:
    """What people said that the incident has not followed yet."""
    after = f"{incident.key}/{incident.orders_seen:06d}"
    return (await store.scan(IncidentOrder, f"{incident.key}/", after=after, limit=ORDERS_AT_ONCE))[0]


async def give_order(
    store: Store, *, key: str, verb: IncidentVerb, by: str, text: str, now: datetime
) -> Decision:
    """A person's next word in an incident, to be committed.

    Raises ``NotFound``; ``Conflict`` where the incident, with all that was said before, does not allow it.
    The incident itself is not among the reads: it changes often in a storm, and the loop checks again.
    """
    incident, _ = await store.get(Incident, key)
    if incident is None:
        raise NotFound("POISE-I404", f"no incident {key}", mend="Run: poise incident list")
    said, said_ref = await store.scan(IncidentOrder, f"{key}/", last=True, limit=1)
    expected, _ = followed(incident, await pending(store, incident))
    refused = refusal(expected, verb, text)
    if refused is not None:
        raise Conflict(
            "POISE-I409", f"incident {incident.n} cannot be {_DONE[verb]}", where=key, why=refused.why,
            mend=refused.mend,
        )  # fmt: skip
    reads: list[Read] = [said_ref]
    if verb is IncidentVerb.MERGE:
        reads.append(await _mergeable(store, incident, int(text)))
    k = said[0].k + 1 if said else 1
    order = IncidentOrder(incident=key, k=k, verb=verb, by=by, text=text, at=now)
    return Decision(reads=tuple(reads), writes=(Write(kind="IncidentOrder", key=order.key, body=order),))


_DONE: Final = {
    IncidentVerb.ACKNOWLEDGE: "acknowledged",
    IncidentVerb.MITIGATE: "mitigated",
    IncidentVerb.RESOLVE: "resolved",
    IncidentVerb.REOPEN: "reopened",
    IncidentVerb.NOTE: "noted upon",
    IncidentVerb.SEVERITY: "rated",
    IncidentVerb.MERGE: "merged",
}


async def _mergeable(store: Store, incident: Incident, into: int) -> Ref:
    other, ref = await store.get(Incident, f"{incident.project}/{into:06d}")
    if other is None:
        raise NotFound("POISE-I404", f"no incident {into}", mend="Run: poise incident list")
    if other.state.is_final or other.environment != incident.environment:
        raise Conflict(
            "POISE-I409", f"incident {incident.n} cannot be part of incident {into}", where=incident.key,
            why=f"that one is {other.state} in {other.environment}.", mend="Run: poise incident list",
        )  # fmt: skip
    return ref


async def open_by_hand(
    store: Store, *, service: str, title: str, severity: Severity, by: str, now: datetime
) -> tuple[Decision, Incident]:
    """An incident that a person saw before any alert did; alerts of its service join it.

    ``service`` is ``project/environment/service``. Raises ``NotFound`` for a service that is not declared
    and ``Conflict`` when one of it is open.
    """
    project, environment, _ = service.split("/")
    known, service_ref = await store.get(Service, service)
    if known is None:
        raise NotFound("POISE-E404", f"no service {service}", mend="Run: poise status")
    group, group_ref = await store.get(AlertGroup, f"{service}/")
    if group is not None and group.incident is not None:
        before, _ = await store.get(Incident, f"{project}/{group.incident:06d}")
        if before is not None and not before.state.is_final:
            raise Conflict(
                "POISE-I410", f"incident {before.n} is open for {service}", where=before.key,
                why="One cause is one incident.", mend=f"Run: poise incident note {before.n} '...'",
            )  # fmt: skip
    last, _ = await store.scan(Incident, f"{project}/", last=True, limit=1)
    rollouts, _ = await store.scan(Rollout, f"{service}/", last=True, limit=ROLLOUTS_SEEN)
    n, live = (last[0].n + 1 if last else 1), live_at(rollouts, now)
    incident = Incident(
        project=project, environment=environment, n=n, title=title, severity=severity, service=service,
        services=(service,), rollouts={} if live is None else {known.key: live}, onset_at=now, opened_at=now,
        declared_by=by,
    )  # fmt: skip
    made = AlertGroup(
        service=service, incident=n, after=group.after if group is not None else None, seen_at=now,
        onset_at=now, fired_at=now, severity=severity, title=title,
    )  # fmt: skip
    event = Event(
        type=event_types.INCIDENT_DETECTED, subject=incident.key, actor=by,
        summary=f"{by} opened incident {n} ({severity}): {title}",
        data={"state": IncidentState.OPEN, "severity": severity, "service": service},
    )  # fmt: skip
    decision = Decision(
        reads=(service_ref, group_ref, Ref("Incident", incident.key, 0)),
        writes=(
            Write(kind="Incident", key=incident.key, body=incident),
            Write(kind="AlertGroup", key=made.key, body=made),
        ),
        events=(event,),
    )
    return decision, incident
