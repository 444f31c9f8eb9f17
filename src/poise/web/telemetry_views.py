"""The input of the pages of traces and log records: frozen plain data, as in ``views``."""

from __future__ import annotations

from msgspec import Struct

from poise.api.telemetry_views import RecordRow, SpanRow, TraceRow, TraceView
from poise.web.views import Chrome

ROWS_DRAWN_MAX = 150
"""Spans of a waterfall; the table twin has as many. Errors and the critical path are always among them."""

RECORDS_SHOWN = 100
"""Log records of one page, and those beside a trace."""

WINDOWS = (("15m", "15 minutes"), ("1h", "hour"), ("6h", "6 hours"), ("24h", "24 hours"), ("7d", "7 days"))
"""Times that a form offers, each with its words."""

SEVERITIES_OFFERED = ("", "debug", "info", "warn", "error", "fatal")
"""Least severities that a form offers; empty is any."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What a list was asked for, as text, so that the form shows it again."""

    service: str = ""
    since: str = "1h"
    min_duration: str = ""
    errors: bool = False
    severity: str = ""
    text: str = ""
    template: str = ""


class TracesView(Struct, frozen=True, kw_only=True):
    """A page of traces. ``problem`` says why what was asked could not be answered."""

    chrome: Chrome
    wanted: Wanted
    rows: tuple[TraceRow, ...] = ()
    older_href: str = ""
    problem: str = ""


class TracePageView(Struct, frozen=True, kw_only=True):
    """One trace. ``drawn`` are the rows of the waterfall, ``span`` the one whose details are shown."""

    chrome: Chrome
    trace: TraceView
    drawn: tuple[SpanRow, ...]
    span: SpanRow
    records: tuple[RecordRow, ...] = ()


class RecordsView(Struct, frozen=True, kw_only=True):
    """A page of log records. ``problem`` says why what was asked could not be answered."""

    chrome: Chrome
    wanted: Wanted
    rows: tuple[RecordRow, ...] = ()
    older_href: str = ""
    problem: str = ""
