"""Charts read counters: every increase falls in exactly one interval, and a gap stays a gap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poise.model.signal import Points, Series
from poise.web.series import increases

EDGES = [0.0, 10.0, 20.0, 30.0]


def points(*values: tuple[float, float], epoch: str = "a") -> Points:
    return Points(series=Series("n"), epoch=epoch, points=values)


def test_an_increase_counts_where_it_was_read() -> None:
    assert increases([points((0, 5), (5, 8), (15, 10))], EDGES) == [3, 2, None]


def test_nothing_read_is_a_gap_and_no_traffic_is_zero() -> None:
    assert increases([points((0, 5), (5, 5))], EDGES) == [0, None, None]


def test_a_counter_that_fell_began_anew() -> None:
    assert increases([points((0, 100), (5, 4))], EDGES) == [4, None, None]


def test_epochs_add_up() -> None:
    grown = increases([points((0, 0), (5, 2)), points((6, 0), (9, 3), epoch="b")], EDGES)
    assert grown == [5, None, None]


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40))
def test_all_increases_are_shown_once(steps: list[int]) -> None:
    total, values = 0.0, []
    for n, step in enumerate(steps):
        total += step
        values.append((30.0 * n / len(steps), total))
    grown = increases([points(*values)], EDGES)
    assert sum(count or 0 for count in grown) == total - values[0][1]
