"""Objectives that a metrics store counts: budgets move with the counters, and silence is unknown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import anyio
import numpy as np
import pytest

from poise.adapters.memory import MemoryStore
from poise.adapters.memory_totals import MemoryTotals
from poise.adapters.regex import matching
from poise.balance.budget.controller import ALL, BudgetController
from poise.engine.query_reader import QueryReader
from poise.model.balance import Budget
from poise.model.errors import Invalid, PoiseError, TooLarge, Unreachable
from poise.model.objective import IndicatorKind, Objective, Queries
from poise.model.policy import BudgetPolicy
from poise.model.record import Write
from poise.model.samples import AnswerKind, Block, Frame, Labels, Limits
from poise.model.service import Project
from poise.model.standing import BudgetState, classify
from poise.ports.signals import SignalStore
from poise.ports.store import Transaction

T0 = datetime(2026, 11, 1, tzinfo=UTC)
ORDERS = Objective(
    service="acme/production/shop",
    name="orders",
    indicator=IndicatorKind.QUERY,
    target_ratio=0.9,
    queries=Queries(total="orders_total", bad='orders_total{state="failed"}'),
)
POLICY = BudgetPolicy(bootstrap_s=0, bootstrap_events=0)


class Elsewhere:
    """A metrics store that holds, per query, each series' samples [(seconds after T0, value)]."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str | Labels, list[tuple[float, float]]]] = {}
        self.fails: PoiseError | None = None
        self.asked: list[str] = []
        self.refuses = ""

    def put(self, query: str, second: float, value: float, **labels: str) -> None:
        """One sample of a series with these labels."""
        self.held.setdefault(query, {}).setdefault(tuple(sorted(labels.items())), []).append((second, value))

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame:
        self.asked.append(expression)
        if self.fails is not None:
            raise self.fails
        selector = expression[: expression.rindex("[")]
        if selector == self.refuses:
            raise TooLarge("POISE-H122", "the answer has too many series")
        since = at_ms - int(expression[expression.rindex("[") + 1 : -3])
        rows = []
        for name, samples in self.held.get(selector, {}).items():
            points = [(round((T0.timestamp() + s) * 1000), v) for s, v in samples]
            points = [(at, v) for at, v in points if since < at <= at_ms]
            if points:
                rows.append((name if isinstance(name, tuple) else (("series", name),), points))
        lengths = [len(points) for _, points in rows]
        block = Block(
            series=tuple(labels for labels, _ in rows),
            owner=np.arange(len(rows)),
            at_ms=tuple(np.array([at for at, _ in points]) for _, points in rows),
            start=np.cumsum([0, *lengths])[:-1],
            flat=np.array([v for _, points in rows for _, v in points]),
        )
        empty = np.empty((0, 1))
        return Frame(
            kind=AnswerKind.MATRIX,
            at_ms=np.array([at_ms]),
            values=empty,
            present=empty.astype(bool),
            ragged=block,
        )


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return T0 + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class World:
    """One objective, its store elsewhere, reader and budget room, which can be restarted."""

    def __init__(self, objective: Objective = ORDERS) -> None:
        self.store = MemoryStore()
        self.totals = MemoryTotals()
        self.elsewhere = Elsewhere()
        self.clock = Hands()
        self.objective = objective
        self.restart()

    def restart(self) -> None:
        async def source(_project: str, _name: str) -> SignalStore:
            return self.elsewhere  # type: ignore[return-value]

        self.reader = QueryReader(self.store, self.totals, source, self.clock, matching)
        self.room = BudgetController(self.store, self.totals, problem_of=self.reader.problem)

    async def declare(self, objective: Objective) -> None:
        self.objective = objective
        project, objective_write = (
            Write(kind="Project", key="acme", body=Project(name="acme", policy=POLICY)),
            Write(kind="Objective", key=objective.key, body=objective),
        )
        await self.store.commit(Transaction(at=self.clock.now(), writes=[project, objective_write]))

    def set(self, seconds: float, **series: tuple[float, float]) -> None:
        """Each series' (all, failed) orders at an instant."""
        for name, (total, failed) in series.items():
            for query, value in (("orders_total", total), ('orders_total{state="failed"}', failed)):
                self.elsewhere.held.setdefault(query, {}).setdefault(name, []).append((seconds, value))

    async def look(self, seconds: float) -> Budget:
        self.clock.seconds = seconds
        await self.reader.read_once()
        decision = await self.room.look(ALL, self.clock.now())
        await self.store.commit(
            Transaction(
                at=self.clock.now(), reads=decision.reads, writes=decision.writes, events=decision.events
            )
        )
        budget, _ = await self.store.get(Budget, self.objective.key)
        assert budget is not None
        return budget

    def state(self, budget: Budget) -> BudgetState:
        return classify(budget, POLICY, self.clock.now()).state


def played(play: Callable[[World], object], world: World | None = None) -> None:
    async def run() -> None:
        made = world or World()
        await made.declare(made.objective)
        await play(made)  # type: ignore[misc]

    anyio.run(run)


def test_a_budget_moves_with_the_counters() -> None:
    """The whole point: events are counted exactly, and what stood there before is not ours."""

    async def play(world: World) -> None:
        await world.look(0)
        world.set(1, a=(1000, 500))
        await world.look(1)
        world.set(16, a=(1100, 505))
        world.set(31, a=(1200, 505))
        await world.look(16)
        budget = await world.look(31)
        assert (budget.good, budget.bad, budget.problem) == (195.0, 5.0, "")
        assert budget.coverage_ratio == 1.0
        assert world.state(budget) is BudgetState.HEALTHY

    played(play)


def test_one_series_restart_is_that_series_alone() -> None:
    """The fall of one replica's counter is a restart of one replica."""

    async def play(world: World) -> None:
        await world.look(0)
        world.set(1, a=(1000, 10), b=(500, 0))
        await world.look(1)
        world.set(16, a=(20, 1), b=(600, 0), c=(7, 0))
        budget = await world.look(16)
        assert (budget.good, budget.bad) == (126.0, 1.0)

    played(play)


def test_series_that_are_all_new_are_where_counting_begins_anew() -> None:
    """A relabelled metric must not be counted a second time from zero."""

    async def play(world: World) -> None:
        await world.look(0)
        world.set(1, a=(1000, 10))
        await world.look(1)
        world.elsewhere.held.clear()
        world.set(16, renamed=(1_000_000, 99_999))
        await world.look(16)
        world.set(31, renamed=(1_000_010, 99_999))
        budget = await world.look(60)
        assert (budget.good, budget.bad) == (10.0, 0.0)

    played(play)


@pytest.mark.parametrize(
    "error", [Unreachable("POISE-H110", "the metrics server cannot be reached", why="refused")]
)
def test_a_source_that_cannot_be_reached_is_unknown_and_never_a_go(error: PoiseError) -> None:
    """Nobody knows what is left of the budget."""

    async def play(world: World) -> None:
        await world.look(0)
        for second in range(1, 200, 15):
            world.set(second, a=(second * 10, 0))
            await world.look(second)
        world.elsewhere.fails = error
        budget = await world.look(400)
        assert "cannot be reached" in budget.problem and "refused" in budget.problem
        assert world.state(budget) is BudgetState.UNKNOWN
        world.elsewhere.fails = None
        world.set(410, a=(4100, 0))
        again = await world.look(411)
        assert again.problem == "" and again.good == 4090.0

    played(play)


def test_a_value_that_is_merely_held_is_unknown() -> None:
    """A store looks back five minutes: an old value would read as no failures."""

    async def play(world: World) -> None:
        await world.look(0)
        for second in range(1, 100, 15):
            world.set(second, a=(second, 0))
            await world.look(second)
        budget = await world.look(300)
        assert "has no sample within 90 s" in budget.problem
        assert world.state(budget) is BudgetState.UNKNOWN
        assert budget.measured_at is not None and budget.measured_at <= T0 + timedelta(seconds=100)

    played(play)


def test_a_query_that_is_refused_is_said_in_the_servers_words() -> None:
    """On the objective's page, not in a log alone."""

    async def play(world: World) -> None:
        world.elsewhere.fails = Invalid(
            "POISE-H130", "the metrics server refuses the question", why="1:3: no"
        )
        budget = await world.look(1)
        assert budget.problem == "the metrics server refuses the question: 1:3: no"
        assert world.state(budget) is BudgetState.UNKNOWN

    played(play)


def test_no_failure_yet_is_none_where_failures_are_some_of_a_total_that_is_fresh() -> None:
    """Most counters of failures do not exist before the first one."""

    async def play(world: World) -> None:
        await world.look(0)
        for second in (1, 16):
            world.elsewhere.held.setdefault("orders_total", {}).setdefault("a", []).append((second, second))
            await world.look(second)
        budget = await world.look(60)
        assert (budget.good, budget.bad, budget.problem) == (15.0, 0.0, "")

    played(play)


def test_failures_of_another_metric_that_is_absent_are_unknown() -> None:
    """A typing error in a metric's name must not be a service without failures."""
    odd = Objective(
        service=ORDERS.service,
        name="orders",
        indicator=IndicatorKind.QUERY,
        target_ratio=0.9,
        queries=Queries(total="orders_total", bad="order_failures_total"),
    )

    async def play(world: World) -> None:
        world.set(1, a=(10, 0))
        budget = await world.look(1)
        assert "order_failures_total (bad) has no sample" in budget.problem

    played(play, World(odd))


def test_a_restart_of_poise_changes_no_number() -> None:
    """What it counts from is durable."""

    async def play(world: World) -> None:
        await world.look(0)
        for second in range(1, 100, 15):
            world.set(second, a=(second * 7, second))
            await world.look(second)
            world.restart()
        budget = await world.look(120)
        world.restart()
        again = await world.look(150)
        assert (again.good, again.bad) == (budget.good, budget.bad) == (540.0, 90.0)
        assert len(await world.totals.epochs()) == 1

    played(play)


def test_objectives_of_one_metric_are_asked_for_together() -> None:
    """A thousand objectives must not be a thousand questions; each still gets its own series."""
    asked = [
        Objective(
            service=f"acme/production/{name}",
            name="orders",
            indicator=IndicatorKind.QUERY,
            target_ratio=0.9,
            queries=Queries(
                total=f'orders_total{{service="{name}"}}',
                bad=f'orders_total{{service="{name}",state=~"fail.*"}}',
            ),
        )
        for name in ("cart", "shop")
    ]

    async def play(world: World) -> None:
        for one in asked[1:]:
            await world.declare(one)
        together = 'orders_total{service=~"cart|shop"}'
        for second, events in ((1, 100), (16, 160)):
            for name, failed in (("cart", 2), ("shop", 5)):
                for state, count in (("done", events), ("failed", failed * second)):
                    world.elsewhere.put(together, second, count, service=name, state=state)
            await world.look(second)
        shop, _ = await world.store.get(Budget, asked[1].key)
        cart, _ = await world.store.get(Budget, asked[0].key)
        assert shop is not None and cart is not None
        assert ((cart.good, cart.bad), (shop.good, shop.bad)) == ((60.0, 30.0), (60.0, 75.0))
        assert [one for one in world.elsewhere.asked if "service" in one] == [f"{together}[90000ms]"] * 2
        world.elsewhere.refuses = together
        world.clock.seconds = 20
        await world.reader.read_once()
        assert {f'orders_total{{service="{name}"}}[90000ms]' for name in ("cart", "shop")} <= set(
            world.elsewhere.asked
        ), "too much together: each is asked alone"

    played(play, World(asked[0]))


def test_other_queries_are_counted_anew() -> None:
    """Yesterday's events by another definition are not today's."""

    async def play(world: World) -> None:
        await world.look(0)
        for second in (1, 16):
            world.set(second, a=(second * 100, second))
            await world.look(second)
        world.elsewhere.held["shop_total"] = {"a": [(20, 5.0), (40, 9.0)]}
        changed = Queries(total="shop_total", bad='shop_total{state="failed"}')
        await world.declare(
            Objective(
                service=ORDERS.service,
                name="orders",
                indicator=IndicatorKind.QUERY,
                target_ratio=0.9,
                queries=changed,
            )
        )
        await world.look(21)
        await world.look(41)
        budget = await world.look(61)
        assert (budget.good, budget.bad) == (4.0, 0.0)
        assert budget.since == T0 + timedelta(seconds=21), "when it was declared anew"

    played(play)
