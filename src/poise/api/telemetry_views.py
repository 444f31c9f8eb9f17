"""Traces and log records as the API shows them: instants to the microsecond, durations in milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from poise.model.telemetry import (
    Attributes,
    LogRecord,
    SpanEvent,
    TraceSummary,
    severity_name,
)
from poise.model.waterfall import Waterfall, WaterfallRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TraceRow(Struct, frozen=True, kw_only=True):
    """A trace in a list."""

    trace_id: str
    service: str
    name: str
    start_at: datetime
    duration_ms: float
    spans: int
    errors: int
    services: tuple[str, ...]


class EventRow(Struct, frozen=True, kw_only=True):
    """An event of a span, after the trace's begin."""

    name: str
    offset_ms: float
    attributes: Attributes


class SpanRow(Struct, frozen=True, kw_only=True):
    """A span in its trace: ``offset_ms`` after the trace's begin, ``critical_ms`` of the critical path."""

    span_id: str
    parent_id: str
    service: str
    environment: str
    name: str
    kind: str
    status: str
    message: str
    depth: int
    offset_ms: float
    duration_ms: float
    critical: bool
    critical_ms: float
    orphan: bool
    scope: str
    resource: Attributes
    attributes: Attributes
    events: tuple[EventRow, ...]


class TraceView(Struct, frozen=True, kw_only=True):
    """One trace, its spans in reading order."""

    trace_id: str
    start_at: datetime
    duration_ms: float
    errors: int
    services: tuple[str, ...]
    sentence: str
    spans: tuple[SpanRow, ...]


class RecordRow(Struct, frozen=True, kw_only=True):
    """A log record."""

    at: datetime
    service: str
    environment: str
    severity: str
    severity_number: int
    body: str
    template_id: str
    trace_id: str
    span_id: str
    scope: str
    resource: Attributes
    attributes: Attributes


class TemplateRow(Struct, frozen=True, kw_only=True):
    """How often records of one template came."""

    template_id: str
    template: str
    service: str
    records: int
    errors: int
    first_at: datetime
    last_at: datetime


class ErrorMinuteRow(Struct, frozen=True, kw_only=True):
    """Log records of a service in the minute that begins at ``at``."""

    at: datetime
    service: str
    records: int
    errors: int


def instant(at_ns: int) -> datetime:
    """To the microsecond."""
    return _EPOCH + timedelta(microseconds=at_ns // 1000)


def trace_row(one: TraceSummary) -> TraceRow:
    """A row of the list."""
    return TraceRow(
        trace_id=one.trace_id,
        service=one.service,
        name=one.name,
        start_at=instant(one.start_ns),
        duration_ms=one.duration_ns / 1e6,
        spans=one.spans,
        errors=one.errors,
        services=one.services,
    )


def trace_view(found: Waterfall) -> TraceView:
    """One trace."""
    return TraceView(
        trace_id=found.root.span.trace_id,
        start_at=instant(found.start_ns),
        duration_ms=found.duration_ns / 1e6,
        errors=found.errors,
        services=found.services,
        sentence=sentence_of(found),
        spans=tuple(_span_row(row, found.start_ns) for row in found.rows),
    )


def sentence_of(found: Waterfall) -> str:
    """What the trace is, whether it failed, and what took its time."""
    root, slowest = found.root.span, found.slowest
    took = root.duration_ns
    said = f"{root.name or 'A call'} of {root.service} took {milliseconds_of(took)}"
    if found.errors:
        said += f", {found.errors} of its {len(found.rows)} spans failed"
    if slowest is not found.root and slowest.critical_ns * 4 >= took and took:
        where = f"{slowest.span.name} of {slowest.span.service}"
        said += f"; {milliseconds_of(slowest.critical_ns)} of it went into {where}"
    if found.start_ns + found.duration_ns > root.end_ns:
        said += f"; its last span ended after {milliseconds_of(found.duration_ns)}"
    if found.root.orphan:
        said += "; its beginning is missing"
    return said + "."


def milliseconds_of(ns: int) -> str:
    """A duration as people read it.

    >>> milliseconds_of(1_500), milliseconds_of(12_300_000), milliseconds_of(2_500_000_000)
    ('1.5 µs', '12.3 ms', '2.5 s')
    """
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns < 999.5 * size else f"{ns / size:,.0f} {unit}"
    return f"{ns} ns"


def record_row(one: LogRecord) -> RecordRow:
    """A row of the search."""
    return RecordRow(
        at=instant(one.at_ns),
        service=one.service,
        environment=one.environment,
        severity=severity_name(one.severity),
        severity_number=one.severity,
        body=one.body,
        template_id=one.template_id,
        trace_id=one.trace_id,
        span_id=one.span_id,
        scope=one.scope,
        resource=one.resource,
        attributes=one.attributes,
    )


def _span_row(row: WaterfallRow, start_ns: int) -> SpanRow:
    one = row.span
    return SpanRow(
        span_id=one.span_id,
        parent_id=one.parent_id,
        service=one.service,
        environment=one.environment,
        name=one.name,
        kind=one.kind.value,
        status=one.status.value,
        message=one.message,
        depth=row.depth,
        offset_ms=row.offset_ns / 1e6,
        duration_ms=one.duration_ns / 1e6,
        critical=row.critical,
        critical_ms=row.critical_ns / 1e6,
        orphan=row.orphan,
        scope=one.scope,
        resource=one.resource,
        attributes=one.attributes,
        events=tuple(_event_row(event, start_ns) for event in one.events),
    )


def _event_row(event: SpanEvent, start_ns: int) -> EventRow:
    return EventRow(name=event.name, offset_ms=(event.at_ns - start_ns) / 1e6, attributes=event.attributes)
