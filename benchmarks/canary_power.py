"""How often a canary is rolled back, good or bad, and how soon: the shipped test beside three others.

Each row is many simulated releases watched for a while, with a look every 10 s or every minute. What judges
them is the rollout room's own code (``split``), which takes any number of trials at once; of each row some
trials are also judged one by one by ``sequential.consume``, and must stop at the same look. Flagger and Argo
are the models of ``poise rollout replay`` (``rivals``); the z-test is one-sided at 5 % and looked at each
time.
Run: python benchmarks/canary_power.py [--json] [--runs 2000] [--seed 1]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from bench.report import Figure, Goal, Report, run
from poise.delivery.rollout import rivals, sequential, split
from poise.delivery.rollout.counters import LATENCY_BOUNDS_MS
from poise.delivery.rollout.sequential import ERRORS, LATENCY, Total
from poise.model.delivery import Trial
from poise.model.policy import BudgetPolicy
from poise.model.service import Strategy

STRATEGY = Strategy()
BURDENED_ALPHA = STRATEGY.alpha * BudgetPolicy().slow_alpha_factor  # for what starts on a burdened budget
METRICS = (ERRORS, LATENCY)  # what a service with a port is judged by
MEDIAN_MS, SPREAD = 40.0, 0.8  # of a lognormal latency
WINDOW_S = 60.0  # over which the models of Flagger and Argo look back
CHECKED = 10  # trials of each row that are judged one by one too
Z_ONE_SIDED = 1.6449


@dataclass(frozen=True)
class Row:
    """One case: error ratios by time, canary's share by time, requests per second, what is true of it."""

    name: str
    baseline: Callable[[float], float]
    canary: Callable[[float], float]
    rate: float
    share: Callable[[float], float] = lambda s: 0.1
    minutes: float = 30.0
    good: bool = False
    slower: float = 1.0  # the canary's latency as a multiple


def fixed(value: float) -> Callable[[float], float]:
    return lambda second: value


def wave(second: float) -> float:
    return 0.01 + 0.009 * math.sin(2 * math.pi * second / 3600)


def incident(second: float) -> float:
    return 0.3 if 600 <= second < 1200 else 0.005


def ramp(second: float) -> float:
    return 0.002 + 0.03 * min(1.0, second / 1800)


def steps(second: float) -> float:
    return (0.05, 0.2, 0.5)[min(2, int(second // 300))]


ROWS = (
    Row("A/A 0.1 %, 50/s", fixed(0.001), fixed(0.001), 50, good=True),
    Row("A/A 0.5 %, 5/s", fixed(0.005), fixed(0.005), 5, good=True),
    Row("A/A 0.9 %, 0.5/s", fixed(0.009), fixed(0.009), 0.5, good=True),
    Row("A/A constant 20 %, 5/s, 4 h", fixed(0.2), fixed(0.2), 5, minutes=240, good=True),
    Row("A/A wave 0.1-1.9 %, 5/s, 4 h", wave, wave, 5, minutes=240, good=True),
    Row("A/A incident 30 % on both, 5/s, 4 h", incident, incident, 5, minutes=240, good=True),
    Row("A/A drift 0.2-3 %, weights 5-20-50, 50/s", ramp, ramp, 50, share=steps, good=True),
    Row("A/A incident on both, weights 5-20-50, 5/s", incident, incident, 5, share=steps, good=True),
    Row("bad 0.1->0.5 %, 50/s", fixed(0.001), fixed(0.005), 50),
    Row("bad 0.1->0.3 %, 50/s", fixed(0.001), fixed(0.003), 50),
    Row("bad 0.1->1 %, 50/s", fixed(0.001), fixed(0.01), 50),
    Row("bad 0.1->5 %, 0.5/s", fixed(0.001), fixed(0.05), 0.5),
    Row("bad 0.1->20 %, 0.5/s", fixed(0.001), fixed(0.2), 0.5),
    Row("bad 0.1->50 %, 0.5/s", fixed(0.001), fixed(0.5), 0.5),
    Row("slower x1.5, 50/s", fixed(0.001), fixed(0.001), 50, slower=1.5),
    Row("slower x2, 5/s", fixed(0.001), fixed(0.001), 5, slower=2.0),
)


@dataclass
class Watched:
    """All runs of one row: what each arm answered per look, and how slowly. Arrays are [look, run, ...]."""

    looks_s: float
    canary: np.ndarray
    canary_bad: np.ndarray
    baseline: np.ndarray
    baseline_bad: np.ndarray
    canary_slow: np.ndarray
    baseline_slow: np.ndarray


def watch(row: Row, looks_s: float, runs: int, random: np.random.Generator) -> Watched:
    looks = round(row.minutes * 60 / looks_s)
    at = [(look + 0.5) * looks_s for look in range(looks)]
    share = np.array([row.share(s) for s in at])[:, None]
    canary = random.poisson(row.rate * looks_s * share, (looks, runs))
    baseline = random.poisson(row.rate * looks_s * (1 - share), (looks, runs))
    ratio = [np.array([arm(s) for s in at])[:, None] for arm in (row.canary, row.baseline)]
    return Watched(
        looks_s, canary, random.binomial(canary, ratio[0]), baseline, random.binomial(baseline, ratio[1]),
        slow(canary, row.slower, random), slow(baseline, 1.0, random),
    )  # fmt: skip


def slow(requests: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    """How many took longer than each bound."""
    z = (np.log(np.array(LATENCY_BOUNDS_MS)) - math.log(MEDIAN_MS * factor)) / SPREAD
    below = np.array([0.5 * (1 + math.erf(one / math.sqrt(2))) for one in z])
    shares = np.diff(np.concatenate([[0.0], below, [1.0]]))
    drawn = random.multinomial(requests, shares / shares.sum()).astype(np.int32)
    return np.cumsum(drawn[..., ::-1], axis=-1)[..., ::-1][..., 1:]


def shipped(seen: Watched) -> tuple[np.ndarray, np.ndarray]:
    """The look at which each run is rolled back at the declared alpha, and at that of a burdened budget;
    -1: never. Judged by the rollout room's code.
    """
    looks, runs = seen.canary.shape
    errors = np.zeros((runs, len(split.HARM_GRID)))
    slower = np.zeros((runs, len(LATENCY_BOUNDS_MS), len(split.SLOWER_GRID)))
    sums, open_slower = ([np.zeros((runs, len(LATENCY_BOUNDS_MS))) for _ in range(4)] for _ in range(2))
    open_errors = [np.zeros(runs) for _ in range(4)]
    shares = split.weights(METRICS)
    stopped = {alpha: np.full(runs, -1) for alpha in (STRATEGY.alpha, BURDENED_ALPHA)}
    for look in range(looks):
        arms = (seen.canary[look], seen.canary_bad[look], seen.baseline[look], seen.baseline_bad[look])
        for total, more in zip(open_errors, arms, strict=True):
            total += more
        full = split.is_full(open_errors[0], open_errors[2])
        errors += np.where(full[:, None], split.gain(split.HARM_GRID, 1.0, *open_errors), 0.0)
        for total in open_errors:
            total[full] = 0
        if is_warm(seen, look):
            n_c, n_b = (one[look][:, None] for one in (seen.canary, seen.baseline))
            split_up = (n_c, seen.canary_slow[look], n_b, seen.baseline_slow[look])
            for total, held, more in zip(sums, open_slower, split_up, strict=True):
                total += more
                held += more
            full = split.is_full(open_slower[0], open_slower[2])
            slower += np.where(full[..., None], split.gain(split.SLOWER_GRID, 1.0, *open_slower), 0.0)
            for held in open_slower:
                held[full] = 0
        told = split.telling(split.e_values(slower), *sums).mean(axis=-1)
        e_value = split.combined({ERRORS: split.e_values(errors), LATENCY: told}, shares)
        for alpha, found in stopped.items():
            stopped[alpha] = np.where((found < 0) & (e_value >= 1 / alpha), look, found)
    return stopped[STRATEGY.alpha], stopped[BURDENED_ALPHA]


def is_warm(seen: Watched, look: int) -> bool:
    return look * seen.looks_s >= STRATEGY.warmup_s


def one_by_one(seen: Watched, number: int) -> int:
    """The same for one run, reading by reading, as the controller does it."""
    trial, at = Trial(), datetime(2026, 1, 1, tzinfo=UTC)
    trial = sequential.consume(trial, _totals(seen, number, 0), 2, 1, STRATEGY, at, metrics=METRICS)
    for look in range(len(seen.canary)):
        trial = sequential.consume(
            trial, _totals(seen, number, look + 1), 2, 1, STRATEGY,
            at + timedelta(seconds=seen.looks_s * (look + 1)), is_warm=is_warm(seen, look), metrics=METRICS,
        )  # fmt: skip
        if sequential.is_harmful(trial, STRATEGY.alpha):
            return look
    return -1


def _totals(seen: Watched, number: int, looks: int) -> list[Total]:
    found = []
    for rollout, all_, bad, slow_ in (
        (2, seen.canary, seen.canary_bad, seen.canary_slow),
        (1, seen.baseline, seen.baseline_bad, seen.baseline_slow),
    ):
        trials = float(all_[:looks, number].sum())
        found.append(
            Total(rollout=rollout, epoch="e", trials=trials, failures=float(bad[:looks, number].sum()))
        )
        for place, bound in enumerate(LATENCY_BOUNDS_MS):
            kind = {"metric": LATENCY, "bound_ms": bound}
            failures = float(slow_[:looks, number, place].sum())
            found.append(Total(rollout=rollout, epoch="e", trials=trials, failures=failures, **kind))
    return found


def checked(seen: Watched, judge: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """The look at which a judge that looks back over a minute rolls back; -1: never."""
    width = max(1, round(WINDOW_S / seen.looks_s))
    found = judge(*(_rolling(one, width)[width - 1 :] for one in (seen.canary, seen.canary_bad)))
    return np.where(found < 0, -1, np.minimum(found + width, len(seen.canary)) - 1)


def _rolling(values: np.ndarray, width: int) -> np.ndarray:
    sums = np.cumsum(values, axis=0)
    return sums - np.concatenate([np.zeros((width, sums.shape[1])), sums])[: len(sums)]


def z_test(seen: Watched) -> np.ndarray:
    """The pooled z-test of two proportions over everything so far, at each look."""
    arms = (seen.canary, seen.canary_bad, seen.baseline, seen.baseline_bad)
    n_c, x_c, n_b, x_b = (np.cumsum(one, axis=0).astype(float) for one in arms)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (x_c + x_b) / (n_c + n_b)
        z = (x_c / n_c - x_b / n_b) / np.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_b))
    return first(np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0) > Z_ONE_SIDED)


def first(rejected: np.ndarray) -> np.ndarray:
    return np.where(rejected.any(axis=0), rejected.argmax(axis=0), -1)


def told(seen: Watched, stopped: np.ndarray) -> dict[str, Figure]:
    """The share of runs rolled back, and of those the median time and the canary errors served by then."""
    caught = stopped >= 0
    found: dict[str, Figure] = {"percent": round(100 * float(caught.mean()), 2)}
    if caught.any():
        served = np.cumsum(seen.canary_bad, axis=0)[stopped[caught], np.flatnonzero(caught)]
        found["median_s"] = float(np.median((stopped[caught] + 1) * seen.looks_s))
        found["errors_median"] = float(np.median(served))
        found["errors_p95"] = float(np.percentile(served, 95))
    return found


def measure(asked: argparse.Namespace) -> Report:
    report = Report()
    report.remarks.append(f"{asked.runs} runs a row, seed {asked.seed}, alpha {STRATEGY.alpha}")
    differ, worst, worst_burdened = 0, 0.0, 0.0
    for place, row in enumerate(ROWS):
        for looks_s in (10.0, 60.0):
            seen = watch(row, looks_s, asked.runs, np.random.default_rng([asked.seed, place, int(looks_s)]))
            stopped, burdened = shipped(seen)
            differ += sum(one_by_one(seen, n) != int(stopped[n]) for n in range(min(CHECKED, asked.runs)))
            name = f"{row.name}, each {looks_s:g} s"
            mine = told(seen, stopped)
            report.figures[name] = {
                "poise": mine,
                "poise_burdened": told(seen, burdened),
                "flagger": told(seen, checked(seen, rivals.flagger))["percent"],
                "argo": told(seen, checked(seen, rivals.argo))["percent"],
                "z_peeking": told(seen, z_test(seen))["percent"],
            }
            if row.good:
                worst = max(worst, float(str(mine["percent"])))
                worst_burdened = max(worst_burdened, 100 * float((burdened >= 0).mean()))
            print(f"  {name}: {report.figures[name]}", file=sys.stderr)
    report.figures["false_rollbacks_worst_percent"] = worst
    report.figures["false_rollbacks_burdened_worst_percent"] = round(worst_burdened, 2)
    report.figures["judged_one_by_one_differ"] = differ
    report.goals += [
        Goal("false_rollbacks_worst_percent", at_most=100 * STRATEGY.alpha),
        Goal("false_rollbacks_burdened_worst_percent", at_most=100 * BURDENED_ALPHA),
        Goal("judged_one_by_one_differ", at_most=0),
    ]
    _headlines(report)
    return report


def _headlines(report: Report) -> None:
    """The figures that the goals are about, at the shipped pace of a look every 10 s."""
    for key, name, figure, bound in (
        ("caught_5x_percent", "bad 0.1->0.5 %, 50/s", "percent", "least"),
        ("caught_5x_median_s", "bad 0.1->0.5 %, 50/s", "median_s", "most"),
        ("half_failing_errors_median", "bad 0.1->50 %, 0.5/s", "errors_median", "most"),
    ):
        row = report.figures[f"{name}, each 10 s"]
        assert isinstance(row, dict)
        report.figures[key] = row["poise"].get(figure)
        limit = {"caught_5x_percent": 99.0, "caught_5x_median_s": 240.0, "half_failing_errors_median": 6.0}[
            key
        ]
        report.goals.append(Goal(key, at_least=limit) if bound == "least" else Goal(key, at_most=limit))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)


if __name__ == "__main__":
    sys.exit(run("canary_power", measure, options))
