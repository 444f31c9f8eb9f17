"""What is remembered between requests: labels of attribute sets met before, and sums of deltas.

Bounded: past its bound everything is forgotten at once, and what follows is made anew. For a sum of deltas
that is a counter's restart, as a restart of this process is; each begins with a zero at the delta's start, so
that no increase is lost by it.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from poise.adapters.otlp.names import metric_name
from poise.model.intake import Faulty
from poise.model.samples import Labels, Metadata, MetricKind

SERIES: Final = 200_000  # remembered, of all senders
DELTA: Final = 1
_KINDS: Final = {
    "histogram": MetricKind.HISTOGRAM,
    "exponential_histogram": MetricKind.HISTOGRAM,
    "summary": MetricKind.SUMMARY,
}
Parts = dict[tuple[str, str], int]  # (suffix, le or quantile) -> number of the series


class Sum(Struct):
    """A sum of deltas so far, and the newest of them, by which one sent twice is known."""

    total: float = 0.0
    start: int = 0  # ns; 0 where the sender does not say
    end: int = 0  # ns
    newest: float = 0.0


class Source(Struct, frozen=True, eq=False):
    """One sender: its labels, the target it is kept as, and its metrics by what they say of themselves."""

    own: dict[str, str]
    target: str
    families: dict[tuple[str, str, str, bool, int], Family]


class Family(Struct, frozen=True, eq=False):
    """A metric of one sender, and the series of it by the bytes of their attributes."""

    name: str
    kind: str
    unit: str
    source: Source
    delta: bool
    about: Metadata
    known: dict[bytes, Parts]


class Memory:
    """Of one reader of requests. Not for two threads at once."""

    def __init__(self, series: int = SERIES) -> None:
        self._most = series
        self._clear()

    def _clear(self) -> None:
        self.labels: list[Labels] = []  # by number
        self.sums: dict[int, Sum] = {}
        self._sources: dict[tuple[tuple[str, str], ...], Source] = {}
        self._numbers: dict[Labels, int] = {}
        self._families = 0
        self._layouts: dict[str, tuple[tuple[int, ...], tuple[Labels, ...]]] = {}

    def trim(self) -> None:
        """Forget everything once there is too much of it. Between requests, never within one."""
        if max(len(self.labels), len(self._sources), self._families) > self._most:
            self._clear()

    def source(self, own: dict[str, str]) -> Source:
        """The sender with these labels of its own."""
        key = tuple(sorted(own.items()))
        if key not in self._sources:
            target = f"push/{own.get('job', '')}/{own.get('instance', '')}"[:300]
            self._sources[key] = Source(own, target, {})
        return self._sources[key]

    def family(self, source: Source, metric: Any, kind: str, counter: bool, temporality: int) -> Family:
        """A metric in Prometheus' words."""
        key = (metric.name, metric.unit, kind, counter, temporality)
        found = source.families.get(key)
        if found is None:
            gauge = kind == "gauge" or (kind == "sum" and not counter)
            name = metric_name(metric.name, metric.unit, counter=counter, gauge=kind == "gauge")
            said = MetricKind.COUNTER if counter else MetricKind.GAUGE if gauge else _KINDS[kind]
            about = Metadata(name, said, metric.description[:1000], metric.unit[:100])
            found = Family(name, kind, metric.unit, source, temporality == DELTA, about, {})
            source.families[key] = found
            self._families += 1
        return found

    def learn(self, labels: Labels) -> int:
        """The number of a series; attributes in another order are the same series."""
        number = self._numbers.setdefault(labels, len(self.labels))
        if number == len(self.labels):
            self.labels.append(labels)
        return number

    def layout(self, target: str, numbers: tuple[int, ...]) -> tuple[Labels, ...]:
        """The series of these numbers; the same object where they are the target's last ones."""
        known = self._layouts.get(target)
        if known is None or known[0] != numbers:
            known = self._layouts[target] = numbers, tuple(self.labels[number] for number in numbers)
        return known[1]

    def added(self, number: int, start: int, end: int, delta: float) -> tuple[float, bool]:
        """The sum with a delta, and whether it begins here. One sent twice is added once.

        Raises ``Faulty`` for one that is older than the newest, or another of the same time.
        """
        known = self.sums.get(number)
        if known is None:
            self.sums[number] = Sum(delta, start, end, delta)
            return delta, True
        if end == known.end and start == known.start and delta == known.newest:
            return known.total, False
        if end <= known.end:
            raise Faulty("delta-order", "a delta is not newer than the one before; send them in order")
        known.total += delta
        known.start, known.end, known.newest = start, end, delta
        return known.total, False
