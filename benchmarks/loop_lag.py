"""How promptly the control process answers while dashboards ask: lag of its own scheduler, measured inside.

A real house with metrics in it, so many dashboards that each ask eight queries one after another over HTTP;
the house's own sampler (``status/runtimeinfo``) is read after the load has run, and before it for comparison.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.dashboards import Question, apart
from bench.house import House
from bench.report import Figure, Goal, Report, run
from bench.rivals import Asked
from bench.synthetic import end_ms, queries, targets
from signals_query import STEP_S, fill

KEPT_S = 60.0  # what the sampler looks back on


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--dashboards", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)


def measure(given: argparse.Namespace) -> Report:
    figures: dict[str, Figure] = {"series": given.series, "dashboards": given.dashboards}
    with (
        tempfile.TemporaryDirectory(prefix="poise-bench-") as base,
        House("shop", {"README": "metrics"}, Path(base)) as house,
    ):
        questions = prepare(house, given.series, given.hours)
        house.up()
        time.sleep(5.0)
        figures |= {f"idle_{name}": value for name, value in lag(house).items()}
        with looking(house, given.dashboards, questions) as seen:
            time.sleep(max(given.seconds, KEPT_S + 1))  # so that nothing idle is left in the figures
            figures |= {f"lag_{name}": value for name, value in lag(house).items()}
        figures |= {f"answer_{name}" if name.startswith("p") else name: one for name, one in seen.items()}
    goals = [Goal("lag_p99_ms", at_most=20.0), Goal("failed", at_most=0)]
    return Report(figures, goals, ["lag: how much later than asked a sleeping task of the house wakes"])


def prepare(house: House, series: int, hours: float) -> list[Question]:
    """Fill the house's metrics, which is not up yet; what dashboards ask of them."""
    span_ms = round(hours * 3_600_000)
    begin_ms = (int(time.time() * 1000) - span_ms - 60_000) // 60_000 * 60_000
    end = end_ms(hours, begin_ms)
    house.data.mkdir(mode=0o700, exist_ok=True)
    fill(house.data / "metrics.db", list(targets(series // 50, hours, begin_ms=begin_ms)), end)
    return [(text, (begin_ms, end) if ranged else None, end, STEP_S) for text, ranged in queries().values()]


@contextmanager
def looking(house: House, count: int, questions: list[Question]) -> Iterator[dict[str, float]]:
    """That many dashboards on a house that is up; how they fared is filled in at the end."""
    token = (house.data / "token").read_text().strip()
    with apart(house.port, token, count, questions) as seen:
        yield seen


def lag(house: House) -> dict[str, float]:
    """The sampler's figures: p50_ms, p99_ms, max_ms."""
    asked = Asked(house.port, (house.data / "token").read_text().strip())
    found = json.loads(asked.get("/api/v1/status/runtimeinfo"))["data"]["loopLag"]
    return {name: float(found[name]) for name in ("p50_ms", "p99_ms", "max_ms")}


if __name__ == "__main__":
    sys.exit(run("loop_lag", measure, options))
