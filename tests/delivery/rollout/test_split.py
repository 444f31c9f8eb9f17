"""The conditional split over many trials at once, and one verdict out of several metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.delivery.rollout.split import (
    HARM_GRID,
    SLOWER_GRID,
    combined,
    culprits,
    e_values,
    gain,
    telling,
    weights,
)

ALPHA = 0.05
arms = st.tuples(st.integers(0, 500), st.integers(0, 50), st.integers(0, 5000), st.integers(0, 50))


@given(st.lists(arms, min_size=1, max_size=6))
def test_many_trials_at_once_are_each_what_they_are_alone(batches: list[tuple[int, int, int, int]]) -> None:
    """The benchmark judges thousands of trials with the very code that judges one."""
    together = gain(HARM_GRID, 1.0, *np.array(batches).T)
    for row, batch in zip(together, batches, strict=True):
        assert row == pytest.approx(gain(HARM_GRID, 1.0, *batch))


def test_the_mean_of_metrics_rejects_a_true_null_at_most_alpha_often() -> None:
    """Optional stopping: five metrics, a look after each of 200 batches, and no extra false alarm."""
    random, runs = np.random.default_rng(20260101), 1000
    names = ["errors", "latency", "a", "b", "c"]
    wealth = {name: np.zeros((runs, len(SLOWER_GRID))) for name in names}
    stopped = np.zeros(runs, dtype=bool)
    for _ in range(200):
        canary, baseline = random.poisson(10, runs), random.poisson(90, runs)
        for name in names:
            bad = (random.binomial(canary, 0.02), random.binomial(baseline, 0.02))
            wealth[name] += gain(SLOWER_GRID, 1.0, canary, bad[0], baseline, bad[1])
        stopped |= combined({name: e_values(wealth[name]) for name in names}, weights(names)) >= 1 / ALPHA
    assert stopped.mean() <= ALPHA


def test_a_metric_without_data_neither_accuses_nor_acquits() -> None:
    shares = weights(["errors", "latency"])
    assert float(combined({"errors": 1.0}, shares)) == 1.0
    assert float(combined({"errors": 30.0}, shares)) == pytest.approx(0.9 * 30 + 0.1)
    assert sum(weights(["errors", "latency", "jobs"]).values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("evidence", "named"),
    [
        ({"errors": 500.0, "latency": 1.0}, ("errors",)),
        ({"errors": 1.0, "latency": 500.0}, ("latency",)),
        ({"errors": 500.0, "latency": 30.0}, ("errors", "latency")),
        ({"errors": 23.0, "latency": 1.0}, ("errors",)),  # none by itself: the strongest is named
    ],
)
def test_the_culprits_are_named(evidence: dict[str, float], named: tuple[str, ...]) -> None:
    """Who is woken wants to know what was worse, not that something was."""
    assert culprits(evidence, ALPHA) == named


def test_slower_by_a_hair_is_no_reason_to_go_back() -> None:
    """With enough traffic every canary differs; only a difference that a user would feel counts."""
    assert float(telling(1e6, 10_000, 1_100, 10_000, 1_000)) == 1.0
    assert float(telling(1e6, 10_000, 1_300, 10_000, 1_000)) == 1e6
    assert float(telling(0.2, 10_000, 1_000, 10_000, 1_000)) == 0.2
