"""The anomaly score: calibrated on what goes on as before, and silent where nothing is known."""

from datetime import UTC, datetime, timedelta

import numpy as np

from poise.model.anomaly import CALIBRATION_MIN, UNUSUAL, GoldenSignal, Side, scores, stretches


def test_on_data_that_go_on_one_value_in_a_hundred_is_unusual() -> None:
    """A score that cries wolf is looked at by nobody."""
    made = scores(np.random.default_rng(1).lognormal(size=3000).tolist(), 60.0)
    known = [one for one in made if one is not None]
    assert 0.005 < sum(one > UNUSUAL for one in known) / len(known) < 0.02


def test_a_value_far_out_is_unusual() -> None:
    """And on one side alone where the other is no trouble."""
    values = [*np.random.default_rng(2).normal(100, 5, 400).tolist(), 200.0]
    assert (scores(values, 60.0)[-1] or 0) > UNUSUAL
    assert scores([*values[:-1], 0.0], 60.0)[-1] == 0.0
    assert (scores([*values[:-1], 0.0], 60.0, Side.BOTH)[-1] or 0) > UNUSUAL


def test_no_data_is_no_score() -> None:
    """Silence is never usual; neither is a value whose past is unknown."""
    assert scores([], 60.0) == []
    assert scores([None] * 500, 60.0) == [None] * 500
    assert scores([1.0] * CALIBRATION_MIN, 60.0)[-1] is None
    assert scores([*([1.0] * 400), None], 60.0)[-1] is None


def test_three_unusual_values_in_a_row_are_a_stretch_and_a_gap_ends_it() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    at = [start + timedelta(minutes=n) for n in range(12)]
    found = [0.999, 0.5, 0.995, 0.998, 0.992, None, 0.999, 0.999, 0.5, 0.993, 0.993, 0.994]
    made = stretches(GoldenSignal.ERRORS, at, found)
    assert [(one.since, one.until, one.score) for one in made] == [
        (at[2], at[4], 0.998),
        (at[9], at[11], 0.994),
    ]
