"""What a thousand objectives cost: Poise end to end beside Prometheus with Sloth's 17 rules for each.

Both follow the same counters in the same run. One Prometheus scrapes an exporter and evaluates the rules once
a minute, as their groups do by default; another scrapes the same exporter without rules, and Poise reads it:
queries, counting, measuring, every write of signals.db and poise.db. CPU is that of the processes, after a
warm-up, over the same seconds. Then the same over the embedded store, whose own appends do not count, and
looks at 10,000 objectives.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zlib import crc32

import anyio
import numpy as np
import structlog

from bench import ruled
from bench.report import Goal, Report, Unmeasured, percentile, run
from bench.rivals import missing
from bench.ruled import INTERVAL_S, LIVED_S, TARGET
from poise.adapters.blocks import BlockStore
from poise.adapters.clock import SystemClock
from poise.adapters.prometheus.endpoint import Endpoint
from poise.adapters.prometheus.store import PrometheusSignals
from poise.adapters.regex import matching
from poise.adapters.sqlite.store import SqliteStore
from poise.adapters.totals import StoredCheckpoints, StoredTotals
from poise.balance.budget.controller import BudgetController
from poise.balance.burn.watch import BurnWatch
from poise.balance.indicator.shaping import Shaping
from poise.engine.counters import Counters
from poise.engine.loop import Loop
from poise.engine.pages import PAGES
from poise.engine.query_reader import QueryReader
from poise.model.balance import Budget
from poise.model.counting import QUERIED, definition
from poise.model.objective import IndicatorKind, Objective, Queries
from poise.model.record import Write
from poise.model.samples import NAME, Labels, Reading, Round
from poise.model.service import Project
from poise.model.signal import QUERY_AT, QUERY_TOTAL, Rows, Series
from poise.ports.signals import SignalStore
from poise.ports.store import Transaction
from poise.spec.foreign.sloth_rules import Wanted, rule_file

WRITTEN_AT_ONCE = 500
LIVED_STEP_S = 300.0


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--objectives", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--warm-s", type=float, default=75.0)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument(
        "--history-days", type=float, default=3.2, help="raw counters that Prometheus has already"
    )
    parser.add_argument(
        "--recorded-days", type=float, default=30.1, help="what its 5 minute rules have recorded already"
    )
    parser.add_argument("--beats", type=int, default=30, help="of the embedded store")
    parser.add_argument("--alone", action="store_true", help="without Prometheus")
    parser.add_argument("--engine", help=argparse.SUPPRESS)  # the measured process: its settings as JSON


def measure(given: argparse.Namespace) -> Report:
    figures: dict[str, float | int] = {"objectives": given.objectives, "period_s": Counters.period_s}
    with tempfile.TemporaryDirectory(prefix="poise-bench-") as folder:
        if not given.alone:
            if absent := [one for one in missing() if one != "victoria-metrics"]:
                raise Unmeasured(f"not installed: {', '.join(absent)}")
            figures |= _told(_beside_prometheus(given, Path(folder)))
        figures |= _told(anyio.run(_embedded, Path(folder) / "embedded", given.objectives, given.beats))
        if given.many:
            many = anyio.run(_embedded, Path(folder) / "many", given.many, 12)
            figures |= _told({f"{name}_{given.many}": value for name, value in many.items()})
    goals = [Goal("embedded_core_percent", at_most=1.0)]
    if given.many:
        goals.append(Goal(f"embedded_look_ms_max_{given.many}", at_most=1000.0))
    if not given.alone:
        goals += [
            Goal("prometheus_rules_over_poise", at_least=100.0),
            Goal("poise_core_percent", at_most=1.0),
        ]
    remarks = [
        f"Prometheus begins as after a month: {given.history_days:g} days of raw counters and"
        f" {given.recorded_days:g} days of what its 5 minute rules recorded, a sample a minute.",
        f"Poise, three days old, looks every 5 s and asks every {Counters.period_s:g} s;"
        " the rules run once a minute.",
    ]
    return Report(figures=dict(figures), goals=goals, remarks=remarks)


def _told(figures: dict[str, float]) -> dict[str, float]:
    """Long work shows progress."""
    print(figures, file=sys.stderr, flush=True)
    return figures


# -- beside Prometheus ---------------------------------------------------------------------------------


def _beside_prometheus(given: argparse.Namespace, folder: Path) -> dict[str, float]:
    with ExitStack() as stack:
        exporter = stack.enter_context(ruled.exporter(given.objectives))
        rules = folder / "rules.json"
        rules.write_text(json.dumps(rule_file(ruled.slos(given.objectives), Wanted(version="v"))))
        heavy, _ = stack.enter_context(ruled.prometheus(folder / "ruled", exporter, rules, given))
        plain, port = stack.enter_context(ruled.prometheus(folder / "plain", exporter, None, given))
        time.sleep(INTERVAL_S / 2)  # the exporter has been scraped
        told = json.dumps({"port": port, "folder": str(folder / "engine"), "objectives": given.objectives,
                           "warm_s": given.warm_s, "seconds": given.seconds})  # fmt: skip
        with subprocess.Popen(
            [sys.executable, __file__, "--engine", told], stdout=subprocess.PIPE, text=True
        ) as engine:
            assert engine.stdout is not None
            engine.stdout.readline()  # warm
            before = [ruled.cpu_s(pid) for pid in (heavy, plain)]
            began = time.monotonic()
            said = engine.stdout.readline()
            minutes = (time.monotonic() - began) / 60
            spent = [ruled.cpu_s(pid) - was for pid, was in zip((heavy, plain), before, strict=True)]
        if not said:
            raise Unmeasured("the measured process ended early")
        mine = json.loads(said)
        if mine["measured"] < given.objectives:
            raise Unmeasured(
                f"only {mine['measured']} of {given.objectives} objectives were measured: {mine}"
            )
    own = mine["cpu_s"] / minutes
    return {
        "prometheus_rules_cpu_s_per_min": spent[0] / minutes,
        "prometheus_asked_by_poise_cpu_s_per_min": spent[1] / minutes,
        "poise_cpu_s_per_min": own,
        "poise_core_percent": 100 * own / 60,
        "poise_rss_mib": mine["rss_mib"],
        "poise_look_ms_p50": mine["look_ms_p50"],
        "prometheus_rules_over_poise": spent[0] / minutes / own,
    }


def objectives(count: int, source: str) -> list[Objective]:
    """One availability objective a service, of two series."""
    return [
        Objective(
            service=f"acme/production/{name}",
            name="availability",
            indicator=IndicatorKind.QUERY,
            target_ratio=TARGET,
            queries=Queries(
                source=source,
                total=f'http_requests_total{{service="{name}"}}',
                bad=f'http_requests_total{{service="{name}",code=~"5.."}}',
            ),
        )
        for name in ruled.names(count)
    ]


# -- the measured process ------------------------------------------------------------------------------


async def _engine(port: int, folder: str, objectives_: int, warm_s: float, seconds: float) -> None:
    """Poise's own part: reads Prometheus, counts, keeps; then says what it cost."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    made = await _Engine.open(Path(folder), objectives(objectives_, "prometheus"),
                              PrometheusSignals(Endpoint(url=f"http://127.0.0.1:{port}")))  # fmt: skip
    async with anyio.create_task_group() as group:
        group.start_soon(made.reader.run)
        group.start_soon(made.loop.run)
        await anyio.sleep(warm_s)
        print("warm", flush=True)
        before = time.process_time()
        made.took.clear()
        await anyio.sleep(seconds)
        cpu_s = time.process_time() - before
        group.cancel_scope.cancel()
    print(json.dumps({"cpu_s": cpu_s, "measured": await made.measured(), "rss_mib": _rss_mib(),
                      "look_ms_p50": percentile(made.took, 50)}), flush=True)  # fmt: skip


class _Engine:
    """The store, the totals, the reader and the loop with the budget room."""

    def __init__(
        self, store: SqliteStore, totals: StoredTotals, checkpoints: StoredCheckpoints, signals: SignalStore,
        clock: _Clock,
    ) -> None:  # fmt: skip
        async def source(_project: str, _name: str) -> SignalStore:
            return signals

        self.store, self.totals, self.clock = store, totals, clock
        self.took: list[float] = []
        self.reader = QueryReader(store, totals, source, clock, matching)
        self.room = BudgetController(
            store,
            totals,
            problem_of=self.reader.problem,
            shaper=Shaping,
            observers=(BurnWatch(),),
            checkpoints=checkpoints,
        )
        self.checkpoints = checkpoints
        self.loop = Loop(store, clock, [_Timed(self.room, self.took)], {}, "bench")  # type: ignore[list-item]

    @classmethod
    async def open(
        cls, folder: Path, declared: Sequence[Objective], signals: SignalStore, clock: _Clock | None = None
    ) -> _Engine:
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(
            SqliteStore(folder / "poise.db"),
            StoredTotals(folder / "signals.db"),
            StoredCheckpoints(folder / "signals.db"),
            signals,
            clock or _Clock(),
        )
        writes: list[Write] = [Write(kind="Project", key="acme", body=Project(name="acme"))]
        writes += [Write(kind="Objective", key=one.key, body=one) for one in declared]
        await _lived(made, declared)
        writes += [Write(kind="Budget", key=one.key, body=_before(one, made.clock.now())) for one in declared]
        for first in range(0, len(writes), WRITTEN_AT_ONCE):
            at = made.clock.now()
            await made.store.commit(Transaction(at=at, writes=writes[first : first + WRITTEN_AT_ONCE]))
        return made

    async def measured(self) -> int:
        """How many objectives' budgets have counted anything."""
        counting = self.room._counting
        assert counting is not None
        return int(np.isfinite(counting.measured_s(self.clock.now())).sum())


async def _lived(made: _Engine, declared: Sequence[Objective]) -> None:
    """Readings of the days before, so that no budget is young: what a reader has kept in them."""
    now_s, pages = made.clock.now().timestamp(), defaultdict(list)
    for one in declared:
        pages[crc32(one.key.encode()) % PAGES].append(one)
    source = declared[0].queries.source if declared[0].queries else ""
    at_s = np.arange(now_s - LIVED_S, now_s - 60.0, LIVED_STEP_S)
    total, bad = ruled.events(len(declared), at_s - at_s[0])
    number, rows = {one.key: n for n, one in enumerate(declared)}, []
    for page, some in pages.items():
        series: list[Series] = []
        for one in some:
            told = (("definition", definition(one)), ("objective", one.key))
            series.append(Series(QUERY_AT, told))
            series += [
                Series(QUERY_TOTAL, (*told, ("role", role), ("series", "before")))
                for role in ("bad", "total")
            ]
        places = [number[one.key] for one in some]
        values = np.empty((len(at_s), len(series)))
        values[:, ::3], values[:, 1::3], values[:, 2::3] = at_s[:, None], bad[:, places], total[:, places]
        rows.append(
            Rows(epoch=f"{QUERIED}acme/{source}/{page}", series=tuple(series), at_s=at_s, values=values)
        )
    await made.totals.append_rows(rows)


def _before(objective: Objective, now: datetime) -> Budget:
    """The budget that was written before: it tells when measuring began."""
    since = now - timedelta(seconds=LIVED_S)
    return Budget(
        service=objective.service, objective=objective.name, target_ratio=TARGET, window_s=objective.window_s,
        good=0.0, bad=0.0, allowed=0.0, left_ratio=1.0, burns=(), coverage_ratio=1.0, bootstrap=False,
        since=since, measured_at=since, at=since, definition=definition(objective),
    )  # fmt: skip


class _Timed:
    """The budget room, its looks timed (ms)."""

    def __init__(self, inner: BudgetController, took: list[float]) -> None:
        self._inner, self._took = inner, took
        self.name, self.keys, self.wakes = inner.name, inner.keys, inner.wakes

    async def look(self, key: str, now: datetime) -> object:
        began = time.perf_counter()
        decision = await self._inner.look(key, now)
        self._took.append((time.perf_counter() - began) * 1000)
        return decision


class _Clock(SystemClock):
    """The system's, or one that is set."""

    def __init__(self, at: datetime | None = None) -> None:
        super().__init__()
        self.at = at

    def now(self) -> datetime:
        return self.at or super().now()


def _rss_mib() -> float:
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


# -- over the embedded store ---------------------------------------------------------------------------


async def _embedded(folder: Path, count: int, beats: int) -> dict[str, float]:
    """Beats one after another on a clock that is set: what is appended to the store is not counted."""
    folder.mkdir()
    clock = _Clock(datetime.now(UTC).replace(microsecond=0))
    metrics = BlockStore(folder / "metrics.db", now_ms=lambda: round(clock.now().timestamp() * 1000) + 1000)
    made = await _Engine.open(folder, objectives(count, ""), metrics, clock)
    await made.loop.lead()
    feed = _feed(metrics, count)
    beat_cpu, beat_ms, look_ms = [], [], []
    for beat in range(beats):
        assert clock.at is not None
        clock.at += timedelta(seconds=Counters.period_s)
        await feed(clock.at, beat)
        cpu, began = time.process_time(), time.perf_counter()
        await made.reader.read_once()
        for _ in range(2):  # two looks a beat
            looked = time.perf_counter()
            await made.loop.lead()
            if beat % 3 == 0:  # the resync of every half minute
                await made.room.keys()
            await made.loop.tick(clock.at)
            look_ms.append((time.perf_counter() - looked) * 1000)
            clock.at += timedelta(seconds=Counters.period_s / 2)
        clock.at -= timedelta(seconds=Counters.period_s)
        beat_cpu.append(time.process_time() - cpu)
        beat_ms.append((time.perf_counter() - began) * 1000)
    half = beats // 2
    per_minute = 60 / Counters.period_s * sum(beat_cpu[half:]) / len(beat_cpu[half:])
    measured = await made.measured()
    await made.checkpoints.close()
    await made.totals.close()
    await made.store.close()
    await metrics.close()
    if measured < count:
        raise Unmeasured(f"only {measured} of {count} objectives were measured over the embedded store")
    return {
        "embedded_cpu_s_per_min": per_minute,
        "embedded_core_percent": 100 * per_minute / 60,
        "embedded_beat_ms_p50": percentile(beat_ms[half:], 50),
        "embedded_look_ms_p50": percentile(look_ms[half:], 50),
        "embedded_look_ms_max": max(look_ms[half:]),
    }


def _feed(metrics: BlockStore, count: int) -> Callable[[datetime, int], object]:
    series: tuple[Labels, ...] = tuple(
        ((NAME, "http_requests_total"), ("code", code), ("service", name))
        for name in ruled.names(count)
        for code in ("200", "500")
    )

    async def feed(at: datetime, beat: int) -> None:
        at_ms = np.array([round(at.timestamp() * 1000) - 500], dtype=np.int64)
        total, bad = ruled.events(count, np.array([LIVED_S + beat * Counters.period_s]))
        values = np.stack([total[0] - bad[0], bad[0]], axis=1).reshape(-1, 1)
        some = Reading(target="shop", series=series, at_ms=at_ms, values=values)
        appended = await metrics.append(Round(readings=(some,)))
        assert not appended.refused, appended.refused

    return feed


if __name__ == "__main__":
    if "--engine" in sys.argv:
        told = json.loads(sys.argv[sys.argv.index("--engine") + 1])
        asyncio.run(
            _engine(told["port"], told["folder"], told["objectives"], told["warm_s"], told["seconds"])
        )
        sys.exit(0)
    sys.exit(run("slo_cost", measure, options))
