"""Silence is no evidence: it is held, extended, or Poise asks both sides itself, apart from users."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.delivery.rollout import world as world_module
from tests.delivery.rollout.test_judging import LATER, NOW, rollout
from tests.delivery.rollout.world import World

from poise.delivery.rollout import judging, silence
from poise.delivery.rollout.analysis import analysis, evidence
from poise.delivery.rollout.sequential import ERRORS, Total
from poise.delivery.rollout.silence import PROBES, PROBES_MIN
from poise.model import event_types
from poise.model.delivery import Probing, RolloutState, Trial
from poise.model.service import OnSilence

S = RolloutState


def quiet(on_silence: OnSilence = OnSilence.PROBE, **strategy: object) -> World:
    """A house that nobody visits, with a canary at its first step."""
    world = World(requests_per_s=0).settled()
    world.release("sha256:b", strategy=replace(world_module.STRATEGY, on_silence=on_silence, **strategy))
    world.until(S.STEPPING, 2)
    return world


def rounds(canary: tuple[int, int], baseline: tuple[int, int]) -> tuple[Total, ...]:
    return tuple(
        Total(rollout=n, epoch="p", trials=asked, failures=bad, metric=PROBES)
        for n, (asked, bad) in ((2, canary), (1, baseline))
    )


def heard(trial: Trial, canary: tuple[int, int], baseline: tuple[int, int]) -> Trial:
    return silence.heard(trial, rounds(canary, baseline), 2, 1, (ERRORS,))


def test_a_canary_that_answers_no_probe_goes_back_although_nobody_visits() -> None:
    """Ready by its health check and dead on the page that counts: no user has to find that out."""
    world = quiet(probe_path="/cart")
    world.deaf = {2}
    found = world.until(S.ROLLED_BACK, 2, limit_s=30)
    assert "probes of GET /cart failed against 0 of" in found.reason
    (told,) = world.told(event_types.ROLLOUT_ROLLING_BACK)
    assert told.data["rule"] == "harm" and told.data["canary_requests"] == 0
    bad, asked = told.data["probes"]["canary"]
    assert bad == asked >= 5 and told.data["errors_burned"] == 0


def test_what_fails_on_both_sides_is_no_evidence_and_no_way_forward() -> None:
    """A probe path that exists nowhere must neither condemn nor promote."""
    world = quiet()
    world.deaf = {1, 2}
    world.run(120)
    found = world.rollouts[2]
    assert found.state is S.STEPPING and found.trial.e_value == 1.0
    assert found.reason.startswith("asks: no request reached either side") and "too little" in found.reason


def test_probes_that_are_answered_well_end_the_silence_and_prove_nothing() -> None:
    world = quiet()
    world.until(S.LIVE, 2)
    assert world.rollouts[2].proven is False
    assert world.rollouts[2].trial.canary_requests == 0
    assert world.rollouts[2].trial.probes.canary >= PROBES_MIN
    assert world.now - world.rollouts[2].started_at >= timedelta(seconds=world_module.STRATEGY.max_bake_s)


@pytest.mark.parametrize(("mode", "bakes"), [(OnSilence.HOLD, 1), (OnSilence.EXTEND, 4)])
def test_without_probes_silence_waits_for_a_person(mode: OnSilence, bakes: int) -> None:
    """However long: nobody's silence says that it is well."""
    world = quiet(mode)
    before_s = int(bakes * world_module.STRATEGY.max_bake_s) - 5
    world.run(before_s - 10)
    assert not world.rollouts[2].reason.startswith("asks:")
    world.run(600)
    assert world.rollouts[2].state is S.STEPPING and world.rollouts[2].trial.probes == Probing()
    assert world.rollouts[2].reason.startswith("asks: no request reached either side")


def test_it_is_asked_only_while_nobody_else_asks() -> None:
    assert silence.is_probed(replace(rollout(), weight_percent=5), NOW)
    visited = replace(rollout(Trial(canary_requests=3, last_request_at=NOW)), weight_percent=5)
    assert not silence.is_probed(visited, NOW)
    assert silence.is_probed(visited, LATER)
    for changes in ({"weight_percent": 0}, {"weight_percent": 100}, {"baseline": None}, {"state": S.LIVE}):
        assert not silence.is_probed(replace(rollout(), **({"weight_percent": 5} | changes)), LATER)
    assert not silence.is_probed(replace(rollout(on_silence=OnSilence.HOLD), weight_percent=5), LATER)


@given(
    asked=st.integers(0, 500),
    bad=st.integers(0, 500),
    others=st.integers(0, 500),
    requests=st.integers(0, 50),
)
def test_probes_never_count_as_users_requests(asked: int, bad: int, others: int, requests: int) -> None:
    """Neither in counts, nor in what a release cost, nor as proof; taken twice they count once."""
    before = heard(Trial(canary_requests=requests, baseline_requests=9), (0, 0), (0, 0))
    after = heard(before, (asked, min(bad, asked)), (asked, min(others, asked)))
    assert heard(after, (asked, min(bad, asked)), (asked, min(others, asked))) == after
    assert (after.canary_requests, after.canary_errors) == (requests, 0)
    assert (after.e_value_safe, after.e_value_kept, after.errors_burned) == (1.0, 1.0, 0.0)
    assert after.probes == Probing(
        canary=asked, canary_bad=min(bad, asked), baseline=asked, baseline_bad=min(others, asked)
    )
    if bad <= others and bad <= asked:
        assert after.e_value <= 1.0 + 1e-9


def test_the_evidence_names_the_probes_apart() -> None:
    trial = heard(heard(Trial(), (0, 0), (0, 0)), (6, 6), (6, 0))
    found = rollout(trial)
    assert "6 of 6 probes of GET / failed against 0 of 6" in analysis(found).sentence
    assert analysis(found).probes.canary_bad == 6
    assert evidence(found, LATER)["probes"] == {"path": "/", "canary": [6, 6], "baseline": [0, 6]}
    assert judging.harm(replace(found, spec=replace(found.spec, strategy=replace(
        found.spec.strategy, latency=False)))).startswith("6 of 6 probes of GET / failed")  # fmt: skip
