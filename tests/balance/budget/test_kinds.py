"""Budgets of every kind in one room: slices, composites, calendars, and time that does not count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poise.adapters.memory import MemoryStore
from poise.adapters.memory_totals import MemoryTotals
from poise.balance.budget.controller import ALL, BudgetController
from poise.balance.indicator.shaping import Shaping
from poise.model.balance import Budget
from poise.model.exclusion import Exclusion
from poise.model.objective import (
    Calendar,
    CalendarUnit,
    Combination,
    Component,
    Composite,
    IndicatorKind,
    Method,
    Objective,
    Slicing,
    Window,
)
from poise.model.policy import BudgetPolicy
from poise.model.record import Write
from poise.model.service import Project
from poise.model.signal import ERRORS_TOTAL, REQUESTS_TOTAL, Batch, Sample, Series
from poise.ports.store import Transaction

T0 = datetime(2026, 11, 2, tzinfo=UTC)
SHOP, PAY = "acme/production/shop", "acme/production/pay"
POLICY = BudgetPolicy(bootstrap_s=0, bootstrap_events=0)


def objective(name: str = "availability", service: str = SHOP, **changes: object) -> Objective:
    base: dict[str, object] = {"indicator": IndicatorKind.AVAILABILITY, "target_ratio": 0.9}
    return Objective(service=service, name=name, **{**base, **changes})  # type: ignore[arg-type]


PLAIN = objective()
SLICED = objective(
    "sliced", method=Method.TIMESLICES, slicing=Slicing(slice_s=60.0, target_ratio=0.95), target_ratio=0.5
)


def composite(combination: Combination, *keys: str, **changes: object) -> Objective:
    parts = tuple(Component(objective=key) for key in keys)
    base: dict[str, object] = {
        "indicator": IndicatorKind.COMPOSITE,
        "composite": Composite(combination=combination, components=parts),
    }
    return objective("whole", **{**base, **changes})


class World:
    """Two services' counters, a reading every ten seconds, and the room, which can be restarted."""

    def __init__(self, *objectives: Objective) -> None:
        self.store, self.totals = MemoryStore(), MemoryTotals()
        self.objectives = objectives
        self.seconds = 0
        self.counts = {SHOP: [0.0, 0.0], PAY: [0.0, 0.0]}
        self.restart()

    def restart(self) -> None:
        self.room = BudgetController(self.store, self.totals, shaper=Shaping)

    async def write(self, *writes: Write) -> None:
        await self.store.commit(Transaction(at=T0 + timedelta(seconds=self.seconds), writes=list(writes)))

    async def begin(self) -> None:
        project = Write(kind="Project", key="acme", body=Project(name="acme", policy=POLICY))
        await self.write(
            project, *(Write(kind="Objective", key=one.key, body=one) for one in self.objectives)
        )
        await self.go(0, shop=0)

    async def go(self, seconds: int, *, shop: float = 0.0, pay: float = 0.0) -> Budget:
        """So many seconds on, with such shares of a hundred requests a reading failing; the first budget."""
        for _ in range(max(1, seconds // 10)):
            self.seconds += 10 if seconds else 0
            for service, share in ((SHOP, shop), (PAY, pay)):
                if seconds:
                    self.counts[service][0] += 100.0
                    self.counts[service][1] += 100.0 * share
            samples = tuple(
                Sample(Series(name, (("service", service),)), self.counts[service][side])
                for service in (SHOP, PAY)
                for side, name in enumerate((REQUESTS_TOTAL, ERRORS_TOTAL))
            )
            at = T0 + timedelta(seconds=self.seconds)
            await self.totals.append(Batch(at=at, epoch="e1", samples=samples))
        return await self.look()

    async def look(self, key: str = "") -> Budget:
        at = T0 + timedelta(seconds=self.seconds)
        decision = await self.room.look(ALL, at)
        await self.store.commit(
            Transaction(at=at, reads=decision.reads, writes=decision.writes, events=decision.events)
        )
        budget, _ = await self.store.get(Budget, key or self.objectives[0].key)
        assert budget is not None
        return budget

    async def exclude(self, start: int, length: int, *, name: str = "x", rrule: str = "") -> None:
        one = Exclusion(
            project="acme", name=name, starts=(T0 + timedelta(seconds=start)).isoformat(), duration_s=length,
            reason="work", by="ann", rrule=rrule,
        )  # fmt: skip
        await self.write(Write(kind="Exclusion", key=one.key, body=one))

    async def include(self, name: str = "x") -> None:
        await self.write(Write(kind="Exclusion", key=f"acme/declared/{name}", body=None))


def played(play: Callable[[World], Awaitable[None]], *objectives: Objective) -> None:
    async def run() -> None:
        world = World(*objectives)
        await world.begin()
        await play(world)

    anyio.run(run)


def test_time_slices_are_counted_as_slices() -> None:
    """Ten minutes, three of them bad: three of ten slices; a restart changes nothing."""

    async def play(world: World) -> None:
        await world.go(300)
        await world.go(180, shop=0.5)
        budget = await world.go(120)
        assert (budget.good, budget.bad, budget.allowed) == (7.0, 3.0, pytest.approx(5.0))
        assert budget.left_ratio == pytest.approx(0.4)
        assert budget.coverage_ratio == 1.0
        world.restart()
        assert (await world.look()).left_ratio == budget.left_ratio

    played(play, SLICED)


def test_a_slice_that_has_not_ended_is_pending_not_unknown() -> None:
    """Half a minute into a slice nothing is missing."""

    async def play(world: World) -> None:
        budget = await world.go(150)
        assert budget.good == 2.0 and budget.coverage_ratio == 1.0

    played(play, SLICED)


def test_a_journey_burns_when_any_step_does() -> None:
    """Users who cannot pay have no shop."""
    parts = [PLAIN, objective(service=PAY)]
    whole = composite(
        Combination.ALL_OF, *(one.key for one in parts), method=Method.RATIO_TIMESLICES,
        slicing=Slicing(slice_s=60.0),
    )  # fmt: skip

    async def play(world: World) -> None:
        await world.go(300)
        budget = await world.go(300, pay=0.5, shop=0.2)
        assert budget.good == pytest.approx(5 + 5 * 0.4)
        assert budget.bad == pytest.approx(5 * 0.6)
        assert budget.measured_at == T0 + timedelta(seconds=600) and budget.coverage_ratio == 1.0
        world.restart()
        assert (await world.look()).bad == pytest.approx(budget.bad)

    played(play, whole, *parts)


def test_openslos_composite_burns_as_its_parts_do_times_their_weights() -> None:
    """Each part's spend is the composite's; it is known where all of them are."""
    parts = [PLAIN, objective(service=PAY)]
    whole = objective(
        "whole", indicator=IndicatorKind.COMPOSITE,
        composite=Composite(
            combination=Combination.BURN,
            components=(Component(objective=PLAIN.key, weight=0.5), Component(objective=parts[1].key)),
        ),
    )  # fmt: skip

    async def play(world: World) -> None:
        budget = await world.go(600, shop=0.04, pay=0.02)
        assert budget.left_ratio == pytest.approx(1 - 0.5 * 0.4 - 0.2)
        assert budget.burns[0].rate == pytest.approx(0.5 * 0.4 + 0.2)
        assert (budget.coverage_ratio, budget.measured_at) == (1.0, T0 + timedelta(seconds=600))

    played(play, whole, *parts)


def test_nothing_is_said_of_a_composite_that_only_counts_could_say() -> None:
    """It has no counts: its day was not unspent, and nobody knows when its budget is back."""
    whole = objective(
        "whole", indicator=IndicatorKind.COMPOSITE, also=(Window(window_s=7200.0),),
        composite=Composite(combination=Combination.BURN, components=(Component(objective=PLAIN.key),)),
    )  # fmt: skip

    async def play(world: World) -> None:
        budget = await world.go(600, shop=0.5)
        assert budget.left_ratio < 0
        assert (budget.periods, budget.recovers_at) == ((), None)

    played(play, whole, PLAIN)


def test_a_composite_of_which_a_part_is_not_declared_is_unknown() -> None:
    """What nobody counts is not good."""
    whole = composite(Combination.BURN, PLAIN.key, f"{PAY}/gone")

    async def play(world: World) -> None:
        assert (await world.go(600)).measured_at is None

    played(play, whole, PLAIN)


def test_a_month_begins_with_a_whole_budget() -> None:
    """What was spent in October is not November's."""
    daily = Calendar(unit=CalendarUnit.DAY, zone="Europe/Berlin")
    mine = objective(calendar=daily, window_s=25 * 3600.0)

    async def play(world: World) -> None:
        spent = await world.go(600, shop=0.2)
        assert spent.left_ratio < 0
        world.seconds = 23 * 3600 - 20  # midnight in Berlin is 23:00 UTC
        assert (await world.go(10)).left_ratio < 0
        assert (await world.go(600)).left_ratio == 1.0

    played(play, mine)


def test_several_windows_are_sums_of_the_same_counts() -> None:
    """The gate knows the rolling one; the contract the day, and what yesterday was like."""
    daily = Calendar(unit=CalendarUnit.DAY)
    mine = objective(window_s=7200.0, also=(Window(window_s=25 * 3600.0, calendar=daily),))

    async def play(world: World) -> None:
        await world.go(600, shop=0.05)
        world.seconds = 24 * 3600 - 10
        budget = await world.go(600, shop=0.1)
        assert [(one.name, one.bad) for one in budget.periods] == [
            ("2h", 600.0), ("day (UTC)", 600.0), ("day (UTC)", 300.0),
        ]  # fmt: skip
        today, yesterday = budget.periods[1:]
        assert today.start == yesterday.end == T0 + timedelta(days=1)
        assert today.left_ratio == pytest.approx(0.0, abs=1e-9)
        assert yesterday.left_ratio == pytest.approx(0.5, abs=0.02)

    played(play, mine)


def test_time_that_is_excluded_does_not_count_and_both_numbers_are_shown() -> None:
    """Announced work is no outage; who looks later still sees what it would have cost."""

    async def play(world: World) -> None:
        await world.go(300)
        await world.go(100, shop=1.0)
        before = await world.go(600)
        assert before.left_ratio < 0 and before.unadjusted_left_ratio is None
        await world.exclude(305, 100)
        budget = await world.look()
        assert (budget.left_ratio, budget.bad, budget.excluded_s) == (1.0, 0.0, 100.0)
        assert (budget.unadjusted_left_ratio, budget.unadjusted_bad) == (before.left_ratio, before.bad)
        assert budget.coverage_ratio == 1.0
        assert budget.burns[2].bad == 0.0
        await world.include()
        after = await world.look()
        assert after == before

    played(play, PLAIN)


def test_exclusions_cannot_eat_the_window() -> None:
    """A tenth of it at most, unless the objective says otherwise; the rest counts."""
    mine = objective(window_s=3600.0, excluded_max_ratio=0.05)

    async def play(world: World) -> None:
        await world.exclude(0, 3600)
        budget = await world.go(1200, shop=1.0)
        assert budget.excluded_s == 180.0
        assert budget.bad == 10_300.0 and budget.left_ratio < 0

    played(play, mine)


@settings(deadline=None, max_examples=25)
@example(spans=[(14, 30)], shares=[0.1, 0.0, 0.1, 0.1, 0.1])  # the share that is left stays as it was
@given(
    spans=st.lists(st.tuples(st.integers(0, 100), st.integers(1, 30)), min_size=1, max_size=5),
    shares=st.lists(st.sampled_from([0.0, 0.1, 1.0]), min_size=5, max_size=10),
)
def test_applying_and_taking_back_gives_the_identical_budget(
    spans: list[tuple[int, int]], shares: list[float]
) -> None:
    """Nothing that was counted is ever changed; excluded bad events are those of that time."""
    mine = objective(excluded_max_ratio=1.0)

    async def play(world: World) -> None:
        for share in shares:
            await world.go(100, shop=share)
        before = await world.look()
        excluded: set[int] = set()
        for number, (start, length) in enumerate(spans):
            await world.exclude(start * 10 + 5, length * 10, name=f"x{number}")
            excluded |= set(range(start, start + length))
        budget = await world.look()
        expected = sum(100 * shares[n // 10] for n in range(10 * len(shares)) if n not in excluded)
        assert budget.bad == pytest.approx(expected)
        for number in range(len(spans)):
            await world.include(f"x{number}")
        assert await world.look() == before

    played(play, mine)
