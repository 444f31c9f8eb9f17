"""What is read: each function asks one thing of a connection. Values are bound, never written into SQL."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import duckdb

from poise.adapters.telemetry import limits
from poise.adapters.telemetry.rows import (
    ERROR,
    RECORD,
    SPAN,
    halves,
    record_of,
    span_of,
    trace_id_of,
)
from poise.adapters.telemetry.templates import Templates
from poise.model.errors import Invalid
from poise.model.telemetry import (
    ERROR_FROM,
    MINUTE_NS,
    Edge,
    ErrorMinute,
    RecordQuery,
    Records,
    Span,
    SpanQuery,
    TemplateCount,
    TraceQuery,
    Traces,
    TraceSummary,
)


class Reader(NamedTuple):
    """A connection that only reads, and the templates of its file."""

    connection: duckdb.DuckDBPyConnection
    templates: Templates


_ONE_TRACE: Final = (
    f"SELECT {SPAN} FROM span WHERE trace_hi = ? AND trace_lo = ? ORDER BY start_ns, span_id LIMIT ?"  # noqa: S608
)
_SPANS_OF: Final = (
    f"SELECT {SPAN} FROM span WHERE service = ? AND start_ns >= ? AND start_ns < ? "  # noqa: S608
    "ORDER BY start_ns, span_id LIMIT ?"
)
# first only what orders and filters, then the rest for the rows of the page
_TAKES_PART: Final = """
WITH hit AS (SELECT DISTINCT trace_hi, trace_lo FROM span WHERE start_ns >= $since AND start_ns < $until
               AND ($service = '' OR service = $service)
               AND ($environment = '' OR environment = $environment)),
"""
_TRACES: Final = """
whole AS (SELECT trace_hi, trace_lo, min(start_ns) AS start_ns, max(start_ns + duration_ns) AS end_ns,
            count(*) AS spans, count(*) FILTER (status = $error) AS errors
          FROM span {of} WHERE start_ns >= $since - $around AND start_ns < $until + $around
          GROUP BY trace_hi, trace_lo),
page AS (SELECT * FROM whole
         WHERE start_ns >= $since AND start_ns < $until AND end_ns - start_ns >= $min_duration
           AND errors >= $min_errors AND (start_ns < $at OR
             (start_ns = $at AND (trace_hi < $hi OR (trace_hi = $hi AND trace_lo < $lo))))
         ORDER BY start_ns DESC, trace_hi DESC, trace_lo DESC LIMIT $limit)
SELECT trace_hi, trace_lo,
  coalesce(arg_min(service, span.start_ns) FILTER (parent_id = 0), arg_min(service, span.start_ns)),
  coalesce(arg_min(name, span.start_ns) FILTER (parent_id = 0), arg_min(name, span.start_ns)),
  any_value(page.start_ns) AS start_ns, any_value(end_ns - page.start_ns), any_value(spans),
  any_value(errors), list_sort(list_distinct(list(service)))
FROM span JOIN page USING (trace_hi, trace_lo)
WHERE span.start_ns >= $since - $around AND span.start_ns < $until + $around
GROUP BY trace_hi, trace_lo ORDER BY start_ns DESC, trace_hi DESC, trace_lo DESC
"""
_ALL_TRACES: Final = f"WITH {_TRACES.format(of='')}"
_TRACES_OF: Final = _TAKES_PART + _TRACES.format(of="SEMI JOIN hit USING (trace_hi, trace_lo)")
_EDGES: Final = """
SELECT parent.service, child.service, count(*), count(*) FILTER (child.status = $error)
FROM span AS child JOIN span AS parent
  ON child.trace_hi = parent.trace_hi AND child.trace_lo = parent.trace_lo
  AND child.parent_id = parent.span_id
WHERE child.start_ns >= $since AND child.start_ns < $until AND child.parent_id <> 0
  AND parent.start_ns >= $since - $around AND parent.start_ns < $until + $around
  AND child.service <> parent.service
GROUP BY ALL ORDER BY ALL LIMIT $limit
"""
_TEMPLATES: Final = """
SELECT template, service, count(*) AS records, count(*) FILTER (severity >= $error), min(at_ns), max(at_ns)
FROM record WHERE at_ns >= $since AND at_ns < $until AND ($service = '' OR service = $service)
GROUP BY template, service ORDER BY records DESC, template, service LIMIT $limit
"""
_MINUTES: Final = """
SELECT at_ns // $minute AS nth, service, count(*), count(*) FILTER (severity >= $error)
FROM record WHERE at_ns >= $since AND at_ns < $until AND ($service = '' OR service = $service)
GROUP BY nth, service ORDER BY nth, service LIMIT $limit
"""


def trace(reader: Reader, trace_id: str) -> tuple[Span, ...]:
    """See the port; an id that is none has no spans."""
    try:
        hi, lo = halves(trace_id)
    except ValueError:
        return ()
    rows = reader.connection.execute(_ONE_TRACE, [hi, lo, limits.SPANS_MAX]).fetchall()
    return tuple(map(span_of, rows))


def spans_of(reader: Reader, asked: SpanQuery) -> tuple[Span, ...]:
    """See the port."""
    bound = [asked.service, asked.since_ns, asked.until_ns, min(asked.limit, limits.SPANS_MAX)]
    return tuple(map(span_of, reader.connection.execute(_SPANS_OF, bound).fetchall()))


def find_traces(reader: Reader, asked: TraceQuery) -> Traces:
    """See the port."""
    limit = min(asked.limit, limits.PAGE_MAX)
    at, hi, lo = _trace_cursor(asked.before)
    bound = {
        "since": asked.since_ns,
        "until": asked.until_ns,
        "min_duration": asked.min_duration_ns,
        "min_errors": int(asked.errors),
        "error": ERROR,
        "around": limits.TRACE_SPAN_NS,
        "at": at,
        "hi": hi,
        "lo": lo,
        "limit": limit + 1,
    }
    if asked.service or asked.environment:
        some = {"service": asked.service, "environment": asked.environment}
        rows = reader.connection.execute(_TRACES_OF, {**bound, **some}).fetchall()
    else:
        rows = reader.connection.execute(_ALL_TRACES, bound).fetchall()
    items = tuple(
        TraceSummary(
            trace_id=trace_id_of(hi, lo),
            service=service,
            name=name,
            start_ns=start,
            duration_ns=took,
            spans=spans,
            errors=errors,
            services=tuple(services),
        )
        for hi, lo, service, name, start, took, spans, errors, services in rows[:limit]
    )
    after = f"{items[-1].start_ns}.{items[-1].trace_id}" if len(rows) > limit else ""
    return Traces(items=items, next=after)


def edges(reader: Reader, since_ns: int, until_ns: int) -> tuple[Edge, ...]:
    """See the port."""
    bound = {
        "since": since_ns,
        "until": until_ns,
        "error": ERROR,
        "around": limits.TRACE_SPAN_NS,
        "limit": limits.EDGES_MAX,
    }
    rows = reader.connection.execute(_EDGES, bound).fetchall()
    return tuple(Edge(caller=caller, callee=callee, calls=n, errors=bad) for caller, callee, n, bad in rows)


def find_records(reader: Reader, asked: RecordQuery) -> Records:
    """See the port."""
    limit = min(asked.limit, limits.PAGE_MAX)
    where, bound = _wanted(reader, asked)
    text = (
        f"SELECT n, template, {RECORD} FROM record WHERE {' AND '.join(where)} "  # noqa: S608  ours
        "ORDER BY at_ns DESC, n DESC LIMIT ?"
    )
    rows = reader.connection.execute(text, [*bound, limit + 1]).fetchall()
    items = tuple(record_of(row[2:], reader.templates.of(row[1])[0]) for row in rows[:limit])
    after = f"{rows[limit - 1][2]}.{rows[limit - 1][0]}" if len(rows) > limit else ""
    return Records(items=items, next=after)


def templates(reader: Reader, since_ns: int, until_ns: int, service: str) -> tuple[TemplateCount, ...]:
    """See the port."""
    bound = {
        "since": since_ns,
        "until": until_ns,
        "service": service,
        "error": ERROR_FROM,
        "limit": limits.TEMPLATES_MAX,
    }
    rows = reader.connection.execute(_TEMPLATES, bound).fetchall()
    return tuple(
        TemplateCount(
            template_id=reader.templates.of(number)[0],
            template=reader.templates.of(number)[1],
            service=name,
            records=count,
            errors=bad,
            first_ns=first,
            last_ns=last,
        )
        for number, name, count, bad, first, last in rows
    )


def errors_per_minute(reader: Reader, since_ns: int, until_ns: int, service: str) -> tuple[ErrorMinute, ...]:
    """See the port."""
    bound = {
        "since": since_ns,
        "until": until_ns,
        "service": service,
        "error": ERROR_FROM,
        "minute": MINUTE_NS,
        "limit": limits.MINUTES_MAX,
    }
    rows = reader.connection.execute(_MINUTES, bound).fetchall()
    return tuple(
        ErrorMinute(at_ns=at * MINUTE_NS, service=name, records=count, errors=bad)
        for at, name, count, bad in rows
    )


# -- parts of a question --------------------------------------------------------------------------


def _wanted(reader: Reader, asked: RecordQuery) -> tuple[list[str], list[Any]]:
    """The conditions in words of SQL that are ours, and the values that are theirs."""
    where = ["at_ns >= ?", "at_ns < ?"]
    bound: list[Any] = [asked.since_ns, asked.until_ns]
    for column, value in (("service", asked.service), ("environment", asked.environment)):
        if value:
            where.append(f"{column} = ?")
            bound.append(value)
    if asked.min_severity:
        where.append("severity >= ?")
        bound.append(asked.min_severity)
    if asked.text:
        where.append("contains(body, ?)")
        bound.append(asked.text)
    if asked.trace_id:
        try:
            bound += halves(asked.trace_id)
            where.append("trace_hi = ? AND trace_lo = ?")
        except ValueError:
            where.append("false")
    if asked.template_id:
        number = reader.templates.number_of(asked.template_id)
        where.append("false" if number is None else "template = ?")
        bound += [] if number is None else [number]
    if asked.before:
        at, n = _record_cursor(asked.before)
        where.append("(at_ns < ? OR (at_ns = ? AND n < ?))")
        bound += [at, at, n]
    return where, bound


def _trace_cursor(text: str) -> tuple[int, int, int]:
    if not text:
        return (1 << 63) - 1, 0, 0
    at, _, trace_id = text.partition(".")
    try:
        return (_instant(at), *halves(trace_id))
    except ValueError:
        raise no_cursor(text) from None


def _record_cursor(text: str) -> tuple[int, int]:
    at, _, n = text.partition(".")
    try:
        return _instant(at), _instant(n)
    except ValueError:
        raise no_cursor(text) from None


def _instant(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 63:
        raise ValueError(text)
    return number


def no_cursor(text: str) -> Invalid:
    """A cursor that no answer ever gave."""
    return Invalid("POISE-U120", f"{text[:60]!r} is no cursor", mend="Take `next` of the page before.")
