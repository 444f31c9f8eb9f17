"""What a forecast promises: known expiries, honest ends, dates, and the same answer to the same counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from poise.balance.forecast.paths import Burning, History, forecast, returns

WINDOW = 28 * 24


def history(bad: np.ndarray | None = None, *, hours: int = WINDOW, per_hour: float = 1000.0) -> History:
    """A quiet window with ``bad`` failures."""
    return History(
        total=np.full(hours, per_hour),
        bad=np.zeros(hours) if bad is None else bad,
        known=np.ones(hours),
        target_ratio=0.999,
        window_hours=WINDOW,
    )


def spent_at(hour: int, ratio: float) -> np.ndarray:
    """One fault that spent so much of the budget."""
    bad = np.zeros(WINDOW)
    bad[hour] = ratio * WINDOW
    return bad


def test_a_service_without_failures_is_foretold_to_stay_so() -> None:
    """Nothing to draw from but good days."""
    made = forecast(history(), 24)
    assert made is not None
    assert (made.left_low, made.left_high, made.spent_chance) == (1.0, 1.0, 0.0)
    assert made.spent_chance_high < 0.1


def test_what_is_known_to_leave_the_window_is_known() -> None:
    """The failures of 28 days ago come back as budget, hour for hour."""
    made = forecast(history(spent_at(5, 0.5)), 24)
    assert made is not None
    assert made.left_middle == pytest.approx(1.0, abs=0.01)
    still = forecast(history(spent_at(5, 0.5)), 4)
    assert still is not None
    assert still.left_middle == pytest.approx(0.5, abs=0.01)


def test_a_frozen_team_is_told_when_it_may_go_on() -> None:
    """No other tool tells a frozen team when it unfreezes."""
    back = returns(history(spent_at(50, 1.2)), 0.0)
    assert back is not None
    assert back.middle == 51
    assert returns(history(), 0.0) is None


def test_a_budget_of_a_calendar_begins_anew_and_loses_nothing_before() -> None:
    """Nothing expires within a month; its end is a date that is known."""
    month = structs.replace(history(spent_at(5, 1.2)), resets_in_hours=60)
    back = returns(month, 0.0)
    assert back is not None
    assert back.latest is not None
    assert back.latest <= 61
    soon = forecast(month, 24)
    assert soon is not None
    assert soon.spent_chance == 1.0


def test_too_few_days_make_no_forecast() -> None:
    """No number is better than a made-up one."""
    assert forecast(history(hours=60), 24) is None
    unknown = structs.replace(history(), known=np.zeros(WINDOW))
    assert forecast(unknown, 24) is None


def test_a_burn_that_goes_on_makes_it_likelier_to_be_spent() -> None:
    """The question is asked most during a burn."""
    calm, hot = forecast(history(), 24), forecast(history(), 24, Burning(ratio=0.1, age_hours=3.0))
    assert calm is not None
    assert hot is not None
    assert hot.left_middle < calm.left_middle
    assert hot.spent_chance > 0.25


@given(
    counts=st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1)), min_size=1, max_size=200),
    horizon=st.integers(1, 80),
    resets=st.none() | st.integers(1, 100),
)
def test_every_number_is_finite_ordered_and_the_same_again(
    counts: list[tuple[int, float]], horizon: int, resets: int | None
) -> None:
    """Replayed, it is the same bit for bit; no NaN at no traffic."""
    total = np.array([float(one) for one, _ in counts])
    seen = History(
        total=total, bad=np.round(total * np.array([share for _, share in counts])),
        known=np.ones(len(total)), target_ratio=0.99, window_hours=72, resets_in_hours=resets,
    )  # fmt: skip
    made = forecast(seen, horizon)
    assert made == forecast(seen, horizon)
    if made is not None:
        assert made.left_low <= made.left_middle <= made.left_high <= 1.0
        assert 0.0 <= made.spent_chance_low <= made.spent_chance <= made.spent_chance_high <= 1.0
        assert all(np.isfinite(value) for value in structs.astuple(made))
