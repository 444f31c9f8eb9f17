"""The totals of many gauges as columns: every new value of all of them is taken at once. Pure.

Each value is one event, good or not, added up into monotone totals of good and of all events. What lies
between two values is measured time while they are near one another; a longer gap begins a new life of the
totals, and is unknown. Adding up never makes a total fall: a fall would be read as a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Self

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.engine.pages import Numbers, Pages, Places, named, too_many_groups
from poise.model.measuring import scale
from poise.model.objective import Objective
from poise.model.samples import Labels
from poise.model.signal import Rows, Series

JUST_S: Final = 0.001  # before the first value of a new life
STEP_S: Final = 15.0  # events of a longer stretch are kept by so many seconds
STEPS_MAX: Final = 32  # that are added up at once
Flags = NDArray[np.bool_]
_NONE: Final = np.empty(0, np.intp)


class Left(Struct, frozen=True, kw_only=True):
    """Where the reading of an objective was left: up to when, and good and all events by (group, life)."""

    at_s: float = -np.inf
    sums: Mapping[tuple[str, str], tuple[float, float]] = {}


class Tracks(Struct, eq=False, kw_only=True):
    """The series of one answer, each as often as it is of an objective; by objective, then labels."""

    series: tuple[Labels, ...]
    keys: Sequence[tuple[int, Labels, int]]  # (objective, labels, row of the answer)
    row: Places
    owner: Places
    place: Places  # the total that its values are added to
    newest_s: Numbers  # values up to here were taken


class Values(Struct, frozen=True, eq=False, kw_only=True):
    """What was answered: values of tracks, each track's ascending by instant."""

    track: Places
    at_s: Numbers
    value: Numbers


class _Events(Struct, frozen=True, eq=False, kw_only=True):
    """Values that were not taken yet; by objective, instant and labels."""

    owner: Places
    place: Places
    at_s: Numbers
    good: Numbers  # 0..1; NaN: nothing happened

    def only(self, some: Flags | Places) -> Self:
        """Some of them."""
        return type(self)(**{name: getattr(self, name)[some] for name in self.__struct_fields__})


class Columns:
    """A row an objective, a place a group of it."""

    def __init__(
        self,
        prefix: str,
        objectives: Sequence[Objective],
        left: Mapping[str, Left],
        step_s: float = STEP_S,
    ) -> None:
        self.objectives, self._step_s = objectives, step_s
        self._scale, self._pages = scale(objectives), Pages(prefix)
        known = [left.get(one.key, Left()) for one in objectives]
        self.at_s = np.array([one.at_s for one in known])
        self._floor_s = self.at_s.copy()  # of series that are new to an objective
        self._lives = [""] * len(objectives)
        self._groups_max = np.array([one.groups_max for one in objectives], dtype=np.intp)
        self._places: list[dict[str, int]] = [{} for _ in objectives]  # by group
        self._owner, self._alive = np.empty(0, np.intp), np.empty(0, bool)
        self._good, self._total = np.empty(0), np.empty(0)
        self._owners: list[int] = []  # of places, those included for which the arrays have no room yet
        self._series: list[tuple[Series, ...]] = [()] * len(objectives)
        self._others = set(range(len(objectives)))  # whose totals are others than those laid out
        self._known, self._flat = np.empty(0, np.intp), np.empty(0, np.intp)
        sums = [(n, *at, *sum_) for n, one in enumerate(known) for at, sum_ in one.sums.items()]
        places = self._placed((number, group) for number, group, *_ in sums)
        for place, (number, _, life, good, total) in zip(places.tolist(), sums, strict=True):
            self._lives[number], self._alive[place] = life, True
            self._good[place], self._total[place] = good, total

    def tracks(
        self,
        series: tuple[Labels, ...],
        keys: Iterable[tuple[int, Labels, int]],
        before: Tracks | None = None,
    ) -> Tracks:
        """Of an answer with these series. What was taken of a series stays taken.

        Of one that is new to an objective every value is, but not those from before Poise was restarted.
        """
        mine = sorted(keys)
        taken = {} if before is None else {
            key[:2]: at_s for key, at_s in zip(before.keys, before.newest_s.tolist(), strict=True)
        }  # fmt: skip
        return Tracks(
            series=series,
            keys=mine,
            row=np.array([row for _, _, row in mine], dtype=np.intp),
            owner=np.array([number for number, _, _ in mine], dtype=np.intp),
            place=self._placed((n, self.objectives[n].group_of(labels)) for n, labels, _ in mine),
            newest_s=np.array([taken.get(key[:2], self._floor_s[key[0]]) for key in mine], dtype=np.float64),
        )

    def _placed(self, wanted: Iterable[tuple[int, str]]) -> Places:
        """Where the totals of an objective's group stand."""
        found = []
        for number, group in wanted:
            place = self._places[number].get(group)
            if place is None:
                place = self._places[number][group] = len(self._owners)
                self._owners.append(number)
            found.append(place)
        more = len(self._owners) - len(self._owner)
        self._owner = np.array(self._owners, dtype=np.intp) if more else self._owner
        self._alive = np.concatenate([self._alive, np.zeros(more, dtype=bool)])
        self._good, self._total = (np.concatenate([one, np.zeros(more)]) for one in (self._good, self._total))
        return np.array(found, dtype=np.intp)

    # -- taking what was answered ------------------------------------------------------------------

    def take(
        self, answers: Sequence[tuple[Tracks, Values]], asked: Places, now_s: float, gap_s: Numbers
    ) -> tuple[list[Rows], int, dict[int, str]]:
        """Take what is new: rows dated by number, how many, and what is wrong with which of the ``asked``.

        ``gap_s`` is by objective: after how long a silence its time is unknown. Of an objective with which
        anything is wrong nothing is taken.
        """
        current = np.unique(np.concatenate([_NONE, *(one.place for one, _ in answers)]))
        new = [(one, values, values.at_s > one.newest_s[values.track]) for one, values in answers]
        track, at_s, value = (
            np.concatenate([np.empty(0), *(getattr(values, name)[fresh] for _, values, fresh in new)])
            for name in ("track", "at_s", "value")
        )
        owner, place = (
            np.concatenate([_NONE, *(getattr(one, name)[values.track[fresh]] for one, values, fresh in new)])
            for name in ("owner", "place")
        )
        order = np.lexsort((track, at_s, owner))
        owner, place, at_s, value = owner[order], place[order], at_s[order], value[order]
        good, is_odd = self._scale.shares(owner, value)
        said = self._problems(current, owner, at_s, now_s, gap_s, asked)
        for odd in np.flatnonzero(is_odd)[::-1].tolist():
            said[int(owner[odd])] = f"{value[odd]:g} is no ratio: it is not between 0 and 1"
        is_fine = np.ones(len(self.objectives), dtype=bool)
        is_fine[list(said)] = False
        self._floor_s[owner[is_fine[owner]]] = -np.inf
        for one, values, fresh in new:
            some = fresh & is_fine[one.owner[values.track]]
            np.maximum.at(one.newest_s, values.track[some], values.at_s[some])
        events = _Events(owner=owner, place=place, at_s=at_s, good=good).only(is_fine[owner])
        return *self._taken(events, current, gap_s), said

    def _problems(
        self, current: Places, owner: Places, at_s: Numbers, now_s: float, gap_s: Numbers, asked: Places
    ) -> dict[int, str]:
        last_s = self.at_s.copy()
        np.maximum.at(last_s, owner, at_s)
        said = {
            number: f"{_query(self.objectives[number])} has no value within {gap_s[number]:g} s"
            for number in asked[now_s - last_s[asked] > gap_s[asked]].tolist()
        }
        groups = np.bincount(self._owner[current], minlength=len(self.objectives))
        for number in np.flatnonzero(groups > self._groups_max).tolist():
            said[number] = too_many_groups(self.objectives[number])
        return said

    def _taken(self, events: _Events, current: Places, gap_s: Numbers) -> tuple[list[Rows], int]:
        """Stretch by stretch: values up to the first gap of each objective, then new lives begin."""
        rows: list[Rows] = []
        count = 0
        while len(events.owner):
            first = _changes(events.owner)
            earlier_s = np.where(first, -np.inf, np.roll(events.at_s, 1))
            gaps = events.at_s - np.maximum(earlier_s, self.at_s[events.owner]) > gap_s[events.owner]
            step = _counted(first | _changes(np.ceil(events.at_s / self._step_s)), first)
            now = (_counted(gaps, first) == 0) & (step <= STEPS_MAX)
            if now.any():
                rows += self._added(events.only(now), step[now], count)
                count += int(step[now].max()) + 1
                events = events.only(~now)
            else:
                self._begin(events.only(first), current)
        return rows, count

    def _begin(self, firsts: _Events, current: Places) -> None:
        """New lives of these objectives' totals, just before their first value."""
        self.at_s[firsts.owner] = firsts.at_s - JUST_S
        is_new = np.zeros(len(self.objectives), dtype=bool)
        is_new[firsts.owner] = True
        self._alive[is_new[self._owner]] = False
        mine = current[is_new[self._owner[current]]]
        self._alive[mine], self._good[mine], self._total[mine] = True, 0.0, 0.0
        for number, at_s in zip(firsts.owner.tolist(), firsts.at_s.tolist(), strict=True):
            self._lives[number] = f"since {datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._others.update(firsts.owner.tolist())

    def _added(self, events: _Events, step: Places, number: int) -> list[Rows]:
        """The totals before these values, and after each step of them."""
        counts = ~np.isnan(events.good)
        fresh = np.unique(events.place[counts])
        fresh = fresh[~self._alive[fresh]]
        self._alive[fresh], self._good[fresh], self._total[fresh] = True, 0.0, 0.0
        self._others.update(self._owner[fresh].tolist())
        self._lay()
        steps, places = int(step.max()) + 1, len(self._owner)
        at_s = np.full((steps, len(self.objectives)), -np.inf)
        at_s[0] = self.at_s
        np.maximum.at(at_s, (step, events.owner), events.at_s)
        np.maximum.accumulate(at_s, axis=0, out=at_s)
        cell = (step * places + events.place)[counts]
        sums = []
        for before, added in ((self._good, events.good[counts]), (self._total, np.ones(len(cell)))):
            grown = np.zeros((steps, places))
            np.add.at(grown.reshape(-1), cell, added)
            grown[0] = before
            sums.append(np.cumsum(grown, axis=0))
        self.at_s, self._good, self._total = at_s[-1].copy(), sums[0][-1].copy(), sums[1][-1].copy()
        values = np.stack([one[:, self._flat] for one in sums], axis=2).reshape(steps, -1)
        return self._pages.rows(at_s[:, self._known], values, number)

    def _lay(self) -> None:
        """Lay the pages out anew where an objective has other totals than before."""
        if not self._others:
            return
        alive = [[pair for pair in sorted(one.items()) if self._alive[pair[1]]] for one in self._places]
        for number in self._others:
            life = self._lives[number]
            names = ((role, group, life) for group, _ in alive[number] for role in ("good", "total"))
            self._series[number] = named(self.objectives[number], names)
        self._others = set()
        self._known = np.flatnonzero(np.isfinite(self.at_s))
        known = self._known.tolist()
        self._flat = np.array([place for number in known for _, place in alive[number]], dtype=np.intp)
        self._pages.lay([(self.objectives[number], self._series[number]) for number in known])


def _changes(values: NDArray[np.generic]) -> Flags:
    """Where a value is another than the one before it."""
    return np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]


def _counted(flags: Flags, first: Flags) -> Places:
    """How many flags there were up to each place, counted anew from each ``first``."""
    up_to = np.cumsum(flags)
    return up_to - (up_to - flags)[first][np.cumsum(first) - 1]


def _query(objective: Objective) -> str:
    return objective.gauge.query if objective.gauge is not None else ""
