"""Envoy's listeners: the ingress, with and without TLS, and one on loopback per service for dependents."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

from poise.adapters.envoy.xds import HTTP2, RDS, ROUTES, STAT_PREFIX, Json, T, response, source
from poise.ports.traffic import TrafficPlan

STAT_TLS: Final = f"{STAT_PREFIX}-tls"
STREAMS_MAX: Final = 100  # of one user's HTTP/2 connection; this and the windows as Envoy advises at an edge
STREAM_WINDOW_BYTES: Final = 1 << 16
CONNECTION_WINDOW_BYTES: Final = 1 << 20
KEEPALIVE: Final = {"keepalive_time": 60, "keepalive_interval": 15, "keepalive_probes": 4}
"""Finds users that are gone: a stream that may rest is not ended for resting."""
CALLS_FAILED: Final = "grpc_failures"
FAILED_STATUSES: Final = (2, 4, 13, 14, 15)  # UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS
"""What a gRPC server is to blame for. Source: OpenTelemetry's semantic conventions for gRPC, the status of a
server's span; without UNIMPLEMENTED, which a caller of another version gets.
"""


class Doors(Struct, frozen=True, kw_only=True):
    """Where users enter: ``secrets`` are certificates by the name of their file, with the hosts each is for.

    Without ``https_port`` or a certificate there is no TLS, and nothing is redirected to it. Who asks for a
    host of none gets the first.
    """

    address: str = "127.0.0.1"
    https_port: int | None = None
    redirect: bool = False
    secrets: tuple[tuple[str, tuple[str, ...]], ...] = ()


DOORS: Final = Doors()


def listeners(plan: TrafficPlan, folder: Path, doors: Doors = DOORS) -> list[Json]:
    """All of a plan's listeners."""
    inside = [_listener(host.service, "127.0.0.1", host.port, _passed(folder)) for host in plan.hosts]
    return [*ingress(plan.ingress_port, folder, doors), *inside]


def ingress(port: int, folder: Path, doors: Doors) -> list[Json]:
    """The listeners at which users enter."""
    if doors.https_port is None or not doors.secrets:
        return [_listener(STAT_PREFIX, doors.address, port, _passed(folder))]
    plain = _redirected(doors.https_port) if doors.redirect else _passed(folder)
    secure = _listener(STAT_TLS, doors.address, doors.https_port, _passed(folder))
    [filters] = secure["filter_chains"]
    taken: set[str] = set()
    chains = []
    for secret, hosts in doors.secrets:
        fresh = [host for host in hosts if host not in taken]
        taken.update(fresh)
        if fresh:  # two chains for one name would be refused
            match = {"server_names": fresh}
            chains.append({**filters, "filter_chain_match": match, "transport_socket": _tls(folder, secret)})
    secure["filter_chains"] = chains
    secure["default_filter_chain"] = {**filters, "transport_socket": _tls(folder, doors.secrets[0][0])}
    inspector = {"@type": T + "extensions.filters.listener.tls_inspector.v3.TlsInspector"}
    secure["listener_filters"] = [{"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}]
    return [_listener(STAT_PREFIX, doors.address, port, plain), secure]


def secret_file(folder: Path, secret: str) -> Path:
    """Where a certificate and its key are kept for Envoy (0600)."""
    return folder / "sds" / f"{secret}.json"


def secret_body(secret: str, chain: str, key: str) -> bytes:
    """The SDS file of a certificate and its key, both PEM: read together, they always fit."""
    pair = {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}
    resource = {
        "@type": T + "extensions.transport_sockets.tls.v3.Secret",
        "name": secret,
        "tls_certificate": pair,
    }
    return response(0, [resource])


def _tls(folder: Path, secret: str) -> Json:
    path = secret_file(folder, secret)
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [
            {"name": secret, "sds_config": source(path.parent, path.name)}
        ],
    }
    context = {
        "@type": T + "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": common,
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _passed(folder: Path) -> Json:
    return {"rds": {"config_source": source(folder, RDS), "route_config_name": ROUTES}}


def _redirected(port: int) -> Json:
    """To the same host and path; 308, so that a POST remains one. Source: RFC 9110, 15.4.9."""
    there = {"https_redirect": True, "port_redirect": port, "response_code": "PERMANENT_REDIRECT"}
    host = {"name": "redirect", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "redirect": there}]}
    return {"route_config": {"name": "redirect", "virtual_hosts": [host]}}


def _listener(name: str, address: str, port: int, routes: Json) -> Json:
    connections = {
        "@type": T + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "codec_type": "AUTO",
        **routes,
        "server_header_transformation": "PASS_THROUGH",
        "use_remote_address": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": "300s",
        "access_log": [_failed_calls()],
        HTTP2: {
            "max_concurrent_streams": STREAMS_MAX,
            "initial_stream_window_size": STREAM_WINDOW_BYTES,
            "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": T + "extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}
    return {
        "@type": T + "config.listener.v3.Listener",
        "name": name,
        "address": {"socket_address": {"address": address, "port_value": port}},
        "tcp_keepalive": KEEPALIVE,
        "enable_reuse_port": False,  # else a second Envoy would share the port in silence
        "filter_chains": [{"filters": [manager]}],
    }


def _failed_calls() -> Json:
    """Counts calls that an app answered with 200 and failed by ``grpc-status``.

    What Envoy answers for it is counted already, as a 5xx.
    """
    failed = f"response.grpc_status in {list(FAILED_STATUSES)}"
    said_by_app = "response.code == 200 && response.code_details == 'via_upstream'"
    is_call = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    expression = {
        "@type": T + "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        "expression": f"{said_by_app} && {failed}",
    }
    by = (("cluster", "%UPSTREAM_CLUSTER_RAW%"), ("service", "%ROUTE_NAME%"))
    return {
        "name": "envoy.access_loggers.stats",
        "filter": {
            "and_filter": {
                "filters": [
                    {"header_filter": {"header": is_call}},
                    {
                        "extension_filter": {
                            "name": "envoy.access_loggers.extension_filters.cel",
                            "typed_config": expression,
                        }
                    },
                ]
            }
        },
        "typed_config": {
            "@type": T + "extensions.access_loggers.stats.v3.Config",
            "stat_prefix": CALLS_FAILED,
            "counters": [
                {
                    "stat": {"name": "by", "tags": [{"name": name, "value_format": value}]},
                    "value_fixed": 1,
                }
                for name, value in by
            ],
        },
    }
