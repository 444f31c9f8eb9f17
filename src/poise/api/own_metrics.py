"""``/metrics`` of Poise itself: how promptly it answers, what it uses, what of metrics was not kept."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from litestar import MediaType, Request, Response, get

from poise import __version__
from poise.adapters.exposition.written import CONTENT_TYPE, Family, written
from poise.adapters.telemetry.limits import FILE as TELEMETRY
from poise.adapters.telemetry.limits import WAL
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.api.targets import health_of
from poise.engine.ruling import GroupStanding
from poise.model.samples import Labels, Metadata, MetricKind

HEALTH: Final = ("up", "down", "unknown")
FILES: Final = ("poise.db", "signals.db", "metrics.db", TELEMETRY)
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@get("/metrics", opt={"permission": "viewer"}, media_type=MediaType.TEXT, sync_to_thread=False)
def metrics(request: Request[Any, Any, Any]) -> Response[str]:
    """Prometheus' text format; names of processes are those of its client libraries."""
    return Response(written(families(parts_of(request))), media_type=CONTENT_TYPE)


def families(parts: Parts) -> list[Family]:
    """What is told."""
    return [*_process(), *_own(parts), *_rules(parts.rules())]


def _process() -> list[Family]:
    status = Path("/proc/self/status").read_text()
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    booted = next(
        float(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line[:5] == "btime"
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    return [
        _one(
            "process_cpu_seconds_total", used.ru_utime + used.ru_stime, "User and system time.", counter=True
        ),
        _one("process_resident_memory_bytes", _kib(status, "VmRSS") * 1024, "Resident memory."),
        _one("process_virtual_memory_bytes", _kib(status, "VmSize") * 1024, "Virtual memory."),
        _one("process_start_time_seconds", booted + int(fields[19]) / _TICKS, "Start since the epoch."),
        _one("process_open_fds", sum(1 for _ in Path("/proc/self/fd").iterdir()), "Open file descriptors."),
        _one("process_max_fds", resource.getrlimit(resource.RLIMIT_NOFILE)[0], "Most of them there may be."),
    ]


def _own(parts: Parts) -> list[Family]:
    lag = parts.loop_lag() if parts.loop_lag else None
    sizes = [(name, _size(parts.data / name)) for name in FILES]
    made = [
        _many("poise_build_info", [((("version", __version__),), 1.0)], "Always 1."),
        _one("poise_leader", float(parts.loop.lease is not None), "1 where this process leads."),
        _many(
            "poise_store_bytes",
            [((("file", name),), float(size)) for name, size in sizes if size is not None],
            "Size of a database with its log.",
        ),
        _many(
            "poise_intake_total",
            [(_counted(name), float(count)) for name, count in sorted(parts.intakes.counts.items())],
            "Samples, spans and log records taken in by source, and by kind what of them was not kept.",
            counter=True,
        ),
    ]
    if parts.scraper is not None:
        health = [health_of(one.health.up) for one in parts.scraper.scrapings.values()]
        counts: list[tuple[Labels, float]] = [
            ((("health", word),), float(health.count(word))) for word in HEALTH
        ]
        made.append(_many("poise_scrape_targets", counts, "Targets that are scraped, by their health."))
    if lag is not None:
        quantiles = (("0.5", lag.p50_ms), ("0.99", lag.p99_ms), ("1", lag.max_ms))
        rows: list[tuple[Labels, float]] = [((("quantile", q),), ms / 1000) for q, ms in quantiles]
        made.append(_many("poise_loop_lag_seconds", rows, "Lag of the scheduler over the last minute."))
    if parts.queries is not None:
        made.append(_one("poise_query_workers", len(parts.queries.pids), "Worker processes there are."))
    return made


def _rules(standings: Sequence[GroupStanding]) -> list[Family]:
    """Of rule groups, where there are any."""
    if not standings:
        return []
    groups: list[tuple[Labels, GroupStanding]] = [
        ((("group", one.group.name), ("rule_file", f"{one.project}/{one.file}")), one) for one in standings
    ]
    failing = [(labels, float(sum(bool(r.error) for r in one.rules))) for labels, one in groups]
    missed = [(labels, float(one.missed)) for labels, one in groups]
    return [
        _many("poise_rules_failing", failing, "Rules whose last evaluation failed."),
        _many("poise_rule_group_iterations_missed_total", missed, "Evaluations that were due and not begun.",
              counter=True),
        _many("poise_rule_group_last_duration_seconds", [(labels, one.seconds) for labels, one in groups],
              "What the last evaluation took."),
    ]  # fmt: skip


def _counted(name: str) -> Labels:
    source, _, kind = name.partition("/")
    return (("kind", kind), ("source", source))


def _one(name: str, value: float, help_: str, *, counter: bool = False) -> Family:
    return _many(name, [((), value)], help_, counter=counter)


def _many(name: str, samples: list[tuple[Labels, float]], help_: str, *, counter: bool = False) -> Family:
    kind = MetricKind.COUNTER if counter else MetricKind.GAUGE
    return Family(about=Metadata(name, kind, help_), samples=tuple(samples))


def _kib(status: str, field: str) -> int:
    return int(status.split(f"{field}:")[1].split()[0])


def _size(path: Path) -> int | None:
    logs = (path.with_name(path.name + ending) for ending in ("-wal", WAL))
    found = [one.stat().st_size for one in (path, *logs) if one.exists()]
    return sum(found) if found else None


ROUTES = [metrics]
