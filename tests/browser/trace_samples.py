"""Views of traces and log records: a slow checkout that failed in the stock of a shop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from poise.api.telemetry_views import record_row, trace_row, trace_view
from poise.model.telemetry import (
    LogRecord,
    Span,
    SpanEvent,
    SpanKind,
    SpanStatus,
    TraceSummary,
)
from poise.model.waterfall import waterfall
from poise.web import traces_compose
from poise.web import views as v
from poise.web.telemetry_views import RecordsView, TracePageView, TracesView, Wanted

NOW = datetime(2026, 11, 28, 9, 40, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000
MS = 1_000_000
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLS = (  # id, parent, service, name, kind, begins at ms, takes ms, failed
    (1, 0, "storefront", "POST /checkout", SpanKind.SERVER, 0, 812, True),
    (2, 1, "storefront", "read cart", SpanKind.INTERNAL, 4, 31, False),
    (3, 2, "storefront", "GET carts", SpanKind.CLIENT, 6, 27, False),
    (4, 1, "storefront", "POST payments", SpanKind.CLIENT, 40, 190, False),
    (5, 4, "payments", "POST /charge", SpanKind.SERVER, 48, 171, False),
    (6, 5, "payments", "INSERT charges", SpanKind.CLIENT, 60, 22, False),
    (7, 5, "payments", "POST bank.example/v2/charges", SpanKind.CLIENT, 90, 120, False),
    (8, 1, "storefront", "POST catalog/reserve", SpanKind.CLIENT, 240, 540, True),
    (9, 8, "catalog", "POST /reserve", SpanKind.SERVER, 246, 530, True),
    (10, 9, "catalog", "SELECT stock FOR UPDATE", SpanKind.CLIENT, 260, 505, True),
    (11, 1, "storefront", "publish order.failed", SpanKind.PRODUCER, 790, 9, False),
    (12, 11, "mailer", "process order.failed", SpanKind.CONSUMER, 799, 240, False),
)


def chrome() -> v.Chrome:
    return v.Chrome(
        at=NOW, principal="ana", csrf="c5rf-t0ken", sequence=4_812, where="acme", project="acme"
    )  # fmt: skip


def spans() -> list[Span]:
    return [
        Span(
            trace_id=TRACE,
            span_id=f"{n:016x}",
            parent_id=f"{parent:016x}" if parent else "",
            service=service,
            environment="production",
            name=name,
            kind=kind,
            status=SpanStatus.ERROR if failed else SpanStatus.UNSET,
            message="canceling statement due to lock timeout" if n == 10 else "",
            start_ns=NOW_NS + begin * MS,
            duration_ns=took * MS,
            scope="opentelemetry.instrumentation.psycopg" if n == 10 else "",
            resource={"service.name": service, "service.version": "r43", "host.name": "poise-1"},
            attributes={"db.system": "postgresql", "db.statement": "SELECT stock FROM items FOR UPDATE",
                        "net.peer.port": 5432} if n == 10 else {},
            events=(
                SpanEvent(
                    at_ns=NOW_NS + 764 * MS,
                    name="exception",
                    attributes={"exception.type": "LockNotAvailable", "exception.message": "<b>lock</b>"},
                ),
            ) if n == 10 else (),
        )
        for n, parent, service, name, kind, begin, took, failed in CALLS
    ]  # fmt: skip


def records() -> list[LogRecord]:
    told: tuple[tuple[int, str, int, str], ...] = (
        (5, "storefront", 9, "checkout of cart 8812 begins"),
        (226, "payments", 9, "charged 41.90 EUR for order 8812"),
        (766, "catalog", 17, "could not reserve item 1207: lock timeout\n  at reserve (stock.py:88)"),
        (812, "storefront", 13, "order 8812 failed, refunding"),
    )  # fmt: skip
    return [
        LogRecord(at_ns=NOW_NS + at * MS, service=service, severity=severity, body=body, trace_id=TRACE,
                  template_id=f"{n:016x}")
        for n, (at, service, severity, body) in enumerate(told)
    ]  # fmt: skip


def trace(**more: Any) -> TracePageView:
    found = trace_view(waterfall(more.pop("spans", None) or spans()))
    span = traces_compose.telling(found)
    return TracePageView(
        chrome=chrome(),
        trace=found,
        drawn=traces_compose.drawn(found, span.span_id),
        span=span,
        records=tuple(map(record_row, records())),
    )


def traces() -> TracesView:
    rows = [
        TraceSummary(
            trace_id=TRACE if n == 2 else f"{n + 1:032x}",
            service="storefront",
            name=("GET /", "GET /items/{id}", "POST /checkout")[n % 3],
            start_ns=NOW_NS - int(timedelta(seconds=11 * n).total_seconds()) * 1_000_000_000,
            duration_ns=(812 if n == 2 else 37 + 13 * (n % 7)) * MS,
            spans=12 if n % 3 == 2 else 4,
            errors=3 if n == 2 else 0,
            services=("catalog", "payments", "storefront")[: 1 + n % 3],
        )
        for n in range(14)
    ]
    return TracesView(
        chrome=chrome(),
        wanted=Wanted(service="storefront"),
        rows=tuple(map(trace_row, rows)),
        older_href="/traces?cursor=1",
    )


def no_traces() -> TracesView:
    return TracesView(chrome=chrome(), wanted=Wanted(since="15m"), problem="'soon' is no time.")


def found_records() -> RecordsView:
    return RecordsView(
        chrome=chrome(), wanted=Wanted(severity="info"), rows=tuple(map(record_row, records()))
    )
