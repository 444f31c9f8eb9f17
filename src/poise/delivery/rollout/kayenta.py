"""How Kayenta's NetflixACAJudge-v1.0 judges: shift, class of a metric, score. For comparison alone.

Follows spinnaker/kayenta a69573b (2025-04-08): MannWhitney.scala, BrentSolver.java,
MannWhitneyClassifier.scala, EffectSizes.scala, WeightedSumScorer.scala. The interval is that of R's
``wilcox.test`` with ``conf.int=TRUE, conf.level=0.98, exact=FALSE, correct=TRUE`` (R 4.2.2), roots by
Brent's zeroin (Algorithms for Minimization without Derivatives, 1973, chapter 4) to 1e-4. That tolerance is
absolute in both: of ratios below a percent it decides, so an exacter root would be another judge.

Where Kayenta departs from R: it leaves the continuity correction in the estimate, which R takes out. Where
all observations are tied at the shift R warns and fails; Kayenta classifies ``error``, which no score
counts.

Where this departs from Kayenta: to arms of one value each Kayenta adds unseeded noise of 1e-5 of the value,
so that chance decides between values that lie no farther apart; here the shift is their difference, and of
single points, which that noise leaves tied up to rounding, always ``error``. Removing outliers (off by
default) and muting are not modelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

CONFIDENCE: Final = 0.98
TOLERANCE: Final = 0.25  # of the estimate, within which a shift is none
ROOT_TOLERANCE: Final = 1e-4
ROOT_STEPS_MAX: Final = 1001
NODATA_MAX: Final = 0.5  # from this share of metrics without data on the score is 0
PASS_SCORE: Final = 95.0  # of Kayenta's own examples (json-formats.md)

Floats = NDArray[np.float64]
Label = Literal["pass", "high", "low", "nodata", "nodata_fails", "error"]


class Shift(Struct, frozen=True, kw_only=True):
    """How far the canary lies above the baseline, in the metric's unit: estimate and confidence interval."""

    low: float
    high: float
    estimate: float


class Metric(Struct, frozen=True, kw_only=True):
    """How one metric is judged; defaults as Kayenta's.

    ``allowed`` and ``critical_from`` are effects: at most the first is low, at least the second high.
    ``None`` stands for 1 and 1 of a mean ratio, for 0.5 and 0.5 of a cles: the share of pairs with a higher
    canary.
    """

    direction: Literal["increase", "decrease", "either"] = "either"
    nan: Literal["remove", "replace"] = "remove"
    effect: Literal["mean_ratio", "cles"] = "mean_ratio"
    allowed: tuple[float, float] | None = None
    critical: bool = False
    critical_from: tuple[float, float] | None = None
    must_have_data: bool = False
    groups: tuple[str, ...] = ("",)


class Classified(Struct, frozen=True, kw_only=True):
    """What one metric was found to be; ``is_critical``: the whole canary fails unless it passed."""

    label: Label
    is_critical: bool = False
    groups: tuple[str, ...] = ("",)


PLAIN: Final = Metric()


def classify(control: Sequence[float], experiment: Sequence[float], metric: Metric = PLAIN) -> Classified:
    """The class of the points (in any order, NaN where there is none) of one metric.

    >>> classify([0.01, 0.012, 0.011] * 5, [0.2, 0.22, 0.25] * 5).label
    'high'
    """
    y, x = (_without_nan(one, metric) for one in (control, experiment))
    if not len(x) or not len(y):
        if metric.nan == "replace":
            return Classified(label="pass", groups=metric.groups)
        if metric.must_have_data and not metric.critical:
            return Classified(label="nodata_fails", groups=metric.groups)
        return Classified(label="nodata", is_critical=metric.critical, groups=metric.groups)
    if np.array_equal(np.sort(x), np.sort(y)) or len(np.unique(np.concatenate([x, y]))) == 1:
        return Classified(label="pass", groups=metric.groups)
    found = shift(x, y)
    if found is None:
        return Classified(label="error", groups=metric.groups)
    bound, effect = TOLERANCE * abs(found.estimate), _effect(x, y, metric)
    label: Label = "pass"
    if found.low > bound and metric.direction != "decrease":
        label = "high"
    elif found.high < -bound and metric.direction != "increase":
        label = "low"
    if not _reaches(effect, label, metric.allowed, metric):
        label = "pass"
    critical = metric.critical and label != "pass" and _reaches(effect, label, metric.critical_from, metric)
    return Classified(label=label, is_critical=critical, groups=metric.groups)


def score(results: Sequence[Classified], weights: Mapping[str, float] | None = None) -> float:
    """0 to 100, to two places. ``weights``: percent by group; those without share what is left of 100."""
    if any(one.is_critical and one.label != "pass" for one in results):
        return 0.0
    if results and sum(one.label == "nodata" for one in results) >= NODATA_MAX * len(results):
        return 0.0
    weights = weights or {}
    by_group: dict[str, list[Label]] = {}
    for one in results:
        for group in one.groups:
            by_group.setdefault(group, []).append(one.label)
    unnamed = [group for group in by_group if group not in weights]
    share = (100 - sum(weights.values())) / len(unnamed) if unnamed else 0.0
    total = sum(
        _group_score(labels) * (weights.get(group, share) / 100) for group, labels in by_group.items()
    )
    return float(Decimal(repr(float(total))).quantize(Decimal("0.01"), ROUND_HALF_UP))


def _group_score(labels: Sequence[Label]) -> float:
    counted = [one for one in labels if one not in ("nodata", "error")]
    return counted.count("pass") / len(counted) * 100 if counted else 100.0


def shift(x: Floats, y: Floats, confidence: float = CONFIDENCE) -> Shift | None:
    """How far ``x`` lies above ``y`` (one or more points each); ``None`` where all are tied at a shift."""
    low_at, high_at = float(x.min() - y.max()), float(x.max() - y.min())
    if np.ptp(x) == np.ptp(y) == 0:
        is_told_apart = any(len(one) > 1 and one[0] != 0 for one in (x, y))  # by Kayenta's noise
        return Shift(low=low_at, high=low_at, estimate=low_at) if is_told_apart else None
    try:
        return _interval(x, y, low_at, high_at, NormalDist().inv_cdf((1 - confidence) / 2))
    except ZeroDivisionError:  # tied in the last bits: values much smaller than the shift
        return None


def _interval(x: Floats, y: Floats, low_at: float, high_at: float, z: float) -> Shift:
    at_low, at_high = _standardised(x - low_at, y), _standardised(x - high_at, y)

    def crossing(quantile: float) -> float:
        """Where the standardised rank sum of ``x``, moved down by the shift, crosses the quantile."""
        first, last = at_low - quantile, at_high - quantile
        if first <= 0:
            return low_at
        if last >= 0:
            return high_at
        return _root(lambda moved: _standardised(x - moved, y) - quantile, low_at, high_at, first, last)

    return Shift(low=crossing(-z), high=crossing(z), estimate=crossing(0.0))


def _without_nan(values: Sequence[float], metric: Metric) -> Floats:
    found = np.asarray(values, dtype=float)
    is_none = np.isnan(found)
    return np.where(is_none, 0.0, found) if metric.nan == "replace" else found[~is_none]


def _effect(x: Floats, y: Floats, metric: Metric) -> float:
    """Mean of ``x`` over that of ``y``, NaN where either is 0; or the share of pairs with a higher ``x``."""
    if metric.effect == "cles":
        return 0.5 + _rank_sum(x, y)[0] / (len(x) * len(y))
    means = float(x.mean()), float(y.mean())
    return means[0] / means[1] if all(means) else float("nan")


def _reaches(effect: float, label: Label, thresholds: tuple[float, float] | None, metric: Metric) -> bool:
    """Is the effect as large as the threshold on its side? Where it is not known (NaN) it is not asked."""
    low, high = thresholds or ((0.5, 0.5) if metric.effect == "cles" else (1.0, 1.0))
    return not (effect < high if label == "high" else effect > low)


def _rank_sum(x: Floats, y: Floats) -> tuple[float, Floats]:
    """The rank sum of ``x`` among both less what is expected; how often each value occurs."""
    _, place, counts = np.unique(np.concatenate([x, y]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    n, m = len(x), len(y)
    return float(ranks[:n].sum()) - n * (n + 1) / 2 - n * m / 2, counts.astype(float)


def _standardised(x: Floats, y: Floats) -> float:
    """The centred rank sum of ``x`` over its deviation, corrected for continuity and ties.

    ``ZeroDivisionError`` where all are tied.
    """
    n, m = len(x), len(y)
    centred, counts = _rank_sum(x, y)
    ties = float((counts**3 - counts).sum())
    sigma = float(np.sqrt((n * m / 12) * ((n + m + 1) - ties / ((n + m) * (n + m - 1)))))
    return float(centred - 0.5 * np.sign(centred)) / sigma


def _root(f: Callable[[float], float], low: float, high: float, at_low: float, at_high: float) -> float:
    """Brent's zeroin: a step of secant or inverse quadratic interpolation where it gains, else half way.

    Of a step function it ends on one side of the jump, within the tolerance: its path is part of the answer.
    """
    if at_low == 0 or at_high == 0:
        return low if at_low == 0 else high
    before, best, across = low, high, low  # the guess before, the best, and the other end of the bracket
    f_before, f_best, f_across = at_low, at_high, at_low
    for _ in range(ROOT_STEPS_MAX):
        last_step = best - before
        if abs(f_across) < abs(f_best):
            before, best, across = best, across, best
            f_before, f_best, f_across = f_best, f_across, f_best
        tolerance = 2 * float(np.finfo(float).eps) * abs(best) + ROOT_TOLERANCE / 2
        bracket = across - best
        step = bracket / 2
        if abs(step) <= tolerance or f_best == 0:
            break
        if abs(last_step) >= tolerance and abs(f_before) > abs(f_best):
            p, q = _interpolated(
                bracket, best - before, f_before, f_best, f_across, is_secant=before == across
            )
            if p < 0.75 * bracket * q - abs(tolerance * q) / 2 and p < abs(last_step * q / 2):
                step = p / q
        if abs(step) < tolerance:
            step = tolerance if step > 0 else -tolerance
        before, f_before = best, f_best
        best += step
        f_best = f(best)
        if f_best * f_across > 0:
            across, f_across = before, f_before
    return best


def _interpolated(
    bracket: float, last: float, f_before: float, f_best: float, f_across: float, *, is_secant: bool
) -> tuple[float, float]:
    """The step as ``p / q`` with ``p`` not negative."""
    s = f_best / f_before
    if is_secant:
        p, q = bracket * s, 1.0 - s
    else:
        t, r = f_before / f_across, f_best / f_across
        p = s * (bracket * t * (t - r) - last * (r - 1.0))
        q = (t - 1.0) * (r - 1.0) * (s - 1.0)
    return (p, -q) if p > 0 else (-p, q)
