"""The canary against its objective alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.delivery.rollout.absolute import log_e_below, log_incomplete, rate_bounds

ALPHA = 0.05


@pytest.mark.parametrize("a", [0.5, 1.5, 3.5, 40.5])
@pytest.mark.parametrize("b", [0.5, 20.5, 2000.5])
@pytest.mark.parametrize("x", [0.0005, 0.01, 0.4, 0.9])
def test_the_incomplete_beta_is_the_integral_that_defines_it(a: float, b: float, x: float) -> None:
    """Substituting t = u^2 takes the edge off a = 1/2; a fine midpoint rule does the rest."""
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    u = (np.arange(200_000) + 0.5) / 200_000 * math.sqrt(x)
    logs = (2 * a - 1) * np.log(u) + (b - 1) * np.log1p(-(u**2)) - log_beta + math.log(2)
    found = float(np.exp(logs).sum() * math.sqrt(x) / 200_000)
    if found > 1e-12:
        assert log_incomplete(a, b, x) == pytest.approx(math.log(min(found, 1.0)), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_at_the_bound_itself_it_gains_nothing_on_average(rate: float) -> None:
    """A martingale: the mean over all outcomes of n requests at exactly the rate is 1."""
    n = 400
    outcomes = range(n + 1)
    mean = sum(
        math.exp(
            math.lgamma(n + 1) - math.lgamma(x + 1) - math.lgamma(n - x + 1)
            + x * math.log(rate) + (n - x) * math.log1p(-rate) + log_e_below(n, x, rate)
        )
        for x in outcomes
    )  # fmt: skip
    assert mean == pytest.approx(1.0, rel=1e-6)


def test_a_canary_at_the_bound_is_rarely_called_safe_however_often_one_looks() -> None:
    random, runs = np.random.default_rng(7), 400
    bad = np.cumsum(random.binomial(50, 0.01, (runs, 60)), axis=1)
    alarms = sum(
        any(log_e_below(50 * (look + 1), int(x), 0.01) >= math.log(1 / ALPHA) for look, x in enumerate(row))
        for row in bad
    )
    assert alarms / runs <= ALPHA


@pytest.mark.parametrize(("requests", "bad"), [(3000, 0), (5000, 0), (8000, 1)])
def test_no_failure_among_thousands_keeps_three_nines(requests: int, bad: int) -> None:
    """On a service without errors the relative test can never speak; this one does."""
    shown = log_e_below(requests, bad, 0.001) >= math.log(1 / ALPHA)
    assert shown is (requests >= 5000)


@given(st.integers(0, 2000), st.integers(0, 2000), st.floats(0.001, 0.2))
def test_the_bounds_hold_what_was_observed_and_narrow_with_alpha(n: int, x: int, alpha: float) -> None:
    bad = min(n, x)
    low, high = rate_bounds(n, bad, alpha)
    assert 0.0 <= low <= high <= 1.0
    if n:
        assert low <= bad / n <= high
    wide = rate_bounds(n, bad, alpha / 2)
    assert wide[0] <= low + 1e-12 and high <= wide[1] + 1e-12


def test_no_request_says_nothing() -> None:
    assert log_e_below(0, 0, 0.001) == 0.0
    assert rate_bounds(0, 0, ALPHA) == (0.0, 1.0)
