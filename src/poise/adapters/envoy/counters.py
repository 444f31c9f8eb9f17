"""Envoy's statistics as what Poise means by them: acknowledgement and monotone totals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from poise.adapters.envoy.config import ANY_MS
from poise.adapters.envoy.listeners import CALLS_FAILED
from poise.adapters.envoy.xds import ROUTES, STAT_PREFIX
from poise.model import signal
from poise.model.signal import Sample, Series

CDS_VERSION: Final = "cluster_manager.cds.version_text"
LDS_VERSION: Final = "listener_manager.lds.version_text"
RDS_VERSION: Final = f"http.{STAT_PREFIX}.rds.{ROUTES}.version_text"
REJECTIONS: Final = (
    "cluster_manager.cds.update_rejected",
    "listener_manager.lds.update_rejected",
    f"http.{STAT_PREFIX}.rds.{ROUTES}.update_rejected",
)
_GAUGES = r"cluster\..*\.(membership_healthy|membership_total|upstream_rq_active)$"
_RESULTS = r"cluster\..*\.upstream_rq_(completed|5xx|504|retry|time)$"
_ROUTES = r"vhost\..*\.upstream_rq_(completed|5xx|504|time)$"
_CALLS = rf"{CALLS_FAILED}\.by\.(cluster|service)\..*"
_STATE = r"(cluster_manager\.cds|listener_manager\.lds|http\..*\.rds\..*)\.(version_text|update_rejected)$"
STATE_TARGET: Final = f"/stats?format=json&filter={quote(f'^({_STATE}|{_GAUGES})')}"
_READ = quote(f"^({_GAUGES}|{_RESULTS}|{_ROUTES}|{_CALLS})")
READ_TARGET: Final = f"/stats?format=json&histogram_buckets=cumulative&filter={_READ}"


class _Bucket(Struct):
    upper_bound: float
    cumulative: float


class _Histogram(Struct):
    name: str
    buckets: list[_Bucket] = []


class _Item(Struct):
    name: str = ""
    value: int | float | str = 0
    histograms: list[_Histogram] = []


class _Answer(Struct):
    stats: list[_Item]


class Stats(Struct, frozen=True):
    """One reading: numbers and texts by name, and cumulative histograms ``[(bound ms, count)]`` by name."""

    numbers: dict[str, float]
    texts: dict[str, str]
    histograms: dict[str, list[tuple[float, float]]]


def parse(body: bytes) -> Stats:
    """Read the admin's JSON; ``msgspec.ValidationError`` when it is something else."""
    stats = Stats({}, {}, {})
    for item in msgspec.json.decode(body, type=_Answer).stats:
        if isinstance(item.value, str):
            stats.texts[item.name] = item.value
        elif item.name:
            stats.numbers[item.name] = float(item.value)
        for histogram in item.histograms:
            stats.histograms[histogram.name] = [(b.upper_bound, b.cumulative) for b in histogram.buckets]
    return stats


def by_cluster(stats: Stats, what: str) -> dict[str, int]:
    """A gauge of every cluster by its name."""
    return {
        name[len("cluster.") : -len(what) - 1]: int(value)
        for name, value in stats.numbers.items()
        if name.startswith("cluster.") and name.endswith(f".{what}") and ".external." not in name
    }


def samples(stats: Stats) -> dict[str, list[Sample]]:
    """Samples by the cluster they are of; those of services stand under their ``vhost.`` name."""
    found: dict[str, list[Sample]] = {}
    for cluster in by_cluster(stats, "upstream_rq_active"):
        labels = _cluster_labels(cluster)
        if labels:
            failed = _calls(stats, signal.FAILURES_TOTAL, f"cluster.{cluster}", labels)
            found[cluster] = [*_of_cluster(stats, f"cluster.{cluster}.", labels), *failed]
    for name in stats.numbers:
        if name.startswith("vhost.") and name.endswith(".upstream_rq_completed"):
            prefix = name.removesuffix("upstream_rq_completed")
            service = prefix[len("vhost.") :].partition(".route.")[0]
            labels = (("service", service),)
            failed = _calls(stats, signal.ERRORS_TOTAL, f"service.{service}", labels)
            found[prefix] = [*_of_service(stats, prefix, labels), *failed]
    return found


Labels = tuple[tuple[str, str], ...]


def _cluster_labels(cluster: str) -> Labels | None:
    service, _, rollout = cluster.rpartition(".")
    return (("rollout", rollout), ("service", service)) if service and rollout.isdigit() else None


def _of_cluster(stats: Stats, prefix: str, labels: Labels) -> list[Sample]:
    number = stats.numbers
    retried = number.get(f"{prefix}upstream_rq_retry", 0.0)
    trials = number.get(f"{prefix}upstream_rq_completed", 0.0) + retried
    return [
        Sample(Series(signal.TRIALS_TOTAL, labels), trials),
        Sample(Series(signal.FAILURES_TOTAL, labels), number.get(f"{prefix}upstream_rq_5xx", 0.0) + retried),
        Sample(Series(signal.IN_FLIGHT, labels), number.get(f"{prefix}upstream_rq_active", 0.0)),
        *_buckets(stats, prefix, signal.ROLLOUT_LATENCY_BUCKET, labels),
    ]


def _of_service(stats: Stats, prefix: str, labels: Labels) -> list[Sample]:
    number = stats.numbers
    return [
        Sample(Series(signal.REQUESTS_TOTAL, labels), number[f"{prefix}upstream_rq_completed"]),
        Sample(Series(signal.ERRORS_TOTAL, labels), number.get(f"{prefix}upstream_rq_5xx", 0.0)),
        *_buckets(stats, prefix, signal.LATENCY_BUCKET, labels),
    ]


def _calls(stats: Stats, name: str, of: str, labels: Labels) -> Iterable[Sample]:
    """Calls that failed by their gRPC status: a series of its own, since each is monotone by itself."""
    count = stats.numbers.get(f"{CALLS_FAILED}.by.{of}")
    by = tuple(sorted((*labels, ("by", signal.BY_GRPC_STATUS))))
    return [] if count is None else [Sample(Series(name, by), count)]


def _buckets(stats: Stats, prefix: str, name: str, labels: Labels) -> Iterable[Sample]:
    """The histogram with its ``+Inf`` bucket: what was timed, and what Envoy gave up waiting for.

    Envoy times a request whose answer reached its end. One whose user left before is neither quick nor slow,
    one that timed out (504) is slow. What completed bounds both, as an app may answer 504 itself.
    """
    counts = stats.histograms.get(f"{prefix}upstream_rq_time", [])
    if not counts:
        return []
    timed, number = counts[-1][1], stats.numbers
    completed = number.get(f"{prefix}upstream_rq_completed", 0.0)
    if counts[-1][0] >= ANY_MS:  # else an Envoy that an older Poise started: its total goes on as it was
        completed = min(completed, timed + number.get(f"{prefix}upstream_rq_504", 0.0))
    total = max(timed, completed)
    bounded = [(f"{bound:g}", count) for bound, count in counts if bound < ANY_MS]
    return [Sample(Series(name, _sorted(labels, le)), count) for le, count in (*bounded, ("+Inf", total))]


def _sorted(labels: Labels, le: str) -> Labels:
    return tuple(sorted((*labels, ("le", le))))


def rejected(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Whether Envoy has refused a configuration between two readings."""
    return any(after.get(name, 0.0) > before.get(name, 0.0) for name in REJECTIONS)
