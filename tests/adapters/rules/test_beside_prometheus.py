"""A real Prometheus evaluates the same group over the same data: both make the same series."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest

from poise.adapters.memory_samples import MemorySamples
from poise.adapters.rules import evaluate
from poise.model.rules import EvaluateRules, RuleMemory
from poise.model.samples import STALE, Labels
from poise.spec.rules import parse_rules

pytestmark = [
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]

RULES = """
groups:
  - name: g
    interval: 1s
    rules:
      - {record: "job:rate", expr: 'sum by (job) (rate(requests_total[1m] offset 4m))', labels: {kind: sum}}
      - {record: "job:share", expr: 'job:rate / on () group_left () sum(job:rate)'}
      - {record: "now:flag", expr: 'flag offset 4m == 1'}
      - alert: Flag
        expr: flag offset 4m == 1
        for: 2s
        keep_firing_for: 2s
        labels: {severity: '{{ if gt $value 0.5 }}page{{ else }}none{{ end }}'}
      - {record: "firing", expr: 'count(ALERTS{alertstate="firing"})'}
"""
NAMES = ("job:rate", "job:share", "now:flag", "ALERTS", "ALERTS_FOR_STATE", "firing")
EVALUATIONS = 9
PATIENCE_S = 60.0


def data(now_ms: int) -> list[tuple[Labels, list[tuple[int, float]]]]:
    """Counters, and flags that rise and fall, over the last ten minutes: the rules look four minutes back.

    Prometheus records nothing before the end of its newest block, so what is to come cannot be in one.
    """
    times = range(now_ms - 600_000, now_ms, 1000)
    made = []
    for n, job in enumerate(("a", "b")):
        labels = (("__name__", "requests_total"), ("job", job))
        made.append((labels, [(at, float((at // 1000 % 500) * (n + 1))) for at in times]))
    for period in (5, 7):
        labels = (("__name__", "flag"), ("period", str(period)))
        made.append((labels, [(at, float(at // 1000 % (2 * period) < period)) for at in times]))
    return made


@contextmanager
def prometheus(folder: Path, series: list[tuple[Labels, list[tuple[int, float]]]]) -> Iterator[str]:
    """Debian's Prometheus over these series, with the rules; its URL."""
    lines = []
    for name in sorted({dict(labels)["__name__"] for labels, _ in series}):
        lines.append(f"# TYPE {name} unknown")
        for labels, points in series:
            if dict(labels)["__name__"] == name:
                rest = ",".join(f'{key}="{value}"' for key, value in labels if key != "__name__")
                lines += [f"{name}{{{rest}}} {value:g} {at / 1000:.3f}" for at, value in points]
    text = folder / "data.txt"
    text.write_text("\n".join([*lines, "# EOF", ""]))
    blocks = folder / "blocks"
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(blocks)],
        check=True, capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    (folder / "rules.yml").write_text(RULES)
    config = folder / "prometheus.yml"
    config.write_text("rule_files: [rules.yml]\nscrape_configs: []\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={blocks}", "--log.level=error",
         f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def made_there(url: str, name: str, seconds: int) -> dict[tuple[tuple[str, str], ...], dict[int, float]]:
    """What it recorded under a name, sample by sample."""
    asked = urlencode({"query": f'{{__name__="{name}"}}[{seconds}s]'})
    with urllib.request.urlopen(f"{url}/api/v1/query?{asked}", timeout=PATIENCE_S) as answer:
        found = json.load(answer)["data"]["result"]
    return {
        tuple(sorted(one["metric"].items())): {round(at * 1000): float(value) for at, value in one["values"]}
        for one in found
    }


def evaluations(url: str) -> list[int]:
    """The instants at which it evaluated: those of the rule that always gives something."""
    try:
        found = made_there(url, "job:rate", 300)
    except OSError:
        return []
    return sorted({at for points in found.values() for at in points})


@pytest.mark.slow
def test_prometheus_makes_the_same_series_of_the_same_group(tmp_path: Path) -> None:
    """Recorded values to the last bits, alert states and stale series at every evaluation."""
    now_ms = int(time.time()) * 1000
    series = data(now_ms)
    with prometheus(tmp_path, series) as url:
        deadline = time.monotonic() + PATIENCE_S
        while len(instants := evaluations(url)) < EVALUATIONS:
            assert time.monotonic() < deadline, instants
        there = {name: made_there(url, name, 300) for name in NAMES}
    instants = instants[:EVALUATIONS]
    (group,) = parse_rules(RULES, project="", path="rules.yml").groups
    samples = MemorySamples()
    for labels, points in series:
        samples.add(labels, points)
    memories: tuple[RuleMemory, ...] = ()
    compared = 0
    for at_ms in instants:
        done = evaluate(EvaluateRules(file="r", group=group, at_ms=at_ms, memories=memories), samples)
        assert [one.error for one in done.results] == [""] * len(group.rules)
        memories = tuple(RuleMemory(series=one.series, alerts=one.alerts) for one in done.results)
        here: dict[str, dict[Labels, float]] = {name: {} for name in NAMES}
        for result in done.results:
            for labels, value in zip(result.series, result.values, strict=True):
                here[dict(labels)["__name__"]][labels] = value
                samples.add(labels, [(at_ms, value)])
            for labels in result.gone:
                samples.add(labels, [(at_ms, STALE)])
        for name in NAMES:
            if name.startswith("ALERTS") and at_ms in instants[:2]:
                continue  # it writes none before it has looked for what to restore
            found = {labels: points[at_ms] for labels, points in there[name].items() if at_ms in points}
            assert found.keys() == here[name].keys(), (name, at_ms)
            for labels, value in found.items():
                assert np.isclose(here[name][labels], value, rtol=1e-9), (labels, at_ms)
                compared += 1
    assert compared > 5 * EVALUATIONS
