"""Backtest and lint beside a real Prometheus with recorded history: the same as out of the file."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
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
    return "\n".join(["# TYPE http counter", *rows["200"], *rows["500"], "# EOF", ""])


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
