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


def test_delta_temporality_is_refused_and_the_rest_kept() -> None:
    def both(metrics: Any) -> None:
        counter(metrics)
        metric = metrics.add(name="delta")
        metric.sum.aggregation_temporality = 1
        metric.sum.data_points.add(time_unix_nano=NANO, as_int=1)

    intake = read(request(both))
    assert intake.counts == {"delta-temporality": 1}
    assert "set the exporter to cumulative" in str(intake.faults[0])
    assert named("http_requests_total", http_method="GET", ok="true") in samples(intake)


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
