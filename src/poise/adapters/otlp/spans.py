"""One ExportTraceServiceRequest, protobuf or JSON, as spans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from poise.adapters.otlp.attributes import Found, service_of, walked
from poise.adapters.otlp.wire import parsed
from poise.model.intake import Faulty
from poise.model.telemetry import Attributes, Span, SpanEvent, SpanKind, SpanLink, SpanStatus

KINDS: Final = tuple(SpanKind)  # in OTLP's order, from 0
STATUSES: Final = tuple(SpanStatus)
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8


def read_spans(body: bytes, found: Found, *, json: bool) -> list[Span]:
    """The spans that can be kept; the rest are faults of ``found``. ``Invalid`` when it is no request."""
    request = parsed(ExportTraceServiceRequest(), body, json=json)
    return walked(request.resource_spans, "scope_spans", "spans", found, _span)


def answered(rejected: int, message: str) -> Any:
    """The response: empty, or a partial success; a message without a rejection is a warning."""
    made = ExportTraceServiceResponse()
    if rejected or message:
        made.partial_success.rejected_spans = rejected
        made.partial_success.error_message = message
    return made


def _span(one: Any, resource: Attributes, scope: str, found: Found) -> Span:
    limits = found.limits
    trace_id = identity(one.trace_id, _TRACE_BYTES, "trace")
    span_id = identity(one.span_id, _SPAN_BYTES, "span")
    parent_id = identity(one.parent_span_id, _SPAN_BYTES, "parent") if one.parent_span_id.strip(b"\0") else ""
    start = believed(one.start_time_unix_nano, found, "span")
    took = one.end_time_unix_nano - start if one.end_time_unix_nano else 0
    if took < 0 or one.end_time_unix_nano > found.newest_ns:
        found.warned["end-not-believed"] += 1
        took = 0
    service, environment = service_of(resource)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        service=service,
        environment=environment,
        name=found.cut(one.name, limits.name_chars),
        kind=KINDS[one.kind] if 0 <= one.kind < len(KINDS) else SpanKind.UNSPECIFIED,
        status=STATUSES[one.status.code] if 0 <= one.status.code < len(STATUSES) else SpanStatus.UNSET,
        message=found.cut(one.status.message, limits.value_chars),
        start_ns=start,
        duration_ns=took,
        scope=scope,
        resource=resource,
        attributes=found.attributes(one.attributes),
        events=tuple(_events(one, start, found)),
        links=tuple(_links(one, found)),
    )


def _events(one: Any, start: int, found: Found) -> Iterator[SpanEvent]:
    for event in one.events[: found.limits.events]:
        yield SpanEvent(
            at_ns=event.time_unix_nano if 0 < event.time_unix_nano <= found.newest_ns else start,
            name=found.cut(event.name, found.limits.name_chars),
            attributes=found.attributes(event.attributes),
        )
    left_out = len(one.events) - found.limits.events
    if left_out > 0:
        found.warned["events-left-out"] += left_out


def _links(one: Any, found: Found) -> Iterator[SpanLink]:
    for link in one.links[: found.limits.events]:
        if len(link.trace_id) == _TRACE_BYTES and len(link.span_id) == _SPAN_BYTES:
            yield SpanLink(trace_id=link.trace_id.hex(), span_id=link.span_id.hex())
        else:
            found.warned["link-left-out"] += 1


def identity(raw: bytes, size: int, of: str) -> str:
    """An id as hex. Raises ``Faulty`` for one of another length, or of zeros only."""
    if len(raw) != size or not raw.strip(b"\0"):
        raise Faulty(
            f"{of}-id", f"a {of} id is {size} bytes, not all zero; this one is {raw[:32].hex() or 'empty'}"
        )
    return raw.hex()


def believed(at_ns: int, found: Found, of: str) -> int:
    """An instant. Raises ``Faulty`` when it is missing, far ahead, or older than anything that is kept."""
    if not at_ns:
        raise Faulty("no-instant", f"a {of} has no start")
    if at_ns > found.newest_ns:
        ahead_s = (at_ns - found.now_ns) / 1e9
        raise Faulty(
            "future", f"a {of} is {ahead_s:,.0f} s ahead of this clock; at most {found.limits.future_s:g} s"
        )
    if at_ns < found.oldest_ns:
        behind_d = (found.now_ns - at_ns) / 86_400e9
        raise Faulty("too-old", f"a {of} is {behind_d:,.1f} days old; it would be forgotten at once")
    return at_ns
