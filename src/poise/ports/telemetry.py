"""Spans and log records behind two ports. What ``append`` has returned for is durable.

A span is kept once, by its trace and its own id, however often it is sent. A log record has no id: what is
sent twice is there twice. A read that finds nothing answers empty; one that cannot be answered raises
``Unreachable``, ``TimedOut`` or ``TooLarge``, so that silence is never taken for calm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from poise.model.telemetry import (
    Appended,
    Edge,
    ErrorMinute,
    LogRecord,
    RecordQuery,
    Records,
    Span,
    SpanQuery,
    TemplateCount,
    TraceQuery,
    Traces,
)


class TraceStore(Protocol):
    """Spans, read by trace, by service and time, and as edges between services."""

    async def append_spans(self, spans: Sequence[Span]) -> Appended:
        """Keep what is new. Raises ``Unreachable`` when it cannot be made durable: send it again."""
        ...

    async def trace(self, trace_id: str) -> tuple[Span, ...]:
        """The spans of a trace, ascending by start; empty when there is none. Some thousands at most."""
        ...

    async def find_traces(self, asked: TraceQuery) -> Traces:
        """A page of traces. Raises ``Invalid`` for a cursor that is none."""
        ...

    async def spans_of(self, asked: SpanQuery) -> tuple[Span, ...]:
        """Spans of one service, ascending by start."""
        ...

    async def edges(self, since_ns: int, until_ns: int) -> tuple[Edge, ...]:
        """Who called whom in [since_ns, until_ns), by name. Callers whose span is missing are not there."""
        ...


class RecordStore(Protocol):
    """Log records, read by service and time, by template, by trace and by text."""

    async def append_records(self, records: Sequence[LogRecord]) -> Appended:
        """Keep them all. Raises ``Unreachable`` when they cannot be made durable: send them again."""
        ...

    async def find_records(self, asked: RecordQuery) -> Records:
        """A page of records. Raises ``Invalid`` for a cursor that is none."""
        ...

    async def templates(self, since_ns: int, until_ns: int, service: str = "") -> tuple[TemplateCount, ...]:
        """Templates seen in [since_ns, until_ns), the most frequent first; some hundreds at most."""
        ...

    async def errors_per_minute(
        self, since_ns: int, until_ns: int, service: str = ""
    ) -> tuple[ErrorMinute, ...]:
        """Minutes with at least one record, ascending; a minute that is missing had none."""
        ...
