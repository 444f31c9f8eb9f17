"""The service chart: budget, errors and latency on one time axis, drawn on the server as SVG.

Gaps in the data are gaps in the lines. Policy thresholds are lines on the budget. The same numbers
stand in a table below, which is also what the crosshair reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import htpy as h

from poise.model.anomaly import GoldenSignal, Usual
from poise.web.drawing import (
    STRIP_HEIGHT,
    WIDTH,
    Axis,
    Dots,
    Place,
    area,
    group,
    label,
    line,
    number,
    rule,
    runs,
    scale,
    shade,
    stretch,
    strip,
    with_twin,
)
from poise.web.parts import table
from poise.web.service_views import PolicyView
from poise.web.views import CHART_POINTS_MAX, Chart, ChartPoint
from poise.web.wording import milliseconds, moment, percent, utc

BUDGET_HEIGHT = 120.0
STRIP_GAP = 24.0
STRETCHES_TOLD = 3


def service_chart(chart: Chart, policy: PolicyView, name: str) -> h.Node:
    """The chart and its table twin; shows the newest CHART_POINTS_MAX points and MARKERS_MAX markers."""
    points = chart.points[-CHART_POINTS_MAX:]
    axis = Axis(chart.since, chart.until, chart.markers)
    drawing, twin = _drawing(chart, points, policy, name, axis), _twin(chart, points, name, axis.x)
    usual = chart.usual is not None and h.p("#usual")[usual_sentence(chart.usual)]
    return with_twin(f"Chart of {name} over {chart.window}", drawing, twin, note=usual)


def error_chart(chart: Chart, name: str) -> h.Node:
    """Errors alone with the changes around them, and the table twin."""
    points, axis = chart.points[-CHART_POINTS_MAX:], Axis(chart.since, chart.until, chart.markers)
    bottom = axis.top + BUDGET_HEIGHT
    peak = max((p.error_ratio for p in points if p.error_ratio is not None), default=None)
    told = f"Errors of {name} over {chart.window}: at most {percent(peak)}"
    dots = [(axis.x(p.at), p.error_ratio) for p in points]
    errors = strip("errors", [("eline", dots)], percent, goal=chart.error_goal_ratio, height=BUDGET_HEIGHT)
    drawing = axis.drawn(told, bottom, _bands(chart, axis, bottom), group(axis.top, errors), crosshair=False)
    rows = [(moment(p.at, "second"), percent(p.error_ratio)) for p in points if p.error_ratio is not None]
    twin = table(f"Errors of {name}", ("time", "errors"), rows, "lr")
    return with_twin(f"Chart of errors of {name}", drawing, twin, readout=False)


def answers_chart(chart: Chart, name: str) -> h.Node:
    """Errors and latency with the changes among them, and the table twin."""
    points, axis = chart.points[-CHART_POINTS_MAX:], Axis(chart.since, chart.until, chart.markers)
    latency_top = axis.top + STRIP_HEIGHT + STRIP_GAP
    bottom = latency_top + STRIP_HEIGHT
    errors = [(axis.x(p.at), p.error_ratio) for p in points]
    latencies = [(axis.x(p.at), p.latency_ms_p95) for p in points]
    panels = [
        group(axis.top, strip("errors", [("eline", errors)], percent, goal=chart.error_goal_ratio)),
        group(latency_top, strip("p95", [("lline", latencies)], milliseconds, goal=chart.latency_goal_ms)),
    ]
    peak = max((value for _, value in errors if value is not None), default=None)
    told = f"Errors and latency of {name} over {chart.window}: errors at most {percent(peak)}"
    drawing = axis.drawn(told, bottom, _bands(chart, axis, bottom), panels, more="#history")
    rows = [(moment(p.at, "second"), percent(p.error_ratio), milliseconds(p.latency_ms_p95)) for p in points]
    places = [number(axis.x(p.at)) for p in points]
    twin = table(f"Errors and latency of {name}", ("time", "errors", "p95"), rows, "lrr", places)
    return with_twin(f"Chart of errors and latency of {name}", drawing, twin)


def _bands(chart: Chart, axis: Axis, bottom: float) -> list[h.Node]:
    return [stretch(axis.x, one.since, one.until, one.label, axis.top, bottom) for one in chart.bands]


def _twin(chart: Chart, points: Sequence[ChartPoint], name: str, x: Place) -> h.Element:
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


def _marked(chart: Chart, signal: GoldenSignal, x: Place, height: float) -> list[h.Element]:
    """The stretches over which a signal was unusual, behind its line."""
    shown = [one for one in chart.usual.stretches if one.signal is signal] if chart.usual else []
    told = f"{signal.value} unusual for this time"
    return [shade("unusual", x, one.since, one.until, told, 0.0, height) for one in shown]


def _drawing(
    chart: Chart, points: Sequence[ChartPoint], policy: PolicyView, name: str, axis: Axis
) -> h.Element:
    x = axis.x
    errors_top = axis.top + BUDGET_HEIGHT + STRIP_GAP
    latency_top = errors_top + STRIP_HEIGHT + STRIP_GAP
    bottom = latency_top + STRIP_HEIGHT
    errors = [(x(p.at), p.error_ratio) for p in points]
    latencies = [(x(p.at), p.latency_ms_p95) for p in points]
    panels = [
        group(axis.top, _budget([(x(p.at), p.budget_left_ratio) for p in points], policy)),
        group(errors_top, _marked(chart, GoldenSignal.ERRORS, x, STRIP_HEIGHT)),
        group(errors_top, strip("errors", [("eline", errors)], percent, goal=chart.error_goal_ratio)),
        group(latency_top, _marked(chart, GoldenSignal.LATENCY, x, STRIP_HEIGHT)),
        group(latency_top, strip("p95", [("lline", latencies)], milliseconds, goal=chart.latency_goal_ms)),
    ]
    told = _summary(points, name, chart.window)
    return axis.drawn(told, bottom, _bands(chart, axis, bottom), panels)


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
