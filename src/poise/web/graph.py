"""A run's jobs as a layered graph, drawn on the server: each job to the right of all that it needs."""

from __future__ import annotations

from collections.abc import Sequence

import htpy as h

from poise.web.parts import run_tone
from poise.web.run_views import JobView
from poise.web.wording import duration

BOX_WIDTH = 168.0
BOX_HEIGHT = 44.0
COLUMN = 212.0
ROW = 58.0
NAME_LENGTH_MAX = 20


def layers(jobs: Sequence[JobView]) -> dict[str, int]:
    """The column of each job: one more than the furthest of those that it needs.

    Needs that name no job of this run are ignored, and so are circles (a plan with one is refused).
    """
    by_id = {job.id: job for job in jobs}
    column = dict.fromkeys(by_id, 0)
    for _ in by_id:
        for job in jobs:
            known = [column[need] for need in job.needs if need in by_id]
            column[job.id] = min(max(known, default=-1) + 1, len(by_id) - 1)
    return column


def job_graph(jobs: Sequence[JobView]) -> h.Element:
    """The graph; each box links to its job below."""
    places = _places(jobs)
    width = max(x for x, _ in places.values()) + BOX_WIDTH + 2
    height = max(y for _, y in places.values()) + BOX_HEIGHT + 2
    edges = [_edge(places[need], places[job.id]) for job in jobs for need in job.needs if need in places]
    return h.svg(
        {"viewBox": f"0 0 {width:g} {height:g}"},
        class_="graph",
        width=f"{width:g}",
        height=f"{height:g}",
        role="group",
        aria_label="Jobs in the order in which they run",
    )[edges, [_box(job, *places[job.id]) for job in jobs]]


def _places(jobs: Sequence[JobView]) -> dict[str, tuple[float, float]]:
    heights: dict[int, int] = {}
    places = {}
    for job_id, column in layers(jobs).items():
        row = heights.get(column, 0)
        heights[column] = row + 1
        places[job_id] = (1 + column * COLUMN, 1 + row * ROW)
    return places


def _box(job: JobView, x: float, y: float) -> h.Element:
    name = job.id if len(job.id) <= NAME_LENGTH_MAX else job.id[: NAME_LENGTH_MAX - 1] + "…"
    took = "" if job.took_s is None else f" · {duration(job.took_s)}"
    return h.a(href=f"#job-{job.id}")[
        h.g(class_=f"job {run_tone(job.state)}")[
            h.title[f"{job.id}: {job.state.value}{took}"],
            h.rect(x=f"{x:g}", y=f"{y:g}", width=f"{BOX_WIDTH:g}", height=f"{BOX_HEIGHT:g}", rx="6"),
            h.text(".name", x=f"{x + 10:g}", y=f"{y + 18:g}")[name],
            h.text(x=f"{x + 10:g}", y=f"{y + 35:g}")[f"{job.state.value}{took}"],
        ]
    ]


def _edge(start: tuple[float, float], end: tuple[float, float]) -> h.Element:
    x1, y1 = start[0] + BOX_WIDTH, start[1] + BOX_HEIGHT / 2
    x2, y2 = end[0], end[1] + BOX_HEIGHT / 2
    middle = (x1 + x2) / 2
    return h.path(".edge", d=f"M{x1:g},{y1:g}C{middle:g},{y1:g} {middle:g},{y2:g} {x2:g},{y2:g}")
