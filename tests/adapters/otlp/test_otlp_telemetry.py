"""OTLP's traces and logs become records; what cannot be kept is named, and no body breaks a decoder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from poise.adapters.otlp.attributes import Found, TelemetryLimits
from poise.adapters.otlp.log_records import read_records
from poise.adapters.otlp.spans import read_spans
from poise.model.errors import Invalid
from poise.model.telemetry import SECOND_NS, LogRecord, Span, SpanKind, SpanStatus

NOW = 1_800_000_000 * SECOND_NS
DAY = 86_400 * SECOND_NS
TRACE, SPAN = bytes(range(16)), bytes(range(1, 9))


def found(**limits: Any) -> Found:
    return Found(TelemetryLimits(**limits), NOW, NOW - 7 * DAY)


def spans_request(**how: Any) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    for key, value in {"service.name": "shop", "deployment.environment.name": "production"}.items():
        resource.resource.attributes.add(key=key).value.string_value = value
    one = resource.scope_spans.add().spans.add(
        trace_id=how.pop("trace_id", TRACE),
        span_id=how.pop("span_id", SPAN),
        name=how.pop("name", "GET /"),
        kind=how.pop("kind", 2),
        start_time_unix_nano=how.pop("start", NOW),
        end_time_unix_nano=how.pop("end", NOW + SECOND_NS),
        **how,
    )
    one.status.code = 2
    one.attributes.add(key="http.response.status_code").value.int_value = 500
    one.events.add(name="exception", time_unix_nano=NOW)
    return made


def logs_request(**how: Any) -> ExportLogsServiceRequest:
    made = ExportLogsServiceRequest()
    resource = made.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    body = how.pop("body", "user 42 left")
    one = resource.scope_logs.add().log_records.add(
        time_unix_nano=how.pop("at", NOW), severity_number=how.pop("severity", 17), **how
    )
    if body is not None:
        one.body.string_value = body
    return made


def read_one(made: ExportTraceServiceRequest, into: Found | None = None) -> list[Span]:
    return read_spans(made.SerializeToString(), into or found(), json=False)


def test_a_span_is_read_whole() -> None:
    """Names and units of a span are OpenTelemetry's; nothing of it is lost on the way."""
    (one,) = read_one(spans_request(parent_span_id=bytes(8)))
    assert (one.trace_id, one.span_id, one.parent_id) == (TRACE.hex(), SPAN.hex(), "")
    assert (one.service, one.environment, one.name) == ("shop", "production", "GET /")
    assert (one.kind, one.status) == (SpanKind.SERVER, SpanStatus.ERROR)
    assert (one.start_ns, one.duration_ns) == (NOW, SECOND_NS)
    assert one.attributes == {"http.response.status_code": 500}
    assert [event.name for event in one.events] == ["exception"]


def test_json_says_the_same_as_protobuf() -> None:
    """OTLP's JSON writes ids in hex, which protobuf's own JSON would read as base64."""
    made = spans_request()
    plain = json_format.MessageToDict(made)
    span = plain["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["traceId"], span["spanId"] = TRACE.hex(), SPAN.hex()
    span["links"] = [{"traceId": TRACE.hex(), "spanId": SPAN.hex()}]
    span["kind"], span["status"]["code"] = 2, 2
    (one,) = read_spans(json.dumps(plain).encode(), found(), json=True)
    (same,) = read_one(made)
    assert (one.trace_id, one.span_id, one.attributes) == (same.trace_id, same.span_id, same.attributes)
    assert [link.trace_id for link in one.links] == [TRACE.hex()]


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ({"trace_id": b"\1" * 15}, "trace-id"),
        ({"trace_id": bytes(16)}, "trace-id"),
        ({"span_id": b""}, "span-id"),
        ({"parent_span_id": b"\1" * 7}, "parent-id"),
        ({"start": 0}, "no-instant"),
        ({"start": NOW + 601 * SECOND_NS, "end": 0}, "future"),
        ({"start": (1 << 64) - 1, "end": (1 << 64) - 1}, "future"),
        ({"start": NOW - 8 * DAY}, "too-old"),
    ],
)
def test_a_span_that_cannot_be_kept_is_named_and_the_rest_is(how: dict[str, Any], kind: str) -> None:
    """One broken span must not take its neighbours with it, nor vanish without a word."""
    made = spans_request(**how)
    made.resource_spans.extend(spans_request().resource_spans)
    into = found()
    assert len(read_one(made, into)) == 1
    assert dict(into.faults.counts) == {kind: 1}
    assert len(into.named()) == 1


@pytest.mark.parametrize("end", [NOW - SECOND_NS, (1 << 64) - 1])
def test_an_end_that_is_not_believed_leaves_a_span_without_length(end: int) -> None:
    """A clock that stepped back makes no negative duration, and a broken one no span of centuries."""
    into = found()
    (one,) = read_one(spans_request(end=end), into)
    assert one.duration_ns == 0
    assert into.warned == {"end-not-believed": 1}


def test_what_is_too_long_is_cut_and_told() -> None:
    """One service that puts whole documents into attributes must not fill the file for all."""
    made = spans_request(name="n" * 50)
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="k").value.string_value = "v" * 50
    for n in range(9):
        span.attributes.add(key=f"more {n}").value.bool_value = True
    into = found(name_chars=30, value_chars=20, attributes=4)
    (one,) = read_one(made, into)
    assert len(one.name) == 30
    assert one.attributes["k"] == "v" * 20
    assert len(one.attributes) == 4
    assert into.warned == {"cut": 2, "attributes-left-out": 7}
    assert not into.faults.counts


def test_a_request_of_too_many_spans_keeps_the_first() -> None:
    """The limit is told with the number that was left out."""
    made = spans_request()
    made.resource_spans.extend(spans_request().resource_spans)
    into = found(items=1)
    assert len(read_one(made, into)) == 1
    assert into.faults.counts == {"too-many": 1}


def read_log(made: ExportLogsServiceRequest, into: Found | None = None) -> list[LogRecord]:
    return read_records(made.SerializeToString(), into or found(), json=False)


def test_a_log_record_is_read_whole() -> None:
    """Severity, body and the trace it belongs to."""
    (one,) = read_log(logs_request(trace_id=TRACE, span_id=SPAN))
    assert (one.service, one.severity, one.body) == ("shop", 17, "user 42 left")
    assert (one.trace_id, one.span_id, one.at_ns) == (TRACE.hex(), SPAN.hex(), NOW)


def test_a_log_record_without_an_instant_has_the_one_it_was_seen_at() -> None:
    """OTLP lets the time be unknown; it is then when it was observed, or now."""
    (seen,) = read_log(logs_request(at=0, observed_time_unix_nano=NOW - 5))
    (now,) = read_log(logs_request(at=0))
    assert (seen.at_ns, now.at_ns) == (NOW - 5, NOW)


def test_a_log_record_with_a_broken_id_is_kept_without_it() -> None:
    """What a record says is worth more than where it belongs; OTLP says so, too."""
    into = found()
    (one,) = read_log(logs_request(trace_id=b"\1", span_id=bytes(8)), into)
    assert (one.trace_id, one.span_id) == ("", "")
    assert into.warned == {"id-left-out": 1}


def test_a_structured_body_is_json_text() -> None:
    """Some libraries send maps; they are searched and shown as text."""
    made = logs_request(body=None)
    body = made.resource_logs[0].scope_logs[0].log_records[0].body
    body.kvlist_value.values.add(key="n").value.double_value = float("nan")
    (one,) = read_log(made)
    assert one.body == '{"n":null}'


BROKEN = [b"\xff\xff", b"{", b"[]", b'{"resourceSpans": 3}', b'{"resourceSpans": [3]}', b"[" * 5000, b"\x80"]


@pytest.mark.parametrize("body", BROKEN)
@pytest.mark.parametrize("read", [read_spans, read_records])
def test_what_is_no_request_is_one_clear_error(read: Any, body: bytes) -> None:
    """A sender that is set up wrongly must read why."""
    if read is read_records:
        body = body.replace(b"Spans", b"Logs")
    with pytest.raises(Invalid, match="this is no Export"):
        read(body, found(), json=True)


def test_half_a_protobuf_is_one_clear_error() -> None:
    """A connection that broke off in the middle."""
    whole = spans_request().SerializeToString()
    with pytest.raises(Invalid, match="this is no ExportTraceServiceRequest"):
        read_spans(whole[: len(whole) // 2], found(), json=False)


@settings(max_examples=300)
@given(st.data())
def test_no_body_breaks_a_decoder(data: st.DataObject) -> None:
    """Fuzz: real requests with bytes changed, cut or added, as protobuf and as JSON."""
    as_json = data.draw(st.booleans())
    made = data.draw(st.sampled_from([spans_request(), logs_request()]))
    raw = bytearray(json_format.MessageToJson(made).encode() if as_json else made.SerializeToString())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=6)):
        raw[place] = data.draw(st.integers(0, 255))
    body = bytes(raw[: data.draw(st.integers(0, len(raw)))]) + data.draw(st.binary(max_size=8))
    read = read_spans if isinstance(made, ExportTraceServiceRequest) else read_records
    try:
        kept = read(body, found(), json=as_json)
    except Invalid:
        return
    for one in kept:
        at = one.start_ns if isinstance(one, Span) else one.at_ns
        assert NOW - 7 * DAY <= at <= NOW + 600 * SECOND_NS


VALUE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-9, 1 << 70) | st.text(max_size=4),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(
        st.sampled_from(["resourceSpans", "scopeSpans", "spans", "traceId", "attributes", "value", "kind",
                         "resourceLogs", "scopeLogs", "logRecords", "body", "status", "events"]),
        one, max_size=3,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200)
@given(VALUE)
def test_no_json_breaks_a_decoder(value: Any) -> None:
    """Fuzz: objects with OTLP's own names and anything in them."""
    body = json.dumps(value).encode()
    for read in (read_spans, read_records):
        try:
            read(body, found(), json=True)
        except Invalid:
            continue
