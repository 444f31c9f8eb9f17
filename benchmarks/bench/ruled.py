"""Counters of many services, and a month-old Prometheus that scrapes them, with Sloth's rules or without."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from bench.house import free_port, until
from poise.spec.foreign.slo import AlertRule, Events, Slo

Numbers = NDArray[np.float64]
INTERVAL_S = 60
TARGET = 0.999
TICKS_PER_HZ = os.sysconf("SC_CLK_TCK")
LIVED_S = 3 * 86_400.0


def slos(count: int) -> list[Slo]:
    made = []
    for name in names(count):
        total = f'http_requests_total{{service="{name}"}}'
        bad = f'http_requests_total{{service="{name}",code=~"5.."}}'
        window = "[{{.window}}]"
        events = Events(bad=f"sum(rate({bad}{window}))", total=f"sum(rate({total}{window}))")
        made.append(Slo(service=name, name="availability", percent=100 * TARGET, indicator=events,
                        page=AlertRule(), ticket=AlertRule(), alert="Burning"))  # fmt: skip
    return made


def names(count: int) -> list[str]:
    return [f"svc-{n:05}" for n in range(count)]


def events(count: int, elapsed_s: Numbers) -> tuple[Numbers, Numbers]:
    """All and failed requests ``[T, service]`` after so long: 0.02 to 200 a second, 1 in 4,000 fails."""
    rates = np.random.default_rng(1).choice([0.02, 0.2, 2.0, 20.0, 200.0], count)
    total = np.floor(np.outer(elapsed_s, rates))
    return total, np.floor(total / 4000)


@contextmanager
def exporter(count: int) -> Iterator[tuple[int, float]]:
    """Counters of every service that grow with time; its CPU is nobody's. (port, when it began)."""
    began = time.time()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            total, bad = events(count, np.array([time.time() - began + LIVED_S]))
            lines = ["# TYPE http_requests_total counter"]
            for name, of_all, failed in zip(names(count), total[0], bad[0], strict=True):
                lines.append(f'http_requests_total{{service="{name}",code="200"}} {of_all - failed:.0f}')
                lines.append(f'http_requests_total{{service="{name}",code="500"}} {failed:.0f}')
            body = ("\n".join(lines) + "\n").encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], began
    finally:
        server.shutdown()


@contextmanager
def prometheus(
    folder: Path, exporter: tuple[int, float], rules: Path | None, given: argparse.Namespace
) -> Iterator[tuple[int, int]]:
    """(pid, port)."""
    folder.mkdir()
    if given.history_days and rules:
        _history(folder, exporter, given)
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({
        "global": {"scrape_interval": f"{INTERVAL_S}s", "evaluation_interval": f"{INTERVAL_S}s"},
        "rule_files": [str(rules)] if rules else [],
        "scrape_configs": [
            {"job_name": "shop", "static_configs": [{"targets": [f"127.0.0.1:{exporter[0]}"]}]},
        ],
    }))  # fmt: skip
    port = free_port()
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=10y", "--log.level=error",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _ok(port), 120.0, "Prometheus ready")
            yield process.pid, port
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_HZ


def _history(folder: Path, exporter: tuple[int, float], given: argparse.Namespace) -> None:
    """A sample a minute of the days before: the exporter's own, as if it had run for long, and its ratios."""
    count: int = given.objectives
    text, end = folder / "history.txt", int(time.time()) - 120
    at_s = np.arange(end - int(given.history_days * 86_400), end, INTERVAL_S)
    total, bad = events(count, np.maximum(at_s - exporter[1] + LIVED_S, 0.0))
    stamps = at_s.tolist()
    with text.open("w") as out:
        out.write("# TYPE http_requests unknown\n# TYPE http_requests_total unknown\n")
        for n, name in enumerate(names(count)):
            for code, values in (("200", total[:, n] - bad[:, n]), ("500", bad[:, n])):
                labels = f'instance="127.0.0.1:{exporter[0]}",job="shop",service="{name}",code="{code}"'
                head = f"http_requests_total{{{labels}}} "
                told = zip(values.astype(int).tolist(), stamps, strict=True)
                out.writelines([f"{head}{value} {at}\n" for value, at in told])
        _recorded(out, count, range(end - int(given.recorded_days * 86_400), end, INTERVAL_S))
        out.write("# EOF\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration=486h",
         str(text), str(folder / "data")],
        check=True, capture_output=True, timeout=1800,
    )  # fmt: skip
    text.unlink()


def _recorded(out: TextIO, count: int, at_s: Sequence[int]) -> None:
    """The ratios of five minutes that Sloth's rules would have recorded, from which its month is a mean."""
    name = "slo:sli_error:ratio_rate5m"
    out.write(f"# TYPE {name} unknown\n")
    values = [f"{ratio:.6g}" for ratio in np.random.default_rng(2).exponential(1 / 4000, 997)]
    told = [f"{values[n % len(values)]} {at}\n" for n, at in enumerate(at_s)]
    for service in names(count):
        labels = f'sloth_id="{service}-availability",sloth_service="{service}",sloth_slo="availability"'
        head = f'{name}{{{labels},sloth_window="5m"}} '
        out.write(head + head.join(told))


def _ok(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2.0) as answer:
        return bool(answer.status == 200)
    return False
