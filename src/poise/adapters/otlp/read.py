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
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    SummaryDataPoint,
)

from poise.adapters.otlp.memory import Family, Memory, Parts, Source
from poise.adapters.otlp.names import labels_of, resource_labels
from poise.model.errors import Invalid
from poise.model.intake import Faults, Faulty, Intake, IntakeLimits, check_labels
from poise.model.samples import NAME, STALE, Labels, Metadata, Reading

DELTA: Final = 1
CUMULATIVE: Final = 2
NO_RECORDED_VALUE: Final = 1
POWERS: Final = range(-10, 16)  # of two: bounds of converted histograms, 1 ms to 9 h in seconds
POWERS_OF_BYTES: Final = range(4, 35)  # 16 B to 16 GiB
Point = tuple[str, str, float]  # name's suffix, value of le or quantile if any, value
Rows = dict[int, float]  # by the number of the series
_WHOLE: Final = ("", "")  # the one series of a point of one value
_NONE: Final[Parts] = {}
_CLEARED: Final = ("value", "time_unix_nano", "start_time_unix_nano", "exemplars", "flags")


class MetricsRequest:
    """Reads requests, one after another. ``Invalid`` when one is none at all; a point that cannot be kept is
    a fault. Not for two threads at once.

    Deltas are added up, series by series, for as long as this reader lives and remembers them.
    """

    def __init__(self, limits: IntakeLimits | None = None, memory: Memory | None = None) -> None:
        self._limits = limits or IntakeLimits()
        self._memory = memory or Memory()

    def read(self, body: bytes, *, json: bool, now_ms: int) -> Intake:
        """Points without an instant are taken as of ``now_ms``."""
        self._memory.trim()
        taken = _Taken(self._limits, self._memory, now_ms)
        for resource in _parsed(body, json=json).resource_metrics:
            own, rest = resource_labels(resource.resource)
            source = self._memory.source(own)
            newest = 0
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    newest = max(newest, taken.metric(metric, source))
            if rest and newest and own:
                taken.about(source, dict(rest), newest)
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

    def __init__(self, limits: IntakeLimits, memory: Memory, now_ms: int) -> None:
        self._limits, self._memory, self._now_ms = limits, memory, now_ms
        self._rows: dict[str, dict[int, Rows]] = {}  # by target and instant, ms
        self._about: dict[str, Metadata] = {}
        self.faults = Faults()

    def metric(self, metric: Any, source: Source) -> int:
        """Take a metric's points; the newest instant among them, in ms."""
        kind = metric.WhichOneof("data")
        if kind is None:
            return 0
        data = getattr(metric, kind)
        points = data.data_points
        counter = kind == "sum" and data.is_monotonic
        temporality = CUMULATIVE if kind in ("gauge", "summary") else data.aggregation_temporality
        if temporality not in (CUMULATIVE, DELTA):
            what = f"{metric.name[:80]} does not say whether it is delta or cumulative"
            self.faults.add("temporality", what, count=max(1, len(points)))
            return 0
        family = self._memory.family(source, metric, kind, counter, temporality)
        if not family.name:
            self.faults.add("labels", "a metric has no name", count=max(1, len(points)))
            return 0
        self._about[family.name] = family.about
        return self._numbers(family, points) if kind in ("gauge", "sum") else self._others(family, points)

    def _numbers(self, family: Family, points: Iterable[Any]) -> int:
        """Points of one value: the many, and so with as few steps each as can be."""
        known, delta, rows = family.known, family.delta, self._rows_of(family.source)
        newest = 0
        for point in points:
            end, flags, value = point.time_unix_nano, point.flags, point.as_double
            if not value and point.HasField("as_int"):
                value = float(point.as_int)
            at_ms = end // 1_000_000 or self._now_ms
            if at_ms > newest:
                newest = at_ms
            start = point.start_time_unix_nano if delta else 0
            for name in _CLEARED:
                point.ClearField(name)
            key = point.SerializeToString()
            parts = known.get(key)
            try:
                number = parts[_WHOLE] if parts else self._met(family, key, point, "", "")
                if flags & NO_RECORDED_VALUE:
                    value = self._gone(number)
                elif delta:
                    value = self._added(family, number, (start, end or at_ms * 1_000_000), value)
                row = rows.get(at_ms)
                if row is None:
                    row = rows[at_ms] = {}
                _put(family.name, row, number, value)
            except Faulty as fault:
                self.faults.add(fault.kind, fault.what)
        return newest

    def _others(self, family: Family, points: Iterable[Any]) -> int:
        """Histograms and summaries: several samples each."""
        newest = 0
        for point in points:
            end, start = point.time_unix_nano, point.start_time_unix_nano
            at_ms = end // 1_000_000 or self._now_ms
            newest = max(newest, at_ms)
            row = self._rows_of(family.source).setdefault(at_ms, {})
            gone = bool(point.flags & NO_RECORDED_VALUE)
            try:
                samples = list(_SAMPLES[family.kind](point, family.unit))
                key = _attributes(point)
                for suffix, bound, value in samples:
                    number = family.known.get(key, _NONE).get((suffix, bound))
                    if number is None:
                        number = self._met(family, key, point, suffix, bound)
                    if gone:
                        value = self._gone(number)
                    elif family.delta:
                        value = self._added(family, number, (start, end or at_ms * 1_000_000), value)
                    _put(family.name, row, number, value)
            except Faulty as fault:
                self.faults.add(fault.kind, fault.what)
        return newest

    def about(self, source: Source, rest: dict[str, str], at_ms: int) -> None:
        """What a sender says of itself, as ``target_info``."""
        labels = _sorted({**rest, **source.own}, "target_info")
        try:
            check_labels(labels, self._limits)
        except Faulty as fault:
            self.faults.add(fault.kind, fault.what)
            return
        self._rows_of(source).setdefault(at_ms, {})[self._memory.learn(labels)] = 1.0

    def _rows_of(self, source: Source) -> dict[int, Rows]:
        return self._rows.setdefault(source.target, {})

    def _met(self, family: Family, key: bytes, point: Any, suffix: str, bound: str) -> int:
        """The number of a series that is met for the first time."""
        more = {("quantile" if family.kind == "summary" else "le"): bound} if bound else {}
        labels = _sorted({**labels_of(point.attributes), **family.source.own, **more}, family.name + suffix)
        check_labels(labels, self._limits)
        number = self._memory.learn(labels)
        family.known.setdefault(key, {})[suffix, bound] = number
        return number

    def _added(self, family: Family, number: int, span: tuple[int, int], delta: float) -> float:
        start, end = span
        total, begins = self._memory.added(number, start, end, delta)
        start_ms = start // 1_000_000 + 1  # the one before may have ended at the start itself
        if begins and start and start_ms < end // 1_000_000:
            self._rows_of(family.source).setdefault(start_ms, {}).setdefault(number, 0.0)
        return total

    def _gone(self, number: int) -> float:
        self._memory.sums.pop(number, None)
        return STALE

    def intake(self) -> Intake:
        """All of it."""
        readings = tuple(
            Reading(
                target=target,
                series=self._memory.layout(target, tuple(rows)),
                at_ms=np.array([at_ms], np.int64),
                values=np.fromiter(rows.values(), np.float64, len(rows))[:, None],
            )
            for target, by_instant in sorted(self._rows.items())
            for at_ms, rows in sorted(by_instant.items())
            if rows
        )
        return Intake(
            readings=readings,
            metadata=tuple(self._about.values()),
            faults=tuple(self.faults.named),
            counts=dict(self.faults.counts),
            samples=sum(len(rows) for one in self._rows.values() for rows in one.values()),
        )


def _put(name: str, row: Rows, number: int, value: float) -> None:
    if number in row:
        raise Faulty("duplicate", f"{name[:80]} is there twice with the same labels")
    row[number] = value


def _sorted(labels: dict[str, str], name: str) -> Labels:
    return tuple(sorted((key, text) for key, text in {**labels, NAME: name}.items() if text))


def _attributes(point: Any) -> bytes:
    """What tells a point from its neighbours: the point as bytes, once all else was taken from it.

    Comparing these bytes is many times cheaper than to read attribute after attribute.
    """
    for name in _FIELDS[type(point)]:
        point.ClearField(name)
    return bytes(point.SerializeToString())


# -- samples of a point ---------------------------------------------------------------------------


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
            yield "_bucket", _shown(bound), float(count)
    yield "_bucket", "+Inf", float(point.count)
    yield "_count", "", float(point.count)
    if point.HasField("sum"):
        yield "_sum", "", float(point.sum)


def _summary(point: Any, _unit: str) -> Iterator[Point]:
    for one in point.quantile_values:
        yield "", _shown(one.quantile), float(one.value)
    yield "_count", "", float(point.count)
    yield "_sum", "", float(point.sum)


def _shown(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)


_SAMPLES: Final = {
    "histogram": _histogram,
    "exponential_histogram": _exponential,
    "summary": _summary,
}
_FIELDS: Final = {
    kind: tuple(field.name for field in kind.DESCRIPTOR.fields if field.name != "attributes")
    for kind in (HistogramDataPoint, ExponentialHistogramDataPoint, SummaryDataPoint)
}
