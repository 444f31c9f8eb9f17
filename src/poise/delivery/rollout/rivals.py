"""How other judges would have decided: their published rules, on the same counts.

Models of the rules as their sources state them, not their programs. They are for comparison alone: nothing
here ever moves a rollout.

Source: spinnaker/kayenta, NetflixACAJudge-v1.0 (Mann-Whitney at 98 %, tolerance 0.25; interval and estimate
of the shift as R's wilcox.test, asymptotic with continuity correction); fluxcd/flagger, scheduler (failed
checks are cumulative, no data fails); argoproj/argo-rollouts, analysis (failureLimit; no data passes where
the user wrote so).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

CONFIDENCE: Final = 0.98
TOLERANCE: Final = 0.25
BISECTIONS: Final = 100
FLAGGER_FAILURES: Final = 5
ARGO_FAILURES: Final = 4  # failureLimit 3: the fourth is one too many
SUCCESS_MIN: Final = 0.99

Floats = NDArray[np.float64]


def mann_whitney(control: Sequence[float], experiment: Sequence[float]) -> str:
    """``pass``, ``high`` (worse), ``low`` or ``nodata`` for the points of one metric, as Kayenta has it.

    >>> mann_whitney([0.01, 0.012, 0.011] * 5, [0.2, 0.22, 0.25] * 5)
    'high'
    """
    y, x = np.asarray(control, dtype=float), np.asarray(experiment, dtype=float)
    if not len(x) or not len(y):
        return "nodata"
    if len(np.unique(np.concatenate([x, y]))) == 1 or (len(x) == len(y) and bool(np.all(x == y))):
        return "pass"
    low_at, high_at = float(x.min() - y.max()), float(x.max() - y.min())
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    low, high, estimate = (_shift(x, y, quantile, low_at, high_at) for quantile in (z, -z, 0.0))
    bound = TOLERANCE * abs(estimate)
    if low > bound:
        return "high"
    return "low" if high < -bound else "pass"


def flagger(requests: Sequence[float], bad: Sequence[float]) -> int | None:
    """The check (from 0) at which it rolls back; None: never. A check without requests fails."""
    return _failed(requests, bad, FLAGGER_FAILURES, silence_fails=True)


def argo(requests: Sequence[float], bad: Sequence[float]) -> int | None:
    """The check (from 0) at which it rolls back; None: never. A check without requests passes."""
    return _failed(requests, bad, ARGO_FAILURES, silence_fails=False)


def _failed(
    requests: Sequence[float], bad: Sequence[float], failures: int, *, silence_fails: bool
) -> int | None:
    failed = 0
    for check, (all_, wrong) in enumerate(zip(requests, bad, strict=True)):
        failed += wrong > (1 - SUCCESS_MIN) * all_ if all_ > 0 else silence_fails
        if failed >= failures:
            return check
    return None


def _shift(x: Floats, y: Floats, quantile: float, low: float, high: float) -> float:
    """Where the standardised rank sum of ``x`` moved down by the shift crosses ``quantile``."""

    def above(shift: float) -> float:
        return _standardised(x - shift, y) - quantile

    if above(low) <= 0:
        return low
    if above(high) >= 0:
        return high
    return _root(above, low, high)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _standardised(x: Floats, y: Floats) -> float:
    """The rank sum of ``x`` among both, centred, corrected for continuity and ties; 0 where all are tied."""
    both = np.concatenate([x, y])
    _, place, counts = np.unique(both, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]
    n, m = len(x), len(y)
    centred = float(ranks[:n].sum()) - n * (n + 1) / 2 - n * m / 2
    ties = float((counts.astype(float) ** 3 - counts).sum()) / ((n + m) * (n + m - 1))
    sigma = float(np.sqrt(n * m / 12 * (n + m + 1 - ties)))
    return (centred - 0.5 * np.sign(centred)) / sigma if sigma > 0 else 0.0
