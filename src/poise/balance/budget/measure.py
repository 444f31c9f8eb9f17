"""Every budget at once: sums over each window become rates, coverage and what is left. Pure arrays.

Always numbers, never NaN. An objective is a column; a burn window is a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from poise.model.exclusion import Stretch, effective
from poise.model.increments import Numbers, Places, Summed, Sums
from poise.model.objective import Objective
from poise.model.period import period
from poise.model.policy import BURN_WINDOWS_S, Alerting, BudgetPolicy, OnUnknown
from poise.model.standing import FUTURE_TOLERANCE_S, MIN_FAILURES, edges

RATE_WINDOW_S: Final = 3600.0
LOOKED_BACK_S: Final = 93 * 86_400.0
SKEW_S: Final = 60.0  # two counters may be read this long apart: so much of their traffic contradicts nothing
OWN_BITS: Final = 48  # of a signature, above which the tiers of an objective's own stand
Flags = NDArray[np.bool_]


class Sheet(Struct, frozen=True, eq=False, kw_only=True):
    """What was declared, as columns. Made anew only when something is declared otherwise."""

    objectives: tuple[Objective, ...]
    policies: tuple[BudgetPolicy, ...]
    places: Places
    windows_s: tuple[float, ...]  # every burn window of every policy, ascending
    target_ratio: Numbers
    window_s: Numbers
    stale_after_s: Numbers
    bootstrap_s: Numbers
    bootstrap_events: Numbers
    charged: Flags  # whether unknown time counts as bad
    slice_s: Numbers  # of time-slices; 0 where events are counted
    composites: tuple[int, ...]  # columns
    members: dict[int, tuple[int, ...]]  # columns of groups, by that of their objective


class Windowed(Struct, frozen=True, eq=False, kw_only=True):
    """Windows (rows) by column. ``assumed`` bad events are those that unknown time is charged with."""

    good: Numbers
    bad: Numbers
    assumed: Numbers
    coverage_ratio: Numbers

    @property
    def failed(self) -> Numbers:
        """Bad events, those assumed included."""
        made: Numbers = self.bad + self.assumed
        return made

    @property
    def events(self) -> Numbers:
        """All that count."""
        made: Numbers = self.good + self.bad + self.assumed
        return made

    def columns(self, at: int) -> Windowed:
        """Every window of one objective."""
        return Windowed(
            good=self.good[:, at],
            bad=self.bad[:, at],
            assumed=self.assumed[:, at],
            coverage_ratio=self.coverage_ratio[:, at],
        )

    def rows(self, rows: int | slice) -> Windowed:
        """Some of the windows, or one."""
        return Windowed(
            good=self.good[rows],
            bad=self.bad[rows],
            assumed=self.assumed[rows],
            coverage_ratio=self.coverage_ratio[rows],
        )


class Sizes(Struct, frozen=True, eq=False, kw_only=True):
    """How large each budget is, by column: the one way in which budgets are sized.

    ``allowed`` are the bad events that the period may have. In bootstrap they are those of a whole window at
    the rate of events so far. ``bad`` are those that were counted.
    """

    allowed: Numbers
    bad: Numbers
    bootstrap: Flags


class Measures(Struct, frozen=True, eq=False, kw_only=True):
    """Every budget now, by column; ``burns`` by window. ``measured_s`` is NaN where nothing was measured."""

    now: datetime
    period: Windowed  # one row
    burns: Windowed
    burn_rate: Numbers  # how many times faster than allowed; NaN nowhere
    burn_known: Flags
    allowed: Numbers
    left_ratio: Numbers
    bootstrap: Flags
    rate_per_s: Numbers
    since_s: Numbers
    measured_s: Numbers
    excluded_s: Numbers  # of the period
    excess: Numbers  # events, as ``Sums`` has them; 0 where there are no more than reading apart explains


_NONE: Final[Mapping[int, Sequence[Stretch]]] = MappingProxyType({})


def sheet(objectives: Sequence[Objective], policies: Sequence[BudgetPolicy], places: Sequence[int]) -> Sheet:
    """Columns of declared objectives, each with its project's policy and its place in the book."""
    distinct = {id(policy): policy for policy in policies}.values()
    windows = {*BURN_WINDOWS_S, *(window for policy in distinct for window in burn_windows(policy))}
    windows |= {window for one in objectives if one.alerts for window in one.alerts.windows_s}
    return Sheet(
        objectives=tuple(objectives),
        policies=tuple(policies),
        places=np.array(places, dtype=np.intp),
        windows_s=tuple(sorted(windows)),
        target_ratio=np.array([one.target_ratio for one in objectives]),
        window_s=np.array([one.window_s for one in objectives]),
        stale_after_s=np.array([one.stale_after_s for one in policies]),
        bootstrap_s=np.array([one.bootstrap_s for one in policies]),
        bootstrap_events=np.array([float(one.bootstrap_events) for one in policies]),
        charged=np.array([one.on_unknown is OnUnknown.BAD for one in policies], dtype=bool),
        slice_s=np.array([one.slicing.slice_s if one.slicing else 0.0 for one in objectives]),
        composites=tuple(n for n, one in enumerate(objectives) if one.composite is not None),
        members=_members(objectives),
    )


def copied(measures: Measures) -> Measures:
    """The same numbers, to be changed."""
    changed: dict[str, Numbers | Windowed] = {}
    for name in measures.__struct_fields__:
        value = getattr(measures, name)
        if isinstance(value, np.ndarray):
            changed[name] = value.copy()
        elif isinstance(value, Windowed):
            own = {field: getattr(value, field).copy() for field in value.__struct_fields__}
            changed[name] = Windowed(**own)
    return structs.replace(measures, **changed)


def take_column(measures: Measures, column: int, source: int) -> None:
    """Give one column the numbers of another, in place."""
    arrays = [getattr(measures, name) for name in measures.__struct_fields__]
    for windows in (measures.period, measures.burns):
        arrays += [getattr(windows, name) for name in windows.__struct_fields__]
    for array in arrays:
        if isinstance(array, np.ndarray):
            array[..., column] = array[..., source]


def _members(objectives: Sequence[Objective]) -> dict[int, tuple[int, ...]]:
    wholes = {one.key: column for column, one in enumerate(objectives) if one.group_by and not one.group}
    found: dict[int, tuple[int, ...]] = {}
    for column, one in enumerate(objectives):
        if one.group and one.whole in wholes:
            found[wholes[one.whole]] = (*found.get(wholes[one.whole], ()), column)
    return found


def burn_windows(policy: BudgetPolicy, alerts: Alerting | None = None) -> tuple[float, ...]:
    """The windows (seconds, ascending) that burn is measured over: the workbook's, the policy's, its own."""
    own = alerts.windows_s if alerts else ()
    return tuple(sorted({*policy.burn_windows_s, *BURN_WINDOWS_S, *own}))


def horizon_s(objective: Objective, policy: BudgetPolicy) -> float:
    """How far back any of the sums looks: of a calendar up to a quarter, to the period before as well."""
    windows = (
        one.window_s * (2 if one.calendar is not None and one.window_s <= LOOKED_BACK_S else 1)
        for one in objective.windows
    )
    return max(*windows, *burn_windows(policy, objective.alerts))


def starts_s(sheet: Sheet, now: datetime) -> Numbers:
    """By column: when the period of the budget began, rolling or of the calendar."""
    starts: Numbers = now.timestamp() - sheet.window_s
    for column, objective in enumerate(sheet.objectives):
        if objective.calendar is not None:
            starts[column] = period(objective.window, now).start.timestamp()
    return starts


def measure(
    sheet: Sheet,
    sums: Summed,
    since_s: Numbers,
    measured_s: Numbers,
    now: datetime,
    excluded: Mapping[int, Sequence[Stretch]] = _NONE,
) -> Measures:
    """All budgets at ``now``: measured since ``since_s``, known until ``measured_s``.

    ``excluded`` is, by column, time that does not count; no more of each window than the objective allows.
    """
    now_s = now.timestamp()
    seen = _Seen(
        sheet=sheet, sums=sums, since_s=since_s, measured_s=measured_s, now_s=now_s, excluded=excluded
    )
    windows, elapsed_s, excluded_s, excess = _windows(seen, now, sheet.windows_s)
    period, burns = windows.rows(0), windows.rows(slice(1, None))
    rate, known = burn_rate(burns, sheet.target_ratio)
    sized = _sizes(seen, period)
    return Measures(
        now=now,
        period=period,
        burns=burns,
        burn_rate=rate,
        burn_known=known,
        allowed=sized.allowed,
        left_ratio=left_ratio(period.failed, sized.allowed),
        bootstrap=sized.bootstrap,
        rate_per_s=_rate(sheet, burns, elapsed_s[1:]),
        since_s=since_s,
        measured_s=measured_s,
        excluded_s=excluded_s,
        excess=_excess(sheet, excess, windows.good + windows.bad, elapsed_s),
    )


def sizes(sheet: Sheet, sums: Summed, since_s: Numbers, measured_s: Numbers, now: datetime) -> Sizes:
    """Every budget's size alone, as ``measure`` finds it: for who looks every minute of a long past."""
    seen = _Seen(
        sheet=sheet, sums=sums, since_s=since_s, measured_s=measured_s, now_s=now.timestamp(), excluded=_NONE
    )
    windows, *_ = _windows(seen, now, ())
    return _sizes(seen, windows.rows(0))


def _sizes(seen: _Seen, period: Windowed) -> Sizes:
    sheet = seen.sheet
    age_s = np.maximum(0.0, seen.now_s - seen.since_s)
    counted = period.good + period.bad
    bootstrap = (age_s < sheet.bootstrap_s) | (counted < sheet.bootstrap_events)
    expected = period.events
    young = bootstrap & (age_s > 0)
    lived_s = np.where(young, np.minimum(age_s, sheet.window_s), sheet.window_s)
    expected = np.maximum(expected, expected * sheet.window_s / lived_s)
    return Sizes(allowed=(1.0 - sheet.target_ratio) * expected, bad=period.bad, bootstrap=bootstrap)


def left_ratio(bad: Numbers, allowed: Numbers) -> Numbers:
    """1 - bad / allowed; 1 where nothing happened; at most 0 where nothing is allowed but was spent."""
    spent = np.where(allowed > 0, 1.0 - bad / np.where(allowed > 0, allowed, 1.0), np.minimum(0.0, 1.0 - bad))
    left: Numbers = np.where(bad <= 0, 1.0, spent)
    return left


def burn_rate(window: Windowed, target_ratio: Numbers) -> tuple[Numbers, Flags]:
    """How many times faster than allowed, and where that is known at all."""
    events = window.events
    some = events > 0
    rate = np.where(some, window.failed / np.where(some, events, 1.0), 0.0)
    return rate / np.maximum(1e-9, 1.0 - target_ratio), (window.coverage_ratio > 0) | some


def signature(sheet: Sheet, measures: Measures) -> NDArray[np.int64]:
    """A number per column that differs wherever a budget's standing under its policy may differ."""
    now_s = measures.now.timestamp()
    age_s = now_s - np.nan_to_num(measures.measured_s, nan=-np.inf)
    bits = [age_s <= sheet.stale_after_s, age_s >= -FUTURE_TOLERANCE_S, measures.bootstrap]
    bits.append(measures.period.events > 0)
    failed = measures.burns.failed
    row = {window_s: number for number, window_s in enumerate(sheet.windows_s)}
    found = _own_tiers(sheet, measures, row)
    for policy, mine in _by_policy(sheet):
        own = [bit[mine] for bit in bits]
        own.append(measures.period.coverage_ratio[mine] < policy.coverage_min_ratio)
        own.append(measures.excess[mine] > 0)
        for edge in edges(policy):
            own += [measures.left_ratio[mine] < edge, measures.left_ratio[mine] <= edge]
        for tier in policy.fast_burn:
            long, short = row[tier.long_s], row[tier.short_s]
            enough = (failed[long] >= MIN_FAILURES) & measures.burn_known[long] & measures.burn_known[short]
            both = (measures.burn_rate[long] > tier.factor) & (measures.burn_rate[short] > tier.factor)
            own.append((enough & both)[mine])
        for number, bit in enumerate(own):
            found[mine] += bit.astype(np.int64) << number
    return found


def _own_tiers(sheet: Sheet, measures: Measures, row: Mapping[float, int]) -> NDArray[np.int64]:
    """By column: which of the objective's own tiers have both windows over, as the highest bits."""
    found = np.zeros(len(sheet.objectives), dtype=np.int64)
    for column, objective in enumerate(sheet.objectives):
        for number, tier in enumerate(objective.alerts.tiers if objective.alerts else ()):
            rates = measures.burn_rate[[row[tier.long_s], row[tier.short_s]], column]
            failed = measures.burns.failed[row[tier.long_s], column]
            least = (objective.alerts and objective.alerts.failures_min) or MIN_FAILURES
            found[column] += int((rates > tier.factor).all() and failed >= least) << (OWN_BITS + number)
    return found


class _Seen(Struct, frozen=True, eq=False):
    """What every window of one round is measured from."""

    sheet: Sheet
    sums: Summed
    since_s: Numbers
    measured_s: Numbers
    now_s: float
    excluded: Mapping[int, Sequence[Stretch]]


def _windows(
    seen: _Seen, now: datetime, windows_s: Sequence[float]
) -> tuple[Windowed, Numbers, Numbers, Numbers]:
    """The period and burn windows (rows), how long each has lasted, what is excluded of the period, and by
    how many events each contradicts itself.

    What follows a fresh last reading is pending, not unknown, and so is a slice that has not ended. Where
    unknown time is charged, it held bad events at the mean rate of the period.
    """
    good, bad, known_s, excess, start_s = _sums(seen, now, windows_s)
    start_s = np.maximum(start_s, seen.since_s)
    excluded_s = _exclude(seen, start_s, good, bad, known_s, excess)
    measured = ~np.isnan(seen.measured_s)
    last_s = np.where(measured, seen.measured_s, -np.inf)
    fresh = seen.now_s - last_s <= seen.sheet.stale_after_s
    end_s = np.where(fresh, np.minimum(seen.now_s, last_s), seen.now_s)
    slice_s = np.where(seen.sheet.slice_s > 0, seen.sheet.slice_s, 1.0)
    judged_s = np.floor(np.where(np.isfinite(end_s), end_s, 0.0) / slice_s) * slice_s
    end_s = np.where(seen.sheet.slice_s > 0, judged_s, end_s)
    length_s = np.where(measured, np.maximum(end_s - start_s - excluded_s, 0.0), 0.0)
    known_s = np.minimum(known_s, length_s)
    lasted = length_s > 0
    ratio = np.where(lasted, known_s / np.where(lasted, length_s, 1.0), fresh.astype(float))
    assumed = np.zeros_like(good)
    if seen.sheet.charged.any():
        rate = (good[0] + bad[0]) / np.maximum(known_s[0], 1.0)
        assumed = np.where(seen.sheet.charged, (length_s - known_s) * rate, 0.0)
    coverage = np.where(measured, ratio, 0.0)
    elapsed_s = np.maximum(seen.now_s - start_s, 0.0)
    windows = Windowed(good=good, bad=bad, assumed=assumed, coverage_ratio=coverage)
    return windows, elapsed_s, excluded_s[0], excess


def _sums(seen: _Seen, now: datetime, windows_s: Sequence[float]) -> tuple[Numbers, ...]:
    """Good, bad, known seconds, excess and starts ``[1 + burn windows, columns]``; the period comes first."""
    places = seen.sheet.places
    starts = starts_s(seen.sheet, now)
    asked_s = np.full(seen.sums.width, starts[0] if len(starts) else seen.now_s)
    asked_s[places] = starts
    found = [seen.sums.between(asked_s)]
    found += [seen.sums.between(seen.now_s - window_s) for window_s in windows_s]
    return tuple(
        np.array([getattr(one, name)[places] for one in found])
        for name in ("good", "bad", "known_s", "excess", "start_s")
    )


def _exclude(
    seen: _Seen, start_s: Numbers, good: Numbers, bad: Numbers, known_s: Numbers, excess: Numbers
) -> Numbers:
    """Take what lies in excluded time out of the sums, in place; how long it is ``[windows, columns]``.

    The cap is a share of each whole window, so a burn window may be excluded in full only where the window
    that it is part of has room for it.
    """
    excluded_s = np.zeros_like(good)
    found: dict[Stretch, Sums] = {}
    for column, stretches in seen.excluded.items():
        objective, place = seen.sheet.objectives[column], seen.sheet.places[column]
        most_s = objective.excluded_max_ratio * objective.window_s
        counted = effective(stretches, float(start_s[0, column]), seen.now_s, most_s)
        for row in range(len(good)):
            for stretch in effective(counted, float(start_s[row, column]), seen.now_s, math.inf):
                if stretch not in found:
                    end_s = stretch[1] if stretch[1] < seen.now_s else None  # up to all that is known
                    found[stretch] = seen.sums.between(stretch[0], end_s)
                sums = found[stretch]
                good[row, column] = max(0.0, good[row, column] - sums.good[place])
                bad[row, column] = max(0.0, bad[row, column] - sums.bad[place])
                known_s[row, column] = max(0.0, known_s[row, column] - sums.known_s[place])
                excess[row, column] = max(0.0, excess[row, column] - sums.excess[place])
                excluded_s[row, column] += stretch[1] - stretch[0]
    return excluded_s


def _excess(sheet: Sheet, excess: Numbers, events: Numbers, elapsed_s: Numbers) -> Numbers:
    """By column: the most by which the period or a burn window of an hour or more contradicts itself.

    One event, and a minute of the traffic, is what two counters differ by that are not read at once.
    """
    lasting = np.array([True, *(window_s >= RATE_WINDOW_S for window_s in sheet.windows_s)])
    within = 1.0 + events * SKEW_S / np.maximum(elapsed_s, RATE_WINDOW_S)
    found: Numbers = np.where(excess > within, excess, 0.0)[lasting].max(axis=0, initial=0.0)
    return found


def _rate(sheet: Sheet, burns: Windowed, elapsed_s: Numbers) -> Numbers:
    """Events a second, the larger of the last hour's and the last five minutes'."""
    rows = [sheet.windows_s.index(window_s) for window_s in (RATE_WINDOW_S, BURN_WINDOWS_S[0])]
    counted, elapsed = (burns.good + burns.bad)[rows], elapsed_s[rows]
    rates: Numbers = np.where(elapsed > 0, counted / np.where(elapsed > 0, elapsed, 1.0), 0.0)
    highest: Numbers = rates.max(axis=0, initial=0.0)
    return highest


def _by_policy(sheet: Sheet) -> list[tuple[BudgetPolicy, Places]]:
    columns: dict[int, list[int]] = {}
    policies: Mapping[int, BudgetPolicy] = {id(one): one for one in sheet.policies}
    for number, policy in enumerate(sheet.policies):
        columns.setdefault(id(policy), []).append(number)
    return [(policies[one], np.array(mine, dtype=np.intp)) for one, mine in columns.items()]
