"""What others send, decoded: text into the durable store, remote-write, OTLP; beside prometheus-client."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from bench.report import Goal, Report, Unmeasured, run
from bench.synthetic import SERIES, Target, targets
from poise.adapters.blocks import BlockStore
from poise.adapters.exposition.page import Exposition
from poise.adapters.otlp import MetricsRequest
from poise.adapters.prometheus.wire import write_request
from poise.adapters.remote_write.read import RemoteWrite
from poise.model.intake import IntakeLimits
from poise.model.samples import Reading, Round

GOALS = [Goal("text_to_store_samples_per_s", at_least=300_000)]
ROUNDS = 20


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--series", type=int, default=10_000)


def measure(given: argparse.Namespace) -> Report:
    made = list(targets(given.series // SERIES, 0.5))
    figures: dict = {"series": len(made) * SERIES}
    pages = [[text(one, turn) for one in made] for turn in range(ROUNDS)]
    with tempfile.TemporaryDirectory() as folder:
        figures |= into_store(Path(folder) / "metrics.db", made, pages)
    peer = peer_rate(pages[0][:40])
    figures["prometheus_client_lines_per_s"] = round(peer)
    figures["decode_ratio_to_prometheus_client"] = round(figures["text_lines_per_s"] / peer, 1)
    figures["remote_write_samples_per_s"] = round(remote_write_rate(made))
    bodies = otlp_bodies(made)
    reader, points = MetricsRequest(), len(bodies) * SERIES
    ours = rate(lambda: [reader.read(body, json=False, now_ms=0) for body in bodies], points)
    bare = rate(lambda: [walked(body) for body in bodies], points)
    figures["otlp_points_per_s"] = round(ours)
    figures["otlp_bare_walk_points_per_s"] = round(bare)
    figures["otlp_ratio_to_bare_walk"] = round(ours / bare, 2)
    return Report(
        figures, GOALS, ["Text: a page of 50 series per target; the first round of each is not counted."]
    )


def text(one: Target, turn: int) -> bytes:
    lines = []
    for labels, value in zip(one.series, one.values[:, turn].tolist(), strict=True):
        rest = dict(labels)
        name = rest.pop("__name__")
        pairs = ",".join(f'{key}="{value_}"' for key, value_ in rest.items())
        lines.append(f"{name}{{{pairs}}} {value:g}\n" if value < 1e6 else f"{name}{{{pairs}}} {value!r}\n")
    return "".join(lines).encode()


def into_store(path: Path, made: list[Target], pages: list[list[bytes]]) -> dict:
    """A round of all targets, each page decoded, appended and synced together."""
    store = BlockStore(path, now_ms=lambda: 1 << 60)
    readers = [Exposition(one.name, IntakeLimits()) for one in made]
    decoded_s, stored_s = [], []
    for turn, round_ in enumerate(pages):
        readings: list[Reading] = []
        began = time.perf_counter()
        for one, reader, page in zip(made, readers, round_, strict=True):
            readings += reader.read(page, "text/plain; version=0.0.4", int(one.at_ms[turn])).readings
        between = time.perf_counter()
        kept = store.put(Round(readings=tuple(readings))).kept
        if turn:
            decoded_s.append(between - began)
            stored_s.append(time.perf_counter() - began)
    if kept != len(made) * SERIES:
        raise Unmeasured(f"{kept} samples of {len(made) * SERIES} were kept")
    size = len(made) * SERIES
    return {
        "text_lines_per_s": round(size / statistics.median(decoded_s)),
        "text_to_store_samples_per_s": round(size / statistics.median(stored_s)),
    }


def peer_rate(pages: list[bytes]) -> float:
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError as error:
        raise Unmeasured("pip install prometheus-client==0.26.0") from error
    texts = [page.decode() for page in pages]
    return rate(
        lambda: sum(len(list(text_string_to_metric_families(one))) for one in texts), len(texts) * SERIES, 3
    )


def remote_write_rate(made: list[Target]) -> float:
    bodies = [
        write_request(
            Round(
                readings=tuple(
                    Reading(target=one.name, series=one.series, at_ms=one.at_ms[:4], values=one.values[:, :4])
                    for one in made[n : n + 10]
                )
            )
        )
        for n in range(0, len(made), 10)
    ]
    reader = RemoteWrite(IntakeLimits())
    return rate(lambda: [reader.read(body) for body in bodies], len(made) * SERIES * 4)


def otlp_bodies(made: list[Target]) -> list[bytes]:
    bodies = []
    for one in made[:40]:
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        resource.resource.attributes.add(key="service.name").value.string_value = one.name
        metrics = resource.scope_metrics.add().metrics
        for place, labels in enumerate(one.series):
            metric = metrics.add(name=dict(labels)["__name__"])
            point = metric.gauge.data_points.add(
                time_unix_nano=int(one.at_ms[0]) * 1_000_000, as_double=float(one.values[place, 0])
            )
            for key, value in labels:
                point.attributes.add(key=key).value.string_value = value
        bodies.append(request.SerializeToString())
    return bodies


def walked(body: bytes) -> int:
    """What protobuf alone costs: parsed, and every point's name, instant, value and attributes read once."""
    request = ExportMetricsServiceRequest.FromString(body)
    seen = 0
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.gauge.data_points:
                    pairs = [(one.key, one.value.string_value) for one in point.attributes]
                    seen += (metric.name, point.time_unix_nano, point.as_double, pairs) != ()
    return seen


def rate(work: Callable[[], object], count: int, turns: int = 7) -> float:
    took = []
    for turn in range(turns + 1):
        began = time.perf_counter()
        work()
        if turn:
            took.append(time.perf_counter() - began)
    return count / float(np.median(took))


if __name__ == "__main__":
    sys.exit(run("decoders", measure, options))
