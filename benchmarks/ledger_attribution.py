"""Is each spend charged to the right change? Faults after deploys among innocent ones, on a recorded trace.

Each day of a service has more than twenty deploys at random instants, some of which are rolled back without
need, and blips. One deploy brings a fault: it takes traffic in steps (5, 20, 50, 100 %, two minutes each) and
fails 2 to 100 % of what it gets from its first minutes on, until it is rolled back 10 minutes to 3 hours
later; that is worth 1 % of the month's budget or more. Other days have a fault that no deploy brought.
Right is: the episode with most of the injected failures is charged to the guilty deploy, or to nobody.
Run: python benchmarks/ledger_attribution.py TRACE [--json] [--days 300] [--innocents 24] [--seed 1]
TRACE: CSV of instant, requests in the minute; may be compressed (.xz, .gz, .bz2).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from bench import trace as traces
from bench.report import Goal, Report, run
from poise.balance.ledger.attribution import Charge, Suspect, charge
from poise.balance.ledger.episodes import episodes
from poise.model.spend import SpendCause

TARGET, HEALTHY, BLIP, BLIPS_A_DAY = 0.999, 0.0003, 0.3, 3
STEPS, STEP_MIN = (0.05, 0.2, 0.5), 2
PER_HOUR = (600, 6000, 60_000)
LAG_MEAN_MIN = 1.0
INNOCENTS_UNDONE = 0.1
WORTH_RATIO = 0.01  # of the month's budget
RIGHT_MIN = 0.9


def day(
    trace: np.ndarray, per_hour: float, innocents: int, guilty: bool, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Suspect]]:
    """(total, bad, which minutes have the fault, deploys) of one day; deploy 0 is the guilty one, if any."""
    shape = traces.months(trace, 1, random, minutes=traces.DAY)[:, 0]
    ratio = np.full(traces.DAY, HEALTHY)
    ratio[random.choice(traces.DAY, BLIPS_A_DAY, replace=False)] = BLIP
    minute, worth = np.arange(traces.DAY) + 0.5, 0.0
    while worth < WORTH_RATIO * (1 - TARGET) * traces.MONTH:  # a fault that nobody notices is no spend
        at = random.uniform(60, traces.DAY - 240)
        severity, lasts = 10 ** random.uniform(np.log10(0.02), 0), 10 ** random.uniform(1, np.log10(180))
        begin, end = at + random.exponential(LAG_MEAN_MIN), at + lasts
        faulty = (minute >= begin) & (minute < end)
        worth = severity * float(shape[faulty].sum())
    step = np.clip((minute - at) // STEP_MIN, 0, len(STEPS)).astype(int)
    weight = np.array([*STEPS, 1.0])[step] if guilty else np.ones(traces.DAY)
    ratio = np.where(faulty, np.maximum(ratio, severity * weight), ratio)
    total, bad = traces.events(shape, per_hour, ratio, random)
    deploys = []
    for k, begun in enumerate(random.uniform(0, traces.DAY, innocents).tolist()):
        lived = 10 ** random.uniform(1, np.log10(180))
        undone = begun + lived if random.random() < INNOCENTS_UNDONE else None
        deploys.append(deploy(f"innocent {k}", begun, undone))
    if guilty:
        deploys.insert(0, deploy("guilty", float(at), float(end)))
    return total.astype(float), bad.astype(float), faulty, deploys


def deploy(subject: str, at: float, undone_at: float | None) -> Suspect:
    """A deploy as the ledger sees it."""
    return Suspect(cause=SpendCause.DEPLOY, subject=subject, at=at, undone_at=undone_at)


def told(total: np.ndarray, bad: np.ndarray, faulty: np.ndarray, deploys: list[Suspect]) -> Charge | None:
    """What the ledger says of the episode that holds most of the fault; None where it found none."""
    best, most = None, 0.0
    found = episodes(total, bad, 1 - TARGET)
    for one in found:
        some = slice(one.begin, one.end if one.end is not None else len(total))
        held = float(bad[some][faulty[some]].sum())
        if held > most:
            best, most = one, held
    counted = sum(one.bad for one in found)
    assert counted <= bad.sum(), "episodes overlap: a failure was charged twice"
    return charge(best, deploys) if best is not None else None


def measure(asked: argparse.Namespace) -> Report:
    trace = traces.read(Path(asked.trace))
    report = Report({"seed": asked.seed, "innocents": asked.innocents, "days_a_row": asked.days})
    right_of_all = 0
    for per_hour in PER_HOUR:
        random = np.random.default_rng([asked.seed, per_hour])
        charges = [told(*day(trace, per_hour, asked.innocents, True, random)) for _ in range(asked.days)]
        right = sum(one is not None and one.subject == "guilty" for one in charges)
        other = sum(one is not None and one.subject.startswith("innocent") for one in charges)
        right_of_all += right
        report.figures[f"right_{per_hour}_ratio"] = right / asked.days
        report.figures[f"blamed_an_innocent_{per_hour}_ratio"] = other / asked.days
        report.figures[f"unknown_{per_hour}_ratio"] = (asked.days - right - other) / asked.days
        alone = [told(*day(trace, per_hour, asked.innocents, False, random)) for _ in range(asked.days)]
        false = sum(one is not None and one.cause is not SpendCause.UNKNOWN for one in alone)
        report.figures[f"no_deploys_fault_blamed_{per_hour}_ratio"] = false / asked.days
    report.figures["right_ratio"] = right_of_all / (asked.days * len(PER_HOUR))
    report.goals += [Goal("right_ratio", at_least=RIGHT_MIN), Goal("innocents", at_least=20)]
    return report


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help="CSV of instant, requests in the minute (.xz, .gz, .bz2 or plain)")
    parser.add_argument("--days", type=int, default=300, help="days, with a fault each, at each traffic")
    parser.add_argument("--innocents", type=int, default=24, help="deploys a day that brought no fault")
    parser.add_argument("--seed", type=int, default=1)


if __name__ == "__main__":
    sys.exit(run("ledger_attribution", measure, options))
