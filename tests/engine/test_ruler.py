"""Rules are evaluated on their beat, what they make is kept, and a restart changes nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from poise.adapters.blocks import BlockReader, BlockStore
from poise.adapters.memory import MemoryStore
from poise.adapters.memory_samples import MemorySamples
from poise.adapters.promql import Engine
from poise.adapters.rules import evaluate
from poise.adapters.sqlite.store import SqliteStore
from poise.adapters.worker.asking import AskedRules
from poise.adapters.worker.pool import QueryWorker
from poise.engine import ruling
from poise.engine.ruler import Ruler
from poise.model.errors import TimedOut
from poise.model.record import Write
from poise.model.rules import (
    EvaluateRules,
    Rule,
    RuleAlertState,
    RuleFile,
    RuleGroup,
    RulesEvaluated,
    RuleState,
    state_key,
)
from poise.model.samples import STALE_BITS, Appended, Labels, Reading, Round
from poise.model.service import Service
from poise.ports.store import Store, Transaction

T0 = datetime(2026, 11, 1, tzinfo=UTC)
DOWN = Rule(alert="Down", expr="up == 0", for_s=60, labels={"severity": "page"})
UP = (("__name__", "up"), ("job", "web"))


class Clock:
    def __init__(self) -> None:
        self.at = T0

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


class Kept(MemorySamples):
    """Metrics in memory, and the rounds as they came."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds: list[Round] = []

    async def append(self, round: Round) -> Appended:
        self.rounds.append(round)
        for reading in round.readings:
            for labels, values in zip(reading.series, reading.values, strict=True):
                self.add(labels, zip(reading.at_ms.tolist(), values.tolist(), strict=True))
        return Appended(kept=1)


class House:
    """A ruler over stores in memory, and a hand on its clock."""

    def __init__(self, *rules: Rule, interval_s: float = 15) -> None:
        self.store, self.metrics, self.clock = MemoryStore(), Kept(), Clock()
        self.breaks = ""
        self.group = RuleGroup(name="g", interval_s=interval_s, rules=rules)
        self.ruler = self.started()

    def started(self) -> Ruler:
        return Ruler(self.store, self.metrics, self._evaluate, self.clock, lambda: None)  # type: ignore[arg-type]

    async def _evaluate(self, asked: EvaluateRules, seconds: float) -> RulesEvaluated:
        if self.breaks:
            raise TimedOut("POISE-W103", self.breaks)
        return evaluate(asked, self.metrics)

    async def declare(self, *groups: RuleGroup) -> None:
        body = RuleFile(project="shop", path="r.yml", groups=groups or (self.group,))
        await put(self.store, Write(kind="RuleFile", key=body.key, body=body))

    def up(self, value: float) -> None:
        """What is scraped from now on, for as long as a look back reaches."""
        at = int(self.clock.at.timestamp() * 1000)
        self.metrics.add(UP, [(at + ms, value) for ms in range(1, 3_600_000, 15_000)])

    async def go(self, seconds: float, step_s: float = 15) -> None:
        until = self.clock.at + timedelta(seconds=seconds)
        while self.clock.at < until:
            self.clock.at += timedelta(seconds=step_s)
            await self.ruler.turn()

    def state(self) -> RuleAlertState | None:
        alerts = self.ruler.standings()[0].rules[0].memory.alerts
        return alerts[0].state if alerts else None

    def value(self, expression: str) -> list[float]:
        frame = Engine(self.metrics).instant(expression, int(self.clock.at.timestamp() * 1000))
        return [
            value
            for value, there in zip(frame.values[:, 0].tolist(), frame.present[:, 0], strict=True)
            if there
        ]


async def put(store: Store, *writes: Write) -> None:
    await store.commit(Transaction(at=T0, writes=writes))


pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_an_alert_pends_fires_and_ends() -> None:
    """The whole life, as series and as state."""
    house = House(DOWN)
    await house.declare()
    await house.ruler.turn()
    house.up(0)
    await house.go(30)
    assert house.state() is RuleAlertState.PENDING
    assert house.value('ALERTS{alertstate="pending"}') == [1.0]
    await house.go(75)
    assert house.state() is RuleAlertState.FIRING
    assert house.value("ALERTS{alertstate='pending'}") == []
    assert house.value("ALERTS{alertstate='firing', severity='page'}") == [1.0]
    house.up(1)
    await house.go(30)
    assert house.state() is RuleAlertState.INACTIVE
    assert house.value("ALERTS") == []
    (state,), _ = await house.store.scan(RuleState)
    assert [alert.state for alert in state.alerts] == [RuleAlertState.INACTIVE]


async def test_a_group_is_evaluated_at_aligned_instants_and_counts_what_it_missed() -> None:
    house = House(Rule(record="r", expr="vector(1)"), interval_s=30)
    await house.declare()
    await house.ruler.turn()
    await house.go(120, step_s=1)
    stamps = [int(one.readings[0].at_ms[0]) for one in house.metrics.rounds]
    assert len(stamps) == 4
    assert {later - sooner for sooner, later in pairwise(stamps)} == {30_000}
    await house.go(150, step_s=150)
    assert house.ruler.standings()[0].missed == 4


@pytest.mark.parametrize("gap_s", [0.0, 15.0, 40.0, 600.0])
async def test_a_restart_neither_loses_nor_restarts_for(gap_s: float) -> None:
    """A pending alert goes on from what it had held; the time that nobody looked does not count."""
    house = House(DOWN)
    await house.declare()
    await house.ruler.turn()
    house.up(0)
    await house.go(45)
    assert house.state() is RuleAlertState.PENDING
    house.clock.at += timedelta(seconds=gap_s)
    house.ruler = house.started()
    await house.ruler.turn()
    assert house.state() is RuleAlertState.PENDING
    await house.go(15)
    assert house.state() is RuleAlertState.PENDING
    await house.go(45)
    assert house.state() is RuleAlertState.FIRING


async def test_a_firing_alert_outlives_a_restart() -> None:
    house = House(DOWN)
    await house.declare()
    await house.ruler.turn()
    house.up(0)
    await house.go(120)
    assert house.state() is RuleAlertState.FIRING
    before = house.ruler.standings()[0].rules[0].memory.alerts[0]
    house.ruler = house.started()
    await house.ruler.turn()
    await house.go(15)
    after = house.ruler.standings()[0].rules[0].memory.alerts[0]
    assert (after.active_at, after.fired_at, after.service) == (
        before.active_at,
        before.fired_at,
        before.service,
    )


async def test_what_cannot_be_evaluated_is_told_and_ends_no_alert() -> None:
    """A worker that dies is no good news."""
    house = House(DOWN)
    await house.declare()
    await house.ruler.turn()
    house.up(0)
    await house.go(120)
    house.breaks = "the query took too long"
    await house.go(60)
    (standing,) = house.ruler.standings()
    assert standing.rules[0].error == "the query took too long"
    assert house.state() is RuleAlertState.FIRING
    house.breaks = ""
    await house.go(15)
    assert house.ruler.standings()[0].rules[0].error == ""


async def test_an_edited_rule_keeps_its_alerts_and_a_removed_one_ends_them() -> None:
    """As Prometheus has it: a rule is the same by its name and labels."""
    house = House(DOWN)
    await house.declare()
    await house.ruler.turn()
    house.up(0)
    await house.go(120)
    await house.declare(RuleGroup(name="g", interval_s=15, rules=(Rule(
        alert="Down", expr="up < 1", for_s=60, labels={"severity": "page"}),)))  # fmt: skip
    await house.go(15)
    assert house.state() is RuleAlertState.FIRING
    await house.declare(RuleGroup(name="other", interval_s=15, rules=(DOWN,)))
    await house.go(15)
    states, _ = await house.store.scan(RuleState)
    assert {one.group: [a.state.value for a in one.alerts] for one in states}["g"] == ["inactive"]
    assert house.value('ALERTS{alertstate="firing"}') == []
    await house.go(1000)
    await house.declare(RuleGroup(name="other", interval_s=15, rules=()))
    await house.go(15)
    states, _ = await house.store.scan(RuleState)
    assert "g" not in [one.group for one in states]


async def test_an_alert_learns_where_it_belongs_when_it_begins() -> None:
    """And keeps it: an alert does not move to another service while it fires."""
    house = House(DOWN)
    web = Service(project="shop", environment="production", name="web", command="run")
    await put(house.store, Write(kind="Service", key=web.key, body=web))
    await house.declare()
    await house.ruler.turn()
    house.up(0)
    await house.go(30)
    (alert,) = house.ruler.standings()[0].rules[0].memory.alerts
    assert alert.service == "shop/production/web"


async def test_a_series_that_vanishes_gets_a_stale_marker_once() -> None:
    house = House(Rule(record="r", expr="up == 0"))
    await house.declare()
    await house.ruler.turn()
    house.up(0)
    await house.go(30)
    house.up(1)
    await house.go(45)
    rows = [reading.values.view("uint64")[0, 0] for one in house.metrics.rounds for reading in one.readings]
    assert [bits == STALE_BITS for bits in rows].count(True) == 1
    assert rows[-1] == STALE_BITS


async def test_without_the_lease_nothing_is_evaluated_and_nothing_spins(tmp_path: Path) -> None:
    """A process that no longer leads waits; it does not look a thousand times a second."""
    house = House(Rule(record="r", expr="vector(1)"))
    await house.declare()
    await house.ruler.turn()
    house.clock.at += timedelta(seconds=60)
    asked: list[None] = []

    def fence() -> None:
        asked.append(None)

    house.ruler._fence = fence
    with anyio.move_on_after(0.05):
        await house.ruler.run()
    assert house.metrics.rounds == []
    assert len(asked) < 3


class Real:
    """Stores on disk and the worker process, as a control process has them."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.store = SqliteStore(folder / "poise.db")
        self.metrics = BlockStore(folder / "metrics.db")
        self.worker = QueryWorker(folder / "metrics.db", workers=1)
        self.ruler = Ruler(self.store, self.metrics, AskedRules(self.worker), clock, lambda: None, "http://p")

    async def close(self) -> None:
        await self.worker.close()
        await self.metrics.close()
        await self.store.close()


def scraped(at: datetime, series: Sequence[Labels], *values: float) -> Round:
    import numpy as np

    reading = Reading(
        target="t",
        series=tuple(series),
        at_ms=np.array([int(at.timestamp() * 1000)], np.int64),
        values=np.array(values)[:, None],
    )
    return Round(readings=(reading,))


async def test_stores_on_disk_and_a_worker_go_through_a_restart(tmp_path: Path) -> None:
    """What the next process finds is all that it needs."""
    clock = Clock()
    past_ms = int((datetime.now(UTC) - timedelta(minutes=5)).timestamp() * 1000)
    due_ms = ruling.due_ms(state_key("shop", "r.yml", "g"), 15, past_ms)
    clock.at = datetime.fromtimestamp(due_ms / 1000, UTC) + timedelta(
        seconds=5
    )  # so that none is due at once
    house = Real(tmp_path, clock)
    total = Rule(record="job:up:sum", expr="sum by (job) (up)")
    body = RuleFile(
        project="shop", path="r.yml", groups=(RuleGroup(name="g", interval_s=15, rules=(total, DOWN)),)
    )
    await put(house.store, Write(kind="RuleFile", key=body.key, body=body))
    await house.ruler.turn()
    seen = []
    for step in range(8):
        clock.at += timedelta(seconds=15)
        await house.metrics.append(scraped(clock.at - timedelta(seconds=14), [UP], 0.0))
        if step == 3:
            await house.close()
            house = Real(tmp_path, clock)
            await house.ruler.turn()
        await house.ruler.turn()
        (standing,) = house.ruler.standings()
        assert [one.error for one in standing.rules] == ["", ""]
        seen.append([alert.state.value for alert in standing.rules[1].memory.alerts])
    await house.close()
    assert seen[0] == ["pending"] and seen[2] == ["pending"] and seen[-1] == ["firing"]
    assert seen.index(["firing"]) in (4, 5)  # where it fires without a restart, or one look later
    reader = BlockReader(tmp_path / "metrics.db")
    frame = Engine(reader).instant("count_over_time(job:up:sum[5m])", int(clock.at.timestamp() * 1000))
    assert frame.values[0, 0] >= 7
    reader.close()
