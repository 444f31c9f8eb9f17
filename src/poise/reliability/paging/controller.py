"""Paging's shell: reads the store, decides; of incidents, and of disputes that stay open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Final

from msgspec import Struct

from poise.model.errors import Conflict, NotFound
from poise.model.grant import Grant, GrantKind
from poise.model.incident import Escalation, Incident, IncidentState, Page, Summons, pages_of
from poise.model.oncall import EscalationPolicy, OnCallOverride, OnCallSchedule
from poise.model.record import Decision, Read, Ref, Write
from poise.model.service import Project
from poise.ports.store import Body, Store
from poise.reliability.paging.decide import Seen, decide
from poise.reliability.paging.disputes import SeenDispute, acknowledged, decide_dispute

NAME: Final = "paging"
ROWS: Final = 1000
PAGES_SEEN: Final = 500
OVERRIDES_SEEN: Final = 500


class PagingController:
    """One key per incident."""

    name = NAME

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keys(self) -> Iterable[str]:
        """Every incident that may need somebody, and every escalation that has not ended."""
        found = {one.key async for one in self._all(Incident) if one.state is IncidentState.OPEN}
        return found | {one.incident async for one in self._all(Escalation) if not one.ended}

    async def _all(self, body: type[Body]) -> AsyncIterator[Body]:
        after = ""
        while rows := await self._store.objects(body.__name__, "", after=after, limit=ROWS):
            for row in rows:
                assert isinstance(row.body, body)
                yield row.body
            after = rows[-1].key

    def wakes(self, ref: Ref) -> str | None:
        """Whatever happens to an incident, and what became of its pages."""
        if ref.kind == "Incident":
            return ref.key
        return ref.key.rpartition("/")[0] if ref.kind == "Page" and ref.key.count("/") == 2 else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide for one incident."""
        store = self._store
        incident, incident_ref = await store.get(Incident, key)
        if incident is None:
            return Decision()
        escalation, escalation_ref = await store.get(Escalation, key)
        duty = await _duty(store, incident.project)
        pages, pages_ref = await store.scan(Page, f"{key}/", last=True, limit=PAGES_SEEN)
        seen = Seen(
            incident=incident,
            escalation=escalation,
            policies=duty.policies,
            schedules=duty.schedules,
            overrides=duty.overrides,
            pages=tuple(pages),
            reads=(incident_ref, escalation_ref, *duty.reads, pages_ref),
        )
        return decide(seen, now)


class DisputeController:
    """One key per dispute: a grant of kind ruling that somebody asked for."""

    name = "dispute"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keys(self) -> Iterable[str]:
        """Every dispute that nobody has decided, and every one that somebody is still summoned to."""
        found: set[str] = set()
        after = ""
        while grants := (await self._store.scan(Grant, after=after, limit=ROWS))[0]:
            found |= {one.key for one in grants if one.kind is GrantKind.RULING and one.allowed is None}
            after = grants[-1].key
        after = ""
        while summonses := (await self._store.scan(Summons, after=after, limit=ROWS))[0]:
            found |= {one.dispute for one in summonses if not one.ended}
            after = summonses[-1].dispute
        return found

    def wakes(self, ref: Ref) -> str | None:
        """What people ask and decide, and what became of the pages about it."""
        if ref.kind == "Grant":
            return ref.key
        if ref.kind == "Page" and ref.key.count("/") > 2:
            project, _, rest = ref.key.rpartition("/")[0].partition("/dispute/")
            return f"{project}/{rest}"
        return None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide for one dispute."""
        store = self._store
        grant, grant_ref = await store.get(Grant, key)
        if grant is None or grant.kind is not GrantKind.RULING:
            return Decision()
        summons, summons_ref = await store.get(Summons, key)
        name = grant.service.partition("/")[0]
        project, project_ref = await store.get(Project, name)
        duty = await _duty(store, name)
        pages, pages_ref = await store.scan(Page, f"{pages_of(key)}/", last=True, limit=PAGES_SEEN)
        seen = SeenDispute(
            grant=grant,
            policy=(project or Project(name=name)).policy,
            summons=summons,
            policies=duty.policies,
            schedules=duty.schedules,
            overrides=duty.overrides,
            pages=tuple(pages),
            reads=(grant_ref, summons_ref, project_ref, *duty.reads, pages_ref),
        )
        return decide_dispute(seen, now)


async def acknowledge(store: Store, dispute: str, by: str, now: datetime) -> Decision:
    """A person has seen the page of a dispute. ``NotFound``; ``Conflict`` when somebody was faster."""
    grant, grant_ref = await store.get(Grant, dispute)
    if grant is None:
        raise NotFound("POISE-B407", f"there is no dispute {dispute}", mend="Run: poise gate grants SERVICE")
    summons, ref = await store.get(Summons, dispute)
    if summons is not None and summons.acknowledged_at is not None:
        raise Conflict(
            "POISE-I409", f"dispute {grant.n} cannot be acknowledged", where=dispute,
            why=f"{summons.acknowledged_by} has acknowledged it", mend="Decide it: poise gate rule",
        )  # fmt: skip
    after, event = acknowledged(summons or Summons(dispute=dispute), grant, by, now)
    write = Write(kind="Summons", key=dispute, body=after)
    return Decision(reads=(grant_ref, ref), writes=(write,), events=(event,))


class _Duty(Struct, frozen=True, kw_only=True):
    """Who can be told in a project."""

    policies: tuple[EscalationPolicy, ...]
    schedules: tuple[OnCallSchedule, ...]
    overrides: tuple[OnCallOverride, ...]
    reads: tuple[Read, ...]


async def _duty(store: Store, project: str) -> _Duty:
    policies, policies_ref = await store.scan(EscalationPolicy, f"{project}/")
    schedules, schedules_ref = await store.scan(OnCallSchedule, f"{project}/")
    overrides, overrides_ref = await store.scan(
        OnCallOverride, f"{project}/", last=True, limit=OVERRIDES_SEEN
    )
    return _Duty(
        policies=tuple(policies),
        schedules=tuple(schedules),
        overrides=tuple(overrides),
        reads=(policies_ref, schedules_ref, overrides_ref),
    )
