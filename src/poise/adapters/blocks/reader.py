"""Reads the metrics file, from any process, while another one writes."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from poise.adapters.blocks import schema, sealing
from poise.adapters.blocks.assembly import Part, assemble
from poise.adapters.blocks.head import Head, unpacked
from poise.adapters.blocks.index import Ids, SeriesIndex
from poise.model.errors import TooLarge, Unreachable
from poise.model.samples import Block, Labels, Matcher, Metadata, MetricKind, Values

CACHE_BYTES = 128 << 20  # decoded chunks and directories
SAMPLES_LIMIT = 100_000_000  # of one select


class _Entry(NamedTuple):
    """A block, without what is in it."""

    id: int
    start_ms: int
    end_ms: int


class _Cache:
    """What was decoded last, up to so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[int, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: int) -> Any:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: int, made: Any, cost: int) -> None:
        self._kept[key] = (made, cost)
        self._bytes += cost
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1][1]


class BlockReader:
    """What the file holds, as of its newest commit at each question. Not for two threads at once: they wait.

    Satisfies ``Selector``. Raises ``Unreachable`` when the file cannot be read.
    """

    def __init__(
        self, path: Path, *, cache_bytes: int = CACHE_BYTES, samples_limit: int = SAMPLES_LIMIT
    ) -> None:
        self._path = path
        self._samples_limit = samples_limit
        self._cache = _Cache(cache_bytes)
        self._lock = Lock()
        self._version = -1
        self._index = SeriesIndex()
        self._forgotten = 0
        self._layouts: dict[int, Ids] = {}
        self._widths: dict[int, int] = {}
        self._blocks: list[_Entry] = []
        self._head = Head()
        self._head_ids = (0, 0)  # rows taken in: first, last
        try:
            self._connection = schema.reader(path)
        except sqlite3.Error as error:
            raise _unreadable(path, error) from None

    def close(self) -> None:
        """Give the file up."""
        with self._lock:
            self._connection.close()

    # -- questions --------------------------------------------------------------------------------

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, before: bool = False
    ) -> Block:
        """See ``Selector``. ``TooLarge`` past the limit of samples, before any is decoded."""
        with self._reading():
            ids = self._index.matching(matchers)
            return self._assembled(ids, start_ms, end_ms, before)

    def parts(self, ids: Ids, start_ms: int, end_ms: int) -> list[Part]:
        """The same for series known by number, ascending, as it lies."""
        with self._reading():
            return list(self._parts(ids, start_ms, end_ms))

    def series(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[Labels]:
        """See ``SignalStore.series``."""
        with self._reading():
            return sorted(self._index.of(self._alive(selectors, start_ms, end_ms)))

    def label_names(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[str]:
        """See ``SignalStore.label_names``."""
        with self._reading():
            return self._index.names(self._alive(selectors, start_ms, end_ms))

    def label_values(
        self, label: str, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[str]:
        """See ``SignalStore.label_values``."""
        with self._reading():
            return self._index.values(label, self._alive(selectors, start_ms, end_ms))

    def metadata(self, name: str = "") -> list[Metadata]:
        """See ``SignalStore.metadata``."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT name, kind, help, unit FROM metadata WHERE name = ? OR ? = '' ORDER BY name",
                (name, name),
            ).fetchall()
        return [Metadata(name, MetricKind(kind), help_, unit) for name, kind, help_, unit in rows]

    # -- what is asked for ------------------------------------------------------------------------

    def _assembled(self, ids: Ids, start_ms: int, end_ms: int, before: bool) -> Block:
        found = list(self._parts(ids, start_ms, end_ms)) if len(ids) else []
        if before and len(ids):
            found = [*self._before(ids, start_ms), *found]
        return assemble(found, self._index.of)

    def _parts(self, ids: Ids, start_ms: int, end_ms: int) -> Iterator[Part]:
        chosen = []
        samples = 0
        for entry in self._blocks:
            if entry.start_ms <= end_ms and entry.end_ms > start_ms:
                directory = self._directory(entry.id)
                rows = directory.rows(ids)
                samples += int(directory.lengths[directory.owner[rows]].sum())
                chosen.append((entry, directory, rows))
        if samples > self._samples_limit:
            raise TooLarge(
                "POISE-E485", f"the selection reads over {self._samples_limit:,} samples",
                mend="Ask for a shorter range or fewer series.",
            )  # fmt: skip
        for entry, directory, rows in chosen:
            yield from directory.parts(rows, self._chunks(entry.id), start_ms, end_ms)
        yield from self._head.parts(ids, start_ms, end_ms)

    def _before(self, ids: Ids, start_ms: int) -> list[Part]:
        """The last sample of each series at or before an instant, newest places asked first."""
        newest: dict[int, tuple[int, float]] = {}

        def look(parts: Iterator[Part]) -> None:
            for part in parts:
                at = int(part.at_ms[-1])
                for one, value in zip(part.ids.tolist(), part.values[:, -1].tolist(), strict=True):
                    if one not in newest or newest[one][0] < at:
                        newest[one] = (at, value)

        look(self._head.parts(ids, -(1 << 62), start_ms))
        for entry in sorted(self._blocks, key=lambda one: one.end_ms, reverse=True):
            missing = np.array([one for one in ids.tolist() if one not in newest], np.int32)
            oldest = min((at for at, _ in newest.values()), default=start_ms)
            wanted = missing if entry.end_ms <= oldest else ids
            if entry.start_ms <= start_ms and len(wanted):
                directory = self._directory(entry.id)
                rows = directory.rows(wanted)
                look(directory.parts(rows, self._chunks(entry.id), -(1 << 62), start_ms))
        return [
            Part(np.array([one], np.int32), np.array([at]), np.array([[value]]))
            for one, (at, value) in newest.items()
        ]

    def _alive(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> Ids:
        """Series of any selector (of all when there is none) with a sample in [start, end]."""
        found = [self._index.matching(one) for one in selectors] or [self._index.matching(())]
        ids = np.unique(np.concatenate(found)).astype(np.int32)
        seen = [part.ids for part in self._head.parts(ids, start_ms - 1, end_ms)]
        for entry in self._blocks:
            if entry.start_ms <= end_ms and entry.end_ms >= start_ms:
                directory = self._directory(entry.id)
                rows = directory.rows(ids)
                owners = np.unique(directory.owner[rows]).tolist()
                alive = [one for one in owners if _within(directory.at_ms(one), start_ms, end_ms)]
                seen.append(directory.ids[rows[np.isin(directory.owner[rows], alive)]])
        return np.unique(np.concatenate(seen)).astype(np.int32) if seen else ids[:0]

    def _directory(self, block: int) -> sealing.Directory:
        key = block << schema.PLACES | ((1 << schema.PLACES) - 1)
        found: sealing.Directory | None = self._cache.get(key)
        if found is None:
            (body,) = self._connection.execute(
                "SELECT directory FROM block WHERE id = ?", (block,)
            ).fetchone()
            found = sealing.Directory(body)
            self._cache.put(key, found, found.cost)
        return found

    def _chunks(self, block: int) -> Callable[[int], Values]:
        def chunk(place: int) -> Values:
            key = block << schema.PLACES | place
            found: Values | None = self._cache.get(key)
            if found is None:
                (body,) = self._connection.execute("SELECT body FROM chunk WHERE id = ?", (key,)).fetchone()
                found = sealing.opened(body)
                self._cache.put(key, found, found.nbytes)
            return found

        return chunk

    # -- what has changed -------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot of the file, with what is new in it taken in."""
        with self._lock:
            connection = self._connection
            try:
                connection.execute("BEGIN")
                try:
                    self._refresh(connection)
                    yield connection
                finally:
                    connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise _unreadable(self._path, error) from None

    def _refresh(self, connection: sqlite3.Connection) -> None:
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM head").fetchone()
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        (forgotten,) = connection.execute("PRAGMA user_version").fetchone()
        if forgotten != self._forgotten:
            self._index, self._forgotten = SeriesIndex(), forgotten
        for first, body in connection.execute(
            "SELECT first, body FROM series WHERE first >= ? ORDER BY first", (len(self._index),)
        ):
            self._index.add(first, schema.series_of(body))
        self._blocks = [
            _Entry(*row)
            for row in connection.execute("SELECT id, start_ms, end_ms FROM block ORDER BY start_ms, id")
        ]
        self._take_head(connection, last)
        self._version = version

    def _take_head(self, connection: sqlite3.Connection, last: int) -> None:
        (first,) = connection.execute("SELECT coalesce(min(id), 0) FROM head").fetchone()
        if first != self._head_ids[0]:
            self._head, self._head_ids = Head(), (first, first - 1)
            self._layouts, self._widths = {}, {}
        newest = max(self._layouts, default=0)
        for number, ids in connection.execute("SELECT id, ids FROM layout WHERE id > ?", (newest,)):
            self._layouts[number] = np.frombuffer(ids, "<i4")
            self._widths[number] = len(ids) // 4
        for (body,) in connection.execute(
            "SELECT body FROM head WHERE id > ? ORDER BY id", (self._head_ids[1],)
        ):
            self._head.put(unpacked(body, self._widths), self._layouts)
        self._head_ids = (first, last)


def _within(at_ms: np.ndarray, start_ms: int, end_ms: int) -> bool:
    return bool(((at_ms >= start_ms) & (at_ms <= end_ms)).any())


def _unreadable(path: Path, error: sqlite3.Error) -> Unreachable:
    return Unreachable(
        "POISE-H170", "the metrics store cannot be read", where=str(path), why=f"{error}.",
        mend="Run: poise doctor",
    )  # fmt: skip
