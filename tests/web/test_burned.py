"""The burn-down is the budget by the same rules: it ends at what is left, and no time is lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.balance.budget.controller import Curve
from poise.model.balance import Budget
from poise.model.increments import Sums
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import BudgetPolicy
from poise.web.burned import STEPS, Curves, burn_down

NOW = datetime(2026, 11, 28, 9, 40, tzinfo=UTC)
DAY_S = 86_400.0
OBJECTIVE = Objective(
    service="acme/production/shop",
    name="availability",
    indicator=IndicatorKind.AVAILABILITY,
    target_ratio=0.99,
)


def curves(
    bad_per_s: Callable[[float], float],
    known: Callable[[float], float],
    excluded: tuple[tuple[float, float], ...] = (),
) -> Curves:
    """Ten events a second; the rest is given as ratios, by minute."""
    start_s = NOW.timestamp() - 30 * DAY_S
    minutes = np.arange(0, 30 * DAY_S + 60.0, 60.0)
    bad = np.concatenate([[0.0], np.cumsum([600.0 * bad_per_s(start_s + at) for at in minutes[:-1]])])
    measured = np.concatenate([[0.0], np.cumsum([60.0 * known(start_s + at) for at in minutes[:-1]])])

    def curve(key: str, at_s: np.ndarray) -> Curve | None:  # type: ignore[type-arg]
        lost = np.interp(at_s - start_s, minutes, bad)
        seen = np.interp(at_s - start_s, minutes, measured)
        good = 10.0 * (at_s - start_s) - lost
        return Curve(
            sums=Sums(good=good, bad=lost, known_s=seen, start_s=at_s, excess=0.0 * at_s), excluded=excluded
        )

    return curve


def budget(bad: float, events: float, age_s: float = 28 * DAY_S, assumed_bad: float = 0.0) -> Budget:
    allowed = 0.01 * events
    left = 1.0 - (bad + assumed_bad) / allowed if allowed else 1.0
    return Budget(
        service=OBJECTIVE.service,
        objective=OBJECTIVE.name,
        target_ratio=0.99,
        window_s=28 * DAY_S,
        good=events - bad,
        bad=bad,
        allowed=allowed,
        left_ratio=left,
        burns=(),
        coverage_ratio=1.0,
        bootstrap=False,
        since=NOW - timedelta(seconds=age_s),
        measured_at=NOW,
        at=NOW,
        assumed_bad=assumed_bad,
    )


def always(_: float) -> float:
    return 1.0


def test_it_ends_at_what_is_left() -> None:
    """A line that ends elsewhere than the number beside it makes both worthless."""
    night_s = NOW.timestamp() - 9 * DAY_S
    one = budget(bad=600.0 * 0.5 * 60, events=10 * 28 * DAY_S)
    found = burn_down(
        curves(lambda at: 0.5 if 0 <= at - night_s < 3600 else 0.0, always),
        OBJECTIVE,
        one,
        BudgetPolicy(),
        NOW,
    )
    assert found is not None and len(found.points) <= STEPS + 1
    assert found.points[0].left_ratio == 1.0
    assert found.points[-1].left_ratio == pytest.approx(one.left_ratio, abs=1e-6)
    assert found.bad_s == pytest.approx(3600.0, abs=2 * found.grain_s)


def test_excluded_time_neither_spends_nor_is_unknown() -> None:
    """Announced maintenance is no outage, in the line as in the number."""
    start_s = NOW.timestamp() - 5 * DAY_S
    during = curves(
        lambda at: 1.0 if 0 <= at - start_s < 7200 else 0.0, always, ((start_s, start_s + 7200.0),)
    )
    found = burn_down(during, OBJECTIVE, budget(bad=0.0, events=10 * 28 * DAY_S), BudgetPolicy(), NOW)
    assert found is not None
    assert found.points[-1].left_ratio == pytest.approx(1.0)
    assert (found.bad_s, found.unknown_s) == pytest.approx((0.0, 0.0), abs=1.0)
    assert found.good_s == pytest.approx(28 * DAY_S - 7200.0, abs=1.0)


def test_what_was_not_measured_is_a_gap_and_never_good() -> None:
    """Silence must not look like success."""
    since_s = NOW.timestamp() - 3 * DAY_S
    deaf = curves(lambda _: 0.0, lambda at: 0.0 if 0 <= at - since_s < DAY_S else 1.0)

    def no_events(key: str, at_s: np.ndarray) -> Curve | None:  # type: ignore[type-arg]
        found = deaf(key, at_s)
        assert found is not None
        nothing = np.zeros_like(at_s)
        known_s = found.sums.known_s
        return Curve(sums=Sums(good=nothing, bad=nothing, known_s=known_s, start_s=at_s, excess=nothing))

    found = burn_down(no_events, OBJECTIVE, budget(bad=0.0, events=0.0), BudgetPolicy(), NOW)
    assert found is not None
    assert found.unknown_s == pytest.approx(DAY_S, rel=0.01)
    gaps = [point for point in found.points if point.left_ratio is None]
    assert gaps and all(point.measured_ratio < 0.5 for point in gaps)


def test_a_young_objective_begins_with_its_first_count() -> None:
    """An axis of 28 days for an hour of data hides the hour."""
    found = burn_down(
        curves(lambda _: 0.0, always), OBJECTIVE, budget(0.0, 36_000.0, age_s=3600.0), BudgetPolicy(), NOW
    )
    assert found is not None
    assert found.since == NOW - timedelta(hours=1)


def test_what_is_not_counted_here_has_no_line() -> None:
    """A composite that follows from other budgets has none of its own."""
    assert burn_down(lambda _key, _at: None, OBJECTIVE, budget(0.0, 1.0), BudgetPolicy(), NOW) is None


@given(
    ratio=st.floats(0.0, 1.0),
    known=st.floats(0.0, 1.0),
    allowed=st.sampled_from((0.0, 1e-9, 1.0, 1e9)),
    assumed=st.floats(0.0, 1e6),
    age_s=st.floats(0.0, 40 * DAY_S),
)
def test_every_figure_is_a_number(
    ratio: float, known: float, allowed: float, assumed: float, age_s: float
) -> None:
    """No NaN reaches a reader, whatever was counted."""
    one = budget(0.0, allowed / 0.01, age_s=age_s, assumed_bad=assumed)
    found = burn_down(_flat(ratio, known), OBJECTIVE, one, BudgetPolicy(), NOW)
    if found is None:
        assert age_s < 1.0
        return
    figures = [found.good_s, found.bad_s, found.unknown_s, found.grain_s]
    for point in found.points:
        figures += [
            value
            for value in (point.left_ratio, point.failed_ratio, point.measured_ratio)
            if value is not None
        ]
    assert all(map(math.isfinite, figures))
    passed_s = (found.until - found.since).total_seconds()
    assert found.good_s + found.bad_s + found.unknown_s == pytest.approx(passed_s, abs=1.0)


def _flat(ratio: float, known: float) -> Curves:
    def curve(key: str, at_s: np.ndarray) -> Curve | None:  # type: ignore[type-arg]
        passed = at_s - (NOW.timestamp() - 50 * DAY_S)
        return Curve(
            sums=Sums(
                good=10 * passed * (1 - ratio),
                bad=10 * passed * ratio,
                known_s=known * passed,
                start_s=at_s,
                excess=0.0 * at_s,
            )
        )

    return curve
