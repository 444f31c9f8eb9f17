"""What is counted at present: the book, the counter that feeds it, and the sheet of what was declared.

Nothing here is lost with the process: it is built again from the totals, and then it is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import anyio.lowlevel
import anyio.to_thread
import numpy as np
from msgspec import Struct

from poise.balance.budget.book import Book
from poise.balance.budget.measure import Sheet, horizon_s, sheet
from poise.balance.indicator.counters import Counter
from poise.model.balance import Budget
from poise.model.counting import definition
from poise.model.increments import Increments, Numbers, Shaper
from poise.model.objective import Objective, WhenDelayed
from poise.model.policy import DAY_S, BudgetPolicy
from poise.model.signal import Rows
from poise.model.slices import Contradiction
from poise.ports.totals import Readings

COMPOSITES_DEEP: Final = 10
OVERLAP_S: Final = 10.0  # a source may be a little late to append what it read
INLINE_MAX: Final = 128  # objectives that are counted in the event loop: what it costs is not felt
REPLAYED_S: Final = 3600.0  # of readings at once,
REPLAYED_OLD_S: Final = 43_200.0  # and where they are thinned, before the last day

T = TypeVar("T")
Declared = Mapping[str, tuple[Objective, BudgetPolicy]]  # by objective


class Plain:
    """Counted events are the units of the budget."""

    def shaped(self, objectives: dict[int, Objective], counted: Increments, now_s: float) -> Increments:
        """Nothing changes."""
        return counted

    def contradictions(self) -> Mapping[int, Contradiction]:
        """There are no slices that could contradict themselves."""
        return {}

    def kept(self) -> bytes:
        """There is nothing."""
        return b""

    def resume(self, kept: bytes) -> None:
        """There is nothing."""


class Counting(Struct, kw_only=True):
    """One installation's objectives as they are counted. ``until`` is how far readings were taken."""

    book: Book
    counter: Counter
    shaper: Shaper
    sheet: Sheet
    columns: dict[str, int] = {}  # of the sheet, by objective
    until: datetime

    def take(self, rows: Sequence[Rows], now: datetime) -> Increments:
        """Count readings, ascending per epoch; what they added."""
        objectives = {column.place: column.objective for column in self.counter.columns.values()}
        counted = self.counter.take(rows)
        made = self._since(self.shaper.shaped(objectives, counted, now.timestamp()))
        self.book.add(made)
        newest = max((float(one.at_s[-1]) for one in rows), default=self.until.timestamp())
        self.until = max(self.until, datetime.fromtimestamp(newest, UTC))
        return made

    def _since(self, made: Increments) -> Increments:
        """Without what composites are said to have been before they were declared."""
        if not self.sheet.composites or not len(made):
            return made
        since_s = np.full(self.book.width, -np.inf)
        for number in self.sheet.composites:
            column = self.counter.columns[self.sheet.objectives[number].key]
            since_s[column.place] = column.since_s
        return made.only(made.at_s > since_s[made.place])

    async def follow(self, totals: Readings, now: datetime) -> Increments:
        """Take what was read since the last time: one read for all objectives."""
        start = self.until - timedelta(seconds=OVERLAP_S)
        return self.take(await totals.readings(start, now, include_before=False), now)

    def since_s(self) -> Numbers:
        """By column: when measuring began."""
        columns = self.counter.columns
        return np.array([columns[one.key].since_s for one in self.sheet.objectives])

    def measured_s(self, now: datetime) -> Numbers:
        """By column: the newest known instant up to ``now``; NaN where nothing was measured."""
        newest = [self.counter.columns[one.key].measured_s for one in self.sheet.objectives]
        for column in self.sheet.composites:
            newest[column] = self._measured_s(self.sheet.objectives[column].key, COMPOSITES_DEEP)
        measured: Numbers = np.array([np.nan if one is None else one for one in newest])
        return np.minimum(measured, now.timestamp())

    def _measured_s(self, key: str, deep: int) -> float | None:
        """A composite is known as far as all of its components are, or, where it does without some, any."""
        column = self.counter.columns.get(key)
        composite = column.objective.composite if column is not None else None
        if column is None or composite is None or not deep:
            return None if column is None else column.measured_s
        newest = [self._measured_s(one.objective, deep - 1) for one in composite.components]
        known = [one for one in newest if one is not None]
        if composite.when_delayed is WhenDelayed.UNKNOWN:
            return min(known) if len(known) == len(newest) else None
        return max(known, default=None)


async def counted(
    totals: Readings,
    declared: Declared,
    budgets: Mapping[str, Budget],
    now: datetime,
    shaper: Callable[[], Shaper] = Plain,
) -> Counting:
    """Everything that is declared, counted from the totals as far back as they are needed.

    A budget that was written tells when measuring began.
    """
    horizon = max((horizon_s(*one) for one in declared.values()), default=0.0)
    known = {key: before.since for key, before in budgets.items() if key in declared}
    start = max(now - timedelta(seconds=horizon), min(known.values(), default=now))
    made = Counting(
        book=Book(horizon, width=max(16, len(declared))),
        counter=Counter(await totals.epochs(), start.timestamp()),
        shaper=shaper(),
        sheet=sheet((), (), ()),
        until=start,
    )
    for objective, _ in declared.values():
        _follow(made, objective, budgets.get(objective.whole), now)
    _declare(made, declared)
    await replayed(made, totals, start, now, include_before=True)
    return made


async def replayed(
    made: Counting, totals: Readings, start: datetime, now: datetime, *, include_before: bool = False
) -> None:
    """Take everything that was read in (start, now], piece by piece."""
    begin, first = start, include_before
    while begin < now or first:
        is_old = (now - begin).total_seconds() > 1.5 * DAY_S
        end = min(now, begin + timedelta(seconds=REPLAYED_OLD_S if is_old else REPLAYED_S))
        rows = await totals.readings(begin, end, include_before=first)
        await aside(made.book.width, partial(made.take, rows, end))
        begin, first = end, False


async def aside(width: int, work: Callable[[], T]) -> T:
    """Do something with a book of so many places: of many in a thread, so that all else goes on."""
    if width > INLINE_MAX:
        return await anyio.to_thread.run_sync(work)
    await anyio.lowlevel.checkpoint()
    return work()


def redeclared(
    made: Counting, declared: Declared, budgets: Mapping[str, Budget], now: datetime
) -> Counting | None:
    """The same counting for what is declared now; None when it must be counted again from the totals."""
    columns = made.counter.columns
    known = {key: column.definition for key, column in columns.items()}
    for key, (objective, policy) in declared.items():
        changed = key in known and known[key] != definition(objective)
        if (changed and not objective.is_queried) or horizon_s(objective, policy) > made.book.horizon_s:
            return None
        if key not in known and objective.whole in budgets:
            return None  # it was counted before, by another process, or as a group that was not told of yet
    for key in [key for key in known if key not in declared or known[key] != definition(declared[key][0])]:
        made.counter.drop(key)
        made.book.forget(key)
    for key, (objective, _) in declared.items():
        if key in made.counter.columns:
            made.counter.columns[key].objective = objective
        else:
            _follow(made, objective, None, now)
    _declare(made, declared)
    return made


def _follow(made: Counting, objective: Objective, before: Budget | None, now: datetime) -> None:
    """Count one more objective."""
    since, has_begun = now, False
    if before is not None and (not objective.is_queried or before.definition == definition(objective)):
        since = before.since
        has_begun = (
            before.measured_at is not None and not objective.group
        )  # a group begins when it is told of
    place = made.book.place(objective.key)
    made.counter.follow(objective, place, since.timestamp(), has_begun=has_begun)


def _declare(made: Counting, declared: Declared) -> None:
    made.sheet = sheet(
        [objective for objective, _ in declared.values()],
        [policy for _, policy in declared.values()],
        [made.book.place(key) for key in declared],
    )
    made.columns = {key: column for column, key in enumerate(declared)}
