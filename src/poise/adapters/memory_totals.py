"""Totals in memory: for the simulation and for tests. Same contract as ``totals``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime

from poise.adapters.totals.store import checked
from poise.adapters.totals.thinning import Retention, breaks, matches, surplus
from poise.model.signal import Batch, Epoch, Points, Series


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


class MemoryTotals:
    """Readings in lists, thinned as on disk."""

    def __init__(self, retention: Retention | None = None) -> None:
        self._retention = retention or Retention()
        self._lives: dict[str, _Life] = {}
        self._thinned_at = float("-inf")

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

    def _thin(self, now: float) -> None:
        self._thinned_at = now
        for life in self._lives.values():
            old = [at for at in life.instants if at < now - self._retention.full_s]
            gone = set(surplus([(at, at in life.pinned) for at in old], now, self._retention))
            kept = [i for i, at in enumerate(life.instants) if at not in gone]
            life.instants, life.values = (
                [life.instants[i] for i in kept],
                [life.values[i] for i in kept],
            )


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
