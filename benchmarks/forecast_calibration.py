"""Does the forecast keep its word? 24 h forecasts on a recorded trace with injected faults.

Services with the trace's traffic fail at a third of the budget's rate, with blips and faults of many sizes
and lengths at random times. From the 29th day on, each day's budget is foretold the day before from what was
known then, burns that go on included (as the detector sees them). Forecasts do not overlap.
Run: python benchmarks/forecast_calibration.py TRACE [--json] [--services 8] [--seed 1]
TRACE: CSV of instant, requests in the minute; may be compressed (.xz, .gz, .bz2).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from bench import trace as traces
from bench.report import Goal, Report, Unmeasured, run
from poise.balance.burn import sequential
from poise.balance.forecast.paths import Burning, History, forecast

TARGET, WINDOW_DAYS, HORIZON = 0.999, 28, 24
HEALTHY, BLIP, BLIPS_A_DAY = 0.0003, 0.3, 3
FAULTS_A_DAY, FAULT_MINUTES, FAULT_BURN = 0.4, 30.0, 12.0
FORECASTS_MIN = 300


def ratios(minutes: int, count: int, random: np.random.Generator) -> np.ndarray:
    """The share of requests that fail, by minute and service: healthy, blips, and faults by the week."""
    made = np.full((minutes, count), HEALTHY)
    for column in range(count):
        made[random.choice(minutes, minutes * BLIPS_A_DAY // traces.DAY, replace=False), column] = BLIP
        for begin in random.choice(minutes, random.poisson(FAULTS_A_DAY * minutes / traces.DAY)):
            lasts = int(random.lognormal(np.log(FAULT_MINUTES), 1.0)) + 1
            burn = min(1 / (1 - TARGET), random.lognormal(np.log(FAULT_BURN), 1.0))
            some = made[begin : begin + lasts, column]
            np.maximum(some, burn * (1 - TARGET), out=some)
    return made


def watched(total: np.ndarray, bad: np.ndarray) -> list[list[Burning | None]]:
    """The burn that the detector sees at the end of each day, by service."""
    minutes, count = total.shape
    worth = sequential.weights(np.full(count, TARGET))
    state = sequential.fresh(count, 0.0)
    seen, found = np.cumsum(total, axis=0, dtype=float), []
    for minute in range(minutes):
        at = (minute + 1) * 60.0
        allowed = (1 - TARGET) * seen[minute] / (minute + 1) * WINDOW_DAYS * traces.DAY
        state = sequential.advance(
            state, worth, total[minute], bad[minute], at=at, period_allowed=allowed,
            period_s=np.full(count, WINDOW_DAYS * 86_400.0),
        )  # fmt: skip
        if (minute + 1) % traces.DAY == 0:
            found.append([_burning(state, place, at) for place in range(count)])
    return found


def _burning(state: sequential.State, place: int, at: float) -> Burning | None:
    if state.firing[place] < 0:
        return None
    ratio = float(state.burn_bad[place] / state.burn_total[place])
    return Burning(ratio=ratio, age_hours=float(at - state.onset[place]) / 3600)


def left(total: np.ndarray, bad: np.ndarray) -> float:
    """What is left of the budget of the whole window."""
    return 1.0 - float(bad.sum() / max(1e-9, (1 - TARGET) * total.sum()))


def measure(asked: argparse.Namespace) -> Report:
    trace = traces.read(Path(asked.trace))
    days = len(trace) // traces.DAY
    if days <= WINDOW_DAYS:
        raise Unmeasured(f"{asked.trace}: {days} days are no more than a window of {WINDOW_DAYS}")
    services = max(asked.services, -(-FORECASTS_MIN // (days - WINDOW_DAYS)))
    random = np.random.default_rng(asked.seed)
    shape = np.repeat(trace[: days * traces.DAY, None], services, axis=1)
    shape *= asked.per_hour / 60 / shape.mean()
    total, bad = traces.events(shape, 60.0, ratios(len(shape), services, random), random)
    burning = watched(total, bad)
    hourly = [one.reshape(-1, 60, services).sum(axis=1, dtype=np.float64) for one in (total, bad)]
    inside, below, above, scores, widths, in_burn = 0, 0, 0, [], [], []
    for service in range(services):
        for day in range(WINDOW_DAYS, days):
            now, window = day * 24, WINDOW_DAYS * 24
            events, lost = (one[now - window : now, service] for one in hourly)
            history = History(
                total=events, bad=lost, known=np.ones(window), target_ratio=TARGET, window_hours=window
            )
            made = forecast(history, HORIZON, burning[day - 1][service])
            assert made is not None
            true = left(*(one[now + HORIZON - window : now + HORIZON, service] for one in hourly))
            inside += made.left_low <= true <= made.left_high
            below, above = below + (true < made.left_low), above + (true > made.left_high)
            path = [
                left(*(o[now + h - window : now + h, service] for o in hourly)) for h in range(1, HORIZON + 1)
            ]
            if left(events, lost) > 0:
                scores.append((made.spent_chance, float(min(path) <= 0)))
            widths.append(made.left_high - made.left_low)
            if burning[day - 1][service] is not None:
                in_burn.append(made.left_low <= true <= made.left_high)
    count = services * (days - WINDOW_DAYS)
    chance, came = np.array(scores).T
    base = float(came.mean())
    figures = {
        "seed": asked.seed, "services": services, "forecasts": count, "covered_ratio": inside / count,
        "below_ratio": below / count, "above_ratio": above / count, "width_median": float(np.median(widths)),
        "forecasts_during_a_burn": len(in_burn),
        "covered_during_a_burn_ratio": float(np.mean(in_burn)) if in_burn else None,
        "not_yet_spent": len(scores), "spent_within_24h_ratio": base,
        "spent_chance_mean": float(chance.mean()),
        "spent_brier": float(((chance - came) ** 2).mean()),
        "spent_brier_of_the_base_rate": base * (1 - base),
    }  # fmt: skip
    goals = [
        Goal("forecasts", at_least=FORECASTS_MIN),
        Goal("covered_ratio", at_least=0.75, at_most=0.85),
    ]
    return Report(
        figures, goals, ["the interval is of what is left of the budget 24 h later; 80 % should lie in it"]
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help="CSV of instant, requests in the minute (.xz, .gz, .bz2 or plain)")
    parser.add_argument("--services", type=int, default=8)
    parser.add_argument("--per-hour", type=float, default=60_000.0, help="mean requests of a service")
    parser.add_argument("--seed", type=int, default=1)


if __name__ == "__main__":
    sys.exit(run("forecast_calibration", measure, options))
