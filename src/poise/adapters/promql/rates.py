"""Differences over windows: rate, increase, delta, irate, idelta, changes, resets.

Source: prometheus/promql/functions.go at 3.x, ``extrapolatedRate``: first the threshold, then the zero point.
"""

from __future__ import annotations

import numpy as np

from poise.adapters.promql.vectors import Vector
from poise.adapters.promql.windows import Windows
from poise.model.samples import Values

THRESHOLD = 1.1  # of the average distance: up to here a window is extrapolated to its edge


def extrapolated(windows: Windows, *, is_counter: bool, is_rate: bool) -> Vector:
    """``rate`` (per second), ``increase`` (counter) or ``delta`` (gauge) of each window."""
    first, last = windows.first, windows.after - 1
    more = last - first
    present = more > 0
    result = windows.at(last) - windows.at(first)
    if is_counter:
        _correct_resets(windows, result, present)
    first_ms, last_ms = windows.when(first), windows.when(last)
    to_start = (first_ms - windows.start_ms) / 1000.0
    to_end = (windows.end_ms - last_ms) / 1000.0
    with np.errstate(all="ignore"):
        sampled = (last_ms - first_ms) / 1000.0
        average = sampled / more
        threshold = average * THRESHOLD
        half = average / 2
        to_start = np.where(to_start >= threshold, half, to_start)
        if is_counter:
            begin = windows.at(first)
            to_zero = sampled * (begin / result)
            to_start = np.where((result > 0) & (begin >= 0) & (to_zero < to_start), to_zero, to_start)
        to_end = np.where(to_end >= threshold, half, to_end)
        factor = (sampled + to_start + to_end) / sampled
        if is_rate:
            factor = factor / ((windows.end_ms - windows.start_ms) / 1000.0)
        result = result * factor
    return windows.result(result, present)


def _correct_resets(windows: Windows, result: Values, present: np.ndarray) -> None:
    """Add what each counter had reached before every reset inside the window."""
    flat, bounds = windows.flat, windows.bounds
    if len(flat) < 2:
        return
    fell = np.flatnonzero(flat[1:] < flat[:-1]) + 1
    fell = fell[~np.isin(fell, bounds)]
    if not len(fell):
        return
    for row in np.unique(np.searchsorted(bounds, fell, side="right") - 1).tolist():
        begin, end = int(bounds[row]), int(bounds[row + 1])
        values = flat[begin:end]
        lost = np.zeros(len(values) + 1)
        np.cumsum(np.where(values[1:] < values[:-1], values[:-1], 0.0), out=lost[2:])
        if np.isfinite(lost[-1]):
            last = np.clip(windows.after[row] - begin, 1, len(values))
            after_first = np.clip(windows.first[row] - begin + 1, 1, len(values))
            result[row] += np.where(present[row], lost[last] - lost[after_first], 0.0)
        else:
            _correct_exactly(windows, result, row)


def _correct_exactly(windows: Windows, result: Values, row: int) -> None:
    """Window by window, since an infinite value would spread through the running sum."""
    for step in range(result.shape[1]):
        values = windows.flat[windows.first[row, step] : windows.after[row, step]]
        if len(values) > 1:
            result[row, step] += values[:-1][values[1:] < values[:-1]].sum()


def instant_difference(windows: Windows, *, is_rate: bool) -> Vector:
    """``irate`` (per second) or ``idelta`` from each window's last two samples."""
    last, before = windows.after - 1, windows.after - 2
    newest, older = windows.at(last), windows.at(before)
    apart = windows.when(last) - windows.when(before)
    present = (windows.counts >= 2) & (apart != 0)
    result = newest - older
    if is_rate:
        result = np.where(newest < older, newest, result)
        with np.errstate(all="ignore"):
            result = result / (apart / 1000.0)
    return windows.result(result, present)


def transitions(windows: Windows, *, only_falls: bool) -> Vector:
    """``changes`` or ``resets``: how often the value changed, or fell, within each window."""
    flat = windows.flat
    moved = np.zeros(len(flat) + 1, np.int64)
    if len(flat) > 1:
        now, before = flat[1:], flat[:-1]
        turned = now < before if only_falls else (now != before) & ~(np.isnan(now) & np.isnan(before))
        np.cumsum(turned, out=moved[2:])
    counts = windows.counts
    last = np.clip(windows.after, 0, len(flat))
    begin = np.clip(windows.first + 1, 0, len(flat))
    return windows.result((moved[last] - moved[begin]).astype(float), counts > 0)
