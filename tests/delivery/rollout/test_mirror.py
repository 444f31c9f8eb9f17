"""Mirror: copies of requests before any user, judged by their own counters; they alone promote nobody."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from poise.model import event_types
from poise.model.delivery import RolloutState, Verb
from poise.model.service import AfterMirror, Mirror, StrategyKind

_spec = importlib.util.spec_from_file_location("rollout_world", Path(__file__).with_name("world.py"))
assert _spec is not None and _spec.loader is not None
world_module = sys.modules["rollout_world"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(world_module)
World = world_module.World
S = RolloutState


def mirrored(then: AfterMirror = AfterMirror.CANARY, requests_per_s: int = 100) -> Any:
    """Rollout 1 live, rollout 2 on its way with ten seconds of copies first."""
    mirror = Mirror(percent=50, time_s=10.0, then=then)
    strategy = replace(world_module.STRATEGY, kind=StrategyKind.MIRROR, mirror=mirror)
    world = World(requests_per_s=requests_per_s).settled()
    world.release("sha256:b", strategy=strategy)
    return world


def test_copies_come_before_users_and_a_canary_after_them_with_evidence_of_its_own() -> None:
    world = mirrored()
    world.until(S.STEPPING, 2)
    world.run(8)
    assert world.rollouts[2].mirror_percent == 50 and world.route.acked == {1: 100}
    assert world.rollouts[2].trial.canary_requests > 300
    while world.route.acked.get(2) is None:
        world.tick()
    shadow = world.rollouts[2].shadow
    assert shadow.canary_requests >= 450
    assert world.rollouts[2].trial.canary_requests <= 5, "what copies showed is not what users got"
    world.until(S.LIVE, 2)
    assert [weight for n, weight in world.weights_seen if n == 2] == [5, 20, 50, 100]
    [told] = world.told(event_types.ROLLOUT_SHADOWED)
    assert "copied requests failed; it goes on as a canary" in told.summary


def test_one_that_fails_copies_goes_back_before_it_meets_a_user() -> None:
    world = mirrored()
    world.errors = {1: 0.01, 2: 0.3}
    back = world.until(S.ROLLED_BACK, 2, limit_s=20)
    assert "the old one failed at most" in back.reason
    assert not [weight for n, weight in world.weights_seen if n == 2]


def test_what_both_fail_alike_is_no_harm() -> None:
    world = mirrored()
    world.errors = {1: 0.3, 2: 0.3}
    world.run(11)
    assert world.rollouts[2].state is S.STEPPING


def test_where_it_is_declared_copies_are_the_end() -> None:
    """Nothing is rejected and nothing is live: it was only to be looked at."""
    world = mirrored(AfterMirror.END)
    world.until(S.SHADOWED, 2)
    world.run(20)
    assert list(world.rollouts) == [1, 2] and world.route.acked == {1: 100}
    assert world.seen().rejected_by("sha256:b") is None


def test_copies_promote_only_where_it_is_declared_and_only_with_proof() -> None:
    """Its own counters must show that it keeps its objective; else it goes on as a canary."""
    world = mirrored(AfterMirror.PROMOTE)
    world.until(S.LIVE, 2)
    assert world.weights_seen[1] == (2, 5), "no objective, no proof"
    proven = mirrored(AfterMirror.PROMOTE, requests_per_s=2000)
    proven.objective_bad_ratio = 0.01
    proven.until(S.LIVE, 2)
    assert [weight for n, weight in proven.weights_seen if n == 2] == [100]


def test_silence_is_no_evidence_for_copies_either() -> None:
    world = mirrored()
    world.until(S.STEPPING, 2)
    world.run(2)
    world.requests_per_s = 0
    world.run(8)
    world.requests_per_s = 100
    assert world.rollouts[2].shadow is None or world.rollouts[2].shadow.canary_requests >= 10


def test_a_person_may_end_the_mirror_by_promoting() -> None:
    world = mirrored()
    world.until(S.STEPPING, 2)
    world.run(2)
    world.order(Verb.PROMOTE)
    world.until(S.LIVE, 2, limit_s=6)
    assert [weight for n, weight in world.weights_seen if n == 2] == [100]
