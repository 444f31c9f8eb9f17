"""One configuration and one exporter, scraped by Debian's Prometheus and by Poise: the same series."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.scrape.exporters import Exporter, exporter
from tests.adapters.scrape.test_scraper import World, world

from poise.spec.service import parse_project

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus on this machine"),
]
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = r"""# HELP requests_total Of "all" kinds, with a \\ and a
# TYPE requests_total counter
requests_total{code="200",path="/a b",job="inner",instance="x"} 1027
requests_total{code="500",path="C:\\dir\"q\"\nnext"} 3
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.1"} 5
latency_seconds_bucket{le="+Inf"} 7
latency_seconds_sum 1.5e-3
latency_seconds_count 7
# TYPE rpc summary
rpc{quantile="0.99"} NaN
rpc_sum 17
rpc_count 2693
odd{empty="",pod_name="p",keep="y"} -Inf
go_goroutines 9
negative_zero -0.0

 spaced  {  a = "b" ,  }   4.5
"""
OPENMETRICS = """# TYPE foo counter
# UNIT foo_seconds seconds
foo_total 17.0
foo_created 1520872607.123
# TYPE hist histogram
hist_bucket{le="1.0"} 2 # {trace_id="KOO5S4vxi0o"} 0.67
hist_bucket{le="+Inf"} 3
hist_count 3
hist_sum 2.5
# TYPE info info
info_info{version="1.2"} 1
# EOF
"""
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
scrape_configs:
  - job_name: text
    static_configs: [{{targets: ['{address}'], labels: {{rack: a}}}}]
  - job_name: honoured
    honor_labels: true
    static_configs: [{{targets: ['{address}']}}]
    metric_relabel_configs:
      - {{action: labeldrop, regex: 'pod_.*'}}
      - {{action: drop, source_labels: [__name__], regex: 'go_.*'}}
      - {{source_labels: [code], regex: '(\\d)..', target_label: class, replacement: '${{1}}xx'}}
      - {{action: labelmap, regex: 'pa(.*)', replacement: 'mapped_$1'}}
      - {{action: hashmod, source_labels: [__name__], modulus: 7, target_label: shard}}
      - {{action: uppercase, source_labels: [class], target_label: upper}}
  - job_name: openmetrics
    metrics_path: /open
    params: {{module: [a b, second]}}
    static_configs: [{{targets: ['{address}', '{address}', 'dropped:1']}}]
    relabel_configs:
      - {{action: drop, source_labels: [__address__], regex: 'dropped:.*'}}
      - {{source_labels: [__address__, __param_module], separator: '@', target_label: via}}
      - {{source_labels: [__address__], regex: '(.*):\\d+', target_label: instance}}
  - job_name: found
    file_sd_configs: [{{files: ['{file}']}}]
    http_sd_configs: [{{url: 'http://{address}/sd'}}]
  - job_name: limited
    sample_limit: 3
    static_configs: [{{targets: ['{address}']}}]
  - job_name: broken
    metrics_path: /nowhere
    static_configs: [{{targets: ['{address}', '127.0.0.1:1']}}]
"""
SERVICE = """
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec: {command: run}
---
apiVersion: poise.dev/v1
kind: Project
metadata: {name: acme}
spec: {scrapeConfigs: [prometheus.yml]}
"""
Series = dict[tuple[tuple[str, str], ...], str]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def prometheus(config: Path) -> AsyncIterator[str]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={config.parent / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def asked(url: str, path: str, **query: str) -> Any:
    def get() -> Any:
        with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]

    try:
        return await asyncio.to_thread(get)
    except OSError:
        return None


async def theirs(url: str, wanted: Series) -> Series:
    """What Prometheus has: as soon as that is what is wanted, or after enough scrapes."""
    found: Series = {}
    for _ in range(60):
        now = await asked(url, "/api/v1/query", query='{__name__=~".+",__name__!="scrape_duration_seconds"}')
        rows = now["result"] if now else []
        # by their bits as far as a text tells: NaN, infinities and -0 too
        found = {tuple(sorted(one["metric"].items())): repr(float(one["value"][1])) for one in rows}
        if found == wanted:
            break
        await asyncio.sleep(0.25)
    return found


async def ours(w: World) -> Series:
    frame = await w.metrics.query('{__name__=~".+"}', round(w.clock.wall * 1000) + 1)
    found: Series = {}
    for labels, value in zip(frame.series, frame.values[:, 0].tolist(), strict=True):
        rest = {name: text for name, text in labels if name != "project"}
        if rest["__name__"] != "scrape_duration_seconds":
            found[tuple(sorted(rest.items()))] = repr(value)
    return found


def state_of(w: World) -> tuple[set[tuple[str, str, str]], int]:
    """Targets with their health, and how many are dropped."""
    active = {
        (one.target.config.name, one.target.url, "up" if one.health.up else "down")
        for one in w.scraper.scrapings.values()
    }
    return active, len(w.scraper.dropped)


async def their_state(url: str) -> tuple[set[tuple[str, str, str]], int]:
    found = await asked(url, "/api/v1/targets")
    active = {(one["scrapePool"], one["scrapeUrl"], one["health"]) for one in found["activeTargets"]}
    return active, len(found["droppedTargets"])


def serve(made: Exporter) -> None:
    made.page(TEXT.replace("\n\n ", "\n\n"))
    made.page(OPENMETRICS, "/open", OPEN)
    made.page(json.dumps([{"targets": [made.address], "labels": {"via": "http"}}]), "/sd", "application/json")


def test_the_same_series_labels_and_values(tmp_path: Path) -> None:
    """What people know of their metrics stays true when Poise scrapes instead, staleness included."""

    async def play() -> None:
        async with asyncio.timeout(90), exporter() as made, world(tmp_path) as w:
            serve(made)
            file = tmp_path / "targets.json"
            file.write_text(json.dumps([{"targets": [made.address], "labels": {"via": "file"}}]))
            text = CONFIG.format(address=made.address, file=file)
            (tmp_path / "prometheus.yml").write_text(text)
            declared = parse_project(SERVICE, project="acme", file={"prometheus.yml": text}.get)
            await w.declare(*declared.project.scrapes)
            async with prometheus(tmp_path / "prometheus.yml") as url:
                await w.scrape(1.0)
                await w.scrape(1.0)
                mine = await ours(w)
                assert mine == await theirs(url, mine)
                assert len(mine) > 60
                assert state_of(w) == await their_state(url)
                made.page("only 1\n")
                made.paths.pop("/open")
                await w.scrape(1.0)
                await w.scrape(1.0)
                mine = await ours(w)
                assert mine == await theirs(url, mine)
                assert not any("requests_total" in labels[0] for labels in mine)

    asyncio.run(play())
