"""The embedded store takes 10,000 series x 6 h in, each round durable: samples/s, bytes, memory, opening."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bench.report import Goal, Report, run
from bench.synthetic import SERIES, STEP_MS, targets
from poise.adapters.blocks import BlockReader, BlockStore
from poise.model.samples import Matcher, MatchOp, Reading, Round

GOALS = [
    Goal("samples_per_s", at_least=1_500_000),
    Goal("bytes_per_sample", at_most=1.7),
    Goal("open_s", at_most=0.3),
    Goal("rss_mb", at_most=350),
    Goal("differences", at_most=0),
]
OPENED = """
import json, sys, time
from pathlib import Path
began = time.perf_counter()
from poise.adapters.blocks import BlockReader, BlockStore
imported = time.perf_counter()
store = BlockStore(Path(sys.argv[1]))
store.reader.label_values("job", [], 0, 1 << 62) if sys.argv[2] == "ask" else None
took = time.perf_counter() - imported
peak_kb = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(json.dumps([imported - began, took, peak_kb / 1024]))
"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--verify", type=int, default=20, help="targets compared bit for bit afterwards")


def measure(given: argparse.Namespace) -> Report:
    made = list(targets(given.series // SERIES, given.hours))
    length = len(made[0].at_ms)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.db"
        figures = ingested(path, made, length)
        figures["bytes_per_sample"] = round(size(path) / figures["samples"], 3)
        figures["differences"] = differences(path, made[:: max(1, len(made) // given.verify)])
        opens = [opened(path, "open") for _ in range(5)]
        asks = [opened(path, "ask") for _ in range(3)]
        figures["import_s"] = round(float(np.median([one[0] for one in opens])), 3)
        figures["open_s"] = round(float(np.median([one[1] for one in opens])), 3)
        figures["open_and_ask_s"] = round(float(np.median([one[1] for one in asks])), 3)
        figures["open_rss_mb"] = round(opens[0][2], 1)
    remarks = [
        "A round is one sample of every series, synced before the next begins; sealing goes on beside it.",
        "Integer-heavy synthetic data: a lower bound of bytes per sample for everyone.",
    ]
    return Report(figures, GOALS if given.series == 10_000 else [], remarks)


def ingested(path: Path, made: list, length: int) -> dict:
    store = BlockStore(path, now_ms=lambda: 1 << 60)
    stop = threading.Event()

    def tend() -> None:
        while not stop.wait(0.05):
            store.tend()

    tender = threading.Thread(target=tend)
    tender.start()
    took: list[float] = []
    kept = 0
    for turn in range(length):
        readings = tuple(
            Reading(
                target=one.name,
                series=one.series,
                at_ms=one.at_ms[turn : turn + 1],
                values=one.values[:, turn : turn + 1],
            )
            for one in made
        )
        began = time.perf_counter()
        kept += store.put(Round(readings=readings)).kept
        took.append(time.perf_counter() - began)
    stop.set()
    tender.join()
    began = time.perf_counter()
    store.seal()
    store.tend()
    last_s = time.perf_counter() - began
    asyncio.run(store.close())
    rss = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    data_mb = sum(one.values.nbytes for one in made) / 2**20
    ms = np.array(took) * 1000
    return {
        "samples": kept,
        "samples_per_s": round(kept / (sum(took) + last_s)),
        "round_ms_p50": round(float(np.median(ms)), 2),
        "round_ms_p99": round(float(np.percentile(ms, 99)), 2),
        "round_ms_max": round(float(ms.max()), 1),
        "rss_mb": round(rss - data_mb, 1),
        "step_ms": STEP_MS,
    }


def size(path: Path) -> int:
    return sum(one.stat().st_size for one in path.parent.iterdir())


def differences(path: Path, made: list) -> int:
    """Samples that do not come back bit for bit."""
    reader, wrong = BlockReader(path), 0
    for one in made:
        labels = dict(one.series[0])
        block = reader.select(
            [
                Matcher("instance", MatchOp.EQUAL, labels["instance"]),
                Matcher("job", MatchOp.EQUAL, labels["job"]),
            ],
            0,
            1 << 62,
        )
        found = {}
        for first, at_ms, values in block.groups():
            for row in range(len(values)):
                found[block.series[first + row]] = (at_ms, values[row])
        for series, values in zip(one.series, one.values, strict=True):
            at_ms, got = found.get(series, (np.empty(0), np.empty(0)))
            same = (
                len(got) == len(values) and got.tobytes() == values.tobytes() and (at_ms == one.at_ms).all()
            )
            wrong += 0 if same else len(values)
    reader.close()
    return wrong


def opened(path: Path, what: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", OPENED, str(path), what], capture_output=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(run("signals_ingest", measure, options))
