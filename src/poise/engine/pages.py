"""The readings that a source's objectives are kept in: few rows, whose series stay the same objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from zlib import crc32

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from poise.model.counting import definition
from poise.model.objective import Objective
from poise.model.samples import Labels
from poise.model.signal import QUERY_AT, QUERY_TOTAL, Rows, Series

PAGES: Final = 16  # rows of a source, so that a new series concerns few of its objectives
APART_S: Final = 0.001  # between the instants of rows that are kept together
Numbers = NDArray[np.float64]
Places = NDArray[np.intp]


class Looked(Struct, frozen=True, kw_only=True):
    """What one look found: rows to keep, and by objective looked at what is wrong with it; empty: nothing."""

    rows: Sequence[Rows]
    problems: Mapping[str, str]


class _Page(Struct, eq=False, kw_only=True):
    """One row's series, and where its numbers come from."""

    epoch: str
    series: tuple[Series, ...]
    own: Places  # of the objectives: places among those laid out
    instant: Places  # where each one's instant stands in the row,
    value: Places  # and each value,
    pick: Places  # which is this one of all
    last: Numbers  # what was kept of it


class Pages:
    """What one source's objectives were last read as."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._pages: dict[str, _Page] = {}

    def lay(self, parts: Sequence[tuple[Objective, tuple[Series, ...]]]) -> None:
        """Lay the pages out anew: objectives, each with its instant and then its values.

        A page whose series are the same keeps them.
        """
        before, self._pages = self._pages, {}
        starts = np.cumsum([0, *(len(series) - 1 for _, series in parts)])
        own: dict[str, list[int]] = defaultdict(list)
        for number, (objective, _) in enumerate(parts):
            own[f"{self._prefix}{crc32(objective.key.encode()) % PAGES}"].append(number)
        for epoch, numbers in sorted(own.items()):
            series = tuple(one for number in numbers for one in parts[number][1])
            known = before.get(epoch)
            same = known is not None and known.series == series
            is_instant = np.array([one.name == QUERY_AT for one in series], dtype=bool)
            self._pages[epoch] = _Page(
                epoch=epoch,
                series=known.series if known is not None and same else series,
                own=np.array(numbers, dtype=np.intp),
                instant=np.flatnonzero(is_instant),
                value=np.flatnonzero(~is_instant),
                pick=np.concatenate([np.arange(starts[one], starts[one + 1]) for one in numbers]),
                last=known.last if known is not None and same else np.full(len(series), np.nan),
            )

    def rows(self, at_s: Numbers, values: Numbers, first: int = 0) -> list[Rows]:
        """Rows of ``at_s[T, objectives]`` and ``values[T, values]``, those alone in which anything is new.

        They are dated by number, beginning with ``first``; see ``dated``.
        """
        made = []
        for page in self._pages.values():
            table = np.empty((len(at_s), len(page.series)))
            table[:, page.instant], table[:, page.value] = at_s[:, page.own], values[:, page.pick]
            before = np.concatenate([page.last[None], table[:-1]])
            is_new = np.flatnonzero((table != before).any(axis=1))
            page.last = table[-1]
            if len(is_new):
                made.append(
                    Rows(
                        epoch=page.epoch,
                        series=page.series,
                        at_s=(first + is_new).astype(np.float64),
                        values=table[is_new],
                    )
                )
        return made


def dated(rows: Iterable[Rows], count: int, now: datetime) -> list[Rows]:
    """Numbered rows, ``count`` in all, as readings of which the last is of ``now``."""
    end_s = now.timestamp()
    return [replace(one, at_s=end_s - (count - 1 - one.at_s) * APART_S) for one in rows]


def series_of(objective: Objective, found: Iterable[tuple[str, Labels]]) -> tuple[Series, ...]:
    """What a reading of it is made of: when it was sampled, then each counter ``(role, labels)``."""
    return named(objective, ((role, objective.group_of(labels), text_of(labels)) for role, labels in found))


def named(objective: Objective, found: Iterable[tuple[str, str, str]]) -> tuple[Series, ...]:
    """The same by ``(role, group, series)``."""
    counted = (("definition", definition(objective)), ("objective", objective.key))
    counters = (Series(QUERY_TOTAL, _labelled(counted, *one)) for one in found)
    return (Series(QUERY_AT, counted), *counters)


def text_of(labels: Labels) -> str:
    """A series as one label's value."""
    return ",".join(f"{name}={value!r}" for name, value in labels)


def _labelled(counted: Labels, role: str, group: str, series: str) -> Labels:
    grouped = (("group", group),) if group else ()
    return tuple(sorted((*counted, *grouped, ("role", role), ("series", series))))


def too_many_groups(objective: Objective) -> str:
    """In a plain sentence."""
    return f"it has more than {objective.groups_max} groups: raise 'groupsMax', or group by less"
