"""From a budget's left ratio to a level, with memory: slower at once, faster only when it has settled."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from poise.model.policy import BudgetPolicy, Level

PARALLEL_MAX: Final = 1000  # no bound: a first release, a rollback


class Pace(Struct, frozen=True, kw_only=True):
    """The sizes of a level: steps, how much longer each is held, how many rollouts at once."""

    steps_percent: tuple[int, ...]
    bake_factor: float
    parallel_rollouts: int


def level_of(left_ratio: float, policy: BudgetPolicy) -> Level:
    """The level of a budget without memory.

    >>> [level_of(left, BudgetPolicy()).value for left in (0.9, 0.5, 0.3, 0.05, 0.0)]
    ['fast', 'normal', 'slow', 'approval', 'freeze']
    """
    if left_ratio <= policy.hold_below_ratio:
        return Level.FREEZE
    if left_ratio < policy.approval_below_ratio:
        return Level.APPROVAL
    if left_ratio < policy.slow_below_ratio:
        return Level.SLOW
    return Level.FAST if left_ratio > policy.fast_above_ratio else Level.NORMAL


def settled(
    before: Level, since: datetime, left_ratio: float, policy: BudgetPolicy, now: datetime
) -> tuple[Level, datetime | None]:
    """The level after ``before`` (held ``since``), and when it may be faster at the earliest.

    A slower one is taken at once. A faster one needs the margin above its bound, and the dwell behind it; it
    then goes as far as the margin allows. None: the budget itself does not allow a faster one.
    """
    plain = level_of(left_ratio, policy)
    if plain.rank >= before.rank:
        return plain, None
    spared = level_of(left_ratio - policy.leave_margin_ratio, policy)
    if spared.rank >= before.rank:
        return before, None
    ripe_at = since + timedelta(seconds=policy.dwell_s)
    return (spared, None) if now >= ripe_at else (before, ripe_at)


def pace_of(level: Level, own_steps: tuple[int, ...], policy: BudgetPolicy) -> Pace:
    """The sizes of a level for a service whose own steps are ``own_steps``.

    >>> pace_of(Level.FAST, (5, 20, 50), BudgetPolicy()).steps_percent
    (20,)
    """
    if level is Level.FAST:
        return Pace(
            steps_percent=policy.fast_steps_percent or own_steps[1::2] or own_steps,
            bake_factor=policy.fast_bake_factor,
            parallel_rollouts=policy.parallel.fast,
        )
    if level is Level.NORMAL:
        return Pace(steps_percent=own_steps, bake_factor=1.0, parallel_rollouts=policy.parallel.normal)
    return Pace(
        steps_percent=policy.slow_steps_percent,
        bake_factor=policy.slow_bake_factor,
        parallel_rollouts=policy.parallel.slow if level is Level.SLOW else 1,
    )
