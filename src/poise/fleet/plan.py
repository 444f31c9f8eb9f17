"""The traffic plan of all services from their routes and rollouts: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from poise.model.branch_preview import is_branch_preview
from poise.model.delivery import Rollout, RolloutState
from poise.model.fleet import Route
from poise.model.service import Protocol, Service
from poise.ports.traffic import Asked, Cluster, Copies, TrafficPlan, VirtualHost


def plan_of(
    routes: Sequence[Route],
    rollouts: Mapping[str, Iterable[Rollout]],
    applied: Collection[str],
    ingress_port: int,
) -> TrafficPlan:
    """The plan at the highest version of all routes.

    Only the services in ``applied`` have what their routes ask for: of any other what is acknowledged goes
    in, since its own verdict has not been checked here.
    """
    hosts = []
    for route in sorted(routes, key=lambda route: route.service):
        weights = route.weights if route.service in applied else route.acked
        host = _host(route, weights, list(rollouts.get(route.service, ())))
        if host is not None:
            hosts.append(host)
    version = max((route.version for route in routes), default=0)
    return TrafficPlan(version=version, ingress_port=ingress_port, hosts=_distinct(hosts))


def _distinct(hosts: Sequence[VirtualHost]) -> tuple[VirtualHost, ...]:
    """Each host name once: Envoy refuses the whole configuration where one stands twice.

    Declarations are refused for it; should two get by all the same, who serves under the name keeps it, and
    the other is reached by its port. A branch preview never has that of a declared service.
    """
    owners: dict[str, str] = {}
    for host in sorted(hosts, key=lambda host: (is_branch_preview(host.service), not host.weights)):
        for name in host.hostnames:
            owners.setdefault(name, host.service)
    return tuple(
        replace(host, hostnames=tuple(name for name in host.hostnames if owners[name] == host.service))
        for host in hosts
    )


def _host(route: Route, weights: Mapping[int, int], rollouts: Sequence[Rollout]) -> VirtualHost | None:
    if route.port is None:
        return None  # a worker: nobody reaches it
    known = {rollout.n: rollout for rollout in rollouts}
    running = [r for r in rollouts if r.n in weights or r.state.is_active or r.state is RolloutState.LIVE]
    newest = max(running, key=lambda rollout: rollout.n, default=None)
    spec = newest.spec if newest else None
    return VirtualHost(
        service=route.service,
        hostnames=_hostnames(route, spec),
        port=route.port,
        weights=tuple((known[n].cluster, weight) for n, weight in sorted(weights.items()) if n in known),
        mirror=_mirror(route, known),
        preview=_preview(route, known),
        clusters=tuple(_clusters(running, route)),
        request_timeout_s=spec.request_timeout_s if spec else 15.0,
        per_try_timeout_s=spec.per_try_timeout_s if spec else 1.0,
    )


def _hostnames(route: Route, spec: Service | None) -> tuple[str, ...]:
    if spec is not None and spec.hostname:
        return (spec.hostname,)
    if is_branch_preview(route.service):
        return ()  # it is stopped: its host is nobody's
    return (f"{route.service.rpartition('/')[2]}.localhost",)


def _mirror(route: Route, known: Mapping[int, Rollout]) -> Copies | None:
    if route.mirror is None or route.mirror[0] not in known:
        return None
    rollout = known[route.mirror[0]]
    writes = rollout.spec.strategy.mirror.writes
    return Copies(cluster=rollout.cluster, percent=route.mirror[1], writes=writes)


def _clusters(running: Sequence[Rollout], route: Route) -> Iterator[Cluster]:
    for rollout in sorted(running, key=lambda rollout: rollout.n):
        cluster = Cluster(
            name=rollout.cluster,
            http2=rollout.spec.protocol is not Protocol.HTTP,
            per_try_timeout_s=rollout.spec.per_try_timeout_s,
        )
        yield cluster
        if rollout.n == route.preview:
            yield replace(cluster, name=rollout.preview_cluster, endpoints=rollout.cluster)


def _preview(route: Route, known: Mapping[int, Rollout]) -> Asked | None:
    rollout = known.get(route.preview or 0)
    if rollout is None:
        return None
    preview = rollout.spec.strategy.preview
    return Asked(cluster=rollout.preview_cluster, header=preview.header, cookie=preview.cookie)
