"""A release moves by its digest: nothing reaches an environment that was not live in the one before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tests.delivery.rollout.world import World, hold

from poise.model import event_types
from poise.model.delivery import RolloutState as S
from poise.model.delivery import Verb


def staged(*, seed: int = 1) -> tuple[World, World]:
    """Staging and production of one service; releases are made in staging's list and seen in both."""
    staging, production = World(seed=seed), World(seed=seed + 1)
    production.before, production.releases = staging, staging.releases
    return staging, production


def both(worlds: tuple[World, World], seconds: int) -> None:
    for _ in range(seconds):
        for world in worlds:
            world.tick()


def digests(world: World) -> list[str]:
    return [rollout.digest for rollout in world.listed()]


def test_a_release_comes_to_production_once_it_is_live_in_staging() -> None:
    """First there, then here; the same bytes."""
    staging, production = worlds = staged()
    staging.release("sha256:a")
    production.run(5)
    assert digests(production) == []
    both(worlds, 10)
    assert (staging.live() or 1).digest == (production.live() or 2).digest == "sha256:a"  # type: ignore[union-attr]


SETTLED = {
    "not there yet": ([], []),
    "live there": (["a"], ["a"]),
    "waits there": (["held"], []),
    "two, both were live there": (["a", "b"], ["b"]),
    "the newest rolled back there": (["a", "bad"], ["a"]),
    "the newest held there": (["a", "held"], ["a"]),
    "a bad one between": (["a", "bad", "c"], ["c"]),
    "never ready there": (["a", "dead"], ["a"]),
}


@pytest.mark.parametrize(("pushed", "reached"), SETTLED.values(), ids=SETTLED)
def test_what_production_takes(pushed: list[str], reached: list[str]) -> None:
    """Production looks when staging has settled: it takes the newest that passed, and nothing else."""
    staging, production = staged()
    for kind in pushed:
        n = len(staging.rollouts) + 1
        staging.release(f"sha256:{kind}")
        staging.errors[n] = 0.5 if kind == "bad" else 0.0
        if kind == "held":
            staging.gate = hold
        if kind == "dead":
            staging.boots.add("sha256:dead")
        staging.run(60)
    production.run(60)
    assert [digest.removeprefix("sha256:") for digest in digests(production)] == reached


def test_a_release_rejected_in_staging_meanwhile_gives_way_before_it_starts() -> None:
    """It was live in staging and then rolled back, while production's gate held it."""
    staging, production = worlds = staged()
    staging.release("sha256:a")
    both(worlds, 20)
    production.gate = hold
    staging.release("sha256:b")
    both(worlds, 40)
    assert production.rollouts[2].state is S.WAITING
    staging.order(Verb.ROLLBACK)
    both(worlds, 40)
    assert production.rollouts[2].state is S.SUPERSEDED
    assert "rejected by rollout 2" in production.rollouts[2].reason


def test_a_rollback_in_staging_leaves_production_alone_and_the_other_way_round() -> None:
    """Each environment has its own way back."""
    staging, production = worlds = staged()
    for digest in ("sha256:a", "sha256:b"):
        staging.release(digest)
        both(worlds, 80)
    staging.order(Verb.ROLLBACK)
    both(worlds, 60)
    assert [w.live().digest for w in worlds] == ["sha256:a", "sha256:b"]  # type: ignore[union-attr]
    production.order(Verb.ROLLBACK)
    both(worlds, 60)
    assert [w.live().digest for w in worlds] == ["sha256:a", "sha256:a"]  # type: ignore[union-attr]


def test_an_order_to_deploy_what_was_not_live_in_staging_is_refused_with_a_mend() -> None:
    """A person passes the gate by orders, never the order of environments."""
    staging, production = worlds = staged()
    staging.release("sha256:a")
    both(worlds, 20)
    staging.gate = hold
    staging.release("sha256:b")
    production.order(Verb.DEPLOY, release=2)
    both(worlds, 20)
    assert digests(production) == ["sha256:a"]
    (refused,) = production.told(event_types.ORDER_REFUSED)
    assert "release 2 was not live in staging" in refused.summary
    assert refused.data["mend"].startswith("poise deploy shop --environment staging --release 2")


def test_an_order_may_bring_back_what_staging_had_before() -> None:
    """Live once is enough: an older release may be deployed by hand."""
    staging, production = worlds = staged()
    for digest in ("sha256:a", "sha256:b"):
        staging.release(digest)
        both(worlds, 80)
    production.order(Verb.DEPLOY, release=1)
    both(worlds, 80)
    assert production.live().digest == "sha256:a"  # type: ignore[union-attr]


HAPPENINGS = st.lists(
    st.sampled_from(
        [
            "good",
            "bad",
            "dead",
            "again",
            "roll staging back",
            "deploy",
            "roll back",
            "hold",
            "go",
            "abort",
            "time",
        ]
    ),
    max_size=14,
)


@given(happenings=HAPPENINGS, seed=st.integers(0, 1000))
@examples(max_examples=40, deadline=None)
def test_nothing_reaches_production_that_was_not_live_in_staging(happenings: list[str], seed: int) -> None:
    """Whatever is pushed, ordered, held or broken."""
    staging, production = staged(seed=seed)
    was_live: set[str] = set()
    for i, happening in enumerate(happenings):
        match happening:
            case "good" | "bad" | "dead" | "again":
                digest = f"sha256:{happening}{'' if happening == 'again' else i}"
                staging.release(digest)
                if happening == "bad":
                    staging.errors[max(staging.rollouts, default=0) + 1] = 0.6
                if happening == "dead":
                    staging.boots.add(digest)
            case "roll staging back":
                staging.order(Verb.ROLLBACK)
            case "deploy":
                production.order(Verb.DEPLOY, release=max(1, len(staging.releases)))
            case "roll back" | "abort":
                production.order(Verb.ROLLBACK if happening == "roll back" else Verb.ABORT)
            case "hold" | "go":
                production.gate = hold if happening == "hold" else World().gate
        for _ in range(25):
            staging.tick()
            was_live |= {one.digest for one in staging.listed() if one.state is S.LIVE}
            production.tick()
            assert set(digests(production)) <= was_live
