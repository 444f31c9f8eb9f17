"""Recreate: the old one stops, then the new one starts, for apps that cannot run twice."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from poise.model import event_types
from poise.model.delivery import RolloutState, Verb
from poise.model.service import StrategyKind

_spec = importlib.util.spec_from_file_location("rollout_world", Path(__file__).with_name("world.py"))
assert _spec is not None and _spec.loader is not None
world_module = sys.modules["rollout_world"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(world_module)
World, hold = world_module.World, world_module.hold
S = RolloutState
RECREATE = replace(world_module.STRATEGY, kind=StrategyKind.RECREATE)


def settled() -> Any:
    world = World()
    world.release("sha256:a", strategy=RECREATE)
    world.until(S.LIVE, 1)
    return world


def revisions(world: Any) -> set[int]:
    return {replica.rollout for replica in world.replicas.values()}


def test_the_old_one_is_gone_before_the_new_one_runs_and_the_record_says_what_that_cost() -> None:
    world = settled()
    world.boots = {"sha256:b"}
    world.release("sha256:b", strategy=RECREATE)
    world.until(S.STARTING, 2)
    world.run(5)
    assert world.route.acked == {} and revisions(world) == {2}
    world.boots = set()
    world.replicas = {}
    world.until(S.LIVE, 2)
    assert world.route.acked == {2: 100}
    started = world.told(event_types.ROLLOUT_STARTED)[-1]
    assert "nobody is served until it is ready" in started.summary
    upgraded = world.told(event_types.SERVICE_UPGRADED)[0]
    assert "nobody was served for 6 s at most" in upgraded.summary
    assert upgraded.data["interrupted_s"] == pytest.approx(5.0, abs=1.0)


def test_one_that_never_becomes_ready_gives_way_to_the_old_one() -> None:
    world = settled()
    world.boots = {"sha256:b"}
    world.release("sha256:b", strategy=RECREATE)
    world.until(S.FAILED, 2)
    world.run(2)
    assert world.route.acked == {1: 100} and revisions(world) == {1}


def test_a_hold_before_it_starts_leaves_the_old_one_serving() -> None:
    world = settled()
    world.gate = hold
    world.release("sha256:b", strategy=RECREATE)
    world.run(30)
    assert world.route.acked == {1: 100} and revisions(world) == {1}


def test_a_pause_does_not_last_while_nobody_is_served() -> None:
    """Whoever wants it to end aborts it: the old one comes back."""
    world = settled()
    world.boots = {"sha256:b"}
    world.release("sha256:b", strategy=RECREATE)
    world.until(S.STARTING, 2)
    world.order(Verb.PAUSE)
    world.run(2)
    world.boots = set()
    world.replicas = {}
    world.until(S.LIVE, 2, limit_s=5)


def test_an_abort_brings_the_old_one_back() -> None:
    world = settled()
    world.boots = {"sha256:b"}
    world.release("sha256:b", strategy=RECREATE)
    world.until(S.STARTING, 2)
    world.order(Verb.ABORT)
    world.until(S.ROLLED_BACK, 2, limit_s=5)
    world.run(2)
    assert world.route.acked == {1: 100} and revisions(world) == {1}


def test_what_is_live_and_cannot_run_twice_is_stopped_also_for_a_release_of_another_strategy() -> None:
    """The new one cannot know what the old one holds on to."""
    world = settled()
    world.release("sha256:b")
    world.until(S.LIVE, 2)
    assert world.rollouts[2].beside == 0


def test_a_rollback_of_it_recreates_too() -> None:
    world = settled()
    world.release("sha256:b", strategy=RECREATE)
    world.until(S.LIVE, 2)
    world.order(Verb.ROLLBACK)
    back = world.until(S.LIVE, 3, limit_s=10)
    assert back.beside == 0 and back.digest == "sha256:a"
