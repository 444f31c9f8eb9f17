"""The views of traces and log records, out of what the API answers."""

from __future__ import annotations

from typing import Any

from litestar import Request

from poise.api import telemetry as api
from poise.api.otlp import telemetry_of
from poise.api.read import parts_of
from poise.api.telemetry_views import SpanRow, TraceView, record_row, trace_view
from poise.model.errors import Invalid
from poise.model.telemetry import RecordQuery
from poise.web import links
from poise.web.telemetry_views import (
    RECORDS_SHOWN,
    ROWS_DRAWN_MAX,
    RecordsView,
    TracePageView,
    TracesView,
    Wanted,
)
from poise.web.views import Chrome

Asked = Request[Any, Any, Any]
EVER_NS = (1 << 63) - 1


async def traces(request: Asked, wanted: Wanted, cursor: str, chrome: Chrome) -> TracesView:
    """A page of traces; what cannot be answered is told in the page."""
    try:
        page = await api.list_traces.fn(
            request, service=wanted.service, environment="", since=wanted.since, until="",
            min_duration=wanted.min_duration, errors=wanted.errors, cursor=cursor, limit=50,
        )  # fmt: skip
    except Invalid as error:
        return TracesView(chrome=chrome, wanted=wanted, problem=f"{error.what}. {error.mend}")
    older = links.older(links.TRACES, wanted, page.next) if page.next else ""
    return TracesView(chrome=chrome, wanted=wanted, rows=tuple(page.items), older_href=older)


async def records(request: Asked, wanted: Wanted, cursor: str, chrome: Chrome) -> RecordsView:
    """A page of log records; what cannot be answered is told in the page."""
    try:
        page = await api.list_records.fn(
            request, service=wanted.service, environment="", since=wanted.since, until="",
            severity=wanted.severity, text=wanted.text, template=wanted.template, trace="",
            cursor=cursor, limit=RECORDS_SHOWN,
        )  # fmt: skip
    except Invalid as error:
        return RecordsView(chrome=chrome, wanted=wanted, problem=f"{error.what}. {error.mend}")
    older = links.older(links.RECORDS, wanted, page.next) if page.next else ""
    return RecordsView(chrome=chrome, wanted=wanted, rows=tuple(page.items), older_href=older)


async def trace(request: Asked, trace_id: str, span_id: str, chrome: Chrome) -> TracePageView:
    """One trace; the span that is asked for, else the one that matters most."""
    found = trace_view(await api.trace_or_raise(request, trace_id))
    asked = RecordQuery(since_ns=0, until_ns=EVER_NS, trace_id=found.trace_id, limit=RECORDS_SHOWN)
    page = await telemetry_of(parts_of(request)).find_records(asked)
    span = next((one for one in found.spans if one.span_id == span_id), None) or telling(found)
    rows = sorted(map(record_row, page.items), key=lambda row: row.at)
    return TracePageView(
        chrome=chrome, trace=found, drawn=drawn(found, span.span_id), span=span, records=tuple(rows)
    )


def telling(found: TraceView) -> SpanRow:
    """The deepest failure, else what took most of the critical path."""
    failed = [one for one in found.spans if one.status == "error"]
    if failed:
        return max(failed, key=lambda one: (one.depth, one.critical_ms))
    return max(found.spans, key=lambda one: one.critical_ms)


def drawn(found: TraceView, span_id: str, at_most: int = ROWS_DRAWN_MAX) -> tuple[SpanRow, ...]:
    """The rows of the waterfall, in order: all, or the ones that matter and then the first."""
    if len(found.spans) <= at_most:
        return found.spans
    ranked = sorted(
        range(len(found.spans)),
        key=lambda n: (
            n != 0 and found.spans[n].span_id != span_id,
            found.spans[n].status != "error",
            not found.spans[n].critical,
            n,
        ),
    )
    return tuple(found.spans[n] for n in sorted(ranked[:at_most]))
