"""The readings that a source's objectives are kept in: few rows, whose series are the same objects for long.

While a source answers with the same series as before, what its numbers mean is known: a whole answer becomes
rows in a few strides over arrays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from zlib import crc32

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.model.counting import definition, selectors
from poise.model.objective import Objective
from poise.model.samples import Labels
from poise.model.signal import QUERY_AT, QUERY_TOTAL, Rows, Series

PAGES: Final = 16  # rows of a source, so that a new series concerns few of its objectives
Newest = dict[Labels, tuple[float, float]]  # by series: (UTC epoch seconds, value)
Numbers = NDArray[np.float64]


class Fresh(Struct, frozen=True, kw_only=True):
    """What one look at an objective's counters found, or the ``problem`` that makes it unknown."""

    at: float = 0.0
    found: Mapping[str, Newest] = {}
    problem: str = ""


class Answer(Struct, frozen=True, eq=False, kw_only=True):
    """Each series' newest usable sample; ``is_found`` where there is one."""

    series: tuple[Labels, ...]
    at_s: Numbers
    values: Numbers
    is_found: NDArray[np.bool_]

    @property
    def newest(self) -> Newest:
        """By series, for those that have one."""
        rows = zip(self.series, self.at_s.tolist(), self.values.tolist(), self.is_found.tolist(), strict=True)
        return {labels: (at, value) for labels, at, value, is_found in rows if is_found}


class _Page(Struct, eq=False, kw_only=True):
    """One row's series, its objectives' places in an answer, and the newest instants that were kept."""

    epoch: str
    series: tuple[Series, ...]
    own: NDArray[np.intp]  # of the objectives: places among the source's
    instant: NDArray[np.intp]  # of the values: where each objective's instant stands
    value: NDArray[np.intp]  # and each sample's value,
    sample: NDArray[np.intp]  # which is this one of the answers'
    at_s: Numbers


class Pages:
    """What one source's objectives were last read as."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._parts: dict[str, tuple[Objective, tuple[tuple[Labels, ...], ...], tuple[Series, ...]]] = {}
        self._pages: dict[str, _Page] = {}
        self._answered: tuple[tuple[Labels, ...], ...] | None = None  # by which the pages are laid out
        self._order = np.empty(0, np.intp)
        self._starts = np.empty(0, np.intp)

    def again(self, answers: Sequence[Answer], now: datetime, stale_after_s: float) -> list[Rows] | None:
        """The rows of an answer like the one before; None where anything is otherwise, or stale."""
        if self._answered is None or len(answers) != len(self._answered):
            return None
        if any(one.series != was for one, was in zip(answers, self._answered, strict=True)):
            return None
        if not all(one.is_found.all() for one in answers):
            return None
        at_s = np.concatenate([one.at_s for one in answers])
        newest_s = np.maximum.reduceat(at_s[self._order], self._starts)
        if (now.timestamp() - newest_s > stale_after_s).any():
            return None
        values = np.concatenate([one.values for one in answers])
        return self._rows(newest_s, values, now)

    def rows(
        self,
        some: Sequence[tuple[Objective, Fresh]],
        answers: Mapping[str, Answer],
        now: datetime,
        *,
        all_of: bool,
    ) -> list[Rows]:
        """The rows of objectives that were read; ``answers`` by selector. ``all_of``: none is missing."""
        places: dict[int, int] = {}
        kept: list[Answer] = []
        for one in answers.values():
            if id(one) not in places:
                places[id(one)] = sum(len(before.series) for before in kept)
                kept.append(one)
        index = {id(one): {labels: n for n, labels in enumerate(one.series)} for one in kept}
        order: list[int] = []
        starts: list[int] = []
        for objective, seen in some:
            starts.append(len(order))
            for role, text in selectors(objective).items():
                one = answers[text]
                order += [places[id(one)] + index[id(one)][labels] for labels in seen.found.get(role, ())]
        self._lay(some, order, starts)
        self._order, self._starts = np.array(order, dtype=np.intp), np.array(starts, dtype=np.intp)
        self._answered = tuple(one.series for one in kept) if all_of and some else None
        values = np.concatenate([one.values for one in kept]) if kept else np.empty(0)
        return self._rows(np.array([seen.at for _, seen in some]), values, now)

    def _rows(self, newest_s: Numbers, values: Numbers, now: datetime) -> list[Rows]:
        """A page in which nothing is newer is left out."""
        made = []
        for page in self._pages.values():
            at_s = newest_s[page.own]
            if np.array_equal(at_s, page.at_s):
                continue
            row = np.empty((1, len(page.series)))
            row[0, page.instant], row[0, page.value] = at_s, values[page.sample]
            page.at_s = at_s
            made.append(
                Rows(epoch=page.epoch, series=page.series, at_s=np.array([now.timestamp()]), values=row)
            )
        return made

    def _lay(
        self, some: Sequence[tuple[Objective, Fresh]], order: Sequence[int], starts: Sequence[int]
    ) -> None:
        """Lay the pages out anew; one whose series are the same keeps them."""
        before, self._pages = self._pages, {}
        ends = [*starts, len(order)]
        own: dict[str, list[int]] = defaultdict(list)
        for number, (objective, _) in enumerate(some):
            own[f"{self._prefix}{crc32(objective.key.encode()) % PAGES}"].append(number)
        for epoch, numbers in sorted(own.items()):
            parts = [self._part(*some[number]) for number in numbers]
            series = tuple(one for part in parts for one in part)
            known = before.get(epoch)
            if known is not None and len(known.series) == len(series):
                same = all(one is was for one, was in zip(series, known.series, strict=True))
                series = known.series if same else series
            samples = [n for one in numbers for n in order[ends[one] : ends[one + 1]]]
            self._pages[epoch] = _Page(
                epoch=epoch,
                series=series,
                own=np.array(numbers, dtype=np.intp),
                instant=np.flatnonzero([one.name == QUERY_AT for one in series]),
                value=np.flatnonzero([one.name != QUERY_AT for one in series]),
                sample=np.array(samples, dtype=np.intp),
                at_s=known.at_s if known is not None and series is known.series else np.empty(0),
            )

    def _part(self, objective: Objective, seen: Fresh) -> tuple[Series, ...]:
        """An objective's series: when it was sampled, then every counter by role."""
        labels = tuple(tuple(one) for one in seen.found.values())
        known = self._parts.get(objective.key)
        if known is not None and known[0] == objective and known[1] == labels:
            return known[2]
        made = series_of(
            objective, ((role, one) for role, newest_of in seen.found.items() for one in newest_of)
        )
        self._parts[objective.key] = (objective, labels, made)
        return made


def series_of(objective: Objective, found: Iterable[tuple[str, Labels]]) -> tuple[Series, ...]:
    """What a reading of it is made of: when it was sampled, then each counter ``(role, labels)``."""
    counted = (("definition", definition(objective)), ("objective", objective.key))
    counters = (
        Series(QUERY_TOTAL, _labelled(counted, role, objective.group_of(labels), _text(labels)))
        for role, labels in found
    )
    return (Series(QUERY_AT, counted), *counters)


def _text(labels: Labels) -> str:
    return ",".join(f"{name}={value!r}" for name, value in labels)


def _labelled(counted: Labels, role: str, group: str, series: str) -> Labels:
    grouped = (("group", group),) if group else ()
    return tuple(sorted((*counted, *grouped, ("role", role), ("series", series))))
