"""Detection's shell: reads the store, decides."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from poise.model.balance import COUNTED_KEY, Budget, Counted
from poise.model.delivery import Rollout, RolloutState
from poise.model.fleet import HealOrder, Replica, RollbackRequest, Route
from poise.model.incident import Alert
from poise.model.ingress import Certificate
from poise.model.objective import Objective
from poise.model.record import Decision, Read, Ref
from poise.model.service import Project, Service
from poise.model.spend import Outlook
from poise.model.standing import as_of
from poise.ports.store import Store
from poise.reliability.detection.conditions import Seen
from poise.reliability.detection.decide import decide

NAME: Final = "detection"
ROLLOUTS_SEEN: Final = 20
SINGLE: Final = ("replicas", "signal", "mass-failure", "crash-loop", "heal-failed", "certificate", "traffic")


class DetectionController:
    """One key per service. Remembers only since when it looks."""

    name = NAME

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watched_since: datetime | None = None

    async def keys(self) -> Iterable[str]:
        """Every declared service."""
        services, _ = await self._store.scan(Service)
        return [service.key for service in services]

    def wakes(self, ref: Ref) -> str | None:
        """What conditions are made of concerns detection."""
        match ref.kind:
            case "Budget" | "Outlook":
                return ref.key.rpartition("/")[0]
            case "Replica" | "HealOrder":
                return ref.key.rsplit("/", 2)[0]
            case "Rollout":
                return ref.key.rpartition("/")[0]
            case "RollbackRequest" | "Service" | "Route":
                return ref.key
        return None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide for one service."""
        store = self._store
        self._watched_since = self._watched_since or now
        service, service_ref = await store.get(Service, key)
        project, project_ref = await store.get(Project, key.partition("/")[0])
        project = project or Project(name="")
        objectives, objectives_ref = await store.scan(Objective, f"{key}/")
        budgets, budgets_ref = await store.scan(Budget, f"{key}/")
        counted, _ = await store.get(Counted, COUNTED_KEY)
        outlooks, outlooks_ref = await store.scan(Outlook, f"{key}/")
        replicas, replicas_ref = await store.scan(Replica, f"{key}/")
        heals, heals_ref = await store.scan(HealOrder, f"{key}/")
        request, request_ref = await store.get(RollbackRequest, key)
        route, route_ref = await store.get(Route, key)
        rollouts, rollouts_ref = await store.scan(Rollout, f"{key}/", last=True, limit=ROLLOUTS_SEEN)
        live = next((one for one in reversed(rollouts) if one.state is RolloutState.LIVE), None)
        active = next((one for one in reversed(rollouts) if one.state.is_active), None)
        certificates, certificates_ref = await store.scan(Certificate)
        alerts, alert_refs = await self._alerts(key)
        seen = Seen(
            key=key,
            service=service,
            timing=project.alerts,
            policy=project.policy,
            objectives=tuple(one.name for one in objectives),
            budgets=tuple(
                as_of(one, counted, project.policy)
                for one in budgets
                if one.objective in {o.name for o in objectives}
            ),
            outlooks=tuple(outlooks),
            replicas=tuple(replicas),
            live=live,
            active=active,
            heals=tuple(heals),
            request=request,
            route=route,
            certificates=tuple(certificates),
            alerts=tuple(alerts),
            watched_since=self._watched_since,
            reads=(
                service_ref, project_ref, objectives_ref, budgets_ref, outlooks_ref,
                replicas_ref, heals_ref, request_ref, route_ref, certificates_ref,
                rollouts_ref, *alert_refs,
            ),
        )  # fmt: skip
        return decide(seen, now)

    async def _alerts(self, key: str) -> tuple[list[Alert], list[Read]]:
        """Poise's own alerts of the service, found without reading those of other systems."""
        burns, burns_ref = await self._store.scan(Alert, f"{key}/burn/")
        found, refs = list(burns), [burns_ref]
        reads: list[Read] = [*refs]
        for name in SINGLE:
            alert, ref = await self._store.get(Alert, f"{key}/{name}")
            reads.append(ref)
            if alert is not None:
                found.append(alert)
        return found, reads
