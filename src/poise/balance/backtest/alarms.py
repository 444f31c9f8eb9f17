"""The alerts of a replay: the workbook's tiers and the sequential tests, minute by minute, as they fire live.

A grouped objective burns when its worst group does, one of OpenSLO's composites as its parts do times their
weights, and what is excluded burns nothing. Tiers of an objective's own alert instead of the others, once
they burned for as long as they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.balance.backtest.budgets import Budgets
from poise.balance.backtest.report import Alert, AlertPolicy
from poise.balance.budget.measure import sizes
from poise.balance.burn.tiers import TICKETS, burning_now
from poise.balance.burn.watch import BurnWatch
from poise.model.exclusion import effective
from poise.model.increments import Increments, Round
from poise.model.objective import Composite, Objective
from poise.model.policy import Alerting, AlertTier, BudgetPolicy, BurnTier, Urgency
from poise.model.standing import MIN_FAILURES


class _Firing(Struct, kw_only=True):
    """An alert that goes on."""

    policy: AlertPolicy
    test: str
    pages: bool
    fired_at: datetime
    since: datetime
    bad: float = 0.0
    spent_ratio: float = 0.0


class Alarms:
    """What fires of the objectives (columns, as they were declared) of some budgets."""

    def __init__(
        self, budgets: Budgets, objectives: Sequence[Objective], policy: BudgetPolicy, since: datetime
    ) -> None:
        self._budgets, self._objectives, self._policy, self._since = budgets, tuple(objectives), policy, since
        self._watch = BurnWatch()
        self._firing: list[dict[AlertPolicy, _Firing]] = [{} for _ in objectives]
        self._alerts: list[list[Alert]] = [[] for _ in objectives]
        self._own: dict[Alerting, list[int]] = {}  # columns by what they declare
        for column, one in enumerate(objectives):
            if one.alerts is not None:
                self._own.setdefault(one.alerts, []).append(column)
        self._over: dict[tuple[int, AlertTier], datetime] = {}  # since when a tier of its own burns
        self.allowed: dict[str, float] = {}  # of each objective's budget, as far as it is known

    def look(self, now: datetime, increments: Increments) -> None:
        """Run the tiers and the tests."""
        self._page(now, AlertPolicy.PAGE, self._policy.fast_burn)
        self._page(now, AlertPolicy.TICKET, TICKETS)
        self._test(now, increments)

    def of(self, column: int) -> tuple[Alert, ...]:
        """Every alert of an objective by when it fired; one that goes on has no end."""
        for firing in self._firing[column].values():
            self._alerts[column].append(self._alert(column, firing, None))
        self._firing[column] = {}
        return tuple(sorted(self._alerts[column], key=lambda one: one.fired_at))

    # -- tiers --------------------------------------------------------------------------------------

    def _page(self, now: datetime, policy: AlertPolicy, tiers: tuple[BurnTier, ...]) -> None:
        hot = self._hot(tiers, MIN_FAILURES, now)
        found: dict[int, BurnTier] = {
            column: tiers[hot[column]]
            for column in np.flatnonzero(hot >= 0).tolist()
            if self._objectives[column].alerts is None
        }
        found |= self._held(Urgency.PAGE if policy is AlertPolicy.PAGE else Urgency.TICKET, now)
        for column, tier in found.items():
            since = now - timedelta(seconds=tier.long_s)
            self._fire(column, policy, f"{tier.factor:g}x", policy is AlertPolicy.PAGE, since, now)
        self._end(policy, {*range(len(self._objectives))} - found.keys(), now)

    def _held(self, severity: Urgency, now: datetime) -> dict[int, AlertTier]:
        """By column, the fastest of the objective's own tiers that burned for as long as it says."""
        found: dict[int, AlertTier] = {}
        for alerts, columns in self._own.items():
            least = float(alerts.failures_min or MIN_FAILURES)
            mine = (one for one in alerts.tiers if one.severity is severity)
            for tier in sorted(mine, key=lambda one: -one.factor):
                hot = self._hot((tier,), least, now)
                for column in columns:
                    if hot[column] < 0:
                        self._over.pop((column, tier), None)
                        continue
                    began = self._over.setdefault((column, tier), now)
                    if (now - began).total_seconds() >= tier.hold_s:
                        found.setdefault(column, tier)
        return found

    def _hot(self, tiers: tuple[BurnTier, ...], least: float, now: datetime) -> NDArray[np.int64]:
        """By objective that was declared: the place of the tier that burns, -1 without one."""
        counting, allowed = self._budgets.counting, self._budgets.allowed_ratio()
        places = counting.sheet.places
        hot = burning_now(counting.book, places, allowed, tiers, now.timestamp(), least)
        return self._told(hot, tiers, least, now)

    def _told(
        self, hot: NDArray[np.int64], tiers: tuple[BurnTier, ...], least: float, now: datetime
    ) -> NDArray[np.int64]:
        """By objective that was declared: the tier that burns, groups and composites told as a whole."""
        sheet, made = self._budgets.counting.sheet, hot[: len(self._objectives)].copy()
        left: NDArray[np.float64] | None = None
        for column, mine in sheet.members.items():
            made[column] = -1
            if (hot[list(mine)] >= 0).any():
                left = self._budgets.measured(now).measures.left_ratio if left is None else left
                made[column] = hot[min(mine, key=lambda one: float(left[one]))]
        for column in sheet.composites:
            composite = sheet.objectives[column].composite
            if composite is not None and sheet.objectives[column].slicing is None:
                made[column] = self._burning(composite, tiers, least, now)
        excluded = self._budgets.excluded(now)
        for column in np.flatnonzero(made >= 0).tolist():
            if column in excluded:
                made[column] = self._adjusted(column, tiers, least, now)
        return made

    def _burning(self, composite: Composite, tiers: tuple[BurnTier, ...], least: float, now: datetime) -> int:
        """The tier that a composite burns at: the rates of its parts, times their weights."""
        columns = [self._budgets.counting.columns[one.objective] for one in composite.components]
        weights = np.array([one.weight for one in composite.components])
        for number, tier in enumerate(tiers):
            rates, failed = [], []
            for window_s in (tier.long_s, tier.short_s):
                bad, total = self._sums(columns, now.timestamp() - window_s)
                share = np.where(total > 0, bad / np.where(total > 0, total, 1.0), 0.0)
                rates.append(float((weights * share / self._budgets.allowed_ratio()[columns]).sum()))
                failed.append(float(bad.sum()))
            if failed[0] >= least and min(rates) > tier.factor:
                return number
        return -1

    def _adjusted(self, column: int, tiers: tuple[BurnTier, ...], least: float, now: datetime) -> int:
        """The tier that burns without the time that does not count."""
        now_s, objective = now.timestamp(), self._objectives[column]
        most_s = objective.excluded_max_ratio * objective.window_s
        stretches = effective(self._budgets.excluded(now)[column], now_s - objective.window_s, now_s, most_s)
        columns = self._budgets.columns_of(column)
        allowed = float(self._budgets.allowed_ratio()[column])
        for number, tier in enumerate(tiers):
            hot = True
            for window_s in (tier.long_s, tier.short_s):
                bad, total = self._sums(columns, now_s - window_s)
                for start_s, end_s in effective(stretches, now_s - window_s, now_s, np.inf):
                    less = self._sums(columns, start_s, end_s if end_s < now_s else None)
                    bad, total = bad - less[0], total - less[1]
                hot = hot and bool((bad > tier.factor * allowed * total).any())
                hot = hot and (window_s != tier.long_s or float(bad.max()) >= least)
            if hot:
                return number
        return -1

    def _sums(
        self, columns: Sequence[int], start_s: float, end_s: float | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        counting = self._budgets.counting
        found, places = counting.book.between(start_s, end_s), counting.sheet.places[list(columns)]
        return found.bad[places], (found.good + found.bad)[places]

    # -- the sequential tests -----------------------------------------------------------------------

    def _test(self, now: datetime, increments: Increments) -> None:
        counting, sheet = self._budgets.counting, self._budgets.counting.sheet
        sized = sizes(sheet, counting.book, counting.since_s(), counting.measured_s(now), now)
        burns = self._watch.burns(
            Round(
                now=now, objectives=sheet.objectives, policies=sheet.policies, places=sheet.places,
                increments=increments, sums=counting.book, allowed=sized.allowed, bad=sized.bad,
            )
        )  # fmt: skip
        for column, burn in enumerate(burns):
            if burn is not None:
                self._fire(column, AlertPolicy.SEQUENTIAL, burn.test, burn.pages, burn.since, now)
                firing = self._firing[column][AlertPolicy.SEQUENTIAL]
                firing.bad, firing.spent_ratio = burn.bad, burn.spent_ratio
        self._end(AlertPolicy.SEQUENTIAL, {n for n, burn in enumerate(burns) if burn is None}, now)

    # -- telling ------------------------------------------------------------------------------------

    def _fire(
        self, column: int, policy: AlertPolicy, test: str, pages: bool, since: datetime, now: datetime
    ) -> None:
        known = self._firing[column].get(policy)
        if known is None:
            since = max(since, self._since)
            known = self._firing[column][policy] = _Firing(
                policy=policy, test=test, pages=pages, fired_at=now, since=since
            )
        known.test, known.pages = (test, True) if pages and not known.pages else (known.test, known.pages)

    def _end(self, policy: AlertPolicy, columns: set[int], now: datetime | None) -> None:
        for column in columns:
            firing = self._firing[column].pop(policy, None)
            if firing is not None:
                self._alerts[column].append(self._alert(column, firing, now))

    def _alert(self, column: int, firing: _Firing, until: datetime | None) -> Alert:
        if firing.policy is not AlertPolicy.SEQUENTIAL:
            bad = float(self._sums(self._budgets.columns_of(column), firing.since.timestamp())[0].sum())
            allowed = self.allowed.get(self._objectives[column].key, 0.0)
            firing.bad, firing.spent_ratio = bad, bad / allowed if allowed > 0 else 0.0
        return Alert(
            policy=firing.policy, test=firing.test, pages=firing.pages, fired_at=firing.fired_at,
            since=firing.since, until=until, bad=firing.bad, spent_ratio=firing.spent_ratio,
        )  # fmt: skip
