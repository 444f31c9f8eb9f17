"""Rows of the append-only table, and what they hold in memory.

A row is one round: for each reading its layout (which series, in which order), its instants and its values
as they came. In memory a layout is one growing matrix ``[rows, series]``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from poise.adapters.blocks.assembly import Part
from poise.adapters.blocks.index import Ids
from poise.model.samples import Instants, Values

_COUNT = struct.Struct("<I")


class Piece(NamedTuple):
    """A reading as a row keeps it: ``values[T, n]``."""

    layout: int
    at_ms: Instants
    values: Values


def packed(pieces: Sequence[Piece]) -> bytes:
    """A row's bytes: how many pieces; their layouts, counts of instants, instants, values."""
    count = len(pieces)
    numbers = np.empty(2 * count, "<i4")
    numbers[:count] = [piece.layout for piece in pieces]
    numbers[count:] = [len(piece.at_ms) for piece in pieces]
    stamps = np.concatenate([piece.at_ms for piece in pieces]).astype("<i8", copy=False)
    values = [np.ascontiguousarray(piece.values).tobytes() for piece in pieces]
    return b"".join([_COUNT.pack(count), numbers.tobytes(), stamps.tobytes(), *values])


def unpacked(body: bytes, widths: Mapping[int, int]) -> Iterator[Piece]:
    """The pieces of a row; ``widths`` tells how many series a layout has."""
    (count,) = _COUNT.unpack_from(body)
    numbers = np.frombuffer(body, "<i4", 2 * count, 4).tolist()
    place = 4 + 8 * count
    lengths = numbers[count:]
    stamps = np.frombuffer(body, "<i8", sum(lengths), place)
    place += 8 * len(stamps)
    values = np.frombuffer(body, "<f8", (len(body) - place) // 8, place)
    at = taken = 0
    for layout, length in zip(numbers[:count], lengths, strict=True):
        size = length * widths[layout]
        yield Piece(layout, stamps[at : at + length], values[taken : taken + size].reshape(length, -1))
        at += length
        taken += size


class _Table:
    """All rows of one layout."""

    __slots__ = ("at_ms", "count", "ids", "values")

    def __init__(self, ids: Ids) -> None:
        self.ids = ids
        self.count = 0
        self.at_ms = np.empty(16, np.int64)
        self.values = np.empty((16, len(ids)))

    def put(self, at_ms: Instants, values: Values) -> None:
        end = self.count + len(at_ms)
        if end > len(self.at_ms):
            size = max(end, 2 * len(self.at_ms))
            self.at_ms = np.resize(self.at_ms, size)
            wider = np.empty((size, len(self.ids)))
            wider[: self.count] = self.values[: self.count]
            self.values = wider
        self.at_ms[self.count : end] = at_ms
        self.values[self.count : end] = values
        self.count = end


class Head:
    """Rounds that are not sealed yet."""

    def __init__(self) -> None:
        self._tables: dict[int, _Table] = {}
        self._holders: dict[int, list[int]] = {}  # series -> layouts that hold it
        self.samples = 0

    def put(self, pieces: Iterable[Piece], layouts: Mapping[int, Ids]) -> None:
        """Take a row in."""
        for layout, at_ms, values in pieces:
            table = self._tables.get(layout)
            if table is None:
                ids = layouts[layout]
                table = self._tables[layout] = _Table(ids)
                for one in ids.tolist():
                    self._holders.setdefault(one, []).append(layout)
            table.put(at_ms, values)
            self.samples += values.size

    def parts(self, ids: Ids | None, start_ms: int, end_ms: int) -> Iterator[Part]:
        """What these series (all, when None) have in (start, end]."""
        for columns, table in self._selected(ids):
            at_ms, values = table.at_ms[: table.count], table.values[: table.count]
            if not _ascends(at_ms):
                order = np.argsort(at_ms, kind="stable")
                at_ms, values = at_ms[order], values[order]
            begin = int(at_ms.searchsorted(start_ms, "right"))
            end = int(at_ms.searchsorted(end_ms, "right"))
            if begin >= end:
                continue
            if ids is None:
                yield Part(table.ids, at_ms[begin:end], values[begin:end].T)
            else:
                yield Part(table.ids[columns], at_ms[begin:end], values[begin:end, columns].T)

    def _selected(self, ids: Ids | None) -> Iterator[tuple[np.ndarray, _Table]]:
        """Tables that hold any of these series, with the columns that do."""
        if ids is None:
            for table in self._tables.values():
                yield np.arange(len(table.ids)), table
            return
        wanted = ids.tolist()
        layouts = {layout for one in wanted for layout in self._holders.get(one, ())}
        single = wanted[0] if len(wanted) == 1 else None
        for number in sorted(layouts):
            table = self._tables[number]
            if single is not None:
                yield np.flatnonzero(table.ids == single), table
            else:
                yield np.flatnonzero(_within(table.ids, ids)), table


def _within(ids: Ids, wanted: Ids) -> np.ndarray:
    """Which of ``ids`` are among ``wanted`` (ascending)."""
    places = np.searchsorted(wanted, ids)
    places[places == len(wanted)] = 0
    return wanted[places] == ids  # type: ignore[no-any-return]


def _ascends(at_ms: Instants) -> bool:
    return len(at_ms) < 2 or bool((at_ms[1:] > at_ms[:-1]).all())
