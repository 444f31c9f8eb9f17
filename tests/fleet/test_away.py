"""A canary of which nobody answers: its share goes to the live one at once, and comes back as it came."""

from __future__ import annotations

from msgspec.structs import replace

from poise.model.acts import ApplyTraffic
from poise.model.delivery import RolloutState

from .conftest import KEY, World, rollout

LIVE, STEPPING = RolloutState.LIVE, RolloutState.STEPPING


def canary_world() -> World:
    world = World(rollout(1, LIVE))
    world.settle()
    world.rollouts[2] = rollout(2, STEPPING, weight=50, ask=1)
    world.settle()
    assert world.route is not None and world.route.acked == {1: 50, 2: 50}
    return world


def dies(world: World, n: int) -> None:
    """No replica of rollout ``n`` runs any more."""
    for key in [key for key in world.processes if f"/{n:06d}/" in key]:
        world.processes[key] = replace(world.processes[key], identity=None)


def go_on(world: World) -> None:
    """What is asked for is done; nobody answers for the dead."""
    for _ in range(4):
        world.tick()
        for key in list(world.outbox):
            world.perform(key)


def test_users_of_a_canary_that_died_get_the_live_one_without_waiting_for_a_judgement() -> None:
    """Envoy would answer its share with 503 until the rollout is rolled back."""
    world = canary_world()
    dies(world, 2)
    world.tick()
    assert world.route is not None and world.route.weights == {1: 100}
    go_on(world)
    assert world.route.acked == {1: 100}


def test_it_gets_users_again_once_it_is_ready_by_the_word_of_its_verdict() -> None:
    """A restart must not cost a release its chance."""
    world = canary_world()
    dies(world, 2)
    go_on(world)
    world.processes[f"{KEY}/000002/000"] = world.process()
    world.settle()
    assert world.route is not None and world.route.acked == {1: 50, 2: 50}
    raised = [i.act for d in world.decisions for i in d.intents if isinstance(i.act, ApplyTraffic)][-1]
    assert (raised.raises, raised.verdict) == (2, f"{KEY}/000002/ask/000001")


def test_where_nobody_of_the_live_one_answers_either_the_split_stays() -> None:
    """What both suffer is elsewhere, and a new split would help nobody."""
    world = canary_world()
    dies(world, 1)
    dies(world, 2)
    world.tick()
    assert world.route is not None and world.route.weights == {1: 50, 2: 50}


def test_one_that_is_ready_again_rises_once_its_fall_is_acknowledged() -> None:
    """Envoy may have taken the fall: from what was acknowledged before, its rise would look like none."""
    world = canary_world()
    dies(world, 2)
    world.tick()
    world.processes[f"{KEY}/000002/000"] = world.process()
    world.probe(f"{KEY}/000002/000")
    world.tick()
    assert world.route is not None
    assert (world.route.weights, world.route.acked) == ({1: 100}, {1: 50, 2: 50})
    world.settle()
    assert world.route.acked == {1: 50, 2: 50}
    splits = [i.act for d in world.decisions for i in d.intents if isinstance(i.act, ApplyTraffic)]
    assert (splits[-1].raises, splits[-1].verdict) == (2, f"{KEY}/000002/ask/000001")
