"""A source that tells of more good or bad events than events: nobody knows such a budget: never a go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.balance.budget.test_book import increments
from tests.balance.budget.test_controller import World
from tests.balance.budget.test_controller import at as instant
from tests.balance.gate.cases import NOW
from tests.balance.gate.test_decide import ask

from poise.balance.budget.book import Book
from poise.balance.budget.controller import finished
from poise.balance.budget.decide import Seen, budget_of
from poise.balance.budget.measure import measure, sheet
from poise.model.balance import Budget, VerdictKind
from poise.model.objective import Combination, Component, Composite, IndicatorKind, Objective
from poise.model.policy import BudgetPolicy, OnUnknown
from poise.model.record import Ref
from poise.model.slices import Contradiction
from poise.model.standing import BudgetState, classify, mend_of

T0 = datetime(2026, 11, 1, tzinfo=UTC)
POLICY = BudgetPolicy(bootstrap_s=0, bootstrap_events=0)
HOURS = 12


def budgets(
    *hours: list[tuple[float, float]],
    objectives: tuple[Objective, ...] = (),
    contradictions: dict[int, Contradiction] | None = None,
) -> list[Budget]:
    """Of each objective, its good and bad events as its counters say them, an hour each."""
    declared = objectives or tuple(
        Objective(
            service="acme/production/shop", name=f"o{n}", indicator=IndicatorKind.QUERY, target_ratio=0.9
        )
        for n in range(len(hours))
    )
    book, now = Book(28 * 86_400.0, width=4), T0 + timedelta(hours=max(map(len, hours)))
    places = [book.place(one.key) for one in declared]
    start_s = T0.timestamp()
    for number in range(max(map(len, hours))):
        end_s = start_s + (number + 1) * 3600.0
        told = [(place, *mine[number]) for place, mine in zip(places, hours, strict=False)]
        book.add(increments([(place, end_s - 10, good, bad, end_s - 3610) for place, good, bad in told]))
    columns = sheet(declared, [POLICY] * len(declared), places)
    since_s, measured_s = np.full(len(declared), start_s), np.full(len(declared), now.timestamp())
    measures = finished(columns, measure(columns, book, since_s, measured_s, now))
    return [
        budget_of(
            Seen(sheet=columns, measures=measures, sums=book, column=n, before=None,
                 ref=Ref("Budget", one.key, 0),
                 contradictions={places[k]: lie for k, lie in (contradictions or {}).items()})
        )
        for n, one in enumerate(declared)
    ]  # fmt: skip


def test_more_good_than_events_is_unknown_with_numbers_and_a_mend() -> None:
    """Clipped, these would be a full budget."""
    (budget,) = budgets([(10_000.0, 0.0)] * (HOURS - 1) + [(15_000.0, -5_000.0)])
    standing = classify(budget, POLICY, budget.at)
    assert (standing.state, standing.rule) == (BudgetState.UNKNOWN, "contradiction")
    assert standing.numbers["excess"] == 5_000.0 and "5,000 more good or bad events" in standing.text
    assert "poise slo exclude" in standing.text
    verdict = ask(structs.replace(budget, at=NOW, measured_at=NOW), policy=POLICY)
    assert verdict.kind is VerdictKind.HOLD and verdict.max_weight_percent == 0


def test_a_running_house_does_not_go_on_more_failures_than_requests() -> None:
    """Through the room: what was healthy is unknown as soon as its counters contradict one another."""

    async def play() -> None:
        world = World()
        await world.declare()
        await world.read(-5, 0, 0)
        await world.look(0)
        for second in range(10, 7200, 30):
            await world.read(second, second * 10, 0)
        before = await world.look(7200)
        assert before.excess == 0.0
        for second in range(7210, 7500, 30):
            await world.read(second, 72_000, 400 * (second - 7200))
        after = await world.look(7500)
        assert after.excess > 0
        assert classify(after, BudgetPolicy(), instant(7500)).rule == "contradiction"

    anyio.run(play)


def test_a_slice_that_contradicts_itself_is_told_while_it_lies_in_the_window() -> None:
    """Its time is unknown; that alone would say that a part was not measured."""
    since = T0 + timedelta(hours=3)
    lie = Contradiction(since=since, until=since + timedelta(minutes=1), what="good", excess=40.0)
    (budget,) = budgets([(9_900.0, 100.0)] * HOURS, contradictions={0: lie})
    assert budget.contradiction == lie
    said = "contradictory: good exceeds total by 40 at 2026-11-01 03:00 UTC"
    partial = structs.replace(budget, coverage_ratio=0.5)
    for policy, rule in (
        (POLICY, "partial"),
        (structs.replace(POLICY, on_unknown=OnUnknown.IGNORE), "unknown-time"),
    ):
        standing = classify(partial, policy, budget.at)
        assert standing.rule == rule and standing.text.endswith(f"({said})")
    assert "poise slo exclude NAME shop/o0 --from 2026-11-01T03:00:00Z --for 60s" in mend_of(budget)
    old = structs.replace(lie, since=since - timedelta(days=60), until=since - timedelta(days=60))
    (budget,) = budgets([(9_900.0, 100.0)] * HOURS, contradictions={0: old})
    assert budget.contradiction is None


def test_one_group_or_part_that_contradicts_itself_makes_the_whole_unknown() -> None:
    """Its own budget looks full, so the worst group would hide it."""
    whole = Objective(
        service="acme/production/shop", name="o", indicator=IndicatorKind.QUERY, target_ratio=0.9,
        group_by=("region",),
    )  # fmt: skip
    parts = tuple(
        Objective(
            service=whole.service, name="o", indicator=IndicatorKind.QUERY, target_ratio=0.9,
            group_by=("region",), group=group,
        )
        for group in ("region=eu", "region=us")
    )  # fmt: skip
    none, well, lie = [(0.0, 0.0)] * HOURS, [(9_900.0, 100.0)] * HOURS, [(10_000.0, -900.0)] * HOURS
    found = budgets(none, well, lie, objectives=(whole, *parts))
    assert found[0].group == "region=eu" and found[0].excess == 900.0 * HOURS

    components = tuple(Component(objective=f"{whole.service}/{name}") for name in ("a", "b"))
    made = [
        Objective(service=whole.service, name=name, indicator=IndicatorKind.QUERY, target_ratio=0.9)
        for name in ("a", "b")
    ]
    journey = Objective(
        service=whole.service, name="all", indicator=IndicatorKind.COMPOSITE, target_ratio=0.9,
        composite=Composite(combination=Combination.BURN, components=components),
    )  # fmt: skip
    found = budgets(well, lie, none, objectives=(*made, journey))
    assert found[2].excess == 900.0 * HOURS


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=HOURS),
    st.floats(0.05, 5.0),
    st.booleans(),
)
def test_no_contradiction_goes_whatever_came_before(
    hours: list[tuple[int, int]], over: float, is_bad: bool
) -> None:
    """An hour in which good or bad events outnumber all by a twentieth or more."""
    lie = (-1_000.0 * over, 1_000.0 * (1 + over))
    told = [*((float(good), float(bad)) for good, bad in hours), lie if is_bad else lie[::-1]]
    (budget,) = budgets(told)
    assert classify(budget, POLICY, budget.at).rule == "contradiction"


@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(-1e-6, 1e-6)), min_size=1, max_size=HOURS
    )
)
def test_rounding_of_interpolated_events_contradicts_nothing(hours: list[tuple[float, float, float]]) -> None:
    """Shares of buckets add up to a little more or less than the whole."""
    (budget,) = budgets([(good + noise, bad - noise) for good, bad, noise in hours])
    assert budget.excess == 0.0 and classify(budget, POLICY, budget.at).rule != "contradiction"


@pytest.mark.parametrize("skew", [0.0, 0.5, 0.99])
def test_counters_that_are_read_a_minute_apart_contradict_nothing(skew: float) -> None:
    """Up to a minute of the traffic may be in one and not yet in the other."""
    (budget,) = budgets([(3_600.0, 0.0)] * (HOURS - 1) + [(3_600.0 + 60.0 * skew, -60.0 * skew)])
    assert budget.excess == 0.0
