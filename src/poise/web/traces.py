"""The pages of traces and log records: the lists, and one trace with its waterfall."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import htpy as h

from poise.api.telemetry_views import RecordRow, SpanRow
from poise.model.telemetry import Attributes
from poise.web import links
from poise.web.parts import card, command, document, headline, link, pill, table
from poise.web.telemetry_views import (
    SEVERITIES_OFFERED,
    WINDOWS,
    RecordsView,
    TracePageView,
    TracesView,
    Wanted,
)
from poise.web.waterfall import name_of, took, waterfall
from poise.web.wording import moment, plain, plural

BODY_CHARS = 2_000
VALUE_CHARS = 1_000
_TONES = {"fatal": "hold", "error": "hold", "warn": "slow"}


# -- the list ---------------------------------------------------------------------------------------


def traces(view: TracesView) -> str:
    """Traces as a document."""
    failed = sum(bool(row.errors) for row in view.rows)
    tone = (
        pill("errors", "hold")
        if failed
        else pill("none" if not view.rows else "calm", "unknown" if not view.rows else "go")
    )
    main = h.fragment[
        headline("Traces", _of(view.wanted.service), tone, traces_sentence(view)),
        _traces_form(view.wanted),
        view.problem and h.p(".problem", role="alert")[view.problem],
        card("The newest first", _traces_table(view)) if view.rows else _teach("traces"),
        h.p[link("Older traces", view.older_href)] if view.older_href else None,
    ]
    return document(view.chrome, "Traces", main, current="Traces")


def traces_sentence(view: TracesView) -> str:
    """How many there are, how many failed, and the slowest."""
    when = f"in the last {dict(WINDOWS).get(view.wanted.since, view.wanted.since)}"
    if not view.rows:
        return f"No trace {when}."
    failed = sum(bool(row.errors) for row in view.rows)
    slowest = max(view.rows, key=lambda row: row.duration_ms)
    more = "at least " if view.older_href else ""
    errors = f", {failed} of them with errors" if failed else ", none with an error"
    took_most = took(slowest.duration_ms)
    return _said(f"{more}{plural(len(view.rows), 'trace')} {when}{errors}; the slowest took {took_most}.")


def _traces_table(view: TracesView) -> h.Element:
    rows = [
        (
            link(plain(row.name) or "(no name)", links.trace(row.trace_id), "name"),
            plain(row.service),
            moment(row.start_at, "second"),
            took(row.duration_ms),
            f"{row.spans:,}",
            f"{len(row.services):,}",
            h.span(".bad")[f"{row.errors:,}"] if row.errors else "0",
        )
        for row in view.rows
    ]
    head = ("trace", "service", "began", "took", "spans", "services", "errors")
    return table("Traces", head, rows, "llrrrrr")


def _traces_form(wanted: Wanted) -> h.Element:
    return h.form(".filter", method="get", action=links.TRACES, role="search", aria_label="Traces")[
        _field("service", "Service", wanted.service),
        _since(wanted),
        _field("min_duration", "Took at least", wanted.min_duration, "500ms"),
        h.label(".check")[
            h.input(type="checkbox", name="errors", value="true", checked=wanted.errors), " with errors only"
        ],
        h.button(".primary", type="submit")["Show"],
        link("Log records", links.records(wanted.service)),
    ]


# -- one trace --------------------------------------------------------------------------------------


def trace(view: TracePageView) -> str:
    """One trace as a document."""
    found = view.trace
    tone = pill("failed", "hold") if found.errors else pill("ok", "go")
    main = h.fragment[
        headline("Trace", h.span(".mono")[found.trace_id], tone, plain(found.sentence)),
        h.div(".cols")[
            h.aside(aria_label="The chosen span")[_span(view.span, view), _about(view)],
            h.div[card("Waterfall", waterfall(view)), _records_of(view)],
        ],
    ]
    return document(view.chrome, f"Trace of {plain(found.spans[0].name)}", main, current="Traces")


def _about(view: TracePageView) -> h.Element:
    found = view.trace
    facts: list[tuple[str, h.Node]] = [
        ("began", moment(found.start_at, "second")),
        ("took", took(found.duration_ms)),
        ("spans", f"{len(found.spans):,}"),
        ("failed", f"{found.errors:,}"),
        ("services", [[link(plain(one), links.traces(one)), " "] for one in found.services]),
    ]
    return card("The trace", _facts(facts))


def _span(one: SpanRow, view: TracePageView) -> h.Element:
    facts: list[tuple[str, h.Node]] = [
        ("service", link(plain(one.service), links.traces(one.service))),
        ("began after", took(one.offset_ms)),
        ("took", took(one.duration_ms)),
        ("critical path", took(one.critical_ms) if one.critical else "not on it"),
        ("kind", one.kind),
        ("status", [pill("failed", "hold") if one.status == "error" else one.status, plain(one.message)]),
    ]
    if one.orphan:
        facts.append(("parent", f"{one.parent_id}, which was not sent"))
    if one.scope:
        facts.append(("scope", plain(one.scope)))
    return card(
        name_of(one),
        _facts(facts),
        _attributes("Attributes", one.attributes, open_=True),
        [
            _attributes(
                f"{plain(event.name) or 'event'} after {took(event.offset_ms)}", event.attributes, open_=True
            )
            for event in one.events
        ],
        _attributes("Resource", one.resource),
        id="span",
    )


def _facts(facts: Iterable[tuple[str, h.Node]]) -> h.Element:
    return h.dl[((h.dt[word], h.dd[what]) for word, what in facts)]


def _attributes(title: str, attributes: Attributes, *, open_: bool = False) -> h.Element | None:
    if not attributes:
        return h.p(".mute")[f"{title}: no attribute."] if open_ else None
    rows = (
        (h.dt[plain(name)], h.dd[_short(str(value), VALUE_CHARS)])
        for name, value in sorted(attributes.items())
    )
    return h.details(open=open_)[h.summary[title], h.dl(".attributes")[rows]]


def _records_of(view: TracePageView) -> h.Element:
    if not view.records:
        return card("Log records", h.p(".mute")["No log record was sent with this trace's id."])
    return card("Log records", _records_table(view.records, begin=view.trace.start_at), id="records")


# -- log records ------------------------------------------------------------------------------------


def records(view: RecordsView) -> str:
    """Log records as a document."""
    failed = sum(row.severity in ("error", "fatal") for row in view.rows)
    tone = (
        pill("errors", "hold")
        if failed
        else pill("none" if not view.rows else "calm", "unknown" if not view.rows else "go")
    )
    main = h.fragment[
        headline("Log records", _of(view.wanted.service), tone, records_sentence(view)),
        _records_form(view.wanted),
        view.problem and h.p(".problem", role="alert")[view.problem],
        card("The newest first", _records_table(view.rows)) if view.rows else _teach("logs"),
        h.p[link("Older log records", view.older_href)] if view.older_href else None,
    ]
    return document(view.chrome, "Log records", main, current="Traces")


def records_sentence(view: RecordsView) -> str:
    """How many there are, and how many are errors."""
    when = f"in the last {dict(WINDOWS).get(view.wanted.since, view.wanted.since)}"
    if not view.rows:
        return f"No log record {when}."
    failed = sum(row.severity in ("error", "fatal") for row in view.rows)
    more = "at least " if view.older_href else ""
    errors = f", {plural(failed, 'error')} among them" if failed else ", no error among them"
    return _said(f"{more}{plural(len(view.rows), 'log record')} {when}{errors}.")


def _records_table(rows: Iterable[RecordRow], begin: datetime | None = None) -> h.Element:
    """``begin`` is that of the trace they belong to: instants are told after it."""
    within = begin is not None
    cells = [
        (
            moment(row.at, "second") if begin is None else _after(row.at, begin),
            pill(row.severity, _TONES.get(row.severity, "unknown")),
            plain(row.service),
            h.span(".mono.body")[_short(row.body, BODY_CHARS)],
            *([] if within else [_records_links(row)]),
        )
        for row in rows
    ]
    head = ("after" if within else "at", "severity", "service", "body", *([] if within else ["more"]))
    return table("Log records", head, cells, "lllll"[: len(head)])


def _after(at: datetime, begin: datetime) -> str:
    after_ms = (at - begin).total_seconds() * 1000
    return took(after_ms) if after_ms >= 0 else f"{took(-after_ms)} before"


def _records_links(row: RecordRow) -> h.Node:
    return [
        row.trace_id and [link("trace", links.trace(row.trace_id, row.span_id)), " "],
        link("like it", links.records(row.service, row.template_id)),
    ]


def _records_form(wanted: Wanted) -> h.Element:
    return h.form(".filter", method="get", action=links.RECORDS, role="search", aria_label="Log records")[
        _field("service", "Service", wanted.service),
        _since(wanted),
        h.label[
            "At least ",
            h.select(name="severity")[
                (
                    h.option(value=one, selected=one == wanted.severity)[one or "any"]
                    for one in SEVERITIES_OFFERED
                )
            ],
        ],
        _field("text", "Holds", wanted.text),
        wanted.template
        and h.label["Template ", h.input(name="template", value=wanted.template, maxlength="16")],
        h.button(".primary", type="submit")["Show"],
        link("Traces", links.traces(wanted.service)),
    ]


# -- parts ------------------------------------------------------------------------------------------


def _of(service: str) -> str:
    return f"· {plain(service)}" if service else ""


def _field(name: str, label: str, value: str, example: str = "") -> h.Element:
    return h.label[
        f"{label} ", h.input(name=name, value=value, maxlength="300", placeholder=example or None, size="14")
    ]


def _since(wanted: Wanted) -> h.Element:
    known = [value for value, _ in WINDOWS]
    offered = [*WINDOWS, *([] if wanted.since in known else [(wanted.since, wanted.since)])]
    return h.label[
        "In the last ",
        h.select(name="since")[
            (h.option(value=value, selected=value == wanted.since)[words] for value, words in offered)
        ],
    ]


def _teach(signal: str) -> h.Element:
    return card(
        "Next",
        h.p["Nothing was found. Widen what is asked for, or have a service send OpenTelemetry here:"],
        command(
            f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT=<this server>/v1/{signal}\n"
            f'OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20<token>"\n'
            "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        ),
    )


def _said(text: str) -> str:
    return text[:1].upper() + text[1:]


def _short(text: str, at_most: int) -> str:
    text = plain(text)
    return text if len(text) <= at_most else f"{text[:at_most]}…"
