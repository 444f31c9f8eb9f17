"""Totals in memory: for the simulation and for tests. Same contract as ``totals``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby

import numpy as np

from poise.adapters.totals.store import checked
from poise.adapters.totals.thinning import Retention, breaks, matches, surplus
from poise.model.signal import Batch, Epoch, Points, Rows, Sample, Series


class _Life:
    """One epoch's readings, ascending: instants, values, and which are pinned."""

    def __init__(self, name: str, first_at: float) -> None:
        self.name = name
        self.first_at = first_at
        self.instants: list[float] = []
        self.values: list[dict[Series, float]] = []
        self.pinned: set[float] = set()
        self.newest: dict[Series, float] = {}  # when each was last read
        self.known: dict[str, set[Series]] = {}  # by series name
        self.asked: dict[tuple[str, frozenset[tuple[str, str]]], list[Series]] = {}  # answers of _series
        self.layouts: list[tuple[Series, ...]] = []  # of each reading, by identity


class MemoryTotals:
    """Readings in lists, thinned as on disk."""

    def __init__(self, retention: Retention | None = None) -> None:
        self._retention = retention or Retention()
        self._lives: dict[str, _Life] = {}
        self._thinned_at = float("-inf")
        self._layouts: dict[tuple[Series, ...], tuple[Series, ...]] = {}

    async def append_rows(self, rows: Sequence[Rows]) -> None:
        """See the port."""
        for one in rows:
            for at_s, values in zip(one.at_s.tolist(), one.values.tolist(), strict=True):
                samples = tuple(Sample(*pair) for pair in zip(one.series, values, strict=True))
                at = datetime.fromtimestamp(at_s, UTC)
                await self.append(Batch(at=at, epoch=one.epoch, samples=samples))

    async def readings(self, start: datetime, end: datetime, *, include_before: bool = True) -> list[Rows]:
        """See the port."""
        found: list[Rows] = []
        for life in self._lives.values():
            first = bisect_right(life.instants, start.timestamp())
            last = bisect_right(life.instants, end.timestamp())
            before = _last_of_each(life.layouts, first) if include_before else []
            places = [*before, *range(first, last)]
            for _, run in groupby(places, key=lambda place, life=life: id(life.layouts[place])):  # type: ignore[misc]
                found.append(_rows(life, list(run)))
        return sorted(found, key=lambda rows: (rows.at_s[0], rows.epoch))

    async def append(self, batch: Batch) -> None:
        """See the port."""
        values, at = checked(batch), batch.at.timestamp()
        life = self._lives.setdefault(batch.epoch, _Life(batch.epoch, at))
        place = bisect_right(life.instants, at)
        if place and life.instants[place - 1] == at:
            return
        if place and breaks(life.values[place - 1], values):
            life.pinned |= {life.instants[place - 1], at}
        life.instants.insert(place, at)
        life.values.insert(place, values)
        life.layouts.insert(place, self._layout(life, place, tuple(values)))
        if place == len(life.instants) - 1:
            life.newest.update(dict.fromkeys(values, at))
        for series in values:
            known = life.known.setdefault(series.name, set())
            if series not in known:
                known.add(series)
                life.newest.setdefault(series, at)
                life.asked.clear()
        if at - self._thinned_at >= self._retention.every_s:
            self._thin(at)

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
        found: list[Points] = []
        since, until = start.timestamp(), end.timestamp()
        for life in self._lives.values():
            if not include_before and life.instants and life.instants[-1] <= since:
                continue
            for series in _series(life, name, labels):
                if not include_before and life.newest[series] <= since:
                    continue
                points = _window(life, series, since, until, include_before)
                if points:
                    found.append(Points(series=series, epoch=life.name, points=points))
        return sorted(found, key=lambda one: (one.series, one.points[0], one.epoch))

    async def latest(self, name: str, labels: Mapping[str, str]) -> list[Points]:
        """See the port."""
        found: list[Points] = []
        for life in self._lives.values():
            for series in _series(life, name, labels):
                points = _window(life, series, float("inf"), float("inf"), True)
                if points:
                    found.append(Points(series=series, epoch=life.name, points=points))
        return sorted(found, key=lambda one: (one.series, one.points[0], one.epoch))

    async def epochs(self) -> list[Epoch]:
        """See the port."""
        kept = [
            Epoch(
                name=life.name,
                first_at=life.first_at,
                kept_from=life.instants[0],
                last_at=life.instants[-1],
            )
            for life in self._lives.values()
            if life.instants
        ]
        return sorted(kept, key=lambda epoch: (epoch.first_at, epoch.name))

    async def close(self) -> None:
        """Nothing to give up."""

    def _layout(self, life: _Life, place: int, series: tuple[Series, ...]) -> tuple[Series, ...]:
        """The one object for these series; mostly those of the reading before, which is quickly seen."""
        if place and life.layouts[place - 1] == series:
            return life.layouts[place - 1]
        return self._layouts.setdefault(series, series)

    def _thin(self, now: float) -> None:
        self._thinned_at = now
        for life in self._lives.values():
            old = [at for at in life.instants if at < now - self._retention.full_s]
            gone = set(surplus([(at, at in life.pinned) for at in old], now, self._retention))
            kept = [i for i, at in enumerate(life.instants) if at not in gone]
            life.instants, life.values, life.layouts = (
                [life.instants[i] for i in kept],
                [life.values[i] for i in kept],
                [life.layouts[i] for i in kept],
            )


def _rows(life: _Life, places: list[int]) -> Rows:
    return Rows(
        epoch=life.name,
        series=life.layouts[places[0]],
        at_s=np.array([life.instants[place] for place in places]),
        values=np.array([list(life.values[place].values()) for place in places]),
    )


def _last_of_each(layouts: list[tuple[Series, ...]], end: int) -> list[int]:
    """The last place before ``end`` of each set of series, ascending."""
    last = {id(layouts[place]): place for place in range(end)}
    return sorted(last.values())


def _series(life: _Life, name: str, labels: Mapping[str, str]) -> list[Series]:
    asked = (name, frozenset(labels.items()))
    found = life.asked.get(asked)
    if found is None:
        found = sorted(series for series in life.known.get(name, ()) if matches(series, name, labels))
        life.asked[asked] = found
    return found


def _window(
    life: _Life, series: Series, start: float, end: float, include_before: bool
) -> tuple[tuple[float, float], ...]:
    first = bisect_right(life.instants, start)
    last = bisect_right(life.instants, end)
    inside = [
        (life.instants[i], life.values[i][series]) for i in range(first, last) if series in life.values[i]
    ]
    if include_before:
        for i in range(first - 1, -1, -1):
            if series in life.values[i]:
                return ((life.instants[i], life.values[i][series]), *inside)
    return tuple(inside)
