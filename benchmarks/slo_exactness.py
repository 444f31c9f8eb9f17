"""Budgets against the truth: seven hard cases, and random histories against adding up by brute force.

The cases are those on which time-averaged budgets fail: a quiet quarter of an hour, no error series yet, an
error series born at 50, the same fault at peak and at night, one failure at ten requests an hour, a target
that disappears. Each is played as readings of counters through the real totals, counter, book and budget.

The random histories have gaps, restarts of the counters (same epoch and new ones), looks that come late and
restarts of Poise. Every window is compared with adding the events up, and what counted along with what was
counted again from the totals: the latter must be the same bit for bit.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import numpy as np

from bench.report import Goal, Report, run
from poise.adapters.totals import StoredTotals
from poise.balance.budget.book import COARSE_S
from poise.balance.budget.counting import Counting, counted
from poise.balance.budget.decide import Seen, budget_of
from poise.balance.budget.measure import measure
from poise.model.balance import Budget
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import BudgetPolicy
from poise.model.record import Ref
from poise.model.signal import ERRORS_TOTAL, REQUESTS_TOTAL, Rows, Series
from poise.model.standing import BudgetState, classify

T0 = datetime(2026, 11, 1, tzinfo=UTC)
POLICY = BudgetPolicy(bootstrap_s=0.0, bootstrap_events=0)
TARGET = 0.999
DAY = 1440  # minutes
Minute = tuple[float, float | None, bool]  # requests, failures (None: no series yet), whether it was read


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--histories", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)


def measure_all(given: argparse.Namespace) -> Report:
    figures: dict[str, object] = {}
    worst = 0.0
    with tempfile.TemporaryDirectory(prefix="poise-bench-") as folder:
        for name, minutes in cases().items():
            budget, now = anyio.run(_played, Path(folder) / f"{name}.db", minutes)
            truth = _truth(minutes)
            worst = max(worst, abs(budget.left_ratio - truth))
            standing = classify(budget, POLICY, now)
            figures[f"case_{name}"] = {
                "left_percent": round(100 * budget.left_ratio, 3),
                "true_percent": round(100 * truth, 3),
                "mean_of_ratios_percent": _mean_of_ratios(minutes),
                "coverage_percent": round(100 * budget.coverage_ratio, 2),
                "state": standing.state.value,
                "fast_burn": standing.fast_burn,
            }
            if name == "f":
                figures["single_failures_called_a_fast_burn"] = int(standing.fast_burn)
            if name == "g":
                figures["lost_targets_called_known"] = int(standing.state is not BudgetState.UNKNOWN)
        figures["worst_error_percent_of_budget"] = 100 * worst
        compared = [
            anyio.run(_history, Path(folder) / f"h{n}.db", random.Random(given.seed * 100_003 + n))
            for n in range(given.histories)
        ]
    figures["histories"] = given.histories
    figures["windows_compared"] = sum(one[0] for one in compared)
    figures["windows_wrong"] = sum(one[1] for one in compared)
    figures["recounted_differently"] = sum(one[2] for one in compared)
    return Report(
        figures=figures,  # type: ignore[arg-type]
        goals=[
            Goal("worst_error_percent_of_budget", at_most=0.1),
            Goal("single_failures_called_a_fast_burn", at_most=0),
            Goal("lost_targets_called_known", at_most=0),
            Goal("windows_wrong", at_most=0),
            Goal("recounted_differently", at_most=0),
        ],
    )


def cases() -> dict[str, list[Minute]]:
    """Minute by minute. Percentages are of the budget of the days that there are."""
    quiet = [(0.0, 0.0, True) if 600 <= n < 615 else (60.0, 0.02, True) for n in range(DAY)]
    born: list[Minute] = [
        (60.0, None if n < DAY - 5 else 50.0 if n == DAY - 5 else 0.0, True) for n in range(DAY)
    ]
    hourly: list[Minute] = [
        (10.0 if n % 60 == 0 else 0.0, 1.0 if n == 20_040 else 0.0, True) for n in range(28 * DAY)
    ]
    gone: list[Minute] = [(60.0, 0.03, n < 2 * DAY - 120) for n in range(2 * DAY)]
    return {
        "a": quiet,  # type: ignore[dict-item]
        "b": [(60.0, None, True)] * (2 * DAY),
        "c": born,
        "d": diurnal(12),
        "e": diurnal(0),
        "f": hourly,
        "g": gone,
    }


def diurnal(fault_hour: int) -> list[Minute]:
    """Three days with traffic 20:1 between noon and midnight; one hour of 50 % errors on the second."""
    made: list[Minute] = []
    for minute in range(3 * DAY):
        hour = minute / 60 % 24
        rate = 60 * (1.05 + 0.95 * math.cos(2 * math.pi * (hour - 12) / 24)) / 2
        made.append((rate, rate / 2 if 24 + fault_hour <= minute / 60 < 25 + fault_hour else 0.0, True))
    return made


def _truth(minutes: Sequence[Minute]) -> float:
    read = [(total, bad or 0.0) for total, bad, is_read in minutes if is_read]
    allowed = (1 - TARGET) * sum(total for total, _ in read)
    return 1 - sum(bad for _, bad in read) / allowed


def _mean_of_ratios(minutes: Sequence[Minute]) -> float | None:
    """What a mean of five-minute ratios makes of it, as Sloth's rules do; None is NaN or no value."""
    ratios = []
    for n in range(5, len(minutes) + 1, 5):
        some = [one for one in minutes[n - 5 : n] if one[2]]
        total, bad = sum(one[0] for one in some), [one[1] for one in some if one[1] is not None]
        if some and (not bad or total == 0):
            return None
        ratios += [sum(bad) / total] if some else []
    return round(100 * (1 - sum(ratios) / len(ratios) / (1 - TARGET)), 3)


async def _played(path: Path, minutes: Sequence[Minute]) -> tuple[Budget, datetime]:
    """The budget after these minutes, read once a minute, with a restart of Poise in the middle."""
    totals, objective = StoredTotals(path), _objective("shop")
    series = (Series(ERRORS_TOTAL, _labels("shop")), Series(REQUESTS_TOTAL, _labels("shop")))
    total = bad = 0.0
    born = minutes[0][1] is not None
    rows: list[Rows] = [_row("e1", series if born else series[1:], 0, [0.0, 0.0] if born else [0.0])]
    for n, (requests, failures, is_read) in enumerate(minutes, start=1):
        total, bad, born = total + requests, bad + (failures or 0.0), born or failures is not None
        if is_read:
            rows.append(
                _row("e1", series if born else series[1:], n * 60.0, [bad, total] if born else [total])
            )
    half = len(rows) // 2
    await totals.append_rows(rows[:half])
    first = await _counting(totals, [objective], T0, _at(rows[half - 1].at_s[-1]))
    await totals.append_rows(rows[half:])
    now = T0 + timedelta(minutes=len(minutes))
    restarted = await _counting(totals, [objective], T0, now)
    await first.follow(totals, now)
    await totals.close()
    budget, again = (_budget(one, now) for one in (first, restarted))
    assert budget == again, "a restart changes no number"
    return budget, now


def _budget(counting: Counting, now: datetime) -> Budget:
    measures = measure(counting.sheet, counting.book, counting.since_s(), counting.measured_s(now), now)
    key = counting.sheet.objectives[0].key
    return budget_of(
        Seen(
            sheet=counting.sheet,
            measures=measures,
            sums=counting.book,
            column=0,
            before=None,
            ref=Ref("Budget", key, 0),
        )
    )


async def _history(path: Path, chance: random.Random) -> tuple[int, int, int]:
    """(windows compared, wrong, counted again differently) of one random history of three services."""
    names = ("cart", "pay", "shop")
    objectives, totals = [_objective(name) for name in names], StoredTotals(path)
    counters = {name: [0.0, 0.0] for name in names}
    read = {name: [0.0, 0.0] for name in names}
    events: list[tuple[str, float, float, float]] = []  # name, at, total, bad
    series = tuple(Series(kind, _labels(name)) for name in names for kind in (ERRORS_TOTAL, REQUESTS_TOTAL))
    epoch, at, wrong, compared = 1, 0.0, 0, 0
    await totals.append_rows([_row("e1", series, 0.0, [0.0] * 6)])
    live = await _counting(totals, objectives, T0, T0)
    for _ in range(chance.randrange(20, 120)):
        at += chance.choice([1, 2, 5, 15, 60, 300, chance.randrange(1, 4000)]) + round(chance.random(), 3)
        if (
            chance.random() < 0.05
        ):  # the process is another one: what it counted before it was read is its own
            epoch, counters = epoch + 1, {name: [0.0, 0.0] for name in names}
            read = {name: [0.0, 0.0] for name in names}
        for name in names:
            total = chance.randrange(0, 500)
            bad = chance.randrange(0, total + 1) if chance.random() < 0.2 else 0
            falls = chance.random() < 0.05 and total < read[name][1] and bad < read[name][0]
            before = [0.0, 0.0] if falls else counters[name]
            counters[name] = [before[0] + bad, before[1] + total]
            since = [0.0, 0.0] if falls else read[name]
            events.append((name, at, counters[name][1] - since[1], counters[name][0] - since[0]))
        read = {name: list(count) for name, count in counters.items()}
        await totals.append_rows(
            [_row(f"e{epoch}", series, at, [one for name in names for one in counters[name]])]
        )
        now = _at(T0.timestamp() + at + chance.choice([0.0, 0.5, 4.0, 30.0]))
        if chance.random() < 0.6:  # else the look comes late
            await live.follow(totals, now)
        if chance.random() < 0.1:
            live = await _counting(totals, objectives, T0, now)
    now = _at(T0.timestamp() + at + 1)
    await live.follow(totals, now)
    again = await _counting(totals, objectives, T0, now)
    await totals.close()
    different = 0
    for back in (60.0, 300.0, 3600.0, 21_600.0, 86_400.0, 3 * 86_400.0, 28 * 86_400.0):
        start = now.timestamp() - back
        mine, others = live.book.between(start), again.book.between(start)
        for name, objective in zip(names, objectives, strict=True):
            here, there = live.book.place(objective.key), again.book.place(objective.key)
            edge = float(mine.start_s[here])
            true = [(t, b) for n, a, t, b in events if n == name and T0.timestamp() + a >= edge]
            said = (mine.good[here] + mine.bad[here], mine.bad[here])
            compared += 1
            wrong += said != (sum(t for t, _ in true), sum(b for _, b in true))
            wrong += not 0 <= start - edge < COARSE_S and edge > T0.timestamp()
            different += any(
                getattr(mine, field)[here] != getattr(others, field)[there]
                for field in ("good", "bad", "known_s", "start_s")
            )
    return compared, wrong, different


async def _counting(
    totals: StoredTotals, objectives: Sequence[Objective], since: datetime, now: datetime
) -> Counting:
    """As the budget room counts after it was started, with budgets that were measured since ``since``."""
    declared = {one.key: (one, POLICY) for one in objectives}
    before = {one.key: _measured(one, since) for one in objectives}
    return await counted(totals, declared, before, now)


def _measured(objective: Objective, since: datetime) -> Budget:
    return Budget(
        service=objective.service, objective=objective.name, target_ratio=TARGET, window_s=objective.window_s,
        good=0.0, bad=0.0, allowed=0.0, left_ratio=1.0, burns=(), coverage_ratio=1.0, bootstrap=False,
        since=since, measured_at=since, at=since,
    )  # fmt: skip


def _objective(name: str) -> Objective:
    return Objective(
        service=f"acme/production/{name}",
        name="availability",
        indicator=IndicatorKind.AVAILABILITY,
        target_ratio=TARGET,
    )


def _labels(name: str) -> tuple[tuple[str, str], ...]:
    return (("service", f"acme/production/{name}"),)


def _row(epoch: str, series: tuple[Series, ...], second: float, values: Sequence[float]) -> Rows:
    at_s = np.array([T0.timestamp() + second])
    return Rows(epoch=epoch, series=series, at_s=at_s, values=np.array([values], dtype=float))


def _at(at_s: float) -> datetime:
    return datetime.fromtimestamp(float(at_s), UTC)


if __name__ == "__main__":
    sys.exit(run("slo_exactness", measure_all, options))
