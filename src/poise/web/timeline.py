"""The delivery timeline: each service's changes over its error rate and latency, all on one axis. SVG.

A flag's line runs down through the strips below it, so that what followed a change is seen under it.
Incidents are stretches behind the strips. The same stands in two tables: step by step, and change by change.
"""

from __future__ import annotations

from collections.abc import Sequence

import htpy as h

from poise.web import flags
from poise.web.delivery_views import Answered, DeliveryView, Lane, Mark
from poise.web.drawing import (
    FLAG_ROW,
    FOOT,
    LEFT,
    MARKERS_MAX,
    WIDTH,
    Place,
    change_flag,
    cross,
    group,
    number,
    rule,
    shade,
    strip,
    time_axis,
    time_scale,
    with_twin,
)
from poise.web.parts import command, link, scroll, table
from poise.web.views import Marker
from poise.web.wording import duration, milliseconds, moment, percent, plural

NAME_HEIGHT = 18.0
STRIP_HEIGHT = 30.0
STRIP_GAP = 26.0
LANE_GAP = 16.0
ROWS_MAX = 150
"""Rows of the table of changes and incidents; the newest win."""


def timeline(view: DeliveryView) -> h.Node:
    """The drawing and its two tables; a command where nothing happened and nothing was measured."""
    if not any(lane.marks or lane.answered for lane in view.lanes):
        return h.fragment[h.p(".mute")["Nothing happened in this window. Push a change:"],
                          command("git push poise main")]  # fmt: skip
    name = f"Timeline of {view.project} over {view.window}"
    measured = [lane for lane in view.lanes if lane.answered]
    note = [
        bool(measured) and h.p(".mute")[
            f"Each point is {duration(view.step_s)}: the share of requests that failed, and the latency that "
            "half (dashed) and 99 of 100 requests stayed under."
        ],
        _crowded(view),
        not measured
        and not view.problem
        and h.p(".mute")["No request was counted in this window yet, so no error rate and no latency."],
        view.problem and h.p(".problem")[f"Error rate and latency are not drawn: {view.problem}"],
    ]  # fmt: skip
    changes = _changes(view)
    if not measured:
        return h.fragment[scroll(name, h.div(".chart")[_drawing(view, crosshair=False)]), note, changes]
    return h.fragment[with_twin(name, _drawing(view), _twin(view, measured), note=note), changes]


def _crowded(view: DeliveryView) -> h.Node:
    """Which lanes had more than is drawn."""
    full = [_title(lane) for lane in view.lanes if _inside(lane, view)[MARKERS_MAX:]]
    return bool(full) and h.p(".mute")[f"Of {', '.join(full)} only the newest {MARKERS_MAX} are drawn."]


def _changes(view: DeliveryView) -> h.Element:
    """Every mark, newest first, whatever was clustered in the drawing."""
    marks = [(mark, lane) for lane in view.lanes for mark in _visible(lane, view)]
    marks.sort(key=lambda one: one[0].at, reverse=True)
    rows: list[Sequence[h.Node]] = [
        (
            moment(mark.at),
            link(lane.name, lane.href),
            lane.environment,
            mark.kind,
            [link(mark.label, mark.href, "mono"), " ", mark.summary],
        )
        for mark, lane in marks[:ROWS_MAX]
    ]
    return h.details("#lanes-table")[
        h.summary["Every change and incident as a table"],
        table("Changes and incidents", ("when", "service", "environment", "kind", "what"), rows),
        len(marks) > ROWS_MAX and h.p(".mute")[f"The newest {ROWS_MAX} of {len(marks)} are shown."],
    ]


def _twin(view: DeliveryView, measured: Sequence[Lane]) -> h.Element:
    """A row per step; a cell per service: errors, then the two latencies."""
    x = time_scale(view.since, view.until)
    instants = [one.at for one in measured[0].answered]
    head = ("time", *(_title(lane) for lane in measured))
    rows: list[Sequence[h.Node]] = [
        (moment(at), *(_cell(lane.answered[n]) for lane in measured)) for n, at in enumerate(instants)
    ]  # fmt: skip
    return table(
        "Error rate and latency", head, rows, "l" + "r" * len(measured), [number(x(at)) for at in instants]
    )


def _cell(one: Answered) -> str:
    if one.error_ratio is None:
        return "–"
    if one.latency_ms_p99 is None:
        return percent(one.error_ratio)
    return (
        f"{percent(one.error_ratio)}, {milliseconds(one.latency_ms_p50)} / {milliseconds(one.latency_ms_p99)}"
    )


def _visible(lane: Lane, view: DeliveryView) -> list[Mark]:
    return sorted(_inside(lane, view), key=lambda mark: mark.at)[-MARKERS_MAX:]


def _inside(lane: Lane, view: DeliveryView) -> list[Mark]:
    return [mark for mark in lane.marks if view.since <= mark.at <= view.until]


def _drawing(view: DeliveryView, *, crosshair: bool = True) -> h.Element:
    x = time_scale(view.since, view.until)
    drawn: list[h.Element] = []
    top = 4.0
    for lane in view.lanes:
        lines, height = _lane(lane, view, x)
        drawn.append(group(top, lines))
        top += height + LANE_GAP
    box = {"viewBox": f"0 0 900 {top + FOOT:g}"}
    return h.svg(box, role="group", aria_labelledby="lanes-title", data_chart=crosshair)[
        h.title("#lanes-title")[_told(view)],
        h.g(transform=f"translate({LEFT:g},0)")[
            drawn, group(top + 12, time_axis(view.since, view.until)), crosshair and cross(4.0, top)
        ],
    ]


def _lane(lane: Lane, view: DeliveryView, x: Place) -> tuple[h.Node, float]:
    """A service's name, flags and strips, and how high that is."""
    marks = [Marker(at=one.at, label=one.label, kind=one.kind, href=one.href) for one in _visible(lane, view)]
    placed = flags.arrange([(x(one.at), one.label) for one in marks], WIDTH)
    strips_top = NAME_HEIGHT + FLAG_ROW * max((flag.row + 1 for flag in placed), default=0) + 14
    height = strips_top + 2 * STRIP_HEIGHT + STRIP_GAP if lane.answered else strips_top - 8
    name = h.text(".name", x="0", y="12")[_title(lane)]
    return h.fragment[
        link(name, lane.href) if lane.href else name,
        [
            shade("band", x, max(one.since, view.since), one.until, one.label, NAME_HEIGHT, height)
            for one in lane.bands
        ],
        [change_flag(flag, marks, height, "#changes", NAME_HEIGHT) for flag in placed],
        _strips(lane, x, strips_top) if lane.answered else rule("grid", height),
    ], height


def _strips(lane: Lane, x: Place, top: float) -> h.Node:
    def dots(name: str) -> list[tuple[float, float | None]]:
        return [(x(one.at), getattr(one, name)) for one in lane.answered]

    latencies = [("lline dashed", dots("latency_ms_p50")), ("lline", dots("latency_ms_p99"))]
    errors = [("eline", dots("error_ratio"))]
    return h.fragment[
        group(top, strip("errors", errors, percent, height=STRIP_HEIGHT)),
        group(
            top + STRIP_HEIGHT + STRIP_GAP, strip("p50, p99", latencies, milliseconds, height=STRIP_HEIGHT)
        ),
    ]


def _told(view: DeliveryView) -> str:
    """The drawing in one sentence, for those who hear it."""
    count = sum(len(_visible(lane, view)) for lane in view.lanes)
    told = (
        f"{plural(count, 'change')} and incidents of {plural(len(view.lanes), 'service')} over {view.window}"
    )
    peaks = [
        (one.error_ratio, lane)
        for lane in view.lanes
        for one in lane.answered
        if one.error_ratio is not None
    ]  # fmt: skip
    if not peaks:
        return told
    peak, lane = max(peaks, key=lambda found: found[0])
    return f"{told}; errors peaked at {percent(peak)}" + (f" in {_title(lane)}" if peak else "")


def _title(lane: Lane) -> str:
    return f"{lane.name} · {lane.environment}"
