"""Nothing starts, and nothing is stopped for it, before its release was said to be what was built."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from poise.delivery.rollout.decide import decide
from poise.delivery.rollout.vouching import VERIFYING
from poise.model.acts import VerifyRelease
from poise.model.attestation import VERIFIED_FRESH_S
from poise.model.delivery import RolloutState, Verb
from poise.model.event_types import ROLLOUT_FAILED, ROLLOUT_STARTED

from .world import World, hold


class Slow(World):
    """Where verifying takes until told."""

    def verify(self, key: str) -> None:
        self.asked = key


def test_a_rollout_waits_for_its_verification_and_says_so() -> None:
    world = Slow()
    world.release("sha256:a")
    world.tick()
    world.tick()
    assert world.rollouts[1].state is RolloutState.WAITING and world.rollouts[1].reason == VERIFYING
    assert world.told(ROLLOUT_STARTED) == [] and world.asked == world.rollouts[1].key
    World.verify(world, world.asked)
    assert world.until(RolloutState.LIVE, 1).reason == ""


def test_what_is_refused_ends_before_anything_starts_and_what_is_live_stays() -> None:
    world = World().settled()
    world.tampered.add("sha256:b")
    world.release("sha256:b")
    gone = world.until(RolloutState.FAILED, 2)
    assert gone.reason == "its files were changed" and gone.started_at is None
    assert world.told(ROLLOUT_FAILED)[-1].data["rule"] == "provenance"
    assert world.rollouts[1].state is RolloutState.LIVE and world.route.acked == {1: 100}


def test_a_way_back_is_verified_too() -> None:
    """The old release lay there for longest."""
    world = World().settled()
    world.release("sha256:b")
    world.until(RolloutState.LIVE, 2)
    world.tampered.add(world.rollouts[1].digest)
    world.order(Verb.ROLLBACK)
    assert world.until(RolloutState.FAILED, 3).back_to == 1
    assert world.rollouts[2].state is RolloutState.LIVE


def test_a_refused_digest_is_not_rejected_and_goes_once_it_is_mended() -> None:
    """It was never tried: nothing is known against the release itself."""
    world = World().settled()
    world.tampered.add("sha256:b")
    world.release("sha256:b")
    world.until(RolloutState.FAILED, 2)
    world.tampered.clear()
    world.order(Verb.DEPLOY, release=2)
    assert world.until(RolloutState.LIVE, 3).digest == "sha256:b"


@pytest.mark.parametrize("age_s", [0.0, VERIFIED_FRESH_S, VERIFIED_FRESH_S + 1, 86_400.0])
def test_a_verification_that_has_grown_old_is_asked_for_again(age_s: float) -> None:
    """A release may be held for a day, and a day is long."""
    world = Slow()
    world.release("sha256:a")
    world.tick()
    World.verify(world, world.asked)
    known = replace(world.verifications[1], at=world.now - timedelta(seconds=age_s))
    made = decide(replace(world.seen(), verification=known), world.now)
    asked = [intent for intent in made.intents if isinstance(intent.act, VerifyRelease)]
    assert bool(asked) == (age_s > VERIFIED_FRESH_S)


def test_while_the_gate_holds_nothing_is_verified() -> None:
    """Every file of a release would be read, every minute, for as long as a freeze lasts."""
    world = Slow(hold)
    world.release("sha256:a")
    for _ in range(30):
        world.tick()
    assert not hasattr(world, "asked")
