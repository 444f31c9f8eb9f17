"""How many replicas a service has and why, and what each of them uses."""

from __future__ import annotations

import htpy as h

from poise.web.parts import card, table
from poise.web.service_views import CapacityView
from poise.web.wording import UNMEASURED, percent, plural


def capacity(view: CapacityView) -> h.Element:
    """The card of a service's replicas."""
    rows = [
        (
            h.span(".mono")[f"{row.release}/{row.index}"],
            h.span(class_="bad" if row.failing else None)[row.word],
            percent(row.cpu_ratio, 0),
            memory(row.memory_bytes),
            f"{row.restarts:,}",
        )
        for row in view.rows
    ]
    head = ("replica", "state", "CPU, of a core", "memory", "restarts")
    return card(
        "Replicas",
        h.p[
            f"{plural(view.wanted, 'replica')} wanted, from {view.min} to {view.max}",
            f": {view.reason}" if view.reason else "",
            ".",
        ],
        h.p(".mute")[f"Scaling waits: {view.withheld}."] if view.withheld else None,
        table("Replicas", head, rows, "llrrr") if rows else h.p(".mute")["None runs."],
        id="replicas",
    )


def memory(count: float | None) -> str:
    """Bytes in a unit that fits.

    >>> memory(52_428_800), memory(None)
    ('50 MiB', '–')
    """
    if count is None:
        return UNMEASURED
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
