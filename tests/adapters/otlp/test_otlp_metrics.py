"""OTLP metrics become Prometheus' series; what cannot be kept is named and the rest is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from poise.adapters.otlp import MetricsRequest
from poise.adapters.otlp.memory import Memory
from poise.adapters.otlp.names import metric_name
from poise.model.errors import Invalid
from poise.model.intake import Intake
from poise.model.samples import NAME, STALE_BITS

NOW_MS = 1_800_000_000_000
NANO = NOW_MS * 1_000_000


def request(fill: Callable[[Any], None]) -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    resource = made.resource_metrics.add()
    for key, value in {
        "service.namespace": "acme",
        "service.name": "shop",
        "service.instance.id": "i1",
        "os": "l",
    }.items():
        one = resource.resource.attributes.add(key=key)
        one.value.string_value = value
    fill(resource.scope_metrics.add().metrics)
    return made


def read(made: ExportMetricsServiceRequest) -> Intake:
    return MetricsRequest().read(made.SerializeToString(), json=False, now_ms=NOW_MS)


def samples(intake: Intake) -> dict[tuple[tuple[str, str], ...], float]:
    """By labels without job and instance."""
    found = {}
    for reading in intake.readings:
        assert reading.at_ms.tolist() == [NOW_MS]
        for labels, value in zip(reading.series, reading.values[:, 0].tolist(), strict=True):
            rest = dict(labels)
            assert (rest.pop("job"), rest.pop("instance")) == ("acme/shop", "i1")
            found[tuple(sorted(rest.items()))] = value
    return found


def named(name: str, **labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({NAME: name, **labels}.items()))


def counter(metrics: Any) -> None:
    metric = metrics.add(name="http.requests", unit="{request}")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
    point = metric.sum.data_points.add(time_unix_nano=NANO, as_int=7)
    point.attributes.add(key="http.method").value.string_value = "GET"
    point.attributes.add(key="ok").value.bool_value = True


def histogram(metrics: Any) -> None:
    metric = metrics.add(name="duration", unit="s")
    metric.histogram.aggregation_temporality = 2
    metric.histogram.data_points.add(
        time_unix_nano=NANO, count=6, sum=3.5, bucket_counts=[1, 2, 3], explicit_bounds=[0.1, 1]
    )


def exponential(metrics: Any) -> None:
    metric = metrics.add(name="wait", unit="s")
    metric.exponential_histogram.aggregation_temporality = 2
    point = metric.exponential_histogram.data_points.add(
        time_unix_nano=NANO, count=10, sum=9.0, scale=1, zero_count=1
    )
    point.positive.offset = -2  # buckets end at 2^-0.5, 1, 2^0.5, 2, ...
    point.positive.bucket_counts.extend([2, 3, 1, 3])


def test_a_counter_has_its_suffix_its_labels_and_what_its_resource_says() -> None:
    intake = read(request(counter))
    assert samples(intake) == {
        named("http_requests_total", http_method="GET", ok="true"): 7.0,
        named("target_info", os="l"): 1.0,
    }
    assert [reading.target for reading in intake.readings] == ["push/acme/shop/i1"]
    assert intake.metadata[0].name == "http_requests_total"


def test_a_histogram_is_classic_and_cumulative() -> None:
    found = samples(read(request(histogram)))
    assert {key: value for key, value in found.items() if dict(key)[NAME] != "target_info"} == {
        named("duration_seconds_bucket", le="0.1"): 1.0,
        named("duration_seconds_bucket", le="1"): 3.0,
        named("duration_seconds_bucket", le="+Inf"): 6.0,
        named("duration_seconds_count"): 6.0,
        named("duration_seconds_sum"): 3.5,
    }


def test_an_exponential_histogram_is_exact_at_powers_of_two() -> None:
    found = samples(read(request(exponential)))
    bounds = {dict(key)["le"]: value for key, value in found.items() if "le" in dict(key)}
    assert (bounds["0.5"], bounds["1"], bounds["2"], bounds["4"], bounds["+Inf"]) == (1, 6, 10, 10, 10)
    assert len(bounds) == 27


def delta(value: int, second: int, *, temporality: int = 1, start: int | None = None) -> bytes:
    """A delta of the second that ends then."""

    def fill(metrics: Any) -> None:
        metric = metrics.add(name="hits")
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = temporality, True
        metric.sum.data_points.add(
            time_unix_nano=NANO + second * 10**9,
            start_time_unix_nano=NANO + (second - 1 if start is None else start) * 10**9,
            as_int=value,
        )

    return request(fill).SerializeToString()


def hits(intake: Intake) -> list[tuple[int, float]]:
    """(ms since ``NOW_MS``, value) of the counter."""
    return [
        (int(one.at_ms[0]) - NOW_MS, float(value))
        for one in intake.readings
        for labels, value in zip(one.series, one.values[:, 0], strict=True)
        if dict(labels)[NAME] == "hits_total"
    ]


def test_deltas_are_added_up_from_a_zero_at_their_start() -> None:
    """A counter that began at its first delta would have lost that one to every rate."""
    reader = MetricsRequest()
    first = reader.read(delta(5, 1), json=False, now_ms=NOW_MS)
    second = reader.read(delta(7, 2), json=False, now_ms=NOW_MS)
    assert hits(first) == [(1, 0.0), (1000, 5.0)]
    assert hits(second) == [(2000, 12.0)]
    # a new reader is a restart: the counter begins again, and says so by a zero
    assert hits(MetricsRequest().read(delta(1, 3), json=False, now_ms=NOW_MS)) == [(2001, 0.0), (3000, 1.0)]


def test_a_delta_that_is_sent_twice_is_added_once() -> None:
    """A sender whose answer was lost sends again; what it counted must not count twice."""
    reader = MetricsRequest()
    for body in (delta(5, 1), delta(7, 2)):
        reader.read(body, json=False, now_ms=NOW_MS)
    again = reader.read(delta(7, 2), json=False, now_ms=NOW_MS)
    assert (hits(again), again.counts) == ([(2000, 12.0)], {})
    late = reader.read(delta(5, 1), json=False, now_ms=NOW_MS)
    assert (hits(late), late.counts) == ([], {"delta-order": 1})
    assert hits(reader.read(delta(1, 3), json=False, now_ms=NOW_MS)) == [(3000, 13.0)]


def test_deltas_of_histograms_are_added_bucket_by_bucket() -> None:
    def fill(metrics: Any) -> None:
        histogram(metrics)
        metrics[0].histogram.aggregation_temporality = 1
        exponential(metrics)
        metrics[1].exponential_histogram.aggregation_temporality = 1

    reader, made = MetricsRequest(), request(fill)
    reader.read(made.SerializeToString(), json=False, now_ms=NOW_MS)
    for one in made.resource_metrics[0].scope_metrics[0].metrics:
        getattr(one, one.WhichOneof("data")).data_points[0].time_unix_nano += 1_000_000
    (reading,) = reader.read(made.SerializeToString(), json=False, now_ms=NOW_MS).readings
    found = {
        (dict(labels)[NAME], dict(labels).get("le", "")): value
        for labels, value in zip(reading.series, reading.values[:, 0].tolist(), strict=True)
    }
    assert found["duration_seconds_bucket", "1"] == 6.0
    assert found["duration_seconds_count", ""] == 12.0
    assert found["wait_seconds_bucket", "0.5"] == 2.0
    assert found["wait_seconds_sum", ""] == 18.0


def test_what_says_no_temporality_is_refused_and_named() -> None:
    intake = MetricsRequest().read(delta(1, 1, temporality=0), json=False, now_ms=NOW_MS)
    assert intake.counts == {"temporality": 1}
    assert "hits does not say" in str(intake.faults[0])


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30))
def test_the_newest_sum_is_all_deltas_together(values: list[int]) -> None:
    reader = MetricsRequest()
    for second, value in enumerate(values):
        intake = reader.read(delta(value, second + 1), json=False, now_ms=NOW_MS)
    assert hits(intake)[-1][1] == sum(values)


def test_memory_is_bounded() -> None:
    """A flood of series costs what was remembered, never the process."""

    def flood(name: str) -> Callable[[Any], None]:
        def fill(metrics: Any) -> None:
            for n in range(60):
                metrics.add(name=f"{name}{n}").gauge.data_points.add(time_unix_nano=NANO, as_double=n)

        return fill

    memory = Memory(series=100)
    reader = MetricsRequest(memory=memory)
    for name in "abcdef":
        intake = reader.read(request(flood(name)).SerializeToString(), json=False, now_ms=NOW_MS)
        assert intake.samples == 61 and not intake.counts
        assert len(memory.labels) <= 100 + 61


def test_attributes_in_another_order_are_the_same_series() -> None:
    def fill(metrics: Any) -> None:
        points = metrics.add(name="g").gauge.data_points
        for order in ("ab", "ba"):
            point = points.add(time_unix_nano=NANO, as_double=1)
            for key in order:
                point.attributes.add(key=key).value.string_value = "v"

    assert read(request(fill)).counts == {"duplicate": 1}


def test_no_recorded_value_is_a_stale_marker() -> None:
    def gone(metrics: Any) -> None:
        metrics.add(name="temp", unit="Cel").gauge.data_points.add(time_unix_nano=NANO, flags=1, as_double=3)

    (reading,) = read(request(gone)).readings
    bits = dict(
        zip([dict(one)[NAME] for one in reading.series], reading.values.view(np.uint64)[:, 0], strict=True)
    )
    assert bits["temp_celsius"] == STALE_BITS


def test_a_histogram_that_does_not_add_up_is_named() -> None:
    def bad(metrics: Any) -> None:
        metric = metrics.add(name="d")
        metric.histogram.aggregation_temporality = 2
        metric.histogram.data_points.add(time_unix_nano=NANO, bucket_counts=[1], explicit_bounds=[1, 2])

    assert read(request(bad)).counts == {"histogram": 1}


def test_json_says_the_same_as_protobuf() -> None:
    text = {
        "resourceMetrics": [{
            "resource": {"attributes": [
                {"key": "service.namespace", "value": {"stringValue": "acme"}},
                {"key": "service.name", "value": {"stringValue": "shop"}},
                {"key": "service.instance.id", "value": {"stringValue": "i1"}},
                {"key": "os", "value": {"stringValue": "l"}},
            ]},
            "scopeMetrics": [{"metrics": [{
                "name": "http.requests", "unit": "{request}",
                "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [{
                    "timeUnixNano": str(NANO), "asInt": "7",
                    "attributes": [
                        {"key": "http.method", "value": {"stringValue": "GET"}},
                        {"key": "ok", "value": {"boolValue": True}},
                    ],
                    "exemplars": [{"traceId": "5b8efff798038103d269b633813fc60c", "asInt": "1"}],
                }]},
            }]}],
        }]
    }  # fmt: skip
    intake = MetricsRequest().read(json.dumps(text).encode(), json=True, now_ms=NOW_MS)
    assert samples(intake) == samples(read(request(counter)))


@pytest.mark.parametrize(
    ("name", "unit", "counter", "gauge", "made"),
    [
        ("system.cpu.utilization", "1", False, True, "system_cpu_utilization_ratio"),
        ("http.server.request.duration", "s", False, False, "http_server_request_duration_seconds"),
        ("disk.io", "By", True, False, "disk_io_bytes_total"),
        ("disk_io_bytes_total", "By", True, False, "disk_io_bytes_total"),
        ("speed", "m/s", False, True, "speed_meters_per_second"),
        ("2nd", "", False, True, "_2nd"),
    ],
)
def test_names_are_prometheus(name: str, unit: str, counter: bool, gauge: bool, made: str) -> None:
    assert metric_name(name, unit, counter=counter, gauge=gauge) == made


WHOLE = request(
    lambda metrics: (counter(metrics), histogram(metrics), exponential(metrics))
).SerializeToString()


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.integers(0, len(WHOLE)).map(lambda n: WHOLE[:n]), st.booleans())
def test_anything_else_is_a_clear_error_or_an_intake(body: bytes, as_json: bool) -> None:
    try:
        MetricsRequest().read(body, json=as_json, now_ms=NOW_MS)
    except Invalid as error:
        assert error.code == "POISE-M401"


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_changed_byte_never_breaks_the_reader(place: int, byte: int) -> None:
    body = WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :]
    try:
        MetricsRequest().read(body, json=False, now_ms=NOW_MS)
    except Invalid as error:
        assert error.code == "POISE-M401"
