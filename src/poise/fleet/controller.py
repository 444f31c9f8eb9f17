"""Fleet's shell: reads the store, the keeper, Envoy and the probes; decides; touches nothing."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import anyio

from poise.fleet.decide import decide, spawn_key, stop_key, traffic_key
from poise.fleet.prober import Probes, Target
from poise.fleet.seen import Probed, Process, Seen, TrafficSeen, is_port_taken
from poise.fleet.wanted import wanted_under
from poise.model.branch_preview import BranchPreview
from poise.model.errors import Unreachable
from poise.model.fleet import HealOrder, Identity, Replica, Route, ScaleTarget
from poise.model.record import Decision, Read, Ref
from poise.model.service import Health, Protocol, Service
from poise.ports import runtime as runtime_port
from poise.ports.runtime import Runtime
from poise.ports.store import IntentState, Store
from poise.ports.traffic import Acknowledged, Traffic

NAME: Final = "fleet"
LISTED_S: Final = 0.1  # one answer of the keeper and of Envoy serves all services looked at within this time
LIST_TIMEOUT_S: Final = 1.0  # a keeper that takes longer is not waited for: nothing is known of what runs
FOLLOW_AGAIN_S: Final = 0.5
TROUBLE: Final = "POISE-F3"  # begins the codes of what Envoy refused, or did not answer in time
FROM_OUTSIDE: Final = (2, 9, 15)  # SIGINT, SIGKILL, SIGTERM: no app ends itself by these
_REPLICA_KEY: Final = re.compile(r"(?P<service>.+)/\d{6}/\d{3}")


class FleetController:
    """One key per service. ``port_for(service key, taken ports)`` proposes a fixed loopback port."""

    name = NAME

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        traffic: Traffic,
        probes: Probes,
        port_for: Callable[[str, Collection[int]], int | None],
    ) -> None:
        self._store, self._runtime, self._traffic = store, runtime, traffic
        self._probes, self._port_for = probes, port_for
        self._killed: set[str] = set()
        self._listed: tuple[datetime, dict[str, Process] | None] | None = None
        self._routed: tuple[datetime, Acknowledged | None] | None = None

    async def keys(self) -> Iterable[str]:
        """Every service that is declared or still has a route, and every branch preview."""
        services, _ = await self._store.scan(Service)
        previews, _ = await self._store.scan(BranchPreview)
        routes, _ = await self._store.scan(Route)
        wanted = {service.key for service in services} | {one.key for one in previews if one.revisions}
        return sorted(wanted | {route.service for route in routes})

    def wakes(self, ref: Ref) -> str | None:
        """Services, rollouts, branch previews, scale targets and heal orders concern fleet."""
        if ref.kind in ("Service", "BranchPreview", "ScaleTarget"):
            return ref.key
        if ref.kind == "Rollout":
            return ref.key.rpartition("/")[0]
        if ref.kind == "HealOrder":
            return ref.key.rsplit("/", 2)[0]
        return None

    async def follow(
        self, wake: Callable[[str], None], starts: Callable[[bool], None] = lambda _: None
    ) -> None:
        """Until cancelled: have a service looked at as soon as one of its processes changed.

        ``starts``: whether one starts now, or (False) has come up or is gone for good.
        """
        after: int | None = None
        while True:
            try:
                after = (await self._runtime.hello()).seq if after is None else after
                async with self._runtime.watch(after) as events:
                    async for event in events:
                        after = event.seq
                        match = _REPLICA_KEY.fullmatch(event.key)
                        if match:
                            self._listed = None  # what was listed before is no longer so
                            self._killed.discard(event.key)  # of an earlier life under the same key
                            if event.kind == "stopped" and event.exit and _is_killed(event.exit):
                                self._killed.add(event.key)
                            starts(event.kind not in ("connected", "stopped"))
                            wake(match["service"])
            except Unreachable:
                await anyio.sleep(FOLLOW_AGAIN_S)

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide for one service."""
        seen = await self._see(key, now)
        self._probes.watch(key, _targets(seen))
        return decide(seen, now)

    async def _see(self, key: str, now: datetime) -> Seen:
        service, rollouts, refs = await wanted_under(self._store, key)
        target, target_ref = await self._store.get(ScaleTarget, key)
        orders, orders_ref = await self._store.scan(HealOrder, f"{key}/")
        replicas, replicas_ref = await self._store.scan(Replica, f"{key}/")
        route, route_ref = await self._store.get(Route, key)
        routes, routes_ref = await self._store.scan(Route)
        processes = await self._processes_of(key, now)
        settled, pending, trouble = await self._intents(replicas, route, processes)
        if processes is not None and _seems_gone(replicas, processes, settled):
            self._listed = None  # it may have been started after the list was taken: only a newer one tells
            processes = await self._processes_of(key, now)
        reads: tuple[Read, ...] = (*refs, target_ref, orders_ref, replicas_ref, route_ref)
        has_port = route is not None and route.port is not None and not is_port_taken(route, trouble)
        needs_port = service is not None and service.port is not None and not has_port
        taken = {other.port for other in routes if other.port is not None}
        return Seen(
            key=key,
            service=service,
            rollouts=tuple(rollouts),
            target=target,
            replicas=tuple(replicas),
            route=route,
            orders=tuple(orders),
            processes=processes,
            probes=self._heard(replicas),
            killed=self._killed_of(replicas),
            traffic=await self._envoy(now),
            settled=settled,
            pending=pending,
            trouble=trouble,
            top_version=max((other.version for other in routes), default=0),
            routes=routes_ref,
            free_port=self._port_for(key, taken) if needs_port else None,
            reads=reads,
        )

    def _killed_of(self, replicas: Iterable[Replica]) -> frozenset[str]:
        """Which were killed when they were stopped; a new life under the same key begins anew."""
        return frozenset(replica.key for replica in replicas if replica.key in self._killed)

    def _heard(self, replicas: Iterable[Replica]) -> dict[str, Probed]:
        heard = ((key, self._probes.latest(key)) for key in [replica.key for replica in replicas])
        return {key: probed for key, probed in heard if probed is not None}

    async def _intents(
        self, replicas: Iterable[Replica], route: Route | None, processes: dict[str, Process] | None
    ) -> tuple[frozenset[str], frozenset[str], str]:
        """Which intents that something waits for are done and under way, and what Envoy said against one."""
        keys = [stop_key(replica) for replica in replicas if replica.draining]
        keys += [spawn_key(replica) for replica in replicas if replica.key not in (processes or {})]
        if route is not None and route.version > 0:
            keys.append(traffic_key(route))
        stored = [await self._store.intent(key) for key in keys]
        done = {s.intent.key for s in stored if s is not None and s.state is IntentState.DONE}
        under_way = {s.intent.key for s in stored if s is not None and s.state is IntentState.PENDING}
        said = stored[-1] if route is not None and route.version > 0 else None
        open_ = said is not None and said.state in (IntentState.PENDING, IntentState.FAILED)
        trouble = said.outcome if said is not None and open_ and TROUBLE in said.outcome else ""
        return frozenset(done), frozenset(under_way), trouble

    async def _processes_of(self, key: str, now: datetime) -> dict[str, Process] | None:
        listed = await self._processes(now)
        return None if listed is None else _of_service(key, listed)

    async def _processes(self, now: datetime) -> dict[str, Process] | None:
        if self._listed is not None and 0 <= (now - self._listed[0]).total_seconds() < LISTED_S:
            return self._listed[1]
        asked: tuple[datetime, dict[str, Process] | None] = (now, None)
        self._listed, found = asked, None
        with anyio.move_on_after(LIST_TIMEOUT_S), suppress(Unreachable):
            found = {process.key: _process(process) for process in await self._runtime.list()}
        if self._listed is asked:  # else something happened meanwhile: this list serves once
            self._listed = (now, found)
        return found

    async def _envoy(self, now: datetime) -> TrafficSeen | None:
        if self._routed is None or not 0 <= (now - self._routed[0]).total_seconds() < LISTED_S:
            self._routed = (now, await self._traffic.observe())
        said = self._routed[1]
        return (
            None
            if said is None
            else TrafficSeen(version=said.version, active=said.active, weights=said.weights)
        )


def _process(process: runtime_port.Process) -> Process:
    identity = None
    if process.pid is not None and process.start_time is not None and process.state != "exited":
        identity = Identity(pid=process.pid, start_ticks=process.start_time)
    end = process.last_exit
    return Process(
        identity=identity,
        port=process.port,
        restarts=process.restarts,
        stopping=process.state == "stopping",
        exited_at=datetime.fromtimestamp(end.at, UTC) if end else None,
        crashed=end is not None and _is_crash(end),
        ended=_in_words(end) if end is not None else "",
    )


def _in_words(end: runtime_port.ExitRecord) -> str:
    if end.oom:
        return "killed by the kernel: over its memory limit"
    if end.signal is not None:
        return f"signal {end.signal}"
    return f"exit code {end.code}" if end.code is not None else "an end that nobody saw"


def _is_crash(end: runtime_port.ExitRecord) -> bool:
    """Whether it ended by itself. A shell in between tells a signal as 128 + its number."""
    number = end.signal if end.signal is not None else (end.code or 0) - 128
    return end.oom or (not end.unknown and number not in FROM_OUTSIDE)


def _is_killed(end: runtime_port.ExitRecord) -> bool:
    return signal.SIGKILL in (end.signal, (end.code or 0) - 128)


def _seems_gone(replicas: Iterable[Replica], processes: dict[str, Process], settled: frozenset[str]) -> bool:
    """Whether a replica that was started is not among the processes."""
    return any(replica.key not in processes and spawn_key(replica) in settled for replica in replicas)


def _of_service(key: str, listed: dict[str, Process]) -> dict[str, Process]:
    under = f"{key}/"
    return {
        name: process
        for name, process in listed.items()
        if name.startswith(under) and _REPLICA_KEY.fullmatch(name)
    }


def _targets(seen: Seen) -> list[Target]:
    """Whom to probe: each process that runs now, by the health check of its own rollout."""
    health = {rollout.n: rollout.spec.health for rollout in seen.rollouts}
    ports = {rollout.n: rollout.spec.port for rollout in seen.rollouts}
    spoken = {rollout.n: rollout.spec.protocol for rollout in seen.rollouts}
    found = []
    for replica in seen.replicas:
        process = (seen.processes or {}).get(replica.key)
        if process is None or process.identity is None or replica.draining:
            continue
        port = process.port if ports.get(replica.rollout) is not None else None
        found.append(
            Target(
                key=replica.key,
                identity=process.identity,
                port=port,
                health=health.get(replica.rollout, Health()),
                spoken=spoken.get(replica.rollout, Protocol.HTTP),
            )
        )
    return found
