"""Means beside the verdict: whether the canary's mean latency differs. It advises and decides nothing.

A mixture sequential probability ratio test of the difference of two means, from the counts per bound that the
latency trial keeps: a request between two bounds counts as their geometric middle. The variance is estimated,
so the test holds for many requests only; and a mean hides what the tail does. Hence advisory.

Source: mSPRT, Johari, Koomen, Pekelis, Walsh 2022 (arXiv 1512.04922).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

from poise.delivery.rollout.split import LOG_LIMIT
from poise.model.delivery import Split

EFFECT_RATIO: Final = 0.1  # the mixture's spread, in standard deviations of the baseline
REQUESTS_MIN: Final = 100  # of each arm; under so many nothing is said
BEYOND: Final = 2.0  # a request above the last bound counts as so many times the bound


class Means(Struct, frozen=True, kw_only=True):
    """Both arms' mean latency, and the e-value of their difference (either way)."""

    canary_ms: float
    baseline_ms: float
    e_value: float


def means(splits: Sequence[Split]) -> Means | None:
    """The means that the latency splits tell; None while they are too few."""
    some = sorted((one for one in splits if one.bound_ms is not None), key=lambda one: one.bound_ms or 0.0)
    if not some or min(some[0].canary_requests, some[0].baseline_requests) < REQUESTS_MIN:
        return None
    bounds = [one.bound_ms or 0.0 for one in some]
    canary = _moments(bounds, some[0].canary_requests, [one.canary_bad for one in some])
    baseline = _moments(bounds, some[0].baseline_requests, [one.baseline_bad for one in some])
    variance = canary[1] / some[0].canary_requests + baseline[1] / some[0].baseline_requests
    spread = EFFECT_RATIO**2 * baseline[1]
    if variance <= 0 or spread <= 0:
        return None
    distance = canary[0] - baseline[0]
    logs = 0.5 * math.log(variance / (variance + spread))
    logs += spread * distance**2 / (2 * variance * (variance + spread))
    return Means(canary_ms=canary[0], baseline_ms=baseline[0], e_value=math.exp(min(LOG_LIMIT, logs)))


def _moments(bounds: Sequence[float], requests: int, slower: Sequence[int]) -> tuple[float, float]:
    """Mean and variance of one arm."""
    above = [requests, *slower]
    counts = [max(0, before - after) for before, after in zip(above, [*slower, 0], strict=True)]
    middles = [bounds[0] / 2]
    middles += [math.sqrt(low * high) for low, high in pairwise(bounds)]
    middles.append(bounds[-1] * BEYOND)
    whole = max(1, sum(counts))
    mean = sum(count * value for count, value in zip(counts, middles, strict=True)) / whole
    square = sum(count * value**2 for count, value in zip(counts, middles, strict=True)) / whole
    return mean, max(0.0, square - mean**2)
