"""Healing's shell: reads the store, decides."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from poise.model.delivery import Order, Rollout, Verb
from poise.model.fleet import HealOrder, Replica, RollbackRequest
from poise.model.record import Decision, Ref
from poise.model.service import Heal, Health, Project, Service
from poise.ports.store import Store
from poise.reliability.healing.decide import Seen, decide

NAME: Final = "healing"
ORDERS_SEEN: Final = 100
ROLLOUTS_SEEN: Final = 20


class HealingController:
    """One key per service."""

    name = NAME

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keys(self) -> Iterable[str]:
        """Every declared service."""
        services, _ = await self._store.scan(Service)
        return [service.key for service in services]

    def wakes(self, ref: Ref) -> str | None:
        """Replicas and a person's orders concern healing."""
        if ref.kind == "Replica":
            return ref.key.rsplit("/", 2)[0]
        if ref.kind == "Order":
            return ref.key.rpartition("/")[0]
        return None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide for one service."""
        service, service_ref = await self._store.get(Service, key)
        project, project_ref = await self._store.get(Project, key.partition("/")[0])
        replicas, replicas_ref = await self._store.scan(Replica, f"{key}/")
        orders, orders_ref = await self._store.scan(HealOrder, f"{key}/")
        asked, asked_ref = await self._store.scan(Order, f"{key}/", last=True, limit=ORDERS_SEEN)
        rollouts, _ = await self._store.scan(Rollout, f"{key}/", last=True, limit=ROLLOUTS_SEEN)
        request, request_ref = await self._store.get(RollbackRequest, key)
        restarts = [order for order in asked if order.verb is Verb.RESTART]
        seen = Seen(
            service=key,
            failures=(service.health if service else Health()).failures,
            heal=project.heal if project else Heal(),
            replicas=tuple(replicas),
            orders=tuple(orders),
            restart=restarts[-1] if restarts else None,
            rollouts=tuple(rollouts),
            request=request,
            reads=(service_ref, project_ref, replicas_ref, orders_ref, asked_ref, request_ref),
        )
        return decide(seen, now)
