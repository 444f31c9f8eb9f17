"""The service chart: budget, errors and latency on one time axis, drawn on the server as SVG.

Gaps in the data are gaps in the lines. Policy thresholds are lines on the budget. The same numbers
stand in a table below, which is also what the crosshair reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import htpy as h

from poise.model.anomaly import GoldenSignal, Usual
from poise.web import flags
from poise.web.drawing import (
    FLAG_ROW,
    LEFT,
    MARKERS_MAX,
    WIDTH,
    Dots,
    area,
    change_flag,
    group,
    label,
    line,
    nice_ceiling,
    number,
    rule,
    runs,
    scale,
    stretch,
    time_axis,
    time_scale,
)  # fmt: skip
from poise.web.parts import scroll, table
from poise.web.views import CHART_POINTS_MAX, Chart, ChartPoint, PolicyView
from poise.web.wording import milliseconds, moment, percent, utc

BUDGET_HEIGHT = 120.0
STRIP_HEIGHT = 64.0
STRIP_GAP = 24.0
STRETCHES_TOLD = 3


def service_chart(chart: Chart, policy: PolicyView, name: str) -> h.Node:
    """The chart and its table twin; shows the newest CHART_POINTS_MAX points and MARKERS_MAX markers."""
    points = chart.points[-CHART_POINTS_MAX:]
    drawing = _drawing(chart, points, policy, name)
    return h.fragment[
        scroll(f"Chart of {name} over {chart.window}", h.div(".chart")[drawing]),
        h.p(".readout", data_keep=True)[
            "Point at the chart, or focus it and use the arrow keys, to read a moment."
        ],
        chart.usual is not None and h.p("#usual")[usual_sentence(chart.usual)],
        h.details("#chart-table")[h.summary["The same as a table"], _twin(chart, points, name)],
    ]


def error_chart(chart: Chart, name: str) -> h.Node:
    """Errors alone with the changes around them, and the table twin."""
    points, x = chart.points[-CHART_POINTS_MAX:], time_scale(chart.since, chart.until)
    markers = sorted(chart.markers, key=lambda marker: marker.at)[-MARKERS_MAX:]
    visible = [m for m in markers if chart.since <= m.at <= chart.until]
    placed = flags.arrange([(x(m.at), m.label) for m in visible], WIDTH)
    top = FLAG_ROW * max((flag.row + 1 for flag in placed), default=0) + 18
    bottom = top + BUDGET_HEIGHT
    peak = max((p.error_ratio for p in points if p.error_ratio is not None), default=None)
    told = f"Errors of {name} over {chart.window}: at most {percent(peak)}"
    dots = [(x(p.at), p.error_ratio) for p in points]
    drawing = h.svg({"viewBox": f"0 0 900 {bottom + 22:g}"}, role="group", aria_labelledby="chart-title")[
        h.title("#chart-title")[told],
        h.g(transform=f"translate({LEFT:g},0)")[
            [stretch(x, band.since, band.until, band.label, top, bottom) for band in chart.bands],
            [change_flag(flag, visible, bottom) for flag in placed],
            group(top, _strip("errors", dots, chart.error_goal_ratio, "eline", percent, BUDGET_HEIGHT)),
            group(bottom + 16, time_axis(chart.since, chart.until)),
        ],
    ]
    rows = [(moment(p.at, "second"), percent(p.error_ratio)) for p in points if p.error_ratio is not None]
    twin = table(f"Errors of {name}", ("time", "errors"), rows, "lr")
    return h.fragment[
        scroll(f"Chart of errors of {name}", h.div(".chart")[drawing]),
        h.details("#chart-table")[h.summary["The same as a table"], twin],
    ]


def _twin(chart: Chart, points: Sequence[ChartPoint], name: str) -> h.Element:
    x = time_scale(chart.since, chart.until)
    rows = [
        (
            moment(p.at),
            percent(p.budget_left_ratio),
            percent(p.error_ratio),
            milliseconds(p.latency_ms_p95),
            _unusual_at(chart.usual, p.at),
        )
        for p in points
    ]
    label = f"Budget, errors and latency of {name}"
    heads = ("time", "budget left", "errors", "p95", "unusual")
    return table(label, heads, rows, "lrrrl", [number(x(p.at)) for p in points])


def usual_sentence(usual: Usual) -> str:
    """What of the chart was unusual for its time, in words."""
    if not usual.known:
        return "Too little history yet to say what is usual: about two and a half hours are needed."
    if not usual.stretches:
        return f"Nothing unusual for this time in {_and([one.value for one in usual.known])}."
    told = [
        f"{one.signal.value} {utc(one.since)} to {utc(one.until)} UTC"
        f" (further out than {percent(one.score, 1)} of earlier values)"
        for one in sorted(usual.stretches, key=lambda one: one.score, reverse=True)[:STRETCHES_TOLD]
    ]
    return f"Unusual for its time: {'; '.join(told)}. It pages nobody by itself."


def _unusual_at(usual: Usual | None, at: datetime) -> str:
    if usual is None:
        return ""
    return ", ".join(sorted({one.signal.value for one in usual.stretches if one.since <= at <= one.until}))


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _marked(
    chart: Chart, signal: GoldenSignal, x: Callable[[datetime], float], height: float
) -> list[h.Element]:
    """The stretches over which a signal was unusual, behind its line."""
    shown = [one for one in chart.usual.stretches if one.signal is signal] if chart.usual else []
    made = []
    for one in shown:
        left, right = (min(max(x(at), 0.0), WIDTH) for at in (one.since, one.until))
        made.append(
            h.rect(
                ".unusual", x=number(left), y="0", width=number(max(2.0, right - left)), height=number(height)
            )[h.title[f"{signal.value} unusual for this time, {utc(one.since)} to {utc(one.until)} UTC"]]
        )
    return made


def _drawing(chart: Chart, points: Sequence[ChartPoint], policy: PolicyView, name: str) -> h.Element:
    x = time_scale(chart.since, chart.until)
    markers = sorted(chart.markers, key=lambda marker: marker.at)[-MARKERS_MAX:]
    visible = [m for m in markers if chart.since <= m.at <= chart.until]
    placed = flags.arrange([(x(m.at), m.label) for m in visible], WIDTH)
    budget_top = FLAG_ROW * max((flag.row + 1 for flag in placed), default=0) + 18
    errors_top = budget_top + BUDGET_HEIGHT + STRIP_GAP
    latency_top = errors_top + STRIP_HEIGHT + STRIP_GAP
    bottom = latency_top + STRIP_HEIGHT
    errors = [(x(p.at), p.error_ratio) for p in points]
    latencies = [(x(p.at), p.latency_ms_p95) for p in points]
    return h.svg(
        {"viewBox": f"0 0 900 {bottom + 22:g}"}, role="group", aria_labelledby="chart-title", data_chart=True
    )[
        h.title("#chart-title")[_summary(points, name, chart.window)],
        h.g(transform=f"translate({LEFT:g},0)")[
            [stretch(x, band.since, band.until, band.label, budget_top, bottom) for band in chart.bands],
            [change_flag(flag, visible, bottom) for flag in placed],
            group(budget_top, _budget([(x(p.at), p.budget_left_ratio) for p in points], policy)),
            group(errors_top, _marked(chart, GoldenSignal.ERRORS, x, STRIP_HEIGHT)),
            group(errors_top, _strip("errors", errors, chart.error_goal_ratio, "eline", percent)),
            group(latency_top, _marked(chart, GoldenSignal.LATENCY, x, STRIP_HEIGHT)),
            group(latency_top, _strip("p95", latencies, chart.latency_goal_ms, "lline", milliseconds)),
            group(bottom + 16, time_axis(chart.since, chart.until)),
            h.line(
                ".cross",
                data_keep=True,
                x1="0",
                x2="0",
                y1=f"{budget_top:g}",
                y2=f"{bottom:g}",
                visibility="hidden",
            ),
        ],
    ]


def _summary(points: Sequence[ChartPoint], name: str, window: str) -> str:
    """The chart in one sentence, for those who hear it."""
    lefts = [p.budget_left_ratio for p in points if p.budget_left_ratio is not None]
    errors = [p.error_ratio for p in points if p.error_ratio is not None]
    if not lefts:
        return f"Budget of {name} over {window}: nothing measured yet"
    worst = f"; errors peaked at {percent(max(errors))}" if errors else ""
    return f"Budget left of {name} over {window}: {percent(lefts[0])} to {percent(lefts[-1])}{worst}"


def _budget(dots: Dots, policy: PolicyView) -> h.Node:
    lowest = min((y for _, y in dots if y is not None), default=0.0)
    floor = min(0.0, max(-1.0, lowest))  # beyond twice the budget the depth no longer matters
    y = scale(floor, 1.0, BUDGET_HEIGHT)
    ticks = [1.0, 0.5, 0.0] + ([floor] if floor <= -0.25 else [])
    return h.fragment[
        label(-56, -8, "budget left"),
        [rule("grid", y(value)) for value in ticks],
        [label(-8, y(value) + 4, percent(value, 0), "end") for value in ticks],
        [h.path(".area", d=area(run, y, y(0.0))) for run in runs(dots)],
        [h.path(".bline", d=line(run, y)) for run in runs(dots)],
        _threshold("slow", policy.slow_below_ratio, y),
        _threshold("hold", policy.hold_below_ratio, y),
    ]


def _threshold(word: str, ratio: float, y: Callable[[float], float]) -> h.Node:
    at = y(ratio)
    return h.fragment[
        rule(f"policy {word}", at),
        label(WIDTH - 4, at - 4, f"{word} below {percent(ratio, 0)}", "end", "halo"),
    ]


def _strip(
    name: str,
    dots: Dots,
    goal: float | None,
    class_: str,
    show: Callable[[float | None], str],
    height: float = STRIP_HEIGHT,
) -> h.Node:
    top = nice_ceiling(max((value for _, value in dots if value is not None), default=0.0), goal or 0.0)
    y = scale(0.0, top, height)
    return h.fragment[
        label(-56, -6, name),
        rule("grid", height),
        label(-8, 8, show(top), "end"),
        label(-8, height + 4, "0", "end"),
        goal is not None
        and h.fragment[
            rule("goal", y(goal)),
            label(WIDTH - 4, y(goal) - 4, f"objective {show(goal)}", "end", "halo"),
        ],
        [h.path(class_=class_, d=line(run, y)) for run in runs(dots)],
    ]
