"""Counting along: readings of monotone counters become increments of every objective at once.

Rules. A delta is the difference of two readings of one epoch. A decrease within an epoch is a restart: the
new value counts (or, where the objective says so, is only where counting goes on). A series that is new
within a known epoch counts from its first value (unless the objective ignores first samples); so does an
epoch that began while we were watching. Of queried counters of which none was there before nothing is known:
counting begins at their first values. A gap between two readings of one epoch is counted, and known, unless
it is longer than ``HIDDEN_S`` and a counter began anew in it: what it counted before that is lost. What an
epoch counted after its last reading is unknown time, as is time after a total's series vanished. A source
that is read but never had the series saw no traffic, which is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.balance.indicator.decide import plan
from poise.model.counting import QUERIED, Wanted, definition
from poise.model.increments import Increments, Numbers, Places, joined
from poise.model.objective import Objective, Treatment
from poise.model.signal import LATENCY_BUCKET, QUERY_AT, Epoch, Rows, Series

HIDDEN_S: Final = 300.0  # a longer gap is unknown where a restart hides what happened in it
UNDERSTOOD_MAX: Final = 256  # sets of series whose meaning is kept


class Column(Struct, kw_only=True):
    """An objective that is counted. ``since_s`` is when measuring began, once it ``has_begun``."""

    place: int
    objective: Objective
    definition: str
    since_s: float
    has_begun: bool
    had: bool = False  # a total's series was there once
    measured_s: float | None = None  # the newest instant that is known
    interpolated: bool = False


class KeptLife(Struct, frozen=True, kw_only=True):
    """One epoch as far as it was read; ``series`` is the place of its series among all sets of them."""

    first_at: float
    born_watched: bool
    at_s: float
    series: int
    values: bytes  # little-endian float64
    gone: list[tuple[Series, float]]
    known_to: dict[int, float]


class KeptCounter(Struct, frozen=True, kw_only=True):
    """A counter as it is kept: whoever resumes it goes on as if it had never stopped."""

    start_s: float
    first_at: dict[str, float]
    lives: dict[str, KeptLife]
    series: list[tuple[Series, ...]]
    columns: dict[str, Column]


class _Meaning(Struct, frozen=True, eq=False, kw_only=True):
    """What a set of series means: for each wanted one its index, weights and column, sorted by column."""

    series: tuple[Series, ...]
    version: int
    columns: tuple[Column, ...]
    places: Places
    index: Places
    column: Places
    total_weight: Numbers
    good_weight: Numbers
    is_present: NDArray[np.bool_]  # by column: whether a series of its total is there
    instant: Places  # by column: the index of the series that tells the instant; -1: the reading's own


class _Life(Struct, kw_only=True):
    """One epoch as far as it was read."""

    first_at: float
    born_watched: bool
    at_s: float = -np.inf  # the newest reading
    series: tuple[Series, ...] = ()
    values: Numbers = np.empty(0)
    gone: dict[Series, float] = {}  # last values of series that are not read any more
    known_to: dict[int, float] = {}  # by place

    @property
    def was_read(self) -> bool:
        """Whether there was a reading before."""
        return self.at_s > -np.inf


class Counter:
    """Follows objectives through readings. Restarted with the same readings it says the same.

    What was read at or before ``start_s`` is only where counting begins.
    """

    def __init__(self, epochs: Iterable[Epoch] = (), start_s: float = -np.inf) -> None:
        self._start_s = start_s
        self._first_at = {one.name: one.first_at for one in epochs}
        self._lives: dict[str, _Life] = {}
        self._columns: dict[str, Column] = {}
        self._version = 0
        self._understood: dict[int, _Meaning] = {}

    @property
    def columns(self) -> Mapping[str, Column]:
        """What is followed, by objective."""
        return self._columns

    def follow(self, objective: Objective, place: int, since_s: float, *, has_begun: bool) -> None:
        """Count this objective from now on. Until it has begun, ``since_s`` is when it was declared."""
        self._columns[objective.key] = Column(
            place=place,
            objective=objective,
            definition=definition(objective),
            since_s=since_s,
            has_begun=has_begun,
        )
        self._version += 1

    def drop(self, key: str) -> None:
        """Count it no longer."""
        place = self._columns.pop(key).place
        self._version += 1
        for life in self._lives.values():
            life.known_to.pop(place, None)

    def kept(self) -> KeptCounter:
        """Where it stands."""
        sets: dict[int, int] = {}
        series: list[tuple[Series, ...]] = []
        for life in self._lives.values():
            if id(life.series) not in sets:
                sets[id(life.series)] = len(series)
                series.append(life.series)
        lives = {
            name: KeptLife(
                first_at=one.first_at, born_watched=one.born_watched, at_s=one.at_s,
                series=sets[id(one.series)], values=one.values.astype("<f8").tobytes(),
                gone=list(one.gone.items()), known_to=one.known_to,
            )
            for name, one in self._lives.items()
        }  # fmt: skip
        return KeptCounter(
            start_s=self._start_s, first_at=self._first_at, lives=lives, series=series, columns=self._columns
        )

    @classmethod
    def resumed(cls, kept: KeptCounter) -> Counter:
        """The counter that stood there."""
        made = cls((), kept.start_s)
        made._first_at, made._columns = kept.first_at, kept.columns
        made._lives = {
            name: _Life(
                first_at=one.first_at, born_watched=one.born_watched, at_s=one.at_s,
                series=kept.series[one.series], values=np.frombuffer(one.values, "<f8"),
                gone=dict(one.gone), known_to=one.known_to,
            )
            for name, one in kept.lives.items()
        }  # fmt: skip
        return made

    def take(self, many: Sequence[Rows]) -> Increments:
        """What these readings add, ascending by instant. One that was taken already is left out.

        Each epoch's must come in the order of time.
        """
        return joined([made for rows in many if (made := self._taken(rows)) is not None])

    def _taken(self, rows: Rows) -> Increments | None:
        life = self._life(rows)
        rows = _after(rows, life.at_s)
        if not len(rows.at_s):
            return None
        meaning = self._meaning(rows.series)
        base = self._base(life, rows.series)
        made = self._counted(rows, life, meaning, base) if len(meaning.columns) else None
        if life.series is not rows.series:
            life.gone |= dict(zip(life.series, life.values.tolist(), strict=True))
        life.series, life.values, life.at_s = rows.series, rows.values[-1], float(rows.at_s[-1])
        return made

    def _life(self, rows: Rows) -> _Life:
        life = self._lives.get(rows.epoch)
        if life is None:
            first_at = self._first_at.setdefault(rows.epoch, float(rows.at_s[0]))
            older = any(at < first_at for name, at in self._first_at.items() if not name.startswith(QUERIED))
            watched = older and float(rows.at_s[0]) == first_at and not rows.epoch.startswith(QUERIED)
            life = self._lives[rows.epoch] = _Life(first_at=first_at, born_watched=watched)
        return life

    def _base(self, life: _Life, series: tuple[Series, ...]) -> Numbers:
        """Each series' value before these readings; NaN for one that was never read."""
        if life.series is series:
            return life.values
        known = life.gone | dict(zip(life.series, life.values.tolist(), strict=True))
        return np.array([known.get(one, np.nan) for one in series])

    def _counted(self, rows: Rows, life: _Life, meaning: _Meaning, base: Numbers) -> Increments:
        at_s = _instants(rows, meaning)
        before_s = self._known_before(life, meaning, at_s, ~np.isnan(base))
        since_s = np.array([max(column.since_s, self._start_s) for column in meaning.columns])
        total, good, fell = self._deltas(rows, life, meaning, base)
        is_known = meaning.is_present | ~np.array([column.had for column in meaning.columns])
        from_s = np.maximum(np.concatenate([before_s[None], at_s[:-1]]), since_s)
        from_s = np.where(fell & (at_s - from_s > HIDDEN_S), at_s, from_s)
        counts = (at_s > since_s) & is_known & (at_s > from_s)
        moved = (at_s > since_s) & ((total != 0.0) | (good != 0.0))
        row, column = np.nonzero(counts | moved)
        self._note(life, meaning, at_s[-1], is_known)
        return Increments(
            place=meaning.places[column],
            at_s=at_s[row, column],
            good=good[row, column],
            bad=total[row, column] - good[row, column],
            known_from_s=np.where(counts, np.minimum(from_s, at_s), at_s)[row, column],
        )

    def _known_before(
        self, life: _Life, meaning: _Meaning, at_s: Numbers, is_read: NDArray[np.bool_]
    ) -> Numbers:
        """Up to when each column is known in this epoch; the first instant where counting begins anew.

        A column begins when it was declared if its counters were read before that, else with their first
        reading after it.
        """
        before_s = np.array([life.known_to.get(place, np.nan) for place in meaning.places.tolist()])
        if not life.was_read:
            before_s[:] = np.nan
        elif len(meaning.index) and (meaning.instant >= 0).any():
            any_read = np.zeros(len(meaning.columns), dtype=bool)
            np.logical_or.at(any_read, meaning.column, is_read[meaning.index])
            before_s[(meaning.instant >= 0) & ~any_read] = np.nan
        for number, column in enumerate(meaning.columns):
            if not column.has_begun:
                self._begin(
                    column, life, before_s[number], at_s[:, number], bool(meaning.instant[number] >= 0)
                )
        return np.where(np.isnan(before_s), at_s[0], before_s)

    def _begin(self, column: Column, life: _Life, before_s: float, at_s: Numbers, queried: bool) -> None:
        was_read = not np.isnan(before_s) if queried else life.was_read
        later = at_s[at_s > max(column.since_s, self._start_s)]
        if not len(later):
            return
        if not was_read and len(later) == len(at_s):
            column.since_s = float(later[0])
        column.has_begun = True

    def _deltas(
        self, rows: Rows, life: _Life, meaning: _Meaning, base: Numbers
    ) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
        """Total and good events ``[T, columns]``, and where a counter of them began anew."""
        total = np.zeros((len(rows.at_s), len(meaning.columns)))
        good, anew = np.zeros_like(total), np.zeros(total.shape, dtype=bool)
        if not len(meaning.index):
            return total, good, anew
        values = rows.values[:, meaning.index]
        before = base[meaning.index]
        new = np.isnan(before)
        if new.any():
            before = np.where(new, np.where(self._counts_whole(life, meaning, new), 0.0, values[0]), before)
        grown = np.diff(values, axis=0, prepend=before[None])
        fell = grown < 0.0
        if fell.any():
            ignored = np.array([one.objective.on_reset is Treatment.IGNORE for one in meaning.columns])
            grown = np.where(fell, np.where(ignored[meaning.column], 0.0, values), grown)
        filled, starts = np.unique(meaning.column, return_index=True)
        total[:, filled] = np.add.reduceat(grown * meaning.total_weight, starts, axis=1)
        good[:, filled] = np.add.reduceat(grown * meaning.good_weight, starts, axis=1)
        if fell.any():
            anew[:, filled] = np.logical_or.reduceat(fell, starts, axis=1)
        return total, good, anew

    def _counts_whole(self, life: _Life, meaning: _Meaning, new: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether each new series counts from its first value."""
        read = np.zeros(len(meaning.columns), dtype=bool)
        np.logical_or.at(read, meaning.column, ~new)
        whole = np.array(
            [
                column.objective.first_sample is Treatment.COUNT
                and (
                    (bool(read[number]) if meaning.instant[number] >= 0 else True)
                    if life.was_read
                    else life.born_watched and life.first_at > column.since_s
                )
                for number, column in enumerate(meaning.columns)
            ]
        )
        counted: NDArray[np.bool_] = whole[meaning.column]
        return counted

    def _note(self, life: _Life, meaning: _Meaning, at_s: Numbers, is_known: NDArray[np.bool_]) -> None:
        for number, column in enumerate(meaning.columns):
            column.had = column.had or bool(meaning.is_present[number])
            if is_known[number]:
                at = float(at_s[number])
                life.known_to[column.place] = at
                column.measured_s = at if column.measured_s is None else max(at, column.measured_s)

    def _meaning(self, series: tuple[Series, ...]) -> _Meaning:
        known = self._understood.get(id(series))
        if known is None or known.version != self._version:
            known = _understood(series, self._columns.values(), self._version)
            self._understood.pop(id(series), None)
            while len(self._understood) >= UNDERSTOOD_MAX:
                del self._understood[next(iter(self._understood))]
            self._understood[id(series)] = known
        return known


def _after(rows: Rows, at_s: float) -> Rows:
    """The readings that were not taken yet."""
    first = int(np.searchsorted(rows.at_s, at_s, side="right"))
    if not first:
        return rows
    return Rows(epoch=rows.epoch, series=rows.series, at_s=rows.at_s[first:], values=rows.values[first:])


def _instants(rows: Rows, meaning: _Meaning) -> Numbers:
    """``[T, columns]``: when each column's values were what they are."""
    at_s = np.repeat(rows.at_s[:, None], len(meaning.columns), axis=1)
    told = np.flatnonzero(meaning.instant >= 0)
    at_s[:, told] = rows.values[:, meaning.instant[told]]
    return at_s


def _understood(series: tuple[Series, ...], columns: Iterable[Column], version: int) -> _Meaning:
    by_owner: dict[str, list[int]] = defaultdict(list)
    told: dict[tuple[str, str], int] = {}
    is_queried = False
    for place, one in enumerate(series):
        labels = dict(one.labels)
        if one.name == QUERY_AT:
            told[labels["objective"], labels.get("definition", "")] = place
        by_owner[labels.get("objective") or labels.get("service", "")].append(place)
        is_queried = is_queried or "objective" in labels
    mine: list[Column] = []
    found: list[tuple[int, int, Wanted]] = []
    instants: list[int] = []
    for column in columns:
        instant = told.get((column.objective.whole, column.definition), -1)
        if column.objective.is_queried != is_queried or (is_queried and instant < 0):
            continue
        wanted = _wanted(column, series, by_owner)
        if column.objective.group and not wanted:
            continue  # a group begins when it is told of, and silence about it is unknown
        found += [(len(mine), place, one) for place, one in wanted]
        mine.append(column)
        instants.append(instant)
    present = np.zeros(len(mine), dtype=bool)
    present[[number for number, _, one in found if one.total_weight]] = True
    return _Meaning(
        series=series,
        version=version,
        columns=tuple(mine),
        places=np.array([column.place for column in mine], dtype=np.intp),
        index=np.array([place for _, place, _ in found], dtype=np.intp),
        column=np.array([number for number, _, _ in found], dtype=np.intp),
        total_weight=np.array([one.total_weight for _, _, one in found]),
        good_weight=np.array([one.good_weight for _, _, one in found]),
        is_present=present,
        instant=np.array(instants, dtype=np.intp),
    )


def _wanted(
    column: Column, series: tuple[Series, ...], by_owner: Mapping[str, Sequence[int]]
) -> list[tuple[int, Wanted]]:
    """The series (by index) that the objective is counted from, and what each means."""
    objective = column.objective
    places = by_owner.get(objective.whole if objective.is_queried else objective.service, ())
    labels = {place: dict(series[place].labels) for place in places}
    bounds = {labels[place]["le"] for place in places if series[place].name == LATENCY_BUCKET}
    reading = plan(objective, bounds)
    column.interpolated = reading.interpolated
    return [
        (place, wanted)
        for wanted in reading.wanted
        for place in places
        if series[place].name == wanted.name and wanted.labels.items() <= labels[place].items()
    ]
