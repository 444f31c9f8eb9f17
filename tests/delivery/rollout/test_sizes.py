"""The sizes of a verdict: steps, bakes and rollouts at once are what a rollout goes by."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from poise.model import event_types
from poise.model.balance import Verdict
from poise.model.delivery import Rollout, RolloutState

_spec = importlib.util.spec_from_file_location("rollout_world", Path(__file__).with_name("world.py"))
assert _spec is not None and _spec.loader is not None
world_module = sys.modules["rollout_world"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(world_module)
World, verdict = world_module.World, world_module.verdict
S = RolloutState


def test_a_fast_verdict_makes_larger_steps_and_shorter_bakes() -> None:
    """A full budget earns speed: the first step already is the verdict's, within its cap."""

    def fast(world: World, rollout: Rollout) -> Verdict:
        return verdict(world, rollout, bake_factor=0.5, steps_percent=(20,))

    plain, quick = World().settled(), World().settled()
    quick.gate = fast
    took = []
    for world in (plain, quick):
        world.release("sha256:b")
        began = world.now
        world.until(S.LIVE, 2)
        took.append((world.now - began).total_seconds())
    assert [w for n, w in quick.weights_seen if n == 2] == [20, 100]
    assert took[1] < took[0] * 0.6


def test_a_fast_verdict_still_caps_the_first_step() -> None:
    """What a canary may cost is bounded by the budget, whatever the steps."""

    def capped(world: World, rollout: Rollout) -> Verdict:
        cap = 100 if rollout.weight_percent else 7
        return verdict(world, rollout, steps_percent=(20,), max_weight_percent=cap)

    world = World().settled()
    world.gate = capped
    world.release("sha256:b")
    world.until(S.LIVE, 2)
    assert [w for n, w in world.weights_seen if n == 2][:2] == [7, 20]


def test_no_more_rollouts_start_at_once_than_the_verdict_allows() -> None:
    """Trouble with three new things at once is hard to tell apart."""

    def two(world: World, rollout: Rollout) -> Verdict:
        return verdict(world, rollout, parallel_rollouts=2)

    world = World().settled()
    world.gate, world.moving_elsewhere = two, 2
    world.release("sha256:b")
    world.run(15)
    assert world.rollouts[2].state is S.WAITING
    assert "2 rollouts are under way in production, the policy allows 2" in world.rollouts[2].reason
    world.moving_elsewhere = 1
    world.until(S.LIVE, 2)


def test_what_starts_on_a_burdened_budget_keeps_its_alpha_to_the_end() -> None:
    """A level that moved with the evidence would bound nothing."""
    factor = {"is": 2.0}

    def gate(world: World, rollout: Rollout) -> Verdict:
        return verdict(world, rollout, alpha_factor=factor["is"])

    world = World().settled()
    world.gate = gate
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    factor["is"] = 4.0
    world.until(S.LIVE, 2, limit_s=400)
    assert world.rollouts[2].alpha_factor == 2.0
    (started,) = [e for e in world.told(event_types.ROLLOUT_STARTED) if e.data["rollout"] == 2]
    assert (started.data["alpha"], started.data["alpha_safe"]) == (0.1, 0.025)
    steps = [e for e in world.told(event_types.ROLLOUT_STEPPED) if e.data["rollout"] == 2]
    assert steps and all(event.data["alpha"] == 0.1 for event in steps)
