"""A release takes the whole load only with as many replicas as the load needs now."""

from __future__ import annotations

from msgspec.structs import replace

from poise.delivery.rollout.facts import Seen
from poise.model.delivery import RolloutState
from poise.model.fleet import ScaleTarget

from .world import KEY, World


class Loaded(World):
    """Scaling wants four replicas, where two are declared at least."""

    wanted = 4

    def seen(self) -> Seen:
        return replace(super().seen(), target=ScaleTarget(service=KEY, replicas=self.wanted))


def test_a_promoted_release_has_what_scaling_wants_before_the_old_one_goes() -> None:
    world = Loaded().settled()
    world.release("sha256:b")
    new = world.until(RolloutState.LIVE, 2)
    assert new.replicas == 4
    assert sum(r.ready for r in world.replicas.values() if r.rollout == 2) >= 4


class Growing(Loaded):
    """The load grows once all the users are on the new release."""

    def seen(self) -> Seen:
        states = [rollout.state for rollout in self.rollouts.values()]
        self.wanted = 4 if RolloutState.PROMOTING in states else 2
        return super().seen()


def test_load_that_grew_at_the_last_step_is_waited_for() -> None:
    """The old one stays live until the replicas that are missing are ready."""
    world = Growing().settled()
    world.release("sha256:b")
    new = world.until(RolloutState.LIVE, 2)
    assert new.replicas == 4
    assert sum(r.ready for r in world.replicas.values() if r.rollout == 2) == 4
