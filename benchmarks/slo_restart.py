"""What a restart costs with a thousand objectives and a month of history: from the checkpoint, and without.

A month of readings is written as a reader leaves it (every five minutes, every minute of the last week, every
15 s of the last day). The first process counts it from the totals and keeps what it counted; the second one
goes on from there. Both are followed until every budget is written or found to be as it was, while a ticker
measures what one piece takes of the event loop: its thread's CPU time between two ticks (other work of
a busy machine does not count), and the wall time as well.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import numpy as np
from msgspec import Struct

from bench.report import Goal, Report, Unmeasured, run
from poise.adapters import interpreter
from poise.adapters.sqlite.store import SqliteStore
from poise.adapters.totals import StoredCheckpoints, StoredTotals
from poise.balance.budget.controller import ALL, BudgetController
from poise.balance.burn.watch import BurnWatch
from poise.balance.indicator.shaping import Shaping
from poise.model.balance import Budget
from poise.model.counting import QUERIED, definition
from poise.model.objective import IndicatorKind, Objective, Queries
from poise.model.record import Ref, Write
from poise.model.service import Project
from poise.model.signal import QUERY_AT, QUERY_TOTAL, Rows, Series
from poise.ports.store import Transaction

DAY_S = 86_400.0
TARGET = 0.999
PER_PAGE = 64  # objectives of one reading
TICK_S = 0.001
APPENDED_AT_ONCE = 500


class _Start(Struct, kw_only=True):
    """One process from its start: CPU seconds, and the longest time for which it held the loop (ms)."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    held_ms: float = 0.0
    held_wall_ms: float = 0.0
    looks: int = 0


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--objectives", type=int, default=1000)
    parser.add_argument("--days", type=float, default=28.0)


def measure(given: argparse.Namespace) -> Report:
    with tempfile.TemporaryDirectory(prefix="poise-bench-") as folder:
        figures = anyio.run(_measured, Path(folder), given.objectives, given.days)
    return Report(
        figures={"objectives": given.objectives, "days": given.days, **figures},
        goals=[
            Goal("restart_cpu_s", at_most=3.0),
            Goal("restart_held_ms_max", at_most=20.0),
            Goal("counted_differently", at_most=0),
        ],
    )


async def _measured(folder: Path, count: int, days: float) -> dict[str, float]:
    declared, now = objectives(count), datetime.now(UTC).replace(microsecond=0)
    store = SqliteStore(folder / "poise.db")
    await _lived(folder, store, declared, now, days)
    told = _told({"signals_mib": _mib(folder)})
    first, before = await _process(folder, store, now, minutes=6)
    told |= _told(_figures("counted", first) | {"kept_mib": _mib(folder) - told["signals_mib"]})
    later = now + timedelta(minutes=8)
    await _read(folder, declared, now + timedelta(minutes=6), later)
    second, after = await _process(folder, store, later, minutes=0)
    told |= _told(_figures("restart", second))
    for name in ("checkpoint", "checkpoint_row"):
        await _forget(folder, name)
    _, anew = await _process(folder, store, later, minutes=0)
    told["counted_differently"] = sum(after[key] != anew[key] for key in anew)
    if not before or len(anew) < count:
        raise Unmeasured(f"only {len(anew)} of {count} budgets were counted")
    await store.close()
    return told


def _figures(name: str, made: _Start) -> dict[str, float]:
    return {
        f"{name}_cpu_s": made.cpu_s,
        f"{name}_wall_s": made.wall_s,
        f"{name}_held_ms_max": made.held_ms,
        f"{name}_held_wall_ms_max": made.held_wall_ms,
    }


def _told(figures: dict[str, float]) -> dict[str, float]:
    """Long work shows progress."""
    print(figures, file=sys.stderr, flush=True)
    return figures


def objectives(count: int) -> list[Objective]:
    """Objectives of two counters each."""
    return [
        Objective(
            service=f"acme/production/s{number:05d}", name="availability", indicator=IndicatorKind.QUERY,
            target_ratio=TARGET, queries=Queries(bad=f"bad_{number}", total=f"total_{number}"),
        )
        for number in range(count)
    ]  # fmt: skip


# -- a life ------------------------------------------------------------------------------------------


async def _process(
    folder: Path, store: SqliteStore, now: datetime, *, minutes: int
) -> tuple[_Start, dict[str, tuple[float, ...]]]:
    """Start, look until nothing is left to write, go on for so many minutes; what was counted at the end."""
    interpreter.share()
    interpreter.settle()  # as the app does
    cpu, began = time.process_time(), time.perf_counter()
    totals, checkpoints = StoredTotals(folder / "signals.db"), StoredCheckpoints(folder / "signals.db")
    room = BudgetController(store, totals, shaper=Shaping, observers=(BurnWatch(),), checkpoints=checkpoints)
    store.subscribe(partial(_wake, room))
    made = _Start()
    async with anyio.create_task_group() as group:
        group.start_soon(_tick, made)
        at = now
        for made.looks in range(1, 60):
            if not await _look(room, store, at) and made.looks > 2:
                break
            at += timedelta(seconds=1)
        made.cpu_s, made.wall_s = time.process_time() - cpu, time.perf_counter() - began
        group.cancel_scope.cancel()
    for _ in range(minutes * 12):
        at += timedelta(seconds=5)
        await _look(room, store, at)
    counting = room._counting
    assert counting is not None
    windows = [counting.book.between(at_s) for at_s in _starts(now)]
    places = counting.book.keys
    found = {
        key: tuple(float(number[one]) for sums in windows for number in (sums.good, sums.bad, sums.known_s))
        for key, one in places.items()
    }
    await checkpoints.close()
    await totals.close()
    return made, found


def _starts(now: datetime) -> list[float]:
    """Of an hour, a day and all but the first day of the history, which a later start no longer counts."""
    hour_s = now.timestamp() // 3600.0 * 3600.0
    return [hour_s - 3600.0, hour_s - DAY_S + 3600.0, hour_s - 27 * DAY_S]


async def _look(room: BudgetController, store: SqliteStore, at: datetime) -> int:
    decision = await room.look(ALL, at)
    budgets = [write for write in decision.writes if write.kind == "Budget"]
    if not decision.is_empty:
        await store.commit(
            Transaction(at=at, reads=decision.reads, writes=decision.writes, events=decision.events)
        )
    return len(budgets)


def _wake(room: BudgetController, refs: Sequence[Ref], _sequence: int) -> None:
    """As the loop tells of what was written."""
    for ref in refs:
        room.wakes(ref)


async def _tick(made: _Start) -> None:
    """How long the loop was held since the last tick, beyond the tick itself."""
    while True:
        began, cpu = time.perf_counter(), time.thread_time()
        await anyio.sleep(TICK_S)
        made.held_ms = max(made.held_ms, (time.thread_time() - cpu) * 1000)
        made.held_wall_ms = max(made.held_wall_ms, (time.perf_counter() - began - TICK_S) * 1000)


# -- what is there before -------------------------------------------------------------------------------


async def _lived(
    folder: Path, store: SqliteStore, declared: Sequence[Objective], now: datetime, days: float
) -> None:
    """A month of readings, the objectives, and budgets that say since when they are measured."""
    since = now - timedelta(days=days)
    await _append(folder, declared, _kept_instants(since.timestamp(), now.timestamp()))
    writes = [Write(kind="Project", key="acme", body=Project(name="acme"))]
    writes += [Write(kind="Objective", key=one.key, body=one) for one in declared]
    writes += [Write(kind="Budget", key=one.key, body=_budget(one, since)) for one in declared]
    for first in range(0, len(writes), APPENDED_AT_ONCE):
        await store.commit(Transaction(at=now, writes=writes[first : first + APPENDED_AT_ONCE]))


def _kept_instants(since_s: float, now_s: float) -> np.ndarray:
    day, week = now_s - DAY_S, now_s - 7 * DAY_S
    return np.concatenate([
        np.arange(since_s, week, 300.0), np.arange(max(week, since_s), day, 60.0), np.arange(day, now_s, 15.0)
    ])  # fmt: skip


async def _read(folder: Path, declared: Sequence[Objective], since: datetime, now: datetime) -> None:
    await _append(folder, declared, np.arange(since.timestamp(), now.timestamp(), 15.0))


async def _append(folder: Path, declared: Sequence[Objective], at_s: np.ndarray) -> None:
    totals = StoredTotals(folder / "signals.db")
    for page, some in enumerate(_pages(declared)):
        series = tuple(one for each in some for one in _series(each))
        for first in range(0, len(at_s), 4000):
            at = at_s[first : first + 4000]
            values = np.empty((len(at), len(series)))
            total = np.floor((at - 1.7e9) * 2.0)
            values[:, ::3], values[:, 1::3], values[:, 2::3] = (
                at[:, None], np.floor(total * 0.0004)[:, None], total[:, None]
            )  # fmt: skip
            rows = Rows(epoch=f"{QUERIED}acme//{page}", series=series, at_s=at, values=values)
            await totals.append_rows([rows])
    await totals.close()


def _series(one: Objective) -> list[Series]:
    told = (("definition", definition(one)), ("objective", one.key))
    roles = [Series(QUERY_TOTAL, (*told, ("role", role), ("series", "x"))) for role in ("bad", "total")]
    return [Series(QUERY_AT, told), *roles]


def _pages(declared: Sequence[Objective]) -> Iterator[Sequence[Objective]]:
    for first in range(0, len(declared), PER_PAGE):
        yield declared[first : first + PER_PAGE]


def _budget(objective: Objective, since: datetime) -> Budget:
    return Budget(
        service=objective.service, objective=objective.name, target_ratio=TARGET, window_s=objective.window_s,
        good=0.0, bad=0.0, allowed=0.0, left_ratio=1.0, burns=(), coverage_ratio=1.0, bootstrap=False,
        since=since, measured_at=since, at=since, definition=definition(objective),
    )  # fmt: skip


async def _forget(folder: Path, table: str) -> None:
    with sqlite3.connect(folder / "signals.db") as connection:
        connection.execute(f"DELETE FROM {table}")


def _mib(folder: Path) -> float:
    return sum(one.stat().st_size for one in folder.glob("signals.db*")) / 2**20


if __name__ == "__main__":
    sys.exit(run("slo_restart", measure, options))
