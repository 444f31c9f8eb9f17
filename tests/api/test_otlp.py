"""Traces and log records over OTLP/HTTP: kept or named, told in the sender's own format, open to who may."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def at_ns(house: Any) -> int:
    return int(house.clock.now().timestamp()) * 1_000_000_000


def spans(house: Any, *ids: bytes) -> bytes:
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    for one in ids:
        group.scope_spans.add().spans.add(
            trace_id=bytes.fromhex(TRACE), span_id=one, name="GET /", start_time_unix_nano=at_ns(house),
            end_time_unix_nano=at_ns(house) + 5_000_000,
        )  # fmt: skip
    return made.SerializeToString()


def test_spans_are_kept_and_what_is_broken_is_named(house: Any, client: Client, headers: Headers) -> None:
    """A partial success names what was refused and why, and /metrics counts it."""
    sent = spans(house, b"12345678", b"short")
    answer = client.post("/v1/traces", content=sent, headers=headers("owner") | PROTOBUF)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    told = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert told.rejected_spans == 1
    assert "span-id: 1" in told.error_message
    again = client.post("/otlp/v1/traces", content=sent, headers=headers("owner") | PROTOBUF)
    assert again.status_code == 200
    metrics = client.get("/metrics", headers=headers("owner")).text
    assert 'poise_intake_total{kind="taken",source="otlp-traces"} 1' in metrics
    assert 'poise_intake_total{kind="span-id",source="otlp-traces"} 2' in metrics
    assert 'poise_intake_total{kind="known",source="otlp-traces"} 1' in metrics


def test_log_records_are_kept_gzipped_and_as_json(house: Any, client: Client, headers: Headers) -> None:
    """Collectors send gzip; people send JSON with curl."""
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": str(at_ns(house)), "severityNumber": 17, "body": {"stringValue": "no stock"},
         "traceId": TRACE, "spanId": "00f067aa0ba902b7"},
        {"timeUnixNano": "99999999999999999999"[:19], "body": {"stringValue": "far ahead"}},
    ]}]}]}  # fmt: skip
    raw = gzip.compress(json.dumps(body).encode())
    more = headers("owner") | JSON | {"content-encoding": "gzip"}
    answer = client.post("/v1/logs", content=raw, headers=more)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    told = answer.json()["partialSuccess"]
    assert told["rejectedLogRecords"] == "1"
    assert "future: 1" in told["errorMessage"]
    empty = client.post(
        "/v1/logs",
        content=ExportLogsServiceRequest().SerializeToString(),
        headers=headers("owner") | PROTOBUF,
    )
    assert ExportLogsServiceResponse.FromString(empty.content) == ExportLogsServiceResponse()


@pytest.mark.parametrize(
    ("content", "more", "status", "code"),
    [
        (b"\xff", PROTOBUF, 400, "POISE-U111"),
        (b"{", JSON, 400, "POISE-U111"),
        (b"", {"content-type": "text/plain"}, 415, "POISE-M402"),
        (b"", {}, 415, "POISE-M402"),
        (b"abc", PROTOBUF | {"content-encoding": "gzip"}, 400, "POISE-M302"),
        (b"abc", PROTOBUF | {"content-encoding": "br"}, 400, "POISE-M301"),
        (gzip.compress(bytes(70_000_000)), PROTOBUF | {"content-encoding": "gzip"}, 413, "POISE-M303"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
def test_what_is_no_request_is_a_clear_error(
    client: Client,
    headers: Headers,
    path: str,
    content: bytes,
    more: dict[str, str],
    status: int,
    code: str,
) -> None:
    """4xx is never sent again, so it must say what is wrong with it."""
    answer = client.post(path, content=content, headers=headers("owner") | more)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_over_the_limit_is_refused(client: Client, headers: Headers) -> None:
    """Before it is read to its end."""
    answer = client.post("/v1/traces", content=bytes(17 << 20), headers=headers("owner") | PROTOBUF)
    assert answer.status_code == 413


def test_trouble_of_ours_is_503_with_a_time_to_wait(house: Any, client: Client, headers: Headers) -> None:
    """A sender that reads 200 forgets what it sent; it must not read it for what was not kept."""
    (house.data / "telemetry.duckdb").write_bytes(b"broken" * 1000)
    sent = spans(house, b"12345678")
    answer = client.post("/v1/traces", content=sent, headers=headers("owner") | PROTOBUF)
    assert (answer.status_code, answer.json()["code"]) == (503, "POISE-U101")
    assert int(answer.headers["retry-after"]) > 0


def test_who_may_only_look_may_not_send(client: Client, headers: Headers) -> None:
    """The rule of /v1/metrics."""
    for path in ("/v1/traces", "/v1/logs"):
        assert client.post(path, content=b"", headers=PROTOBUF).status_code == 401
        assert client.post(path, content=b"", headers=headers("viewer") | PROTOBUF).status_code == 403
