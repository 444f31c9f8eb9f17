"""How unusual a signal is now: a score that says how seldom the signal was so far from its usual range.

The usual range is robust and seasonal: the median and the median absolute deviation of the same time of day
on the days before, or of the recent past where there are fewer than three such days. The score of a value is
the share of earlier values that were less far out, measured the same way (a conformal p-value taken from 1):
on data that go on as before, a score above 0.99 comes about once in a hundred values, whatever their
distribution. Few earlier values make no score, and no data is no score, never "usual". It is evidence for a
person and for a diagnosis; it pages nobody.

**Source:** Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005), chapter 2; Rousseeuw
and Croux (1993) for the median absolute deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

UNUSUAL: Final = 0.99
CALIBRATION_MIN: Final = 120  # fewer earlier values make no score
CALIBRATION_MAX: Final = 2000
RECENT: Final = 60  # values of the recent past
RECENT_MIN: Final = 20
DAYS: Final = 14
DAYS_MIN: Final = 3
NEAR: Final = 1  # values on either side of the same time of day
MAD_TO_SIGMA: Final = 1.4826
IN_A_ROW: Final = 3  # unusual values that make a stretch: single ones come by chance
Floats = NDArray[np.float64]


class Side(StrEnum):
    """Which way a value may be unusual."""

    ABOVE = "above"  # errors, latency, saturation
    BOTH = "both"  # rate


class GoldenSignal(StrEnum):
    """What users notice of a service."""

    RATE = "rate"
    ERRORS = "errors"
    LATENCY = "latency"


class Stretch(Struct, frozen=True, kw_only=True):
    """A time over which a signal was unusual. ``score``: of its most unusual value."""

    signal: GoldenSignal
    since: datetime
    until: datetime
    score: float


class Usual(Struct, frozen=True, kw_only=True):
    """What is known of how usual a service's signals were. ``known`` are the signals with enough history."""

    known: tuple[GoldenSignal, ...] = ()
    stretches: tuple[Stretch, ...] = ()


def stretches(signal: GoldenSignal, at: Sequence[datetime], found: Sequence[float | None]) -> list[Stretch]:
    """The runs of at least IN_A_ROW scores above UNUSUAL; a gap ends a run."""
    made: list[Stretch] = []
    run: list[tuple[datetime, float]] = []
    for moment, score in [*zip(at, found, strict=True), (None, None)]:
        if moment is not None and score is not None and score > UNUSUAL:
            run.append((moment, score))
            continue
        if len(run) >= IN_A_ROW:
            worst = max(one for _, one in run)
            made.append(Stretch(signal=signal, since=run[0][0], until=run[-1][0], score=worst))
        run = []
    return made


def scores(values: Sequence[float | None], step_s: float, side: Side = Side.ABOVE) -> list[float | None]:
    """Each value's score, 0..1, out of the values before it alone; None where nothing can be said.

    ``values`` are equally spaced by ``step_s``, None where nothing was measured. O(n x CALIBRATION_MAX).
    """
    series = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if not len(series):
        return []
    season = round(86_400.0 / step_s)
    far = _distances(series, season, side)
    made: list[float | None] = [None] * len(series)
    known = np.flatnonzero(np.isfinite(far))
    began = 0  # of the unusual run that goes on: what it did so far does not make it usual
    for number, place in enumerate(known):
        before = far[known[max(0, began - CALIBRATION_MAX) : began]]
        score = None
        if len(before) >= CALIBRATION_MIN:
            score = 1.0 - (1 + int(np.count_nonzero(before >= far[place]))) / (len(before) + 1)
            made[int(place)] = score
        if score is None or score <= UNUSUAL:
            began = number + 1
    return made


def _distances(series: Floats, season: int, side: Side) -> Floats:
    """By how many robust standard deviations each value is outside its usual one; NaN where unknown."""
    centre, spread = _recent(series)
    daily, daily_spread = _seasonal(series, season)
    has_days = np.isfinite(daily)
    centre = np.where(has_days, daily, centre)
    spread = np.where(has_days, daily_spread, spread)
    finite = series[np.isfinite(series)]
    scale = float(np.median(np.abs(finite))) if len(finite) else 0.0
    spread = MAD_TO_SIGMA * spread + 0.01 * np.abs(centre) + 0.001 * scale + 1e-12
    away = (series - centre) / spread
    made: Floats = np.abs(away) if side is Side.BOTH else np.maximum(away, 0.0)
    return made


def _recent(series: Floats) -> tuple[Floats, Floats]:
    padded = np.concatenate([np.full(RECENT, np.nan), series[:-1]])
    return _middle(sliding_window_view(padded, RECENT).T, RECENT_MIN)


def _seasonal(series: Floats, season: int) -> tuple[Floats, Floats]:
    """Of the same time of day, one value either side, on each day before."""
    shifted = []
    days = min(DAYS, (len(series) - 1) // season) if season > NEAR else 0
    for day in range(1, days + 1):
        for near in range(-NEAR, NEAR + 1):
            back = day * season + near
            row = np.full(len(series), np.nan)
            if back < len(series):
                row[back:] = series[: len(series) - back]
            shifted.append(row)
    if len(shifted) < DAYS_MIN * (2 * NEAR + 1):
        nothing = np.full(len(series), np.nan)
        return nothing, nothing
    return _middle(np.array(shifted), DAYS_MIN * (2 * NEAR + 1) - NEAR)


def _middle(pool: Floats, least: int) -> tuple[Floats, Floats]:
    """Median and median absolute deviation of each column with at least ``least`` known values."""
    enough = np.count_nonzero(np.isfinite(pool), axis=0) >= least
    centre = np.full(pool.shape[1], np.nan)
    spread = centre.copy()
    if enough.any():
        kept = pool[:, enough]
        centre[enough] = np.nanmedian(kept, axis=0)
        spread[enough] = np.nanmedian(np.abs(kept - centre[enough]), axis=0)
    return centre, spread
