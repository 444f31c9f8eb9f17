"""Totals on SQLite.

A reading is one row: its values as little-endian float64 in the order of its layout, a sorted tuple of
series that is stored once. Appending is one insert, durable on return (WAL, synchronous=FULL).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import anyio.to_thread
import msgspec
import numpy as np
import sqlalchemy as sa

from poise.adapters.totals.thinning import Last, Retention, matches, surplus
from poise.model.errors import Invalid
from poise.model.signal import Batch, Epoch, Points, Rows, Series

BATCH_LIMIT = 100_000
SAME_WATCHED = 1024  # sets of series that are recognised by identity
EPOCHS_WATCHED = 1024  # whose last reading is remembered, so that a restart of a counter is seen

_meta = sa.MetaData()
_epoch = sa.Table(
    "epoch",
    _meta,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, unique=True, nullable=False),
    sa.Column("first_at", sa.Float, nullable=False),
)
_layout = sa.Table(
    "layout",
    _meta,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("series", sa.LargeBinary, unique=True, nullable=False),
)
_reading = sa.Table(
    "reading",
    _meta,
    sa.Column("epoch", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, primary_key=True),
    sa.Column("layout", sa.Integer, nullable=False),
    sa.Column("pinned", sa.Boolean, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Index("reading_at", "at"),
    sa.Index("reading_layout", "epoch", "layout", "at"),
)

T = TypeVar("T")
_Row = tuple[int, int, float, bytes]  # epoch, layout, at, data


class StoredTotals:
    """``signals.db`` behind the Totals port. Blocking work runs in threads."""

    def __init__(self, path: Path, retention: Retention | None = None) -> None:
        self._retention = retention or Retention()
        self._engine = sa.create_engine(f"sqlite:///{path}")
        sa.event.listen(self._engine, "connect", configure)
        self._lock = Lock()
        self._layouts: dict[int, tuple[Series, ...]] = {}
        self._layout_ids: dict[tuple[Series, ...], int] = {}
        self._same: dict[int, tuple[tuple[Series, ...], int]] = {}  # layouts by identity of their series
        self._epochs: dict[int, str] = {}
        self._epoch_ids: dict[str, int] = {}
        self._newest: dict[tuple[int, int], float] = {}  # (epoch, layout) -> its newest reading
        self._last: dict[int, Last] = {}  # epoch -> its newest reading
        self._thinned_at = float("-inf")
        self._unsure = False
        _meta.create_all(self._engine)
        with self._engine.connect() as connection:
            self._load(connection)

    async def append(self, batch: Batch) -> None:
        """See the port. ``Invalid`` for a value that is no number or a batch over its limit."""
        await self._run(partial(self._append, batch))

    async def append_rows(self, rows: Sequence[Rows]) -> None:
        """See the port. ``Invalid`` as for ``append``."""
        await self._run(partial(self._append_rows, rows))

    async def readings(self, start: datetime, end: datetime, *, include_before: bool = True) -> list[Rows]:
        """See the port."""
        return await self._run(partial(self._readings, start.timestamp(), end.timestamp(), include_before))

    async def select(
        self,
        name: str,
        labels: Mapping[str, str],
        start: datetime,
        end: datetime,
        *,
        include_before: bool = True,
    ) -> list[Points]:
        """See the port."""
        return await self._run(
            partial(self._select, name, labels, start.timestamp(), end.timestamp(), include_before)
        )

    async def latest(self, name: str, labels: Mapping[str, str]) -> list[Points]:
        """See the port."""
        return await self._run(partial(self._latest, name, labels))

    async def epochs(self) -> list[Epoch]:
        """See the port."""
        return await self._run(self._read_epochs)

    async def close(self) -> None:
        """Give the file up."""
        await self._run(self._engine.dispose)

    async def _run(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work)

    # -- writing ----------------------------------------------------------------------------------

    def _append(self, batch: Batch) -> None:
        values = checked(batch)
        table = np.array([list(values.values())], dtype=np.float64)
        at_s = np.array([batch.at.timestamp()])
        self._append_rows([Rows(epoch=batch.epoch, series=tuple(values), at_s=at_s, values=table)])

    def _append_rows(self, many: Sequence[Rows]) -> None:
        for rows in many:
            check_rows(rows)
        newest = max((float(rows.at_s[-1]) for rows in many if len(rows.at_s)), default=float("-inf"))
        with self._lock, self._remembering(), self._engine.begin() as connection:
            inserts: list[dict[str, Any]] = []
            for rows in many:
                inserts += self._inserts(connection, rows)
            if inserts:
                connection.execute(sa.insert(_reading).prefix_with("OR IGNORE"), inserts)
            if newest - self._thinned_at >= self._retention.every_s:
                self._thin(connection, newest)

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """What is remembered of the file is read again after a write that failed: it may not be there."""
        if self._unsure:
            with self._engine.connect() as connection:
                self._load(connection)
        self._unsure = True
        yield
        self._unsure = False

    def _inserts(self, connection: sa.Connection, rows: Rows) -> Iterator[dict[str, Any]]:
        """One row a reading; one after which a counter is lower, and that one, are pinned."""
        if not len(rows.at_s):
            return
        epoch = self._epoch_id(connection, rows.epoch, float(rows.at_s[0]))
        layout = self._layout_id(connection, rows.series)
        series = self._layouts[layout]
        for at, values in zip(rows.at_s.tolist(), rows.values, strict=True):
            last = self._last.get(epoch)
            pinned = last is not None and last.at_s < at and last.breaks(series, values)
            if pinned and last is not None:
                same = (_reading.c.epoch == epoch) & (_reading.c.at == last.at_s)
                connection.execute(sa.update(_reading).where(same).values(pinned=True))
            if last is None or last.at_s <= at:
                self._remember(epoch, Last(at_s=at, series=series, values=values))
            self._newest[epoch, layout] = max(at, self._newest.get((epoch, layout), at))
            data = values.astype("<f8").tobytes()
            yield {"epoch": epoch, "at": at, "layout": layout, "pinned": pinned, "data": data}

    def _remember(self, epoch: int, last: Last) -> None:
        self._last[epoch] = last
        while len(self._last) > EPOCHS_WATCHED:
            del self._last[min(self._last, key=lambda known: self._last[known].at_s)]

    def _epoch_id(self, connection: sa.Connection, name: str, at: float) -> int:
        if name in self._epoch_ids:
            return self._epoch_ids[name]
        made = connection.execute(sa.insert(_epoch).values(name=name, first_at=at).returning(_epoch.c.id))
        made_id = int(made.scalar_one())
        self._epochs[made_id] = name
        self._epoch_ids[name] = made_id
        return made_id

    def _layout_id(self, connection: sa.Connection, series: tuple[Series, ...]) -> int:
        same = self._same.get(id(series))
        if same is not None:
            return same[1]
        known = self._layout_ids.get(series)
        if known is not None:
            while len(self._same) >= SAME_WATCHED:
                del self._same[next(iter(self._same))]
            self._same[id(series)] = (series, known)
            return known
        made = connection.execute(
            sa.insert(_layout).values(series=msgspec.msgpack.encode(series)).returning(_layout.c.id)
        )
        layout = int(made.scalar_one())
        self._layouts[layout] = series
        self._layout_ids[series] = layout
        return layout

    def _thin(self, connection: sa.Connection, now: float) -> None:
        """Delete what the retention no longer keeps; at most one pass each ``every_s``."""
        self._thinned_at = now
        old = sa.select(_reading.c.epoch, _reading.c.at, _reading.c.pinned)
        old = old.where(_reading.c.at < now - self._retention.full_s).order_by("epoch", "at")
        by_epoch: dict[int, list[tuple[float, bool]]] = defaultdict(list)
        for epoch, at, pinned in connection.execute(old):
            by_epoch[epoch].append((at, pinned))
        gone = [
            {"gone_epoch": epoch, "gone_at": at}
            for epoch, readings in by_epoch.items()
            for at in surplus(readings, now, self._retention)
        ]
        if not gone:
            return
        one = (_reading.c.epoch == sa.bindparam("gone_epoch")) & (_reading.c.at == sa.bindparam("gone_at"))
        connection.execute(sa.delete(_reading).where(one), gone)
        kept = sa.select(_reading.c.epoch, _reading.c.layout, sa.func.max(_reading.c.at))
        rows = connection.execute(kept.group_by(_reading.c.epoch, _reading.c.layout))
        self._newest = {(epoch, layout): at for epoch, layout, at in rows}

    # -- reading ----------------------------------------------------------------------------------

    def _load(self, connection: sa.Connection) -> None:
        """Fill the small indexes that live in memory."""
        for index in (self._layouts, self._same, self._newest, self._last):
            index.clear()
        self._epochs = {row.id: row.name for row in connection.execute(sa.select(_epoch))}
        self._epoch_ids = {name: epoch for epoch, name in self._epochs.items()}
        for row in connection.execute(sa.select(_layout)):
            self._layouts[row.id] = msgspec.msgpack.decode(row.series, type=tuple[Series, ...])
        self._layout_ids = {series: layout for layout, series in self._layouts.items()}
        newest = sa.select(_reading.c.epoch, _reading.c.layout, sa.func.max(_reading.c.at))
        for epoch, layout, at in connection.execute(newest.group_by(_reading.c.epoch, _reading.c.layout)):
            self._newest[epoch, layout] = at
        last: dict[int, tuple[float, int]] = {}
        for (epoch, layout), at in self._newest.items():
            last[epoch] = max((at, layout), last.get(epoch, (at, layout)))
        for epoch, (at, layout) in sorted(last.items(), key=lambda item: item[1])[-EPOCHS_WATCHED:]:
            data = self._before(connection, epoch, layout, at)[0][3]
            values = np.frombuffer(data, dtype="<f8")
            self._remember(epoch, Last(at_s=at, series=self._layouts[layout], values=values))

    def _select(
        self, name: str, labels: Mapping[str, str], start: float, end: float, include_before: bool
    ) -> list[Points]:
        layouts = self._matching(name, labels)
        with self._engine.connect() as connection:
            rows: list[_Row] = []
            if include_before:
                for epoch, layout in list(self._newest):
                    if layout in layouts:
                        rows += self._before(connection, epoch, layout, start)
            query = sa.select(_reading.c.epoch, _reading.c.layout, _reading.c.at, _reading.c.data).where(
                _reading.c.at > start, _reading.c.at <= end, _reading.c.layout.in_(list(layouts))
            )
            inside = [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]
        found = _points(rows, layouts, newest_only=True)
        for key, points in _points(inside, layouts).items():
            found.setdefault(key, []).extend(points)
        return self._named(found)

    def _readings(self, start: float, end: float, include_before: bool) -> list[Rows]:
        query = sa.select(_reading.c.epoch, _reading.c.layout, _reading.c.at, _reading.c.data)
        inside = query.where(_reading.c.at > start, _reading.c.at <= end)
        with self._engine.connect() as connection:
            found: list[_Row] = [(row[0], row[1], row[2], row[3]) for row in connection.execute(inside)]
            if include_before:
                for epoch, layout in list(self._newest):
                    found += self._before(connection, epoch, layout, start)
        found.sort(key=lambda row: (row[0], row[2]))
        made = [
            self._rows(epoch, layout, list(run))
            for (epoch, layout), run in groupby(found, key=lambda row: (row[0], row[1]))
        ]
        return sorted(made, key=lambda rows: (rows.at_s[0], rows.epoch))

    def _rows(self, epoch: int, layout: int, run: Sequence[_Row]) -> Rows:
        values = np.frombuffer(b"".join(row[3] for row in run), dtype="<f8")
        return Rows(
            epoch=self._epochs[epoch],
            series=self._layouts[layout],
            at_s=np.array([row[2] for row in run]),
            values=values.reshape(len(run), -1),
        )

    def _latest(self, name: str, labels: Mapping[str, str]) -> list[Points]:
        layouts = self._matching(name, labels)
        with self._engine.connect() as connection:
            rows: list[_Row] = []
            found: set[tuple[int, Series]] = set()
            newest_first = sorted(self._newest.items(), key=lambda item: item[1], reverse=True)
            for (epoch, layout), at in newest_first:
                series = {(epoch, one) for _, one in layouts.get(layout, ())}
                if series - found:  # else a newer reading has them all
                    rows += self._before(connection, epoch, layout, at)
                    found |= series
        return self._named(_points(rows, layouts, newest_only=True))

    def _matching(self, name: str, labels: Mapping[str, str]) -> dict[int, list[tuple[int, Series]]]:
        """Per layout that has any: the positions of the wanted series."""
        found = {
            layout: [(i, one) for i, one in enumerate(series) if matches(one, name, labels)]
            for layout, series in list(self._layouts.items())
        }
        return {layout: places for layout, places in found.items() if places}

    def _before(self, connection: sa.Connection, epoch: int, layout: int, at: float) -> list[_Row]:
        """The last reading of this epoch and layout at or before ``at``, if any."""
        query = sa.select(_reading.c.at, _reading.c.data).where(
            _reading.c.epoch == epoch, _reading.c.layout == layout, _reading.c.at <= at
        )
        row = connection.execute(query.order_by(_reading.c.at.desc()).limit(1)).first()
        return [] if row is None else [(epoch, layout, row[0], row[1])]

    def _named(self, found: Mapping[tuple[int, Series], list[tuple[float, float]]]) -> list[Points]:
        named = [
            Points(series=series, epoch=self._epochs[epoch], points=tuple(sorted(points)))
            for (epoch, series), points in found.items()
        ]
        return sorted(named, key=lambda one: (one.series, one.points[0], one.epoch))

    def _read_epochs(self) -> list[Epoch]:
        kept_from = sa.select(sa.func.min(_reading.c.at)).where(_reading.c.epoch == _epoch.c.id)
        last_at = sa.select(sa.func.max(_reading.c.at)).where(_reading.c.epoch == _epoch.c.id)
        query = sa.select(
            _epoch.c.name, _epoch.c.first_at, kept_from.scalar_subquery(), last_at.scalar_subquery()
        ).order_by(_epoch.c.first_at, _epoch.c.name)
        with self._engine.connect() as connection:
            return [
                Epoch(name=name, first_at=first, kept_from=kept, last_at=last)
                for name, first, kept, last in connection.execute(query)
                if kept is not None
            ]


def configure(connection: Any, _record: object) -> None:
    """Durable and concurrent: readers never wait for the writer."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")


def checked(batch: Batch) -> dict[Series, float]:
    """The batch's values by series, sorted so that equal readings have equal layouts."""
    if len(batch.samples) > BATCH_LIMIT:
        raise _too_large(batch.epoch, len(batch.samples))
    bad = [sample for sample in batch.samples if not math.isfinite(sample.value)]
    if bad:
        raise _no_number(batch.epoch, bad[0].series)
    return dict(sorted(((sample.series, sample.value) for sample in batch.samples), key=lambda one: one[0]))


def check_rows(rows: Rows) -> None:
    """Raise ``Invalid`` for what ``checked`` refuses."""
    if len(rows.series) > BATCH_LIMIT:
        raise _too_large(rows.epoch, len(rows.series))
    if not np.isfinite(rows.values).all():
        raise _no_number(rows.epoch, rows.series[int(np.argwhere(~np.isfinite(rows.values))[0, 1])])


def _too_large(epoch: str, samples: int) -> Invalid:
    return Invalid(
        "POISE-S101",
        f"a reading has {samples} samples; the limit is {BATCH_LIMIT}",
        where=epoch,
        mend="Read fewer clusters or histogram buckets at once.",
    )


def _no_number(epoch: str, series: Series) -> Invalid:
    return Invalid(
        "POISE-S102",
        f"the value of {series.name} is not a number",
        where=epoch,
        mend="Leave out what could not be measured.",
    )


def _points(
    rows: Iterable[_Row], layouts: Mapping[int, list[tuple[int, Series]]], *, newest_only: bool = False
) -> dict[tuple[int, Series], list[tuple[float, float]]]:
    """Points per (epoch, series) out of rows, decoded a layout at a time."""
    grouped: dict[tuple[int, int], list[tuple[float, bytes]]] = defaultdict(list)
    for epoch, layout, at, data in rows:
        grouped[epoch, layout].append((at, data))
    found: dict[tuple[int, Series], list[tuple[float, float]]] = defaultdict(list)
    for (epoch, layout), group in grouped.items():
        table = np.frombuffer(b"".join(data for _, data in group), dtype="<f8").reshape(len(group), -1)
        instants = [at for at, _ in group]
        for place, series in layouts[layout]:
            found[epoch, series] += zip(instants, table[:, place].tolist(), strict=True)
    if newest_only:
        return {key: [max(points)] for key, points in found.items()}
    return found
