"""A policy played over a history of budgets: what it would have decided, and for how long."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime
from itertools import pairwise

from msgspec import Struct

from poise.model.errors import Invalid
from poise.model.pacing import level_of, settled
from poise.model.policy import BudgetPolicy, Level

ROWS_MAX = 1_000_000
_EXAMPLE = "2026-11-01T00:00:00Z,0.93"


class Spell(Struct, frozen=True, kw_only=True):
    """A time at one level: since when, how long, and what was left when it began."""

    start: datetime
    level: Level
    hours: float
    left_ratio: float


def played(text: str, filename: str, policy: BudgetPolicy) -> list[Spell]:
    """The spells of a history; ``Invalid`` with file and line for a row that is none."""
    points = _points(text, filename)
    first_at, first_left = points[0]
    level, since = level_of(first_left, policy), first_at
    began = [(first_at, level, first_left)]
    for at, left in points[1:]:
        after, _ = settled(level, since, left, policy, at)
        if after is not level:
            level, since = after, at
            began.append((at, level, left))
    ends = [*began, (points[-1][0], level, 0.0)]
    return [
        Spell(start=at, level=one, hours=(end - at).total_seconds() / 3600, left_ratio=left)
        for (at, one, left), (end, _, _) in pairwise(ends)
    ]


def shares(spells: list[Spell]) -> list[tuple[str, float]]:
    """Each level's share of the time, 0..1, from fastest to slowest."""
    total = sum(one.hours for one in spells) or 1.0
    return [(level.value, sum(one.hours for one in spells if one.level is level) / total) for level in Level]


def _points(text: str, filename: str) -> list[tuple[datetime, float]]:
    points: list[tuple[datetime, float]] = []
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if not row or (number == 1 and row[0].strip().lower() in ("at", "instant", "time", "timestamp")):
            continue
        try:
            at, left = datetime.fromisoformat(row[0].strip()), float(row[1])
        except (ValueError, IndexError):
            raise _refused(filename, number, "a row is an instant and what is left", _EXAMPLE) from None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        if not math.isfinite(left):
            raise _refused(filename, number, "what is left must be a number", _EXAMPLE)
        if points and at <= points[-1][0]:
            raise _refused(filename, number, "instants must ascend", "sort -t, -k1 history.csv")
        points.append((at, left))
        if len(points) > ROWS_MAX:
            raise _refused(filename, number, f"more than {ROWS_MAX} rows", "thin it out")
    if not points:
        raise _refused(filename, 1, "there is no row", _EXAMPLE)
    return points


def _refused(filename: str, line: int, what: str, example: str) -> Invalid:
    return Invalid("POISE-E215", what, where=f"{filename}:{line}:1", mend=f"Write e.g.: {example}")
