"""Rolling: replicas replaced batch by batch, each ready before the next, and back when one is not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.delivery.rollout.plan import batches
from poise.model import event_types
from poise.model.delivery import RolloutState, Verb
from poise.model.service import Replicas, StrategyKind

_spec = importlib.util.spec_from_file_location("rollout_world", Path(__file__).with_name("world.py"))
assert _spec is not None and _spec.loader is not None
world_module = sys.modules["rollout_world"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(world_module)
World = world_module.World
S = RolloutState
FOUR = Replicas(min=4, max=8)


def settled(replicas: Replicas = FOUR, **fields: Any) -> Any:
    """Rollout 1 live with so many replicas, and a second release by batches on its way."""
    fields = {"min_ready_s": 4.0} | fields
    strategy = replace(world_module.STRATEGY, kind=StrategyKind.ROLLING, **fields)
    world = World()
    world.release("sha256:a", replicas=replicas, strategy=strategy)
    world.until(S.LIVE, 1)
    world.release("sha256:b", replicas=replicas, strategy=strategy)
    return world


def counts(world: Any) -> tuple[int, int]:
    """Replicas of (old, new)."""
    return tuple(sum(one.rollout == n for one in world.replicas.values()) for n in (1, 2))  # type: ignore[return-value]


def test_replicas_are_replaced_by_batches_within_surge_and_unavailable() -> None:
    """Four replicas at 25 % and 25 %: at most five at once, at least three ready."""
    world, seen = settled(), []
    for _ in range(60):
        world.tick()
        if world.rollouts[2].state is S.LIVE:
            break
        seen.append(counts(world))
    assert list(dict.fromkeys(seen)) == [(3, 2), (1, 4)]
    assert [weight for n, weight in world.weights_seen if n == 2] == [67, 100]
    assert world.rollouts[1].state is S.RETIRED


def test_a_batch_serves_for_its_time_before_the_next_begins() -> None:
    world = settled()
    while world.route.acked.get(2) != 67:
        world.tick()
    world.run(3)
    assert counts(world) == (3, 2)
    world.run(3)
    assert counts(world) == (1, 4)


def test_a_batch_that_does_not_become_ready_stops_it_and_all_old_replicas_come_back() -> None:
    """The first batch was well; the second never is."""
    world = settled()
    while world.route.acked.get(2) != 67:
        world.tick()
    world.boots = {"sha256:b"}
    back = world.until(S.ROLLED_BACK, 2, limit_s=40)
    assert back.reason.startswith("2 of 4 replicas were ready after 20 s")
    assert world.told(event_types.ROLLOUT_ROLLING_BACK)[0].data["rule"] == "start_timeout"
    world.run(2)
    assert world.route.acked == {1: 100} and counts(world) == (4, 0)


def test_a_batch_that_harms_goes_back_by_the_evidence_against_the_old_replicas() -> None:
    world = settled(min_ready_s=30.0)
    world.errors = {2: 0.3}
    world.until(S.ROLLED_BACK, 2, limit_s=20)
    assert world.told(event_types.ROLLOUT_ROLLING_BACK)[0].data["rule"] == "harm"
    world.run(1)
    assert counts(world) == (4, 0)


def test_a_first_batch_that_never_starts_fails_and_the_old_replicas_are_whole_again() -> None:
    world = settled()
    world.boots = {"sha256:b"}
    world.until(S.FAILED, 2)
    world.run(1)
    assert counts(world) == (4, 0) and world.weights_seen == [(1, 100)]


def test_a_rollback_is_rolled_too_and_waits_for_nothing_but_readiness() -> None:
    """What room there is above the whole is declared; a way back has no more of it."""
    world = settled()
    world.until(S.LIVE, 2)
    world.order(Verb.ROLLBACK)
    world.until(S.LIVE, 3, limit_s=12)
    assert [weight for n, weight in world.weights_seen if n == 3] == [67, 100]


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_whatever_room_is_declared_batches_end_with_all_replicas_and_all_users(
    full: int, surge: int, lacking: int
) -> None:
    """Never more than the surge (one where there is none), never fewer than what may lack, never nobody."""
    made = batches(full, surge, lacking)
    lacking = lacking or (0 if surge else 1)
    assert made[-1].replicas == full and made[-1].weight_percent == 100
    before = 0
    for batch in made:
        assert batch.beside is not None and batch.beside >= 1
        assert batch.replicas > before
        assert batch.replicas + batch.beside <= full + max(1, surge)
        assert before + batch.beside >= min(full - lacking, full)
        before = batch.replicas
    weights = [batch.weight_percent for batch in made]
    assert weights == sorted(set(weights))
