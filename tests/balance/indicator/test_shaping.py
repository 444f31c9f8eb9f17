"""Units of budgets out of counted events: events, slices, composites."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.balance.indicator.shaping import Shaping
from poise.model.increments import Increments, joined
from poise.model.objective import (
    Combination,
    Component,
    Composite,
    IndicatorKind,
    Method,
    Objective,
    Slicing,
)

Event = tuple[int, float, float, float, float]  # place, at, good, bad, known from


def objective(name: str, **changes: object) -> Objective:
    base = {"indicator": IndicatorKind.QUERY, "target_ratio": 0.99}
    return Objective(service="acme/p/shop", name=name, **{**base, **changes})  # type: ignore[arg-type]


SLICED = objective("sliced", method=Method.TIMESLICES, slicing=Slicing(slice_s=60.0, target_ratio=0.9))


def made_of(combination: Combination, *names: str, **changes: object) -> Objective:
    composite = Composite(
        combination=combination,
        components=tuple(Component(objective=f"acme/p/shop/{name}") for name in names),
    )
    base = {"method": Method.RATIO_TIMESLICES, "slicing": Slicing(slice_s=60.0)}
    return objective("whole", indicator=IndicatorKind.COMPOSITE, composite=composite, **{**base, **changes})


def increments(events: list[Event]) -> Increments:
    columns = np.array(events, dtype=np.float64).reshape(-1, 5).T
    return joined(
        [
            Increments(
                place=columns[0].astype(np.intp),
                at_s=columns[1],
                good=columns[2],
                bad=columns[3],
                known_from_s=columns[4],
            )
        ]
    )


def rows(found: Increments) -> list[Event]:
    columns = (found.place, found.at_s, found.good, found.bad, found.known_from_s)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def minutes(place: int, ratios: list[float]) -> list[Event]:
    return [(place, (n + 1) * 60.0, 100.0 * r, 100.0 * (1 - r), n * 60.0) for n, r in enumerate(ratios)]


def test_events_stay_events() -> None:
    """Most objectives count what users met, one by one."""
    events = increments([(0, 5.0, 3.0, 1.0, 0.0), (1, 7.0, 1.0, 0.0, 2.0)])
    assert Shaping().shaped({0: objective("a"), 1: objective("b")}, events, 10.0) is events


def test_time_slices_go_in_as_slices_and_leave_others_alone() -> None:
    """A slice is one unit at its end, and the whole of it was measured."""
    events = increments([*minutes(0, [1.0, 0.5]), (1, 30.0, 4.0, 0.0, 0.0)])
    found = Shaping().shaped({0: SLICED, 1: objective("b")}, events, 130.0)
    assert rows(found) == [(0, 60.0, 1.0, 0.0, 0.0), (0, 120.0, 0.0, 1.0, 60.0), (1, 30.0, 4.0, 0.0, 0.0)]


def test_a_journey_is_the_product_of_its_steps() -> None:
    """Its steps go in as they are as well: people want to see which one burns."""
    objectives = {0: objective("a"), 1: objective("b"), 2: made_of(Combination.ALL_OF, "a", "b")}
    events = increments([*minutes(0, [1.0, 0.5]), *minutes(1, [0.9, 0.5])])
    found = [row for row in rows(Shaping().shaped(objectives, events, 130.0)) if row[0] == 2]
    assert [row[1] for row in found] == [60.0, 120.0]
    assert [row[2] for row in found] == pytest.approx([0.9, 0.25])


def test_a_component_with_slices_is_judged_by_its_own_target() -> None:
    """OpenSLO: a bad minute of any objective is a bad minute of the composite."""
    whole = made_of(
        Combination.ALL_OF, "sliced", "b", method=Method.TIMESLICES,
        slicing=Slicing(slice_s=60.0, target_ratio=0.9),
    )  # fmt: skip
    objectives = {0: SLICED, 1: objective("b"), 2: whole}
    events = increments([*minutes(0, [0.92, 0.8, 1.0]), *minutes(1, [1.0, 1.0, 0.5])])
    found = [row for row in rows(Shaping().shaped(objectives, events, 190.0)) if row[0] == 2]
    assert [row[2] for row in found] == [1.0, 0.0, 0.0]


def test_composites_of_composites_follow_from_them() -> None:
    """A shop is up when search and checkout are, and checkout is up when one of two providers is."""
    inner = made_of(Combination.ANY_OF, "a", "b")
    outer = Objective(
        service="acme/p/shop", name="outer", indicator=IndicatorKind.COMPOSITE, target_ratio=0.9,
        method=Method.RATIO_TIMESLICES, slicing=Slicing(slice_s=120.0),
        composite=Composite(
            combination=Combination.ALL_OF,
            components=(Component(objective="acme/p/shop/whole"), Component(objective="acme/p/shop/c")),
        ),
    )  # fmt: skip
    objectives = {0: objective("a"), 1: objective("b"), 2: objective("c"), 3: outer, 4: inner}
    events = increments([*minutes(0, [0.5, 0.5]), *minutes(1, [0.5, 0.5]), *minutes(2, [0.8, 0.8])])
    found = [row for row in rows(Shaping().shaped(objectives, events, 250.0)) if row[0] == 3]
    assert [(row[1], row[4]) for row in found] == [(120.0, 0.0)]
    assert found[0][2] == pytest.approx(0.75 * 0.8)


def test_a_place_that_another_objective_has_now_begins_anew() -> None:
    """What an old one had half counted is none of the new one's."""
    shaping = Shaping()
    shaping.shaped({0: SLICED}, increments([(0, 40.0, 0.0, 9.0, 0.0)]), 41.0)
    other = objective("other", method=Method.TIMESLICES, slicing=Slicing(slice_s=60.0, target_ratio=0.9))
    found = shaping.shaped({0: other}, increments([(0, 60.0, 5.0, 0.0, 20.0)]), 61.0)
    assert rows(found) == [(0, 60.0, 1.0, 0.0, 0.0)]


ratios = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(first=ratios, second=ratios, cuts=st.lists(st.integers(1, 30), max_size=6))
def test_it_makes_no_difference_in_how_many_rounds_it_is_counted(
    first: list[float], second: list[float], cuts: list[int]
) -> None:
    """A restart counts in one round what was counted in many."""
    objectives = {
        0: SLICED, 1: objective("b"), 2: made_of(Combination.ALL_OF, "sliced", "b"),
        3: objective("three", method=Method.RATIO_TIMESLICES, slicing=Slicing(slice_s=180.0)),
    }  # fmt: skip
    events = [*minutes(0, first), *minutes(1, second), *minutes(3, first)]
    end = 10_000.0
    whole = rows(Shaping().shaped(objectives, increments(events), end))
    shaping, parts, before = Shaping(), [], 0.0
    for cut in [*sorted(cut * 60.0 for cut in cuts), end]:
        some = [event for event in events if before < event[1] <= cut]
        parts += rows(shaping.shaped(objectives, increments(some), cut))
        before = max(before, cut)
    assert sorted(parts) == whole


def test_what_contradicted_itself_is_told_by_place_and_outlives_a_restart() -> None:
    """Of a composite too, where it alone cuts its component into slices."""
    objectives = {0: SLICED, 1: objective("plain"), 2: made_of(Combination.ANY_OF, "plain")}
    shaping = Shaping()
    events = increments([(0, 60.0, 140.0, -40.0, 0.0), (1, 60.0, -30.0, 130.0, 0.0)])
    shaping.shaped(objectives, events, 500.0)
    again = Shaping()
    again.resume(shaping.kept())
    for one in (shaping, again):
        found = one.contradictions()
        assert {place: (each.what, each.excess) for place, each in found.items()} == {
            0: ("good", 40.0), 2: ("bad", 30.0),
        }  # fmt: skip
