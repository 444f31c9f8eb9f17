"""kill -9 at random instants of ingest, sealing, joining: acknowledged samples lost or doubled, opening."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bench.report import Goal, Report, Unmeasured, run
from poise.adapters.blocks import BlockReader, BlockStore, Retention
from poise.model.samples import NAME, Matcher, MatchOp, Reading, Round

GOALS = [
    Goal("kills", at_least=50),
    Goal("acknowledged_samples_lost", at_most=0),
    Goal("wrong_or_doubled", at_most=0),
    Goal("open_s_max", at_most=0.3),
]
TARGETS, SERIES = 20, 50
BEGIN_MS = 1_760_000_000_000
SEED_BITS = 0x9E3779B97F4A7C15


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=50)


def measure(given: argparse.Namespace) -> Report:
    chance = random.Random(7)
    opens, lost, wrong, rounds = [], 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.db"
        for _ in range(given.kills):
            acknowledged = killed(path, rounds, chance.uniform(0.3, 1.2))
            began = time.perf_counter()
            store = BlockStore(path, now_ms=lambda: 1 << 60)
            opens.append(time.perf_counter() - began)
            reader = BlockReader(path)
            missing, odd = compared(reader, acknowledged)
            lost, wrong, rounds = lost + missing, wrong + odd, acknowledged
            reader.close()
            asyncio.run(store.close())
    figures = {
        "kills": given.kills,
        "rounds": rounds,
        "samples": rounds * TARGETS * SERIES,
        "acknowledged_samples_lost": lost,
        "wrong_or_doubled": wrong,
        "open_s_p50": round(float(np.median(opens)), 3),
        "open_s_max": round(max(opens), 3),
    }
    return Report(
        figures, GOALS, ["kill -9 ends the process, not the machine: power loss rests on fdatasync."]
    )


def killed(path: Path, done: int, after_s: float) -> int:
    """Let a writer go on after the last acknowledged round, kill it; the rounds it had acknowledged.

    A round that was durable but not acknowledged is written again: the same sample twice must be one.
    """
    command = [sys.executable, __file__, "--write", str(path), str(done)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        if not first:
            raise Unmeasured("the writer did not start")
        time.sleep(after_s)
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().splitlines(keepends=True)
    whole = [line for line in [first, *rest] if line.endswith(b"\n")]
    return int(whole[-1])


def write(path: Path, turn: int) -> None:
    """Rounds without end, each number printed once it is durable; small blocks, so that much is sealed."""
    small = Retention(seal_samples=20_000, seal_rows=10, join_samples=200_000)
    store = BlockStore(path, now_ms=lambda: 1 << 60, retention=small)

    def tend() -> None:
        while True:
            store.tend()
            time.sleep(0.01)

    threading.Thread(target=tend, daemon=True).start()
    series = [
        tuple(((NAME, f"m{n % 7}"), ("n", str(n)), ("target", str(place))) for n in range(SERIES))
        for place in range(TARGETS)
    ]
    print(turn, flush=True)
    while True:
        store.put(Round(readings=tuple(one(place, series[place], turn) for place in range(TARGETS))))
        turn += 1
        print(turn, flush=True)


def one(place: int, series: tuple, turn: int) -> Reading:
    return Reading(
        target=f"t{place}",
        series=series,
        at_ms=np.array([BEGIN_MS + turn * 15_000 + place]),
        values=expected(place, turn, 1),
    )


def expected(place: int, first: int, count: int) -> np.ndarray:
    """Values of a target: any bits, from the place and the turn alone."""
    turns = np.arange(first, first + count, dtype=np.uint64)
    rows = np.arange(SERIES, dtype=np.uint64)[:, None] + np.uint64(place * SERIES)
    with np.errstate(over="ignore"):
        bits = (turns + np.uint64(1)) * np.uint64(SEED_BITS) * (rows + np.uint64(1))
    return np.where(rows % 2 == 0, (turns * (rows + np.uint64(3))).astype(float), bits.view(np.float64))


def compared(reader: BlockReader, acknowledged: int) -> tuple[int, int]:
    """Samples of acknowledged rounds that are missing; samples that are wrong, or there twice."""
    missing = wrong = 0
    for place in range(TARGETS):
        block = reader.select([Matcher("target", MatchOp.EQUAL, str(place))], 0, 1 << 62)
        seen = 0
        for first, at_ms, values in block.groups():
            turns = (at_ms - BEGIN_MS - place) // 15_000
            rows = [int(dict(labels)["n"]) for labels in block.series[first : first + len(values)]]
            want = expected(place, 0, int(turns[-1]) + 1)[rows][:, turns]
            wrong += int((np.ascontiguousarray(values).view(np.uint64) != want.view(np.uint64)).sum())
            wrong += int((np.diff(turns) <= 0).sum()) * len(values)
            seen += int((turns < acknowledged).sum()) * len(values)
        missing += max(0, acknowledged * SERIES - seen)
    return missing, wrong


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
    sys.exit(run("signals_crash", measure, options))
