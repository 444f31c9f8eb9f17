"""Classic histograms: quantiles and fractions from cumulative ``le`` buckets.

Source: prometheus/promql/quantile.go (``BucketQuantile``, ``BucketFraction``), all steps at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from poise.adapters.promql.vectors import META, Vector, empty, keyed, without
from poise.model.samples import Labels, Values

TOLERANCE = 1e-12  # relative; smaller differences between buckets are rounding

Note = Callable[[str], None]


class _Histograms:
    """One group's buckets: bounds ascending ``[b]``, cumulative counts ``[b, T]`` (NaN where absent)."""

    def __init__(self, bounds: Values, counts: Values, present: np.ndarray) -> None:
        order = np.argsort(bounds, kind="stable")
        bounds, counts, present = bounds[order], counts[order], present[order]
        distinct, starts = np.unique(bounds, return_index=True)
        self.bounds = distinct
        self.counts = np.add.reduceat(np.where(present, counts, 0.0), starts, axis=0)
        self.present = np.logical_or.reduceat(present, starts, axis=0)


def grouped(vector: Vector, note: Note) -> tuple[list[Labels], list[_Histograms]]:
    """The histograms among the rows, by their labels but ``le``."""
    rows, bounds = [], []
    for i, labels in enumerate(vector.series):
        text = dict(labels).get("le", "")
        try:
            bounds.append(float(text))
            rows.append(i)
        except ValueError:
            note(f'bucket label "le" is missing or has a malformed value of "{text}"')
    if not rows:
        return [], []
    keys, places = keyed([vector.series[i] for i in rows], lambda labels: without(labels, "le", *META))
    found = []
    for group in range(len(keys)):
        mine = np.flatnonzero(places == group)
        at = np.array(rows, np.intp)[mine]
        found.append(_Histograms(np.array(bounds)[mine], vector.values[at], vector.present[at]))
    return keys, found


def quantile(q: Values, vector: Vector, warn: Note, info: Note) -> Vector:
    """``histogram_quantile``; ``q[T]`` may differ by step."""
    keys, histograms = grouped(vector, warn)
    if ((q < 0) | (q > 1) | np.isnan(q)).any():
        bad = q[(q < 0) | (q > 1) | np.isnan(q)][0]
        warn(f"quantile value should be between 0 and 1, got {bad:g}")
    return _answer(
        keys, [(_quantile(q, one, info), np.asarray(one.present.any(axis=0))) for one in histograms], len(q)
    )


def fraction(lower: Values, upper: Values, vector: Vector, warn: Note) -> Vector:
    """``histogram_fraction`` of observations between two values ``[T]``."""
    keys, histograms = grouped(vector, warn)
    rows = [(_fraction(lower, upper, one), np.asarray(one.present.any(axis=0))) for one in histograms]
    return _answer(keys, rows, len(lower))


def _answer(keys: Sequence[Labels], rows: Sequence[tuple[Values, np.ndarray]], steps: int) -> Vector:
    if not keys:
        return empty(steps)
    return Vector(list(keys), np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))


def _monotonic(one: _Histograms, info: Note) -> tuple[Values, Values]:
    """Counts with decreases levelled, and by step the count in the +Inf bucket."""
    level = np.full(one.counts.shape[1], np.nan)
    fixed = np.empty(one.counts.shape)
    forced = False
    for place, (counts, present) in enumerate(zip(one.counts, one.present, strict=True)):
        with np.errstate(all="ignore"):
            close = (
                np.abs(counts - level) / np.minimum(np.abs(counts) + np.abs(level), np.finfo(float).max)
                < TOLERANCE
            )
            falls = present & (counts < level) & ~close
            forced |= bool(falls.any())
            level = np.where(present & ~falls & ~close, counts, level)
        fixed[place] = level
    if forced:
        info("input to histogram_quantile needed to be fixed for monotonicity")
    return np.nan_to_num(fixed, nan=0.0), fixed[-1]


def _quantile(q: Values, one: _Histograms, info: Note) -> Values:
    steps = np.arange(one.counts.shape[1])
    if not np.isinf(one.bounds[-1]) or one.bounds[-1] < 0:
        return _edges(q, np.full(len(steps), np.nan))
    counts, total = _monotonic(one, info)
    result = np.empty(len(steps))
    distinct = one.present.sum(axis=0)
    for kind in np.unique(one.present, axis=1).T:  # mostly one: the same buckets at every step
        here = (one.present == kind[:, None]).all(axis=0)
        result[here] = _interpolated(q[here], one.bounds[kind], counts[kind][:, here])
    usable = one.present[-1] & (distinct >= 2) & (total != 0) & ~np.isnan(total)
    return _edges(q, np.where(usable, result, np.nan))


def _edges(q: Values, result: Values) -> Values:
    with np.errstate(invalid="ignore"):
        result = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, result))
    return np.where(np.isnan(q), np.nan, result)


def _interpolated(q: Values, bounds: Values, counts: Values) -> Values:
    if len(bounds) < 2:
        return np.full(len(q), np.nan)
    steps = np.arange(len(q))
    with np.errstate(all="ignore"):
        rank = q * counts[-1]
        place = (counts[:-1] < rank).sum(axis=0)
        below = np.maximum(place - 1, 0)
        begin = np.where(place > 0, bounds[below], 0.0)
        base = np.where(place > 0, counts[below, steps], 0.0)
        inside = begin + (bounds[place] - begin) * ((rank - base) / (counts[place, steps] - base))
    inside = np.where((place == 0) & (bounds[0] <= 0), bounds[0], inside)
    return np.asarray(np.where(place == len(bounds) - 1, bounds[-2], inside), float)


def _fraction(lower: Values, upper: Values, one: _Histograms) -> Values:
    result = np.full(len(lower), np.nan)
    for kind in np.unique(one.present, axis=1).T:
        here = (one.present == kind[:, None]).all(axis=0)
        bounds = one.bounds[kind]
        if not len(bounds) or not np.isposinf(bounds[-1]):
            continue
        counts = one.counts[kind][:, here]
        low = _rank(lower[here], bounds, counts)
        high = _rank(upper[here], bounds, counts)
        with np.errstate(all="ignore"):
            share = np.where(lower[here] >= upper[here], 0.0, (high - low) / counts[-1])
            share = np.where((counts[-1] == 0) | np.isnan(lower[here]) | np.isnan(upper[here]), np.nan, share)
        result[here] = share
    return result


def _rank(value: Values, bounds: Values, counts: Values) -> Values:
    """Observations at or below ``value[T]``, linear within a bucket; none are assumed in an endless one."""
    begins = np.concatenate([[0.0 if bounds[0] > 0 else -np.inf], bounds[:-1]])
    before = np.concatenate([np.zeros((1, len(value))), counts[:-1]])
    rank = counts[-1].copy()
    done = np.zeros(len(value), bool)
    for place, (begin, end) in enumerate(zip(begins, bounds, strict=True)):
        at_edge = ~done & (begin >= value)
        rank = np.where(at_edge, before[place], rank)
        done |= at_edge
        within = ~done & (begin < value) & (end > value)
        with np.errstate(all="ignore"):
            if np.isneginf(begin):
                found = counts[place]
            else:
                found = before[place] + (counts[place] - before[place]) * (value - begin) / (end - begin)
        rank = np.where(within, found, rank)
        done |= within
    return np.asarray(np.minimum(rank, counts[-1]), float)
