"""Paging's shell: reads the store, decides. Keys are incidents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Final

from poise.model.incident import Escalation, Incident, IncidentState, Page
from poise.model.oncall import EscalationPolicy, OnCallOverride, OnCallSchedule
from poise.model.record import Decision, Ref
from poise.ports.store import Body, Store
from poise.reliability.paging.decide import Seen, decide

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
        return ref.key.rpartition("/")[0] if ref.kind == "Page" else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide for one incident."""
        store = self._store
        incident, incident_ref = await store.get(Incident, key)
        if incident is None:
            return Decision()
        project = f"{incident.project}/"
        escalation, escalation_ref = await store.get(Escalation, key)
        policies, policies_ref = await store.scan(EscalationPolicy, project)
        schedules, schedules_ref = await store.scan(OnCallSchedule, project)
        overrides, overrides_ref = await store.scan(OnCallOverride, project, last=True, limit=OVERRIDES_SEEN)
        pages, pages_ref = await store.scan(Page, f"{key}/", last=True, limit=PAGES_SEEN)
        reads = (incident_ref, escalation_ref, policies_ref, schedules_ref, overrides_ref, pages_ref)
        seen = Seen(
            incident=incident,
            escalation=escalation,
            policies=tuple(policies),
            schedules=tuple(schedules),
            overrides=tuple(overrides),
            pages=tuple(pages),
            reads=reads,
        )
        return decide(seen, now)
