"""Fleet's performers: each makes one thing as it shall be, re-checking what must still hold.

Every one may be performed twice: spawn and stop are by key, restart names one exact process, traffic is the
whole plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import anyio

from poise.engine.controller import Again, Dropped
from poise.engine.limits import VERDICT_MAX_AGE_S
from poise.fleet.decide import traffic_key
from poise.fleet.plan import plan_of
from poise.fleet.wanted import called_by, rollout_of, rollouts_of
from poise.fleet.workload import workload_of
from poise.model.acts import ApplyTraffic, RestartReplica, SpawnReplica, StopReplica
from poise.model.attestation import Verification
from poise.model.balance import Verdict, VerdictKind, verdict_key
from poise.model.config import Config, Secret
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.errors import Invalid, NotFound
from poise.model.fleet import Replica, Route
from poise.model.lock import Lock, places_of
from poise.ports.artifacts import Artifacts
from poise.ports.runtime import EndpointTemplate, Runtime
from poise.ports.store import IntentState, Store
from poise.ports.traffic import Traffic

DRAIN_POLL_S: Final = 0.05
VERIFIED_AGAIN_S: Final = 0.1
IDLE_S: Final = 0.2  # connections must stay closed this long: Envoy's threads hear of it one by one


Unseal = Callable[[Secret], Mapping[str, str]]


def sealed_shut(secret: Secret) -> Mapping[str, str]:
    """Where nothing is there to unseal with, a secret is an error, never an empty value."""
    raise Invalid(
        "POISE-F401", f"secret {secret.n} cannot be unsealed", where=secret.service,
        why="No key was given to this process.", mend="Start it with: poise up",
    )  # fmt: skip


class SpawnPerformer:
    """Starts a replica under the keeper, in its sandbox, with exactly its rollout's config and secret.

    ``data`` is the data folder; ``unseal`` gives the plain values of a secret, which go to the keeper alone.
    """

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        artifacts: Artifacts,
        data: Path,
        unseal: Unseal = sealed_shut,
    ) -> None:
        self._store, self._runtime, self._artifacts, self._data = store, runtime, artifacts, data
        self._unseal = unseal

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """See ``Performer``."""
        assert isinstance(act, SpawnReplica)
        replica, _ = await self._store.get(Replica, act.replica)
        rollout = await rollout_of(self._store, act.rollout)
        if replica is None or replica.draining or rollout is None or rollout.state.is_final:
            raise Dropped(f"{act.replica} is not wanted any more")
        await self._verified(rollout)
        ports = {}
        for name in rollout.spec.depends_on:
            key = await called_by(self._store, rollout, name)
            route, _ = await self._store.get(Route, key)
            if route is None or route.port is None:
                raise Again(f"{key} has no address yet", 0.2)
            ports[name] = route.port
        config, secrets = await self._settings(rollout)
        artifact = None if rollout.spec.image else self._artifacts.open(rollout.digest)
        workload = workload_of(replica, rollout, artifact, ports, self._data, config, secrets)
        process = await self._runtime.spawn(fence, workload)
        return f"runs as process {process.pid}"

    async def _verified(self, rollout: Rollout) -> None:
        """Nothing of a release starts before provenance said that it is what was built.

        One that has users already is not asked again: a heal must not wait for that.
        """
        if rollout.state is not RolloutState.STARTING:
            return
        found, _ = await self._store.get(Verification, rollout.key)
        if found is None:
            raise Again(f"release {rollout.release} is not verified yet", VERIFIED_AGAIN_S)
        if found.is_refused or found.digest != rollout.digest:
            raise Dropped(f"nothing of it starts: {found.text}")

    async def _settings(self, rollout: Rollout) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """The values of the versions that the rollout names: a newer one is another rollout's."""
        config: Mapping[str, str] = {}
        secrets: Mapping[str, str] = {}
        if rollout.config:
            known, _ = await self._store.get(Config, f"{rollout.service_key}/{rollout.config:06d}")
            if known is None:
                raise Dropped(f"config {rollout.config} of {rollout.service_key} is not on record")
            config = known.values
        if rollout.secret:
            sealed, _ = await self._store.get(Secret, f"{rollout.service_key}/{rollout.secret:06d}")
            if sealed is None:
                raise Dropped(f"secret {rollout.secret} of {rollout.service_key} is not on record")
            secrets = self._unseal(sealed)
        return config, secrets


class StopPerformer:
    """Out of rotation, in-flight requests done, SIGTERM, SIGKILL.

    ``connections(port)`` counts open connections: Envoy closes its idle ones when an endpoint leaves.
    """

    def __init__(self, runtime: Runtime, traffic: Traffic, connections: Callable[[int], int]) -> None:
        self._runtime, self._traffic, self._connections = runtime, traffic, connections

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """See ``Performer``."""
        assert isinstance(act, StopReplica)
        try:
            process = await self._runtime.hold(fence, act.replica, False)
        except NotFound:
            return "was gone already"
        await drained(self._traffic, self._connections, process.port, act.drain_s)
        await self._runtime.stop(fence, act.replica, act.drain_s, "no longer wanted")
        return "is stopping"


class RestartPerformer:
    """Replaces exactly one process: a hanging one at once, a healthy one once it has drained."""

    def __init__(self, runtime: Runtime, traffic: Traffic, connections: Callable[[int], int]) -> None:
        self._runtime, self._traffic, self._connections = runtime, traffic, connections

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """See ``Performer``."""
        assert isinstance(act, RestartReplica)
        gentle, key, identity = act.drain_s > 0, act.replica, act.identity
        try:
            if gentle:
                process = await self._runtime.hold(fence, key, False)
                same = (process.pid, process.start_time) == (identity.pid, identity.start_ticks)
                await drained(self._traffic, self._connections, process.port if same else None, act.drain_s)
            did = await self._runtime.restart(
                fence, key, identity.pid, identity.start_ticks, kill_now=not gentle, reason=act.reason
            )
            if gentle:
                await self._runtime.hold(fence, key, True)
        except NotFound as gone:
            raise Dropped(f"{key} is not there any more") from gone
        return f"process {identity.pid} is being replaced" if did else "another process runs there already"


async def drained(
    traffic: Traffic, connections: Callable[[int], int], port: int | None, most_s: float
) -> None:
    """Wait until Envoy has let go of ``port`` and nobody is connected to it, or ``most_s`` have passed.

    Closed connections alone prove nothing: between two requests there are none, and a busy Envoy may read
    the endpoint file late.
    """
    if port is None:
        return
    idle_s = 0.0
    with anyio.move_on_after(most_s):
        while idle_s < IDLE_S:
            await anyio.sleep(DRAIN_POLL_S)
            is_idle = connections(port) == 0 and await _has_left(traffic, port)
            idle_s = idle_s + DRAIN_POLL_S if is_idle else 0.0


async def _has_left(traffic: Traffic, port: int) -> bool:
    """Whether Envoy sends it nothing new; not known is no."""
    members = await traffic.members()
    return members is not None and port not in members


def members_of(clusters: Iterable[str]) -> set[str]:
    """The clusters that have endpoints of their own; one for previews shares those of its rollout."""
    return {name for name in clusters if name.rpartition(".")[2] != "preview"}


class TrafficPerformer:
    """Applies the plan made of all routes. ``endpoint_path(cluster)`` is where Envoy reads its endpoints."""

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        traffic: Traffic,
        ingress_port: int,
        endpoint_path: Callable[[str], Path],
    ) -> None:
        self._store, self._runtime, self._traffic = store, runtime, traffic
        self._ingress_port, self._endpoint_path = ingress_port, endpoint_path
        self._applied: dict[str, int] = {}
        self._lock = anyio.Lock()  # one plan at a time: an older one never comes after a newer

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """See ``Performer``. A canary rises only by a fresh verdict for exactly this rollout and step."""
        assert isinstance(act, ApplyTraffic)
        async with self._lock:
            routes, _ = await self._store.scan(Route)
            mine = next((route for route in routes if route.service == act.service), None)
            if mine is None or mine.version != act.version:
                raise Dropped("a newer split is asked for")
            rollouts = await rollouts_of(self._store, routes)
            await self._check(mine, rollouts[mine.service], now)
            settled = {
                route.service
                for route in routes
                if await self._is_settled(route, rollouts[route.service], now)
            }
            plan = plan_of(routes, rollouts, settled | {act.service}, self._ingress_port)
            known = await self._traffic.observe()
            names = {cluster.members for host in plan.hosts for cluster in host.clusters}
            names |= members_of(known.active) if known else set()  # Envoy refuses a cluster without its file
            templates = {
                name: EndpointTemplate(path=str(self._endpoint_path(name))) for name in sorted(names)
            }
            await self._runtime.template(fence, templates)
            await self._traffic.apply(plan)
            self._applied[act.service] = act.version
        return f"Envoy runs version {plan.version}"

    async def _is_settled(self, route: Route, rollouts: list[Rollout], now: datetime) -> bool:
        """Whether this version of a route may be in a plan, though its acknowledgement is not on record yet.

        One that nobody rises by always may: Envoy could have it already, and what was acknowledged before
        would be a rise. Of the others what another process put on record as done is looked at again: if Envoy
        never got it, nothing rises along with another service's plan that is not allowed now.
        """
        if self._applied.get(route.service) == route.version:
            return True
        if route.verdict is not None:
            stored = await self._store.intent(traffic_key(route))
            if stored is None or stored.state is not IntentState.DONE:
                return False
        try:
            await self._check(route, rollouts, now)
        except (Again, Dropped):
            return False
        return True

    async def _check(self, route: Route, rollouts: list[Rollout], now: datetime) -> None:
        has_live = any(rollout.state is RolloutState.LIVE for rollout in rollouts)
        for rollout in rollouts:
            weight = route.weights.get(rollout.n, 0)
            if rollout.state is RolloutState.LIVE or weight <= route.acked.get(rollout.n, 0):
                continue
            if rollout.state.is_final:
                raise Dropped(f"rollout {rollout.n} is over")
            key = verdict_key(rollout.key, rollout.ask.n) if rollout.ask else ""
            verdict, _ = await self._store.get(Verdict, key)
            if verdict is None and key and key == route.verdict:
                raise Again(
                    f"the gate has not answered {key} yet", 0.5
                )  # dropped, it would wait for the next ask
            if verdict is None or key != route.verdict:
                raise Dropped(f"no verdict allows rollout {rollout.n} to rise")
            step_weight = weight if has_live else rollout.weight_percent
            _must_allow(verdict, rollout, step_weight, now)
            await self._must_be_unlocked(rollout, now)

    async def _must_be_unlocked(self, rollout: Rollout, now: datetime) -> None:
        """Somebody may have locked it since the verdict. A way back passes, and what nobody serves beside."""
        if rollout.change_class is ChangeClass.ROLLBACK or rollout.beside == 0:
            return
        for place in places_of(rollout.spec):
            lock, _ = await self._store.get(Lock, place)
            if lock is not None and lock.is_in_force(now):
                raise Dropped(lock.sentence)


def _must_allow(verdict: Verdict, rollout: Rollout, weight: int, now: datetime) -> None:
    """Raise ``Dropped`` unless the verdict says go or slow to exactly this, and said it just now."""
    ask = rollout.ask
    age_s = (now - verdict.at).total_seconds()
    if verdict.kind is VerdictKind.HOLD:
        raise Dropped(f"the verdict is {verdict.sentence}")
    if not 0 <= age_s <= VERDICT_MAX_AGE_S:
        raise Dropped(f"the verdict is {age_s:.0f} s old, allowed are 0 to {VERDICT_MAX_AGE_S:g} s")
    if verdict.lapses_at is not None and verdict.lapses_at <= now:
        raise Dropped(f"a freeze window opened at {verdict.lapses_at:%H:%M:%S} UTC, after the verdict")
    if ask is None or (verdict.step, verdict.digest) != (ask.step, rollout.digest):
        raise Dropped("the verdict is for another step or digest")
    if weight > verdict.max_weight_percent:
        raise Dropped(f"the verdict allows {verdict.max_weight_percent} %, not {weight} %")
