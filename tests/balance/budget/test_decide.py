"""Budgets: always a number, event-exact, and never better for being worse."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from poise.balance.budget.book import Book
from poise.balance.budget.decide import Seen, budget_of, decide
from poise.balance.budget.measure import left_ratio, measure, sheet, signature
from poise.model.balance import Budget
from poise.model.increments import Increments, joined
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import DAY_S, BudgetPolicy, OnUnknown
from poise.model.record import Ref
from poise.model.standing import BudgetState, classify

Span = tuple[float, float]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
T = NOW.timestamp()
POLICY = BudgetPolicy()
OBJECTIVE = Objective(
    service="acme/production/shop",
    name="availability",
    indicator=IndicatorKind.AVAILABILITY,
    target_ratio=0.999,
)


def seen(
    steps: list[tuple[float, float, float]],
    *,
    days: float = 3,
    spans: tuple[Span, ...] | None = None,
    policy: BudgetPolicy = POLICY,
    before: Budget | None = None,
    objective: Objective = OBJECTIVE,
    now: datetime = NOW,
) -> Seen:
    """``steps``: (seconds before now, total, bad)."""
    ordered = sorted((T - age, total, bad) for age, total, bad in steps)
    began = T - days * DAY_S  # what was before is not handed to the book
    known = merged(((began, T),) if spans is None else spans)
    known = [(max(begin, began), to) for begin, to in known if to > began]
    last = max((to for _, to in spans), default=np.nan) if spans is not None else T
    book = Book(objective.window_s)
    made = sheet([objective], [policy], [book.place(objective.key)])
    book.add(joined([rows([(at, total - bad, bad, at) for at, total, bad in ordered]),
                     rows([(to, 0.0, 0.0, begin) for begin, to in known])]))  # fmt: skip
    since_s, last_s = np.array([began]), np.array([last])
    return Seen(
        sheet=made,
        measures=measure(made, book, since_s, last_s, now),
        sums=book,
        column=0,
        before=before,
        ref=Ref("Budget", objective.key, 0),
    )


def rows(told: list[tuple[float, float, float, float]]) -> Increments:
    """(at, good, bad, known from) of place 0."""
    at_s, good, bad, known_from_s = (np.array([row[i] for row in told]) for i in range(4))
    place = np.zeros(len(told), dtype=np.intp)
    return Increments(place=place, at_s=at_s, good=good, bad=bad, known_from_s=known_from_s)


def merged(spans: tuple[Span, ...]) -> list[Span]:
    """Apart from one another, as readings are."""
    found: list[Span] = []
    for begin, to in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(to, found[-1][1]))
        else:
            found.append((begin, to))
    return found


def measured(*given: list[tuple[float, float, float]], **more: object) -> Budget:
    """The budget out of what ``seen`` takes."""
    return budget_of(seen(*given, **more))  # type: ignore[arg-type]


def minutes(days: float, per_minute: float, bad: float = 0.0) -> list[tuple[float, float, float]]:
    return [(minute * 60.0, per_minute, bad) for minute in range(int(days * 1440))]


def diurnal(fault_hour: int) -> tuple[list[tuple[float, float, float]], float]:
    """Three days with traffic 20:1 between peak and night, one hour of 50 % errors."""
    steps, total, bad = [], 0.0, 0.0
    for minute in range(3 * 1440):
        hour = (minute / 60) % 24
        rate = 60 * (1.05 + 0.95 * math.cos(2 * math.pi * (hour - 12) / 24)) / 2
        failed = rate / 2 if 24 + fault_hour <= minute / 60 < 25 + fault_hour else 0.0
        steps.append((3 * DAY_S - minute * 60.0 - 1, rate, failed))
        total, bad = total + rate, bad + failed
    return steps, 1 - bad / (0.001 * total)


def test_case_a_a_quiet_period_burns_nothing_and_is_a_number() -> None:
    """A mean of ratios answers NaN here until the quiet minutes leave the window."""
    steps = [(age, 0.0, 0.0) if 600 <= age < 1500 else (age, 60.0, 0.02) for age, _, _ in minutes(1, 60)]
    budget = measured(steps, days=1)
    assert budget.left_ratio == pytest.approx(1 - 0.02 / 60 / 0.001, abs=0.001)
    assert budget.coverage_ratio == 1
    assert all(burn.rate is not None and math.isfinite(burn.rate) for burn in budget.burns)


def test_case_b_no_error_series_is_a_whole_budget() -> None:
    budget = measured(minutes(2, 60))
    assert (budget.left_ratio, budget.bad) == (1.0, 0.0)


def test_case_c_the_first_fifty_errors_count() -> None:
    steps = [*minutes(1, 60), (30.0, 0.0, 50.0)]
    budget = measured(steps, days=1)
    assert 1 - budget.left_ratio == pytest.approx(50 / 86.4, abs=0.001)


@pytest.mark.parametrize("fault_hour", [12, 0], ids=["d-peak", "e-night"])
def test_cases_d_and_e_the_same_fault_costs_what_it_cost_users(fault_hour: int) -> None:
    steps, truth = diurnal(fault_hour)
    budget = measured(steps)
    assert budget.left_ratio == pytest.approx(truth, abs=0.001)
    assert (truth > 0) == (fault_hour == 0), "only the fault at night leaves a budget"


def test_case_f_one_failure_at_ten_requests_an_hour_is_no_fast_burn() -> None:
    """It is 14 % of the month, and no reason to wake anybody."""
    steps = [(hour * 3600.0 + 1, 10.0, 1.0 if hour == 0 else 0.0) for hour in range(28 * 24)]
    policy = BudgetPolicy(bootstrap_events=1000)
    budget = measured(steps, days=28, policy=policy)
    assert 1 - budget.left_ratio == pytest.approx(1 / (0.001 * 6720), abs=0.001)
    standing = classify(budget, policy, NOW)
    assert (standing.state, standing.fast_burn) == (BudgetState.HEALTHY, False)


def test_case_g_a_target_that_disappears_is_unknown() -> None:
    steps = [step for step in minutes(2, 60) if step[0] > 7200]
    budget = measured(steps, days=2, spans=((T - 3 * DAY_S, T - 7200),))
    assert math.isfinite(budget.left_ratio)
    assert budget.coverage_ratio == pytest.approx(1 - 2 / 48)
    assert budget.burns[0].rate is None and budget.burns[0].coverage_ratio == 0
    assert classify(budget, POLICY, NOW).state is BudgetState.UNKNOWN


def test_partial_time_is_unknown_under_hold_bad_under_bad_and_slow_under_ignore() -> None:
    spans: tuple[Span, ...] = ((T - 3 * DAY_S, T - 2 * DAY_S), (T - DAY_S, T))
    states = {}
    for choice in OnUnknown:
        policy = BudgetPolicy(on_unknown=choice)
        budget = measured(minutes(3, 60), spans=spans, policy=policy)
        states[choice] = classify(budget, policy, NOW).state
    assert states == {
        "hold": BudgetState.UNKNOWN,
        "bad": BudgetState.SPENT,
        "ignore": BudgetState.SLOW,
    }


def test_a_young_objective_has_the_observed_rate_times_the_period() -> None:
    budget = measured(minutes(1 / 24, 60, 0.6), days=1 / 24)
    assert budget.bootstrap
    assert budget.allowed == pytest.approx(0.001 * 3600 * 28 * 24)
    assert budget.left_ratio == pytest.approx(1 - 36 / budget.allowed)
    grown = measured(minutes(2, 60), days=2)
    assert not grown.bootstrap and grown.allowed == pytest.approx(0.001 * 2 * 86_400)


def test_a_spent_budget_says_when_it_is_back() -> None:
    objective = Objective(
        service="acme/production/shop",
        name="availability",
        indicator=IndicatorKind.AVAILABILITY,
        target_ratio=0.9,
        window_s=1000,
    )
    steps = [(float(age), 10.0, 8.0 if 400 < age <= 600 else 0.0) for age in range(10, 1000, 10)]
    budget = measured(steps, days=2, objective=objective)
    assert budget.left_ratio < 0
    assert budget.recovers_at is not None
    still_bad = [age for age, _, bad in steps if bad and age <= (budget.recovers_at - NOW).total_seconds()]
    assert NOW + timedelta(seconds=400) < budget.recovers_at < NOW + timedelta(seconds=600)
    assert still_bad == [] or max(still_bad) <= 1000


def test_unknown_time_that_counts_as_bad_is_charged_at_the_mean_rate() -> None:
    """The policy says so; what was counted stays what was counted."""
    policy = BudgetPolicy(on_unknown=OnUnknown.BAD)
    steps = [step for step in minutes(2, 60) if step[0] > 3600]
    budget = measured(steps, days=2, spans=((T - 2 * DAY_S, T - 3600),), policy=policy)
    assert budget.bad == 0 and budget.good == 60 * 47 * 60 - 60
    assert budget.assumed_bad == pytest.approx(3600, rel=0.01)
    assert budget.left_ratio == pytest.approx(1 - 3600 / (0.001 * 60 * 48 * 60), rel=0.01)
    hour = next(burn for burn in budget.burns if burn.window_s == 3600)
    assert hour.rate == pytest.approx(1000, rel=0.01)
    ignored = measured(steps, days=2, spans=((T - 2 * DAY_S, T - 3600),), policy=BudgetPolicy())
    assert (ignored.assumed_bad, ignored.left_ratio) == (0.0, 1.0)


@given(
    st.lists(st.tuples(st.floats(0, 3 * DAY_S), st.integers(0, 3000), st.floats(0, 1)), max_size=20),
    st.floats(0.5, 0.9999),
    st.floats(0, 200),
    st.sampled_from(OnUnknown),
)
def test_whatever_changes_a_standing_changes_the_signature(
    steps: list[tuple[float, int, float]], target: float, more_bad: float, on_unknown: OnUnknown
) -> None:
    """It decides which budgets are looked at closely: it must never be blind to what the gate sees."""
    objective = structs.replace(OBJECTIVE, target_ratio=target)
    policy = BudgetPolicy(bootstrap_events=500, on_unknown=on_unknown)
    ordered = [(age, float(total), float(round(total * share))) for age, total, share in steps]
    one = seen(ordered, policy=policy, objective=objective)
    bad = float(round(more_bad))
    other = seen([*ordered, (30.0, bad, bad)], policy=policy, objective=objective)
    stale = seen(ordered, policy=policy, objective=objective, spans=((T - 3 * DAY_S, T - 61),))
    before, *after = (
        (classify(budget_of(each), policy, NOW), signature(each.sheet, each.measures)[0])
        for each in (one, other, stale)
    )
    for standing, sign in after:
        said = (standing.state, standing.rule, standing.fast_burn)
        if said != (before[0].state, before[0].rule, before[0].fast_burn):
            assert sign != before[1]


def test_nothing_measured_is_a_number_with_no_coverage() -> None:
    budget = measured([], spans=())
    assert (budget.left_ratio, budget.coverage_ratio, budget.measured_at) == (1.0, 0.0, None)
    assert classify(budget, POLICY, NOW).state is BudgetState.UNKNOWN


def test_a_budget_is_written_only_when_something_material_changed() -> None:
    facts = seen(minutes(2, 60))
    first = decide(facts, NOW)
    budget = first.writes[0].body
    assert isinstance(budget, Budget) and len(first.events) == 1
    soon, later = NOW + timedelta(seconds=5), NOW + timedelta(seconds=21)
    again = seen([*minutes(2, 60), (-4.0, 5.0, 0.0)], before=budget, now=soon)
    assert decide(again, soon).is_empty
    fresh = seen(minutes(2, 60), before=budget, spans=((T - 40 * DAY_S, T + 21),), now=later)
    assert decide(fresh, later).is_empty
    refreshed = decide(structs.replace(fresh, is_due=True), later)
    assert len(refreshed.writes) == 1 and not refreshed.events
    worse = seen([*minutes(2, 60), (-4.0, 200.0, 200.0)], before=budget, now=soon)
    spent = decide(worse, soon)
    assert [event.type for event in spent.events] == ["dev.poise.budget.changed"]
    assert spent.events[0].data["to"] == "spent"


def test_the_first_event_of_a_budget_is_told_at_once_though_nothing_is_spent_by_it() -> None:
    """A service that does well would else look as if nobody came, until its budget is refreshed."""
    empty = budget_of(seen([]))
    soon = NOW + timedelta(seconds=5)
    first = seen([(-4.0, 5.0, 0.0)], before=empty, now=soon)
    assert len(decide(first, soon).writes) == 1
    assert signature(first.sheet, first.measures)[0] != signature(first.sheet, seen([]).measures)[0]


ROWS = st.lists(
    st.tuples(st.floats(0, 30 * DAY_S), st.integers(0, 10_000), st.floats(0, 1)), max_size=40
).map(lambda rows: [(age, float(total), float(round(total * share))) for age, total, share in rows])
SPANS = st.lists(st.tuples(st.floats(0, 30 * DAY_S), st.floats(0, 5 * DAY_S)), max_size=8).map(
    lambda gaps: tuple((T - age, min(T, T - age + length)) for age, length in gaps)
)


@given(ROWS, SPANS, st.floats(0.5, 1.0), st.floats(0, 40))
def test_gaps_anywhere_always_give_a_number_and_a_coverage(
    rows: list[tuple[float, float, float]], spans: tuple[Span, ...], target: float, days: float
) -> None:
    objective = Objective(
        service="a/b/c", name="x", indicator=IndicatorKind.AVAILABILITY, target_ratio=target
    )
    budget = measured(rows, spans=spans, days=days, objective=objective)
    numbers = [budget.left_ratio, budget.allowed, budget.good, budget.bad, budget.rate_per_s]
    numbers += [burn.rate for burn in budget.burns if burn.rate is not None]
    assert all(math.isfinite(number) for number in numbers)
    assert 0 <= budget.coverage_ratio <= 1
    assert budget.left_ratio <= 1 and budget.bad >= 0 and budget.good >= 0


@given(ROWS, st.integers(0, 39), st.integers(1, 500), st.floats(0, 30))
def test_more_bad_never_raises_what_is_left(
    rows: list[tuple[float, float, float]], place: int, extra: int, days: float
) -> None:
    before = measured(rows, days=days).left_ratio
    age = rows[place % len(rows)][0] if rows else 5.0
    after = measured([*rows, (age, float(extra), float(extra))], days=days).left_ratio
    assert after <= before + 1e-9


def test_a_target_of_one_allows_nothing_and_stays_a_number() -> None:
    bad = np.array([0.0, 3.0, 0.5])
    assert left_ratio(bad, np.zeros(3)).tolist() == [1.0, -2.0, 0.0]
