"""Eight PromQL queries over synthetic metrics, beside Debian's Prometheus and VictoriaMetrics, in one run.

Ours is measured twice: the engine over the metrics file in this process (its answer is arrays), and a real
house over HTTP (its answer is JSON from the worker), which is what the others are asked for. Medians of
repeats after one warm-up; every query of ours has the decoded chunks of the one before in its cache, as the
others have theirs. ``cold_ms`` is the first question to a fresh reader.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench import rivals
from bench.dashboards import Dashboards, Question
from bench.house import House
from bench.report import Figure, Goal, Report, percentile, run
from bench.rivals import Asked
from bench.synthetic import STEP_MS, Target, end_ms, queries, rounds, targets
from poise.adapters.blocks import BlockReader, BlockStore
from poise.adapters.promql import Engine

NEEDED = 3  # exit code: a rival is not installed
RANGES = ("q3", "q4", "q6", "q7", "q8")
ONE_SERIES = "q1"
STEP_S = 60
SETTLED_S = 5.0  # a house that has just come up is still busy with itself


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--dashboards", type=int, default=0, help="that look at the same time, afterwards")
    parser.add_argument("--seconds", type=float, default=20.0, help="for which they look")
    parser.add_argument("--alone", action="store_true", help="without Prometheus and VictoriaMetrics")


def measure(given: argparse.Namespace) -> Report:
    span_ms = round(given.hours * 3_600_000)
    begin_ms = (int(time.time() * 1000) - span_ms - 60_000) // 60_000 * 60_000
    made = list(targets(given.series // 50, given.hours, begin_ms=begin_ms))
    end = end_ms(given.hours, begin_ms)
    questions: dict[str, Question] = {
        name: (text, (begin_ms, end) if ranged else None, end, STEP_S)
        for name, (text, ranged) in queries().items()
    }
    figures: dict[str, Figure] = {"series": given.series, "samples": sum(one.values.size for one in made)}
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="poise-bench-")))
        house = stack.enter_context(House("shop", {"README": "metrics"}, base))
        house.data.mkdir(mode=0o700)
        fill(house.data / "metrics.db", made, end)
        in_process = _in_process(house.data / "metrics.db", questions, given.repeats, figures)
        house.up()
        time.sleep(SETTLED_S)
        token = (house.data / "token").read_text().strip()
        took = {"engine": in_process, "poise": _over_http(house.port, token, questions, given.repeats)}
        if given.dashboards:
            figures["poise_dashboards"] = _dashboards(house.port, token, given, questions)
        house.down()
        if not given.alone:
            for name, started in (("prometheus", rivals.prometheus), ("victoria", rivals.victoria_metrics)):
                with started(base, made) as port:
                    took[name] = _over_http(port, "", questions, given.repeats)
                    if given.dashboards:
                        figures[f"{name}_dashboards"] = _dashboards(port, "", given, questions)
    return _report(took, figures, alone=given.alone)


def fill(path: Path, made: list[Target], end: int) -> None:
    """Append and seal everything."""
    store = BlockStore(path, now_ms=lambda: end + STEP_MS)
    for one in rounds(made):
        refused = store.put(one).refused
        assert not refused, refused
    store.seal()
    asyncio.run(store.close())


def _in_process(
    path: Path, questions: dict[str, Question], repeats: int, figures: dict[str, Figure]
) -> dict[str, float]:
    found, cold = {}, {}
    reader = BlockReader(path)
    for name, (text, span, end, step_s) in questions.items():
        fresh = BlockReader(path)
        cold[name] = _timed(_asking(Engine(fresh), text, span, end, step_s))
        fresh.close()
        ask = _asking(Engine(reader), text, span, end, step_s)
        ask()
        found[name] = statistics.median(_timed(ask) for _ in range(repeats))
    reader.close()
    figures["cold_ms"] = cold
    return found


def _asking(
    engine: Engine, text: str, span: tuple[int, int] | None, end: int, step_s: int
) -> Callable[[], object]:
    if span is None:
        return lambda: engine.instant(text, end)
    return lambda: engine.range(text, *span, step_s * 1000)


def _timed(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def _over_http(port: int, token: str, questions: dict[str, Question], repeats: int) -> dict[str, float]:
    asked = Asked(port, token)
    found = {}
    for name, question in questions.items():
        rivals.timed_ms(asked, *question)
        times = repeats if question[1] else 5 * repeats  # what is short is asked more often
        found[name] = statistics.median(rivals.timed_ms(asked, *question) for _ in range(times))
    return found


def _dashboards(
    port: int, token: str, given: argparse.Namespace, questions: dict[str, Question]
) -> dict[str, object]:
    with Dashboards(port, token, given.dashboards, list(questions.values())).looking() as looking:
        time.sleep(given.seconds)
    return {
        "answers_per_s": len(looking.took_ms) / given.seconds,
        "p50_ms": percentile(looking.took_ms, 50),
        "p95_ms": percentile(looking.took_ms, 95),
        "failed": len(looking.failed),
    }


def _report(took: dict[str, dict[str, float]], figures: dict[str, Figure], *, alone: bool) -> Report:
    goals = []
    for name, of in took.items():
        figures[f"{name}_ms"] = {query: round(value, 2) for query, value in of.items()}
    if not alone:
        for query in took["poise"]:
            figures[f"{query}_times_faster"] = took["prometheus"][query] / took["poise"][query]
            if query != ONE_SERIES:
                goals.append(Goal(f"{query}_times_faster", at_least=2.5 if query in RANGES else 1.0))
    figures["q1_ms"] = took["poise"][ONE_SERIES]
    goals.append(Goal("q1_ms", at_most=2.0))  # its own goal: a hop to another process is most of it
    remarks = [
        "times_faster: Prometheus' median over ours, both over HTTP with JSON on the same machine",
        "VictoriaMetrics' rate does not extrapolate; its result cache is off",
    ]
    return Report(figures, goals, remarks)


if __name__ == "__main__":
    if rivals.missing() and "--alone" not in sys.argv:
        print(f"missing: {', '.join(rivals.missing())}; run: apt-get install prometheus victoria-metrics")
        sys.exit(NEEDED)
    sys.exit(run("signals_query", measure, options))
