"""The contract of TraceStore and RecordStore: the owner process over DuckDB, and the lists in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.adapters.memory_telemetry import MemoryTelemetry
from poise.adapters.telemetry import TelemetryOwner
from poise.model.errors import Invalid
from poise.model.telemetry import (
    MINUTE_NS,
    SECOND_NS,
    Edge,
    LogRecord,
    RecordQuery,
    Span,
    SpanEvent,
    SpanKind,
    SpanLink,
    SpanQuery,
    SpanStatus,
    TraceQuery,
)
from poise.model.template import OTHER
from poise.ports.telemetry import RecordStore, TraceStore

NOW = 1_800_000_000 * SECOND_NS
HOUR = 3_600 * SECOND_NS
EVER = {"since_ns": NOW - HOUR, "until_ns": NOW + HOUR}


class Both(TraceStore, RecordStore, Protocol):
    """What an adapter plays here."""


Work = Callable[[Any], Awaitable[None]]


@pytest.fixture(params=["owner", "memory"])
def held(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Work], None]:
    """Runs work against a fresh store, in one event loop."""

    async def run(work: Work) -> None:
        if request.param == "memory":
            return await work(MemoryTelemetry())
        store = TelemetryOwner(tmp_path)
        try:
            await work(store)
        finally:
            await store.close()

    return lambda work: anyio.run(run, work)


def span(n: int, trace: int = 1, parent: int = 0, at_s: float = 0, took_s: float = 1, **rest: Any) -> Span:
    return Span(
        trace_id=f"{trace:032x}",
        span_id=f"{n:016x}",
        parent_id=f"{parent:016x}" if parent else "",
        name=rest.pop("name", f"op {n}"),
        service=rest.pop("service", "shop"),
        start_ns=NOW + int(at_s * SECOND_NS),
        duration_ns=int(took_s * SECOND_NS),
        **rest,
    )


def record(body: str, at_s: float = 0, **rest: Any) -> LogRecord:
    return LogRecord(
        at_ns=NOW + int(at_s * SECOND_NS), body=body, service=rest.pop("service", "shop"), **rest
    )


def test_a_span_comes_back_as_it_was_appended(held: Callable[[Work], None]) -> None:
    """What is looked at in a bad hour must be what the service sent: every field, of every type."""
    whole = span(
        0xFEDC_BA98_7654_3210,
        trace=(1 << 128) - 1,
        parent=7,
        kind=SpanKind.CLIENT,
        status=SpanStatus.ERROR,
        message="no\x00 'stock' \U0001f6d2",
        environment="production",
        scope="http",
        resource={"service.name": "shop", "process.pid": 2**53},
        attributes={"a": 1, "b": 0.5, "c": True, "d": "\"'; DROP TABLE span; --"},
        events=(SpanEvent(at_ns=NOW, name="exception", attributes={"exception.type": "KeyError"}),),
        links=(SpanLink(trace_id="0" * 31 + "2", span_id="0" * 15 + "3"),),
    )

    async def work(store: Both) -> None:
        assert (await store.append_spans([whole])).kept == 1
        assert await store.trace(whole.trace_id) == (whole,)
        assert await store.trace(f"{3:032x}") == ()
        assert await store.trace("no id") == ()

    held(work)


def test_a_span_sent_again_is_kept_once(held: Callable[[Work], None]) -> None:
    """Exporters send again what was not acknowledged in time; counts must not grow by it."""

    async def work(store: Both) -> None:
        first = await store.append_spans([span(1), span(2), span(1)])
        again = await store.append_spans([span(2), span(3), span(1, trace=2)])
        assert (first.kept, first.known) == (2, 1)
        assert (again.kept, again.known) == (2, 1)
        assert [one.span_id[-1] for one in await store.trace(f"{1:032x}")] == ["1", "2", "3"]

    held(work)


def test_traces_are_found_by_service_length_errors_and_time(held: Callable[[Work], None]) -> None:
    """The list is how somebody gets from a graph to one request that shows the trouble."""
    calls = [
        span(1, trace=1, took_s=0.2),
        span(2, trace=1, parent=1, service="stock", at_s=0.1, took_s=0.5, status=SpanStatus.ERROR),
        span(3, trace=2, at_s=5, took_s=2, environment="staging"),
        span(4, trace=3, at_s=-7200, took_s=9),
    ]

    async def work(store: Both) -> None:
        await store.append_spans(calls)

        async def found(**how: Any) -> list[int]:
            page = await store.find_traces(TraceQuery(**{**EVER, **how}))
            return [int(one.trace_id, 16) for one in page.items]

        assert await found() == [2, 1]
        assert await found(service="stock") == [1]
        assert await found(service="nobody") == []
        assert await found(environment="staging") == [2]
        assert await found(min_duration_ns=SECOND_NS) == [2]
        assert await found(errors=True) == [1]
        assert await found(since_ns=NOW - 3 * HOUR) == [2, 1, 3]
        (first,) = (await store.find_traces(TraceQuery(**EVER, service="stock"))).items
        assert (first.service, first.name, first.spans, first.errors) == ("shop", "op 1", 2, 1)
        assert (first.services, first.duration_ns) == (("shop", "stock"), 6 * SECOND_NS // 10)

    held(work)


def test_pages_of_traces_hold_each_once(held: Callable[[Work], None]) -> None:
    """A cursor that skips or repeats hides the very trace that one looks for."""

    async def work(store: Both) -> None:
        await store.append_spans([span(n, trace=n, at_s=n // 3) for n in range(1, 12)])
        seen: list[str] = []
        before = ""
        while True:
            page = await store.find_traces(TraceQuery(**EVER, limit=4, before=before))
            seen += [one.trace_id for one in page.items]
            if not (before := page.next):
                break
        assert seen == [f"{n:032x}" for n in range(11, 0, -1)]
        with pytest.raises(Invalid, match="no cursor"):
            await store.find_traces(TraceQuery(**EVER, before="yesterday"))

    held(work)


def test_spans_of_a_service_ascend(held: Callable[[Work], None]) -> None:
    """Causes compare a service's spans before and after an instant."""

    async def work(store: Both) -> None:
        await store.append_spans([span(2, at_s=2), span(1, at_s=1), span(3, service="stock")])
        found = await store.spans_of(SpanQuery(service="shop", **EVER))
        assert [one.span_id[-1] for one in found] == ["1", "2"]
        assert len(await store.spans_of(SpanQuery(service="shop", **EVER, limit=1))) == 1

    held(work)


def test_edges_are_calls_between_services_as_spans_show_them(held: Callable[[Work], None]) -> None:
    """Who calls whom is declared by nobody and changes by itself; spans know."""

    async def work(store: Both) -> None:
        await store.append_spans(
            [
                span(1),
                span(2, parent=1),
                span(3, parent=2, service="stock"),
                span(4, parent=2, service="stock", status=SpanStatus.ERROR),
                span(3, trace=2, parent=9, service="stock"),
                span(5, trace=1, parent=3, service="db", at_s=7200),
            ]
        )
        assert await store.edges(**EVER) == (Edge(caller="shop", callee="stock", calls=2, errors=1),)

    held(work)


def test_a_log_record_comes_back_with_its_template(held: Callable[[Work], None]) -> None:
    """A record must be readable as it was written, and countable as what it is one of."""
    whole = record(
        "user 42 bought 'a\x00 b'",
        severity=17,
        environment="production",
        trace_id=f"{5:032x}",
        span_id=f"{6:016x}",
        scope="orders",
        resource={"service.name": "shop"},
        attributes={"n": 1, "text": "ünï"},
    )

    async def work(store: Both) -> None:
        assert (await store.append_records([whole, record("user 7 bought 'c'")])).kept == 2
        (found,) = (await store.find_records(RecordQuery(**EVER, trace_id=whole.trace_id))).items
        (seen,) = await store.templates(**EVER)
        assert (seen.template, seen.records, seen.errors) == ("user <num> bought <text>", 2, 1)
        assert found == LogRecord(**{**{f: getattr(whole, f) for f in whole.__struct_fields__},
                                     "template_id": seen.template_id})  # fmt: skip
        both = await store.find_records(RecordQuery(**EVER, template_id=seen.template_id))
        assert len(both.items) == 2
        assert (await store.find_records(RecordQuery(**EVER, template_id="f" * 16))).items == ()

    held(work)


def test_log_records_are_found_by_all_that_is_asked(held: Callable[[Work], None]) -> None:
    """The conditions of a search narrow it, each alone and all together."""
    records = [
        record("stock 1 is low", at_s=1, severity=13),
        record("stock 2 is out", at_s=2, severity=17, environment="staging"),
        record("100% of %stock_ is out", at_s=3, service="stock", severity=21),
        record("long ago", at_s=-7200),
    ]

    async def work(store: Both) -> None:
        await store.append_records(records)

        async def found(**how: Any) -> list[str]:
            page = await store.find_records(RecordQuery(**{**EVER, **how}))
            return [one.body for one in page.items]

        assert await found() == [one.body for one in reversed(records[:3])]
        assert await found(service="shop", min_severity=17) == ["stock 2 is out"]
        assert await found(text="is out") == [records[2].body, records[1].body]
        assert await found(text="%stock_") == [records[2].body]
        assert await found(text="IS OUT") == []
        assert await found(environment="staging") == ["stock 2 is out"]
        assert await found(trace_id=f"{1:032x}") == []
        assert await found(trace_id="no id") == []

    held(work)


def test_pages_of_log_records_hold_each_once(held: Callable[[Work], None]) -> None:
    """Many records share an instant; a cursor by time alone would lose some of them."""

    async def work(store: Both) -> None:
        await store.append_records([record(f"n {n}", at_s=n // 5) for n in range(17)])
        seen: list[str] = []
        before = ""
        while True:
            page = await store.find_records(RecordQuery(**EVER, limit=4, before=before))
            seen += [one.body for one in page.items]
            if not (before := page.next):
                break
        assert seen == [f"n {n}" for n in reversed(range(17))]
        with pytest.raises(Invalid, match="no cursor"):
            await store.find_records(RecordQuery(**EVER, before="1.x"))

    held(work)


def test_errors_per_minute_count_records_and_errors(held: Callable[[Work], None]) -> None:
    """Missing minutes had no record at all, which is not the same as no error."""

    async def work(store: Both) -> None:
        await store.append_records(
            [
                record("a", severity=17),
                record("b", at_s=1),
                record("c", at_s=120, severity=21),
                record("d", service="stock"),
            ]
        )
        found = await store.errors_per_minute(**EVER)
        assert [(one.at_ns - NOW // MINUTE_NS * MINUTE_NS, one.service, one.records, one.errors)
                for one in found] == [
            (0, "shop", 2, 1), (0, "stock", 1, 0), (2 * MINUTE_NS, "shop", 1, 1),
        ]  # fmt: skip
        assert len(await store.errors_per_minute(**EVER, service="stock")) == 1

    held(work)


def test_nothing_appended_is_nothing_found(held: Callable[[Work], None]) -> None:
    """A house without telemetry answers empty, and an empty batch is no mistake."""

    async def work(store: Both) -> None:
        assert (await store.find_traces(TraceQuery(**EVER))).items == ()
        assert (await store.find_records(RecordQuery(**EVER))).items == ()
        assert await store.edges(**EVER) == ()
        assert await store.templates(**EVER) == ()
        assert (await store.append_spans([])).kept == 0
        assert (await store.append_records([])).kept == 0

    held(work)


def test_templates_are_bounded(tmp_path: Path) -> None:
    """A program that logs without sense must not fill the dictionary of all others."""
    from poise.adapters.telemetry import Retention

    async def work(store: Both) -> None:
        await store.append_records([record("ab" * n) for n in range(1, 5)])
        counts = {one.template: one.records for one in await store.templates(**EVER)}
        assert counts == {"ab": 1, "abab": 1, OTHER: 2}
        other = next(one for one in await store.templates(**EVER) if one.template == OTHER)
        found = await store.find_records(RecordQuery(**EVER, template_id=other.template_id))
        assert [one.template_id for one in found.items] == [other.template_id] * 2

    async def both() -> None:
        await work(MemoryTelemetry(templates=2))
        store = TelemetryOwner(tmp_path, Retention(templates=2))
        await work(store)
        await store.close()

    anyio.run(both)


TEXTS = st.text(max_size=30)


@settings(max_examples=20)
@given(
    bodies=st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 24)), max_size=8),
    names=st.lists(st.tuples(TEXTS, TEXTS), max_size=8),
)
def test_whatever_text_is_appended_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    bodies: list[tuple[str, str, int]],
    names: list[tuple[str, str]],
) -> None:
    """Names and bodies are other people's: no quote, control character or script may change or break them."""
    from poise.adapters.telemetry import reading
    from poise.adapters.telemetry.file import TelemetryFile

    file = TelemetryFile(tmp_path_factory.mktemp("any") / "t.duckdb")
    records = [record(body, service=service, severity=n) for body, service, n in bodies]
    spans = [span(n, name=name, service=who) for n, (name, who) in enumerate(names, start=1)]
    file.append_records(records)
    file.append_spans(spans)
    with file.reader() as connection:
        found = reading.find_records(connection, RecordQuery(**EVER)).items
        assert [(one.body, one.service, one.severity) for one in reversed(found)] == bodies
        assert list(reading.trace(connection, f"{1:032x}")) == spans
    file.close()
