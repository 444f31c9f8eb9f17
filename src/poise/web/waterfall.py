"""The waterfall of a trace, drawn on the server as SVG, and its table twin."""

from __future__ import annotations

import htpy as h

from poise.api.telemetry_views import SpanRow, TraceView, milliseconds_of
from poise.web import links
from poise.web.parts import link, pill, scroll, table
from poise.web.telemetry_views import TracePageView
from poise.web.wording import plain, plural

WIDTH = 900.0
LEFT = 300.0
RIGHT = 70.0  # for a length beside a bar
TOP = 22.0
ROW = 20.0
BAR = 11.0
INDENT = 9.0
INDENTS_MAX = 12
NAME_CHARS = 44
TICKS = 4


def waterfall(view: TracePageView) -> h.Node:
    """The drawing and the table; both show the same rows."""
    rows, trace = view.drawn, view.trace
    height = TOP + ROW * len(rows) + 6
    drawing = h.svg(
        {"viewBox": f"0 0 {WIDTH:g} {height:g}"}, role="group", aria_labelledby="waterfall-title"
    )[
        h.title("#waterfall-title")[f"Waterfall: {plain(trace.sentence)}"],
        _axis(trace, height),
        [_row(one, n, view) for n, one in enumerate(rows)],
    ]
    left_out = len(trace.spans) - len(rows)
    return h.fragment[
        scroll("Waterfall of the trace", h.div(".chart.waterfall")[drawing]),
        h.p(".mute")[
            "Full bars are the critical path: what would have made the whole faster. Failed spans say so.",
            left_out > 0
            and f" {left_out:,} of {plural(len(trace.spans), 'span')} are not drawn; the API has them all.",
        ],
        h.details("#chart-table")[h.summary["The same as a table"], _twin(view)],
    ]


def name_of(one: SpanRow) -> str:
    """A span's name as text."""
    return plain(one.name) or "(no name)"


def took(duration_ms: float) -> str:
    """A length as people read it."""
    return milliseconds_of(round(duration_ms * 1e6))


def _axis(trace: TraceView, height: float) -> h.Node:
    room = WIDTH - LEFT - RIGHT
    marks = [(LEFT + room * n / TICKS, trace.duration_ms * n / TICKS) for n in range(TICKS + 1)]
    return h.g(aria_hidden="true")[
        [
            [
                h.line(".grid", x1=_n(x), x2=_n(x), y1=_n(TOP - 6), y2=_n(height)),
                h.text(x=_n(x), y="11", text_anchor="middle")[took(at) if at else "0"],
            ]
            for x, at in marks
        ]
    ]


def _row(one: SpanRow, n: int, view: TracePageView) -> h.Element:
    top = TOP + ROW * n
    x, width = _place(one, view.trace)
    failed = one.status == "error"
    indent = INDENT * min(one.depth, INDENTS_MAX)
    chars = max(12, NAME_CHARS - round(indent / 6.2))
    label = f"{plain(one.service)} · {name_of(one)}"
    label = label if len(label) <= chars else f"{label[: chars - 1]}…"
    classes = " ".join(
        word for word, on in (("span", True), ("critical", one.critical), ("failed", failed)) if on
    )
    chosen = one.span_id == view.span.span_id
    told = f"{plain(one.service)}, {name_of(one)}: {took(one.duration_ms)}" + (", failed" if failed else "")
    after = x + width + 5
    length = took(one.duration_ms) + (" failed" if failed else "")
    return h.a(
        href=links.trace(view.trace.trace_id, one.span_id),
        class_=classes,
        aria_label=told,
        aria_current="true" if chosen else None,
    )[
        h.rect(".line", x="0", y=_n(top - 3), width=_n(WIDTH), height=_n(ROW)),
        h.text(class_="name" if one.critical else None, x=_n(4 + indent), y=_n(top + 10))[label],
        h.rect(".length", x=_n(x), y=_n(top), width=_n(width), height=_n(BAR), rx="2"),
        h.text(x=_n(after if after < WIDTH - 60 else x - 5), y=_n(top + 10),
               text_anchor="start" if after < WIDTH - 60 else "end", class_="halo")[length],
    ]  # fmt: skip


def _place(one: SpanRow, trace: TraceView) -> tuple[float, float]:
    """(left edge, width); never thinner than can be seen."""
    room = WIDTH - LEFT - RIGHT
    whole = trace.duration_ms or 1.0
    x = LEFT + room * min(max(one.offset_ms / whole, 0.0), 1.0)
    return x, max(2.0, min(room * one.duration_ms / whole, LEFT + room - x))


def _twin(view: TracePageView) -> h.Element:
    rows = [
        (
            [
                " " * min(one.depth, INDENTS_MAX),
                link(name_of(one), links.trace(view.trace.trace_id, one.span_id)),
            ],
            plain(one.service),
            one.kind,
            took(one.offset_ms),
            took(one.duration_ms),
            took(one.critical_ms) if one.critical else "–",
            pill("failed", "hold") if one.status == "error" else one.status,
        )
        for one in view.drawn
    ]
    head = ("span", "service", "kind", "begins after", "took", "of the critical path", "status")
    return table("Spans of the trace", head, rows, "lllrrrl")


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
