"""Spans and log records in lists: both ports for tests and for the simulation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from msgspec.structs import replace

from poise.model.errors import Invalid
from poise.model.telemetry import (
    ERROR_FROM,
    MINUTE_NS,
    Appended,
    Edge,
    ErrorMinute,
    LogRecord,
    RecordQuery,
    Records,
    Span,
    SpanQuery,
    SpanStatus,
    TemplateCount,
    TraceQuery,
    Traces,
    TraceSummary,
)
from poise.model.template import OTHER, template_id, template_of

T = TypeVar("T")
TEMPLATES: Final = 10_000


class MemoryTelemetry:
    """``TraceStore`` and ``RecordStore``; everything is forgotten with it."""

    def __init__(self, templates: int = TEMPLATES) -> None:
        self._traces: dict[str, dict[str, Span]] = {}
        self._records: list[LogRecord] = []
        self._templates: dict[str, str] = {}
        self._templates_max = templates

    async def append_spans(self, spans: Sequence[Span]) -> Appended:
        """See the port."""
        kept = 0
        for one in spans:
            mine = self._traces.setdefault(one.trace_id, {})
            kept += one.span_id not in mine
            mine.setdefault(one.span_id, one)
        return Appended(kept=kept, known=len(spans) - kept)

    async def trace(self, trace_id: str) -> tuple[Span, ...]:
        """See the port."""
        return tuple(sorted(self._traces.get(trace_id, {}).values(), key=_place))

    async def find_traces(self, asked: TraceQuery) -> Traces:
        """See the port."""
        before = _cursor(asked.before, str) if asked.before else None
        found = [
            summary
            for spans in self._traces.values()
            if any(_takes_part(one, asked) for one in spans.values())
            and _fits(summary := _summary(sorted(spans.values(), key=_place)), asked)
            and (before is None or (summary.start_ns, summary.trace_id) < before)
        ]
        found.sort(key=lambda one: (one.start_ns, one.trace_id), reverse=True)
        items = tuple(found[: asked.limit])
        more = len(found) > asked.limit
        return Traces(items=items, next=f"{items[-1].start_ns}.{items[-1].trace_id}" if more else "")

    async def spans_of(self, asked: SpanQuery) -> tuple[Span, ...]:
        """See the port."""
        mine = (
            one
            for one in self._spans()
            if one.service == asked.service and asked.since_ns <= one.start_ns < asked.until_ns
        )
        return tuple(sorted(mine, key=_place)[: asked.limit])

    async def edges(self, since_ns: int, until_ns: int) -> tuple[Edge, ...]:
        """See the port."""
        calls: Counter[tuple[str, str]] = Counter()
        errors: Counter[tuple[str, str]] = Counter()
        for one in self._spans():
            parent = self._traces[one.trace_id].get(one.parent_id)
            if parent is None or parent.service == one.service or not since_ns <= one.start_ns < until_ns:
                continue
            calls[parent.service, one.service] += 1
            errors[parent.service, one.service] += one.status is SpanStatus.ERROR
        return tuple(
            Edge(caller=caller, callee=callee, calls=count, errors=errors[caller, callee])
            for (caller, callee), count in sorted(calls.items())
        )

    async def append_records(self, records: Sequence[LogRecord]) -> Appended:
        """See the port."""
        for one in records:
            text = template_of(one.body)
            mine = template_id(text)
            if mine not in self._templates and len(self._templates) >= self._templates_max:
                text, mine = OTHER, template_id(OTHER)
            else:
                self._templates[mine] = text
            self._records.append(replace(one, template_id=mine))
        return Appended(kept=len(records))

    async def find_records(self, asked: RecordQuery) -> Records:
        """See the port."""
        before = _cursor(asked.before, int) if asked.before else None
        found = [
            (one.at_ns, n, one)
            for n, one in enumerate(self._records, start=1)
            if _wanted(one, asked) and (before is None or (one.at_ns, n) < before)
        ]
        found.sort(reverse=True, key=lambda one: one[:2])
        items = tuple(one for _, _, one in found[: asked.limit])
        more = len(found) > asked.limit
        return Records(
            items=items, next=f"{found[asked.limit - 1][0]}.{found[asked.limit - 1][1]}" if more else ""
        )

    async def templates(self, since_ns: int, until_ns: int, service: str = "") -> tuple[TemplateCount, ...]:
        """See the port."""
        groups: dict[tuple[str, str], list[LogRecord]] = defaultdict(list)
        for one in self._between(since_ns, until_ns, service):
            groups[one.template_id, one.service].append(one)
        found = [
            TemplateCount(
                template_id=mine,
                template=self._templates.get(mine, OTHER),
                service=name,
                records=len(records),
                errors=_errors(records),
                first_ns=min(one.at_ns for one in records),
                last_ns=max(one.at_ns for one in records),
            )
            for (mine, name), records in groups.items()
        ]
        return tuple(sorted(found, key=lambda one: -one.records))

    async def errors_per_minute(
        self, since_ns: int, until_ns: int, service: str = ""
    ) -> tuple[ErrorMinute, ...]:
        """See the port."""
        groups: dict[tuple[int, str], list[LogRecord]] = defaultdict(list)
        for one in self._between(since_ns, until_ns, service):
            groups[one.at_ns // MINUTE_NS * MINUTE_NS, one.service].append(one)
        return tuple(
            ErrorMinute(at_ns=at, service=name, records=len(records), errors=_errors(records))
            for (at, name), records in sorted(groups.items(), key=lambda one: one[0])
        )

    def _spans(self) -> Iterable[Span]:
        return (one for mine in self._traces.values() for one in mine.values())

    def _between(self, since_ns: int, until_ns: int, service: str) -> Iterable[LogRecord]:
        return (
            one for one in self._records if since_ns <= one.at_ns < until_ns and service in ("", one.service)
        )


def _place(one: Span) -> tuple[int, str]:
    return one.start_ns, one.span_id


def _takes_part(one: Span, asked: TraceQuery) -> bool:
    return (
        asked.since_ns <= one.start_ns < asked.until_ns
        and asked.service in ("", one.service)
        and asked.environment in ("", one.environment)
    )


def _fits(one: TraceSummary, asked: TraceQuery) -> bool:
    return (
        asked.since_ns <= one.start_ns < asked.until_ns
        and one.duration_ns >= asked.min_duration_ns
        and one.errors >= int(asked.errors)
    )


def _summary(spans: Sequence[Span]) -> TraceSummary:
    root = next((one for one in spans if not one.parent_id), spans[0])
    return TraceSummary(
        trace_id=root.trace_id,
        service=root.service,
        name=root.name,
        start_ns=spans[0].start_ns,
        duration_ns=max(one.end_ns for one in spans) - spans[0].start_ns,
        spans=len(spans),
        errors=sum(one.status is SpanStatus.ERROR for one in spans),
        services=tuple(sorted({one.service for one in spans})),
    )


def _wanted(one: LogRecord, asked: RecordQuery) -> bool:
    return (
        asked.since_ns <= one.at_ns < asked.until_ns
        and asked.service in ("", one.service)
        and asked.environment in ("", one.environment)
        and one.severity >= asked.min_severity
        and asked.text in one.body
        and asked.trace_id in ("", one.trace_id)
        and asked.template_id in ("", one.template_id)
    )


def _errors(records: Iterable[LogRecord]) -> int:
    return sum(one.severity >= ERROR_FROM for one in records)


def _cursor(text: str, kind: Callable[[str], T]) -> tuple[int, T]:
    at, _, rest = text.partition(".")
    try:
        return int(at), kind(rest)
    except ValueError:
        raise Invalid(
            "POISE-U120", f"{text[:60]!r} is no cursor", mend="Take `next` of the page before."
        ) from None
