"""Gauges, probes and histograms: every value counts once, silence is unknown, restarts change nothing."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from poise.adapters.memory import MemoryStore
from poise.adapters.memory_samples import MemorySamples
from poise.adapters.memory_totals import MemoryTotals
from poise.adapters.promql.engine import Engine
from poise.adapters.regex import matching
from poise.balance.budget.controller import ALL, BudgetController
from poise.engine.query_reader import QueryReader
from poise.model.balance import Budget
from poise.model.errors import PoiseError, Unreachable
from poise.model.objective import Comparison, Gauge, Histogram, IndicatorKind, Objective
from poise.model.policy import BudgetPolicy
from poise.model.record import Write
from poise.model.samples import NAME, STALE, Frame, Labels, Limits
from poise.model.service import Project
from poise.model.standing import BudgetState, classify
from poise.ports.signals import SignalStore
from poise.ports.store import Transaction

T0 = datetime(2026, 11, 1, tzinfo=UTC)
POLICY = BudgetPolicy(bootstrap_s=0, bootstrap_events=0, stale_after_s=120)
DEPTH = Gauge(query="depth", op=Comparison.LT, bound=100.0)


def objective(kind: IndicatorKind, name: str = "mine", **changes: object) -> Objective:
    return Objective(
        service="acme/production/shop",
        name=name,
        indicator=kind,
        target_ratio=0.9,
        **changes,  # type: ignore[arg-type]
    )


class Elsewhere:
    """A metrics store in memory, asked in real PromQL."""

    def __init__(self) -> None:
        self.samples = MemorySamples()
        self.asked: list[str] = []
        self.fails: PoiseError | None = None

    def set(self, seconds: float, value: float, name: str = "depth", **labels: str) -> None:
        key: Labels = tuple(sorted({NAME: name, **labels}.items()))
        self.samples.add(key, [(round((T0.timestamp() + seconds) * 1000), value)])

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame:
        return self._answer(expression, lambda engine: engine.instant(expression, at_ms))

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Limits | None = None
    ) -> Frame:
        return self._answer(expression, lambda engine: engine.range(expression, start_ms, end_ms, step_ms))

    def _answer(self, expression: str, ask: Callable[[Engine], Frame]) -> Frame:
        self.asked.append(expression)
        if self.fails is not None:
            raise self.fails
        return ask(Engine(self.samples))


class Hands:
    """A clock that is set by hand."""

    seconds = 0.0

    def now(self) -> datetime:
        return T0 + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class World:
    """Objectives, their store elsewhere, the reader and the budget room, which can be restarted."""

    def __init__(self, *objectives: Objective) -> None:
        self.store, self.totals = MemoryStore(), MemoryTotals()
        self.elsewhere, self.clock = Elsewhere(), Hands()
        self.objectives = objectives
        self.restart()

    def restart(self) -> None:
        async def source(_project: str, _name: str) -> SignalStore:
            return self.elsewhere  # type: ignore[return-value]

        self.reader = QueryReader(self.store, self.totals, source, self.clock, matching)
        self.room = BudgetController(self.store, self.totals, problem_of=self.reader.problem)

    async def declare(self) -> None:
        project = Write(kind="Project", key="acme", body=Project(name="acme", policy=POLICY))
        writes = [project, *(Write(kind="Objective", key=one.key, body=one) for one in self.objectives)]
        await self.store.commit(Transaction(at=self.clock.now(), writes=writes))

    async def look(self, seconds: float) -> Budget:
        self.clock.seconds = seconds
        await self.reader.read_once()
        decision = await self.room.look(ALL, self.clock.now())
        await self.store.commit(
            Transaction(
                at=self.clock.now(), reads=decision.reads, writes=decision.writes, events=decision.events
            )
        )
        budget, _ = await self.store.get(Budget, self.objectives[0].key)
        assert budget is not None
        return budget

    def state(self, budget: Budget) -> BudgetState:
        return classify(budget, POLICY, self.clock.now()).state


Play = Callable[[World], Awaitable[None]]


def played(play: Play, *objectives: Objective) -> None:
    async def run() -> None:
        world = World(*objectives)
        await world.declare()
        await world.look(0)
        await play(world)

    anyio.run(run)


def test_each_value_of_a_gauge_is_one_event() -> None:
    """OpenSLO's occurrences: a measurement is good or bad, and counts once however often one looks."""

    async def play(world: World) -> None:
        for n, value in enumerate([5.0, 99.0, 100.0, 250.0, 5.0, 5.0]):
            world.elsewhere.set(1 + 15 * n, value)
            await world.look(2 + 15 * n)
            budget = await world.look(7 + 15 * n)
        assert (budget.good, budget.bad, budget.problem) == (4.0, 2.0, "")
        assert budget.coverage_ratio == 1.0

    played(play, objective(IndicatorKind.THRESHOLD, gauge=DEPTH))


def test_silence_is_unknown_and_never_a_go() -> None:
    """The value that a store merely holds on to says nothing of now, and a gauge nothing of a gap."""

    async def play(world: World) -> None:
        for n in range(8):
            world.elsewhere.set(1 + 15 * n, 5.0)
            budget = await world.look(2 + 15 * n)
        assert world.state(budget) is BudgetState.HEALTHY
        budget = await world.look(300)
        assert budget.problem == "depth has no value within 90 s"
        assert world.state(budget) is BudgetState.UNKNOWN
        for n in range(8):
            world.elsewhere.set(901 + 15 * n, 500.0)
            budget = await world.look(902 + 15 * n)
        assert (budget.good, budget.bad, budget.problem) == (8.0, 8.0, "")
        assert budget.coverage_ratio == pytest.approx((105 + 105) / (1006 - 1), abs=0.02)

    played(play, objective(IndicatorKind.THRESHOLD, gauge=DEPTH))


def test_a_restart_counts_nothing_twice_and_loses_nothing() -> None:
    """What came while Poise was down is read afterwards."""

    async def play(world: World) -> None:
        for n in range(4):
            world.elsewhere.set(1 + 15 * n, 5.0)
            await world.look(2 + 15 * n)
        for n in range(4, 10):
            world.elsewhere.set(1 + 15 * n, 500.0)
        world.restart()
        budget = await world.look(140)
        assert (budget.good, budget.bad) == (4.0, 6.0)
        world.restart()
        assert ((await world.look(141)).good, (await world.look(142)).bad) == (4.0, 6.0)
        assert budget.coverage_ratio == 1.0

    played(play, objective(IndicatorKind.THRESHOLD, gauge=DEPTH))


def test_an_expression_is_evaluated_on_its_own_beat() -> None:
    """A quantile is a gauge as well; it has no samples of its own."""

    async def play(world: World) -> None:
        for n in range(25):
            for name in "ab":
                world.elsewhere.set(5.0 * n, 30.0 if n < 12 else 80.0, instance=name)
            budget = await world.look(5.0 * n + 1)
        assert (budget.good, budget.bad) == (1.0, 3.0)
        assert len(world.elsewhere.asked) == 6

    gauge = Gauge(query="sum(depth)", op=Comparison.LT, bound=100.0, every_s=30.0)
    played(play, objective(IndicatorKind.THRESHOLD, gauge=gauge))


def test_many_expressions_are_one_question_and_a_broken_one_harms_none() -> None:
    """A hundred objectives must not be a hundred questions; a typo in one is its own."""

    async def play(world: World) -> None:
        for n in range(3):
            world.elsewhere.set(30.0 * n, 5.0)
            await world.look(30.0 * n + 1)
        assert world.elsewhere.asked[-1].count("label_replace") == 2
        assert world.reader.problem(world.objectives[1].key) == ""
        broken = objective(IndicatorKind.THRESHOLD, "broken", gauge=Gauge(query="max(depth) by by"))
        world.objectives = (*world.objectives, broken)
        await world.declare()
        world.elsewhere.set(90.0, 5.0)
        await world.look(91)
        budget = await world.look(110)
        assert budget.good == 3.0 and budget.problem == ""
        assert world.reader.problem(broken.key) != ""

    played(
        play,
        objective(IndicatorKind.THRESHOLD, gauge=Gauge(query="max(depth)", op=Comparison.LT, bound=9.0)),
        objective(IndicatorKind.THRESHOLD, "two", gauge=Gauge(query="min(depth)")),
    )


def test_selectors_of_one_metric_are_one_question() -> None:
    """A gauge per queue and an objective per gauge: still one read a beat."""

    async def play(world: World) -> None:
        for n in range(3):
            for queue, depth in (("a", 5.0), ("b", 500.0)):
                world.elsewhere.set(1 + 15 * n, depth, queue=queue)
            world.elsewhere.asked.clear()
            await world.look(2 + 15 * n)
        assert len(world.elsewhere.asked) == 1
        budget = await world.look(90)
        other, _ = await world.store.get(Budget, world.objectives[1].key)
        assert other is not None
        assert (budget.good, budget.bad, other.good, other.bad) == (3.0, 0.0, 0.0, 3.0)

    played(
        play,
        *(
            objective(
                IndicatorKind.THRESHOLD, name,
                gauge=Gauge(query=f'depth{{queue="{name}"}}', op=Comparison.LT, bound=100.0),
            )
            for name in "ab"
        ),
    )  # fmt: skip


def test_a_raw_ratio_counts_in_its_share_and_nothing_is_no_event() -> None:
    """0/0 is no traffic: it burns nothing, and it was measured."""

    async def play(world: World) -> None:
        for n, value in enumerate([0.25, 0.0, math.nan, 0.5]):
            world.elsewhere.set(1 + 15 * n, value)
            budget = await world.look(2 + 15 * n)
        assert (budget.good, budget.bad) == (2.25, 0.75)
        assert budget.coverage_ratio == 1.0
        world.elsewhere.set(61, 7.0)
        assert (await world.look(62)).problem == "7 is no ratio: it is not between 0 and 1"

    played(play, objective(IndicatorKind.RAW_RATIO, gauge=Gauge(query="depth", failure=True)))


def test_a_stale_marker_is_no_value() -> None:
    """Prometheus writes one when a target is gone."""

    async def play(world: World) -> None:
        world.elsewhere.set(1, 1.0)
        await world.look(2)
        world.elsewhere.set(16, STALE)
        budget = await world.look(17)
        assert (budget.good, budget.bad) == (1.0, 0.0)

    played(play, objective(IndicatorKind.BOOLEAN, gauge=Gauge(query="depth")))


def test_a_histogram_is_counted_by_its_buckets() -> None:
    """Counters: a gap loses nothing. Between two bounds the budget says that it is interpolated."""

    async def play(world: World) -> None:
        def grow(seconds: float, *cumulative: float) -> None:
            for le, value in zip(("0.1", "0.5", "+Inf"), cumulative, strict=True):
                world.elsewhere.set(seconds, value, "x_bucket", le=le, instance="a")

        grow(1, 100, 200, 200)
        await world.look(2)
        grow(16, 106, 210, 212)
        budget = await world.look(17)
        assert (budget.good, budget.bad) == (8.0, 4.0)
        grow(600, 112, 220, 224)
        budget = await world.look(601)
        assert (budget.good, budget.bad) == (16.0, 8.0)
        assert world.reader.is_interpolated(world.objectives[0].key)

    played(play, objective(IndicatorKind.HISTOGRAM, histogram=Histogram(query="x_bucket", bound=0.3)))


def test_a_source_that_cannot_be_reached_is_unknown() -> None:
    """What is not read is not good."""

    async def play(world: World) -> None:
        world.elsewhere.set(1, 1.0)
        await world.look(2)
        world.elsewhere.fails = Unreachable(
            "POISE-H110", "the metrics server cannot be reached", why="refused"
        )
        budget = await world.look(200)
        assert budget.problem == "the metrics server cannot be reached: refused"
        assert world.state(budget) is BudgetState.UNKNOWN

    played(play, objective(IndicatorKind.BOOLEAN, gauge=Gauge(query="depth")))


def test_each_group_has_a_budget_and_the_worst_is_the_objectives() -> None:
    """A region that is down must not drown in three that are up; a restart tells the same."""

    async def play(world: World) -> None:
        for n in range(10):
            for region in ("eu", "us", "ap"):
                world.elsewhere.set(1 + 15 * n, float(not (region == "us" and n > 5)), region=region)
            await world.look(2 + 15 * n)
        budget = await world.look(170)
        assert budget.group == "region=us"
        assert [(one.group, one.bad) for one in budget.groups] == [
            ("region=us", 4.0), ("region=ap", 0.0), ("region=eu", 0.0),
        ]  # fmt: skip
        assert (budget.bad, budget.left_ratio) == (4.0, pytest.approx(1 - 4 / (0.1 * 10)))
        assert world.state(budget) is BudgetState.SPENT
        world.restart()
        assert (await world.look(171)).groups == budget.groups
        stored, _ = await world.store.scan(Budget)
        assert [one.key for one in stored] == [world.objectives[0].key]

    played(play, objective(IndicatorKind.BOOLEAN, gauge=Gauge(query="depth"), group_by=("region",)))


def test_too_many_groups_are_told() -> None:
    """A label with a value per user must not become a budget per user."""

    async def play(world: World) -> None:
        for n in range(4):
            world.elsewhere.set(1, 1.0, user=f"u{n}")
        assert "more than 3 groups" in (await world.look(2)).problem

    played(
        play, objective(IndicatorKind.BOOLEAN, gauge=Gauge(query="depth"), group_by=("user",), groups_max=3)
    )
