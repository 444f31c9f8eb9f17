"""The sequential test: its laws, its rate of false alarms and its power."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.delivery.rollout.sequential import (
    Counts,
    Total,
    advance,
    consume,
    e_value,
    is_harmful,
    is_proven,
    take,
)
from poise.delivery.rollout.split import HARM_GRID, gain
from poise.model.delivery import Trial
from poise.model.service import Strategy

STRATEGY = Strategy()
AT = datetime(2026, 1, 1, tzinfo=UTC)


def log_e(risk: float, null: float, batch: Counts) -> float:
    arms = (batch.canary_requests, batch.canary_errors, batch.baseline_requests, batch.baseline_errors)
    return float(gain([risk], null, *arms)[0])


counts = st.builds(
    Counts,
    canary_requests=st.integers(0, 10_000),
    canary_errors=st.integers(0, 500),
    baseline_requests=st.integers(0, 100_000),
    baseline_errors=st.integers(0, 500),
)


def judged(*batches: Counts) -> Trial:
    trial = Trial()
    for batch in batches:
        trial = advance(trial, batch, STRATEGY)
    return trial


@pytest.mark.parametrize(("share", "errors"), [(0.05, 2), (0.10, 2), (0.25, 3), (0.50, 6)])
def test_a_few_canary_errors_decide_when_the_baseline_has_none(share: float, errors: int) -> None:
    """Low traffic is the most frequent complaint about canaries: counts decide, not time."""
    canary = round(1000 * share)
    exact = Counts(canary_requests=canary, canary_errors=errors, baseline_requests=1000 - canary)
    fewer = Counts(canary_requests=canary, canary_errors=errors - 1, baseline_requests=1000 - canary)
    assert is_harmful(judged(exact), STRATEGY.alpha)
    assert not is_harmful(judged(fewer), STRATEGY.alpha)


@pytest.mark.parametrize(
    "batch",
    [
        Counts(),
        Counts(canary_requests=500, baseline_requests=5000),
        Counts(baseline_requests=5000, baseline_errors=50),
        Counts(canary_requests=50, canary_errors=50),
    ],
)
def test_no_data_is_no_evidence(batch: Counts) -> None:
    """Without requests on both arms, or without an error, nothing is known about the split."""
    trial = judged(batch)
    assert trial.e_value_harm == trial.e_value_safe == 1.0
    assert trial.relative_risk is None
    assert e_value(()) == 1.0


def test_the_same_error_rate_on_both_arms_is_not_harm_but_proves_safety() -> None:
    """A shared incident must not roll a good release back."""
    trial = judged(
        Counts(canary_requests=1000, canary_errors=100, baseline_requests=9000, baseline_errors=900)
    )
    assert not is_harmful(trial, STRATEGY.alpha)
    assert is_proven(trial, STRATEGY.alpha)
    assert trial.relative_risk is not None
    low, high = trial.relative_risk
    assert low < 1.0
    assert high is not None and 1.0 < high < STRATEGY.relative_risk_max


def test_a_harmful_canary_is_never_proven_safe() -> None:
    trial = judged(Counts(canary_requests=1000, canary_errors=200, baseline_requests=9000, baseline_errors=9))
    assert is_harmful(trial, STRATEGY.alpha) and not is_proven(trial, STRATEGY.alpha)
    assert trial.relative_risk is not None
    low, high = trial.relative_risk
    assert 50 < low < 200 and (high is None or high > 100)


@given(st.lists(counts, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_batches_does_not_matter(batches: list[Counts], rng: random.Random) -> None:
    shuffled = list(batches)
    rng.shuffle(shuffled)
    one, other = judged(*batches), judged(*shuffled)
    assert one.log_wealth_harm == pytest.approx(other.log_wealth_harm, abs=1e-6)
    assert one.log_wealth_safe == pytest.approx(other.log_wealth_safe, abs=1e-6)


@given(counts, st.integers(1, 5))
def test_pieces_with_the_same_split_weigh_as_the_whole(batch: Counts, pieces: int) -> None:
    """How often the counters are read must not change the verdict while the weights stay."""
    whole = Counts(
        canary_requests=batch.canary_requests * pieces,
        canary_errors=batch.canary_errors * pieces,
        baseline_requests=batch.baseline_requests * pieces,
        baseline_errors=batch.baseline_errors * pieces,
    )
    assert judged(*[batch] * pieces).log_wealth_harm == pytest.approx(
        judged(whole).log_wealth_harm, rel=1e-9, abs=1e-6
    )


@given(st.lists(counts, max_size=5))
def test_e_values_are_finite_and_never_negative(batches: list[Counts]) -> None:
    """They are stored as JSON, which knows neither infinity nor NaN."""
    trial = judged(*batches, Counts(canary_requests=10**9, canary_errors=10**9, baseline_requests=10**9))
    for value in (trial.e_value_harm, trial.e_value_safe):
        assert math.isfinite(value) and value >= 0
    assert is_harmful(trial, STRATEGY.alpha)


@given(st.sampled_from(HARM_GRID), st.integers(1, 500), st.integers(1, 500), st.integers(1, 12))
def test_under_the_null_a_batch_gains_nothing_on_average(risk: float, n_c: int, n_b: int, x: int) -> None:
    """The heart of validity: E[e] = 1 when errors split as the requests do."""
    share = n_c / (n_c + n_b)
    mean = sum(
        math.comb(x, k)
        * share**k
        * (1 - share) ** (x - k)
        * math.exp(
            log_e(
                risk,
                1.0,
                Counts(canary_requests=n_c, canary_errors=k, baseline_requests=n_b, baseline_errors=x - k),
            )
        )
        for k in range(x + 1)
    )
    assert mean == pytest.approx(1.0, rel=1e-6)


def totals(canary: tuple[float, float], baseline: tuple[float, float], epoch: str = "a") -> list[Total]:
    return [
        Total(rollout=2, epoch=epoch, trials=canary[0], failures=canary[1]),
        Total(rollout=1, epoch=epoch, trials=baseline[0], failures=baseline[1]),
    ]


def test_the_same_totals_twice_change_nothing() -> None:
    seen = totals((50, 2), (1000, 3))
    once = consume(Trial(), seen, 2, 1, STRATEGY, AT)
    assert once.canary_requests == 50
    assert consume(once, seen, 2, 1, STRATEGY, AT + timedelta(seconds=2)) is once


def test_what_the_baseline_answered_before_the_trial_is_not_evidence() -> None:
    """Only concurrent traffic may be compared; the world was different before."""
    trial = consume(Trial(), totals((0, 0), (100_000, 90)), 2, 1, STRATEGY, AT)
    assert (trial.baseline_requests, trial.baseline_errors) == (0, 0)
    trial = consume(trial, totals((10, 1), (100_090, 90)), 2, 1, STRATEGY, AT)
    assert (trial.canary_requests, trial.canary_errors) == (10, 1)
    assert (trial.baseline_requests, trial.baseline_errors) == (90, 0)


def test_the_first_request_is_dated_between_two_readings() -> None:
    """Detection time counts from it: never later than it came, and not from an idle hour before."""
    trial = consume(Trial(), totals((0, 0), (500, 0)), 2, 1, STRATEGY, AT)
    soon, late = AT + timedelta(seconds=3), AT + timedelta(hours=1)
    after = consume(trial, totals((1, 0), (500, 0)), 2, 1, STRATEGY, soon)
    assert after.first_request_at == AT
    after = consume(trial, totals((1, 0), (500, 0)), 2, 1, STRATEGY, late)
    assert after.first_request_at == late - timedelta(seconds=10)


def test_a_restarted_counter_counts_from_zero() -> None:
    """Envoy restarts amid a rollout: its new epoch adds, and nothing is subtracted."""
    trial = consume(Trial(), totals((0, 0), (500, 0)), 2, 1, STRATEGY, AT)
    trial = consume(trial, totals((20, 0), (700, 0)), 2, 1, STRATEGY, AT)
    trial = consume(trial, totals((20, 0), (700, 0)) + totals((5, 1), (60, 0), "b"), 2, 1, STRATEGY, AT)
    assert (trial.canary_requests, trial.canary_errors, trial.baseline_requests) == (25, 1, 260)


def test_errors_read_ahead_of_their_requests_wait_for_them() -> None:
    """Two readings of counters are not one instant; no error may be lost between them."""
    first, consumed = take({"1:a:trials": 0.0, "1:a:failures": 0.0}, totals((1, 3), (10, 0)), 2, 1)
    second, _ = take(consumed, totals((5, 3), (20, 0)), 2, 1)
    assert first.canary_errors == 1 and second.canary_errors == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 100), st.integers(0, 100)), max_size=12))
def test_counters_that_fall_or_repeat_never_count_negative_or_twice(
    readings: list[tuple[str, int, int]],
) -> None:
    trial, highest = Trial(), dict.fromkeys("abc", 0)
    for epoch, trials, failures in readings:
        reading = [Total(rollout=2, epoch=epoch, trials=trials, failures=min(trials, failures))]
        before = trial
        trial = consume(trial, reading, 2, 1, STRATEGY, AT)
        highest[epoch] = max(highest[epoch], trials)
        assert trial.canary_requests >= before.canary_requests
        assert trial.canary_errors >= before.canary_errors
        assert trial.canary_requests == sum(highest.values())


def poisson(rng: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, k, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        k += 1
        product *= rng.random()
    return k


def stopped(rng: random.Random, rates: tuple[float, float], looks: int, shared: float = 0.0) -> int | None:
    """The look at which harm was found; 45 baseline and 5 canary requests on average a look."""
    wealth = [0.0] * len(HARM_GRID)
    for look in range(looks):
        world = shared if looks // 3 <= look < looks // 2 else 0.0
        n_c, n_b = poisson(rng, 5), poisson(rng, 45)
        batch = Counts(
            canary_requests=n_c,
            canary_errors=sum(rng.random() < rates[1] + world for _ in range(n_c)),
            baseline_requests=n_b,
            baseline_errors=sum(rng.random() < rates[0] + world for _ in range(n_b)),
        )
        arms = (batch.canary_requests, batch.canary_errors, batch.baseline_requests, batch.baseline_errors)
        wealth = (gain(HARM_GRID, 1.0, *arms) + wealth).tolist()
        if e_value(wealth) >= 1 / STRATEGY.alpha:
            return look + 1
    return None


@pytest.mark.parametrize(("rate", "shared"), [(0.005, 0.0), (0.02, 0.0), (0.01, 0.3)])
def test_good_releases_are_rolled_back_at_most_alpha_often(rate: float, shared: float) -> None:
    """A/A runs with a look after every batch: peeking is free, and a shared incident is nobody's fault."""
    rng, runs = random.Random(20260101), 400
    alarms = sum(stopped(rng, (rate, rate), 60, shared) is not None for _ in range(runs))
    margin = 3 * math.sqrt(STRATEGY.alpha * (1 - STRATEGY.alpha) / runs)
    assert alarms / runs <= STRATEGY.alpha + margin


def test_one_in_five_failing_is_caught_within_a_few_canary_requests() -> None:
    """20 % against 0.1 % at a tenth of the traffic: half of the runs stop within four looks."""
    rng = random.Random(7)
    looks = sorted(stopped(rng, (0.001, 0.2), 60) or 10**6 for _ in range(200))
    assert looks[len(looks) // 2] <= 4
    assert looks[-1] <= 60


@settings(max_examples=30)
@given(st.floats(0.005, 0.2), st.floats(1.5, 10.0))
def test_a_lower_alpha_never_decides_earlier(alpha: float, factor: float) -> None:
    trial = judged(Counts(canary_requests=100, canary_errors=3, baseline_requests=900, baseline_errors=1))
    if is_harmful(trial, alpha / factor):
        assert is_harmful(trial, alpha)


def test_requests_that_trickle_in_are_one_batch() -> None:
    """At half a request a second every reading finds one arm silent; alone it would tell nothing."""
    trial = consume(Trial(), totals((0, 0), (0, 0)), 2, 1, STRATEGY, AT)
    for second in range(1, 31):
        arms = ((second // 10, second // 10), (second * 2, 0))
        trial = consume(trial, totals(*arms), 2, 1, STRATEGY, AT + timedelta(seconds=2 * second))
    assert (trial.canary_requests, trial.canary_errors, trial.baseline_requests) == (3, 3, 60)
    assert is_harmful(trial, STRATEGY.alpha) and trial.pending == (1, 1, 20, 0)


def test_a_change_of_weights_closes_the_batch() -> None:
    """Requests of before and after have other shares; mixed they would tell something false."""
    trial = consume(Trial(), totals((0, 0), (0, 0)), 2, 1, STRATEGY, AT)
    trial = consume(trial, totals((2, 2), (18, 0)), 2, 1, STRATEGY, AT)
    assert trial.e_value_harm == 1.0 and trial.pending == (2, 2, 18, 0)
    closed = consume(trial, totals((2, 2), (18, 0)), 2, 1, STRATEGY, AT, closes=True)
    assert is_harmful(closed, STRATEGY.alpha) and not any(closed.pending)
    assert consume(closed, totals((2, 2), (18, 0)), 2, 1, STRATEGY, AT, closes=True) is closed
