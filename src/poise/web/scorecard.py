"""The scorecard page: five figures in plain words, their own trend, and the list that each is made of.

A figure has no goal and no grade; a stretch in which nothing happened is a gap, never a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import htpy as h
from msgspec import Struct

from poise.web.parts import card, command, document, headline, link, table
from poise.web.views import Chrome
from poise.web.wording import UNMEASURED, duration, moment, percent, plural, utc

EVIDENCE_MAX = 50
TREND_WIDTH = 300.0
TREND_HEIGHT = 56.0


class Choice(Struct, frozen=True, kw_only=True):
    """A link that chooses what is shown; ``chosen`` is the one in force."""

    label: str
    href: str
    chosen: bool = False


class Stretch(Struct, frozen=True, kw_only=True):
    """One day or week of the trend; ``value`` None: nothing happened that it could be computed from."""

    start: datetime
    end: datetime
    value: float | None
    deployments: int


class EvidenceRow(Struct, frozen=True, kw_only=True):
    """A deployment behind a figure; ``guessed`` says that a label, not a link, put it there."""

    label: str
    at: datetime
    summary: str = ""
    href: str = ""
    commits: int | None = None
    guessed: bool = False
    incidents: tuple[tuple[str, str], ...] = ()  # (label, href)


class FigureView(Struct, frozen=True, kw_only=True):
    """One figure; ``unit`` is per_day, seconds or ratio; ``evidence`` newest first, ``total`` of them."""

    title: str
    meaning: str
    unit: str
    value: float | None
    sentence: str
    before: float | None = None
    guessed: int = 0
    certain: float | None = None
    trend: tuple[Stretch, ...] = ()
    evidence: tuple[EvidenceRow, ...] = ()
    total: int = 0


class ObjectivesView(Struct, frozen=True, kw_only=True):
    """Objectives by key with their word: met, missed or not measured."""

    sentence: str
    rows: tuple[tuple[str, str, str], ...] = ()  # (objective, word, href of its service)


class ScorecardView(Struct, frozen=True, kw_only=True):
    """The five figures of a project's environment or service over ``window``."""

    chrome: Chrome
    project: str
    scope: str
    sentence: str
    window: str
    since: datetime
    until: datetime
    environments: tuple[Choice, ...] = ()
    services: tuple[Choice, ...] = ()
    windows: tuple[Choice, ...] = ()
    figures: tuple[FigureView, ...] = ()
    objectives: ObjectivesView | None = None


def scorecard(view: ScorecardView) -> str:
    """The scorecard as a document."""
    aside: h.Node = ["· ", view.scope, " · ", moment(view.since, "day"), " to ", moment(view.until)]
    main = h.fragment[
        headline("Scorecard", aside, None, view.sentence),
        h.nav(".choices", aria_label="What is shown")[
            choices("environment", view.environments),
            choices("service", view.services),
            choices("window", view.windows),
        ],
        h.div(".figures")[(_figure(figure, n, view.window) for n, figure in enumerate(view.figures))],
        _objectives(view.objectives) if view.objectives else None,
        card("The same on the command line", command("poise dora")),
    ]
    return document(view.chrome, "Scorecard", main, current="Scorecard", live=view.project)


def choices(name: str, offered: Sequence[Choice]) -> h.Node:
    """A row of links of which one is in force; nothing when there is no choice."""
    if len(offered) < 2:
        return None
    return h.span[
        h.span(".mute")[f"{name} "],
        (
            h.fragment[
                " ",
                h.strong(aria_current="true")[one.label] if one.chosen else link(one.label, one.href),
            ]
            for one in offered
        ),
    ]


def shown(value: float | None, unit: str) -> str:
    """A figure with its unit.

    >>> shown(1.5, "per_day"), shown(5400, "seconds"), shown(0.1, "ratio"), shown(None, "ratio")
    ('1.5 a day', '1 h 30 min', '10 %', '–')
    """
    if value is None:
        return UNMEASURED
    match unit:
        case "per_day":
            return f"{value:,.3g} a day"
        case "seconds":
            return duration(value)
        case _:
            return percent(value)


def compared(value: float | None, before: float | None, unit: str, window: str) -> str:
    """The figure beside that of the window before, in words; neither is called good or bad."""
    if value is None and before is None:
        return f"Nothing in the {window} before either."
    if before is None:
        return f"No figure in the {window} before."
    told = f"{shown(before, unit)} in the {window} before"
    if value is None:
        return f"It was {told}."
    if shown(value, unit) == shown(before, unit):
        return f"As in the {window} before."
    return f"{'Up' if value > before else 'Down'} from {told}."


def _figure(figure: FigureView, n: int, window: str) -> h.Element:
    said = compared(figure.value, figure.before, figure.unit, window)
    return card(
        figure.title,
        h.p(".figure")[shown(figure.value, figure.unit)],
        h.p[figure.sentence, " ", h.span(".mute")[said]],
        h.p(".mute")[
            f"{figure.guessed} of it {'rests' if figure.guessed == 1 else 'rest'} on a label instead of a "
            f"link; without, it is {shown(figure.certain, figure.unit)}."
        ]
        if figure.guessed
        else None,
        _trend(figure, n),
        _evidence(figure, n),
        h.p(".mute")[figure.meaning],
    )


def _trend(figure: FigureView, n: int) -> h.Node:
    values = [one.value for one in figure.trend if one.value is not None]
    if not values:
        return h.p(".mute")["No trend yet: nothing happened in this window."]
    rows = [
        (
            moment(one.start, "day"),
            moment(one.end, "day"),
            shown(one.value, figure.unit),
            f"{one.deployments:,}",
        )
        for one in figure.trend
    ]
    top, first, last = max(values), figure.trend[0].start, figure.trend[-1].end
    told = f"{figure.title} from {utc(first, 'day')} to {utc(last, 'day')}: at most {shown(top, figure.unit)}"
    return h.fragment[
        bars(told, [one.value for one in figure.trend]),
        h.p(".ends.mute")[
            h.span[moment(first, "day")],
            h.span[f"highest {shown(top, figure.unit)}"],
            h.span[moment(last, "day")],
        ],
        h.details(f"#trend-{n}")[
            h.summary["The same as a table"],
            table(f"Trend of {figure.title}", ("from", "to", "figure", "deployments"), rows, "llrr"),
        ],
    ]


def bars(label: str, values: Sequence[float | None]) -> h.Element:
    """Bars on one scale from zero: None leaves a gap, a true zero is a thin line."""
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    wide = TREND_WIDTH / max(len(values), 1)
    y: Callable[[float], float] = lambda value: max(1.0, value / top * (TREND_HEIGHT - 2))  # noqa: E731
    drawn = (
        h.rect(
            class_="trend",
            x=f"{k * wide + wide * 0.1:.1f}",
            y=f"{TREND_HEIGHT - y(value):.1f}",
            width=f"{wide * 0.8:.1f}",
            height=f"{y(value):.1f}",
        )
        for k, value in enumerate(values)
        if value is not None
    )
    box = {"viewBox": f"0 0 {TREND_WIDTH:g} {TREND_HEIGHT:g}", "preserveAspectRatio": "none"}
    base = h.line(".grid", x1="0", x2=f"{TREND_WIDTH:g}", y1=f"{TREND_HEIGHT:g}", y2=f"{TREND_HEIGHT:g}")
    return h.svg(box, class_="trendline", role="img", aria_label=label)[base, drawn]


def _evidence(figure: FigureView, n: int) -> h.Node:
    if not figure.evidence:
        return None
    rows = [
        (
            [link(row.label, row.href, "mono"), " ", row.guessed and h.em(".mute")["guessed"]],
            [row.summary, [[" ", link(label, href)] for label, href in row.incidents]],
            UNMEASURED if row.commits is None else f"{row.commits:,}",
            moment(row.at),
        )
        for row in figure.evidence[:EVIDENCE_MAX]
    ]
    more = figure.total - len(rows)
    return h.details(f"#evidence-{n}")[
        h.summary[f"Made of {plural(figure.total, 'deployment')}"],
        table(f"Evidence of {figure.title}", ("deployment", "what", "commits", "when"), rows, "llrr"),
        h.p(".mute")[f"{more:,} older ones are not shown here."] if more > 0 else None,
    ]


def _objectives(view: ObjectivesView) -> h.Element:
    rows = [(link(name, href), word) for name, word, href in view.rows]
    return card(
        "Objectives met",
        h.p[view.sentence],
        table("Objectives", ("objective", "budget"), rows) if rows else None,
    )
