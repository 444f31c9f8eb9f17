"""When the gate is asked, and which of its answers still count."""

from __future__ import annotations

from datetime import timedelta

from tests.delivery.rollout.world import World, hold, verdict

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


def test_a_verdict_is_asked_for_again_once_a_freeze_window_has_opened() -> None:
    """It said until when it is good."""
    world = World().settled()
    world.acks = False
    opens = world.now + timedelta(seconds=20)
    world.gate = lambda seen, rollout: (
        verdict(seen, rollout, lapses_at=opens) if seen.now < opens else hold(seen, rollout)
    )
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    assert world.now < opens and not world.rollouts[2].reason
    while world.now <= opens:
        world.run(1)
    world.run(3)
    assert world.rollouts[2].reason.startswith("hold:")
