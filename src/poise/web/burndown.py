"""The burn-down: what was left of a budget, what failed, and every change on one axis of time. SVG.

The line starts full where the window starts and ends at what is left now; beyond now it goes on as the
forecast. Where nothing was measured there is no line, and a hatch says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import htpy as h

from poise.model.policy import BudgetPolicy
from poise.model.spend import Foresight
from poise.web.drawing import (
    Axis,
    Place,
    area,
    group,
    label,
    line,
    nice_ceiling,
    number,
    rule,
    runs,
    scale,
    shade,
    stretch,
    with_twin,
)
from poise.web.objective_views import BurnDown, BurnPoint
from poise.web.parts import table
from poise.web.views import CHART_POINTS_MAX
from poise.web.wording import moment, percent, utc

BUDGET_HEIGHT = 150.0
FAILED_HEIGHT = 56.0
GAP = 26.0
LABEL_APART = 13.0
FLOOR = -1.0  # beyond twice the budget the depth no longer matters
KNOWN_MIN_RATIO = 0.5  # of a step; with less it is a gap


def burn_chart(
    found: BurnDown,
    policy: BudgetPolicy,
    target_ratio: float,
    foresight: Foresight | None,
    name: str,
    more: str,
) -> h.Node:
    """The drawing and its table twin. ``more`` is where a flag of several changes leads."""
    points = found.points[-CHART_POINTS_MAX:]
    until = max(found.until, foresight.until) if foresight else found.until
    axis = Axis(found.since, until, found.markers, changed_until=found.until)
    rows = [
        (moment(p.at), percent(p.left_ratio, 1), percent(p.failed_ratio), percent(p.measured_ratio, 0))
        for p in points
    ]
    heads = ("time", "budget left", "failed", "measured")
    twin = table(f"Budget of {name}", heads, rows, "lrrr", [number(axis.x(p.at)) for p in points])
    x, top = axis.x, axis.top
    failed_top = top + BUDGET_HEIGHT + GAP
    bottom = failed_top + FAILED_HEIGHT
    behind = [
        *(stretch(x, one.since, one.until, one.label, top, bottom) for one in found.incidents),
        *(
            shade("excluded", x, one.since, one.until, f"Excluded: {one.label}", top, bottom)
            for one in found.excluded
        ),
        *(
            shade("gap", x, since, to, "Not measured", top, bottom)
            for since, to in _gaps(points, found.since)
        ),
    ]
    panels = [
        group(top, _budget(points, policy, foresight, x)),
        group(failed_top, _failed(points, 1 - target_ratio, x)),
        until > found.until and _now(x(found.until), top, bottom),
    ]
    drawing = axis.drawn(_summary(points, found, name), bottom, behind, panels, more=more)
    return with_twin(f"Burn-down of {name}", drawing, twin)


def _summary(points: tuple[BurnPoint, ...], found: BurnDown, name: str) -> str:
    """The chart in one sentence, for those who hear it."""
    lefts = [p.left_ratio for p in points if p.left_ratio is not None]
    if not lefts:
        return f"Budget of {name}: nothing measured yet"
    return (
        f"Budget of {name} from {utc(found.since)} to {utc(found.until)} UTC: {percent(lefts[0], 1)} to "
        f"{percent(lefts[-1], 1)} left, {len(found.markers)} changes, {len(found.incidents)} incidents"
    )


def _budget(
    points: tuple[BurnPoint, ...], policy: BudgetPolicy, foresight: Foresight | None, x: Place
) -> h.Node:
    dots = [(x(p.at), p.left_ratio) for p in points]
    ahead = [foresight.left_low, foresight.left_high] if foresight else []
    lowest = min(
        (value for value in (*(p.left_ratio for p in points), *ahead) if value is not None), default=0.0
    )
    floor = min(0.0, max(FLOOR, lowest))
    y = scale(floor, 1.0, BUDGET_HEIGHT)
    ticks = [1.0, 0.5, 0.0] + ([floor] if floor <= -0.25 else [])
    words = [percent(value, 0) for value in ticks]
    if lowest < FLOOR:
        words[-1] = f"≤ {words[-1]}"
    return h.fragment[
        label(-56, -8, "budget left"),
        [rule("grid", y(value)) for value in ticks],
        [label(-8, y(value) + 4, word, "end") for value, word in zip(ticks, words, strict=True)],
        [h.path(".area", d=area(run, y, y(0.0))) for run in runs(dots)],
        [h.path(".bline", d=line(run, y)) for run in runs(dots)],
        foresight is not None and _fan(points, foresight, x, y),
        list(_thresholds(policy, y)),
    ]


def _fan(
    points: tuple[BurnPoint, ...], foresight: Foresight, x: Place, y: Callable[[float], float]
) -> h.Node:
    """From what is left now to where it may be: the middle, and the 80 % around it."""
    begin = next((p for p in reversed(points) if p.left_ratio is not None), None)
    if begin is None or begin.left_ratio is None:
        return None
    from_x, from_y, to_x = number(x(begin.at)), number(y(begin.left_ratio)), number(x(foresight.until))
    low, middle, high = (
        number(y(one)) for one in (foresight.left_low, foresight.left_middle, foresight.left_high)
    )
    told = (
        f"By {utc(foresight.until)} UTC {percent(foresight.left_middle, 0)} is left, in 8 of 10 cases "
        f"{percent(foresight.left_low, 0)} to {percent(foresight.left_high, 0)}"
    )
    return h.g(".ahead")[
        h.title[told],
        h.path(".fan", d=f"M{from_x},{from_y}L{to_x},{high}L{to_x},{low}Z"),
        h.path(".bline.dashed", d=f"M{from_x},{from_y}L{to_x},{middle}"),
    ]


def _thresholds(policy: BudgetPolicy, y: Callable[[float], float]) -> Iterator[h.Node]:
    """The policy's bounds; where two would be written over one another, the stricter one is named."""
    bounds = (
        ("hold", f"freeze at {percent(policy.hold_below_ratio, 0)}", policy.hold_below_ratio),
        ("slow", f"approval below {percent(policy.approval_below_ratio, 0)}", policy.approval_below_ratio),
        ("slow", f"slow below {percent(policy.slow_below_ratio, 0)}", policy.slow_below_ratio),
        ("go", f"fast above {percent(policy.fast_above_ratio, 0)}", policy.fast_above_ratio),
    )
    last = float("inf")
    for tone, words, ratio in bounds:
        at = y(ratio)
        yield rule(f"policy {tone}", at)
        if last - at >= LABEL_APART:
            yield label(4, at - 4, words, "start", "halo")
            last = at


def _failed(points: tuple[BurnPoint, ...], bearable_ratio: float, x: Place) -> h.Node:
    highest = max((p.failed_ratio for p in points if p.failed_ratio is not None), default=0.0)
    top = nice_ceiling(highest, bearable_ratio)
    y = scale(0.0, top, FAILED_HEIGHT)
    return h.fragment[
        label(-56, -6, "failed"),
        rule("grid", FAILED_HEIGHT),
        label(-8, 8, percent(top), "end"),
        label(-8, FAILED_HEIGHT + 4, "0", "end"),
        rule("goal", y(bearable_ratio)),
        label(4, y(bearable_ratio) - 4, f"bearable {percent(bearable_ratio)}", "start", "halo"),
        [h.path(".eline", d=line(run, y)) for run in runs([(x(p.at), p.failed_ratio) for p in points])],
    ]


def _gaps(points: tuple[BurnPoint, ...], since: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Stretches of which less than half was measured."""
    before, begun = since, None
    for point in points:
        known = point.measured_ratio >= KNOWN_MIN_RATIO
        if not known and begun is None:
            begun = before
        if known and begun is not None:
            yield begun, before
            begun = None
        before = point.at
    if begun is not None:
        yield begun, before


def _now(at: float, top: float, bottom: float) -> h.Node:
    return h.fragment[
        h.line(".now", x1=number(at), x2=number(at), y1=number(top), y2=number(bottom)),
        label(at - 4, top - 6, "now", "end"),
    ]
