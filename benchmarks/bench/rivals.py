"""Prometheus and VictoriaMetrics beside us: filled with the same samples, asked over the same HTTP API."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

from bench.house import free_port, until
from bench.report import Unmeasured
from bench.synthetic import Target

READY_S = 120.0


class Asked:
    """One server's HTTP API on a kept connection, the answer's bytes read and let go."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def get(self, path: str, **query: object) -> bytes:
        """The body. Raises ``Unmeasured`` for anything but 200."""
        self._connection.request("GET", f"{path}?{urlencode(query)}", headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise Unmeasured(f"{path}: HTTP {answer.status}: {body[:300]!r}")
        return body

    def again(self) -> None:
        """Connect anew: a server lets go of a connection on which nothing was asked for long."""
        self._connection.close()

    def query(self, expression: str, span: tuple[int, int] | None, end_ms: int, step_s: int) -> bytes:
        """At one instant, or over ``span`` (ms)."""
        if span is None:
            return self.get("/api/v1/query", query=expression, time=end_ms / 1000)
        start, end = (at / 1000 for at in span)
        return self.get("/api/v1/query_range", query=expression, start=start, end=end, step=step_s)


@contextmanager
def prometheus(folder: Path, made: Sequence[Target]) -> Iterator[int]:
    """Debian's Prometheus over blocks that promtool made; its port."""
    text, blocks = folder / "openmetrics.txt", folder / "prometheus"
    _openmetrics(text, made)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(blocks)],
        check=True, capture_output=True, timeout=1800,
    )  # fmt: skip
    text.unlink()
    config = folder / "prometheus.yml"
    config.write_text("scrape_configs: []\n")
    port = free_port()
    with running([
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={blocks}", "--query.timeout=10m",
        f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=10y", "--log.level=error",
    ]):  # fmt: skip
        until(lambda: answers(port, "/-/ready"), READY_S, "Prometheus ready")
        yield port


@contextmanager
def victoria_metrics(folder: Path, made: Sequence[Target]) -> Iterator[int]:
    """Debian's VictoriaMetrics, filled by text; its port."""
    port = free_port()
    with running([
        "victoria-metrics", f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder / 'victoria'}",
        "-retentionPeriod=100y", "-search.maxQueryDuration=10m", "-search.disableCache",
        "-loggerLevel=ERROR", "-search.latencyOffset=0s",
    ]):  # fmt: skip
        until(lambda: answers(port, "/health"), READY_S, "VictoriaMetrics ready")
        for one in made:
            body = "".join(_lines(one, milliseconds=True)).encode()
            address = f"http://127.0.0.1:{port}/api/v1/import/prometheus"
            urllib.request.urlopen(urllib.request.Request(address, data=body), timeout=120).close()
        urllib.request.urlopen(f"http://127.0.0.1:{port}/internal/force_flush", timeout=120).close()
        yield port


def missing() -> list[str]:
    """Which of them are not installed here."""
    return [name for name in ("prometheus", "promtool", "victoria-metrics") if shutil.which(name) is None]


def _openmetrics(path: Path, made: Sequence[Target]) -> None:
    """Family by family, since OpenMetrics wants the samples of a family together."""
    names = sorted({dict(labels)["__name__"] for one in made for labels in one.series})
    with path.open("w") as out:
        for name in names:
            out.write(f"# TYPE {name} unknown\n")
            for one in made:
                out.writelines(_lines(one, name=name, milliseconds=False))
        out.write("# EOF\n")


def _lines(target: Target, *, milliseconds: bool, name: str = "") -> Iterator[str]:
    """A series' samples at a time."""
    at = target.at_ms.tolist()
    stamps = [str(one) for one in at] if milliseconds else [f"{one / 1000:.3f}" for one in at]
    for labels, row in zip(target.series, target.values.tolist(), strict=True):
        named = dict(labels)
        if name and named["__name__"] != name:
            continue
        rest = ",".join(f'{key}="{value}"' for key, value in labels if key != "__name__")
        head = f"{named['__name__']}{{{rest}}} "
        yield "".join([f"{head}{value:.16g} {stamp}\n" for value, stamp in zip(row, stamps, strict=True)])


@contextmanager
def running(command: list[str]) -> Iterator[int]:
    """A process while the block runs; its pid."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def answers(port: int, path: str) -> bool:
    """Whether it says that all is well. Raises OSError while nobody listens."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2.0) as answer:
        return bool(answer.status == 200)


def timed_ms(asked: Asked, expression: str, span: tuple[int, int] | None, end_ms: int, step_s: int) -> float:
    """How long one question takes."""
    began = time.perf_counter()
    asked.query(expression, span, end_ms, step_s)
    return (time.perf_counter() - began) * 1000
