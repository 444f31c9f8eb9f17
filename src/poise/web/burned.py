"""From running sums to a burn-down: what was left at each instant; good, bad and unknown time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from poise.balance.budget.controller import Curve
from poise.model.balance import Budget
from poise.model.exclusion import Stretch, effective
from poise.model.objective import Objective
from poise.model.period import period
from poise.model.policy import BudgetPolicy
from poise.web.objective_views import BurnDown, BurnPoint

STEPS: Final = 240  # of the line, which begins with one point more
PIECES: Final = 6  # that each step is looked at in
GRAINS_S: Final = ((3600.0, 15.0), (86_400.0, 60.0))  # the least piece of lengths up to so much
COARSE_S: Final = 300.0  # of longer ones: what budgets keep at that age
KNOWN_MIN_RATIO: Final = 0.5

Floats = NDArray[np.float64]
Curves = Callable[[str, Floats], Curve | None]


def burn_down(
    curves: Curves, objective: Objective, budget: Budget, policy: BudgetPolicy, now: datetime
) -> BurnDown | None:
    """The budget of the present window as it was spent; None where nothing was counted here.

    Its last point is what is left now, by the same rules: excluded time does not count, and where unknown
    time is charged, each unknown second bears its share.
    """
    start = period(objective.window, now).start
    since, until = max(start, budget.since), _until(budget, policy, now)
    length_s = (until - since).total_seconds()
    if length_s < 1.0:
        return None
    grain_s = next((grain for most_s, grain in GRAINS_S if length_s <= most_s), COARSE_S)
    count = max(1, min(STEPS * PIECES, int(length_s // grain_s)))
    edges: Floats = np.linspace(since.timestamp(), until.timestamp(), count + 1)
    found = curves(objective.key, edges)
    if found is None:
        return None
    most_s = objective.excluded_max_ratio * objective.window_s
    excluded = effective(found.excluded, since.timestamp(), until.timestamp(), most_s)
    spent = _Spent(found, edges, _without(curves, objective.key, excluded, edges), budget)
    good_s, bad_s, unknown_s = spent.times(1 - objective.target_ratio)
    return BurnDown(
        start=start,
        since=since,
        until=until,
        points=tuple(spent.points(max(1, -(-count // STEPS)))),
        good_s=good_s,
        bad_s=bad_s,
        unknown_s=unknown_s,
        grain_s=length_s / count,
    )


def _until(budget: Budget, policy: BudgetPolicy, now: datetime) -> datetime:
    """What follows a fresh last reading is pending, not unknown."""
    if budget.measured_at is None or (now - budget.measured_at).total_seconds() > policy.stale_after_s:
        return now
    return min(now, budget.measured_at)


def _without(curves: Curves, key: str, excluded: Sequence[Stretch], edges: Floats) -> Floats:
    """(good, bad, known, passed) that lie in excluded time up to each edge."""
    made = np.zeros((4, len(edges)))
    for start, end in excluded:
        found = curves(key, np.append(start, np.clip(edges, start, end)))
        if found is not None:
            sums = found.sums
            rows = np.array([sums.good, sums.bad, sums.known_s, sums.start_s])
            made += rows[:, 1:] - rows[:, :1]
    return made


class _Spent:
    """Sums since the first edge, by edge, excluded time left out."""

    def __init__(self, found: Curve, edges: Floats, without: Floats, budget: Budget) -> None:
        sums = np.array([found.sums.good, found.sums.bad, found.sums.known_s, found.sums.start_s])
        rows = np.maximum(sums - sums[:, :1] - without, 0.0)
        self.good, self.bad, self.known_s, self.passed_s = np.maximum.accumulate(rows, axis=1)
        self.at_s = edges
        self.budget = budget

    def points(self, step: int) -> list[BurnPoint]:
        """One for every ``step`` edges, and one for the last."""
        marks = sorted({*range(0, len(self.at_s), step), len(self.at_s) - 1})
        left, made = self._left(), [self._first()]
        for before, here in pairwise(marks):
            passed_s = float(self.passed_s[here] - self.passed_s[before])
            known_s = float(self.known_s[here] - self.known_s[before])
            known = min(1.0, known_s / passed_s) if passed_s > 0 else 0.0
            bad, good = (float(one[here] - one[before]) for one in (self.bad, self.good))
            some = known >= KNOWN_MIN_RATIO or bad + good > 0
            made.append(
                BurnPoint(
                    at=datetime.fromtimestamp(float(self.at_s[here]), UTC),
                    left_ratio=float(left[here]) if some else None,
                    failed_ratio=bad / (bad + good) if bad + good > 0 else None,
                    measured_ratio=known,
                )
            )
        return made

    def _first(self) -> BurnPoint:
        """The window begins with a whole budget."""
        begin = datetime.fromtimestamp(float(self.at_s[0]), UTC)
        return BurnPoint(at=begin, left_ratio=1.0, measured_ratio=1.0)

    def _left(self) -> Floats:
        """What was left at each edge of the budget as large as it is now."""
        unknown_s = np.maximum(self.passed_s - self.known_s, 0.0)
        whole_s = float(unknown_s[-1])
        charged = self.budget.assumed_bad * unknown_s / whole_s if whole_s > 0 else np.zeros_like(unknown_s)
        failed = self.bad + charged
        if self.budget.allowed > 0:
            left: Floats = 1.0 - failed / self.budget.allowed
        else:
            left = np.where(failed > 0, np.minimum(0.0, 1.0 - failed), 1.0)
        return left

    def times(self, bearable_ratio: float) -> tuple[float, float, float]:
        """(good, bad, unknown) seconds: a measured piece is bad where more failed than the target bears."""
        passed_s, known_s = np.diff(self.passed_s), np.diff(self.known_s)
        known_s = np.clip(known_s, 0.0, passed_s)
        good, bad = np.diff(self.good), np.diff(self.bad)
        hurt = bad > bearable_ratio * (good + bad)
        bad_s = float(known_s[hurt].sum())
        return float(known_s.sum()) - bad_s, bad_s, float((passed_s - known_s).sum())
