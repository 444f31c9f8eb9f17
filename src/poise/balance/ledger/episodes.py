"""Episodes of spend: the stretches of minutes in which a budget is spent faster than it can bear.

Each minute scores the log-likelihood ratio of six times the bearable ratio against it. An episode is found
where the running sum, from zero, reaches ``REACHED``, and is closed once it fell by ``FALLEN``. The sum
saturates and a minute takes at most ``FALL_MAX`` off, so that an episode's size does not tell how long a
pause is part of it. Its first and last minute are then where two ratios, the usual one and its own, explain
the counts best. All other bad events are the usual ones.

**Source:** Page (Biometrika 41, 1954); Karlin and Altschul (PNAS 87, 1990) for scored segments.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOW, HIGH = 1.0, 6.0  # burn rates
REACHED: Final = 5.0
SATURATED: Final = 8.0
FALLEN: Final = 6.0
FALL_MAX: Final = 2.0
FAILURES_MIN: Final = 3.0
BEFORE: Final = 60  # minutes before an episode in which it may have begun
EARLY: Final = 10  # minutes of it that tell how bad it was at first
SHARES: Final = (1.0, 0.25, 0.0625)  # of that: a canary may have begun with less
USUAL_MIN_EVENTS: Final = 1000.0


class Episode(Struct, frozen=True, kw_only=True):
    """Minutes ``begin`` to ``end`` (exclusive; None while it goes on), with their counts.

    ``onset`` are the chances (summing to 1) that it began with the minute ``first + i``.
    """

    begin: int
    end: int | None
    total: float
    bad: float
    first: int
    onset: tuple[float, ...]


def episodes(total: Floats, bad: Floats, allowed_ratio: float) -> list[Episode]:
    """The episodes in these minutes, oldest first. O(minutes) where there is one, else a few sums."""
    found: list[Episode] = []
    usual = _usual(total, bad, allowed_ratio)
    floor = 0
    for rough, until in _stretches(_score(total, bad, allowed_ratio)):
        last = len(total) if until is None else until
        core = rough + _first(total[rough:last], bad[rough:last], usual)
        if until is not None:
            last = until = last - _first(total[core:last][::-1], bad[core:last][::-1], usual)
        first, onset = _onset(total, bad, usual, core, last, floor)
        begin = first + int(np.argmax(onset))
        some = slice(begin, last)
        if bad[some].sum() < FAILURES_MIN:
            continue
        found.append(
            Episode(
                begin=begin, end=until, total=float(total[some].sum()), bad=float(bad[some].sum()),
                first=first, onset=tuple(onset.tolist()),
            )
        )  # fmt: skip
        floor = last
    return found


def _score(total: Floats, bad: Floats, allowed_ratio: float) -> Floats:
    allowed = min(max(allowed_ratio, 1e-9), 0.9)
    low, high = allowed * LOW, -math.expm1(HIGH * math.log1p(-allowed))
    high = min(max(high, low * 1.01), 1 - 1e-9)
    made: Floats = bad * math.log(high / low) + (total - bad) * (math.log1p(-high) - math.log1p(-low))
    return np.maximum(made, -FALL_MAX)


def _stretches(score: Floats) -> list[tuple[int, int | None]]:
    """(begin, end) of each episode; the last one's end is None where it still goes on."""
    up = np.concatenate([[0.0], np.cumsum(score)])
    if len(score) == 0 or (up - np.minimum.accumulate(up)).max() < REACHED:
        return []
    found: list[tuple[int, int | None]] = []
    place, size = 0, len(score)
    while place < size:
        begin, on, height, top, top_at = place, False, 0.0, 0.0, place
        while place < size:
            height = min(height + float(score[place]), SATURATED)
            place += 1
            if height <= 0.0 and not on:
                begin, height, top = place, 0.0, 0.0
                continue
            if height >= top:
                top, top_at = height, place
            on = on or height >= REACHED
            if on and top - height >= FALLEN:
                break
        else:
            if on:
                found.append((begin, None))
            break
        found.append((begin, top_at))
        place = top_at
    return found


def _usual(total: Floats, bad: Floats, allowed_ratio: float) -> float:
    """The ratio of failures in quiet times: of the minutes with no more than the budget can bear."""
    quiet = bad <= np.maximum(1.0, 3.0 * allowed_ratio * total)
    events = float(total[quiet].sum())
    ratio = (float(bad[quiet].sum()) + 0.5) / (events + 1.0) if events >= USUAL_MIN_EVENTS else allowed_ratio
    return min(max(ratio, allowed_ratio / 20), allowed_ratio)


def _first(total: Floats, bad: Floats, usual: float) -> int:
    """With which of these minutes it begins, if from then on one ratio holds, whichever."""
    events, lost = (np.cumsum(one[::-1])[::-1] for one in (total, bad))
    ratio = np.clip(lost / np.maximum(events, 1.0), 2 * usual, 1 - 1e-6)
    gain = lost * np.log(ratio / usual) + (events - lost) * (np.log1p(-ratio) - math.log1p(-usual))
    return int(np.argmax(gain)) if len(gain) else 0


def _onset(
    total: Floats, bad: Floats, usual: float, core: int, end: int, floor: int
) -> tuple[int, NDArray[np.float64]]:
    """(first minute, the chance of each minute from it on to be the first one).

    ``core`` is where its ratio is reached; before that it may have had a share of it.
    """
    first, last = max(floor, core - BEFORE), max(core + 1, min(end, core + EARLY))
    early = slice(core, last)
    ratio = min(float(bad[early].sum() / max(1.0, total[early].sum())), 1 - 1e-6)
    before = np.zeros((len(SHARES), core - first))
    for row, share in enumerate(SHARES):
        before[row] = _sum_back(
            _gain(total[first:core], bad[first:core], max(ratio * share, 2 * usual), usual)
        )
    skipped = _gain(total[early], bad[early], max(ratio, 2 * usual), usual)
    after = -np.concatenate([[0.0], np.cumsum(skipped)[:-1]])
    most = max(0.0, float(before.max(initial=0.0)))
    weights = np.concatenate([np.exp(before - most).mean(axis=0), np.exp(after - most)])
    return first, weights / weights.sum()


def _gain(total: Floats, bad: Floats, high: float, low: float) -> Floats:
    high = min(high, 1 - 1e-6)
    made: Floats = bad * math.log(high / low) + (total - bad) * (math.log1p(-high) - math.log1p(-low))
    return made


def _sum_back(values: Floats) -> Floats:
    made: Floats = np.cumsum(values[::-1])[::-1]
    return made
