"""Composites: OpenSLO's rules, journeys against a simulation, late components and ceilings."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.model.composite import Waiting, ceiling, combine, combined, infeasible
from poise.model.objective import (
    Combination,
    Component,
    Composite,
    IndicatorKind,
    Objective,
    WhenDelayed,
)
from poise.model.slices import Slice


def composite(
    combination: Combination, *weights: float, when: WhenDelayed = WhenDelayed.UNKNOWN
) -> Composite:
    return Composite(
        combination=combination,
        components=tuple(Component(objective="abc"[n], weight=weight) for n, weight in enumerate(weights)),
        max_delay_s=300.0,
        when_delayed=when,
    )


@pytest.mark.parametrize(
    ("combination", "weights", "ratios", "expected"),
    [
        (Combination.ALL_OF, (1, 1), {"a": 0.99, "b": 0.98}, 0.9702),
        (Combination.ANY_OF, (1, 1), {"a": 0.9, "b": 0.8}, 0.98),
        (Combination.WEIGHTED, (3, 1), {"a": 1.0, "b": 0.6}, 0.9),
        (Combination.BURN, (1, 1), {"a": 0.95, "b": 0.95}, 0.90),  # OpenSLO's own numbers
        (Combination.BURN, (0.5, 1), {"a": 0.9, "b": 1.0}, 0.95),
        (Combination.BURN, (100, 1), {"a": 0.9, "b": 1.0}, 0.0),
    ],
)
def test_a_slice_of_a_composite_follows_from_its_components(
    combination: Combination, weights: tuple[float, ...], ratios: dict[str, float], expected: float
) -> None:
    """Each combination answers another question of users."""
    assert combined(ratios, composite(combination, *weights)) == pytest.approx(expected)


def test_a_journey_is_what_users_meet_who_take_every_step() -> None:
    """The oracle is a thousand simulated users a slice, not the formula."""
    seeded = random.Random(7)
    ratios = {"a": 0.97, "b": 0.9, "c": 0.99}
    users = 40_000
    through = sum(all(seeded.random() < ratio for ratio in ratios.values()) for _ in range(users))
    found = sum(any(seeded.random() < ratio for ratio in ratios.values()) for _ in range(users))
    every, some = composite(Combination.ALL_OF, 1, 1, 1), composite(Combination.ANY_OF, 1, 1, 1)
    assert combined(ratios, every) == pytest.approx(through / users, abs=0.006)
    assert combined(ratios, some) == pytest.approx(found / users, abs=0.006)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (WhenDelayed.COUNT_AS_GOOD, (Slice(60.0, 0.9, 0.1),)),
        (WhenDelayed.COUNT_AS_BAD, (Slice(60.0, 0.0, 1.0),)),
        (WhenDelayed.IGNORE, (Slice(60.0, 0.9, 0.1),)),
        (WhenDelayed.UNKNOWN, ()),
    ],
)
def test_a_late_component_counts_as_it_is_told_and_not_before_its_time(
    when: WhenDelayed, expected: tuple[Slice, ...]
) -> None:
    """A component that reports late must neither stop the composite nor silently be good."""
    journey = composite(Combination.ALL_OF, 1, 1, when=when)
    state, found = combine(Waiting(), {"a": [Slice(60.0, 0.9, 0.1)]}, journey, now_s=359.0)
    assert found == ()
    state, found = combine(state, {}, journey, now_s=360.0)
    assert [(one.end_s, pytest.approx(one.good)) for one in found] == [
        (one.end_s, one.good) for one in expected
    ]
    assert combine(state, {"b": [Slice(60.0, 0.0, 1.0)]}, journey, now_s=400.0)[1] == ()


def test_nothing_known_of_any_component_is_unknown() -> None:
    """Ignored components leave nothing to be good."""
    assert combined({}, composite(Combination.ALL_OF, 1, 1, when=WhenDelayed.IGNORE)) is None


ratios = st.dictionaries(st.sampled_from("abc"), st.floats(0, 1), min_size=3, max_size=3)


@given(ratios=ratios, weights=st.tuples(*[st.floats(0.1, 10)] * 3))
def test_a_composite_is_a_ratio_and_lies_where_its_meaning_puts_it(
    ratios: dict[str, float], weights: tuple[float, float, float]
) -> None:
    """A journey is never better than its worst step, alternatives never worse than the best."""
    found = {one: combined(ratios, composite(one, *weights)) for one in Combination}
    low, high = min(ratios.values()), max(ratios.values())
    assert all(one is not None and -1e-9 <= one <= 1 + 1e-9 for one in found.values())
    assert (found[Combination.ALL_OF] or 0) <= low + 1e-9
    assert (found[Combination.ANY_OF] or 0) >= high - 1e-9
    assert low - 1e-9 <= (found[Combination.WEIGHTED] or 0) <= high + 1e-9


def objective(key: str, target: float, *requires: str, made_of: Composite | None = None) -> Objective:
    service, _, name = key.rpartition("/")
    return Objective(
        service=service, name=name, indicator=IndicatorKind.AVAILABILITY, target_ratio=target,
        requires=requires, composite=made_of,
    )  # fmt: skip


def test_a_target_above_what_its_dependencies_allow_cannot_be_met() -> None:
    """Promising 99.9 % on top of payments at 99.5 % is promising what nobody can keep."""
    shop = objective("acme/p/shop/availability", 0.999, "acme/p/payments/availability")
    payments = objective("acme/p/payments/availability", 0.995, "acme/p/bank/availability")
    bank = objective("acme/p/bank/availability", 0.999)
    found = infeasible([shop, payments, bank])
    assert [one.objective for one in found] == ["acme/p/shop/availability"]
    assert found[0].ceiling_ratio == pytest.approx(0.995 * 0.999)
    assert found[0].sentence.startswith(
        "this target (99.9000%) cannot be met given payments/availability and"
    )
    assert ceiling(bank, {}) == 1.0


def test_a_circle_of_requirements_ends() -> None:
    """Two services that need one another are a fact of life, not an endless loop."""
    one, other = objective("acme/p/a/x", 0.99, "acme/p/b/x"), objective("acme/p/b/x", 0.99, "acme/p/a/x")
    assert ceiling(one, {each.key: each for each in (one, other)}) == 0.99


def test_a_journey_cannot_promise_more_than_its_steps() -> None:
    """Three steps of 99.9 % are at best 99.7 %."""
    steps = [objective(f"acme/p/s/{name}", 0.999) for name in "abc"]
    made_of = Composite(
        combination=Combination.ALL_OF, components=tuple(Component(objective=one.key) for one in steps)
    )
    found = infeasible([*steps, objective("acme/p/s/all", 0.999, made_of=made_of)])
    assert [round(one.ceiling_ratio, 6) for one in found] == [round(0.999**3, 6)]
    assert infeasible([*steps, objective("acme/p/s/all", 0.99, made_of=made_of)]) == ()


def test_nobody_promised_the_target_that_openslo_leaves_out() -> None:
    """It is the lowest of the components', so no promise that they could break; requirements still bind."""
    parts = [objective(f"acme/p/s/{name}", 0.99) for name in "ab"]
    made_of = Composite(
        combination=Combination.BURN, components=tuple(Component(objective=one.key) for one in parts)
    )
    bank = objective("acme/p/bank/x", 0.98)
    assert infeasible([*parts, objective("acme/p/s/all", 0.99, made_of=made_of)]) == ()
    (found,) = infeasible([*parts, bank, objective("acme/p/s/all", 0.99, bank.key, made_of=made_of)])
    assert (found.ceiling_ratio, found.because) == (pytest.approx(0.98), (bank.key,))
