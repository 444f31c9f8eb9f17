"""Is each spend charged to the right change? Faults after deploys among innocent ones, on a recorded trace.

Each day of a service has more than twenty deploys at random instants, some of which are rolled back without
need, and blips. One deploy brings a fault: it takes traffic in steps (5, 20, 50, 100 %, two minutes each) and
fails 2 to 100 % of what it gets from its first minutes on, until it is over 10 minutes to 3 hours later (four
in five are rolled back then, the others mended forwards, which the ledger does not see); that is worth 1 % of
the month's budget or more. Other days have a fault that no deploy brought and that hits whatever runs. While
a deploy steps, its revision and the one beside it are counted apart, as its trial does.
Right is: the episode with most of the injected failures is charged to the guilty deploy, or to nobody.
Run: python benchmarks/ledger_attribution.py TRACE [--json] [--days 300] [--seed 1] [--untried]
TRACE: CSV of instant, requests in the minute; may be compressed (.xz, .gz, .bz2).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from msgspec import structs

from bench import trace as traces
from bench.report import Goal, Report, run
from poise.balance.ledger.attribution import Charge, Suspect, charge
from poise.balance.ledger.episodes import episodes
from poise.delivery.rollout import split
from poise.model.spend import SpendCause

TARGET, HEALTHY, BLIP, BLIPS_A_DAY = 0.999, 0.0003, 0.3, 3
STEPS, STEP_MIN = (0.05, 0.2, 0.5), 2
PER_HOUR = (600, 6000, 60_000)
LAG_MEAN_MIN = 1.0
INNOCENTS_UNDONE = 0.1
GUILTY_UNDONE = 0.8
WORTH_RATIO = 0.01  # of the month's budget
RIGHT_MIN = 0.9
FALSE_MAX = 0.1


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
    weight = weights(at) if guilty else np.ones(traces.DAY)
    ratio = np.where(faulty, np.maximum(ratio, severity * weight), ratio)
    total, bad = traces.events(shape, per_hour, ratio, random)
    deploys = []
    for k, begun in enumerate(random.uniform(0, traces.DAY, innocents).tolist()):
        lived = 10 ** random.uniform(1, np.log10(180))
        undone = begun + lived if random.random() < INNOCENTS_UNDONE else None
        deploys.append(deploy(f"innocent {k}", begun, undone, total, bad, weights(begun), random))
    if guilty:
        undone = float(end) if random.random() < GUILTY_UNDONE else None
        new, old = severity * weight, HEALTHY * (1 - weight)
        of_new = np.where(faulty, new / (new + old), weight)
        deploys.insert(0, deploy("guilty", float(at), undone, total, bad, weight, random, of_new))
    return total.astype(float), bad.astype(float), faulty, deploys


def weights(at: float) -> np.ndarray:
    """By minute: the share of the requests that a deploy begun at ``at`` gets, once it has."""
    step = np.clip((np.arange(traces.DAY) + 0.5 - at) // STEP_MIN, 0, len(STEPS)).astype(int)
    made: np.ndarray = np.array([*STEPS, 1.0])[step]
    return made


def deploy(
    subject: str,
    at: float,
    undone_at: float | None,
    total: np.ndarray,
    bad: np.ndarray,
    weight: np.ndarray,
    random: np.random.Generator,
    of_new: np.ndarray | None = None,
) -> Suspect:
    """A deploy as the ledger sees it, with the evidence of the minutes in which two revisions answered.

    ``of_new``: which share of the failures are the new revision's; of an innocent one that of its requests.
    """
    last = at + STEP_MIN * len(STEPS)
    some = slice(int(np.ceil(at)), max(int(np.ceil(at)), min(traces.DAY, int(last))))
    lost, answered = bad[some].astype(int), (total - bad)[some].astype(int)
    failed = random.binomial(lost, (weight if of_new is None else of_new)[some])
    well = random.binomial(answered, weight[some])
    new, old = (failed + well, failed), (lost + answered - failed - well, lost - failed)
    gains = split.gain(split.HARM_GRID, 1.0, *new, *old)
    return Suspect(
        cause=SpendCause.DEPLOY, subject=subject, at=at, undone_at=undone_at, compared=(at, last),
        e_value=float(split.e_values(gains.sum(axis=0))),
    )  # fmt: skip


def told(
    total: np.ndarray, bad: np.ndarray, faulty: np.ndarray, deploys: list[Suspect], *, untried: bool = False
) -> Charge | None:
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
    if untried:
        deploys = [structs.replace(one, compared=None) for one in deploys]
    return charge(best, deploys) if best is not None else None


def charged(
    asked: argparse.Namespace, trace: np.ndarray, per_hour: float, guilty: bool, random: np.random.Generator
) -> list[Charge | None]:
    """What the ledger says of so many days."""
    found = (day(trace, per_hour, asked.innocents, guilty, random) for _ in range(asked.days))
    return [told(*one, untried=asked.untried) for one in found]


def measure(asked: argparse.Namespace) -> Report:
    trace = traces.read(Path(asked.trace))
    report = Report({"seed": asked.seed, "innocents": asked.innocents, "days_a_row": asked.days})
    right_of_all = false_of_all = 0
    for per_hour in PER_HOUR:
        random = np.random.default_rng([asked.seed, per_hour])
        charges = charged(asked, trace, per_hour, True, random)
        right = sum(one is not None and one.subject == "guilty" for one in charges)
        other = sum(one is not None and one.subject.startswith("innocent") for one in charges)
        right_of_all += right
        report.figures[f"right_{per_hour}_ratio"] = right / asked.days
        report.figures[f"blamed_an_innocent_{per_hour}_ratio"] = other / asked.days
        report.figures[f"unknown_{per_hour}_ratio"] = (asked.days - right - other) / asked.days
        alone = charged(asked, trace, per_hour, False, random)
        false = sum(one is not None and one.cause is not SpendCause.UNKNOWN for one in alone)
        report.figures[f"no_deploys_fault_blamed_{per_hour}_ratio"] = false / asked.days
        false_of_all += false
    report.figures["right_ratio"] = right_of_all / (asked.days * len(PER_HOUR))
    report.figures["no_deploys_fault_blamed_ratio"] = false_of_all / (asked.days * len(PER_HOUR))
    report.goals += [Goal("no_deploys_fault_blamed_ratio", at_most=FALSE_MAX), Goal("innocents", at_least=20)]
    if not asked.untried:
        report.goals.append(Goal("right_ratio", at_least=RIGHT_MIN))
    return report


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help="CSV of instant, requests in the minute (.xz, .gz, .bz2 or plain)")
    parser.add_argument("--days", type=int, default=300, help="days, with a fault each, at each traffic")
    parser.add_argument("--innocents", type=int, default=24, help="deploys a day that brought no fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--untried", action="store_true", help="no deploy was compared with the one before it"
    )


if __name__ == "__main__":
    sys.exit(run("ledger_attribution", measure, options))
