"""How good are the alerts? The workbook's tiers beside Poise's tests, on a recorded trace with faults.

Services of 10 to 60,000 requests/h have the trace's shape and a target of 99.9 % over 30 days. Healthy ones
fail at half the budget's rate (``iid``), some with three one-minute blips of 30 % a day (``blips``): what
pages is false. In others a burn or a total outage begins at a random minute: how soon is it told? A delay is
from the burn's first minute to the end of the minute that tells.
Run: python benchmarks/alert_quality.py TRACE [--json] [--months 120] [--faults 300] [--seed 1]
TRACE: CSV of instant, requests in the minute; may be compressed (.xz, .gz, .bz2).
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from bench import trace as traces
from bench.report import Goal, Report, run
from poise.balance.burn import sequential
from poise.balance.burn.tiers import PAGES, TICKETS, burning

PER_HOUR = (10, 60, 600, 6000, 60_000)
BURNS = (4, 8, 20)
TARGET = 0.999
HEALTHY, BLIP, BLIPS_A_DAY = 0.0005, 0.3, 3
WARM, PATIENCE = traces.DAY, 2 * traces.DAY  # minutes before and after a fault begins
LOOKS = 2  # a probe's, a minute: every 30 s
FALSE_MAX, OUTAGE_MIN = 0.1, 2.0
FAST_FROM = 600
OURS_PAGE = sum(test.pages for test in sequential.TESTS)


def ours(
    total: np.ndarray, bad: np.ndarray, looks: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(worst firing test, chance that it is real) of each minute (rows) and service (columns)."""
    minutes, count = total.shape
    worth = sequential.weights(np.full(count, TARGET))
    state = sequential.fresh(count, 0.0)
    firing, chance = np.full((minutes, count), -1, np.int8), np.zeros((minutes, count), np.float32)
    seen = np.cumsum(total, axis=0, dtype=np.float64)
    period_s = np.full(count, traces.MONTH * 60.0)
    for minute in range(minutes):
        allowed = (1 - TARGET) * seen[minute] * traces.MONTH / (minute + 1)
        state = sequential.advance(
            state, worth, total[minute], bad[minute], at=(minute + 1) * 60.0, period_allowed=allowed,
            period_s=period_s, looks=0.0 if looks is None else LOOKS,
            looks_failed=0.0 if looks is None else looks[minute],
        )  # fmt: skip
        firing[minute] = state.firing
        if (state.firing >= 0).any():
            chance[minute] = sequential.chance_real(state, worth, allowed)
    return firing, chance


def begins(on: np.ndarray) -> np.ndarray:
    """How often each column goes from off to on."""
    return on[0].astype(int) + (on[1:] & ~on[:-1]).sum(axis=0)


def first(on: np.ndarray) -> np.ndarray:
    """Minutes until each column is first on; infinite where it never is."""
    return np.where(on.any(axis=0), on.argmax(axis=0) + 1.0, np.inf)


def rate_interval(events: int, months: float) -> tuple[float, float]:
    """The exact 95 % interval of a Poisson rate a month (Garwood 1936), by bisection."""

    def tail(mean: float, upto: int) -> float:
        terms = [-mean + k * math.log(mean) - math.lgamma(k + 1) for k in range(upto + 1)]
        return math.fsum(math.exp(one) for one in terms)

    def solve(upto: int, chance: float) -> float:
        low, high = 1e-9, 10.0 * events + 50.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, upto) > chance else (low, middle)
        return low

    low = solve(events - 1, 0.975) if events else 0.0
    return low / months, solve(events, 0.025) / months


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """(median, and the 95 % interval of it by order statistics)."""
    ordered, half = np.sort(values), 0.98 * math.sqrt(len(values))
    low, high = max(0, int(len(values) / 2 - half)), min(len(values) - 1, math.ceil(len(values) / 2 + half))
    return float(ordered[len(values) // 2]), float(ordered[low]), float(ordered[high])


def healthy(trace: np.ndarray, kind: str, asked: argparse.Namespace, report: Report) -> None:
    """The false alarms of one kind of healthy service, by traffic."""
    random = np.random.default_rng([asked.seed, len(kind)])
    per_hour = np.repeat(PER_HOUR, asked.months)
    shape = traces.months(trace, len(per_hour), random)
    ratio = np.full(shape.shape, HEALTHY, np.float32)
    if kind != "iid":
        for column in range(len(per_hour)):
            ratio[random.choice(traces.MONTH, 30 * BLIPS_A_DAY, replace=False), column] = BLIP
    total, bad = traces.events(shape, per_hour, ratio, random)
    looks = random.binomial(LOOKS, ratio).astype(np.float32) if kind == "blips+probe" else None
    firing, _ = ours(total, bad, looks)
    for traffic in PER_HOUR:
        mine = per_hour == traffic
        told = {
            "page": begins((firing[:, mine] >= 0) & (firing[:, mine] < OURS_PAGE)),
            "ticket": begins(firing[:, mine] >= 0),
        }
        if looks is None:
            for name, tiers in (("workbook_page", PAGES), ("workbook_ticket", TICKETS)):
                told[name] = begins(burning(total[:, mine], bad[:, mine], TARGET, tiers, 60.0))
        for name, found in told.items():
            low, high = rate_interval(int(found.sum()), asked.months)
            report.figures[f"{kind}_{traffic}_{name}_per_30d"] = float(found.mean())
            report.figures[f"{kind}_{traffic}_{name}_interval"] = [round(low, 4), round(high, 4)]
        report.goals.append(Goal(f"{kind}_{traffic}_page_per_30d", at_most=FALSE_MAX))


def faulty(
    trace: np.ndarray,
    burns: tuple[float, ...],
    traffics: tuple[int, ...],
    asked: argparse.Namespace,
    *,
    probed: bool,
) -> dict[tuple[int, float], dict[str, np.ndarray]]:
    """Minutes until each method tells of a fault, by traffic and burn; ``local``: requests/h then."""
    random = np.random.default_rng([asked.seed, 100, int(probed)])
    kinds = [(traffic, burn) for traffic in traffics for burn in burns for _ in range(asked.faults)]
    per_hour, burn = (np.array(column, dtype=float) for column in zip(*kinds, strict=True))
    shape = np.empty((WARM + PATIENCE, len(kinds)), np.float32)
    for column in range(len(kinds)):
        month = traces.months(trace, 1, random)[:, 0]
        begin = random.integers(0, traces.MONTH - len(shape) + 1)
        shape[:, column] = month[begin : begin + len(shape)]
    ratio = np.full(shape.shape, HEALTHY, np.float32)
    ratio[WARM:] = np.minimum(1.0, burn * (1 - TARGET))
    total, bad = traces.events(shape, per_hour, ratio, random)
    looks = (
        random.binomial(LOOKS, np.where(ratio >= 1.0, 1.0, HEALTHY)).astype(np.float32) if probed else None
    )
    firing, chance = ours(total, bad, looks)
    found = {}
    for traffic in traffics:
        for kind in burns:
            mine = (per_hour == traffic) & (burn == kind)
            pages = (firing[WARM:, mine] >= 0) & (firing[WARM:, mine] < OURS_PAGE)
            told = first(pages)
            at = np.minimum(np.nan_to_num(told, posinf=1.0), len(pages)).astype(int) - 1
            found[traffic, kind] = {
                "page": told,
                "ticket": first(firing[WARM:, mine] >= 0),
                "workbook_page": first(burning(total[:, mine], bad[:, mine], TARGET, PAGES, 60.0)[WARM:]),
                "workbook_ticket": first(burning(total[:, mine], bad[:, mine], TARGET, TICKETS, 60.0)[WARM:]),
                "local": shape[WARM : WARM + 2, mine].mean(axis=0) * traffic,
                "chance": np.where(pages.any(axis=0), chance[WARM:, mine][at, np.arange(len(at))], np.nan),
            }
    return found


def burns(trace: np.ndarray, asked: argparse.Namespace, report: Report) -> None:
    """How soon burns are told."""
    for (traffic, burn), told in faulty(trace, BURNS, PER_HOUR, asked, probed=False).items():
        name = f"burn{burn}_{traffic}"
        medians = {}
        for method in ("page", "workbook_page", "ticket", "workbook_ticket"):
            median, low, high = median_interval(told[method])
            medians[method] = median
            report.figures[f"{name}_{method}_median_min"] = None if math.isinf(median) else median
            report.figures[f"{name}_{method}_interval_min"] = [
                None if math.isinf(x) else x for x in (low, high)
            ]
            report.figures[f"{name}_{method}_told_ratio"] = float(np.isfinite(told[method]).mean())
        known = told["chance"][np.isfinite(told["chance"])]
        report.figures[f"{name}_chance_real_p10"] = float(np.quantile(known, 0.1)) if len(known) else None
        if traffic >= FAST_FROM:
            figure = f"{name}_slower_min"
            slower = (
                -math.inf
                if math.isinf(medians["workbook_page"])
                else medians["page"] - medians["workbook_page"]
            )
            slower = -float(PATIENCE) if math.isinf(slower) and slower < 0 else slower
            report.figures[figure] = slower
            report.goals.append(Goal(figure, at_most=0.0))


def outages(trace: np.ndarray, asked: argparse.Namespace, report: Report) -> None:
    """How soon a total outage is told, with a probe that watches and without."""
    total = 1.0 / (1 - TARGET)
    for probed in (False, True):
        for (traffic, _), told in faulty(trace, (total,), PER_HOUR, asked, probed=probed).items():
            name = f"outage_{traffic}{'_probed' if probed else ''}"
            median, low, high = median_interval(told["page"])
            report.figures[f"{name}_median_min"] = None if math.isinf(median) else median
            report.figures[f"{name}_interval_min"] = [None if math.isinf(x) else x for x in (low, high)]
            in_time = told["page"] <= OUTAGE_MIN
            busy = told["local"] >= FAST_FROM
            report.figures[f"{name}_in_time_ratio"] = float(in_time.mean())
            if busy.any():
                report.figures[f"{name}_in_time_where_600_per_hour_ratio"] = float(in_time[busy].mean())
            if not probed:
                median = median_interval(told["workbook_page"])[0]
                report.figures[f"{name}_workbook_page_median_min"] = None if math.isinf(median) else median
            if probed or traffic >= FAST_FROM:
                report.goals.append(Goal(f"{name}_median_min", at_most=OUTAGE_MIN))
                figure = "in_time_ratio" if probed else "in_time_where_600_per_hour_ratio"
                report.goals.append(Goal(f"{name}_{figure}", at_least=0.99))


def measure(asked: argparse.Namespace) -> Report:
    trace = traces.read(Path(asked.trace))
    report = Report({"seed": asked.seed, "trace_minutes": len(trace), "service_months_a_row": asked.months,
                     "faults_a_row": asked.faults})  # fmt: skip
    for kind in ("iid", "blips", "blips+probe"):
        healthy(trace, kind, asked, report)
    burns(trace, asked, report)
    outages(trace, asked, report)
    report.remarks.append(
        "traffic is a 30-day mean; a fault begins at a random minute, half of them in quieter ones"
    )
    return report


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help="CSV of instant, requests in the minute (.xz, .gz, .bz2 or plain)")
    parser.add_argument("--months", type=int, default=120, help="service-months a row")
    parser.add_argument("--faults", type=int, default=300, help="faults a row")
    parser.add_argument("--seed", type=int, default=1)


if __name__ == "__main__":
    sys.exit(run("alert_quality", measure, options))
