"""Blue-green: whole beside the old one, all users at once, an instant way back while the old one is warm."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from poise.model import event_types
from poise.model.delivery import RolloutState, Verb
from poise.model.service import Promotion, StrategyKind

_spec = importlib.util.spec_from_file_location("rollout_world", Path(__file__).with_name("world.py"))
assert _spec is not None and _spec.loader is not None
world_module = sys.modules["rollout_world"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(world_module)
World, hold = world_module.World, world_module.hold
S = RolloutState


def strategy(**fields: Any) -> Any:
    return replace(world_module.STRATEGY, kind=StrategyKind.BLUE_GREEN, keep_warm_s=20.0, **fields)


def released(world: Any, digest: str = "sha256:b", **fields: Any) -> Any:
    world.release(digest, strategy=strategy(**fields))
    return world


def test_all_users_change_over_at_once_when_all_its_replicas_are_ready() -> None:
    """No user meets half a release, and none waits for the second replica."""
    world = released(World().settled())
    world.until(S.LIVE, 2)
    assert [weight for n, weight in world.weights_seen if n == 2] == [100]
    assert world.rollouts[2].replicas == 2
    assert world.rollouts[1].state is S.RETIRED


def test_the_old_one_keeps_its_replicas_until_it_was_warm_long_enough() -> None:
    world = released(World().settled())
    world.until(S.PROMOTING, 2)
    world.run(18)
    assert world.route.acked == {2: 100}
    assert world.rollouts[1].state is S.LIVE
    assert sum(replica.rollout == 1 for replica in world.replicas.values()) == 2
    assert world.rollouts[2].reason == "takes all traffic; the old one is kept for 20 s"
    world.run(6)
    assert world.rollouts[2].state is S.LIVE
    assert not any(replica.rollout == 1 for replica in world.replicas.values())


@pytest.mark.parametrize("verb", [Verb.ROLLBACK, Verb.ABORT])
def test_while_the_old_one_is_warm_the_way_back_is_one_weight(verb: Verb) -> None:
    """Nothing has to start for it, and nobody is asked."""
    world = released(World().settled())
    world.until(S.PROMOTING, 2)
    world.run(5)
    world.gate = hold
    world.order(verb)
    world.run(1)
    assert world.route.acked == {1: 100}
    world.until(S.ROLLED_BACK, 2, limit_s=3)
    assert [weight for n, weight in world.weights_seen if n == 2] == [100, 0]


def test_a_person_promotes_where_it_is_declared_so() -> None:
    """It is ready, takes nothing, and says what to run."""
    world = released(World().settled(), promotion=Promotion.MANUAL)
    world.until(S.STEPPING, 2)
    world.run(60)
    assert world.route.acked == {1: 100}
    assert "poise promote" in world.rollouts[2].reason
    [held] = world.told(event_types.ROLLOUT_HELD)
    assert held.data["rule"] == "promotion"
    world.order(Verb.PROMOTE)
    world.until(S.PROMOTING, 2, limit_s=3)
    world.run(15)
    assert world.rollouts[2].state is S.PROMOTING, "a person's word shortens no way back"
    world.until(S.LIVE, 2)


def test_the_gate_is_asked_again_before_the_switch() -> None:
    world = released(World().settled(), promotion=Promotion.MANUAL)
    world.until(S.STEPPING, 2)
    world.run(40)
    world.gate = hold
    world.order(Verb.PROMOTE)
    world.run(20)
    assert world.route.acked == {1: 100}
    assert world.rollouts[2].reason.startswith("hold:")


def test_one_that_surely_fails_more_than_the_old_one_did_is_switched_back() -> None:
    """Nobody is beside it any more: its own rate is bounded against what the old one had failed before."""
    world = released(World().settled(), promotion=Promotion.MANUAL)
    world.errors = {1: 0.01, 2: 0.2}
    world.until(S.STEPPING, 2)
    world.run(10)
    world.order(Verb.PROMOTE)
    back = world.until(S.ROLLED_BACK, 2, limit_s=10)
    assert "the old one failed at most" in back.reason
    assert world.told(event_types.ROLLOUT_ROLLING_BACK)[0].data["rule"] == "harm"


def test_one_that_fails_as_often_as_the_old_one_stays() -> None:
    """A dependency that is down is no fault of the release."""
    world = released(World().settled(), promotion=Promotion.MANUAL)
    world.errors = {1: 0.1, 2: 0.1}
    world.until(S.STEPPING, 2)
    world.run(10)
    world.order(Verb.PROMOTE)
    world.until(S.LIVE, 2)


def test_a_rollback_keeps_nothing_warm() -> None:
    """What somebody left on purpose is not to be gone back to."""
    world = released(World().settled())
    world.until(S.LIVE, 2)
    released(world, "sha256:c")
    world.until(S.LIVE, 3)
    world.order(Verb.ROLLBACK)
    world.until(S.LIVE, 4, limit_s=8)
    assert world.rollouts[4].digest == "sha256:b"


def test_a_blue_that_never_becomes_ready_fails_without_a_user() -> None:
    world = World().settled()
    world.boots = {"sha256:b"}
    released(world)
    world.until(S.FAILED, 2)
    assert world.weights_seen == [(1, 100)]
