"""The budget room on a store and signals: counted once, restart-safe, gaps told from failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from poise.adapters.memory import MemoryStore
from poise.adapters.memory_totals import MemoryTotals
from poise.adapters.totals import StoredTotals
from poise.balance.budget.controller import ALL, REFRESHES, BudgetController
from poise.model.balance import COUNTED_KEY, Budget, Counted
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import Alerting, AlertTier
from poise.model.record import Ref, Write
from poise.model.service import Project
from poise.model.signal import ERRORS_TOTAL, LATENCY_BUCKET, REQUESTS_TOTAL, Batch, Sample, Series
from poise.model.standing import BudgetState, as_of, classify
from poise.ports.store import Transaction
from poise.ports.totals import Totals

T0 = datetime(2026, 11, 1, tzinfo=UTC)
SERVICE = "acme/production/shop"
AVAILABLE = Objective(
    service=SERVICE, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.99
)
FAST = Objective(
    service=SERVICE, name="latency", indicator=IndicatorKind.LATENCY, target_ratio=0.95, threshold_ms=100
)
PROJECT = Project(name="acme")


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class World:
    """One service's counters, one store, one controller that can be restarted."""

    def __init__(self, *objectives: Objective) -> None:
        self.store = MemoryStore()
        self.signals: Totals = MemoryTotals()
        self.objectives = objectives or (AVAILABLE,)
        self.restart()

    def restart(self) -> None:
        self.controller = BudgetController(self.store, self.signals)

    async def declare(self) -> None:
        writes = [Write(kind="Project", key="acme", body=PROJECT)]
        writes += [Write(kind="Objective", key=one.key, body=one) for one in self.objectives]
        await self.store.commit(Transaction(at=T0, writes=writes))

    async def read(self, seconds: float, total: float, bad: float | None = 0.0, epoch: str = "e1") -> None:
        labels = (("service", SERVICE),)
        samples = [Sample(Series(REQUESTS_TOTAL, labels), total)]
        if bad is not None:
            samples.append(Sample(Series(ERRORS_TOTAL, labels), bad))
        await self.signals.append(Batch(at=at(seconds), epoch=epoch, samples=tuple(samples)))

    async def look(self, seconds: float, key: str = AVAILABLE.key) -> Budget:
        decision = await self.controller.look(ALL, at(seconds))
        assert decision.wake_at == at(seconds + 5)
        if not decision.is_empty:
            await self.store.commit(
                Transaction(
                    at=at(seconds), reads=decision.reads, writes=decision.writes, events=decision.events
                )
            )
        budget, _ = await self.store.get(Budget, key)
        assert budget is not None
        return budget


def test_events_are_counted_since_the_objective_began_and_only_once() -> None:
    async def play() -> None:
        world = World()
        await world.declare()
        await world.read(-5, 1000, 100)
        await world.look(0)
        for second in range(0, 200, 2):
            await world.read(second, 1000 + second * 10, 100)
            if second % 10 == 0:
                await world.look(second)
        budget = await world.look(220)
        assert (budget.good, budget.bad, budget.coverage_ratio) == (1980.0, 0.0, 1.0)
        assert budget.rate_per_s == pytest.approx(1980 / 220)

    anyio.run(play)


def test_a_restart_changes_no_number() -> None:
    async def play() -> None:
        world = World()
        await world.declare()
        await world.look(0)
        for second in range(1, 400, 2):
            await world.read(second, second * 7, second // 50, epoch="e1" if second < 300 else "e2")
            if second % 15 == 0:
                await world.look(second)
        budget = await world.look(400)
        world.restart()
        again = await world.look(460)
        assert (again.good, again.bad, again.since) == (budget.good, budget.bad, budget.since)

    anyio.run(play)


def test_on_disk_the_numbers_are_the_same(tmp_path: Path) -> None:
    async def play() -> None:
        world, disk = World(), World()
        disk.signals = StoredTotals(tmp_path / "signals.db")
        budgets = []
        for one in (world, disk):
            one.restart()
            await one.declare()
            await one.read(-2, 500)
            await one.look(0)
            for second in range(1, 120, 3):
                await one.read(second, 500 + second * 7, second // 9, epoch="e1" if second < 80 else "e2")
                await one.look(second)
            one.restart()
            budgets.append(await one.look(150))
        await disk.signals.close()
        assert budgets[0] == budgets[1]
        assert budgets[0].good > 0 and budgets[0].bad > 0

    anyio.run(play)


def test_a_gap_while_poise_is_dead_is_counted_and_one_while_envoy_is_dead_is_unknown() -> None:
    async def play() -> None:
        world = World()
        await world.declare()
        await world.read(-2, 0)
        await world.look(0)
        await world.read(10, 100)
        await world.look(10)
        world.restart()
        await world.read(3610, 5000, 7)
        budget = await world.look(3610)
        assert (budget.bad, budget.coverage_ratio) == (7, 1.0)
        await world.read(4000, 40, 4, epoch="e2")
        budget = await world.look(4000)
        assert budget.bad == 11, "the new epoch began while watching: its first value counts"
        assert budget.coverage_ratio == pytest.approx(1 - 390 / 4000)

    anyio.run(play)


def test_coverage_counts_from_the_first_reading_not_from_before_there_was_anything_to_read() -> None:
    async def play() -> None:
        world = World()
        await world.declare()
        budget = await world.look(0)
        assert budget.measured_at is None
        assert classify(budget, PROJECT.policy, at(0)).state is BudgetState.UNKNOWN
        await world.read(500, 0)
        await world.read(505, 3)
        budget = await world.look(505)
        assert (budget.since, budget.coverage_ratio, budget.good) == (at(500), 1.0, 3.0)

    anyio.run(play)


def test_a_stale_source_is_unknown_and_says_so_once() -> None:
    async def play() -> None:
        world = World()
        await world.declare()
        await world.read(-1, 0)
        await world.look(0)
        await world.read(5, 50)
        for second in range(5, 200, 5):
            await world.look(second)
        changes = await world.store.journal(types=["dev.poise.budget.changed"])
        assert [change.event.data["to"] for change in changes] == ["slow", "unknown"]

    anyio.run(play)


def test_latency_is_counted_from_the_buckets() -> None:
    async def play() -> None:
        world = World(FAST)
        await world.declare()

        async def read(second: float, within: float, total: float) -> None:
            rows = {"50": 0.0, "100": within, "3600000": total}
            samples = tuple(
                Sample(Series(LATENCY_BUCKET, (("le", le), ("service", SERVICE))), count)
                for le, count in rows.items()
            )
            await world.signals.append(Batch(at=at(second), epoch="e1", samples=samples))

        await read(-1, 0, 0)
        await world.look(0, FAST.key)
        await read(10, 90, 100)
        budget = await world.look(30, FAST.key)
        assert (budget.good, budget.bad, budget.interpolated) == (90, 10, False)

    anyio.run(play)


def test_a_removed_objective_takes_its_budget_with_it() -> None:
    async def play() -> None:
        world = World()
        await world.declare()
        await world.look(0)
        gone = (Write(kind="Objective", key=AVAILABLE.key, body=None),)
        await world.store.commit(Transaction(at=at(1), writes=gone))
        decision = await world.controller.look(ALL, at(2))
        assert [(one.kind, one.key, one.body) for one in decision.writes] == [
            ("Budget", AVAILABLE.key, None),
            ("Outlook", AVAILABLE.key, None),
        ]

    anyio.run(play)


def test_only_objectives_wake_the_room() -> None:
    controller = World().controller
    assert controller.wakes(Ref("Objective", "a/b/c/d", 1)) == ALL
    assert controller.wakes(Ref("Budget", "a/b/c/d", 1)) is None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0.5, 120),
            st.integers(0, 50),
            st.integers(0, 50),
            st.booleans(),
            st.booleans(),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_whatever_is_skipped_doubled_or_restarted_the_sum_is_what_happened(
    moves: list[tuple[float, int, int, bool, bool, bool]],
) -> None:
    """A process counts; readings are skipped, doubled; Poise restarts: the budget is what it counted."""

    async def play() -> None:
        world = World()
        await world.declare()
        await world.read(-1, 0)
        await world.look(0)
        now, total, bad = 0.0, 0, 0
        for wait, good, failed, skipped, doubled, restarted in moves:
            now, total, bad = now + wait, total + good + failed, bad + failed
            if skipped:
                continue
            for _ in range(1 + doubled):
                await world.read(now, total, bad)
            if restarted:
                world.restart()
            await world.look(now)
        await world.read(now + 1, total, bad)
        decision = await world.look(now + 61)
        assert (decision.good, decision.bad) == (total - bad, bad)

    anyio.run(play)


def test_many_budgets_stay_fresh_though_few_are_written() -> None:
    """A look must cost a look: what has not changed is not written, and the gate still knows it is fresh."""
    many = tuple(structs.replace(AVAILABLE, name=f"availability-{n:03}") for n in range(100))

    async def play() -> None:
        world = World(*many)
        await world.declare()
        await world.read(-5, 1000, 0)
        await world.look(0, many[0].key)
        writes = []
        for second in range(5, 300, 5):
            await world.read(second, 1000 + second * 10, 0)
            before = await world.store.journal()
            await world.look(second, many[0].key)
            writes.append(len(await world.store.journal()) - len(before))
            counted, _ = await world.store.get(Counted, COUNTED_KEY)
            for one in many:
                stored, _ = await world.store.get(Budget, one.key)
                assert stored is not None
                seen = as_of(stored, counted, PROJECT.policy)
                assert seen.measured_at is None or (at(second) - seen.measured_at).total_seconds() <= 35
        refreshed = [
            stored.at for one in many if (stored := (await world.store.get(Budget, one.key))[0]) is not None
        ]
        assert sum(at(295) - one < timedelta(seconds=20) for one in refreshed) <= 4 * REFRESHES

    anyio.run(play)


def test_a_look_whose_writes_were_refused_writes_them_again() -> None:
    """The store is what is; what was only decided is not."""

    async def play() -> None:
        world = World()
        await world.declare()
        await world.read(-5, 1000, 0)
        await world.controller.look(ALL, at(0))  # somebody else was faster, or the disk was full
        budget = await world.look(5)
        assert (budget.since, budget.at) == (at(0), at(5))

    anyio.run(play)


def test_a_changed_threshold_is_counted_again_from_what_was_kept() -> None:
    """History is there: the budget by the new threshold is known at once."""

    async def play() -> None:
        world = World(FAST)
        await world.declare()
        rows = {"50": 0.6, "100": 0.9, "3600000": 1.0}
        for second in range(-5, 300, 5):
            samples = tuple(
                Sample(
                    Series(LATENCY_BUCKET, (("le", le), ("service", SERVICE))), share * max(0, second) * 20
                )
                for le, share in rows.items()
            )
            await world.signals.append(Batch(at=at(second), epoch="e1", samples=samples))
            if second >= 0 and second % 20 == 0:
                await world.look(second, FAST.key)
        before = await world.look(301, FAST.key)
        assert (before.good, before.bad) == (5310, 590)
        world.objectives = (structs.replace(FAST, threshold_ms=50),)
        await world.declare()
        after = await world.look(302, FAST.key)
        assert (after.good, after.bad, after.since) == (3540, 2360, before.since)

    anyio.run(play)


def test_a_look_without_news_costs_nothing_until_silence_itself_is_news() -> None:
    """Two looks in three find nothing where a source is asked every 15 s; the gate learns of silence."""

    async def play() -> None:
        world = World()
        await world.declare()
        await world.look(0)
        for second in range(1, 11):
            await world.read(second, second * 10)
        await world.look(10)
        before = await world.look(15)
        seen = [await world.controller.look(ALL, at(seconds)) for seconds in (20, 25, 29)]
        assert [(one.is_empty, one.reads) for one in seen] == [(True, ())] * 3, "nothing was measured"
        silent = await world.look(110)
        assert (before.measured_at, silent.at) == (silent.measured_at, at(110))
        assert silent.coverage_ratio < before.coverage_ratio

    anyio.run(play)


def test_a_tier_of_its_own_is_measured_and_told_since_when_it_burns() -> None:
    """Over windows that no policy asks for; a restart in between changes nothing, an hour's silence does."""
    tier = AlertTier(long_s=600, short_s=50, factor=5, hold_s=60)

    async def play() -> None:
        world = World(structs.replace(AVAILABLE, alerts=Alerting(tiers=(tier,))))
        await world.declare()
        await world.read(-5, 0, 0)
        await world.look(0)
        for second in range(5, 1200, 5):
            await world.read(second, second * 10, 0)
        quiet = await world.look(1200)
        assert quiet.burning_since == (None,) and {50.0, 600.0} <= {one.window_s for one in quiet.burns}
        for second in range(1205, 1405, 5):
            await world.read(second, second * 10, (second - 1200) * 5)
            if second % 10 == 0:
                burning = await world.look(second)
        (since,) = burning.burning_since
        assert since is not None and at(1205) < since < at(1300)
        world.restart()
        again = await world.look(1410)
        assert again.burning_since == (since,)
        world.restart()
        await world.read(1500, 15_000, 1_500)
        later = await world.look(1800)
        assert later.burning_since != (since,)

    anyio.run(play)
