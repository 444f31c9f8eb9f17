"""The one writer of the metrics file, and the whole ``SignalStore`` over it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

import anyio
import anyio.to_thread
import numpy as np
import structlog

from poise.adapters.blocks import intake, schema, tending
from poise.adapters.blocks.assembly import joined
from poise.adapters.blocks.head import Head, Piece, packed, unpacked
from poise.adapters.blocks.index import Ids
from poise.adapters.blocks.intake import NEVER, Caps, Layout, Target
from poise.adapters.blocks.reader import BlockReader
from poise.adapters.blocks.tending import DAY_MS, EVER, Change, Retention
from poise.adapters.promql import Engine
from poise.model.errors import PoiseError, Unreachable
from poise.model.samples import (
    Appended,
    Block,
    Frame,
    Instants,
    Labels,
    Limits,
    Matcher,
    Metadata,
    Reading,
    Refusal,
    Round,
)
from poise.ports.signals import Capability

T = TypeVar("T")
log = structlog.get_logger()
TEND_EVERY_S = 10.0
CROWDED = 4  # times the size to be sealed: past it an append seals by itself
GONE_MS = 4 * 3_600_000  # a target silent for so long is forgotten (its samples are not)
OWN_CACHE_BYTES = 32 << 20


class BlockStore:
    """``metrics.db`` behind the ``SignalStore`` port; one per file. Blocking work runs in threads."""

    capabilities = frozenset(Capability)

    def __init__(
        self,
        path: Path,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        caps: Caps | None = None,
        retention: Retention | None = None,
    ) -> None:
        self._path = path
        self._now_ms = now_ms
        self._caps = caps or Caps()
        self._retention = retention or Retention()
        self._lock, self._tending = Lock(), Lock()
        self._reader: BlockReader | None = None
        self._forgot_ms = self._newest_ms = NEVER
        self._row, self._samples, self._first_ms = 0, 0, EVER
        try:
            self._connection = schema.writer(path)
            self._load()
        except sqlite3.Error as error:
            raise _unwritable(path, error) from None

    # -- the port ---------------------------------------------------------------------------------

    async def append(self, round: Round) -> Appended:
        """See the port. ``Unreachable`` when the file cannot be written: nothing of it is kept then."""
        return await self._run(partial(self.put, round))

    async def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, before: bool = False
    ) -> Block:
        """See the port."""
        return await self._run(partial(self.reader.select, matchers, start_ms, end_ms, before=before))

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame:
        """See the port."""
        return await self._run(partial(Engine(self.reader, limits).instant, expression, at_ms))

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Limits | None = None
    ) -> Frame:
        """See the port."""
        engine = Engine(self.reader, limits)
        return await self._run(partial(engine.range, expression, start_ms, end_ms, step_ms))

    async def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[Labels]:
        """See the port."""
        return await self._run(partial(self.reader.series, selectors, start_ms, end_ms))

    async def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[str]:
        """See the port."""
        return await self._run(partial(self.reader.label_names, selectors, start_ms, end_ms))

    async def label_values(
        self, label: str, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[str]:
        """See the port."""
        return await self._run(partial(self.reader.label_values, label, selectors, start_ms, end_ms))

    async def metadata(self, name: str = "") -> list[Metadata]:
        """See the port."""
        return await self._run(partial(self.reader.metadata, name))

    async def run(self) -> None:
        """Seal, join, thin and forget, for as long as it is let run."""
        while True:
            try:
                await self._run(self.tend)
            except (PoiseError, OSError, sqlite3.Error) as error:
                log.warning("the metrics store could not be tended", error=str(error))
            await anyio.sleep(TEND_EVERY_S)

    async def close(self) -> None:
        """Give the file up."""
        await self._run(self._close)

    async def _run(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work)

    def _close(self) -> None:
        with self._tending, self._lock:
            if self._reader is not None:
                self._reader.close()
            self._connection.close()

    @property
    def reader(self) -> BlockReader:
        """This process' own reader of the file."""
        if self._reader is None:
            self._reader = BlockReader(self._path, cache_bytes=OWN_CACHE_BYTES)
        return self._reader

    # -- writing ----------------------------------------------------------------------------------

    def put(self, round: Round) -> Appended:
        """``append`` for a caller with a thread of its own."""
        staged = _Staged()
        with self._lock:
            with self._writing() as connection:
                for reading in round.readings:
                    self._take(connection, reading, staged)
                if staged.labels:
                    body = schema.series_body(staged.labels)
                    connection.execute("INSERT INTO series (first, body) VALUES (?, ?)", (staged.first, body))
                if staged.pieces:
                    row = connection.execute("INSERT INTO head (body) VALUES (?)", (packed(staged.pieces),))
                    self._row = row.lastrowid or self._row
                self._describe(connection, round.metadata)
            self._samples += sum(piece.values.size for piece in staged.pieces)
            crowded = self._samples > CROWDED * self._due
        if crowded:
            self.seal()
        return Appended(kept=staged.kept, refused=tuple(staged.refused))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; when it fails, what is in memory is read again from what is on disk."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._load()
            if isinstance(error, sqlite3.Error):
                raise _unwritable(self._path, error) from None
            raise

    def _take(self, connection: sqlite3.Connection, reading: Reading, staged: _Staged) -> None:
        target = self._targets.get(reading.target)
        if target is None:
            target = self._targets[reading.target] = Target(reading.target)
        layout = target.known(reading.series) or self._learned(connection, target, reading.series, staged)
        at_ms, values = reading.at_ms, reading.values
        if layout.kept is not None:
            values = values[layout.kept]
        staged.refuse(target.name, [(why, n * len(at_ms), one) for why, n, one in layout.refused])
        if not len(layout.ids) or not len(at_ms):
            return
        limit = self._now_ms() + self._caps.future_ms
        if at_ms[-1] > limit or not intake.ascending(reading):
            keep = np.flatnonzero(at_ms <= limit)
            early = (len(at_ms) - len(keep)) * len(layout.ids)
            staged.refuse(target.name, [("future", early, layout.series[0])])
            keep = keep[np.argsort(at_ms[keep], kind="stable")]
            at_ms, values = at_ms[keep], values[:, keep]
            if not len(at_ms):
                return
        rows = values.T
        if at_ms[0] <= target.newest_ms or layout.shared or not _ascends(at_ms):
            self._compare(connection, target, layout, Piece(layout.number, at_ms, rows), staged)
        else:
            staged.take(Piece(layout.number, at_ms, rows))
        target.newest_ms = max(target.newest_ms, int(at_ms[-1]))
        self._newest_ms = max(self._newest_ms, target.newest_ms)
        self._first_ms = min(self._first_ms, int(at_ms[0]))

    def _learned(
        self, connection: sqlite3.Connection, target: Target, series: tuple[Labels, ...], staged: _Staged
    ) -> Layout:
        found = intake.sort(series, self._numbers, target.seen, self._caps)
        ids = np.empty(len(found.labels), np.int32)
        shared = False
        for place, labels in enumerate(found.labels):
            number = self._numbers.get(labels)
            if number is None:
                number = self._numbers[labels] = self._next
                staged.first = staged.first if staged.labels else number
                staged.labels.append(labels)
                self._next += 1
            elif number not in target.seen and target.newest_ms == NEVER:
                target.newest_ms = self._newest_ms  # it has a past that this target does not know
            shared |= self._owners.setdefault(number, target) is not target
            ids[place] = number
        order = np.argsort(ids, kind="stable")
        places = np.array(found.places, np.int32)[order]
        whole = np.array_equal(places, np.arange(len(series)))
        number = self._laid_out(connection, target.name, ids[order])
        layout = Layout(number, series, ids[order], None if whole else places, found.refused, shared)
        gone = target.layouts[intake.LAYOUTS_KEPT - 1 :]
        self._leaving += [(one.number, self._row + 1) for one in gone]
        target.learn(layout)
        return layout

    def _laid_out(self, connection: sqlite3.Connection, target: str, ids: Ids) -> int:
        made = connection.execute(
            "INSERT INTO layout (target, ids) VALUES (?, ?)", (target, ids.astype("<i4").tobytes())
        )
        self._width[made.lastrowid or 0] = ids
        return made.lastrowid or 0

    def _compare(
        self, connection: sqlite3.Connection, target: Target, layout: Layout, piece: Piece, staged: _Staged
    ) -> None:
        """Samples that may be there already: the same is one, another is refused, too old ones too."""
        late = piece.at_ms <= self._newest_ms - self._caps.out_of_order_ms
        staged.refuse(target.name, [("out-of-order", int(late.sum()) * len(layout.ids), layout.series[0])])
        at_ms, values = piece.at_ms[~late], piece.values[~late]
        if not len(at_ms):
            return
        taken = self._taken(layout.ids, at_ms, staged)
        bits = np.ascontiguousarray(values).view(np.uint64)
        for row, at in enumerate(at_ms.tolist()):
            known = taken.setdefault(at, {})
            there = [known.get(one) for one in layout.ids.tolist()]
            fresh = np.array([one is None for one in there])
            same = sum(was == now for was, now in zip(there, bits[row].tolist(), strict=True))
            staged.kept += same
            clashes = int((~fresh).sum()) - same
            staged.refuse(target.name, [("duplicate", clashes, layout.series[0])])
            known.update(zip(layout.ids[fresh].tolist(), bits[row][fresh].tolist(), strict=True))
            if fresh.all():
                staged.take(Piece(layout.number, at_ms[row : row + 1], values[row : row + 1]))
            elif fresh.any():
                number = self._laid_out(connection, target.name, layout.ids[fresh])
                self._leaving.append((number, self._row + 1))
                staged.take(Piece(number, at_ms[row : row + 1], values[row : row + 1, fresh]))

    def _taken(self, ids: Ids, at_ms: Instants, staged: _Staged) -> dict[int, dict[int, int]]:
        """By instant and series, the bits of what is on disk or in this round already."""
        first, last = int(at_ms[0]) - 1, int(at_ms[-1])
        head = Head()
        head.put(staged.pieces, self._width)
        block, numbers = joined([*self.reader.parts(ids, first, last), *head.parts(ids, first, last)])
        taken: dict[int, dict[int, int]] = {}
        for row, stamps, values in block.groups():
            bits = np.ascontiguousarray(values).view(np.uint64)
            for column, at in enumerate(stamps.tolist()):
                one = taken.setdefault(at, {})
                one.update(
                    zip(numbers[row : row + len(values)].tolist(), bits[:, column].tolist(), strict=True)
                )
        return taken

    def _describe(self, connection: sqlite3.Connection, metadata: Sequence[Metadata]) -> None:
        changed = [one for one in metadata if self._told.get(one.name) != one]
        connection.executemany(
            "INSERT OR REPLACE INTO metadata (name, kind, help, unit) VALUES (?, ?, ?, ?)",
            [(one.name, one.kind.value, one.help, one.unit) for one in changed],
        )
        self._told.update({one.name: one for one in changed})

    # -- what is known without asking the file --------------------------------------------------------

    def _load(self) -> None:
        self._numbers: dict[Labels, int] = {}
        self._targets: dict[str, Target] = {}
        self._owners: dict[int, Target] = {}
        self._width: dict[int, Ids] = {}
        self._leaving: list[tuple[int, int]] = []  # layouts that go once rows up to one are sealed
        self._told: dict[str, Metadata] = {}
        connection = self._connection
        self._next = 0
        labels: list[Labels | None] = []
        for first, body in connection.execute("SELECT first, body FROM series ORDER BY first"):
            run = schema.series_of(body)
            labels.extend([None] * (first - len(labels)))
            labels.extend(run)
            self._numbers.update({one: n for n, one in enumerate(run, start=first) if one is not None})
        self._next = len(labels)
        self._load_head(connection, labels)

    def _load_head(self, connection: sqlite3.Connection, labels: Sequence[Labels | None]) -> None:
        (ends,) = connection.execute("SELECT coalesce(max(end_ms), ?) FROM block", (NEVER,)).fetchone()
        newest: dict[int, int] = {}
        rows = connection.execute("SELECT id, target, ids FROM layout ORDER BY id").fetchall()
        self._width = {number: np.frombuffer(ids, "<i4") for number, _, ids in rows}
        widths = {number: len(ids) for number, ids in self._width.items()}
        self._samples, self._first_ms, self._row = 0, EVER, 0
        for number, body in connection.execute("SELECT id, body FROM head ORDER BY id"):
            self._row = number
            for piece in unpacked(body, widths):
                newest[piece.layout] = max(newest.get(piece.layout, NEVER), int(piece.at_ms[-1]))
                self._samples += piece.values.size
                self._first_ms = min(self._first_ms, int(piece.at_ms[0]))
        (last,) = connection.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'head'"
        ).fetchone()
        self._row = max(self._row, last)
        self._newest_ms = max([ends, *newest.values()])
        for number, name, _ in rows:
            target = self._targets.setdefault(name, Target(name))
            ids = self._width[number]
            series = tuple(labels[one] or () for one in ids.tolist())
            shared = sum(self._owners.setdefault(one, target) is not target for one in ids.tolist()) > 0
            target.learn(Layout(number, series, ids, None, (), shared))
            target.newest_ms = max(target.newest_ms, newest.get(number, ends))

    # -- tending ----------------------------------------------------------------------------------

    @property
    def _due(self) -> int:
        """Samples from which on a seal is due; under the lock."""
        keep = self._retention
        series = sum(len(one.layouts[0].ids) for one in self._targets.values() if one.layouts)
        return max(keep.seal_samples, min(keep.seal_rows * series, keep.join_samples))

    def tend(self) -> None:
        """Whatever of sealing, joining, thinning and forgetting is due."""
        with self._lock:
            spans = self._newest_ms - self._first_ms >= self._retention.seal_span_ms
            is_due = bool(self._samples) and (spans or self._samples >= self._due)
        if is_due:
            self.seal()
        with self._tending, self._apart() as connection:
            self._join(connection)
            if self._newest_ms - self._forgot_ms >= DAY_MS // 24:
                self._age(connection)
                self._forgot_ms = self._newest_ms
        while self._given_back():
            pass

    def _given_back(self) -> bool:
        with self._lock:
            return tending.give_back(self._connection)

    def seal(self) -> None:
        """Turn all rounds into a block."""
        with self._tending, self._apart() as connection:
            change = tending.sealed(connection)
            if change is not None:
                self._apply(change)

    def _join(self, connection: sqlite3.Connection) -> None:
        while run := tending.joinable(tending.entries(connection), self._retention):
            self._apply(tending.rewritten(connection, run))

    def _age(self, connection: sqlite3.Connection) -> None:
        """Thin what is old, drop what is older, and the series that are in nothing any more."""
        keep = self._retention
        thin, drop = (self._newest_ms - days * DAY_MS for days in (keep.raw_days, keep.days))
        for one in tending.entries(connection):
            if one.end_ms < drop:
                self._apply(Change(blocks=(one.id,)))
            elif one.end_ms < thin and one.step_ms < keep.step_ms:
                self._apply(tending.rewritten(connection, [one], keep.step_ms))
        self._forget(connection)

    def _forget(self, connection: sqlite3.Connection) -> None:
        with self._lock:  # no series may come back to life meanwhile
            changed = tending.forgotten(connection)
            if not changed:
                return
            with self._writing() as writer:
                for first, body in changed:
                    if body is None:
                        writer.execute("DELETE FROM series WHERE first = ?", (first,))
                    else:
                        writer.execute("UPDATE series SET body = ? WHERE first = ?", (body, first))
                (version,) = writer.execute("PRAGMA user_version").fetchone()
                writer.execute(f"PRAGMA user_version = {version + 1}")
            self._load()

    def _apply(self, change: Change) -> None:
        with self._lock, self._writing() as connection:
            tending.apply(connection, change)
            if change.head:
                self._let_go(connection, change.head)

    def _let_go(self, connection: sqlite3.Connection, sealed: int) -> None:
        """Layouts and targets that nothing needs any more."""
        gone = [number for number, row in self._leaving if row <= sealed]
        self._leaving = [(number, row) for number, row in self._leaving if row > sealed]
        silent = [one for one in self._targets.values() if one.newest_ms < self._newest_ms - GONE_MS]
        for target in silent:
            gone += [layout.number for layout in target.layouts]
            del self._targets[target.name]
        connection.executemany("DELETE FROM layout WHERE id = ?", [(number,) for number in gone])
        for number in gone:
            self._width.pop(number, None)
        for target in self._targets.values():
            target.seen = set(target.layouts[0].ids.tolist()) if target.layouts else set()
        left = connection.execute("SELECT body FROM head").fetchall()
        widths = {number: len(ids) for number, ids in self._width.items()}
        pieces = [piece for (body,) in left for piece in unpacked(body, widths)]
        self._samples = sum(piece.values.size for piece in pieces)
        self._first_ms = min((int(piece.at_ms[0]) for piece in pieces), default=EVER)

    @contextmanager
    def _apart(self) -> Iterator[sqlite3.Connection]:
        connection = schema.reader(self._path)
        try:
            yield connection
        finally:
            connection.close()


class _Staged:
    """What a round will write, and what will be said of it."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.first = 0
        self.labels: list[Labels] = []
        self.kept = 0
        self.refused: list[Refusal] = []

    def take(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.kept += piece.values.size

    def refuse(self, target: str, found: Sequence[tuple[str, int, Labels]]) -> None:
        self.refused += intake.refusals(target, found)


def _ascends(at_ms: Instants) -> bool:
    return len(at_ms) < 2 or bool((at_ms[1:] > at_ms[:-1]).all())


def _unwritable(path: Path, error: sqlite3.Error) -> Unreachable:
    broken = not isinstance(error, sqlite3.OperationalError)  # the file itself, not the disk or a lock
    return Unreachable(
        "POISE-H171",
        "the metrics store cannot be written",
        where=str(path),
        why=f"{error}.",
        mend=f"Move the file away and start again: mv {path} {path}.broken"
        if broken
        else "Free space on the disk, then try again: df -h",
    )
