"""Blocks as bytes: a directory of what lies where, and chunks of values, both compressed by pcodec.

Rows are ordered by metric, then by the instants they share, and cut into chunks of about 64 Ki samples: one
series costs one small chunk, a whole metric a few large ones. Every bit of a value comes back (NaN
payloads and -0.0 included).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from pcodec import ChunkConfig, standalone  # type: ignore[import-untyped]

from poise.adapters.blocks.assembly import Part
from poise.adapters.blocks.index import Ids
from poise.model.samples import STALE_BITS, Block, Instants, Values

CHUNK_SAMPLES = 65_536
CHUNK_LIMIT = 4 * CHUNK_SAMPLES  # a target's rows of one metric are cut apart only past this
LEVEL = 5  # measured: 0.83 B a sample of a counter against 0.74 at level 8, encoded 1.1 to 2 times as fast

_CONFIG = ChunkConfig(compression_level=LEVEL)


class Sealed(NamedTuple):
    """One block as it is stored."""

    start_ms: int
    end_ms: int
    samples: int
    directory: bytes
    chunks: list[bytes]


class _Directory(Struct, array_like=True, frozen=True):
    ids: bytes
    owner: bytes
    lengths: bytes  # samples of each owner
    at_ms: bytes
    rows: bytes  # first row of each chunk


class Directory:
    """Where each series of a block lies. Rows are in stored order."""

    def __init__(self, body: bytes) -> None:
        packed = msgspec.msgpack.decode(body, type=_Directory)
        self.ids: Ids = _numbers(packed.ids).astype(np.int32)
        self.owner = _numbers(packed.owner)
        lengths = _numbers(packed.lengths)
        ends = np.cumsum(lengths)
        self._stamps, self._bounds = _numbers(packed.at_ms), np.concatenate([[0], ends])
        first = _numbers(packed.rows)
        self.chunk = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(self.ids))))
        sizes = lengths[self.owner]
        begin = np.cumsum(sizes) - sizes
        self.start = begin - begin[first][self.chunk] if len(first) else begin
        self.lengths = lengths
        self._order = np.argsort(self.ids, kind="stable")
        self._sorted = self.ids[self._order]
        self.cost = 64 * len(self.ids) + 8 * len(self._stamps)

    def rows(self, ids: Ids) -> NDArray[np.intp]:
        """The rows of those of these series that are here, in stored order."""
        if not len(self._sorted) or not len(ids):
            return np.empty(0, np.intp)
        places = np.searchsorted(self._sorted, ids)
        places[places == len(self._sorted)] = 0
        return np.sort(self._order[places[self._sorted[places] == ids]])

    def at_ms(self, owner: int) -> Instants:
        """The instants that an owner's rows share."""
        return self._stamps[self._bounds[owner] : self._bounds[owner + 1]]

    def parts(
        self, rows: NDArray[np.intp], chunk: Callable[[int], Values], start_ms: int, end_ms: int
    ) -> Iterator[Part]:
        """What these rows hold in (start, end], a part for each run of rows that lie together."""
        if not len(rows):
            return
        owner, chunks = self.owner[rows], self.chunk[rows]
        breaks = np.flatnonzero((np.diff(owner) != 0) | (np.diff(chunks) != 0)) + 1
        bounds = [0, *breaks.tolist(), len(rows)]
        for low, high in pairwise(bounds):
            at_ms = self.at_ms(int(owner[low]))
            begin = int(at_ms.searchsorted(start_ms, "right")) if at_ms[0] <= start_ms else 0
            end = int(at_ms.searchsorted(end_ms, "right")) if at_ms[-1] > end_ms else len(at_ms)
            if begin < end:
                taken = rows[low:high]
                values = self._values(chunk(int(chunks[low])), taken, len(at_ms))
                yield Part(self.ids[taken], at_ms[begin:end], values[:, begin:end])

    def _values(self, flat: Values, rows: NDArray[np.intp], length: int) -> Values:
        first, count = int(self.start[rows[0]]), len(rows)
        if int(rows[-1]) - int(rows[0]) == count - 1:
            return flat[first : first + count * length].reshape(count, length)
        return flat[self.start[rows][:, None] + np.arange(length)]


def seal(block: Block, ids: Ids, metric: NDArray[np.int32]) -> Sealed:
    """A block in its stored form. ``metric[n]`` is equal where the metric's name is."""
    lengths = np.array([len(one) for one in block.at_ms], np.int64)
    order = np.lexsort((block.owner, metric))
    owner = block.owner[order]
    sizes = lengths[owner]
    first = _cuts(sizes, owner, metric[order])
    chunks = []
    for low, high in zip(first, [*first[1:], len(order)], strict=True):
        chunks.append(standalone.simple_compress(_gathered(block, order[low:high], sizes[low:high]), _CONFIG))
    stamps = np.concatenate(block.at_ms)
    directory = _Directory(
        ids=_packed(ids[order]),
        owner=_packed(owner),
        lengths=_packed(lengths),
        at_ms=_packed(stamps),
        rows=_packed(np.array(first, np.int64)),
    )
    return Sealed(
        int(stamps.min()), int(stamps.max()), int(sizes.sum()), msgspec.msgpack.encode(directory), chunks
    )


def opened(body: bytes) -> Values:
    """A chunk's values."""
    found: Values = standalone.simple_decompress(body)
    return found


def thinned(block: Block, step_ms: int, counts: NDArray[np.bool_]) -> Block:
    """One sample per series and step, its last; also where a counter falls, and stale markers.

    ``counts[n]`` tells counters: their increase from step to step stays exact.
    """
    stamps, parts, starts = [], [], np.empty(len(block.series) or len(block.owner), np.intp)
    filled = 0
    for first, at_ms, values in block.groups():
        last = np.append(at_ms[1:] // step_ms != at_ms[:-1] // step_ms, True)
        totals = values[counts[first : first + len(values)]]
        falls = (totals[:, 1:] < totals[:, :-1]).any(axis=0)
        keep = last.copy()
        keep[:-1] |= falls
        keep[1:] |= falls
        keep |= (values.view(np.uint64) == STALE_BITS).any(axis=0)
        kept = np.ascontiguousarray(values[:, keep])
        starts[first : first + len(kept)] = filled + np.arange(len(kept)) * kept.shape[1]
        filled += kept.size
        stamps.append(at_ms[keep])
        parts.append(kept.ravel())
    return Block(
        series=block.series,
        owner=block.owner,
        at_ms=tuple(stamps),
        start=starts,
        flat=np.concatenate(parts) if parts else np.empty(0),
    )


def _cuts(sizes: NDArray[np.int64], owner: NDArray[np.intp], metric: NDArray[np.int32]) -> list[int]:
    """First rows of chunks: cut where metric or owner change once a chunk is full."""
    changes = np.append(True, (np.diff(owner) != 0) | (np.diff(metric) != 0)).tolist()
    first, filled = [0], 0
    for row, (size, change) in enumerate(zip(sizes.tolist(), changes, strict=True)):
        if row and ((filled >= CHUNK_SAMPLES and change) or filled + size > CHUNK_LIMIT):
            first.append(row)
            filled = 0
        filled += size
    return first


def _gathered(block: Block, rows: NDArray[np.intp], sizes: NDArray[np.int64]) -> Values:
    """Values of these rows one after another."""
    starts = block.start[rows]
    runs = np.flatnonzero(starts[1:] != starts[:-1] + sizes[:-1]) + 1
    ends = starts + sizes
    begins, after = [0, *runs.tolist()], [*runs.tolist(), len(rows)]
    return np.concatenate(
        [block.flat[int(starts[a]) : int(ends[b - 1])] for a, b in zip(begins, after, strict=True)]
    )


def _packed(numbers: NDArray[np.signedinteger]) -> bytes:
    return bytes(standalone.simple_compress(numbers.astype(np.int64), _CONFIG))


def _numbers(body: bytes) -> NDArray[np.int64]:
    found: NDArray[np.int64] | None = standalone.simple_decompress(body)
    return np.empty(0, np.int64) if found is None else found
