"""The delivery page: changes on their way to users, by service on one time axis, and row by row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import htpy as h
from msgspec import Struct

from poise.model.delivery import RunState
from poise.web import flags
from poise.web.parts import card, command, document, headline, link, run_pill, scroll, table
from poise.web.scorecard import Choice, choices
from poise.web.views import Chrome
from poise.web.wording import moment, utc

LEFT = 150.0
WIDTH = 740.0
FLAG_HEIGHT = 16.0
FLAG_ROW = 20.0
LANE_GAP = 14.0
TICKS = 7
MARKS_MAX = 60
"""Marks of one lane; the newest win."""

ROWS_MAX = 100


class Mark(Struct, frozen=True, kw_only=True):
    """Something that happened to a service; ``kind`` is deploy, settings, rollback or incident."""

    at: datetime
    label: str
    kind: str = "deploy"
    summary: str = ""
    href: str = ""


class Lane(Struct, frozen=True, kw_only=True):
    """One service in one environment with its marks."""

    name: str
    environment: str
    href: str = ""
    marks: tuple[Mark, ...] = ()


class Stop(Struct, frozen=True, kw_only=True):
    """A rollout of a change in one environment."""

    environment: str
    label: str
    word: str
    href: str = ""
    bad: bool = False


class ChangeLine(Struct, frozen=True, kw_only=True):
    """One change: a commit with its run, or settings without one."""

    label: str
    summary: str
    by: str
    at: datetime
    run: int | None = None
    run_state: RunState | None = None
    run_href: str = ""
    releases: tuple[tuple[str, str], ...] = ()  # (label, href)
    stops: tuple[Stop, ...] = ()


class DeliveryView(Struct, frozen=True, kw_only=True):
    """A project's changes in [since, until], newest first."""

    chrome: Chrome
    project: str
    sentence: str
    window: str
    since: datetime
    until: datetime
    windows: tuple[Choice, ...] = ()
    environments: tuple[str, ...] = ()
    lanes: tuple[Lane, ...] = ()
    changes: tuple[ChangeLine, ...] = ()


def delivery(view: DeliveryView) -> str:
    """The delivery page as a document."""
    main = h.fragment[
        headline("Delivery", f"· {view.project}", None, view.sentence),
        h.nav(".choices", aria_label="What is shown")[choices("window", view.windows)],
        card(f"{view.window}: what reached each service", _timeline(view)),
        card("Changes, newest first", _changes(view), id="changes"),
    ]
    return document(view.chrome, "Delivery", main, current="Delivery", live=view.project)


# -- the axis -----------------------------------------------------------------------------------------


def _timeline(view: DeliveryView) -> h.Node:
    if not any(lane.marks for lane in view.lanes):
        return h.fragment[h.p(".mute")["Nothing happened in this window. Push a change:"],
                          command("git push poise main")]  # fmt: skip
    rows = [
        (
            moment(mark.at),
            link(lane.name, lane.href),
            lane.environment,
            mark.kind,
            [link(mark.label, mark.href, "mono"), " ", mark.summary],
        )
        for lane in view.lanes
        for mark in _visible(lane, view)
    ]
    return h.fragment[
        scroll(f"Timeline of {view.project} over {view.window}", h.div(".chart")[_drawing(view)]),
        h.details("#lanes-table")[
            h.summary["The same as a table"],
            table("Timeline", ("when", "service", "environment", "kind", "what"), rows),
        ],
    ]


def _visible(lane: Lane, view: DeliveryView) -> list[Mark]:
    inside = [mark for mark in lane.marks if view.since <= mark.at <= view.until]
    return sorted(inside, key=lambda mark: mark.at)[-MARKS_MAX:]


def _drawing(view: DeliveryView) -> h.Element:
    span_s = max((view.until - view.since).total_seconds(), 1e-9)
    drawn: list[h.Element] = []
    top = 4.0
    for lane in view.lanes:
        marks = _visible(lane, view)
        spots = [((mark.at - view.since).total_seconds() / span_s * WIDTH, mark.label) for mark in marks]
        placed = flags.arrange(spots, WIDTH)
        height = FLAG_ROW * max((flag.row + 1 for flag in placed), default=1) + 6
        drawn.append(_lane(lane, marks, placed, top, height))
        top += height + LANE_GAP
    count = sum(len(_visible(lane, view)) for lane in view.lanes)
    told = f"{count} marks of {len(view.lanes)} services over {view.window}"
    return h.svg({"viewBox": f"0 0 900 {top + 18:g}"}, role="group", aria_labelledby="lanes-title")[
        h.title("#lanes-title")[told], drawn, _axis(view, top + 12)
    ]


def _lane(
    lane: Lane, marks: Sequence[Mark], placed: Sequence[flags.Flag], top: float, height: float
) -> h.Element:
    name = h.text(".name", x="0", y="14")[_short(lane.name)]
    return h.g(transform=f"translate(0,{top:g})")[
        link(name, lane.href) if lane.href else name,
        h.text(x="0", y="28", class_="small")[_short(lane.environment)],
        h.g(transform=f"translate({LEFT:g},0)")[
            h.line(".grid", x1="0", x2=f"{WIDTH:g}", y1=f"{height:g}", y2=f"{height:g}"),
            [_flag(flag, marks, height) for flag in placed],
        ],
    ]


def _flag(flag: flags.Flag, marks: Sequence[Mark], bottom: float) -> h.Element:
    members = [marks[index] for index in flag.group.members]
    kinds = {mark.kind for mark in members}
    tone = "bad" if kinds & {"rollback", "incident"} else "heal" if kinds == {"settings"} else ""
    top = flag.row * FLAG_ROW + 2
    box = h.g[
        h.title["; ".join(f"{mark.label}, {utc(mark.at)} UTC" for mark in members)],
        h.rect(
            x=f"{flag.left:.1f}", y=f"{top:g}", width=f"{flag.width:.1f}", height=f"{FLAG_HEIGHT:g}", rx="3"
        ),
        h.text(x=f"{flag.left + 5:.1f}", y=f"{top + 12:g}")[flag.group.label],
    ]
    x = f"{flag.group.x:.1f}"
    return h.g(class_=f"flag {tone}".strip())[
        h.line(x1=x, x2=x, y1=f"{top + FLAG_HEIGHT:g}", y2=f"{bottom:g}"),
        link(box, members[0].href if len(members) == 1 else "#changes"),
    ]


def _axis(view: DeliveryView, y: float) -> h.Element:
    step = (view.until - view.since) / TICKS
    shown = "day" if view.until - view.since > timedelta(days=3) else "minute"
    ticks = (
        h.text(x=f"{LEFT + WIDTH * (k + 0.5) / TICKS:.1f}", y=f"{y:g}", text_anchor="middle")[
            utc(view.since + step * (k + 0.5), shown)
        ]
        for k in range(TICKS)
    )
    return h.g[h.text(x="0", y=f"{y:g}")["UTC"], ticks]


def _short(text: str) -> str:
    return text if len(text) <= 20 else text[:19] + "…"


# -- the rows -----------------------------------------------------------------------------------------


def _changes(view: DeliveryView) -> h.Node:
    if not view.changes:
        return h.p(".mute")["None in this window."]
    rows: list[tuple[h.Node, ...]] = [
        (
            [h.span(".mono")[line.label], " ", line.summary, h.span(".mute")[f" {line.by}"]],
            _run(line),
            [[link(label, href, "mono"), " "] for label, href in line.releases] or "–",
            *(_stops(line, environment) for environment in view.environments),
            moment(line.at),
        )
        for line in view.changes[:ROWS_MAX]
    ]
    head = ("change", "run", "release", *view.environments, "when")
    return h.fragment[
        table("Changes", head, rows, "l" * (len(head) - 1) + "r"),
        h.p(".mute")[f"The newest {ROWS_MAX} are shown."] if len(view.changes) > ROWS_MAX else None,
    ]


def _run(line: ChangeLine) -> h.Node:
    if line.run is None or line.run_state is None:
        return "–"
    return h.p[link(f"#{line.run}", line.run_href), " ", run_pill(line.run_state)]


def _stops(line: ChangeLine, environment: str) -> h.Node:
    mine = [stop for stop in line.stops if stop.environment == environment]
    return [
        h.p[link(stop.label, stop.href, "mono"), " ", h.span(class_="bad" if stop.bad else None)[stop.word]]
        for stop in mine
    ] or "–"
