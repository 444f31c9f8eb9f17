"""The book: any window of any objective equals adding up, whatever comes when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.balance.budget.book import COARSE_S, GRAIN_S, Book
from poise.model.increments import Increments, joined

HORIZON_S = 28 * 86_400.0
T0 = 1_793_491_200.0  # on every grain

Row = tuple[int, float, float, float, float]  # place, at, good, bad, known from


def increments(rows: list[Row]) -> Increments:
    place, at_s, good, bad, known_from_s = (np.array([row[i] for row in rows], dtype=float) for i in range(5))
    return Increments(place=place.astype(np.intp), at_s=at_s, good=good, bad=bad, known_from_s=known_from_s)


def book(*keys: str, horizon_s: float = HORIZON_S) -> Book:
    made = Book(horizon_s, width=2)
    for key in keys or ("a",):
        made.place(key)
    return made


def added_up(rows: list[Row], place: int, start: float, end: float) -> tuple[float, float, float]:
    """Brute force over [start, end)."""
    inside = [row for row in rows if row[0] == place and start <= row[1] < end]
    known_s = sum(max(0.0, min(row[1], end) - max(row[4], start)) for row in rows if row[0] == place)
    return sum(row[2] for row in inside), sum(row[3] for row in inside), known_s


MOVES = st.lists(
    st.tuples(
        st.integers(0, 2),  # place
        st.integers(1, 200_000),  # ms since the reading before
        st.integers(0, 1000),
        st.integers(0, 50),
        st.booleans(),  # whether the time before it is known
        st.integers(0, 300_000),  # ms late
    ),
    max_size=60,
)


def history(moves: list[tuple[int, int, int, int, bool, int]]) -> list[tuple[float, Row]]:
    """(when it arrives, the row), ascending by arrival."""
    last: dict[int, float] = {}
    rows, now = [], T0
    for place, wait_ms, good, bad, known, late_ms in moves:
        now += wait_ms / 1000
        before = last.get(place, T0)
        at = max(before, now - late_ms / 1000)
        rows.append((now, (place, at, float(good), float(bad), before if known else at)))
        last[place] = at
    return rows


@given(MOVES, st.floats(0, 3600), st.floats(0, 3600))
def test_any_window_within_the_hour_equals_adding_up(
    moves: list[tuple[int, int, int, int, bool, int]], a: float, b: float
) -> None:
    """Late readings and gaps included: an edge lies on the grain, everything between is exact."""
    arrived, one = history(moves), book("a", "b", "c")
    for _, row in arrived:
        one.add(increments([row]))
    rows = [row for _, row in arrived]
    newest = max((row[1] for row in rows), default=T0)
    start, end = (GRAIN_S * ((newest - back) // GRAIN_S) for back in (max(a, b), min(a, b)))
    sums = one.between(start, end)
    for place in range(3):
        good, bad, known_s = added_up(rows, place, start, end)
        assert (sums.good[place], sums.bad[place]) == (good, bad)
        assert sums.known_s[place] == pytest.approx(known_s, abs=0.01)


@given(MOVES, st.integers(1, 10))
def test_in_pieces_or_at_once_the_book_is_the_same_bit_for_bit(
    moves: list[tuple[int, int, int, int, bool, int]], size: int
) -> None:
    """What a restart counts again must be what was counted."""
    rows = sorted((row for _, row in history(moves)), key=lambda row: row[1])
    whole, pieces = book("a", "b", "c"), book("a", "b", "c")
    whole.add(increments(rows))
    for first in range(0, len(rows), size):
        pieces.add(increments(rows[first : first + size]))
    for back in (0, 7, 60, 301, 3600, 90_000):
        start = (rows[-1][1] if rows else T0) - back
        one, other = whole.between(start), pieces.between(start)
        for name in ("good", "bad", "known_s", "start_s"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_an_old_window_starts_on_the_coarser_grain_at_most_that_much_too_early() -> None:
    one = book()
    rows: list[Row] = [(0, T0 + 30.0 * i, 1.0, 0.0, T0 + 30.0 * (i - 1)) for i in range(1, 30 * 2880)]
    one.add(increments(rows))
    end = rows[-1][1]
    for window_s, edge_s in ((300.0, 5), (3600.0, 5), (7200.0, 60), (3 * 86_400.0, COARSE_S)):
        sums = one.between(end - window_s)
        assert 0 <= end - window_s - sums.start_s[0] < edge_s
        good, _, known_s = added_up(rows, 0, float(sums.start_s[0]), end + 1)
        assert sums.good[0] == good
        assert sums.known_s[0] == known_s == pytest.approx(end - sums.start_s[0])


def test_nothing_before_the_beginning_is_counted_and_nothing_is_forgotten_within_the_horizon() -> None:
    one = book(horizon_s=7200.0)
    one.add(increments([(0, T0 + 1, 5.0, 1.0, T0), (0, T0 + 5000, 2.0, 0.0, T0 + 4990)]))
    everything = one.between(T0 - 1e6)
    assert (everything.good[0], everything.bad[0], everything.known_s[0]) == (7.0, 1.0, 11.0)


def test_a_new_objective_begins_at_zero_and_a_forgotten_one_leaves_no_trace() -> None:
    one = book("a", "b")
    one.add(increments([(0, T0 + 1, 5.0, 1.0, T0), (1, T0 + 1, 7.0, 2.0, T0)]))
    one.forget("a")
    place = one.place("c")
    one.add(increments([(place, T0 + 4000, 3.0, 0.0, T0 + 4000)]))
    sums = one.between(T0 - 10)
    assert (sums.good[place], sums.bad[place], sums.known_s[place]) == (3.0, 0.0, 0.0)
    assert (sums.good[one.place("b")], sums.bad[one.place("b")]) == (7.0, 2.0)
    places = [one.place(name) for name in "defgh"]
    assert len({*places, place, one.place("b")}) == 7
    assert one.between(T0 - 10).good[one.place("b")] == 7.0


def test_different_starts_are_asked_at_once() -> None:
    """Calendar windows and windows of several lengths cost one row each."""
    one = book("a", "b")
    one.add(increments([(i % 2, T0 + 10.0 * i, 1.0, 0.0, T0 + 10.0 * i) for i in range(100)]))
    sums = one.between(np.array([T0 + 900.0, T0 + 500.0]))
    assert sums.good.tolist() == [5.0, 25.0]
    assert sums.start_s.tolist() == [T0 + 900, T0 + 500]


def test_a_curve_rises_by_what_happened() -> None:
    one = book("a")
    one.add(increments([(0, T0 + 10.0 * i, 2.0, 1.0, T0 + 10.0 * (i - 1)) for i in range(1, 100)]))
    curve = one.curve("a", np.array([T0, T0 + 100, T0 + 500, T0 + 5000]))
    assert curve.bad.tolist() == [0.0, 9.0, 49.0, 99.0]
    assert curve.good.tolist() == [0.0, 18.0, 98.0, 198.0]


def test_the_earliest_edge_after_which_little_enough_was_bad_is_found() -> None:
    one = book("a")
    rows: list[Row] = [
        (0, T0 + 10.0 * i, 1.0, 1.0 if i < 50 else 0.0, T0 + 10.0 * (i - 1)) for i in range(1, 900)
    ]
    one.add(increments(rows))
    edge = one.spent_by("a", T0, 10.0)
    assert edge == T0 + 420, "on the minute: at 410 s the ten last ones are still to come"
    assert one.spent_by("a", T0, -1.0) is None


def test_parts_are_joined_in_the_order_of_time() -> None:
    whole = joined([increments([(0, T0 + 5, 1.0, 0.0, T0)]), increments([(1, T0 + 2, 2.0, 0.0, T0)])])
    assert whole.place.tolist() == [1, 0]
    assert len(joined([])) == 0


@given(MOVES, st.lists(st.floats(-100_000, 200_000), max_size=20))
def test_many_instants_at_once_stand_as_each_alone(
    moves: list[tuple[int, int, int, int, bool, int]], offsets: list[float]
) -> None:
    """A restarted watch and a curve ask for a day of minutes: the same sums, bit for bit."""
    one = book("a", "b", "c")
    for _, row in history(moves):
        one.add(increments([row]))
    at_s = np.array([T0 + offset for offset in sorted(offsets)])
    found, curve = one.standing(at_s), one.curve("b", at_s)
    place = one.place("b")
    for number, at in enumerate(at_s.tolist()):
        alone = one.between(0.0, at)
        for name in ("good", "bad", "known_s"):
            assert np.array_equal(getattr(found, name)[number], getattr(alone, name))
            assert getattr(curve, name)[number] == getattr(alone, name)[place]
