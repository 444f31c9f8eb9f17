"""What is computed from all samples of a window: the ``*_over_time`` family, trends and smoothing.

Sums are plain where rounding cannot show (1e-13 of the result) and compensated sample by sample elsewhere.
Source of the compensated forms: prometheus/promql/functions.go; Neumaier 1974.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from poise.adapters.promql.errors import QueryInvalid
from poise.adapters.promql.vectors import Mask, Vector
from poise.adapters.promql.windows import Windows
from poise.model.samples import Instants, Values

LONG = 4  # windows that overlap so often are summed by running sums
PLAIN = 1e-13  # relative rounding up to which a plain sum is taken for exact


def compensated(value: Values, total: Values, lost: Values) -> tuple[Values, Values]:
    """One step of Neumaier's sum: the new total and what rounding lost."""
    made = total + value
    with np.errstate(invalid="ignore"):
        rest = np.where(np.abs(total) >= np.abs(value), (total - made) + value, (value - made) + total)
    return made, np.where(np.isinf(made), 0.0, lost + rest)


def _reduced(windows: Windows, ufunc: np.ufunc, flat: Values) -> Values:
    """``ufunc`` over each window; anything where a window is empty."""
    padded = np.append(flat, 0.0)
    pairs = np.stack([windows.first.ravel(), windows.after.ravel()], axis=1).ravel()
    np.minimum(pairs, len(flat), out=pairs)
    reduced = ufunc.reduceat(padded, pairs)[::2] if len(pairs) else np.empty(0)
    return np.asarray(reduced, float).reshape(windows.first.shape)


def sum_over_time(windows: Windows) -> Vector:
    """Sums, to the last bit that matters."""
    present = windows.counts > 0
    with np.errstate(all="ignore"):
        total, safe = _sums(windows, present)
        total += 0.0  # a sum begins at zero: -0.0 alone becomes 0.0
    _mend(windows, total, present & ~safe, exact_sum)
    return windows.result(total, present)


def avg_over_time(windows: Windows) -> Vector:
    """Means; a sum that overflows becomes a running mean."""
    present = windows.counts > 0
    with np.errstate(all="ignore"):
        total, safe = _sums(windows, present)
        mean = total / windows.counts
    _mend(windows, mean, present & ~safe, exact_mean)
    return windows.result(mean, present)


def _sums(windows: Windows, present: Mask) -> tuple[Values, Mask]:
    if windows.counts.sum() > LONG * len(windows.flat) and np.isfinite(windows.flat).all():
        return _running_sums(windows, present)
    total = _reduced(windows, np.add, windows.flat)
    weight = _reduced(windows, np.add, np.abs(windows.flat))
    error = weight * windows.counts * np.finfo(float).eps
    return total, is_plain(total, weight, error) | ~present


def _running_sums(windows: Windows, present: Mask) -> tuple[Values, Mask]:
    """Sums of long windows as differences of running sums, in extended precision or of whole numbers.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, 4.2: the bound on recursive summation.
    """
    total = np.empty(windows.first.shape)
    safe = np.empty(total.shape, bool)
    for rows, table, low, high in windows.tables():
        weight = np.abs(table).sum(axis=1)
        is_whole = weight.max(initial=0.0) < 2**53 and bool((table == np.rint(table)).all())
        kind: type[np.floating] = np.float64 if is_whole else np.longdouble
        running = np.zeros((len(table), table.shape[1] + 1), kind)
        np.cumsum(table, axis=1, out=running[:, 1:])
        found = (running[:, high] - running[:, low]).astype(np.float64)
        total[rows] = found
        error = 0.0 if is_whole else table.shape[1] * float(np.finfo(kind).eps) * weight[:, None]
        safe[rows] = error <= PLAIN * 8 * np.abs(found)
    return total, safe | ~present


def is_plain(total: Values, weight: Values, error: Values) -> Mask:
    """Whether a plain sum is as good as a compensated one: no cancellation, no overflow."""
    return np.asarray(
        ((error <= PLAIN * 8 * np.abs(total)) & ~np.isinf(weight)) | (weight == 0) | np.isnan(weight)
    )


def _mend(windows: Windows, result: Values, where: Mask, exactly: Callable[[Values], float]) -> None:
    for row, step in np.argwhere(where).tolist():
        result[row, step] = exactly(windows.flat[windows.first[row, step] : windows.after[row, step]])


def _kahan(value: float, total: float, lost: float) -> tuple[float, float]:
    made = total + value
    if math.isinf(made):
        return made, 0.0
    rest = (total - made) + value if abs(total) >= abs(value) else (value - made) + total
    return made, lost + rest


def exact_sum(values: Values) -> float:
    total = lost = 0.0
    for value in values.tolist():
        total, lost = _kahan(value, total, lost)
    return total if math.isinf(total) else total + lost


def exact_mean(values: Values) -> float:
    """Prometheus' mean: the compensated sum while it is finite, a running mean from then on."""
    listed = values.tolist()
    total, lost, mean, running = listed[0], 0.0, 0.0, False
    for count, value in enumerate(listed[1:], 2):
        if not running:
            made, rest = _kahan(value, total, lost)
            if not math.isinf(made):
                total, lost = made, rest
                continue
            running, mean, lost = True, total / (count - 1), lost / (count - 1)
        share = (count - 1) / count
        mean, lost = _kahan(value / count, share * mean, share * lost)
    return mean + lost if running else total / len(listed) + lost / len(listed)


def extreme_over_time(windows: Windows, *, largest: bool) -> Vector:
    """Largest or smallest; NaN only where a window has nothing else."""
    ufunc = np.fmax if largest else np.fmin
    return windows.result(_reduced(windows, ufunc, windows.flat), windows.counts > 0)


def instant_of_extreme(windows: Windows, *, largest: bool) -> Vector:
    """When the newest largest or smallest sample was taken, in seconds."""
    found = _reduced(windows, np.fmax if largest else np.fmin, windows.flat)
    result = np.zeros(windows.first.size)
    flat_found = found.ravel()
    for run, places, inside in windows.pieces():
        values = windows.flat[places]
        want = flat_found[run, None]
        hit = inside & ((values == want) | (np.isnan(values) & np.isnan(want)))
        newest = values.shape[1] - 1 - np.argmax(hit[:, ::-1], axis=1)
        only_nan = np.isnan(flat_found[run])
        newest = np.where(only_nan, inside.sum(axis=1) - 1, newest)
        result[run] = windows.when(places[np.arange(len(places)), np.maximum(newest, 0)]) / 1000.0
    return windows.result(result.reshape(found.shape), windows.counts > 0)


def count_over_time(windows: Windows) -> Vector:
    """How many samples each window has."""
    return windows.result(windows.counts.astype(float), windows.counts > 0)


def present_over_time(windows: Windows) -> Vector:
    """1 where a window has any sample."""
    return windows.result(np.ones(windows.first.shape), windows.counts > 0)


def edge_over_time(windows: Windows, *, last: bool) -> Vector:
    """The first or the last sample; the one function family that keeps the metric's name."""
    place = windows.after - 1 if last else windows.first
    return windows.result(windows.at(place), windows.counts > 0, drop=False)


def instant_of_edge(windows: Windows, *, last: bool) -> Vector:
    """When the first or the last sample was taken, in seconds."""
    place = windows.after - 1 if last else windows.first
    return windows.result(windows.when(place) / 1000.0, windows.counts > 0)


def variance_over_time(windows: Windows, *, root: bool) -> Vector:
    """Population variance, or its square root: Welford's recurrence over the place in the window."""
    result = np.zeros(windows.first.size)
    for run, places, inside in windows.pieces():
        values = windows.flat[places]
        mean, lost, aux, lost_aux = np.zeros((4, len(values)))
        for j in range(values.shape[1]):
            here = inside[:, j]
            with np.errstate(all="ignore"):
                delta = values[:, j] - (mean + lost)
                new_mean, new_lost = compensated(delta / (j + 1), mean, lost)
                mean, lost = np.where(here, new_mean, mean), np.where(here, new_lost, lost)
                new_aux, new_lost_aux = compensated(delta * (values[:, j] - (mean + lost)), aux, lost_aux)
            aux, lost_aux = np.where(here, new_aux, aux), np.where(here, new_lost_aux, lost_aux)
        with np.errstate(all="ignore"):
            variance = (aux + lost_aux) / inside.sum(axis=1)
            result[run] = np.sqrt(variance) if root else variance
    return windows.result(result.reshape(windows.first.shape), windows.counts > 0)


def quantile_over_time(windows: Windows, q: Values) -> Vector:
    """The q-quantile of each window; ``q[T]`` may differ by step. NaN sorts first."""
    result = np.zeros(windows.first.size)
    asked = np.broadcast_to(q, windows.first.shape).ravel()
    for run, places, inside in windows.pieces():
        result[run] = quantiles(windows.flat[places], inside, asked[run])
    return windows.result(result.reshape(windows.first.shape), windows.counts > 0)


def quantiles(values: Values, inside: Mask, q: Values) -> Values:
    """Row-wise quantiles by linear interpolation; ``values``, ``inside`` ``[m, w]``, ``q[m]``."""
    ranked = np.where(inside, np.where(np.isnan(values), -np.inf, values), np.inf)
    missing = (np.isnan(values) & inside).sum(axis=1)
    ranked.sort(axis=1)
    counts = inside.sum(axis=1)
    rows = np.arange(len(values))
    with np.errstate(all="ignore"):
        rank = q * (counts - 1)
        whole = np.floor(rank)
        low = np.clip(np.nan_to_num(whole), 0, np.maximum(counts - 1, 0)).astype(np.intp)
        high = np.minimum(low + 1, np.maximum(counts - 1, 0))
        weight = rank - whole
        lower = np.where(low < missing, np.nan, ranked[rows, low])
        upper = np.where(high < missing, np.nan, ranked[rows, high])
        found = lower * (1 - weight) + upper * weight
    found = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, found))
    return np.where(np.isnan(q) | (counts == 0), np.nan, found)


def mad_over_time(windows: Windows) -> Vector:
    """Median of the distances from the median; NaN where a sample is NaN."""
    result = np.zeros(windows.first.size)
    for run, places, inside in windows.pieces():
        values = windows.flat[places]
        middle = np.full(len(values), 0.5)
        median = quantiles(values, inside, middle)
        with np.errstate(invalid="ignore"):
            found = quantiles(np.abs(values - median[:, None]), inside, middle)
        result[run] = np.where((np.isnan(values) & inside).any(axis=1), np.nan, found)
    return windows.result(result.reshape(windows.first.shape), windows.counts > 0)


def trend(windows: Windows, origin_ms: Instants | None) -> tuple[Values, Values]:
    """Slope (per second) and value at ``origin_ms[T]`` (None: its first sample) by least squares."""
    size = windows.first.size
    slope, intercept = np.zeros(size), np.zeros(size)
    origins = (
        windows.when(windows.first) if origin_ms is None else np.broadcast_to(origin_ms, windows.first.shape)
    )
    for run, places, inside in windows.pieces():
        y = windows.flat[places]
        x = (windows.when(places) - origins.ravel()[run, None]) / 1000.0
        slope[run], intercept[run] = _least_squares(x, y, inside)
    shape = windows.first.shape
    return slope.reshape(shape), intercept.reshape(shape)


def _least_squares(x: Values, y: Values, inside: Mask) -> tuple[Values, Values]:
    sums = np.zeros((4, len(y)))
    lost = np.zeros((4, len(y)))
    with np.errstate(all="ignore"):
        for j in range(y.shape[1]):
            terms = np.stack([x[:, j], y[:, j], x[:, j] * y[:, j], x[:, j] * x[:, j]])
            made, rest = compensated(terms, sums, lost)
            sums, lost = np.where(inside[:, j], made, sums), np.where(inside[:, j], rest, lost)
        n = inside.sum(axis=1)
        sum_x, sum_y, sum_xy, sum_xx = sums + lost
        slope = (sum_xy - sum_x * sum_y / n) / (sum_xx - sum_x * sum_x / n)
        intercept = sum_y / n - slope * sum_x / n
    level = ((y == y[:, :1]) | ~inside).all(axis=1)
    nowhere = np.isinf(y[:, 0])
    slope = np.where(level, np.where(nowhere, np.nan, 0.0), slope)
    return slope, np.where(level, np.where(nowhere, np.nan, y[:, 0]), intercept)


def deriv(windows: Windows) -> Vector:
    """Slope per second."""
    slope, _ = trend(windows, None)
    return windows.result(slope, windows.counts >= 2)


def predict_linear(windows: Windows, at_ms: Instants, ahead_s: Values) -> Vector:
    """The trend's value ``ahead_s[T]`` after each step."""
    slope, intercept = trend(windows, at_ms)
    with np.errstate(all="ignore"):
        return windows.result(slope * ahead_s + intercept, windows.counts >= 2)


def smoothed(windows: Windows, smoothing: Values, trending: Values) -> Vector:
    """Double exponential smoothing (Holt's linear method); both factors ``[T]`` between 0 and 1."""
    for name, factor in (("smoothing", smoothing), ("trend", trending)):
        if ((factor <= 0) | (factor >= 1)).any():
            raise QueryInvalid(
                f"invalid {name} factor. Expected: 0 < {name[0]}f < 1, got: {float(factor[0]):f}"
            )
    result = np.zeros(windows.first.size)
    sf_all = np.broadcast_to(smoothing, windows.first.shape).ravel()
    tf_all = np.broadcast_to(trending, windows.first.shape).ravel()
    for run, places, inside in windows.pieces():
        result[run] = _holt(windows.flat[places], inside, sf_all[run], tf_all[run])
    return windows.result(result.reshape(windows.first.shape), windows.counts >= 2)


def _holt(values: Values, inside: Mask, sf: Values, tf: Values) -> Values:
    level, before = values[:, 0].copy(), np.zeros(len(values))
    slope = values[:, min(1, values.shape[1] - 1)] - values[:, 0]
    with np.errstate(all="ignore"):
        for j in range(1, values.shape[1]):
            here = inside[:, j]
            if j > 1:
                slope = np.where(here, tf * (level - before) + (1 - tf) * slope, slope)
            made = sf * values[:, j] + (1 - sf) * (level + slope)
            before, level = np.where(here, level, before), np.where(here, made, level)
    return level


def has_samples(windows: Windows) -> NDArray[np.bool_]:
    """By step: whether any row has a sample (for ``absent_over_time``)."""
    return np.asarray((windows.counts > 0).any(axis=0))
