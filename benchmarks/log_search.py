"""Output searched, followed and trimmed: beside grep -E, and under a workload that prints without end."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import anyio

import poise.keeper
from bench.report import Goal, Report, Unmeasured, run
from poise.adapters.masking import Masker
from poise.adapters.output import follow, search
from poise.adapters.output.files import OutputFile
from poise.adapters.output.matcher import Matcher
from poise.adapters.sealing import Sealer

GOALS = [
    Goal("search_ratio_to_grep", at_most=5.0),
    Goal("follow_ms_p95", at_most=500),
    Goal("lines_lost", at_most=0),
    Goal("disk_over_limit_ratio", at_most=2.0),
    Goal("keeper_rss_mb", at_most=20),
]
PATTERNS = ("needle$", "status=5[0-9]{2} ", "(ERROR|FATAL|panic).*needle")
WORDS = ("the", "quick", "brown", "fox", "jumps", "order", "payment", "checkout", "shipped", "cart")
LIMIT_BYTES = 32 << 20
CHATTY = """
import os, time
n, block = 0, 4_000
while True:
    began = time.perf_counter()
    os.write(1, b"".join(b"%015d and what a chatty app has to say\\n" % (n + k) for k in range(block)))
    n += block
    time.sleep(max(0.0, block * 52 / RATE - (time.perf_counter() - began)))
"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rate-mb-s", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=20.0)


def measure(given: argparse.Namespace) -> Report:
    if shutil.which("grep") is None:
        raise Unmeasured("grep is not there")
    with tempfile.TemporaryDirectory(prefix="logs-") as folder:
        figures: dict[str, Any] = {"mib": given.mib, **searched(Path(folder), given.mib)}
        figures |= anyio.run(followed, Path(folder))
    figures |= chatty(given.rate_mb_s, given.seconds)
    return Report(figures, GOALS, ["grep runs in LC_ALL=C.UTF-8 on the same file, in the page cache."])


def searched(folder: Path, mib: int) -> dict[str, Any]:
    """Three expressions that match once, newest first, with no secret and with five: medians of five."""
    path = written(folder / "1-0.log", mib)
    file, plain, secret = OutputFile(source="1-0", path=path), masker(0), masker(5)
    figures, ratios = {}, []
    for n, pattern in enumerate(PATTERNS):
        query = search.OutputQuery(matcher=Matcher(pattern), search_s=600, search_bytes=1 << 50)
        ours_s = median_s(lambda query=query: hit(file, query, plain))
        masked_s = median_s(lambda query=query: hit(file, query, secret))
        grep_s = median_s(lambda pattern=pattern: grep(pattern, path))
        ratios.append(ours_s / grep_s)
        figures[f"pattern_{n}"] = {
            "pattern": pattern, "mib_per_s": round(mib / ours_s), "with_5_secrets": round(mib / masked_s),
            "grep_mib_per_s": round(mib / grep_s), "ratio": round(ours_s / grep_s, 2),
        }  # fmt: skip
    tail_s = median_s(lambda: search.search([file], search.OutputQuery(), plain))
    return {**figures, "search_ratio_to_grep": round(max(ratios), 2), "tail_100_ms": round(1000 * tail_s, 1)}


def written(path: Path, mib: int) -> Path:
    """An access log of about 150 bytes a line, its one needle at the very front: all must be read."""
    random_ = random.Random(1)
    block = "".join(
        f"2026-03-01T12:00:00.{random_.randrange(1000):03d}Z INFO request={random_.randrange(10**9)} "
        f"path=/api/"
        f"{random_.choice(WORDS)}/{random_.randrange(999)} status=200 took={random_.randrange(400)}ms "
        f"{random_.choice(WORDS)} {random_.choice(WORDS)}\n"
        for _ in range(60_000)
    ).encode()[: 8 << 20]
    block = block[: block.rfind(b"\n") + 1]
    with path.open("wb") as file:
        file.write(b"2026-03-01T12:00:00.000Z ERROR request=1 path=/ status=503 needle\n")
        while file.tell() < mib << 20:
            file.write(block)
    return path


def masker(count: int) -> Masker:
    made = Masker(Sealer(bytes(32)))
    made.add([f"hunter{n}-very-secret-value-{n}" for n in range(count)])
    return made


def hit(file: OutputFile, query: search.OutputQuery, secrets: Masker) -> None:
    page = search.search([file], query, secrets)
    if len(page.items) != 1 or page.shortened:
        raise Unmeasured(f"{len(page.items)} lines were found, {page.shortened}")


def grep(pattern: str, path: Path) -> None:
    environment = {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["grep", "-E", "-c", pattern, path], capture_output=True, env=environment, check=True
    )
    if done.stdout.strip() != b"1":
        raise Unmeasured(f"grep found {done.stdout!r}")


def median_s(work: Any, turns: int = 5) -> float:
    took = []
    for _ in range(turns):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


async def followed(folder: Path) -> dict[str, Any]:
    """From the write of a line to its message, as the stream's own loop makes it; 60 lines at odd times."""
    from poise.api.output import FOLLOW_POLL_S

    path = folder / "9-0.log"
    path.write_bytes(b"")
    file, secrets, random_ = OutputFile(source="9-0", path=path), masker(5), random.Random(2)
    cursor, took_ms, sent_at = follow.now_cursor([file]), list[float](), [0.0]

    async def write() -> None:
        with path.open("ab", buffering=0) as out:
            for n in range(60):
                await anyio.sleep(random_.uniform(0.25, 0.45))
                sent_at[0] = time.perf_counter()
                out.write(b"line %d\n" % n)

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        while len(took_ms) < 60:
            told = await anyio.to_thread.run_sync(follow.news, [file], cursor, None, secrets)
            cursor = told.cursor
            took_ms += [1000 * (time.perf_counter() - sent_at[0]) for _ in told.items]
            await anyio.sleep(FOLLOW_POLL_S)
    took_ms.sort()
    return {
        "follow_ms_median": round(statistics.median(took_ms)),
        "follow_ms_p95": round(took_ms[int(0.95 * len(took_ms))]),
    }


def chatty(rate_mb_s: float, seconds: float) -> dict[str, Any]:
    """A workload at this rate under a real keeper that is killed -9 in the middle: disk, losses, memory."""
    data = Path(tempfile.mkdtemp(prefix="pk-", dir="/tmp"))
    log, most, ending = data / "logs" / "a.log", [0], threading.Event()

    def watch() -> None:
        while not ending.wait(0.002):
            try:
                most[0] = max(most[0], log.stat().st_blocks * 512)
            except FileNotFoundError:
                continue

    keeper = start(data)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        script = CHATTY.replace("RATE", str(rate_mb_s * 1e6))
        argv = [sys.executable, "-I", "-S", "-c", script]
        spec = {"key": "a", "spec_hash": "h", "argv": argv, "log": str(log), "log_limit_bytes": LIMIT_BYTES}
        ask(data, "spawn", spec=spec)
        began = time.perf_counter()
        time.sleep(seconds / 2)
        steady = most[0]
        rss_mb = int(Path(f"/proc/{keeper.pid}/statm").read_text().split()[1]) * 4096 / 2**20
        cpu = sum(map(int, Path(f"/proc/{keeper.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        keeper.kill()
        keeper.wait()
        keeper = start(data)
        time.sleep(seconds / 2)
        size = log.stat().st_size
        took_s = time.perf_counter() - began
        ask(data, "stop", key="a", timeout_s=0)
    finally:
        ask(data, "shutdown", timeout_s=0)
        keeper.wait(20)
        ending.set()
        watcher.join()
    lost = holes(log)
    shutil.rmtree(data)
    return {
        "printed_mb_per_s": round(size / 1e6 / took_s),
        "limit_mib": LIMIT_BYTES >> 20,
        "disk_mib_max": round(steady / 2**20, 1),
        "disk_over_limit_ratio": round(steady / LIMIT_BYTES, 2),
        "disk_mib_max_over_kill": round(most[0] / 2**20, 1),
        "lines_lost": lost,
        "keeper_rss_mb": round(rss_mb, 1),
        "keeper_cpu_percent": round(100 * cpu / os.sysconf("SC_CLK_TCK") / (seconds / 2), 1),
    }


def start(data: Path) -> subprocess.Popen[bytes]:
    entry = Path(poise.keeper.__file__).with_name("__main__.py")
    keeper = subprocess.Popen([sys.executable, "-I", "-S", str(entry), "--data", str(data)])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            ask(data, "hello")
            return keeper
        except OSError:
            time.sleep(0.01)
    raise Unmeasured("the keeper does not answer")


def ask(data: Path, op: str, **fields: Any) -> Any:
    with socket.socket(socket.AF_UNIX) as wire, wire.makefile("rwb") as file:
        wire.connect(str(data / "run" / "keeper.sock"))
        file.write(json.dumps({"id": 1, "op": op, "token": 1, **fields}).encode() + b"\n")
        file.flush()
        return json.loads(file.readline())


def holes(log: Path) -> int:
    """Lines missing between the first and the last that are kept, and at the end of the file."""
    descriptor = os.open(log, os.O_RDONLY)
    begin = os.lseek(descriptor, 0, os.SEEK_DATA)
    raw = os.pread(descriptor, os.fstat(descriptor).st_size - begin, begin)
    os.close(descriptor)
    numbers = [int(line[:15]) for line in raw.split(b"\n")[1:-1]]
    return sum(after - before - 1 for before, after in itertools.pairwise(numbers))


if __name__ == "__main__":
    sys.exit(run("log_search", measure, options))
