"""Exclusions: time that does not count, such as announced maintenance. Pure.

Nothing that was counted is ever changed: an exclusion is subtracted when a budget is asked for, so that
taking it away gives back the identical budget. What was read in [start, end) does not count; edges lie on the
grain that budgets keep at that age (5 s for an hour, 1 min for a day, 5 min beyond).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct

Stretch = tuple[float, float]  # half-open, [start, end), UTC epoch seconds


class Exclusion(Struct, frozen=True, kw_only=True):
    """Time that does not count for some objectives; it may lie in the past.

    Key ``project/declared/name`` (written by infrastructure, from ``poise.yaml``) or ``project/asked/name``
    (asked for by a person through the API). ``starts`` is the first event's start: an instant with its offset
    or, with ``zone``, wall time there; each event lasts ``duration_s``; ``rrule`` (RFC 5545) repeats it.
    ``objectives`` are keys of objectives or what they begin with (``acme/production/shop``); none: all.
    ``removed_at`` is when a person took it back; it stays on record.
    """

    project: str
    name: str
    starts: str
    duration_s: float
    reason: str
    by: str
    rrule: str = ""
    zone: str = "UTC"
    objectives: tuple[str, ...] = ()
    declared: bool = True
    at: datetime | None = None
    removed_at: datetime | None = None
    removed_by: str = ""

    @property
    def key(self) -> str:
        """``project/declared/name`` or ``project/asked/name``."""
        return f"{self.project}/{'declared' if self.declared else 'asked'}/{self.name}"

    def covers(self, objective: str) -> bool:
        """Whether it is about an objective (by key).

        >>> one = Exclusion(project="acme", name="x", starts="", duration_s=1, reason="", by="",
        ...                 objectives=("acme/production/shop",))
        >>> one.covers("acme/production/shop/latency"), one.covers("acme/production/shopping/latency")
        (True, False)
        """
        if self.removed_at is not None or not objective.startswith(f"{self.project}/"):
            return False
        return not self.objectives or any(f"{objective}/".startswith(f"{one}/") for one in self.objectives)


def merged(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    """The same time without overlaps, ascending; empty stretches are none.

    >>> merged([(5, 9), (1, 3), (2, 4), (7, 7)])
    ((1, 4), (5, 9))
    """
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if end <= start:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def effective(
    stretches: Iterable[Stretch], start_s: float, end_s: float, most_s: float
) -> tuple[Stretch, ...]:
    """What of them counts in [start, end): merged, clipped, and at most ``most_s`` of it, the oldest first.

    The stretch with which the cap is reached is cut; what comes after it has no effect.

    >>> effective([(0, 10), (20, 30)], 5, 100, most_s=8)
    ((5, 10), (20, 23))
    """
    found: list[Stretch] = []
    left_s = most_s
    for begin, end in merged(stretches):
        begin, end = max(begin, start_s), min(end, end_s)
        end = min(end, begin + left_s)
        if end > begin:
            found.append((begin, end))
            left_s -= end - begin
    return tuple(found)


def length_s(stretches: Sequence[Stretch]) -> float:
    """How long merged stretches are together."""
    return sum(end - start for start, end in stretches)
