"""The ledger's shell: reads what was counted and what happened, decides."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from poise.balance.ledger.decide import ERRORS, Seen, decide
from poise.model.delivery import Rollout
from poise.model.incident import Diagnosis, Incident
from poise.model.objective import IndicatorKind, Objective
from poise.model.record import Decision, Ref
from poise.model.service import Service
from poise.model.spend import Outlook, SpendLedger
from poise.ports.store import Store

NAME: Final = "ledger"
ROLLOUTS_SEEN: Final = 60
INCIDENTS_SEEN: Final = 30
_METRICS: Final = {IndicatorKind.AVAILABILITY: ERRORS, IndicatorKind.LATENCY: "latency"}


class LedgerController:
    """One key per objective. It keeps nothing."""

    name = NAME

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keys(self) -> Iterable[str]:
        """Every objective with an outlook, and every ledger whose objective may be gone."""
        keys: set[str] = set()
        for kind in ("Outlook", "SpendLedger"):
            after = ""
            while found := await self._store.objects(kind, "", after=after):
                keys |= {one.key for one in found}
                after = found[-1].key
        return sorted(keys)

    def wakes(self, ref: Ref) -> str | None:
        """What was counted changed, or an objective is gone."""
        return ref.key if ref.kind in ("Outlook", "Objective") else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide for one objective."""
        store, service_key = self._store, key.rpartition("/")[0]
        objective, objective_ref = await store.get(Objective, key)
        outlook, outlook_ref = await store.get(Outlook, key)
        before, ref = await store.get(SpendLedger, key)
        reads = (objective_ref, outlook_ref, ref)
        if objective is None or outlook is None or not (outlook.episodes or (before and before.entries)):
            seen = Seen(key=key, declared=objective is not None, outlook=outlook, before=before, reads=reads)
            return decide(seen, now)
        rollouts, _ = await store.scan(Rollout, f"{service_key}/", last=True, limit=ROLLOUTS_SEEN)
        incidents = await self._incidents(service_key)
        diagnoses = {}
        for one in incidents:
            found, _ = await store.get(Diagnosis, one.key)
            if found is not None:
                diagnoses[one.key] = found
        seen = Seen(
            key=key,
            declared=True,
            outlook=outlook,
            before=before,
            rollouts=tuple(rollouts),
            dependencies=tuple(await self._dependencies(service_key)),
            incidents=tuple(incidents),
            diagnoses=diagnoses,
            metric=_METRICS.get(objective.indicator, objective.name),
            reads=reads,
        )
        return decide(seen, now)

    async def _incidents(self, service_key: str) -> list[Incident]:
        project, environment, _ = service_key.split("/")
        found, _ = await self._store.scan(Incident, f"{project}/", last=True, limit=INCIDENTS_SEEN)
        return [
            one
            for one in found
            if one.environment == environment and service_key in (one.service, *one.services)
        ]

    async def _dependencies(self, service_key: str) -> list[SpendLedger]:
        service, _ = await self._store.get(Service, service_key)
        if service is None:
            return []
        found: list[SpendLedger] = []
        for name in service.depends_on:
            ledgers, _ = await self._store.scan(SpendLedger, f"{service_key.rpartition('/')[0]}/{name}/")
            found += ledgers
        return found
