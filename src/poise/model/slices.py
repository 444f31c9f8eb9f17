"""Slices of time: events become one unit of the budget per slice, for both kinds of time-slices. Pure.

Slice ``n`` is (n x slice_s, (n + 1) x slice_s] since the epoch. One is judged once readings reach past its
end, or ``late_s`` after it. It is unknown, and no unit at all, where less than half of it was measured; a
known slice without events is good: no traffic burns nothing. One whose good or bad events outnumber all of
its events (by more than one and ``SKEW_RATIO``) contradicts itself, and is unknown.

A reading counts in the slice that it falls into; one that spans much more than a slice (a gap between two
readings of the same counter) is spread over the time that it stands for.

Source: OpenSLO v1 README, budgetingMethod, timeSliceTarget, timeSliceWindow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.model.objective import Method, Slicing

KNOWN_MIN_RATIO: Final = 0.5  # of a slice; with less it is unknown
SKEW_RATIO: Final = 0.02  # of a slice's events: so much may counters differ that are not read at once
LATE_S: Final = 120.0
WHOLE_MAX: Final = 1.5  # slices: a shorter reading is not spread; one a minute is not quite a minute long
FILLED_MAX: Final = 100_000  # slices of one advance; a longer gap is unknown time


class Reading(Struct, frozen=True):
    """Events up to ``at_s`` (UTC epoch seconds); the time (``known_from_s``, ``at_s``] was measured."""

    at_s: float
    good: float
    bad: float
    known_from_s: float


class Contradiction(Struct, frozen=True, kw_only=True):
    """A slice in which ``what`` (good or bad) outnumbers all events by ``excess``: its source errs."""

    since: datetime
    until: datetime
    what: str
    excess: float

    @property
    def sentence(self) -> str:
        """What, by how much and when, in words."""
        at = f"{self.since:%Y-%m-%d %H:%M} UTC"
        return f"contradictory: {self.what} exceeds total by {self.excess:,.4g} at {at}"


class Slice(Struct, frozen=True):
    """One judged slice by its end: ``good`` + ``bad`` = 1; a ratio where its method has one."""

    end_s: float
    good: float
    bad: float


class Filling(Struct, frozen=True):
    """A slice that is not judged yet: events and measured seconds so far."""

    good: float = 0.0
    bad: float = 0.0
    known_s: float = 0.0


class Sliced(Struct, frozen=True, kw_only=True):
    """Where slicing stands: open slices by number, how far readings reach, and the last judged slice.

    ``contradicted`` is the newest slice that contradicted itself.
    """

    filling: dict[int, Filling] = {}
    until_s: float = -math.inf
    judged: int | None = None
    contradicted: Contradiction | None = None


def advance(
    state: Sliced,
    readings: Iterable[Reading],
    slicing: Slicing,
    method: Method,
    now_s: float,
    late_s: float = LATE_S,
) -> tuple[Sliced, tuple[Slice, ...]]:
    """Take in readings and judge what is complete: the new state and the slices judged, ascending.

    A reading of a slice that was judged already is left out: it was unknown then and stays so.
    """
    filling, until_s = dict(state.filling), state.until_s
    for reading in readings:
        until_s = max(until_s, reading.at_s)
        for number, part in _spread(reading, slicing.slice_s):
            if state.judged is None or number > state.judged:
                filling[number] = _plus(filling.get(number, Filling()), part)
    end_s = max(until_s, now_s - late_s)
    last = math.floor(end_s / slicing.slice_s) - 1 if math.isfinite(end_s) else None
    if last is None:
        return replace(state, filling=filling, until_s=until_s), ()
    ready = sorted(number for number in filling if number <= last)
    contradicted, slices = state.contradicted, list[Slice]()
    for number in ready:
        found = _judge(number, filling.pop(number), slicing, method)
        if isinstance(found, Contradiction):
            contradicted = found
        elif found is not None:
            slices.append(found)
    judged = last if state.judged is None else max(last, state.judged)
    after = Sliced(filling=filling, until_s=until_s, judged=judged, contradicted=contradicted)
    return after, tuple(slices)


def unit(good: float, bad: float, slicing: Slicing, method: Method) -> float:
    """How good a slice is, 0..1, out of its events; 1 without any.

    >>> unit(95.0, 5.0, Slicing(slice_s=60.0, target_ratio=0.95), Method.TIMESLICES)
    1.0
    >>> unit(94.0, 6.0, Slicing(slice_s=60.0, target_ratio=0.95), Method.TIMESLICES)
    0.0
    """
    total = good + bad
    ratio = 1.0 if total <= 0 else min(1.0, max(0.0, good / total))
    if method is Method.TIMESLICES:
        return float(ratio >= (slicing.target_ratio or 0.0))
    return ratio


def _judge(number: int, filled: Filling, slicing: Slicing, method: Method) -> Slice | Contradiction | None:
    if filled.known_s < KNOWN_MIN_RATIO * slicing.slice_s:
        return None
    excess = -min(filled.good, filled.bad)
    if excess > 1.0 + SKEW_RATIO * max(0.0, filled.good + filled.bad):
        since = datetime.fromtimestamp(number * slicing.slice_s, UTC)
        return Contradiction(
            since=since,
            until=since + timedelta(seconds=slicing.slice_s),
            what="good" if filled.bad < filled.good else "bad",
            excess=excess,
        )
    good = unit(filled.good, filled.bad, slicing, method)
    return Slice((number + 1) * slicing.slice_s, good, 1.0 - good)


def _spread(reading: Reading, slice_s: float) -> Iterator[tuple[int, Filling]]:
    """The parts of a reading by the number of the slice. Measured time always lies where it passed."""
    last = math.ceil(reading.at_s / slice_s) - 1
    length_s = max(0.0, reading.at_s - reading.known_from_s)
    first = max(last - FILLED_MAX, math.floor(reading.known_from_s / slice_s)) if length_s else last
    whole = length_s <= WHOLE_MAX * slice_s
    for number in range(first, last + 1):
        begin, end = max(reading.known_from_s, number * slice_s), min(reading.at_s, (number + 1) * slice_s)
        known_s = max(0.0, end - begin) if length_s else 0.0
        share = float(number == last) if whole else known_s / length_s
        yield number, Filling(reading.good * share, reading.bad * share, known_s)


def _plus(one: Filling, other: Filling) -> Filling:
    return Filling(one.good + other.good, one.bad + other.bad, one.known_s + other.known_s)
