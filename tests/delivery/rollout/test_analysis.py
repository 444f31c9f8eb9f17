"""The evidence on a rollout, as people and programs read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.delivery.rollout.test_judging import LATER, NOW, observed, rollout, slow

from poise.delivery.rollout import judging
from poise.delivery.rollout.analysis import analysis, evidence, sentence
from poise.delivery.rollout.sequential import ERRORS, LATENCY
from poise.model.delivery import ALPHA_MAX, RolloutState, Trial


def test_every_metric_has_both_arms_with_bounds() -> None:
    """A number without its uncertainty convinces nobody."""
    found = observed(rollout(), NOW, *slow((0, 0), (1000, 10)))
    found = observed(found, LATER, *slow((0, 0), (1000, 10)))
    found = observed(found, LATER, *slow((500, 100), (5500, 55)))
    said = analysis(found)
    metrics = {one.metric: one for one in said.metrics}
    slower = metrics[LATENCY]
    assert (slower.canary.bad, slower.canary.requests, slower.bound_ms) == (100, 500, 250.0)
    assert slower.canary.low > slower.baseline.high
    assert slower.is_culprit and not metrics[ERRORS].is_culprit
    assert said.e_value >= said.threshold and not said.is_over
    assert sum(one.share for one in said.metrics) == pytest.approx(1.0)


@given(requests=st.integers(0, 5000), bad=st.integers(0, 5000), others=st.integers(0, 5000))
def test_bounds_hold_the_rate_that_was_seen(requests: int, bad: int, others: int) -> None:
    trial = Trial(canary_requests=requests, canary_errors=min(bad, requests), baseline_requests=others)
    for one in analysis(rollout(trial)).metrics:
        for arm in (one.canary, one.baseline):
            assert 0 <= arm.low <= arm.high <= 1
            assert arm.bad_ratio is None or arm.low <= arm.bad_ratio <= arm.high


def test_what_the_event_tells_is_what_the_page_shows() -> None:
    found = rollout(Trial(canary_requests=80, canary_errors=3, baseline_requests=900, baseline_errors=4))
    told = evidence(found, LATER)["metrics"]
    shown = analysis(found).metrics
    assert [(one["metric"], one["canary"], one["query"]) for one in told] == [
        (one.metric, [one.canary.bad, one.canary.requests], one.query) for one in shown
    ]


@pytest.mark.parametrize(
    ("trial", "changes", "said"),
    [
        (Trial(), {}, "no request has reached it yet"),
        (Trial(canary_requests=50, baseline_requests=450), {},
         "0 of 50 canary requests failed against 0 of 450; no harm is shown"),
        (Trial(canary_requests=50, canary_errors=4, baseline_requests=450, e_value=9.0), {},
         "looks worse (evidence 9, 20 rolls it back)"),
        (Trial(canary_requests=50), {"paused": True}, "It is paused."),
        (Trial(canary_requests=50), {"reason": "not yet proven safe"}, "Waits: not yet proven safe."),
        (Trial(), {"state": RolloutState.ROLLED_BACK, "reason": "it failed"}, "Rolled back: it failed"),
        (Trial(), {"state": RolloutState.LIVE, "proven": False}, "Live, unproven: nothing spoke against it."),
    ],
)  # fmt: skip
def test_the_verdict_so_far_is_one_sentence(trial: Trial, changes: dict[str, object], said: str) -> None:
    assert said in sentence(replace(rollout(trial), **changes))


def test_it_is_over_once_it_is_live_or_gone() -> None:
    for state in RolloutState:
        over = analysis(replace(rollout(), state=state)).is_over
        assert over == (state is RolloutState.LIVE or state.is_final), state


def test_a_burdened_budget_finds_harm_sooner_and_asks_for_more_proof() -> None:
    """The same evidence: what is watched on elsewhere goes back, what would be promoted is not proven."""
    harmful = rollout(Trial(canary_requests=50, canary_errors=4, baseline_requests=450, e_value=12.0))
    safe = rollout(Trial(canary_requests=900, baseline_requests=9000, e_value_kept=30.0))
    burdened = replace(harmful, alpha_factor=2.0)
    assert not judging.harm(harmful) and judging.harm(burdened).endswith("e-value 12 >= 10")
    assert "evidence 12, 20 rolls it back" in sentence(harmful)
    assert not judging.unproven(safe, LATER)
    assert "not yet proven safe" in judging.unproven(replace(safe, alpha_factor=2.0), LATER)
    said = analysis(burdened)
    assert (said.threshold, said.threshold_safe, said.alpha, said.alpha_safe) == (10.0, 40.0, 0.1, 0.025)
    assert "tested at alpha 0.1 and safety at 0.025, not 0.05" in said.sentence


@given(declared=st.floats(0.001, 0.499), factor=st.floats(1.0, 4.0))
def test_alpha_is_bounded_and_never_laxer_than_declared(declared: float, factor: float) -> None:
    found = replace(rollout(alpha=declared), alpha_factor=factor)
    assert declared <= found.alpha_harm <= max(declared, ALPHA_MAX)
    assert 0 < found.alpha_safe <= declared
