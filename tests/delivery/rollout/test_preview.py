"""What a rollout would do is what it then does."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.delivery.rollout.world import World, hold

from poise.delivery.rollout.preview import Preview, preview
from poise.model.balance import Verdict, VerdictKind
from poise.model.delivery import RolloutState as S
from poise.model.service import Promotion, StrategyKind


def verdict(world: World, **changes: object) -> Verdict:
    """A go with the service's own steps."""
    fields = {
        "kind": VerdictKind.GO, "service": "acme/production/shop", "digest": "", "step": 1,
        "weight_percent": 5, "max_weight_percent": 100, "change_class": "feature", "bake_factor": 1.0,
        "steps_percent": (5, 20, 50), "reasons": (), "until": None, "at": world.now,
    }  # fmt: skip
    return Verdict(**(fields | changes))  # type: ignore[arg-type]


def ahead(world: World, **changes: object) -> Preview:
    return preview(world.seen(), world.releases[-1], verdict(world, **changes))


def test_the_steps_told_are_the_steps_taken() -> None:
    """The same functions plan and go."""
    world = World().settled()
    world.gate = hold
    world.release("sha256:b")
    told = ahead(world)
    assert [step.weight_percent for step in told.steps] == [5, 20, 50, 100]
    assert all(step.judged and step.hold_s for step in told.steps[:-1])
    world.gate = World().gate
    world.until(S.LIVE, 2)
    assert [w for n, w in world.weights_seen if n == 2] == [step.weight_percent for step in told.steps]


def test_the_first_step_is_no_larger_than_the_gate_allows_and_bakes_as_long_as_it_says() -> None:
    """A slow verdict is a smaller rollout, told before it begins."""
    world = World().settled()
    world.release("sha256:b")
    slow = ahead(world, kind=VerdictKind.SLOW, max_weight_percent=2, steps_percent=(5, 50), bake_factor=2.0)
    plain = ahead(world, steps_percent=(5, 50))
    assert [step.weight_percent for step in slow.steps] == [2, 5, 50, 100]
    assert slow.steps[0].hold_s == 2 * plain.steps[0].hold_s


def test_a_first_release_takes_all_users_and_a_held_one_says_so() -> None:
    """There is nobody to share with."""
    world = World()
    world.release("sha256:a")
    told = ahead(world, kind=VerdictKind.HOLD)
    assert [step.weight_percent for step in told.steps] == [100] and "would wait: hold" in told.sentence


@pytest.mark.parametrize("promotion", list(Promotion))
def test_blue_green_is_one_step_that_may_need_a_person(promotion: Promotion) -> None:
    """And the old one stays warm."""
    world = World().settled()
    world.release("sha256:b")
    seen, release = world.seen(), world.releases[-1]
    strategy = replace(release.specs[0].strategy, kind=StrategyKind.BLUE_GREEN, promotion=promotion)
    release = replace(release, specs=(replace(release.specs[0], strategy=strategy),))
    (step,) = preview(seen, release, verdict(world)).steps
    assert (step.weight_percent, step.asks) == (100, promotion is Promotion.MANUAL)
    assert step.hold_s == strategy.keep_warm_s


def test_what_else_stands_in_the_way_is_noted() -> None:
    """What is live already, what was rejected, what is under way."""
    world = World().settled()
    assert "nothing to roll out" in ahead(world).notes[0]
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    assert any("rollout 2 is under way" in note for note in ahead(world).notes)
