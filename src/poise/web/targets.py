"""What is scraped, as a part of the overview: those in need first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import htpy as h

from poise.api.parts import Parts
from poise.api.queries import may_see
from poise.model.access import Principal
from poise.web.overview_views import TargetRow
from poise.web.parts import card, pill, table
from poise.web.wording import moment, plural

SHOWN: Final = 20
_TONE: Final = {True: ("up", "go"), False: ("down", "hold"), None: ("unknown", "unknown")}
_HEAD: Final = ("target", "health", "job", "samples", "last scrape", "what matters")


def target_rows(parts: Parts, asker: Principal) -> tuple[TargetRow, ...]:
    """Targets of the projects that the asker may see: down, not yet known, with faults, then the rest."""
    found = parts.scraper.scrapings.values() if parts.scraper is not None else ()
    rows = [
        TargetRow(
            project=one.target.project,
            job=one.target.config.name,
            instance=one.target.instance,
            up=one.health.up,
            at=datetime.fromtimestamp(one.health.at_ms / 1000, UTC) if one.health.at_ms else None,
            samples=one.health.kept,
            said=one.health.error or "; ".join(one.health.faults[:3]),
        )
        for one in found
        if may_see(asker, one.target.project)
    ]
    return tuple(sorted(rows, key=_need))


def targets_card(rows: Sequence[TargetRow]) -> h.Node:
    """A card with a table; nothing where nothing is scraped."""
    if not rows:
        return None
    down = sum(row.up is False for row in rows)
    told = (
        f"{down} of {plural(len(rows), 'target')} down"
        if down
        else f"{plural(len(rows), 'target')}, none down"
    )
    more = len(rows) - SHOWN
    return card(
        "Targets",
        h.p[told, f"; {more} more are shown by poise targets" if more > 0 else "", "."],
        table("Targets", _HEAD, [_row(row) for row in rows[:SHOWN]], "lllrll"),
    )


def _need(row: TargetRow) -> tuple[int, str, str, str]:
    order = 0 if row.up is False else 1 if row.up is None else 2 if row.said else 3
    return (order, row.project, row.job, row.instance)


def _row(row: TargetRow) -> tuple[h.Node, ...]:
    return (
        h.span(".mono")[row.instance],
        pill(*_TONE[row.up]),
        row.job,
        f"{row.samples:,}",
        moment(row.at, "second") if row.at else "never",
        row.said[:300],
    )
