"""How usual a service's golden signals were, out of what the metrics store recorded of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from poise.adapters.promql import Engine
from poise.adapters.worker.wire import HowUsual
from poise.model.anomaly import GoldenSignal, Side, Stretch, Usual, scores, stretches
from poise.model.samples import Limits
from poise.model.signal import ERRORS_TOTAL, LATENCY_BUCKET, REQUESTS_TOTAL
from poise.ports.signals import Selector

STEP_MS: Final = 60_000
HISTORY_MS: Final = 24 * 3_600_000
LONG_STEP_MS: Final = 300_000  # for what lies days back: the same time of day on the days before
LONG_HISTORY_MS: Final = 14 * 24 * 3_600_000
DAY_MS: Final = 24 * 3_600_000

_EXPRESSIONS: Final = {
    GoldenSignal.RATE: "sum(rate({requests}[{window}]))",
    GoldenSignal.ERRORS: "sum(rate({errors}[{window}])) / sum(rate({requests}[{window}]))",
    GoldenSignal.LATENCY: "histogram_quantile(0.95, sum by (le) (rate({buckets}[{window}])))",
}


def how_usual(selector: Selector, asked: HowUsual, seconds: float) -> Iterator[bytes]:
    """A ``Usual`` as msgpack. Minutes of the last day; once there are days before, the same time of day."""
    yield msgspec.msgpack.encode(_usual(Engine(selector, Limits(seconds=seconds)), asked))


def _usual(engine: Engine, asked: HowUsual) -> Usual:
    step, history = STEP_MS, HISTORY_MS
    if asked.until_ms - asked.since_ms >= DAY_MS:
        step, history = LONG_STEP_MS, LONG_HISTORY_MS
    until = asked.until_ms // step * step
    known: list[GoldenSignal] = []
    found: list[Stretch] = []
    for signal, expression in _EXPRESSIONS.items():
        text = _written(expression, asked.service, step)
        frame = engine.range(text, until - history, until, step)
        if not len(frame.series):
            continue
        values = [
            float(value) if present and value == value else None
            for value, present in zip(frame.values[0], frame.present[0], strict=True)
        ]
        first = next((n for n, value in enumerate(values) if value is not None), len(values))
        side = Side.BOTH if signal is GoldenSignal.RATE else Side.ABOVE
        scored = scores(values[first:], step / 1000, side)
        at = [datetime.fromtimestamp(ms / 1000, UTC) for ms in frame.at_ms.tolist()[first:]]
        if any(one is not None for one in scored):
            known.append(signal)
        since = datetime.fromtimestamp(asked.since_ms / 1000, UTC)
        found += [one for one in stretches(signal, at, scored) if one.until >= since]
    return Usual(known=tuple(known), stretches=tuple(found))


def _written(expression: str, service: str, step_ms: int) -> str:
    quoted = msgspec.json.encode(service).decode()
    names = {"requests": REQUESTS_TOTAL, "errors": ERRORS_TOTAL, "buckets": LATENCY_BUCKET}
    selected = {key: f"{name}{{service={quoted}}}" for key, name in names.items()}
    return expression.format(window=f"{max(step_ms, 60_000) // 1000}s", **selected)
