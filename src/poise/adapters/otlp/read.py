"""One ExportMetricsServiceRequest, protobuf or JSON, as readings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from poise.adapters.otlp.names import labels_of, metric_name, resource_labels
from poise.model.errors import Invalid
from poise.model.intake import Faults, Faulty, Intake, IntakeLimits, check_labels
from poise.model.samples import NAME, STALE, Labels, Metadata, MetricKind, Reading

CUMULATIVE: Final = 2
NO_RECORDED_VALUE: Final = 1
POWERS: Final = range(-10, 16)  # of two: bounds of converted histograms, 1 ms to 9 h in seconds
POWERS_OF_BYTES: Final = range(4, 35)  # 16 B to 16 GiB
Point = tuple[str, dict[str, str], float]  # name's suffix, labels beside the point's own, value
Rows = dict[Labels, float]


class MetricsRequest:
    """Reads requests. ``Invalid`` when one is none at all; a point that cannot be kept is a fault."""

    def __init__(self, limits: IntakeLimits | None = None) -> None:
        self._limits = limits or IntakeLimits()

    def read(self, body: bytes, *, json: bool, now_ms: int) -> Intake:
        """Points without an instant are taken as of ``now_ms``."""
        taken = _Taken(self._limits, now_ms)
        for resource in _parsed(body, json=json).resource_metrics:
            own, rest = resource_labels(resource.resource)
            newest = 0
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    newest = max(newest, taken.metric(metric, own))
            if rest and newest and own:
                taken.put("target_info", {**dict(rest), **own}, own, newest, 1.0)
        return taken.intake()


def answered(intake_rejected: int, message: str, *, json: bool) -> bytes:
    """The response: empty, or a partial success."""
    made = ExportMetricsServiceResponse()
    if intake_rejected:
        made.partial_success.rejected_data_points = intake_rejected
        made.partial_success.error_message = message
    return json_format.MessageToJson(made).encode() if json else bytes(made.SerializeToString())


def _parsed(body: bytes, *, json: bool) -> Any:
    made = ExportMetricsServiceRequest()
    try:
        if json:
            json_format.Parse(body.decode(), made, ignore_unknown_fields=True, max_recursion_depth=50)
        else:
            made.ParseFromString(body)
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Invalid(
            "POISE-M401", "this is no ExportMetricsServiceRequest", where="otlp", why=f"{str(error)[:200]}.",
            mend="Send OTLP/HTTP with content-type application/x-protobuf or application/json.",
        ) from None  # fmt: skip
    return made


class _Taken:
    """What a request gave so far."""

    def __init__(self, limits: IntakeLimits, now_ms: int) -> None:
        self._limits, self._now_ms = limits, now_ms
        self._rows: dict[tuple[str, int], Rows] = {}
        self._about: dict[str, Metadata] = {}
        self.faults = Faults()
        self.samples = 0

    def metric(self, metric: Any, own: dict[str, str]) -> int:
        """Take a metric's points; the newest instant among them, in ms."""
        kind = metric.WhichOneof("data")
        if kind is None:
            return 0
        data = getattr(metric, kind)
        points = data.data_points
        counter = kind == "sum" and data.is_monotonic
        if getattr(data, "aggregation_temporality", CUMULATIVE) != CUMULATIVE:
            what = f"{metric.name[:80]} has delta temporality; set the exporter to cumulative"
            self.faults.add("delta-temporality", what, count=max(1, len(points)))
            return 0
        gauge = kind == "gauge" or (kind == "sum" and not counter)
        name = metric_name(metric.name, metric.unit, counter=counter, gauge=kind == "gauge")
        said = MetricKind.COUNTER if counter else MetricKind.GAUGE if gauge else _KINDS[kind]
        about = Metadata(name, said, metric.description[:1000], metric.unit[:100])
        self._about.setdefault(name, about)
        newest = 0
        for point in points:
            at_ms = point.time_unix_nano // 1_000_000 or self._now_ms
            newest = max(newest, at_ms)
            try:
                self._point(name, kind, metric.unit, point, own, at_ms)
            except Faulty as fault:
                self.faults.add(fault.kind, fault.what)
        return newest

    def _point(self, name: str, kind: str, unit: str, point: Any, own: dict[str, str], at_ms: int) -> None:
        mine = labels_of(point.attributes)
        gone = bool(point.flags & NO_RECORDED_VALUE)
        for suffix, more, value in _SAMPLES[kind](point, unit):
            self.put(name + suffix, {**mine, **own, **more}, own, at_ms, STALE if gone else value)

    def put(self, name: str, labels: dict[str, str], own: dict[str, str], at_ms: int, value: float) -> None:
        """One sample."""
        made = tuple(sorted((key, text) for key, text in {**labels, NAME: name}.items() if text))
        if not name:
            raise Faulty("labels", "a metric has no name")
        check_labels(made, self._limits)
        target = f"push/{own.get('job', '')}/{own.get('instance', '')}"[:300]
        rows = self._rows.setdefault((target, at_ms), {})
        if made in rows:
            raise Faulty("duplicate", f"{name} is there twice with the same labels")
        rows[made] = value
        self.samples += 1

    def intake(self) -> Intake:
        """All of it."""
        readings = tuple(
            Reading(
                target=target,
                series=tuple(rows),
                at_ms=np.array([at_ms], np.int64),
                values=np.array(list(rows.values()), np.float64)[:, None],
            )
            for (target, at_ms), rows in sorted(self._rows.items())
        )
        return Intake(
            readings=readings,
            metadata=tuple(self._about.values()),
            faults=tuple(self.faults.named),
            counts=dict(self.faults.counts),
            samples=self.samples,
        )


# -- samples of a point ---------------------------------------------------------------------------


def _number(point: Any, _unit: str) -> Iterator[Point]:
    yield "", {}, float(point.as_double if point.WhichOneof("value") == "as_double" else point.as_int)


def _histogram(point: Any, _unit: str) -> Iterator[Point]:
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    if counts and len(counts) != len(bounds) + 1:
        raise Faulty("histogram", f"{len(counts)} buckets for {len(bounds)} bounds")
    if any(not below < above for below, above in pairwise(bounds)):
        raise Faulty("histogram", "bounds do not ascend")
    yield from _buckets(bounds if counts else [], np.cumsum(counts[:-1]).tolist(), point)


def _exponential(point: Any, unit: str) -> Iterator[Point]:
    """At fixed powers of two, so that the same bounds come every time; finer buckets are added up.

    With a scale of 0 or more each power of two is a bound, so the counts at them are exact.
    """
    if not -10 <= point.scale <= 20:
        raise Faulty("histogram", f"scale {point.scale} is out of -10..20")
    powers = POWERS_OF_BYTES if unit.endswith("By") else POWERS
    below = point.zero_count + sum(point.negative.bucket_counts)
    counts = np.array(point.positive.bucket_counts, np.float64)
    # bucket i ends at 2 ** ((offset + i + 1) / 2 ** scale)
    ends = (point.positive.offset + 1 + np.arange(len(counts))) / 2.0**point.scale
    bounds = [2.0**power for power in powers]
    yield from _buckets(bounds, [below + float(counts[ends <= power].sum()) for power in powers], point)


def _buckets(bounds: Iterable[float], counts: Iterable[float], point: Any) -> Iterator[Point]:
    for bound, count in zip(bounds, counts, strict=True):
        if math.isfinite(bound):
            yield "_bucket", {"le": _shown(bound)}, float(count)
    yield "_bucket", {"le": "+Inf"}, float(point.count)
    yield "_count", {}, float(point.count)
    if point.HasField("sum"):
        yield "_sum", {}, float(point.sum)


def _summary(point: Any, _unit: str) -> Iterator[Point]:
    for one in point.quantile_values:
        yield "", {"quantile": _shown(one.quantile)}, float(one.value)
    yield "_count", {}, float(point.count)
    yield "_sum", {}, float(point.sum)


def _shown(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)


_SAMPLES: Final = {
    "gauge": _number,
    "sum": _number,
    "histogram": _histogram,
    "exponential_histogram": _exponential,
    "summary": _summary,
}
_KINDS: Final = {
    "histogram": MetricKind.HISTOGRAM,
    "exponential_histogram": MetricKind.HISTOGRAM,
    "summary": MetricKind.SUMMARY,
}
