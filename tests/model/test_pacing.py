"""Levels and their memory: slower at once, faster only when the budget has settled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from poise.model.pacing import level_of, pace_of, settled
from poise.model.policy import BudgetPolicy, Level

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POLICY = BudgetPolicy()
LEFT = st.floats(-3, 1)
LEVELS = st.sampled_from(list(Level))


@given(LEVELS, LEFT, st.floats(0, 1e6))
def test_a_level_is_never_faster_than_the_budget_allows(before: Level, left: float, held_s: float) -> None:
    """Memory only ever slows down; else hysteresis would be a way around the policy."""
    after, _ = settled(before, NOW - timedelta(seconds=held_s), left, POLICY, NOW)
    assert after.rank >= level_of(left, POLICY).rank


@given(LEVELS, LEFT, st.floats(0, POLICY.dwell_s - 1))
def test_a_faster_level_waits_for_the_dwell_and_a_slower_one_for_nothing(
    before: Level, left: float, held_s: float
) -> None:
    """A budget that wavers around a bound must not change the pace with each reading."""
    after, ripe_at = settled(before, NOW - timedelta(seconds=held_s), left, POLICY, NOW)
    plain = level_of(left, POLICY)
    if plain.rank >= before.rank:
        assert after is plain
    else:
        assert after is before
        assert ripe_at is None or ripe_at > NOW


@given(st.lists(st.floats(0.36, 0.44), min_size=2, max_size=50))
def test_a_budget_that_wavers_around_a_bound_changes_the_level_once(lefts: list[float]) -> None:
    """Within the margin there is one change at most, however long it lasts."""
    level, since, at, changes = Level.NORMAL, NOW, NOW, 0
    for left in lefts:
        at += timedelta(seconds=2 * POLICY.dwell_s)
        after, _ = settled(level, since, left, POLICY, at)
        if after is not level:
            level, since, changes = after, at, changes + 1
    assert changes <= 1


def test_a_freeze_that_is_over_leads_as_far_as_the_margin_allows() -> None:
    """Nobody climbs one level an hour when the month's budget is back."""
    long_ago = NOW - timedelta(days=1)
    assert settled(Level.FREEZE, long_ago, 0.9, POLICY, NOW) == (Level.FAST, None)
    assert settled(Level.FREEZE, long_ago, 0.84, POLICY, NOW) == (Level.NORMAL, None)
    assert settled(Level.FREEZE, long_ago, 0.04, POLICY, NOW) == (Level.FREEZE, None)
    ripe_at = NOW - timedelta(seconds=60) + timedelta(seconds=POLICY.dwell_s)
    assert settled(Level.FREEZE, NOW - timedelta(seconds=60), 0.9, POLICY, NOW) == (Level.FREEZE, ripe_at)


def test_more_budget_buys_larger_steps_shorter_bakes_and_more_at_once() -> None:
    """The two-way part: a healthy team is not merely left alone, it goes faster."""
    paces = [pace_of(level, (5, 20, 50), POLICY) for level in Level]
    assert [one.bake_factor for one in paces] == [0.5, 1.0, 2.0, 2.0, 2.0]
    assert [one.parallel_rollouts for one in paces] == [10, 5, 2, 1, 1]
    assert [one.steps_percent[0] for one in paces] == [20, 5, 2, 2, 2]
    assert pace_of(Level.FAST, (50,), POLICY).steps_percent == (50,)
    assert pace_of(Level.FAST, (), POLICY).steps_percent == ()
