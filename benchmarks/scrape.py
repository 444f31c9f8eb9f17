"""Scraping: how promptly the control process answers while it scrapes many targets, bad ones among them.

A real house with a prometheus.yml of many targets, all of one exporter process, some of which hang; the
house's own sampler is read after a minute of it, and every good target must have been scraped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.house import House, until
from bench.report import Goal, Report, run
from bench.rivals import Asked
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
    parser.add_argument("--every", type=int, default=15, help="seconds")
    parser.add_argument("--hanging", type=int, default=50, help="targets that never answer")


def measure(given: argparse.Namespace) -> Report:
    with exporter(given.series) as port:
        files = {"poise.yaml": SPEC, "prometheus.yml": configuration(given, port)}
        with (
            tempfile.TemporaryDirectory(prefix="poise-bench-") as base,
            House("shop", files, Path(base)) as house,
        ):
            house.up()
            house.commit("targets")
            house.push()
            until(lambda: healthy(house) == given.targets, 120.0, "every good target scraped")
            time.sleep(KEPT_S + 1)  # so that nothing idle is left in the figures
            figures = {
                "targets": given.targets, "series": given.targets * given.series, "hanging": given.hanging,
                "samples_per_s": round(given.targets * given.series / given.every),
                "down": given.targets - healthy(house),
                **{f"lag_{name}": value for name, value in lag(house).items()},
            }  # fmt: skip
    goals = [Goal("lag_p99_ms", at_most=20.0), Goal("down", at_most=0)]
    return Report(figures, goals, ["lag: how much later than asked a sleeping task of the house wakes"])


def configuration(given: argparse.Namespace, port: int) -> str:
    """A prometheus.yml; targets at one address are told apart by a label."""

    def job(name: str, path: str, count: int) -> dict:
        groups = [{"targets": [f"127.0.0.1:{port}"], "labels": {"number": str(n)}} for n in range(count)]
        return {"job_name": name, "metrics_path": path, "static_configs": groups}

    jobs = [job("good", "/metrics", given.targets)]
    if given.hanging:
        jobs.append(job("hanging", "/hang", given.hanging))
    # JSON is YAML
    return json.dumps({"global": {"scrape_interval": f"{given.every}s"}, "scrape_configs": jobs})


def healthy(house: House) -> int:
    asked = Asked(house.port, (house.data / "token").read_text().strip())
    found = json.loads(asked.get("/api/v1/targets"))["data"]["activeTargets"]
    return sum(one["health"] == "up" and one["scrapePool"] == "good" for one in found)


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
