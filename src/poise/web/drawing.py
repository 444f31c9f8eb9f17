"""What every chart is drawn with: scales, lines with gaps, an axis of time, flags of changes, stretches. SVG.

A drawing is 900 units wide; its axis begins at LEFT and is WIDTH long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import htpy as h

from poise.web import flags
from poise.web.parts import link, scroll
from poise.web.views import Marker
from poise.web.wording import utc

LEFT = 64.0
WIDTH = 826.0
FLAG_HEIGHT = 16.0
FLAG_ROW = 20.0
HEAD = 20.0  # between the flags and what is drawn below them
FOOT = 22.0
MARKERS_MAX = 60
TICKS = 7
STRIP_HEIGHT = 64.0

_BAD = {"rollback", "incident"}
_QUIET = {"heal", "settings"}

Dots = Sequence[tuple[float, float | None]]
Place = Callable[[datetime], float]


class Axis:
    """One axis of time, and the flags of what changed on it; what is drawn below them begins at ``top``.

    ``until`` may lie ahead of ``changed_until``, the last instant of which anything is known.
    """

    def __init__(
        self,
        since: datetime,
        until: datetime,
        markers: Sequence[Marker] = (),
        changed_until: datetime | None = None,
    ) -> None:
        self.since, self.until = since, until
        self.x: Place = time_scale(since, until)
        newest = sorted(markers, key=lambda marker: marker.at)[-MARKERS_MAX:]
        self._changes = [one for one in newest if since <= one.at <= (changed_until or until)]
        self._flags = flags.arrange([(self.x(one.at), one.label) for one in self._changes], WIDTH)
        self.top = FLAG_ROW * max((flag.row + 1 for flag in self._flags), default=0) + HEAD

    def drawn(
        self,
        told: str,
        bottom: float,
        behind: h.Node,
        panels: h.Node,
        *,
        more: str = "#latest-changes",
        crosshair: bool = True,
    ) -> h.Element:
        """The drawing: stretches ``behind``, the flags' lines down to ``bottom``, the ``panels``, the axis.

        ``told`` says it all for those who hear it; a flag of several changes leads to ``more``.
        """
        view = {"viewBox": f"0 0 900 {bottom + FOOT:g}"}
        return h.svg(view, role="group", aria_labelledby="chart-title", data_chart=crosshair)[
            h.title("#chart-title")[told],
            h.g(transform=f"translate({LEFT:g},0)")[
                behind,
                [change_flag(flag, self._changes, bottom, more) for flag in self._flags],
                panels,
                group(bottom + 16, time_axis(self.since, self.until)),
                crosshair and cross(self.top, bottom),
            ],
        ]


def with_twin(
    label: str, drawing: h.Element, twin: h.Node, *, readout: bool = True, note: h.Node = None
) -> h.Node:
    """The drawing in its scroller, where the crosshair reads, a ``note``, and the same as a table."""
    return h.fragment[
        scroll(label, h.div(".chart")[drawing]),
        readout
        and h.p(".readout", data_keep=True)[
            "Point at the chart, or focus it and use the arrow keys, to read a moment."
        ],
        note,
        h.details("#chart-table")[h.summary["The same as a table"], twin],
    ]


def change_flag(
    flag: flags.Flag,
    markers: Sequence[Marker],
    bottom: float,
    more: str = "#latest-changes",
    above: float = 0.0,
) -> h.Element:
    """A flag of one change, or several that would overlap (led to ``more``), with its line to ``bottom``.

    Its rows begin ``above`` from the top.
    """
    members = [markers[index] for index in flag.group.members]
    kinds = {marker.kind for marker in members}
    tone = "bad" if kinds & _BAD else "heal" if kinds <= _QUIET else ""
    top = above + flag.row * FLAG_ROW + 2
    told = "; ".join(f"{marker.label}, {utc(marker.at)} UTC" for marker in members)
    box = h.g[
        h.title[told],
        h.rect(
            x=number(flag.left), y=number(top), width=number(flag.width), height=number(FLAG_HEIGHT), rx="3"
        ),
        label(flag.left + 5, top + 12, flag.group.label),
    ]
    href = members[0].href if len(members) == 1 else more
    return h.g(class_=f"flag {tone}".strip())[
        h.line(
            x1=number(flag.group.x), x2=number(flag.group.x), y1=number(top + FLAG_HEIGHT), y2=number(bottom)
        ),
        link(box, href) if href else box,
    ]


def stretch(x: Place, since: datetime, until: datetime, words: str, top: float, bottom: float) -> h.Node:
    """A stretch of time that hurt users, with its label."""
    left, right = (min(max(x(at), 0.0), WIDTH) for at in (since, until))
    width = max(right - left, 2.0)
    ends_late = left + width + len(words) * flags.CHARACTER_WIDTH > WIDTH
    at, anchor = (left - 5, "end") if ends_late else (left + width + 5, "start")
    return h.fragment[
        h.rect(".band", x=number(left), y=number(top), width=number(width), height=number(bottom - top)),
        label(at, top + 13, words, anchor, "bandt"),
    ]


def shade(
    class_: str, x: Place, since: datetime, until: datetime, told: str, top: float, bottom: float
) -> h.Element:
    """A stretch of time on a tint, which says at the pointer what it is."""
    left, right = (min(max(x(at), 0.0), WIDTH) for at in (since, until))
    width = max(2.0, right - left)
    return h.rect(
        class_=class_, x=number(left), y=number(top), width=number(width), height=number(bottom - top)
    )[h.title[f"{told}, {utc(since)} to {utc(until)} UTC"]]


def strip(
    name: str,
    lines: Sequence[tuple[str, Dots]],
    show: Callable[[float | None], str],
    *,
    goal: float | None = None,
    height: float = STRIP_HEIGHT,
) -> h.Node:
    """Figures from 0 up to a round ceiling, one line per (class, dots), with the objective as a rule."""
    values = [value for _, dots in lines for _, value in dots if value is not None]
    top = nice_ceiling(max(values, default=0.0), goal or 0.0)
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
        [h.path(class_=class_, d=line(run, y)) for class_, dots in lines for run in runs(dots)],
    ]


def cross(top: float, bottom: float) -> h.Element:
    """The line that the reader moves; hidden until then."""
    return h.line(
        ".cross", data_keep=True, x1="0", x2="0", y1=f"{top:g}", y2=f"{bottom:g}", visibility="hidden"
    )


def time_axis(since: datetime, until: datetime) -> h.Node:
    """Instants below a drawing, in UTC."""
    step = (until - since) / TICKS
    shown = "day" if until - since > timedelta(days=3) else "minute"
    if until - since < timedelta(minutes=20):
        shown = "second"
    ticks = [
        label(WIDTH * (k + 0.5) / TICKS, 0, utc(since + step * (k + 0.5), shown), "middle")
        for k in range(TICKS)
    ]
    return h.fragment[ticks, label(-56, 0, "UTC")]


def group(top: float, content: h.Node) -> h.Element:
    """Content, ``top`` lower."""
    return h.g(transform=f"translate(0,{number(top)})")[content]


def label(x: float, y: float, words: str, anchor: str = "start", class_: str | None = None) -> h.Element:
    """Words in a drawing."""
    return h.text(x=number(x), y=number(y), text_anchor=None if anchor == "start" else anchor, class_=class_)[
        words
    ]


def rule(class_: str, y: float) -> h.Element:
    """A line across the whole drawing."""
    return h.line(class_=class_, x1="0", x2=number(WIDTH), y1=number(y), y2=number(y))


def time_scale(since: datetime, until: datetime) -> Place:
    """Instants as units from the left."""
    span_s = max((until - since).total_seconds(), 1e-9)
    return lambda at: (at - since).total_seconds() / span_s * WIDTH


def scale(low: float, high: float, height: float) -> Callable[[float], float]:
    """A value as pixels from the top, kept inside the panel."""
    span = (high - low) or 1.0
    return lambda value: height * (1 - (min(max(value, low), high) - low) / span)


def runs(dots: Dots) -> Iterator[list[tuple[float, float]]]:
    """Stretches without a gap."""
    run: list[tuple[float, float]] = []
    for x, value in dots:
        if value is not None:
            run.append((x, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def line(run: Sequence[tuple[float, float]], y: Callable[[float], float]) -> str:
    """The path of a stretch without a gap."""
    if len(run) == 1:  # a lone reading between two gaps would have no length: a short dash shows it
        return f"M{number(run[0][0] - 1)},{number(y(run[0][1]))}h2"
    return "M" + "L".join(f"{number(x)},{number(y(value))}" for x, value in run)


def area(run: Sequence[tuple[float, float]], y: Callable[[float], float], base: float) -> str:
    """The same, filled down to ``base``."""
    return f"{line(run, y)}L{number(run[-1][0])},{number(base)}L{number(run[0][0])},{number(base)}Z"


def nice_ceiling(highest: float, goal: float) -> float:
    """The next 1, 1.5, 2, 3, 5 x 10^n above what must be seen."""
    wanted = max(highest, goal * 1.25)
    if wanted <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(step * power for step in (1, 1.5, 2, 3, 5, 10) if step * power >= wanted * 0.9999)


def number(value: float) -> str:
    """A coordinate, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")
