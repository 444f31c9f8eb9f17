"""Gate, backtest and lint beside a real Prometheus with recorded history: the same as out of the file."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from poise.balance.backtest.report import Backtest, ObjectivePast

PATIENCE_S = 30.0
HOURS = 4
SLO = """\
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: availability}
spec: {service: shop, target: 0.99, good: 'http_total{code="200"}', total: http_total, window: 7d}
"""
pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None, reason="needs Prometheus"
)


def history(end_s: int) -> str:
    """Four hours of a sample every 15 s, with a restart, and a fault in the third hour."""
    rows: dict[str, list[str]] = {"200": [], "500": []}
    ok, failed, steps = 0, 0, HOURS * 240
    for n in range(steps + 1):
        lost = 20 if 2 * 240 <= n < 2 * 240 + 80 else int(n % 97 == 0)
        ok, failed = ok + 25 - lost, failed + lost
        ok = 3 if n == 100 else ok
        for code, value in (("200", ok), ("500", failed)):
            rows[code].append(f'http_total{{code="{code}"}} {value} {end_s - 15 * (steps - n)}')
    return "\n".join(["# TYPE http counter", *rows["200"], *rows["500"], *gauges(end_s), "# EOF", ""])


def gauges(end_s: int) -> list[str]:
    """Two regions' depth and whether they are up, a ratio, buckets; eu is slow in the third hour."""
    rows: dict[str, list[str]] = {}
    counts = {"eu": [0, 0, 0], "us": [0, 0, 0]}
    for n in range(HOURS * 240 + 1):
        at, slow = end_s - 15 * (HOURS * 240 - n), 2 * 240 <= n < 2 * 240 + 80
        told = {"ok_ratio": 0.5 if slow else 1.0}
        for region, sums in counts.items():
            hot = slow and region == "eu"
            told[f'depth{{region="{region}"}}'] = 150 if hot else 10 + n % 7
            told[f'up{{job="shop",region="{region}"}}'] = int(not hot)
            for place, by in enumerate((5, 8, 8 + 4 * hot)):
                sums[place] += by
            for le, count in zip(("0.1", "0.5", "+Inf"), sums, strict=True):
                told[f'lag_bucket{{region="{region}",le="{le}"}}'] = count
        for series, value in told.items():
            rows.setdefault(series, []).append(f"{series} {value} {at}")
    names = dict.fromkeys(series.partition("{")[0] for series in rows)
    return [
        line
        for name in names
        for line in (
            f"# TYPE {name} gauge",
            *(one for key in rows if key.startswith(name) for one in rows[key]),
        )
    ]


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    text, blocks, config = (tmp_path / name for name in ("m.om", "blocks", "prometheus.yml"))
    text.write_text(history(int(time.time()) // 60 * 60 - 60))
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(blocks)],
        check=True, capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    config.write_text("scrape_configs: []\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={blocks}", "--log.level=error",
         f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url)
            yield url
        finally:
            process.kill()


def _wait(url: str) -> None:
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=PATIENCE_S):
                return
        except OSError:
            pause.wait(0.1)
    pytest.fail("Prometheus does not answer")


def test_a_server_and_its_file_say_the_same(
    poise: Callable[..., Any], prometheus: str, tmp_path: Path
) -> None:
    """What the server hands out in chunks is the history that was put in, event for event."""
    Path("slo.yaml").write_text(SLO)

    def told(*words: str) -> ObjectivePast:
        done = poise("slo", "backtest", "slo.yaml", "--json", "--quiet", *words)
        assert done.code == 0, done.err
        return msgspec.json.decode(done.out, type=Backtest).objectives[0]

    there, here = told("--prometheus", prometheus, "--since", "5h"), told("--metrics", str(tmp_path / "m.om"))
    assert (there.good, there.bad) == (here.good, here.bad)
    assert there.since == here.since and there.bad > 1600
    fired = [[(one.policy, one.test, one.fired_at, one.bad) for one in past.alerts if one.until]
             for past in (there, here)]  # fmt: skip
    assert fired[0] and fired[0] == fired[1]
    done = poise("slo", "lint", "slo.yaml", "--prometheus", prometheus, "--since", "4h", "--quiet")
    assert done.code == 0 and "objectives: 1, errors: 0" in done.out, done.out


POLICY = """\
apiVersion: poise.dev/v1
kind: BudgetPolicy
metadata: {name: shop}
spec: {bootstrap: 1h, bootstrapEvents: 10, staleAfter: 1h, coverageMin: 90%}
"""
KINDS = {
    "counters": "good: 'http_total{code=\"200\"}', total: http_total",
    "groups": "good: 'http_total{code=\"200\"}', total: http_total, groupBy: code",
    "threshold": "threshold: depth, below: 100",
    "threshold of an expression": "threshold: max(depth), below: 100, every: 1m",
    "groups of a gauge": "threshold: depth, below: 100, groupBy: region",
    "boolean": "boolean: 'up{job=\"shop\"}'",
    "raw ratio": "ratio: ok_ratio",
    "histogram": "histogram: lag_bucket, atMost: 0.5",
    "histogram between two bounds": "histogram: lag_bucket, atMost: 0.3",
    "timeslices": "boolean: 'up{job=\"shop\"}', method: Timeslices, slice: 1m, sliceTarget: 60%",
}


def declared(spec: str, target: str, window: str = "3h") -> str:
    body = f"{{service: shop, target: {target}, window: {window}, {spec}}}"
    head = "apiVersion: poise.dev/v1\nkind: Objective\nmetadata: {name: mine}\n"
    return f"{POLICY}---\n{head}spec: {body}\n"


@pytest.mark.parametrize("kind", KINDS)
def test_the_gate_knows_every_kind_go_and_hold(poise: Callable[..., Any], prometheus: str, kind: str) -> None:
    """Adopted beside any CI, the gate counts what a house would count, and no kind passes unseen."""
    Path("slo.yaml").write_text(declared(KINDS[kind], "99.9%"))
    words = ("gate", "check", "--slo", "slo.yaml", "--prometheus", prometheus, "--quiet")
    held = poise(*words)
    assert held.code == 6 and "budget is spent" in held.err, (held.out, held.err)
    assert poise(*words, "--class", "fix").code == 0
    if kind in ("counters", "threshold", "boolean", "histogram", "timeslices"):
        Path("slo.yaml").write_text(declared(KINDS[kind], "50%"))
        went = poise(*words)
        assert went.code == 0 and went.out.startswith("go"), (went.out, went.err)


JOURNEY = """\
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: visit}
spec: {service: shop, target: 99.9%, window: 3h, allOf: [mine, alive]}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: alive}
spec: {service: shop, target: 10%, window: 3h, boolean: up}
"""


def test_the_gate_knows_journeys_and_what_does_not_count(poise: Callable[..., Any], prometheus: str) -> None:
    """A composite with its parts, and the same with the fault announced as maintenance."""
    Path("slo.yaml").write_text(declared("threshold: depth, below: 100, excludedMax: 90%", "10%") + JOURNEY)
    words = ("gate", "check", "--slo", "slo.yaml", "--prometheus", prometheus, "--quiet")
    held = poise(*words)
    assert held.code == 6 and "visit's budget is spent" in held.err, held.err
    only = declared("threshold: depth, below: 100, excludedMax: 90%", "99.9%")
    begin = datetime.fromtimestamp(time.time() - 2.2 * 3600, UTC)
    excluded = f"""\
---
apiVersion: poise.dev/v1
kind: Exclusion
metadata: {{name: upgrade}}
spec: {{reason: upgrade, firstEventStart: "{begin:%Y-%m-%dT%H:%M:%S+00:00}", duration: 1h, slos: [shop/mine]}}
"""
    Path("slo.yaml").write_text(only + excluded)
    went = poise(*words)
    assert went.code == 0 and went.out.startswith("go"), (went.out, went.err)


@pytest.mark.parametrize(
    "spec",
    ["threshold: nothing_of_this, below: 1", 'boolean: up{job="gone"}', "histogram: no_bucket, atMost: 1"],
)
def test_what_nobody_measured_is_a_hold_with_the_objectives_line(
    poise: Callable[..., Any], prometheus: str, spec: str
) -> None:
    """Missing data is never a go, whatever kind it is missing of."""
    Path("slo.yaml").write_text(declared(spec.replace('up{job="gone"}', "'up{job=\"gone\"}'"), "99%"))
    done = poise("gate", "check", "--slo", "slo.yaml", "--prometheus", prometheus, "--quiet")
    assert done.code == 6 and "slo.yaml:8:" in done.err and "Traceback" not in done.err, done.err


SLOTH = """\
version: prometheus/v1
service: shop
slos:
  - name: requests
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_total{code="500"}[{{.window}}]))
        total_query: sum(rate(http_total[{{.window}}]))
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
"""


def test_the_gate_reads_another_tools_file(poise: Callable[..., Any], prometheus: str) -> None:
    """A team that has Sloth's file needs no other for the gate."""
    Path("slo.yaml").write_text(SLOTH)
    done = poise("gate", "check", "--slo", "slo.yaml", "--prometheus", prometheus, "--quiet", "--json")
    verdict = msgspec.json.decode(done.out)
    (budget,) = verdict["inputs"]["budgets"]
    assert budget["objective"] == "requests" and budget["bad"] > 1600
    assert (done.code, verdict["kind"]) in ((6, "hold"), (0, "slow"))  # young, or its last sample is old
