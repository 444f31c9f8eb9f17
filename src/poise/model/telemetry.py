"""Spans and log records as OpenTelemetry means them, and what is asked of them.

Instants are integer nanoseconds since the epoch, UTC: a span's microsecond is too coarse to order it. Ids are
lower-case hex: 32 digits for a trace, 16 for a span, empty for none.

**Source:** opentelemetry.io/docs/specs/otel/trace/api and /logs/data-model.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

Scalar = str | int | float | bool
Attributes = dict[str, Scalar]  # lists and maps as JSON text; never a NaN

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
ERROR_FROM: Final = 17  # severity numbers from here on are ERROR and FATAL
SEVERITIES: Final = ("trace", "debug", "info", "warn", "error", "fatal")  # four numbers each, from 1


class SpanKind(StrEnum):
    """Which side of a call a span tells of."""

    UNSPECIFIED = "unspecified"
    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class SpanStatus(StrEnum):
    """What a span says of its outcome."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"


class SpanEvent(Struct, frozen=True, kw_only=True):
    """Something that happened at an instant within a span, such as an exception."""

    at_ns: int
    name: str
    attributes: Attributes = {}


class SpanLink(Struct, frozen=True, kw_only=True):
    """Another span that this one has to do with."""

    trace_id: str
    span_id: str


class Span(Struct, frozen=True, kw_only=True):
    """One operation of one service within a trace. ``parent_id`` is empty for a root."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    service: str = ""
    environment: str = ""
    name: str
    kind: SpanKind = SpanKind.UNSPECIFIED
    status: SpanStatus = SpanStatus.UNSET
    message: str = ""
    start_ns: int
    duration_ns: int = 0
    scope: str = ""
    resource: Attributes = {}
    attributes: Attributes = {}
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()

    @property
    def end_ns(self) -> int:
        """Its last instant."""
        return self.start_ns + self.duration_ns


class LogRecord(Struct, frozen=True, kw_only=True):
    """One record of OTLP. ``severity`` is OpenTelemetry's number 0..24; ``template_id`` is the store's."""

    at_ns: int
    service: str = ""
    environment: str = ""
    severity: int = 0
    body: str = ""
    trace_id: str = ""
    span_id: str = ""
    scope: str = ""
    resource: Attributes = {}
    attributes: Attributes = {}
    template_id: str = ""


class Appended(Struct, frozen=True, kw_only=True):
    """What became of a batch: rows that are durable now, and rows that were there already."""

    kept: int
    known: int = 0


class TraceQuery(Struct, frozen=True, kw_only=True):
    """Traces that begin in [since_ns, until_ns), the newest first.

    ``service`` and ``environment`` must take part in the trace; ``before`` is the cursor of a page.
    """

    since_ns: int
    until_ns: int
    service: str = ""
    environment: str = ""
    min_duration_ns: int = 0
    errors: bool = False
    limit: int = 50
    before: str = ""


class TraceSummary(Struct, frozen=True, kw_only=True):
    """A trace in a list. Its name and service are its root's, or its earliest span's."""

    trace_id: str
    service: str
    name: str
    start_ns: int
    duration_ns: int
    spans: int
    errors: int
    services: tuple[str, ...]


class Traces(Struct, frozen=True, kw_only=True):
    """A page of traces; ``next`` is empty on the last one."""

    items: tuple[TraceSummary, ...]
    next: str = ""


class SpanQuery(Struct, frozen=True, kw_only=True):
    """Spans of a service that begin in [since_ns, until_ns), ascending by start."""

    service: str
    since_ns: int
    until_ns: int
    limit: int = 1000


class Edge(Struct, frozen=True, kw_only=True):
    """Calls of one service to another, as spans show them: a parent here, its child there."""

    caller: str
    callee: str
    calls: int
    errors: int


class RecordQuery(Struct, frozen=True, kw_only=True):
    """Log records in [since_ns, until_ns), the newest first. Empty fields select nothing away.

    ``text`` is a substring of the body, case counts; ``before`` is the cursor of a page.
    """

    since_ns: int
    until_ns: int
    service: str = ""
    environment: str = ""
    min_severity: int = 0
    text: str = ""
    template_id: str = ""
    trace_id: str = ""
    limit: int = 100
    before: str = ""


class Records(Struct, frozen=True, kw_only=True):
    """A page of log records; ``next`` is empty on the last one."""

    items: tuple[LogRecord, ...]
    next: str = ""


class TemplateCount(Struct, frozen=True, kw_only=True):
    """How often a template was seen in a window, and how many of them were errors."""

    template_id: str
    template: str
    service: str
    records: int
    errors: int
    first_ns: int
    last_ns: int


class ErrorMinute(Struct, frozen=True, kw_only=True):
    """Log records of a service in a minute (it begins at ``at_ns``), and how many of them were errors."""

    at_ns: int
    service: str
    records: int
    errors: int


def severity_name(severity: int) -> str:
    """OpenTelemetry's name of a severity number.

    >>> severity_name(0), severity_name(9), severity_name(18)
    ('unset', 'info', 'error')
    """
    return SEVERITIES[(severity - 1) // 4] if 1 <= severity <= 24 else "unset"


def severity_from(name: str) -> int:
    """The lowest number of a named severity. Raises ``ValueError`` for another name.

    >>> severity_from("warn")
    13
    """
    return SEVERITIES.index(name) * 4 + 1
