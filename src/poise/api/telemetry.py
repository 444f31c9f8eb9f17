"""Traces and log records as they are read: lists with cursors, one trace, templates, edges.

Spans and records belong to no project: like metrics, whoever may view anything may read them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import anyio.to_thread
from litestar import Request, get
from litestar.params import PathParameter, QueryParameter

from poise.api.otlp import telemetry_of
from poise.api.params import Cursor, Flag, Limit
from poise.api.prometheus_form import duration_ms, instant_ms
from poise.api.read import parts_of
from poise.api.telemetry_views import (
    ErrorMinuteRow,
    RecordRow,
    TemplateRow,
    TraceRow,
    TraceView,
    instant,
    record_row,
    trace_row,
    trace_view,
)
from poise.api.views import Page
from poise.model.errors import Invalid, NotFound
from poise.model.telemetry import (
    SEVERITIES,
    Edge,
    RecordQuery,
    TraceQuery,
    severity_from,
)
from poise.model.waterfall import Waterfall, waterfall

WINDOW_MS: Final = 3_600_000  # where none is named: the last hour
AHEAD_MS: Final = 600_000  # until when, where nothing is named: clocks of senders are a little ahead
MILLISECOND_NS: Final = 1_000_000
VIEWER: Final[dict[str, Any]] = {"opt": {"permission": "viewer"}}
TraceId = Annotated[str, PathParameter(min_length=1, max_length=64)]
Time = Annotated[str, QueryParameter(max_length=40)]
Name = Annotated[str, QueryParameter(max_length=300)]
Words = Annotated[str, QueryParameter(max_length=1000)]
Asked = Request[Any, Any, Any]


@get("/api/v1/traces", **VIEWER)
async def list_traces(
    request: Asked, service: Name = "", environment: Name = "", since: Time = "", until: Time = "",
    min_duration: Time = "", errors: Flag = False, cursor: Cursor = "", limit: Limit = 50,
) -> Page[TraceRow]:  # fmt: skip
    """Traces that began in a time (the last hour), the newest first. Times: 10m, or RFC 3339."""
    begin, end = window(request, since, until)
    least = duration_ms(min_duration) if min_duration else 0
    if least is None:
        raise no_time("min_duration", min_duration)
    asked = TraceQuery(
        since_ns=begin,
        until_ns=end,
        service=service,
        environment=environment,
        min_duration_ns=max(0, least) * MILLISECOND_NS,
        errors=errors,
        limit=limit,
        before=cursor,
    )
    found = await telemetry_of(parts_of(request)).find_traces(asked)
    return Page(items=[trace_row(one) for one in found.items], next=found.next or None)


@get("/api/v1/traces/{trace_id:str}", **VIEWER)
async def get_trace(request: Asked, trace_id: TraceId) -> TraceView:
    """One trace, its spans in reading order, with its critical path."""
    found = await trace_or_raise(request, trace_id)
    return await anyio.to_thread.run_sync(trace_view, found)


@get("/api/v1/records", **VIEWER)
async def list_records(
    request: Asked, service: Name = "", environment: Name = "", since: Time = "", until: Time = "",
    severity: Name = "", text: Words = "", template: Name = "", trace: Name = "", cursor: Cursor = "",
    limit: Limit = 100,
) -> Page[RecordRow]:  # fmt: skip
    """Log records in a time (the last hour; of a trace: ever), the newest first. ``text`` is a substring."""
    begin, end = window(request, since or ("1970-01-01T00:00:00Z" if trace else ""), until)
    asked = RecordQuery(
        since_ns=begin,
        until_ns=end,
        service=service,
        environment=environment,
        min_severity=severity_of(severity),
        text=text,
        template_id=template,
        trace_id=trace.lower(),
        limit=limit,
        before=cursor,
    )
    found = await telemetry_of(parts_of(request)).find_records(asked)
    return Page(items=[record_row(one) for one in found.items], next=found.next or None)


@get("/api/v1/record-templates", **VIEWER)
async def list_templates(
    request: Asked, service: Name = "", since: Time = "", until: Time = ""
) -> Page[TemplateRow]:
    """Templates of log records in a time, the most frequent first."""
    found = await telemetry_of(parts_of(request)).templates(*window(request, since, until), service)
    rows = [
        TemplateRow(
            template_id=one.template_id,
            template=one.template,
            service=one.service,
            records=one.records,
            errors=one.errors,
            first_at=instant(one.first_ns),
            last_at=instant(one.last_ns),
        )
        for one in found
    ]
    return Page(items=rows)


@get("/api/v1/record-errors", **VIEWER)
async def list_errors(
    request: Asked, service: Name = "", since: Time = "", until: Time = ""
) -> Page[ErrorMinuteRow]:
    """Log records and errors per minute and service; a minute that is missing had no record."""
    found = await telemetry_of(parts_of(request)).errors_per_minute(*window(request, since, until), service)
    rows = [
        ErrorMinuteRow(at=instant(one.at_ns), service=one.service, records=one.records, errors=one.errors)
        for one in found
    ]
    return Page(items=rows)


@get("/api/v1/trace-edges", **VIEWER)
async def list_edges(request: Asked, since: Time = "", until: Time = "") -> Page[Edge]:
    """Which service called which in a time, as spans show it."""
    found = await telemetry_of(parts_of(request)).edges(*window(request, since, until))
    return Page(items=list(found))


async def trace_or_raise(request: Asked, trace_id: str) -> Waterfall:
    """A trace in reading order, or an error that says what may have become of it."""
    wanted = trace_id.strip().lower()
    spans = await telemetry_of(parts_of(request)).trace(wanted)
    if not spans:
        raise NotFound(
            "POISE-U405", f"no trace {wanted[:40]}",
            why="It was never sent, or is older than what is kept.", mend="Run: poise traces",
        )  # fmt: skip
    return await anyio.to_thread.run_sync(waterfall, spans)


def window(request: Asked, since: str, until: str) -> tuple[int, int]:
    """[since, until) in nanoseconds. Raises ``Invalid`` for what is no time."""
    now_ms = int(parts_of(request).clock.now().timestamp() * 1000)
    begin = _instant("since", since, now_ms) if since else now_ms - WINDOW_MS
    end = _instant("until", until, now_ms) if until else now_ms + AHEAD_MS
    return begin * MILLISECOND_NS, end * MILLISECOND_NS


def severity_of(name: str) -> int:
    """The lowest severity that is wanted; empty wants all."""
    try:
        return severity_from(name.lower()) if name else 0
    except ValueError:
        raise Invalid(
            "POISE-U122", f"{name[:40]!r} is no severity", mend=f"One of {', '.join(SEVERITIES)}."
        ) from None


def no_time(where: str, text: str) -> Invalid:
    """What was given as a time and is none."""
    return Invalid("POISE-U121", f"{text!r} is no time", where=where,
                   mend="Write e.g. 10m, 2h30m or 2026-03-01T12:00:00Z.")  # fmt: skip


def _instant(where: str, text: str, now_ms: int) -> int:
    before = duration_ms(text)
    found = now_ms - before if before is not None else instant_ms(text)
    if found is None:
        raise no_time(where, text)
    return max(0, min(found, (1 << 63) // MILLISECOND_NS - 1))


ROUTES = [
    list_traces,
    get_trace,
    list_records,
    list_templates,
    list_errors,
    list_edges,
]
