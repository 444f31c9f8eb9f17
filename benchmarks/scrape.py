"""Scraping: what many targets cost, bad ones among them, and how promptly the control process answers.

A real house with a prometheus.yml of many targets, all of one exporter process, some of which hang; Debian's
Prometheus scrapes the same ones with the same file beside it. Once every good target was scraped, both are
watched over the same seconds: samples kept, processor time, memory, and the house's own sampler of its loop.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.house import House, free_port, rss_mb, until
from bench.report import Figure, Goal, Report, Unmeasured, run
from bench.rivals import Asked, answers, missing, running
from bench.ruled import cpu_s
from loop_lag import KEPT_S, lag

EXPORTER = """
import asyncio, sys
SERIES = int(sys.argv[1])
async def serve(reader, writer):
    turn = 0
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            if b" /hang" in head:
                await asyncio.sleep(3600)
            turn += 1
            lines = [f'm_total{{n="{n}",code="200",path="/a/b"}} {turn * n}\\n' for n in range(SERIES)]
            body = "".join(lines).encode()
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/plain; version=0.0.4\\r\\n"
                         b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
IDLE = """
import asyncio, sys
from poise.engine.lag import LoopLag
async def main():
    lag = LoopLag()
    task = asyncio.create_task(lag.run())
    await asyncio.to_thread(sys.stdin.read)
    print(lag.seen().p99_ms)
    task.cancel()
asyncio.run(main())
"""
SPEC = """
apiVersion: poise.dev/v1
kind: Service
metadata: {name: idle}
spec: {command: "sleep 3600", replicas: {min: 1, max: 1}}
---
apiVersion: poise.dev/v1
kind: Project
metadata: {name: shop}
spec: {scrapeConfigs: [prometheus.yml]}
"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--series", type=int, default=50, help="of each target")
    parser.add_argument("--every", type=int, default=5, help="seconds")
    parser.add_argument("--hanging", type=int, default=50, help="targets that never answer")
    parser.add_argument("--alone", action="store_true", help="without Prometheus")


def measure(given: argparse.Namespace) -> Report:
    if not given.alone and "prometheus" in missing():
        raise Unmeasured("not installed: prometheus")
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="poise-bench-")))
        config = configuration(given, stack.enter_context(exporter(given.series)))
        house = stack.enter_context(House("shop", {"poise.yaml": SPEC, "prometheus.yml": config}, base))
        house.up()
        house.commit("targets")
        house.push()
        asked = {"poise": Asked(house.port, (house.data / "token").read_text().strip())}
        pids = {"poise": house.control_pid() or 0}
        if not given.alone:
            pids["prometheus"], port = stack.enter_context(prometheus(base, config))
            asked["prometheus"] = Asked(port)
        until(lambda: all(healthy(one) == given.targets for one in asked.values()), 120.0, "all good ones up")
        figures = watched(given, asked, pids)
        figures |= {f"lag_{name}": value for name, value in lag(house).items()}
        figures |= {
            "down": given.targets - healthy(asked["poise"]),
            "load_1min": round(os.getloadavg()[0], 1),
        }
    kept = Goal("poise_samples_per_s", at_least=0.98 * given.targets * given.series / given.every)
    remarks = [
        "lag: how much later than asked a sleeping task of the house wakes, over the same seconds; the idle"
        " process is the same sampler in a process that does nothing else",
        "poise's processor time is the whole control process', with one service and its Envoy",
    ]
    return Report(figures, [Goal("lag_p99_ms", at_most=20.0), Goal("down", at_most=0), kept], remarks)


def watched(given: argparse.Namespace, asked: dict[str, Asked], pids: dict[str, int]) -> dict[str, Figure]:
    """Both over the same seconds, and nothing from before in the figures of the loop."""
    figures: dict[str, Figure] = {
        "targets": given.targets, "series": given.targets * given.series, "hanging": given.hanging,
        "every_s": given.every,
    }  # fmt: skip
    seconds = KEPT_S + 1.0
    with subprocess.Popen(
        [sys.executable, "-c", IDLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as idle:
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        time.sleep(seconds)
        figures["idle_process_lag_p99_ms"] = float(idle.communicate()[0])
    spent = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
    for name, one in asked.items():
        one.again()
        window = given.every * round(KEPT_S / given.every)
        figures[f"{name}_samples_per_s"] = round(counted(one, window) / window, 1)
        figures[f"{name}_core_percent"] = 100 * spent[name] / seconds
        figures[f"{name}_rss_mb"] = rss_mb(pids[name])
    return figures


def counted(asked: Asked, window_s: int) -> float:
    """How many samples of the good targets were kept in the last so many seconds."""
    body = json.loads(asked.get("/api/v1/query", query=f"sum(count_over_time(m_total[{window_s}s]))"))
    return float(body["data"]["result"][0]["value"][1])


def configuration(given: argparse.Namespace, port: int) -> str:
    """A prometheus.yml; targets at one address are told apart by a label."""

    def job(name: str, path: str, count: int) -> dict[str, object]:
        groups = [{"targets": [f"127.0.0.1:{port}"], "labels": {"number": str(n)}} for n in range(count)]
        return {"job_name": name, "metrics_path": path, "static_configs": groups}

    jobs = [job("good", "/metrics", given.targets)]
    if given.hanging:
        jobs.append(job("hanging", "/hang", given.hanging))
    # JSON is YAML
    every = f"{given.every}s"
    return json.dumps({"global": {"scrape_interval": every, "scrape_timeout": every}, "scrape_configs": jobs})


def healthy(asked: Asked) -> int:
    found = json.loads(asked.get("/api/v1/targets"))["data"]["activeTargets"]
    return sum(one["health"] == "up" and one["scrapePool"] == "good" for one in found)


@contextmanager
def prometheus(base: Path, config: str) -> Iterator[tuple[int, int]]:
    """Debian's, on an empty folder: (pid, port)."""
    path, port = base / "prometheus.yml", free_port()
    path.write_text(config)
    with running([
        "prometheus", f"--config.file={path}", f"--storage.tsdb.path={base / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]) as pid:  # fmt: skip
        until(lambda: answers(port, "/-/ready"), 60.0, "Prometheus ready")
        yield pid, port


@contextmanager
def exporter(series: int) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", EXPORTER, str(series)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(run("scrape", measure, options))
