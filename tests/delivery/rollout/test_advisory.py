"""Means advise: they say what differs, and move nothing."""

from __future__ import annotations

import numpy as np
import pytest

from poise.delivery.rollout.advisory import means
from poise.delivery.rollout.counters import LATENCY_BOUNDS_MS
from poise.model.delivery import Split


def splits(canary_ms: np.ndarray, baseline_ms: np.ndarray) -> list[Split]:
    return [
        Split(
            metric="latency", bound_ms=bound, canary_requests=len(canary_ms),
            canary_bad=int((canary_ms > bound).sum()), baseline_requests=len(baseline_ms),
            baseline_bad=int((baseline_ms > bound).sum()),
        )
        for bound in LATENCY_BOUNDS_MS
    ]  # fmt: skip


def lognormal(median_ms: float, requests: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(np.log(median_ms), 0.8, requests)


def test_a_slower_mean_is_told_with_both_values() -> None:
    found = means(splits(lognormal(60, 2000, 1), lognormal(40, 18_000, 2)))
    assert found is not None and found.e_value > 1000
    assert found.canary_ms == pytest.approx(60 * np.exp(0.32), rel=0.15)
    assert found.baseline_ms == pytest.approx(40 * np.exp(0.32), rel=0.15)


def test_equal_means_are_rarely_told_apart_however_often_one_looks() -> None:
    """Asymptotic, so with room to spare: 100 pairs, twenty looks each."""
    alarms = 0
    for seed in range(100):
        canary, baseline = lognormal(40, 2000, seed), lognormal(40, 18_000, seed + 1000)
        looks = (means(splits(canary[: 100 * k], baseline[: 900 * k])) for k in range(1, 21))
        alarms += any(found is not None and found.e_value >= 20 for found in looks)
    assert alarms <= 5


def test_a_few_requests_say_nothing() -> None:
    assert means([]) is None
    assert means(splits(lognormal(900, 99, 1), lognormal(40, 10_000, 2))) is None


def test_all_the_same_is_no_difference() -> None:
    assert means(splits(np.full(500, 30.0), np.full(500, 30.0))) is None
