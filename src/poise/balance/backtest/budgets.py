"""The budgets of objectives as a Poise that was installed at an instant of the past would have them.

The same counting, groups, composites and exclusions as in the budget room, without a store: what was
declared is at hand, and nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from msgspec import Struct

from poise.balance.budget.controller import EXPANDED_S, excluded_time, finished
from poise.balance.budget.counting import OVERLAP_S, Counting, counted, redeclared
from poise.balance.budget.decide import Seen, budget_of
from poise.balance.budget.grouping import members
from poise.balance.budget.measure import Measures, measure
from poise.balance.indicator.shaping import Shaping
from poise.model.balance import Budget
from poise.model.counting import definition
from poise.model.exclusion import Exclusion, Stretch
from poise.model.increments import Increments, Numbers
from poise.model.objective import Objective
from poise.model.policy import BudgetPolicy
from poise.model.record import Ref
from poise.model.signal import QUERY_TOTAL, Rows, Series
from poise.ports.totals import Readings

KNOWN_MAX: Final = 1000  # sets of series whose groups are remembered


class Summing(Shaping):
    """It also remembers all that was counted by place: good and bad events, as they came."""

    def __init__(self) -> None:
        super().__init__()
        self.sums = np.zeros((2, 0))

    def shaped(self, objectives: dict[int, Objective], counted: Increments, now_s: float) -> Increments:
        """As ``Shaping``."""
        if len(counted):
            width = max(self.sums.shape[1], int(counted.place.max()) + 1)
            self.sums = np.pad(self.sums, ((0, 0), (0, width - self.sums.shape[1])))
            np.add.at(self.sums[0], counted.place, counted.good)
            np.add.at(self.sums[1], counted.place, counted.bad)
        return super().shaped(objectives, counted, now_s)


class Measured(Struct, frozen=True, eq=False, kw_only=True):
    """Every budget at an instant; ``plain`` without exclusions, None where nothing is excluded."""

    measures: Measures
    plain: Measures | None
    excluded: Mapping[int, tuple[Stretch, ...]]


class Budgets:
    """Objectives that are counted from ``since`` on. Follow readings in the order of time."""

    def __init__(
        self,
        counting: Counting,
        objectives: Sequence[Objective],
        policy: BudgetPolicy,
        exclusions: Sequence[Exclusion],
        since: datetime,
    ) -> None:
        self.counting, self.since = counting, since
        self._objectives, self._policy, self._exclusions = tuple(objectives), policy, tuple(exclusions)
        self._wholes = {one.key: one for one in objectives if one.group_by}
        self._groups: dict[str, set[str]] = {key: set() for key in self._wholes}
        self._told: dict[int, tuple[tuple[Series, ...], set[tuple[str, str]]]] = {}
        self._expanded: tuple[int, int, dict[int, tuple[Stretch, ...]]] | None = None

    @classmethod
    async def begun(
        cls,
        past: Readings,
        objectives: Sequence[Objective],
        policy: BudgetPolicy,
        exclusions: Sequence[Exclusion],
        since: datetime,
    ) -> Budgets:
        """With every objective declared at ``since``."""
        declared = {one.key: (one, policy) for one in objectives}
        counting = await counted(past, declared, {}, since, Summing)
        return cls(counting, objectives, policy, exclusions, since)

    async def follow(self, past: Readings, now: datetime) -> Increments:
        """Count what was read since the last time; a group that is new is counted from its first value on."""
        start = self.counting.until - timedelta(seconds=OVERLAP_S)
        rows = await past.readings(start, now, include_before=False)
        if self._finds_groups(rows):
            declared = {one.key: (one, self._policy) for one in self._objectives}
            for key, whole in self._wholes.items():
                found = sorted(self._groups[key])[: whole.groups_max]
                declared |= {one.key: (one, self._policy) for one in members(whole, found)}
            made = redeclared(self.counting, declared, {}, self.since)
            assert made is not None, "the horizon is that of what was declared first"
            self.counting = made
        return self.counting.take(rows, now)

    def measured(self, now: datetime) -> Measured:
        """Every budget, by column of the sheet: what was declared first, then groups."""
        counting = self.counting
        sheet, since_s, measured_s = counting.sheet, counting.since_s(), counting.measured_s(now)
        plain = finished(sheet, measure(sheet, counting.book, since_s, measured_s, now))
        out = self.excluded(now)
        if not out:
            return Measured(measures=plain, plain=None, excluded={})
        measures = finished(sheet, measure(sheet, counting.book, since_s, measured_s, now, out))
        return Measured(measures=measures, plain=plain, excluded=out)

    def budgets(
        self,
        now: datetime,
        *,
        interpolated_of: Callable[[str], bool] = lambda _: False,
        problem_of: Callable[[str], str] = lambda _: "",
    ) -> list[Budget]:
        """The budget of each objective that was declared, by the code that writes them live."""
        counting, found = self.counting, self.measured(now)
        return [
            budget_of(
                Seen(
                    sheet=counting.sheet, measures=found.measures, sums=counting.book, column=column,
                    before=None, ref=Ref("Budget", one.key, 0),
                    interpolated=counting.counter.columns[one.key].interpolated or interpolated_of(one.key),
                    problem=problem_of(one.key), excluded=found.excluded.get(column, ()),
                    unadjusted=found.plain if column in found.excluded else None,
                )
            )
            for column, one in enumerate(self._objectives)
        ]  # fmt: skip

    def excess(self, key: str) -> float:
        """How many events there were more of a part than of its whole, which cannot be; 0 where it can.

        One event is none: two counters are never read at the same instant.
        """
        shaper, sheet = self.counting.shaper, self.counting.sheet
        assert isinstance(shaper, Summing)
        places = [int(sheet.places[one]) for one in self.columns_of(self.counting.columns[key])]
        known = [float(shaper.sums[:, one].min()) for one in places if one < shaper.sums.shape[1]]
        most = -min(known, default=0.0)
        return most if most > 1.0 else 0.0

    def columns_of(self, column: int) -> list[int]:
        """The columns that an objective's events are counted in: its own, or those of its groups."""
        return [*self.counting.sheet.members.get(column, ())] or [column]

    def allowed_ratio(self) -> Numbers:
        """By column: the share that may fail."""
        return np.array([1.0 - one.target_ratio for one in self.counting.sheet.objectives])

    def excluded(self, now: datetime) -> dict[int, tuple[Stretch, ...]]:
        """By column, time that does not count. What lies ahead may be in it."""
        if not self._exclusions:
            return {}
        passed = math.floor((now - self.since).total_seconds() / EXPANDED_S)
        width = len(self.counting.sheet.objectives)
        if self._expanded is None or self._expanded[:2] != (passed, width):
            at = self.since + timedelta(seconds=passed * EXPANDED_S)
            start = at - timedelta(seconds=self.counting.book.horizon_s)
            end = at + timedelta(seconds=EXPANDED_S)
            made = excluded_time(self.counting.sheet.objectives, self._exclusions, start, end)
            self._expanded = (passed, width, made)
        return self._expanded[2]

    def _finds_groups(self, many: Sequence[Rows]) -> bool:
        """Whether readings tell of groups that were not known."""
        before = sum(map(len, self._groups.values()))
        for rows in many if self._wholes else ():
            for key, group in self._groups_of(rows.series):
                self._groups[key].add(group)
        return sum(map(len, self._groups.values())) > before

    def _groups_of(self, series: tuple[Series, ...]) -> set[tuple[str, str]]:
        """(objective, group) of what a reading is made of; equal sets of series are the same object."""
        known = self._told.get(id(series))
        if known is None or known[0] is not series:
            told = [dict(one.labels) for one in series if one.name == QUERY_TOTAL]
            wanted = {key: definition(one) for key, one in self._wholes.items()}
            found = {
                (one["objective"], one["group"])
                for one in told
                if "group" in one and wanted.get(one["objective"]) == one.get("definition")
            }
            while len(self._told) >= KNOWN_MAX:
                del self._told[next(iter(self._told))]
            known = self._told[id(series)] = (series, found)
        return known[1]
