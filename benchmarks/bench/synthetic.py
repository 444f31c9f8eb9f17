"""Synthetic metrics: targets with counters that reset, classic histograms of 12 bounds and gauges.

Integer-heavy, as real counters are; each target is scraped at an offset of its own, give or take a
millisecond. The same seed gives the same data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from poise.model.samples import Block, Instants, Labels, Matcher, MatchOp, Reading, Round, Values

BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
CODES = ("200", "201", "204", "304", "400", "404", "429", "500", "502", "503")
ROUTES = ("/", "/cart")
JOBS = 4
SERIES = 50  # of each target: 24 buckets, 2 sums, 2 counts, 10 counters, 12 gauges
STEP_MS = 15_000
BEGIN_MS = 1_760_000_400_000


@dataclass(frozen=True)
class Target:
    """One target: ``values[SERIES, T]`` of ``series`` at ``at_ms[T]``."""

    name: str
    series: tuple[Labels, ...]
    at_ms: Instants
    values: Values


def targets(count: int, hours: float, seed: int = 1, begin_ms: int = BEGIN_MS) -> Iterator[Target]:
    """That many targets, each with ``hours`` of samples from ``begin_ms`` on."""
    random = np.random.default_rng(seed)
    length = round(hours * 3_600_000 / STEP_MS)
    for i in range(count):
        offset = int(random.integers(1, STEP_MS - 1))
        at_ms = begin_ms + offset + STEP_MS * np.arange(length, dtype=np.int64)
        at_ms += random.integers(-1, 2, length)
        job, instance = f"job{i % JOBS}", f"10.0.{i // 250}.{i % 250}:9100"
        yield Target(f"{job}/{instance}", _series(job, instance), at_ms, _values(random, length))


def end_ms(hours: float, begin_ms: int = BEGIN_MS) -> int:
    """An instant at which every target's newest sample lies within the last step."""
    return begin_ms + round(hours * 3_600_000)


def rounds(made: Sequence[Target], length: int = 40) -> Iterator[Round]:
    """What all targets gave, ``length`` scrapes of each at a time."""
    longest = max(len(one.at_ms) for one in made)
    for begin in range(0, longest, length):
        span = slice(begin, begin + length)
        yield Round(
            readings=tuple(
                Reading(target=one.name, series=one.series, at_ms=one.at_ms[span], values=one.values[:, span])
                for one in made
            )
        )


def queries(job: str = "job1", instance: str = "10.0.0.1:9100") -> dict[str, tuple[str, bool]]:
    """The eight queries: expression and whether it is asked over a range (6 h at 60 s)."""
    rate = "sum by (job) (rate(http_requests_total[5m]))"
    return {
        "q1": (f'http_requests_total{{job="{job}",instance="{instance}",code="200"}}', False),
        "q2": (rate, False),
        "q3": (rate, True),
        "q4": (
            "histogram_quantile(0.9, sum by (job, le) (rate(http_request_duration_seconds_bucket[5m])))",
            True,
        ),
        "q5": ("topk(5, rate(http_requests_total[5m]))", False),
        "q6": ("topk(5, sum by (instance) (rate(http_requests_total[5m])))", True),
        "q7": (
            'sum by (job) (rate(http_requests_total{code=~"5.."}[5m])) '
            "/ sum by (job) (rate(http_requests_total[5m]))",
            True,
        ),
        "q8": ("avg by (job) (avg_over_time(queue_depth[1h]))", True),
    }


def _series(job: str, instance: str) -> tuple[Labels, ...]:
    def labels(name: str, **more: str) -> Labels:
        return tuple(sorted({"__name__": name, "job": job, "instance": instance, **more}.items()))

    name = "http_request_duration_seconds"
    found = [labels(f"{name}_bucket", route=route, le=le) for route in ROUTES for le in BOUNDS]
    found += [labels(f"{name}_sum", route=route) for route in ROUTES]
    found += [labels(f"{name}_count", route=route) for route in ROUTES]
    found += [labels("http_requests_total", code=code) for code in CODES]
    found += [labels("queue_depth", queue=f"q{i}") for i in range(12)]
    return tuple(found)


def _values(random: np.random.Generator, length: int) -> Values:
    rows: list[Values] = []
    sums, counts = [], []
    reset = int(random.integers(length // 4, length)) if random.random() < 0.2 else length
    for _ in ROUTES:
        shares = random.dirichlet(np.linspace(4, 0.2, len(BOUNDS)))
        each = random.poisson(shares[:, None] * random.uniform(20, 300), (len(BOUNDS), length))
        total = _counted(np.cumsum(each, axis=0), reset)
        rows += list(total)
        counts.append(total[-1])
        sums.append(np.round(total[-1] * random.uniform(0.05, 0.2), 3))
    rows += sums + counts
    rate = np.array([200, 5, 10, 20, 3, 8, 0.5, 1, 0.3, 0.2])
    rows += list(_counted(random.poisson(rate[:, None], (len(CODES), length)), reset))
    rows += list(np.abs(np.cumsum(random.integers(-3, 4, (12, length)), axis=1) + 50))
    return np.array(rows, float)


def _counted(each: np.ndarray, reset: int) -> Values:
    total = np.cumsum(each, axis=1).astype(float)
    if reset < total.shape[1]:
        total[:, reset:] -= total[:, reset - 1 : reset]
    return total


class Prepared:
    """A Selector over targets in memory, that answers with blocks made ahead: the engine by itself."""

    def __init__(self, made: Sequence[Target]) -> None:
        self._targets = made
        self._kept: dict[tuple[tuple[Matcher, ...], int, int], Block] = {}

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, before: bool = False
    ) -> Block:
        """See the port; equal and matching (``5..``) are understood."""
        key = (tuple(matchers), start_ms, end_ms)
        if key not in self._kept:
            self._kept[key] = self._made(matchers, start_ms, end_ms)
        return self._kept[key]

    def _made(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Block:
        series: list[Labels] = []
        owner: list[int] = []
        stamps, starts, parts = [], [], []
        size = 0
        for one in self._targets:
            rows = [i for i, labels in enumerate(one.series) if _fits(dict(labels), matchers)]
            if not rows:
                continue
            low, high = np.searchsorted(one.at_ms, [start_ms, end_ms], side="right")
            values = one.values[rows, low:high]
            series += [one.series[i] for i in rows]
            owner += [len(stamps)] * len(rows)
            stamps.append(one.at_ms[low:high])
            starts += [size + i * values.shape[1] for i in range(len(rows))]
            size += values.size
            parts.append(values.ravel())
        return Block(
            series=tuple(series),
            owner=np.array(owner, np.intp),
            at_ms=tuple(stamps),
            start=np.array(starts, np.intp),
            flat=np.concatenate(parts) if parts else np.empty(0),
        )


def _fits(labels: dict[str, str], matchers: Sequence[Matcher]) -> bool:
    for one in matchers:
        value = labels.get(one.label, "")
        if one.op is MatchOp.EQUAL and value != one.value:
            return False
        if one.op is MatchOp.MATCHES and not value.startswith(one.value.rstrip(".")):
            return False
    return True
