"""What shall run and who reaches it, from what is wanted and what is: pure.

Order of every change: clusters, endpoints with healthy members, routes, in-flight requests done, stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from poise.fleet.seen import Process, Seen, TrafficSeen, is_port_taken
from poise.fleet.weights import Split, split
from poise.model import event_types
from poise.model.acts import ApplyTraffic, RestartReplica, SpawnReplica, StopReplica
from poise.model.branch_preview import is_branch_preview
from poise.model.delivery import Rollout, RolloutState
from poise.model.fleet import CRASHES_KEPT, REPLICAS_MAX, HealOrder, Replica, Route, wanted_replicas
from poise.model.record import Decision, Event, Intent, PrefixRef, Write
from poise.model.service import StrategyKind

LOOK_AGAIN_S: Final = 0.25  # while something is under way
LOOK_SLOWLY_S: Final = 2.0
REPAIR_S: Final = 10.0  # how long after a change before what Envoy lost or kept too long is asked for again
GENTLE_DRAIN_S: Final = 20.0


class _Wanted:
    """What a tick has gathered so far."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.intents: list[Intent] = []
        self.events: list[Event] = []
        self.restless = False

    def put(self, replica: Replica) -> None:
        self.writes.append(Write(kind="Replica", key=replica.key, body=replica))

    def tell(self, type_: str, subject: str, summary: str, **data: object) -> None:
        self.events.append(Event(type=type_, subject=subject, summary=summary, data=data))


def decide(seen: Seen, now: datetime) -> Decision:
    """The next writes, intents and events for one service; nothing changes where nothing was observed."""
    out = _Wanted()
    known = {replica.key: replica for replica in seen.replicas}
    seen = replace(seen, replicas=tuple(_as_observed(seen, replica, now) for replica in seen.replicas))
    route_reads = _route(seen, now, out)
    counts = {rollout.n: desired(seen, rollout) for rollout in seen.rollouts}
    for rollout in seen.rollouts:
        for index in range(0 if _waits(seen, rollout) else counts[rollout.n]):
            key = Replica(service=seen.key, rollout=rollout.n, index=index).key
            if key not in known:
                _ask_for(seen, rollout, index, now, out)
    for replica in seen.replicas:
        _replica(seen, replica, known[replica.key], counts.get(replica.rollout, 0), now, out)
    for key in sorted(_orphans(seen, known)):
        _stop_orphan(seen, key, out)
    again_s = LOOK_AGAIN_S if out.restless or out.writes or out.intents else LOOK_SLOWLY_S
    return Decision(
        reads=(*seen.reads, *route_reads),
        writes=tuple(out.writes),
        intents=tuple(out.intents),
        events=tuple(out.events),
        wake_at=now + timedelta(seconds=again_s),
    )


def desired(seen: Seen, rollout: Rollout) -> int:
    """How many replicas a rollout shall have."""
    if seen.service is None or rollout.state.is_final or rollout.state is RolloutState.WAITING:
        return 0
    if rollout.state is not RolloutState.LIVE:
        return min(rollout.replicas, REPLICAS_MAX)
    stays = [r.beside for r in seen.rollouts if r.state.is_active and r.beside is not None]
    return min([wanted_replicas(seen.service.replicas, seen.target), *stays])


def _waits(seen: Seen, rollout: Rollout) -> bool:
    """Whether replicas of another revision are still there, and one of the two cannot run beside another."""
    kinds = {one.n: one.spec.strategy.kind for one in seen.rollouts}
    others = {replica.rollout for replica in seen.replicas} - {rollout.n}
    return any(StrategyKind.RECREATE in (kinds[rollout.n], kinds.get(other)) for other in others)


# -- replicas -------------------------------------------------------------------------------------


def spawn_key(replica: Replica) -> str:
    """The key of the intent to start a replica: another one for each time that it is asked for."""
    return f"spawn/{replica.key}/{_stamp(replica)}"


def stop_key(replica: Replica) -> str:
    """The key of the intent to stop a replica."""
    return f"stop/{replica.key}/{_stamp(replica)}"


def _stamp(replica: Replica) -> int:
    return int(replica.asked_at.timestamp() * 1000) if replica.asked_at else 0


def _ask_for(seen: Seen, rollout: Rollout, index: int, now: datetime, out: _Wanted) -> None:
    replica = Replica(service=seen.key, rollout=rollout.n, index=index, asked_at=now)
    out.put(replica)
    out.intents.append(_spawn(replica, rollout))
    out.tell(
        event_types.REPLICA_ASKED,
        replica.key,
        f"{rollout.service} {rollout.n} gets replica {index}: {rollout.state.value}",
        rollout=rollout.key,
    )


def _spawn(replica: Replica, rollout: Rollout) -> Intent:
    return Intent(key=spawn_key(replica), act=SpawnReplica(replica=replica.key, rollout=rollout.key))


def _replica(seen: Seen, replica: Replica, before: Replica, count: int, now: datetime, out: _Wanted) -> None:
    if seen.processes is None:
        return  # nothing is known of what runs: leave everything as it is
    process = seen.processes.get(replica.key)
    if replica.draining or replica.index >= count:
        _leave(seen, replica, before, count, now, out)
        return
    if process is None:
        _respawn(seen, replica, now, out)
        return
    if not replica.ready:
        out.restless = True
    _keep(seen, replica, before, out)


def _keep(seen: Seen, replica: Replica, before: Replica, out: _Wanted) -> None:
    """Note how it is, and heal it where that was ordered."""
    if replica != before:
        out.put(replica)
        _tell_change(before, replica, out)
    for order in seen.orders:
        if order.replica == replica.key and not order.mass and order.identity == replica.identity:
            out.intents.append(_heal(order))


def _respawn(seen: Seen, replica: Replica, now: datetime, out: _Wanted) -> None:
    """It does not run: its first start is under way, or it is gone for good and is asked for anew."""
    key = spawn_key(replica)
    out.restless = True
    if key in seen.pending:
        return
    rollout = next((r for r in seen.rollouts if r.n == replica.rollout), None)
    if rollout is None:
        return
    if key not in seen.settled:
        out.intents.append(_spawn(replica, rollout))  # dropped or failed: the same key is pending again
        return
    anew = Replica(service=seen.key, rollout=replica.rollout, index=replica.index, asked_at=now)
    anew = replace(anew, restarts=replica.restarts + 1, exited_at=replica.exited_at, crashes=replica.crashes)
    anew = replace(anew, ended=replica.ended, losses=replica.losses)
    out.put(anew)
    out.intents.append(_spawn(anew, rollout))
    out.tell(event_types.REPLICA_ASKED, replica.key, f"{replica.key} is gone from the keeper; asked for anew")


def _as_observed(seen: Seen, replica: Replica, now: datetime) -> Replica:
    """The replica as it is at this look: nobody is given users on the word of the look before."""
    if seen.processes is None or replica.draining:
        return replica
    process = seen.processes.get(replica.key)
    return replace(replica, ready=False) if process is None else _observed(seen, replica, process, now)


def _observed(seen: Seen, replica: Replica, process: Process, now: datetime) -> Replica:
    """The replica as the keeper and the probes saw it; another process starts with a clean slate."""
    replica = _ended(seen, replica, process)
    if process.identity != replica.identity or process.port != replica.port:
        replica = replace(
            replica,
            identity=process.identity,
            port=process.port,
            ready=False,
            failures=0,
            failing_since=None,
            restarts=process.restarts,
            started_at=now if process.identity else replica.started_at,
        )
    probed = seen.probes.get(replica.key)
    if replica.identity is None or probed is None or probed.identity != replica.identity:
        return replica
    if probed.ok:
        if replica.ready and replica.failures == 0:
            return replica
        return replace(replica, ready=True, failures=0, failing_since=None, probed_at=now)
    most = seen.service.health.failures if seen.service else 1
    failures = min(probed.failures, most)
    if failures <= replica.failures:
        return replica
    is_lost = replica.ready and failures >= most
    return replace(
        replica,
        ready=replica.ready and not is_lost,
        losses=(*replica.losses, *[now] * is_lost)[-CRASHES_KEPT:],
        failures=failures,
        failing_since=replica.failing_since or now,
        probed_at=now,
    )


def _ended(seen: Seen, replica: Replica, process: Process) -> Replica:
    """Note the newest end of a process; a crash is one that nobody asked for (ends between are counted)."""
    at = process.exited_at
    if at is None or (replica.exited_at is not None and at <= replica.exited_at):
        return replica
    ordered = any(o.replica == replica.key and o.identity == replica.identity for o in seen.orders)
    ends = 0 if ordered or not process.crashed else max(1, process.restarts - replica.restarts)
    crashes = (*replica.crashes, *[at] * min(ends, CRASHES_KEPT))[-CRASHES_KEPT:]
    return replace(replica, exited_at=at, crashes=crashes, ended=process.ended)


def _tell_change(before: Replica, after: Replica, out: _Wanted) -> None:
    if before.identity and after.identity and before.identity != after.identity:
        summary = f"{after.key} runs as process {after.identity.pid}, after {before.identity.pid}"
        out.tell(event_types.REPLICA_REPLACED, after.key, summary, restarts=after.restarts)
    if after.ready and not before.ready:
        out.tell(event_types.REPLICA_READY, after.key, f"{after.key} is ready on port {after.port}")
    elif before.ready and not after.ready:
        why = "its process changed" if before.identity != after.identity else "its probes fail"
        out.tell(event_types.REPLICA_UNREADY, after.key, f"{after.key} is not ready: {why}")


def _heal(order: HealOrder) -> Intent:
    act = RestartReplica(
        replica=order.replica,
        identity=order.identity,
        reason=order.reason,
        drain_s=GENTLE_DRAIN_S if order.gentle else 0.0,
    )
    mark = f"{order.identity.pid}-{order.identity.start_ticks}/{int(order.at.timestamp() * 1000)}"
    return Intent(key=f"heal/{order.replica}/{mark}", act=act)


def _leave(seen: Seen, replica: Replica, before: Replica, count: int, now: datetime, out: _Wanted) -> None:
    """Out of rotation, in flight done, stopped, forgotten: each once the one before is observed."""
    out.restless = True
    key, process = stop_key(replica), (seen.processes or {}).get(replica.key)
    if not replica.draining:
        if _may_stop(seen, replica, count, now):
            gone = replace(replica, draining=True, ready=False)
            out.put(gone)
            out.intents.append(_stop(seen, gone))
        else:
            _keep(seen, replica, before, out)  # who has to stay is looked after as before
        return
    if process is None and key in seen.settled:
        out.writes.append(Write(kind="Replica", key=replica.key, body=None))
        _tell_end(seen, replica, out)
    elif key not in seen.pending and key not in seen.settled:
        out.intents.append(_stop(seen, replica))
    elif process is not None and not process.stopping and key in seen.settled:
        again = replace(replica, asked_at=now)  # it was done, and yet it runs: another stop, another key
        out.put(again)
        out.intents.append(_stop(seen, again))


def _tell_end(seen: Seen, replica: Replica, out: _Wanted) -> None:
    out.tell(event_types.REPLICA_STOPPED, replica.key, f"{replica.key} is stopped")
    most_s = drain_s(seen)
    if replica.key in seen.killed and most_s > 0:
        name = f"replica {replica.index} of rollout {replica.rollout}"
        summary = f"{name} ran on for {most_s:g} s after SIGTERM and was killed: what it was doing is lost"
        out.tell(event_types.REPLICA_KILLED, seen.key, summary, replica=replica.key, drain_s=most_s)


def _may_stop(seen: Seen, replica: Replica, count: int, now: datetime) -> bool:
    """Whether nobody can miss it: no weight asked for or acknowledged, and nothing in flight or too long.

    When a rollout only shrinks: whether all the replicas that stay are ready.
    """
    if count > 0:
        stay = [r for r in seen.replicas if r.rollout == replica.rollout and r.index < count]
        return len(stay) == count and all(r.ready for r in stay)
    route = seen.route
    if route is None:
        return True
    if replica.rollout in route.weights or replica.rollout in route.acked:
        return False
    if seen.traffic is None:
        return False
    rollout = next((r for r in seen.rollouts if r.n == replica.rollout), None)
    names = (rollout.cluster, rollout.preview_cluster) if rollout else ()
    active = sum(seen.traffic.active.get(name, 0) for name in names)
    waited_s = (now - route.changed_at).total_seconds() if route.changed_at else drain_s(seen)
    return active == 0 or waited_s >= drain_s(seen)


def drain_s(seen: Seen) -> float:
    """How long a replica may finish what it has begun."""
    return seen.service.strategy.drain_s if seen.service else GENTLE_DRAIN_S


def _stop(seen: Seen, replica: Replica) -> Intent:
    return Intent(key=stop_key(replica), act=StopReplica(replica=replica.key, drain_s=drain_s(seen)))


def _orphans(seen: Seen, known: dict[str, Replica]) -> Iterator[str]:
    """Processes under this service that no record asked for (a store restored from an older copy)."""
    running = seen.processes or {}
    return (key for key, process in running.items() if key not in known and not process.stopping)


def _stop_orphan(seen: Seen, key: str, out: _Wanted) -> None:
    process = (seen.processes or {})[key]
    mark = f"{process.identity.pid}-{process.identity.start_ticks}" if process.identity else "0"
    out.intents.append(
        Intent(key=f"stop/{key}/orphan/{mark}", act=StopReplica(replica=key, drain_s=drain_s(seen)))
    )


# -- traffic --------------------------------------------------------------------------------------


def traffic_key(route: Route) -> str:
    """The key of the intent that applies a route's version."""
    return f"traffic/{route.service}/{route.version}"


def _route(seen: Seen, now: datetime, out: _Wanted) -> tuple[PrefixRef, ...]:
    """Bring the route up to date; returns what its global version was decided from."""
    route = seen.route or Route(service=seen.key)
    if seen.route is None and seen.service is None:
        return ()
    if seen.service is not None and seen.service.port is not None and seen.free_port is not None:
        is_needed = route.port is None or is_port_taken(route, seen.trouble)
        route = replace(route, port=seen.free_port if is_needed else route.port)
    route = _troubled(seen, _acknowledge(seen, route, out), now)
    aim = split(seen if route is seen.route else replace(seen, route=route))
    reads: tuple[PrefixRef, ...] = ()
    if _is_new(seen, route, aim, now):
        route = replace(
            route,
            weights=aim.weights,
            mirror=aim.mirror,
            preview=aim.preview,
            version=seen.top_version + 1,
            step=max((r.step for r in seen.rollouts if r.n == aim.raises), default=route.step),
            verdict=aim.verdict,
            changed_at=now,
        )
        reads = (seen.routes,) if seen.routes else ()
        _tell_route(route, aim, out)
    if route.version > route.acked_version:
        out.restless = True
        if _must_ask(seen, route):
            out.intents.append(_apply(route, aim))
    if _is_spent(seen, route):
        out.writes.append(Write(kind="Route", key=route.service, body=None))
        return (seen.routes,) if seen.routes else ()
    if route != seen.route:
        out.writes.append(Write(kind="Route", key=route.service, body=route))
    return reads


def _is_spent(seen: Seen, route: Route) -> bool:
    """Whether it is that of a branch preview that is over; the highest version stays: none is given twice."""
    if not is_branch_preview(route.service) or seen.service is not None or seen.replicas:
        return False
    return not route.weights and route.version <= route.acked_version and route.version < seen.top_version


def _acknowledge(seen: Seen, route: Route, out: _Wanted) -> Route:
    """Acknowledged is what the performer brought to an end and Envoy still runs."""
    if route.version <= route.acked_version or traffic_key(route) not in seen.settled:
        return route
    if seen.traffic is None or not _is_served(seen.traffic, route):
        return route
    if route.weights != route.acked:
        text = f"Envoy runs {_said(route.weights)} of {route.service}"
        out.tell(event_types.TRAFFIC_ACKNOWLEDGED, route.service, text, version=route.version)
    return replace(route, acked=route.weights, acked_version=route.version)


def _troubled(seen: Seen, route: Route, now: datetime) -> Route:
    """Note what Envoy has against the newest split, until it runs one."""
    if route.acked_version >= route.version:
        return replace(route, trouble="", troubled_since=None)
    if not seen.trouble:
        return route  # it is being tried
    return replace(route, trouble=seen.trouble, troubled_since=route.troubled_since or now)


def _is_new(seen: Seen, route: Route, aim: Split, now: datetime) -> bool:
    if seen.route is None or route.port != seen.route.port or aim.weights != route.weights:
        return True
    if (aim.mirror, aim.preview) != (route.mirror, route.preview):
        return True
    if aim.raises is not None and aim.verdict != route.verdict:
        return True  # the verdict it waited on was dropped; the rollout has asked again
    if seen.traffic is None or (route.changed_at and (now - route.changed_at).total_seconds() < REPAIR_S):
        return False
    done = route.acked_version >= route.version or traffic_key(route) in seen.settled
    return done and (not _is_served(seen.traffic, route) or _has_leftovers(seen))


def _is_served(traffic: TrafficSeen, route: Route) -> bool:
    """Whether Envoy runs this route. A newer plan of another service is no proof: the weights are."""
    if traffic.version < route.version:
        return False
    if traffic.weights is None:
        return True
    mine = f"{route.service}."
    served = {name: weight for name, weight in traffic.weights.items() if name.startswith(mine) and weight}
    return served == {f"{mine}{n}": weight for n, weight in route.weights.items() if weight}


def _has_leftovers(seen: Seen) -> bool:
    """Whether Envoy still knows a cluster of a rollout that is over and has no replica any more."""
    running = {replica.rollout for replica in seen.replicas}
    known = seen.traffic.active if seen.traffic else {}
    return any(r.state.is_final and r.n not in running and r.cluster in known for r in seen.rollouts)


def _must_ask(seen: Seen, route: Route) -> bool:
    """A new version is asked for once; one that was dropped or failed again, unless a verdict forbade it."""
    key = traffic_key(route)
    if seen.route is None or route.version != seen.route.version:
        return True
    return key not in seen.pending and key not in seen.settled and route.verdict is None


def _apply(route: Route, aim: Split) -> Intent:
    act = ApplyTraffic(service=route.service, version=route.version, raises=aim.raises, verdict=aim.verdict)
    return Intent(key=traffic_key(route), act=act)


def _tell_route(route: Route, aim: Split, out: _Wanted) -> None:
    if route.weights == route.acked:
        return
    why = f", allowed by {aim.verdict}" if aim.verdict else ""
    text = f"{route.service} shall split {_said(route.weights)}{why}"
    out.tell(event_types.TRAFFIC_ASKED, route.service, text, version=route.version, verdict=aim.verdict)


def _said(weights: dict[int, int]) -> str:
    parts = [f"{weight} % to rollout {n}" for n, weight in sorted(weights.items())]
    return ", ".join(parts) or "nothing"
