"""A rollout from release to live or back, against a world that keeps the fleet's rules."""

from __future__ import annotations

import importlib.util
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.delivery.rollout.decide import decide
from poise.model import event_types
from poise.model.balance import Verdict, VerdictKind
from poise.model.delivery import ChangeClass, Rollout, RolloutState, Verb
from poise.model.service import Replicas

_spec = importlib.util.spec_from_file_location("rollout_world", Path(__file__).with_name("world.py"))
assert _spec is not None and _spec.loader is not None
world_module = sys.modules["rollout_world"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(world_module)
World, go, hold, verdict = (
    world_module.World, world_module.go, world_module.hold, world_module.verdict,
)  # fmt: skip
S = RolloutState


def test_a_first_release_goes_straight_to_all_users() -> None:
    """There is nothing to compare it with and no one to share with."""
    world = World().settled()
    assert world.weights_seen == [(1, 100)]
    assert world.route.acked == {1: 100}
    [event] = world.told(event_types.SERVICE_DEPLOYED)
    assert event.subject == "acme/production/shop/000001"
    assert world.rollouts[1].proven is None


def test_a_good_release_takes_its_steps_and_replaces_the_old_one() -> None:
    world = World().settled()
    world.release("sha256:b")
    world.until(S.LIVE, 2)
    assert [w for n, w in world.weights_seen if n == 2] == [5, 20, 50, 100]
    assert world.rollouts[1].state is S.RETIRED
    assert world.rollouts[2].proven is False
    [event] = world.told(event_types.SERVICE_UPGRADED)
    assert "unproven" in event.summary


def test_errors_on_both_arms_prove_the_canary_safe_before_the_longest_bake() -> None:
    """The mirror test needs errors: with them it promotes earlier, and says so."""
    world = World(requests_per_s=1000).settled()
    world.errors = {1: 0.05, 2: 0.05}
    world.release("sha256:b")
    world.until(S.LIVE, 2)
    assert world.rollouts[2].proven is True
    assert "proven safe" in world.told(event_types.SERVICE_UPGRADED)[0].summary


def test_a_bad_release_is_rolled_back_with_its_numbers_and_its_digest_remembered() -> None:
    world = World().settled()
    world.errors = {2: 0.2}
    world.release("sha256:bad")
    world.until(S.ROLLED_BACK, 2)
    assert world.route.acked == {1: 100}
    [event] = world.told(event_types.ROLLOUT_ROLLING_BACK)
    data = event.data
    assert data["rule"] == "harm"
    assert data["e_value"] >= 20 and data["canary_errors"] >= 2
    assert data["detected_after_s"] <= 15
    assert data["relative_risk"][0] > 1
    world.release("sha256:bad")
    world.run(30)
    assert list(world.rollouts) == [1, 2]
    [rejected] = world.told(event_types.RELEASE_REJECTED)
    assert rejected.data["rejected_by"] == 2
    world.order(Verb.DEPLOY, release=3)
    world.errors = {}
    assert world.until(S.LIVE, 3).release == 3


def test_the_trial_counts_only_concurrent_baseline_traffic() -> None:
    world = World().settled()
    world.run(50)
    world.release("sha256:b")
    rollout = world.until(S.STEPPING, 2)
    world.run(3)
    trial = world.rollouts[2].trial
    assert trial.baseline_requests <= 400
    assert rollout.baseline == 1


def test_the_same_revision_needs_no_rollout_but_its_replicas_count_is_taken_over() -> None:
    world = World().settled()
    world.release("sha256:a", replicas=Replicas(min=3, max=4))
    world.run(3)
    assert list(world.rollouts) == [1]
    assert world.rollouts[1].replicas == 3
    assert len(world.told(event_types.RELEASE_UNCHANGED)) == 1


def test_the_same_digest_with_another_environment_is_another_revision() -> None:
    world = World().settled()
    world.release("sha256:a", env={"COLOUR": "green"})
    world.until(S.LIVE, 2)


def test_a_held_release_waits_says_so_once_and_goes_when_the_gate_opens() -> None:
    """Liveness: budget back means that a waiting release starts, without anyone's hand."""
    world = World().settled()
    world.gate = hold
    world.release("sha256:b")
    world.run(60)
    assert world.rollouts[2].state is S.WAITING
    assert world.rollouts[2].ask.n >= 5
    assert len(world.told(event_types.ROLLOUT_HELD)) == 1
    world.gate = go
    world.run(11)
    assert world.rollouts[2].state is S.STEPPING


def test_an_override_is_asked_for_at_once() -> None:
    world = World().settled()
    world.gate = hold
    world.release("sha256:b")
    world.run(2)
    world.gate = go
    world.override_at = world.now
    world.run(2)
    assert world.rollouts[2].state is S.STEPPING


def test_a_hold_amid_a_rollout_keeps_the_weight() -> None:
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(2)
    world.gate = hold
    world.run(60)
    assert world.route.acked[2] == 5
    assert world.rollouts[2].reason.startswith("hold:")
    world.gate = go
    world.until(S.LIVE, 2)


def test_a_slow_verdict_makes_smaller_steps_and_longer_bakes() -> None:
    def slow(world: World, rollout: Rollout) -> Verdict:
        return verdict(world, rollout, VerdictKind.SLOW, steps_percent=(2, 5, 10, 25, 50), bake_factor=2.0)

    world = World().settled()
    world.gate = slow
    world.release("sha256:b")
    world.until(S.LIVE, 2, limit_s=400)
    assert [w for n, w in world.weights_seen if n == 2] == [2, 5, 10, 25, 50, 100]
    steps = [e for e in world.told(event_types.ROLLOUT_STEPPED) if e.data["rollout"] == 2]
    assert all(event.data["bake_factor"] == 2.0 for event in steps)


def test_the_first_step_is_capped_by_the_budget_left() -> None:
    def capped(world: World, rollout: Rollout) -> Verdict:
        return verdict(world, rollout, max_weight_percent=3 if rollout.ask.step == 1 else 100)

    world = World(requests_per_s=400).settled()
    world.gate = capped
    world.release("sha256:b")
    world.until(S.LIVE, 2)
    assert [w for n, w in world.weights_seen if n == 2] == [3, 5, 20, 50, 100]


def test_no_traffic_is_no_evidence_and_no_step() -> None:
    """Others advance when traffic stops; silence proves nothing."""
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.requests_per_s = 0
    world.run(100)
    assert world.route.acked[2] == 5
    assert "canary requests" in world.rollouts[2].reason
    world.requests_per_s = 100
    world.until(S.LIVE, 2)


def test_no_step_goes_forward_on_old_counters() -> None:
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(4)
    world.look()
    later = decide(world.seen(), world.now + timedelta(seconds=31))
    [write] = later.writes
    assert isinstance(write.body, Rollout)
    assert write.body.reason == "no counters in the last 30 s"
    assert write.body.weight_percent == 5


def test_a_release_that_never_becomes_ready_fails_without_traffic() -> None:
    world = World().settled()
    world.boots = {"sha256:b"}
    world.release("sha256:b")
    failed = world.until(S.FAILED, 2)
    assert failed.reason.startswith("0 of 1 replicas were ready after ")
    assert failed.reason.endswith(" s; 1 run, and fail GET / on $PORT")
    assert world.weights_seen == [(1, 100)]
    world.run(30)
    assert list(world.rollouts) == [1, 2]


def test_a_crash_loop_fails_before_the_time_out() -> None:
    world = World().settled()
    world.boots = world.crashes = {"sha256:b"}
    world.release("sha256:b")
    world.run(3)
    assert world.rollouts[2].state is S.FAILED
    assert world.told(event_types.ROLLOUT_FAILED)[0].data["rule"] == "crash_loop"
    assert world.rollouts[2].reason.endswith("the last end: exit code 127 (its command is not there)")


def test_a_canary_whose_replicas_all_die_is_rolled_back() -> None:
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(2)
    world.replicas = {k: replace(r, ready=r.rollout != 2) for k, r in world.replicas.items()}
    world.until(S.ROLLED_BACK, 2, limit_s=15)
    assert world.told(event_types.ROLLOUT_ROLLING_BACK)[0].data["rule"] == "unready"


def test_a_newer_release_supersedes_one_that_waits_and_waits_for_one_under_way() -> None:
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.release("sha256:c")
    world.run(2)
    world.release("sha256:d")
    world.run(2)
    assert [world.rollouts[n].state for n in (2, 3, 4)] == [S.STEPPING, S.SUPERSEDED, S.WAITING]
    world.until(S.LIVE, 4)
    assert world.rollouts[2].state is S.RETIRED


def test_all_replicas_stand_before_half_of_the_traffic_comes() -> None:
    world = World().settled()
    world.release("sha256:b")
    for _ in range(60):
        world.tick()
        if world.route.acked.get(2, 0) >= 50:
            break
        if world.route.acked.get(2, 0) in (5,):
            assert world.rollouts[2].replicas == 1
    assert world.rollouts[2].replicas == 2


def test_a_verdict_that_grew_old_unused_is_asked_again() -> None:
    """Envoy was away: the permission must be fresh when the weight rises."""
    world = World().settled()
    world.acks = False
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(3)
    before = world.rollouts[2].ask.n
    world.run(60)
    assert world.rollouts[2].ask.n > before
    world.acks = True
    world.until(S.LIVE, 2)


def test_a_gate_that_opened_and_closed_before_the_weight_rose_keeps_it_down() -> None:
    world = World().settled()
    world.acks = False
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(2)
    world.gate = hold
    world.run(31)
    world.acks = True
    world.run(30)
    assert world.route.acked == {1: 100}


@pytest.mark.parametrize("wrong", [{"digest": "sha256:other"}, {"step": 9}])
def test_a_verdict_for_another_digest_or_step_allows_nothing(wrong: dict[str, object]) -> None:
    world = World().settled()
    world.gate = lambda world, rollout: verdict(world, rollout, **wrong)
    world.release("sha256:b")
    world.run(30)
    assert world.rollouts[2].state is S.WAITING


def test_a_rollback_is_over_only_when_envoy_has_confirmed_it() -> None:
    """Until then users may still reach the canary, so its replicas must stay."""
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(2)
    world.acks = False
    world.order(Verb.ABORT)
    world.run(20)
    assert world.rollouts[2].state is S.ROLLING_BACK
    world.route = replace(world.route, weights={1: 100}, acked={1: 100}, version=9, acked_version=8)
    world.run(1)
    assert world.rollouts[2].state is S.ROLLING_BACK
    world.route = replace(world.route, acked_version=9)
    world.run(1)
    assert world.rollouts[2].state is S.ROLLED_BACK


def test_each_step_needs_requests_of_its_own() -> None:
    """Traffic that stops after a step proves nothing about the next."""
    world = World(requests_per_s=40).settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    while world.route.acked.get(2) != 20:
        world.run(1)
    world.requests_per_s = 0
    world.run(60)
    assert world.route.acked[2] == 20
    assert world.rollouts[2].reason.startswith("fewer than 10 canary requests at 20 %")


def test_a_rarely_visited_service_goes_on_unproven_after_max_bake() -> None:
    """Three requests in half an hour are all there will be; they did not fail."""
    world = World(requests_per_s=1).settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.until(S.LIVE, 2)
    assert world.rollouts[2].proven is False


def test_a_service_without_visitors_is_promoted_unproven_after_max_bake() -> None:
    """Staging often has no traffic at all; a release that can never be judged must not wait for ever."""
    world = World(requests_per_s=0).settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(20)
    assert world.rollouts[2].state is S.STEPPING
    world.until(S.LIVE, 2)
    assert world.rollouts[2].proven is False
    assert world.now - world.rollouts[2].started_at >= timedelta(seconds=world_module.STRATEGY.max_bake_s)


# -- orders -------------------------------------------------------------------------------------------


def test_a_rollback_order_aborts_what_is_under_way() -> None:
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(2)
    world.order(Verb.ROLLBACK)
    world.until(S.ROLLED_BACK, 2, limit_s=5)
    world.run(20)
    assert list(world.rollouts) == [1, 2] and world.rollouts[1].state is S.LIVE


def test_a_rollback_order_brings_the_former_release_back_straight_and_rejects_the_live_one() -> None:
    world = World().settled()
    world.release("sha256:b")
    world.until(S.LIVE, 2)
    world.order(Verb.ROLLBACK)
    back = world.until(S.LIVE, 3, limit_s=10)
    assert (back.digest, back.change_class, back.order) == ("sha256:a", ChangeClass.ROLLBACK, 1)
    assert [w for n, w in world.weights_seen if n == 3] == [100]
    assert world.rollouts[2].state is S.ROLLED_BACK
    world.release("sha256:b")
    world.run(20)
    assert list(world.rollouts) == [1, 2, 3]


def test_a_rollback_with_nothing_before_is_refused_once() -> None:
    world = World().settled()
    world.order(Verb.ROLLBACK)
    world.run(5)
    [event] = world.told(event_types.ORDER_REFUSED)
    assert "no earlier" in event.summary


def test_promote_skips_the_analysis_but_not_the_gate() -> None:
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(2)
    world.gate = hold
    world.order(Verb.PROMOTE)
    world.run(12)
    assert world.route.acked[2] == 5
    world.gate = go
    world.until(S.LIVE, 2, limit_s=15)
    assert [w for n, w in world.weights_seen if n == 2] == [5, 100]


def test_pause_stops_steps_but_not_the_judge() -> None:
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(2)
    world.order(Verb.PAUSE)
    world.run(60)
    assert world.route.acked[2] == 5
    world.errors = {2: 0.5}
    world.until(S.ROLLED_BACK, 2, limit_s=20)


def test_resume_goes_on() -> None:
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.order(Verb.PAUSE)
    world.run(20)
    world.order(Verb.RESUME)
    world.until(S.LIVE, 2)


@pytest.mark.parametrize("verb", [Verb.ABORT, Verb.PAUSE, Verb.RESUME, Verb.PROMOTE])
def test_an_order_about_nothing_is_refused_once(verb: Verb) -> None:
    world = World().settled()
    world.order(verb)
    world.run(5)
    assert len(world.told(event_types.ORDER_REFUSED)) == 1
    assert world.rollouts[1].state is S.LIVE


def test_orders_from_before_the_first_rollout_are_void() -> None:
    world = World()
    world.order(Verb.ABORT)
    world.run(2)
    world.settled()
    assert world.rollouts[1].state is S.LIVE


def test_an_aborted_first_release_leaves_no_traffic() -> None:
    world = World()
    world.acks = False
    world.release("sha256:a")
    world.until(S.PROMOTING, 1)
    world.order(Verb.ABORT)
    world.acks = True
    world.until(S.ROLLED_BACK, 1, limit_s=5)
    assert world.route.acked == {}


# -- laws ---------------------------------------------------------------------------------------------


def test_nothing_seen_writes_nothing_and_looks_again() -> None:
    world = World()
    decision = decide(world.seen(), world.now)
    assert decision.is_empty and decision.wake_at == world.now + timedelta(seconds=60)


moves = st.sampled_from(
    [
        "run", "run", "run", "run", "release", "release_bad", "hold", "go", "acks", "silence", "traffic",
        *(verb.value for verb in Verb if verb is not Verb.RESTART),
    ]
)  # fmt: skip


def play(world: World, move: str) -> None:
    match move:
        case "run":
            world.run(6)
        case "release" | "release_bad":
            digest = f"sha256:{len(world.releases)}"
            world.release(digest)
            if move == "release_bad":
                world.errors[max(world.rollouts, default=0) + 1] = 0.3
        case "hold":
            world.gate = hold
        case "go":
            world.gate = go
        case "acks":
            world.acks = not world.acks
        case "silence" | "traffic":
            world.requests_per_s = 0 if move == "silence" else 100
        case verb:
            world.order(Verb(verb))
            world.run(1)


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.lists(moves, min_size=8, max_size=25))
def test_whatever_happens_it_ends_as_exactly_old_or_new(is_settled: bool, happenings: list[str]) -> None:
    """The world asserts at each look: one live, one active, 0..100, lower only in a rollback."""
    world = World(requests_per_s=60)
    if is_settled:
        world.settled()
    for move in happenings:
        play(world, move)
    world.gate, world.acks, world.requests_per_s, world.errors = go, True, 100, {}
    world.order(Verb.RESUME)
    world.run(150)
    assert not any(r.state.is_active or r.state is S.WAITING for r in world.rollouts.values())
    live = [n for n, r in world.rollouts.items() if r.state is S.LIVE]
    assert world.route.acked == dict.fromkeys(live, 100)
