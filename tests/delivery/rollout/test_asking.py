"""When the gate is asked, and which of its answers still count."""

from __future__ import annotations

from tests.delivery.rollout.world import World, hold

from poise.model.delivery import RolloutState as S


def test_a_lock_stops_a_step_that_was_granted_before_it() -> None:
    """A go is good for half a minute, and nobody who locks something wants to wait for that."""
    world = World().settled()
    world.acks = False
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    world.run(3)
    assert world.rollouts[2].weight_percent == 5 and not world.rollouts[2].reason
    world.gate, world.override_at = hold, world.now
    world.run(3)
    assert world.rollouts[2].reason.startswith("hold:")
