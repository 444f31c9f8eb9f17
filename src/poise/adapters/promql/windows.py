"""Range vectors: which samples of a block lie in each step's window (start, end], stale markers left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from poise.adapters.promql.vectors import Mask, Vector
from poise.model.samples import STALE_BITS, Block, Instants, Labels, Values

Spread = TypeVar("Spread", NDArray[np.float64], NDArray[np.intp], NDArray[np.bool_])

CELLS = 1 << 18  # rows x steps of one chunk: its working arrays stay near the caches


class Owners:
    """What rows share that have their instants in common: ``low[p, T]`` and ``high[p, T]`` bound each window.

    Owner p has ``rows[p]`` rows, one after another, and its instants begin at ``base[p]`` of ``stamps_ms``.
    """

    def __init__(
        self,
        rows: NDArray[np.intp],
        stamps: Sequence[Instants],
        low: NDArray[np.intp],
        high: NDArray[np.intp],
    ) -> None:
        self.rows, self.low, self.high = rows, low, high
        self.base = np.cumsum([0, *map(len, stamps)], dtype=np.intp)[:-1]
        self.stamps_ms = np.concatenate(stamps) if len(stamps) > 1 else stamps[0]

    def when(self, places: NDArray[np.intp]) -> Instants:
        """Instants at places ``[p, T]`` of each owner; any instant where a place is out of it."""
        if not len(self.stamps_ms):
            return np.zeros(places.shape, np.int64)
        return np.take(self.stamps_ms, self.base[:, None] + places, mode="clip")

    def spread(self, values: Spread) -> Spread:
        """What holds for an owner ``[p, T]``, for each of its rows ``[n, T]``."""
        return values if self.rows.max() == 1 else np.repeat(values, self.rows, axis=0)


class Windows:
    """Some rows of a range vector over all steps.

    ``first[n, T]`` and ``after[n, T]`` bound each window in ``flat``; ``stamps_ms`` is beside ``flat`` and
    made only when asked for, since most of what needs instants is the same for all rows of an ``owners`` row.
    ``start_ms`` and ``end_ms`` ``[T]`` are the window's edges.
    """

    def __init__(
        self,
        series: Sequence[Labels],
        flat: Values,
        owners: Owners,
        first: NDArray[np.intp],
        after: NDArray[np.intp],
        bounds: NDArray[np.intp],
        edges: tuple[Instants, Instants],
        drops: Mask | None = None,
    ) -> None:
        self.series = series
        self.flat = flat
        self.owners = owners
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
        return np.take(self.flat, places, mode="clip") if len(self.flat) else np.zeros(places.shape)

    def when(self, places: NDArray[np.intp]) -> Instants:
        """The instants at these places."""
        if not len(self.flat):
            return np.zeros(places.shape, np.int64)
        return np.take(self.stamps_ms, places, mode="clip")

    @cached_property
    def stamps_ms(self) -> Instants:
        """The instant of each sample of ``flat``."""
        owners = self.owners
        ends = [*owners.base[1:].tolist(), len(owners.stamps_ms)]
        spans = zip(owners.base.tolist(), ends, owners.rows.tolist(), strict=True)
        return np.concatenate([np.tile(owners.stamps_ms[begin:end], rows) for begin, end, rows in spans])

    def tables(self) -> Iterator[tuple[slice, Values, NDArray[np.intp], NDArray[np.intp]]]:
        """By owner: its rows, their samples ``[rows, L]`` and each step's window ``[low, high)`` in them."""
        begin = 0
        for owner, rows in enumerate(self.owners.rows.tolist()):
            low, high = int(self.bounds[begin]), int(self.bounds[begin + rows])
            table = self.flat[low:high].reshape(rows, -1)
            yield slice(begin, begin + rows), table, self.owners.low[owner], self.owners.high[owner]
            begin += rows

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
    is_clean = not (block.flat.view(np.uint64) == STALE_BITS).any()
    for first, stamps, values in block.groups():
        series = block.series[first : first + len(values)]
        for part in [(series, stamps, values)] if is_clean else _without_stale(series, stamps, values):
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
    for labels, _, _ in parts:
        series.extend(labels)
    rows = np.array([values.shape[0] for _, _, values in parts], np.intp)
    lengths = np.array([values.shape[1] for _, _, values in parts], np.intp)
    low: NDArray[np.intp] = np.array(
        [np.searchsorted(stamps, start_ms, side="right") for _, stamps, _ in parts], np.intp
    )
    high: NDArray[np.intp] = np.array(
        [np.searchsorted(stamps, end_ms, side="right") for _, stamps, _ in parts], np.intp
    )
    owners = Owners(rows, [stamps for _, stamps, _ in parts], low, high)
    bounds = np.zeros(len(series) + 1, np.intp)
    np.cumsum(np.repeat(lengths, rows), out=bounds[1:])
    begin = bounds[:-1, None]
    return Windows(
        series,
        _together([values for _, _, values in parts]),
        owners,
        begin + owners.spread(low),
        begin + owners.spread(high),
        bounds,
        (start_ms, end_ms),
    )


def _together(tables: Sequence[Values]) -> Values:
    """All samples in one row; without a copy where they already lie so, as a block's do."""
    base = tables[0].base
    if isinstance(base, np.ndarray) and base.ndim == 1 and base.dtype == np.float64:
        begin = _address(tables[0])
        place = begin
        for table in tables:
            if table.base is not base or not table.flags.c_contiguous or _address(table) != place:
                break
            place += table.nbytes
        else:
            offset = (begin - _address(base)) // 8
            if base.flags.c_contiguous:
                return base[offset : offset + (place - begin) // 8]
    return np.concatenate([table.ravel() for table in tables]) if len(tables) > 1 else tables[0].ravel()


def _address(array: Values) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


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
