"""The shell of the policy's room: reads a service's budgets, lets ``decide`` keep its level."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from msgspec import structs

from poise.balance.policy.decide import Seen, decide
from poise.model.balance import COUNTED_KEY, Budget, Counted
from poise.model.objective import Objective
from poise.model.policy import PolicyState
from poise.model.record import Decision, Ref
from poise.model.service import Project
from poise.model.standing import as_of
from poise.ports.store import Store

LOOK_S: Final = 60.0  # a budget that goes stale says nothing by itself


class PolicyController:
    """Keys are service keys."""

    name = "policy"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keys(self) -> Iterable[str]:
        """Every service with an objective, and every one with a level on record."""
        keys: set[str] = set()
        for kind in ("Objective", "PolicyState"):
            after = ""
            while found := await self._store.objects(kind, "", after=after):
                keys |= {"/".join(one.key.split("/")[:3]) for one in found}
                after = found[-1].key
        return sorted(keys)

    def wakes(self, ref: Ref) -> str | None:
        """A budget or an objective of the service was written."""
        return "/".join(ref.key.split("/")[:3]) if ref.kind in ("Budget", "Objective") else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide; again when the level may be faster, and after ``LOOK_S`` at the latest."""
        project, project_ref = await self._store.get(Project, key.partition("/")[0])
        objectives, objectives_ref = await self._store.scan(Objective, f"{key}/")
        budgets, budgets_ref = await self._store.scan(Budget, f"{key}/")
        counted, _ = await self._store.get(Counted, COUNTED_KEY)
        before, ref = await self._store.get(PolicyState, key)
        policy = (project or Project(name="")).policy
        seen = Seen(
            service=key,
            policy=policy,
            budgets=tuple(as_of(one, counted, policy) for one in budgets),
            declared=tuple(one.key for one in objectives),
            before=before,
            reads=(project_ref, objectives_ref, budgets_ref, ref),
        )
        decision = decide(seen, now)
        latest = now + timedelta(seconds=LOOK_S)
        again = min(latest, decision.wake_at) if decision.wake_at and decision.wake_at > now else latest
        return structs.replace(decision, wake_at=again if objectives else None)
