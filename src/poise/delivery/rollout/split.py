"""The conditional split: how the bad requests of one batch divide between two arms, as evidence.

In one batch the canary had ``N_c`` requests with ``x_c`` bad and the concurrent baseline ``N_b`` with
``x_b``. Given the exposures and the sum of the bad, their split tells the relative risk RR apart from the
null ``r0``, whatever the rate itself does between batches:

    ln e(r) = x_c ln(r / r0) - (x_c + x_b) ln((r N_c + N_b) / (r0 N_c + N_b))
    E = mean over the grid of exp(sum over batches of ln e(r_j));   decide when E >= 1 / alpha

"Bad" is a failed request, one slower than a bound, or what an objective counts as bad. By Ville's
inequality a null that holds is rejected at any time with probability at most alpha. That is exact for
Poisson counts and conservative for r0 = 1 on Bernoulli requests; a null above 1 leans on the bad being rare.
Where one arm had no request, or nothing was bad, the evidence does not move.

Everything takes arrays: any number of trials at once, the grid as the last axis.

Source: Lindon & Malek 2022 (anytime-valid inference for counts), Hoeffding 1963, Ville 1939; weighted mean
of e-values: Vovk & Wang 2021; e-BH: Wang & Ramdas 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

GRID_NEAR: Final = 1.25  # nearest alternative, as a multiple of the null
GRID_FAR: Final = 100.0
GRID_POINTS: Final = 20
SLOWER_FAR: Final = 20.0
SLOWER_POINTS: Final = 6
LOG_LIMIT: Final = 690.0  # exp of it is still a finite float, so an e-value is always a JSON number


def log_spaced(low: float, high: float, points: int) -> tuple[float, ...]:
    """``points`` numbers from ``low`` to ``high``, ascending, each the same multiple of the one before."""
    return tuple(low * (high / low) ** (i / (points - 1)) for i in range(points))


HARM_GRID: Final = log_spaced(GRID_NEAR, GRID_FAR, GRID_POINTS)
SLOWER_GRID: Final = log_spaced(GRID_NEAR, SLOWER_FAR, SLOWER_POINTS)
WEIGHTS: Final[Mapping[str, float]] = {"errors": 9.0, "latency": 1.0}  # any other metric: OTHER_WEIGHT
OTHER_WEIGHT: Final = 3.0
BATCH_REQUESTS: Final = 40  # of both arms; a smaller batch mostly has one arm silent, which tells nothing


def gain(
    grid: Sequence[float],
    null: float,
    canary: ArrayLike,
    canary_bad: ArrayLike,
    baseline: ArrayLike,
    baseline_bad: ArrayLike,
) -> Floats:
    """``ln e`` of one batch per grid point: shape of the counts (which broadcast) plus ``len(grid)``.

    >>> [float(round(x, 1)) for x in np.exp(gain([10.0], 1.0, 10, 2, 90, 0))]
    [27.7]
    """
    n_c, x_c, n_b, x_b = (
        np.asarray(one, dtype=float)[..., None] for one in (canary, canary_bad, baseline, baseline_bad)
    )
    bad = x_c + x_b
    known = (n_c > 0) & (n_b > 0) & (bad > 0)
    n_c, n_b = np.where(known, n_c, 1.0), np.where(known, n_b, 1.0)
    risks = np.asarray(grid)
    exposure = np.log((risks * n_c + n_b) / (null * n_c + n_b))
    return np.where(known, x_c * np.log(risks / null) - bad * exposure, 0.0)


def is_full(canary: ArrayLike, baseline: ArrayLike) -> NDArray[np.bool_]:
    """Whether a batch has requests enough to be closed. It never depends on how many were bad."""
    return np.asarray(np.add(canary, baseline) >= BATCH_REQUESTS)


def log_mean(wealth: ArrayLike) -> Floats:
    """ln of the mean of the exponentials over the last axis, without leaving the range of floats."""
    logs = np.asarray(wealth, dtype=float)
    top = logs.max(axis=-1, keepdims=True)
    found: Floats = top[..., 0] + np.log(np.exp(logs - top).mean(axis=-1))
    return found


def e_values(wealth: ArrayLike) -> Floats:
    """The mixtures' e-values: means over the grid, the last axis; finite whatever the wealth."""
    found: Floats = np.exp(np.minimum(LOG_LIMIT, log_mean(wealth)))
    return found


def telling(
    e_value: ArrayLike, canary: ArrayLike, canary_bad: ArrayLike, baseline: ArrayLike, baseline_bad: ArrayLike
) -> Floats:
    """The e-value of "slower", at most 1 while the observed share of slow requests is not worth stopping for.

    With enough traffic a canary that is slower by a hair is surely slower; nobody wants it back for that.
    Taking evidence away never makes a false alarm.
    """
    n_c, x_c, n_b, x_b = (
        np.asarray(one, dtype=float) for one in (canary, canary_bad, baseline, baseline_bad)
    )
    large = x_c * n_b >= GRID_NEAR * x_b * n_c
    value = np.asarray(e_value, dtype=float)
    return np.where(large, value, np.minimum(value, 1.0))


def weights(metrics: Sequence[str]) -> dict[str, float]:
    """The share of each of the metrics that a release is judged by; fixed before the first request.

    >>> weights(["errors", "latency"])
    {'errors': 0.9, 'latency': 0.1}
    """
    sizes = {name: WEIGHTS.get(name, OTHER_WEIGHT) for name in metrics}
    whole = sum(sizes.values())
    return {name: size / whole for name, size in sizes.items()}


def combined(e_by_metric: Mapping[str, ArrayLike], shares: Mapping[str, float]) -> Floats:
    """One e-value out of several metrics': their weighted mean; a metric without any counts as 1."""
    parts = [share * np.asarray(e_by_metric.get(name, 1.0), dtype=float) for name, share in shares.items()]
    found: Floats = np.sum(np.stack(np.broadcast_arrays(*parts)), axis=0) if parts else np.asarray(1.0)
    return found


def culprits(e_by_metric: Mapping[str, float], alpha: float) -> tuple[str, ...]:
    """Which metrics are to blame, largest evidence first: those that e-BH rejects, else the strongest alone.

    Source: e-BH, Wang & Ramdas 2022: of K, the largest k with the k-th largest e-value >= K / (k alpha).
    """
    ordered = sorted(e_by_metric, key=lambda name: (-e_by_metric[name], name))
    enough = [k for k, name in enumerate(ordered, 1) if e_by_metric[name] * k * alpha >= len(ordered)]
    return tuple(ordered[: max(enough, default=1)])


def interval(log_likelihood: Sequence[float], alpha: float) -> tuple[int, int]:
    """First and last place of the grid that the two-sided mixture does not reject at ``alpha``."""
    bar = float(log_mean(log_likelihood)) - math.log(1 / alpha)
    inside = [i for i, value in enumerate(log_likelihood) if value > bar]
    return inside[0], inside[-1]
