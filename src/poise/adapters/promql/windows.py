"""Range vectors: which samples of a block lie in each step's window (start, end], stale markers left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from poise.adapters.promql.vectors import Mask, Vector
from poise.model.samples import STALE_BITS, Block, Instants, Labels, Values

CELLS = 1 << 18  # rows x steps of one chunk: its working arrays stay near the caches


class Windows:
    """Some rows of a range vector over all steps.

    ``first[n, T]`` and ``after[n, T]`` bound each window in ``flat``; ``stamps_ms`` is beside ``flat``.
    ``start_ms`` and ``end_ms`` ``[T]`` are the window's edges.
    """

    def __init__(
        self,
        series: Sequence[Labels],
        flat: Values,
        stamps_ms: Instants,
        first: NDArray[np.intp],
        after: NDArray[np.intp],
        bounds: NDArray[np.intp],
        edges: tuple[Instants, Instants],
        drops: Mask | None = None,
    ) -> None:
        self.series = series
        self.flat = flat
        self.stamps_ms = stamps_ms
        self.first = first
        self.after = after
        self.bounds = bounds  # [n + 1]: where each row's samples begin in flat
        self.start_ms, self.end_ms = edges
        self.drops = drops

    @property
    def counts(self) -> NDArray[np.intp]:
        """Samples in each window."""
        return self.after - self.first

    def at(self, places: NDArray[np.intp]) -> Values:
        """The samples at these places of ``flat``; any number where a place is out of it."""
        return (
            self.flat[np.clip(places, 0, max(0, len(self.flat) - 1))]
            if len(self.flat)
            else np.zeros(places.shape)
        )

    def when(self, places: NDArray[np.intp]) -> Instants:
        """The instants at these places."""
        if not len(self.flat):
            return np.zeros(places.shape, np.int64)
        return self.stamps_ms[np.clip(places, 0, len(self.flat) - 1)]

    def result(self, values: Values, present: Mask, *, drop: bool = True) -> Vector:
        """A vector of these rows."""
        drops = np.ones(len(self.series), bool) if drop else self.drops
        return Vector(self.series, values, present, drops)

    def pieces(self, limit: int = 1 << 21) -> Iterator[tuple[slice, NDArray[np.intp], Mask]]:
        """Runs of windows (row-major) as ``places[m, w]`` into ``flat`` and which of them are in the window.

        For what must see a whole window at once; ``m * w`` stays under ``limit``.
        """
        first, counts = self.first.ravel(), self.counts.ravel()
        begin = 0
        while begin < len(first):
            width = max(1, int(counts[begin : begin + 4096].max(initial=1)))
            size = max(1, min(4096, limit // width, len(first) - begin))
            width = max(1, int(counts[begin : begin + size].max(initial=1)))
            run = slice(begin, begin + size)
            offsets = np.arange(width)
            places = first[run, None] + offsets
            yield run, np.minimum(places, max(0, len(self.flat) - 1)), offsets < counts[run, None]
            begin += size


def chunks(block: Block, start_ms: Instants, end_ms: Instants) -> Iterator[Windows]:
    """The block's rows as windows, a bounded number of cells at a time."""
    steps, parts, cells = len(end_ms), [], 0
    for first, stamps, values in block.groups():
        series = block.series[first : first + len(values)]
        for part in _without_stale(series, stamps, values):
            parts.append(part)
            cells += part[2].shape[0] * (steps + part[2].shape[1])
            if cells > CELLS:
                yield _windows(parts, start_ms, end_ms)
                parts, cells = [], 0
    if parts:
        yield _windows(parts, start_ms, end_ms)


_Part = tuple[Sequence[Labels], Instants, Values]


def _without_stale(series: Sequence[Labels], stamps: Instants, values: Values) -> Iterator[_Part]:
    stale = values.view(np.uint64) == STALE_BITS
    rows = stale.any(axis=1)
    if not rows.any():
        yield series, stamps, values
        return
    clean = np.flatnonzero(~rows)
    if len(clean):
        yield [series[i] for i in clean.tolist()], stamps, values[clean]
    for i in np.flatnonzero(rows).tolist():
        keep = ~stale[i]
        yield [series[i]], stamps[keep], values[i, keep][None, :]


def of_vector(vector: Vector, at_ms: Instants, start_ms: Instants, end_ms: Instants) -> Iterator[Windows]:
    """A subquery's rows over its own grid ``at_ms`` as windows of the outer steps."""
    whole = vector.present.all(axis=1)
    parts: list[_Part] = []
    order: list[int] = []
    if whole.any():
        places = np.flatnonzero(whole)
        parts.append(
            ([vector.series[i] for i in places.tolist()], at_ms, np.ascontiguousarray(vector.values[places]))
        )
        order += places.tolist()
    for i in np.flatnonzero(~whole).tolist():
        keep = vector.present[i]
        parts.append(([vector.series[i]], at_ms[keep], vector.values[i, keep][None, :]))
        order.append(i)
    if parts:
        made = _windows(parts, start_ms, end_ms)
        made.drops = vector.drops[np.array(order, np.intp)]
        yield made


def _windows(parts: Sequence[_Part], start_ms: Instants, end_ms: Instants) -> Windows:
    series: list[Labels] = []
    flats, stamps_of, firsts, afters, bounds = [], [], [], [], [np.zeros(1, np.intp)]
    base = 0
    for labels, stamps, values in parts:
        rows, length = values.shape
        series.extend(labels)
        flats.append(values.ravel())
        stamps_of.append(np.broadcast_to(stamps, values.shape).ravel() if rows > 1 else stamps)
        begin = base + length * np.arange(rows, dtype=np.intp)
        low = np.searchsorted(stamps, start_ms, side="right")
        high = np.searchsorted(stamps, end_ms, side="right")
        firsts.append(begin[:, None] + low[None, :])
        afters.append(begin[:, None] + high[None, :])
        bounds.append(begin + length)
        base += rows * length
    return Windows(
        series,
        np.concatenate(flats) if len(flats) > 1 else flats[0],
        np.concatenate(stamps_of) if len(stamps_of) > 1 else stamps_of[0],
        np.concatenate(firsts),
        np.concatenate(afters),
        np.concatenate(bounds),
        (start_ms, end_ms),
    )


def instant(block: Block, at_ms: Instants, lookback_ms: int) -> tuple[Vector, Instants]:
    """Each series' newest sample in (at - lookback, at], unless it is a stale marker; and its instants."""
    steps = len(at_ms)
    values = np.zeros((len(block.series), steps))
    present = np.zeros(values.shape, bool)
    when = np.zeros(values.shape, np.int64)
    for first, stamps, table in block.groups():
        place = np.searchsorted(stamps, at_ms, side="right") - 1
        safe = np.maximum(place, 0)
        fresh = (place >= 0) & (stamps[safe] > at_ms - lookback_ms)
        if not fresh.any():
            continue
        rows = slice(first, first + len(table))
        found = table[:, safe]
        values[rows] = found
        present[rows] = fresh & (found.view(np.uint64) != STALE_BITS)
        when[rows] = stamps[safe]
    return Vector(block.series, values, present), when
