"""The rollout room's shell: it reads the store and the canary's counters, and lets ``decide`` decide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from poise.delivery.rollout.counters import strictest, totals_of
from poise.delivery.rollout.decide import decide
from poise.delivery.rollout.facts import Seen, focus, stumbles
from poise.delivery.rollout.moves import answer_key
from poise.delivery.rollout.prober import Probing, Sides
from poise.delivery.rollout.sequential import Total
from poise.delivery.rollout.silence import is_probed
from poise.model.attestation import Verification
from poise.model.balance import Budget, Override, Verdict, VerdictKind
from poise.model.branch_preview import is_branch_preview
from poise.model.config import Config, Secret
from poise.model.delivery import Order, Release, Rollout, RolloutState
from poise.model.fleet import Replica, RollbackRequest, Route, ScaleTarget
from poise.model.grant import Grant
from poise.model.lock import Lock
from poise.model.objective import Objective
from poise.model.pacing import PARALLEL_MAX
from poise.model.record import Decision, Read, Ref
from poise.model.service import Project, Service
from poise.ports.store import LIST_LIMIT, Store
from poise.ports.totals import Totals

ROLLOUTS_SEEN: Final = 200  # newest rollouts of a service: how far back a rejected digest is remembered
RELEASES_SEEN: Final = 50
ORDERS_SEEN: Final = 50
MOVING_SEEN: Final = 10  # newest rollouts of another service that are looked through for one under way
SETTINGS_SEEN: Final = 50
OWN_KINDS: Final = frozenset(
    {
        "Service", "Order", "Verdict", "Route", "Replica", "Override", "Grant", "Config", "Secret",
        "RollbackRequest", "Lock",
    }
)  # fmt: skip


class RolloutController:
    """Moves the rollouts of one service per key ``project/environment/service``."""

    name = "rollout"

    def __init__(self, store: Store, signals: Totals, probing: Probing | None = None) -> None:
        self._store, self._signals, self._probing = store, signals, probing
        self._known: set[str] = set()  # keys of services, to tell a release's environments at once

    async def keys(self) -> Iterable[str]:
        """Every declared service, and those that have rollouts though no longer declared."""
        services = await self._keys_of(Service)
        rollouts = await self._keys_of(Rollout)
        found = {"/".join(key.split("/")[:3]) for key in (*services, *rollouts)}
        self._known |= found
        return sorted(found)

    def wakes(self, ref: Ref) -> str | tuple[str, ...] | None:
        """The service that an object belongs to; a release and a rollout concern all its environments."""
        parts = ref.key.split("/")
        if ref.kind == "Project":
            return tuple(sorted(key for key in self._known if key.split("/")[0] == ref.key))
        if ref.kind == "Lock" and len(parts) == 2:
            return tuple(sorted(key for key in self._known if key.startswith(f"{ref.key}/")))
        if ref.kind == "Release" and len(parts) == 3:
            return self._everywhere(parts[0], parts[1])
        if ref.kind == "Rollout" and len(parts) == 4:
            self._known.add("/".join(parts[:3]))
            return self._everywhere(parts[0], parts[2])
        if ref.kind == "Verification" and len(parts) == 4:
            return "/".join(parts[:3])
        if ref.kind in OWN_KINDS and len(parts) >= 3:
            key = "/".join(parts[:3])
            if ref.kind == "Service":
                self._known.add(key)
            return key
        return None

    def _everywhere(self, project: str, name: str) -> tuple[str, ...]:
        keys = (key.split("/") for key in sorted(self._known))
        return tuple("/".join(parts) for parts in keys if (parts[0], parts[2]) == (project, name))

    async def look(self, key: str, now: datetime) -> Decision:
        """Decide the next move of one service's rollouts."""
        if is_branch_preview(key):  # told of by its replicas, its route and its counters; no rollout
            return Decision()
        seen = await self.see(key, now)
        if self._probing is not None:
            self._probing.watch(key, await self._sides(seen, now))
            seen = replace(seen, probed=self._probing.totals(key))
        return decide(seen, now)

    async def _sides(self, seen: Seen, now: datetime) -> Sides | None:
        """Whom to probe; None while users ask, or nothing is on its way. Who is ready is only looked at."""
        moving = focus(seen.rollouts)
        if moving is None or moving.baseline is None or not is_probed(moving, now):
            return None
        stable, _ = await self._store.scan(Replica, f"{key_of(moving, moving.baseline)}/")
        return Sides(
            canary=moving.n,
            baseline=moving.baseline,
            canary_ports=_ports(seen.replicas),
            baseline_ports=_ports(stable),
            path=moving.spec.probe_path,
            spoken=moving.spec.protocol,
        )

    async def see(self, key: str, now: datetime) -> Seen:
        """Everything that the next move depends on, with references to it."""
        project, _, name = key.split("/")
        store, under = self._store, f"{key}/"
        service, service_ref = await store.get(Service, key)
        rollouts, rollouts_ref = await store.scan(Rollout, under, limit=ROLLOUTS_SEEN, last=True)
        releases, releases_ref = await store.scan(
            Release, f"{project}/{name}/", limit=RELEASES_SEEN, last=True
        )
        orders, orders_ref = await store.scan(Order, under, limit=ORDERS_SEEN, last=True)
        route, route_ref = await store.get(Route, key)
        target, target_ref = await store.get(ScaleTarget, key)
        configs, configs_ref = await store.scan(Config, under, limit=SETTINGS_SEEN, last=True)
        secrets, secrets_ref = await store.scan(Secret, under, limit=SETTINGS_SEEN, last=True)
        request, request_ref = await store.get(RollbackRequest, key)
        reads: list[Read] = [service_ref, rollouts_ref, releases_ref, orders_ref, route_ref]
        reads += [configs_ref, secrets_ref, request_ref, target_ref]
        first, before = await environment_before(store, key, reads)
        moving = focus(rollouts)
        verdict, replicas = await self._answers(moving, reads)
        verification = await self._verification(moving, reads)
        beside_lost = await self._beside_lost(moving, replicas, reads)
        totals: list[Total] = []
        measured_at = bad_ratio = allowed = None
        if moving is not None and moving.state.is_active:
            objectives, objectives_ref = await store.scan(Objective, under)
            reads.append(objectives_ref)
            totals, measured_at = await totals_of(self._signals, moving, objectives, now)
            bad_ratio, allowed = await self._allowed(moving, objectives)
        granted_at = await self._granted_at(key, reads)
        elsewhere = await self._moving_elsewhere(key, moving, verdict, reads)
        return Seen(
            key=key,
            service=service,
            rollouts=tuple(rollouts),
            releases=tuple(releases),
            orders=tuple(orders),
            verdict=verdict,
            route=route,
            replicas=tuple(replicas),
            totals=tuple(totals),
            measured_at=measured_at,
            beside_lost=beside_lost,
            objective_bad_ratio=bad_ratio,
            budget_allowed=allowed,
            override_at=granted_at,
            moving_elsewhere=elsewhere,
            target=target,
            before=before,
            environment_before=first,
            configs=tuple(configs),
            secrets=tuple(secrets),
            request=request,
            verification=verification,
            reads=tuple(reads),
        )

    async def _granted_at(self, key: str, reads: list[Read]) -> datetime | None:
        """When a person last decided something that the gate goes by: an override, a grant, a lock."""
        under = f"{key}/"
        overrides, overrides_ref = await self._store.scan(Override, under, limit=1, last=True)
        grants, grants_ref = await self._store.scan(Grant, under, limit=1, last=True)
        reads += [overrides_ref, grants_ref]
        times = [one.approved_at or one.at for one in overrides]
        times += [one.decided_at or one.at for one in grants]
        for place in (key.rpartition("/")[0], key):
            lock, lock_ref = await self._store.get(Lock, place)
            reads.append(lock_ref)
            times += [lock.lifted_at or lock.at] if lock else []
        return max(times, default=None)

    async def _moving_elsewhere(
        self, key: str, moving: Rollout | None, verdict: Verdict | None, reads: list[Read]
    ) -> int:
        """How many other services of the environment are being rolled out; asked for before a start alone.

        All rollouts of the environment are referred to, so that two that start at once do not both count one
        too few.
        """
        if moving is None or verdict is None or moving.state is not RolloutState.WAITING:
            return 0
        if verdict.kind is VerdictKind.HOLD or verdict.parallel_rollouts >= PARALLEL_MAX:
            return 0
        around = key.rpartition("/")[0] + "/"
        _, ref = await self._store.scan(Rollout, around, limit=1)
        reads.append(ref)
        services, _ = await self._store.scan(Service, around)
        others = [one.key for one in services if one.key != key]
        return sum([await self._is_moving(one) for one in others])

    async def _is_moving(self, key: str) -> bool:
        """Whether a rollout of a service is under way; what is older than the live one is over."""
        newest, _ = await self._store.scan(Rollout, f"{key}/", limit=MOVING_SEEN, last=True)
        if any(one.state.is_active for one in newest):
            return True
        return len(newest) == MOVING_SEEN and not any(one.state is RolloutState.LIVE for one in newest)

    async def _answers(
        self, moving: Rollout | None, reads: list[Read]
    ) -> tuple[Verdict | None, list[Replica]]:
        if moving is None:
            return None, []
        replicas, replicas_ref = await self._store.scan(Replica, f"{moving.key}/")
        reads.append(replicas_ref)
        answer = answer_key(moving)
        if answer is None:
            return None, replicas
        verdict, verdict_ref = await self._store.get(Verdict, answer)
        reads.append(verdict_ref)
        return verdict, replicas

    async def _beside_lost(
        self, moving: Rollout | None, replicas: Sequence[Replica], reads: list[Read]
    ) -> int:
        """How often replicas of the live one ceased to be ready; asked for where those beside it did."""
        if moving is None or moving.baseline is None or not stumbles(replicas, moving):
            return 0
        live, ref = await self._store.scan(Replica, f"{moving.service_key}/{moving.baseline:06d}/")
        reads.append(ref)
        return len(stumbles(live, moving))

    async def _verification(self, moving: Rollout | None, reads: list[Read]) -> Verification | None:
        """Whether what is to start is what was built; asked for only then."""
        if moving is None or moving.state not in (RolloutState.WAITING, RolloutState.STARTING):
            return None
        found, ref = await self._store.get(Verification, moving.key)
        reads.append(ref)
        return found

    async def _allowed(
        self, moving: Rollout, objectives: Sequence[Objective]
    ) -> tuple[float | None, float | None]:
        """The ratio that the strictest objective lets be bad, and how many events of a period that is.

        The budget is not referred to: it is only told of, and it changes all the time.
        """
        objective = strictest(moving.spec, objectives)
        if objective is None:
            return None, None
        budget, _ = await self._store.get(Budget, objective.key)
        return 1 - objective.target_ratio, budget.allowed if budget else None

    async def _keys_of(self, body: type[Service] | type[Rollout]) -> list[str]:
        keys: list[str] = []
        while True:
            page, _ = await self._store.scan(body, after=keys[-1] if keys else "", limit=LIST_LIMIT)
            keys += [found.key for found in page]
            if len(page) < LIST_LIMIT:
                return keys


def key_of(rollout: Rollout, n: int) -> str:
    """The key of another rollout of the same service."""
    return f"{rollout.service_key}/{n:06d}"


def _ports(replicas: Iterable[Replica]) -> tuple[int, ...]:
    return tuple(one.port for one in replicas if one.ready and not one.draining and one.port is not None)


async def environment_before(
    store: Store, key: str, reads: list[Read]
) -> tuple[str, tuple[Rollout, ...] | None]:
    """The nearest environment before that declares this service too, and its newest rollouts; ``("", None)``
    when there is none. What was read is added to ``reads``.
    """
    project, environment, name = key.split("/")
    found, ref = await store.get(Project, project)
    reads.append(ref)
    before = found.environment_before(environment) if found else None
    while found is not None and before is not None:
        declared, ref = await store.get(Service, f"{project}/{before}/{name}")
        reads.append(ref)
        if declared is not None:
            under = f"{project}/{before}/{name}/"
            rollouts, rollouts_ref = await store.scan(Rollout, under, limit=ROLLOUTS_SEEN, last=True)
            reads.append(rollouts_ref)
            return before, tuple(rollouts)
        before = found.environment_before(before)
    return "", None
