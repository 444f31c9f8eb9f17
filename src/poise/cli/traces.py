"""Traces and log records at the command line: lists, one trace as a waterfall, a search."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated, Any, Final

from cyclopts import Parameter

from poise.api.telemetry_views import RecordRow, SpanRow, TemplateRow, TraceRow, TraceView, milliseconds_of
from poise.api.views import Page
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common

SHOWN: Final = 500
NAME_WIDTH: Final = 44
BAR_WIDTH_MIN: Final = 20
WIDTH: Final = 100  # where the terminal does not say
INDENT_MAX: Final = 12
_CONTROL: Final = dict.fromkeys((*range(32), *range(127, 160)), "·")

Since = Annotated[str, Parameter(help="From then: 10m, or 2026-03-01T12:00:00Z; the last hour.")]
Until = Annotated[str, Parameter(help="Until then, likewise.")]
Last = Annotated[int, Parameter(help="At most so many.")]


def traces(
    service: str = "",
    *,
    since: Since = "",
    until: Until = "",
    min_duration: Annotated[str, Parameter(help="Only those that took at least so long: 500ms.")] = "",
    errors: Annotated[bool, Parameter(negative="", help="Only those with a failed span.")] = False,
    last: Last = 50,
    common: Common = COMMON,
) -> None:
    """Traces, the newest first.

    Parameters
    ----------
    service
        Only those in which this service takes part.
    """
    asked: dict[str, Any] = {
        "service": service, "environment": common.named_environment, "since": since, "until": until,
        "min_duration": min_duration, "errors": errors, "limit": min(max(last, 1), SHOWN),
    }  # fmt: skip
    with Client(common) as client:
        found = client.get("/api/v1/traces", Page[TraceRow], **asked).items
    if common.json:
        return output.data(found)
    if not found:
        return output.say("No trace. Send OTLP to /v1/traces; a longer time: --since 24h")
    heads = ("trace", "began", "took", "spans", "errors", "service", "name")
    return output.table(heads, map(_trace_row, found))


def trace(trace_id: str, *, common: Common = COMMON) -> None:
    """One trace as a waterfall: * is on the critical path, ! failed."""
    with Client(common) as client:
        found = client.get(f"/api/v1/traces/{_segment(trace_id)}", TraceView)
        records = client.get("/api/v1/records", Page[RecordRow], trace=found.trace_id, limit=50).items
    if common.json:
        return output.data({"trace": found, "records": records})
    output.say(_clean(found.sentence))
    output.say(f"  {found.start_at:%Y-%m-%d %H:%M:%S.%f}Z; services: {_clean(', '.join(found.services))}")
    for line in waterfall_lines(found, _width()):
        output.say(line)
    for one in sorted(records, key=lambda row: row.at):
        offset_ms = (one.at - found.start_at).total_seconds() * 1000
        output.say(f"  +{offset_ms:.3f} ms {one.severity} {_clean(one.service)}: {_clean(one.body)[:300]}")
    return None


def records(
    service: str = "",
    *,
    since: Since = "",
    until: Until = "",
    severity: Annotated[str, Parameter(help="At least: trace, debug, info, warn, error or fatal.")] = "",
    text: Annotated[str, Parameter(help="Only those whose body holds this.")] = "",
    template: Annotated[str, Parameter(help="Only those of this template's id.")] = "",
    trace: Annotated[str, Parameter(help="Only those of this trace.")] = "",
    templates: Annotated[bool, Parameter(negative="", help="Count by template instead.")] = False,
    last: Last = 100,
    common: Common = COMMON,
) -> None:
    """Log records that were sent by OTLP. What replicas print is at: poise logs SERVICE.

    Parameters
    ----------
    service
        Only this service's.
    """
    asked: dict[str, Any] = {"service": service, "since": since, "until": until}
    if templates:
        return _templates(asked, common)
    asked |= {
        "environment": common.named_environment, "severity": severity, "text": text, "template": template,
        "trace": trace, "limit": min(max(last, 1), SHOWN),
    }  # fmt: skip
    with Client(common) as client:
        found = client.get("/api/v1/records", Page[RecordRow], **asked).items
    if common.json:
        return output.data(found)
    if not found:
        return output.say("No log record. Send OTLP to /v1/logs; a longer time: --since 24h")
    for one in reversed(found):
        line = f"{one.at:%Y-%m-%dT%H:%M:%S.%f}Z {one.severity:<5} {one.service}: {one.body}"
        output.say(_clean(line) + (f"  [{one.trace_id}]" if one.trace_id else ""))
    return None


def waterfall_lines(found: TraceView, width: int) -> list[str]:
    """One line per span: marks, name below its parent's, length, and a bar at its place in time.

    >>> waterfall_lines(TraceView(trace_id="", start_at=None, duration_ms=1, errors=0, services=(),
    ...                           sentence="", spans=()), 80)
    []
    """
    room = max(BAR_WIDTH_MIN, width - NAME_WIDTH - 16)
    return [_span_line(one, found.duration_ms, room) for one in found.spans]


def _span_line(one: SpanRow, whole_ms: float, room: int) -> str:
    marks = ("*" if one.critical else " ") + ("!" if one.status == "error" else " ")
    indent = "  " * min(one.depth, INDENT_MAX)
    name = f"{indent}{_clean(one.service)} {_clean(one.name)}"
    name = name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…"
    begin = int(room * one.offset_ms / whole_ms) if whole_ms else 0
    begin = min(max(begin, 0), room - 1)
    length = max(1, round(room * one.duration_ms / whole_ms)) if whole_ms else 1
    bar = " " * begin + "━" * min(length, room - begin)
    took = milliseconds_of(round(one.duration_ms * 1e6))
    return f"{marks} {name:<{NAME_WIDTH}} {took:>9} {bar}".rstrip()


def _templates(asked: dict[str, Any], common: Common) -> None:
    with Client(common) as client:
        found = client.get("/api/v1/record-templates", Page[TemplateRow], **asked).items
    if common.json:
        return output.data(found)
    if not found:
        return output.say("No log record. Send OTLP to /v1/logs; a longer time: --since 24h")
    rows = (
        (one.template_id, str(one.records), str(one.errors), _clean(one.service), _clean(one.template)[:200])
        for one in found
    )
    return output.table(("template", "records", "errors", "service", "text"), rows)


def _trace_row(one: TraceRow) -> tuple[str, ...]:
    took = milliseconds_of(round(one.duration_ms * 1e6))
    began = f"{one.start_at:%Y-%m-%d %H:%M:%S}"
    errors = str(one.errors) if one.errors else ""
    return one.trace_id, began, took, str(one.spans), errors, _clean(one.service), _clean(one.name)[:80]


def _segment(trace_id: str) -> str:
    from urllib.parse import quote

    return quote(trace_id.strip() or "-", safe="")


def _clean(text: str) -> str:
    """What others sent moves no cursor and paints no terminal."""
    return text.translate(_CONTROL)


def _width() -> int:
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
