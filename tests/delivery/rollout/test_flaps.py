"""A canary whose replicas are ready by turns: it is watched anew, and goes back where it does not cease."""

from __future__ import annotations

import pytest
from tests.delivery.rollout.world import World

from poise.model.delivery import ChangeClass
from poise.model.delivery import RolloutState as S


def stepping(change_class: ChangeClass = ChangeClass.FEATURE) -> World:
    """Rollout 1 is live, rollout 2 takes its first share."""
    world = World().settled()
    world.release("sha256:b", change_class)
    world.until(S.STEPPING, 2)
    world.run(3)
    assert world.rollouts[2].step_started_at is not None
    return world


def test_a_canary_that_is_ready_by_turns_goes_back_and_says_so() -> None:
    """Requests may all succeed meanwhile: retries and the other replicas hide it until it is all there is."""
    world = stepping()
    for _ in range(3):
        world.stumble(2)
        world.run(4)
    reason = world.until(S.ROLLED_BACK, 2).reason
    assert reason == "its replicas ceased to be ready 3 times within 8 s: GET / fails by turns"


def test_what_those_of_the_live_one_suffer_too_is_not_the_canary() -> None:
    """A dependency that both ask in their probes must fail no release."""
    world = stepping()
    for _ in range(6):
        world.stumble(2)
        world.stumble(1)
        world.run(4)
    assert world.rollouts[2].state is S.STEPPING


def test_twice_is_bad_luck_and_a_step_is_watched_anew_after_each() -> None:
    """Nobody learns from a step in which it was half away."""
    world = stepping()
    world.stumble(2)
    world.run(1)
    assert "anew: a replica of it was not ready at" in world.rollouts[2].reason
    world.run(3)
    assert world.rollouts[2].weight_percent == 5, "the 5 s of this step are over, and it is watched still"
    world.run(3)
    assert world.rollouts[2].weight_percent > 5
    world.stumble(2)
    world.until(S.LIVE, 2)


@pytest.mark.parametrize("times", [3, 9])
def test_what_happened_before_it_started_counts_for_nothing(times: int) -> None:
    """The live one had a bad hour; its successor begins with a clean slate."""
    world = World().settled()
    for _ in range(times):
        world.stumble(1)
        world.run(2)
    world.release("sha256:b")
    world.until(S.LIVE, 2, 2000)
