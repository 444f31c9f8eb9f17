"""The delivery page: changes on their way to users, by service on one time axis, and row by row."""

from __future__ import annotations

import htpy as h

from poise.web.delivery_views import ChangeLine, DeliveryView
from poise.web.parts import card, document, headline, link, run_pill, table
from poise.web.scorecard import choices
from poise.web.timeline import timeline
from poise.web.wording import moment

ROWS_MAX = 100


def delivery(view: DeliveryView) -> str:
    """The delivery page as a document."""
    main = h.fragment[
        headline("Delivery", f"· {view.project}", None, view.sentence),
        h.nav(".choices", aria_label="What is shown")[choices("window", view.windows)],
        card(f"{view.window}: what reached each service, and what its users got", timeline(view)),
        card("Changes, newest first", _changes(view), id="changes"),
    ]
    return document(
        view.chrome, "Delivery", main, current="Delivery", live=view.project, scripts=("chart.js",)
    )


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
