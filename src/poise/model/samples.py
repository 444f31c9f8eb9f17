"""Samples as Prometheus means them: labelled series of (instant, float64), read and written in blocks.

A NaN is a value; the stale marker is one NaN bit pattern of its own. Instants are int64 milliseconds since
the epoch, UTC. Arrays are numpy's and are never changed once handed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Labels = tuple[tuple[str, str], ...]  # sorted by name, ``__name__`` included, no empty value
Instants = NDArray[np.int64]
Values = NDArray[np.float64]

NAME = "__name__"
STALE_BITS = 0x7FF0000000000002  # Source: prometheus/model/value, StaleNaN
STALE = float(np.array([STALE_BITS], dtype=np.uint64).view(np.float64)[0])


class MatchOp(StrEnum):
    """How a matcher compares. An absent label is the empty string; regexes are RE2 and anchored."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


class Matcher(Struct, frozen=True, order=True):
    """One condition on one label."""

    label: str
    op: MatchOp
    value: str


class Reading(Struct, frozen=True, eq=False, kw_only=True):
    """What one target gave: ``values[n, T]`` of ``series[n]`` at the instants ``at_ms[T]``, ascending.

    Hand the same ``series`` object over again when a target's series have not changed: it is then
    recognised by identity.
    """

    target: str
    series: tuple[Labels, ...]
    at_ms: Instants
    values: Values


class MetricKind(StrEnum):
    """What a metric family declares itself to be (Prometheus' and OpenMetrics' words)."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    GAUGE_HISTOGRAM = "gaugehistogram"
    SUMMARY = "summary"
    INFO = "info"
    STATESET = "stateset"
    UNKNOWN = "unknown"


class Metadata(Struct, frozen=True, order=True):
    """What a metric family says of itself."""

    name: str
    kind: MetricKind = MetricKind.UNKNOWN
    help: str = ""
    unit: str = ""


class Round(Struct, frozen=True, eq=False, kw_only=True):
    """Readings that become durable together, or not at all."""

    readings: tuple[Reading, ...]
    metadata: tuple[Metadata, ...] = ()


class Refusal(Struct, frozen=True, kw_only=True):
    """Samples that were not kept: why, how many, of which target, and one of them to look at."""

    reason: str  # out-of-order, duplicate, series-limit, label-limit, future
    target: str
    count: int
    example: Labels = ()


class Appended(Struct, frozen=True, kw_only=True):
    """What became of a round: samples kept (they are durable), and the rest by reason."""

    kept: int
    refused: tuple[Refusal, ...] = ()


class Block(Struct, frozen=True, eq=False, kw_only=True):
    """Selected series. Series of one owner share their instants and lie one after another in ``flat``.

    ``owner[n]`` is each series' place in ``at_ms``, ascending; ``start[n]`` where its values begin in
    ``flat``; it has ``len(at_ms[owner[n]])`` of them. Stale markers are still in; order within an owner and
    of owners is the store's.
    """

    series: tuple[Labels, ...]
    owner: NDArray[np.intp]
    at_ms: tuple[Instants, ...]
    start: NDArray[np.intp]
    flat: Values

    def groups(self) -> Iterator[tuple[int, Instants, Values]]:
        """By owner: the number of its first series, its instants ``[T]`` and values ``[n, T]`` (views)."""
        bounds = np.searchsorted(self.owner, np.arange(len(self.at_ms) + 1))
        for place, at_ms in enumerate(self.at_ms):
            first, last = int(bounds[place]), int(bounds[place + 1])
            if first == last:
                continue
            begin, length = int(self.start[first]), len(at_ms)
            values = self.flat[begin : begin + (last - first) * length]
            yield first, at_ms, values.reshape(last - first, length)

    def samples(self) -> tuple[NDArray[np.intp], Instants, Values]:
        """Every sample, series after series: how many of each there are, their instants and values."""
        owners = self.owner.tolist()
        lengths = np.array([len(self.at_ms[owner]) for owner in owners], dtype=np.intp)
        at_ms = np.concatenate([np.empty(0, np.int64), *(self.at_ms[owner] for owner in owners)])
        shift = np.repeat(self.start - (np.cumsum(lengths) - lengths), lengths)
        return lengths, at_ms, self.flat[np.arange(len(at_ms)) + shift]


EMPTY = Block(
    series=(),
    owner=np.empty(0, np.intp),
    at_ms=(),
    start=np.empty(0, np.intp),
    flat=np.empty(0, np.float64),
)


class AnswerKind(StrEnum):
    """The shape of a query's answer, in the words of Prometheus' HTTP API."""

    SCALAR = "scalar"
    STRING = "string"
    VECTOR = "vector"
    MATRIX = "matrix"


class Stats(Struct, frozen=True, kw_only=True):
    """What a query cost."""

    samples: int = 0  # samples read from the store
    peak_samples: int = 0  # most held at once
    series: int = 0
    seconds: float = 0.0


class Frame(Struct, frozen=True, eq=False, kw_only=True):
    """A query's answer over a grid: ``values[n, T]`` of ``series[n]`` at ``at_ms[T]``, where ``present``.

    A vector or scalar has T = 1 and a scalar one series without labels. A range selector asked at an
    instant answers with ``ragged`` instead (kind MATRIX), a string with ``text``.
    """

    kind: AnswerKind
    at_ms: Instants
    series: tuple[Labels, ...] = ()
    values: Values
    present: NDArray[np.bool_]
    ragged: Block | None = None
    text: str = ""
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    stats: Stats = Stats()


class Limits(Struct, frozen=True, kw_only=True):
    """What one query may cost before it is refused."""

    samples: int = 50_000_000
    series: int = 200_000
    points: int = 11_000  # steps of a range query, as Prometheus has it
    seconds: float = 30.0
