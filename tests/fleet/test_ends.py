"""What fleet notes of a replica's ends and lapses: which of them were its own doing."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from poise.model.delivery import RolloutState
from poise.model.fleet import HealOrder

from .conftest import KEY, NOW, World, rollout


def live_world() -> World:
    world = World(rollout(1, RolloutState.LIVE))
    world.settle()
    return world


def test_an_end_that_nobody_asked_for_is_a_crash_and_is_counted_once() -> None:
    """Healing asks for a rollback when a release's replicas crash; looking twice must not double them."""
    world = live_world()
    key = f"{KEY}/000001/000"
    ended = replace(world.process(), exited_at=NOW, crashed=True, restarts=2)
    world.processes[key] = ended
    world.tick()
    world.tick()
    assert world.replicas[key].crashes == (NOW, NOW)
    world.processes[key] = replace(world.process(), exited_at=NOW + timedelta(seconds=9), crashed=False)
    world.tick()
    assert len(world.replicas[key].crashes) == 2


def test_the_end_of_a_process_that_was_healed_is_no_crash() -> None:
    """It was told to end."""
    world = live_world()
    key = f"{KEY}/000001/000"
    identity = world.replicas[key].identity
    assert identity is not None
    world.orders = (HealOrder(replica=key, identity=identity, reason="r", at=NOW, gentle=True),)
    world.processes[key] = replace(world.process(), exited_at=NOW, crashed=True)
    world.tick()
    world.orders = ()
    world.tick()
    assert world.replicas[key].crashes == ()


def test_a_replica_that_ceases_to_be_ready_while_it_runs_is_noted_each_time() -> None:
    """A release whose replicas are ready by turns is not well, though each request may find one that is."""
    world = live_world()
    key = f"{KEY}/000001/000"
    for times in (1, 2):
        world.probe(key, failures=3)
        world.tick()
        world.tick()
        assert not world.replicas[key].ready and len(world.replicas[key].losses) == times
        world.probe(key)
        world.tick()
        assert world.replicas[key].ready
    world.processes[key] = replace(world.process(), exited_at=NOW, crashed=True)
    world.tick()
    assert not world.replicas[key].ready and len(world.replicas[key].losses) == 2
