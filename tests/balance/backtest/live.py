"""A running Poise in memory: the reader and the budget room over samples of a metrics store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from poise.adapters.memory import MemoryStore
from poise.adapters.memory_samples import MemorySamples
from poise.adapters.memory_totals import MemoryTotals
from poise.adapters.promql.engine import Engine
from poise.adapters.regex import matching
from poise.balance.budget.controller import ALL, BudgetController
from poise.balance.burn.watch import BurnWatch
from poise.balance.indicator.shaping import Shaping
from poise.engine.query_reader import QueryReader
from poise.model.exclusion import Exclusion
from poise.model.objective import Objective
from poise.model.policy import BudgetPolicy
from poise.model.record import Write
from poise.model.samples import Frame, Limits
from poise.model.service import Project
from poise.ports.signals import SignalStore
from poise.ports.store import Transaction


class Held:
    """A metrics store over samples in memory."""

    def __init__(self, samples: MemorySamples) -> None:
        self.samples = samples

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame:
        return Engine(self.samples, limits).instant(expression, at_ms)

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Limits | None = None
    ) -> Frame:
        return Engine(self.samples, limits).range(expression, start_ms, end_ms, step_ms)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Live:
    """Reader, budget room and watch on a beat of ``beat_s``."""

    def __init__(
        self,
        samples: MemorySamples,
        objectives: Sequence[Objective],
        policy: BudgetPolicy,
        at: datetime,
        *,
        exclusions: Sequence[Exclusion] = (),
        beat_s: float = 10.0,
    ) -> None:
        self.store, self.totals, self.clock = MemoryStore(), MemoryTotals(), Clock(at)
        self.objectives, self.policy, self.exclusions = objectives, policy, exclusions
        self.beat_s = beat_s

        async def source(_project: str, _name: str) -> SignalStore:
            return Held(samples)  # type: ignore[return-value]

        self.reader = QueryReader(self.store, self.totals, source, self.clock, matching)
        self.room = self.rooms()

    def rooms(self) -> BudgetController:
        """The budget room of a process that has just begun."""
        return BudgetController(
            self.store, self.totals, problem_of=self.reader.problem,
            interpolated_of=self.reader.is_interpolated, shaper=Shaping, observers=[BurnWatch()],
        )  # fmt: skip

    async def declare(self) -> None:
        writes = [Write(kind="Project", key="acme", body=Project(name="acme", policy=self.policy))]
        writes += [Write(kind="Objective", key=one.key, body=one) for one in self.objectives]
        writes += [Write(kind="Exclusion", key=one.key, body=one) for one in self.exclusions]
        await self.store.commit(Transaction(at=self.clock.at, writes=writes))
        await self.reader.read_once()
        await self.look()

    async def beat(self) -> list[Write]:
        self.clock.at += timedelta(seconds=self.beat_s)
        await self.reader.read_once()
        return await self.look()

    async def look(self) -> list[Write]:
        decision = await self.room.look(ALL, self.clock.at)
        await self.store.commit(
            Transaction(
                at=self.clock.at, reads=decision.reads, writes=decision.writes, events=decision.events
            )
        )
        return list(decision.writes)
