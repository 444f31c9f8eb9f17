"""Differences over windows: rate, increase, delta, irate, idelta, changes, resets.

Source: prometheus/promql/functions.go at 3.x, ``extrapolatedRate``: first the threshold, then the zero point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poise.adapters.promql.vectors import Vector
from poise.adapters.promql.windows import Windows
from poise.model.samples import Values

THRESHOLD = 1.1  # of the average distance: up to here a window is extrapolated to its edge


def extrapolated(windows: Windows, *, is_counter: bool, is_rate: bool) -> Vector:
    """``rate`` (per second), ``increase`` (counter) or ``delta`` (gauge) of each window."""
    owners = windows.owners
    more = owners.high - 1 - owners.low
    first_ms, last_ms = owners.when(owners.low), owners.when(owners.high - 1)
    to_start = (first_ms - windows.start_ms) / 1000.0
    to_end = (windows.end_ms - last_ms) / 1000.0
    with np.errstate(all="ignore"):
        sampled = (last_ms - first_ms) / 1000.0
        average = sampled / more
        threshold = average * THRESHOLD
        half = average / 2
        to_start = np.where(to_start >= threshold, half, to_start)
        to_end = np.where(to_end >= threshold, half, to_end)
        per_s = (windows.end_ms - windows.start_ms) / 1000.0 if is_rate else np.ones(1)
        factor = (sampled + to_start + to_end) / sampled / per_s
        present = owners.spread(more > 0)
        begin = windows.at(windows.first)
        result = windows.at(windows.after - 1) - begin
        if is_counter:
            _correct_resets(windows, result, present)
        made = result * owners.spread(factor)
        if is_counter:
            edges = (sampled, to_start, to_end, np.broadcast_to(per_s, factor.shape))
            _start_at_zero(windows, made, result, begin, edges)
    return windows.result(made, present)


def _start_at_zero(
    windows: Windows, made: Values, result: Values, begin: Values, edges: tuple[Values, ...]
) -> None:
    """A counter is not extrapolated below zero; mends ``made`` where it would be."""
    owners = windows.owners
    sampled, to_start, to_end, per_s = edges
    reach = (
        to_start / sampled * (1 + 1e-9)
    )  # a first, cheap look at who might; who does is told exactly below
    rows, steps = np.nonzero((begin <= result * owners.spread(reach)) & (result > 0) & (begin >= 0))
    if not len(rows):
        return
    owner = np.repeat(np.arange(len(owners.rows)), owners.rows)[rows]
    over = sampled[owner, steps]
    to_zero = over * (begin[rows, steps] / result[rows, steps])
    clamped = to_zero < to_start[owner, steps]
    factor = (over + to_zero + to_end[owner, steps]) / over / per_s[owner, steps]
    rows, steps = rows[clamped], steps[clamped]
    made[rows, steps] = result[rows, steps] * factor[clamped]


def _correct_resets(windows: Windows, result: Values, present: np.ndarray) -> None:
    """Add what each counter had reached before every reset inside the window."""
    flat, bounds = windows.flat, windows.bounds
    if len(flat) < 2:
        return
    fell = np.flatnonzero(flat[1:] < flat[:-1]) + 1
    fell = fell[~np.isin(fell, bounds)]
    if not len(fell):
        return
    row_of = np.searchsorted(bounds, fell, side="right") - 1
    rows, starts = np.unique(row_of, return_index=True)
    lost = flat[fell - 1]  # by fall; summed up within each row
    ends = np.append(starts[1:], len(fell))
    for begin, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - begin > 1:
            np.cumsum(lost[begin:end], out=lost[begin:end])
    for row in rows[~np.isfinite(lost[ends - 1])].tolist():
        _correct_exactly(windows, result, row)
    whole = np.isfinite(lost[ends - 1])
    rows, starts, ends = rows[whole], starts[whole], ends[whole]
    if not len(rows):
        return
    up_to = _lost_before(fell, lost, starts, ends, windows.after[rows])
    up_to -= _lost_before(fell, lost, starts, ends, windows.first[rows] + 1)
    result[rows] += np.where(present[rows], up_to, 0.0)


def _lost_before(
    fell: NDArray[np.intp],
    lost: Values,
    starts: NDArray[np.intp],
    ends: NDArray[np.intp],
    places: NDArray[np.intp],
) -> Values:
    """What each row ``[r, T]`` had lost by falls before these places of ``flat``."""
    at = np.searchsorted(fell, places, side="left")
    at = np.clip(at, starts[:, None], ends[:, None])
    return np.where(at > starts[:, None], np.take(lost, at - 1, mode="clip"), 0.0)


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
