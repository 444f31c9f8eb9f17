"""The replay: a history goes through the counting, the tests and the gate that run live, step by step.

It is as if Poise had been installed with this file when the history begins: budgets are young at first. The
detectors look at every minute, the gate is asked for a feature every ``verdict_step_s``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

import anyio.lowlevel
import numpy as np
from msgspec import Struct, structs

from poise.balance.backtest.decide import TARGETS, Counts, recommend
from poise.balance.backtest.report import Alert, AlertPolicy, Backtest, GatePast, ObjectivePast, Point, Spell
from poise.balance.budget.controller import finished
from poise.balance.budget.counting import Counting, counted
from poise.balance.budget.decide import Seen as BudgetSeen
from poise.balance.budget.decide import budget_of
from poise.balance.budget.measure import Measures, measure, sizes
from poise.balance.burn.tiers import TICKETS, burning_now
from poise.balance.burn.watch import BurnWatch
from poise.balance.gate.decide import judge
from poise.balance.gate.facts import Question
from poise.balance.gate.variables import values_of
from poise.balance.indicator.shaping import Shaping
from poise.balance.policy.decide import Seen as PolicySeen
from poise.balance.policy.decide import decide as level_decided
from poise.model.balance import Budget, Verdict, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.increments import Increments, Round
from poise.model.objective import Objective
from poise.model.policy import BudgetPolicy, BurnTier, Checked, PolicyState
from poise.model.record import Ref
from poise.model.service import Service
from poise.ports.totals import Readings

STEP_S: Final = 60.0
VERDICTS_MAX: Final = 10_000  # of one history; the step between two grows with it
POINTS_MAX: Final = 720  # of one budget's curve, the lowest of each stretch
WEB_PORT: Final = 80  # what is counted is requests, so it is no worker
OBJECTIVES_MAX: Final = 200
DAYS_MAX: Final = 400.0
UNKNOWN_RULES: Final = (
    "not-measured", "stale", "future", "no-number", "contradiction", "partial", "no-budget",
)  # fmt: skip


class Asked(Struct, frozen=True, kw_only=True):
    """What is replayed. ``evaluate`` evaluates a policy's condition; ``places`` are by an objective's key."""

    objectives: tuple[Objective, ...]
    policy: BudgetPolicy
    since: datetime
    until: datetime
    evaluate: Callable[..., Checked]
    places: Mapping[str, str] = {}
    targets: tuple[float, ...] = TARGETS


class _Firing(Struct, kw_only=True):
    """An alert that goes on."""

    policy: AlertPolicy
    test: str
    pages: bool
    fired_at: datetime
    since: datetime
    bad: float = 0.0
    spent_ratio: float = 0.0


async def replayed(
    asked: Asked, past: Readings, told: Callable[[float], None] = lambda share: None
) -> Backtest:
    """Everything that would have been said. ``told`` of the share that is done."""
    replay = await Replay.begun(asked, past)
    steps = math.floor((asked.until - asked.since).total_seconds() / STEP_S)
    every = verdict_steps(steps)
    for n in range(1, steps + 1):
        now = asked.since + timedelta(seconds=n * STEP_S)
        await replay.step(past, now)
        if n % every == 0:
            replay.judge(now)
            told(n / steps)
            await anyio.lowlevel.checkpoint()
    return replay.report(every * STEP_S)


def verdict_steps(steps: int) -> int:
    """How many steps lie between two verdicts: five, and more where there would be too many."""
    return max(1, min(5, steps), math.ceil(steps / VERDICTS_MAX))


class Replay:
    """The state of a replay: the same objects that a running Poise has."""

    def __init__(self, asked: Asked, counting: Counting) -> None:
        self.asked, self.counting = asked, counting
        count = len(asked.objectives)
        self._watch = BurnWatch()
        self._allowed = np.array([1.0 - one.target_ratio for one in asked.objectives])
        minutes = math.ceil((asked.until - asked.since).total_seconds() / STEP_S)
        self._minutes = np.zeros((3, count, minutes))  # good, bad, known seconds
        self._column = {int(place): column for column, place in enumerate(counting.sheet.places)}
        self._firing: list[dict[AlertPolicy, _Firing]] = [{} for _ in range(count)]
        self._alerts: list[list[Alert]] = [[] for _ in range(count)]
        self._points: list[list[Point]] = [[] for _ in range(count)]
        self._states: dict[str, PolicyState] = {}
        self._verdicts: dict[str, list[Verdict]] = {}
        self._budgets: dict[str, Budget] = {}

    @classmethod
    async def begun(cls, asked: Asked, past: Readings) -> Replay:
        """With every objective declared when the history begins."""
        declared = {one.key: (one, asked.policy) for one in asked.objectives}
        return cls(asked, await counted(past, declared, {}, asked.since, Shaping))

    async def step(self, past: Readings, now: datetime) -> None:
        """Count what was read up to ``now``, and run the detectors."""
        increments = await self.counting.follow(past, now)
        self._keep(increments)
        self._page(now, AlertPolicy.PAGE, self.asked.policy.fast_burn)
        self._page(now, AlertPolicy.TICKET, TICKETS)
        self._test(now, increments)

    def budgets(self, now: datetime) -> list[Budget]:
        """Every budget now, by the code that writes them live."""
        counting = self.counting
        return [
            budget_of(
                BudgetSeen(
                    sheet=counting.sheet, measures=measures, sums=counting.book, column=column, before=None,
                    ref=Ref("Budget", one.key, 0),
                    interpolated=counting.counter.columns[one.key].interpolated,
                )
            )
            for measures in (self._measured(now),)
            for column, one in enumerate(counting.sheet.objectives)
        ]  # fmt: skip

    def judge(self, now: datetime) -> None:
        """Ask the gate for a feature of every service."""
        by_service: dict[str, list[Budget]] = {}
        for column, budget in enumerate(self.budgets(now)):
            self._budgets[budget.key] = budget
            by_service.setdefault(budget.service, []).append(budget)
            measured = budget.measured_at is not None
            self._points[column].append(
                Point(
                    at=now, left_ratio=budget.left_ratio if measured else None,
                    coverage_ratio=budget.coverage_ratio,
                )
            )  # fmt: skip
        for service, budgets in by_service.items():
            self._verdicts.setdefault(service, []).append(self._judged(service, budgets, now))

    def report(self, verdict_step_s: float) -> Backtest:
        """What was said, when all is done."""
        return Backtest(
            since=self.asked.since,
            until=self.asked.until,
            step_s=STEP_S,
            verdict_step_s=verdict_step_s,
            objectives=tuple(self._past(column) for column in range(len(self.asked.objectives))),
            gates=tuple(
                _gate(service, self.asked.policy.name, verdicts, verdict_step_s)
                for service, verdicts in self._verdicts.items()
            ),
        )

    # -- counting -----------------------------------------------------------------------------------

    def _measured(self, now: datetime) -> Measures:
        counting = self.counting
        measures = measure(counting.sheet, counting.book, counting.since_s(), counting.measured_s(now), now)
        return finished(counting.sheet, measures)

    def _keep(self, increments: Increments) -> None:
        """Events by the minute in which they were read, and how much of it was measured."""
        begin_s, last = self.asked.since.timestamp(), self._minutes.shape[2] - 1
        for k in range(len(increments)):
            column = self._column[int(increments.place[k])]
            at_s, from_s = float(increments.at_s[k]) - begin_s, float(increments.known_from_s[k]) - begin_s
            minute = min(last, max(0, math.ceil(at_s / STEP_S) - 1))
            self._minutes[0, column, minute] += increments.good[k]
            self._minutes[1, column, minute] += increments.bad[k]
            first = max(0, math.floor(from_s / STEP_S))
            for one in range(first, minute + 1):
                passed = min(at_s, (one + 1) * STEP_S) - max(from_s, one * STEP_S)
                self._minutes[2, column, one] += max(0.0, passed)

    # -- alerts -------------------------------------------------------------------------------------

    def _page(self, now: datetime, policy: AlertPolicy, tiers: tuple[BurnTier, ...]) -> None:
        sums, places = self.counting.book, self.counting.sheet.places
        hot = burning_now(sums, places, self._allowed, tiers, now.timestamp())
        for column in np.flatnonzero(hot >= 0).tolist():
            tier = tiers[hot[column]]
            since = now - timedelta(seconds=tier.long_s)
            self._fire(column, policy, f"{tier.factor:g}x", policy is AlertPolicy.PAGE, since, now)
        self._end(policy, {*np.flatnonzero(hot < 0).tolist()}, now)

    def _test(self, now: datetime, increments: Increments) -> None:
        counting, sheet = self.counting, self.counting.sheet
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

    def _fire(
        self, column: int, policy: AlertPolicy, test: str, pages: bool, since: datetime, now: datetime
    ) -> None:
        known = self._firing[column].get(policy)
        if known is None:
            since = max(since, self.asked.since)
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
            place = int(self.counting.sheet.places[column])
            bad = float(self.counting.book.between(firing.since.timestamp()).bad[place])
            budget = self._budgets.get(self.asked.objectives[column].key)
            allowed = budget.allowed if budget is not None else 0.0
            firing.bad, firing.spent_ratio = bad, bad / allowed if allowed > 0 else 0.0
        return Alert(
            policy=firing.policy, test=firing.test, pages=firing.pages, fired_at=firing.fired_at,
            since=firing.since, until=until, bad=firing.bad, spent_ratio=firing.spent_ratio,
        )  # fmt: skip

    # -- the gate -----------------------------------------------------------------------------------

    def _judged(self, key: str, budgets: Sequence[Budget], now: datetime) -> Verdict:
        policy = self.asked.policy
        project, environment, name = key.split("/")
        service = Service(project=project, environment=environment, name=name, command="", port=WEB_PORT)
        keys = tuple(one.key for one in budgets)
        self._level(key, budgets, keys, now)
        question = Question(change_class=ChangeClass.FEATURE, weight_percent=service.strategy.first_percent)
        values = values_of(question, service, budgets, None, None, now) if policy.conditions else {}
        verdict = judge(
            question, service, budgets, policy, objectives=keys, now=now, state=self._states.get(key),
            checked=[self.asked.evaluate(one, values) for one in policy.conditions],
        )  # fmt: skip
        return structs.replace(verdict, inputs={})

    def _level(self, key: str, budgets: Sequence[Budget], keys: tuple[str, ...], now: datetime) -> None:
        seen = PolicySeen(
            service=key, policy=self.asked.policy, budgets=tuple(budgets), declared=keys,
            before=self._states.get(key),
        )  # fmt: skip
        for write in level_decided(seen, now).writes:
            if isinstance(write.body, PolicyState):
                self._states[key] = write.body

    # -- telling ------------------------------------------------------------------------------------

    def _past(self, column: int) -> ObjectivePast:
        objective, points = self.asked.objectives[column], self._points[column]
        for firing in self._firing[column].values():
            self._alerts[column].append(self._alert(column, firing, None))
        self._firing[column] = {}
        known = [one for one in points if one.left_ratio is not None]
        lowest = min(known, key=lambda one: one.left_ratio or 0.0, default=None)
        counter = self.counting.counter.columns[objective.key]
        first = self._first(column)
        counts = Counts(
            step_s=STEP_S, good=self._minutes[0, column, first:], bad=self._minutes[1, column, first:],
            known=np.clip(self._minutes[2, column, first:] / STEP_S, 0.0, 1.0),
        )  # fmt: skip
        lasted_s = len(counts.known) * STEP_S
        known_s = float(counts.known.sum()) * STEP_S
        return ObjectivePast(
            key=objective.key, service=objective.service, name=objective.name,
            where=self.asked.places.get(objective.key, ""), target_ratio=objective.target_ratio,
            window_s=objective.window_s, good=float(counts.good.sum()), bad=float(counts.bad.sum()),
            left_ratio=points[-1].left_ratio if points else None,
            lowest_ratio=lowest.left_ratio if lowest else None, lowest_at=lowest.at if lowest else None,
            coverage_ratio=known_s / lasted_s if lasted_s else 0.0, unknown_s=lasted_s - known_s,
            since=datetime.fromtimestamp(counter.since_s, UTC) if counter.has_begun else None,
            points=thinned(points, POINTS_MAX),
            alerts=tuple(sorted(self._alerts[column], key=lambda one: one.fired_at)),
            recommendation=recommend(counts, objective.window_s, self.asked.targets),
            interpolated=counter.interpolated,
        )  # fmt: skip

    def _first(self, column: int) -> int:
        """The first minute of which anything was read."""
        some = np.flatnonzero(self._minutes[:, column].any(axis=0))
        return int(some[0]) if len(some) else self._minutes.shape[2]


def thinned(points: Sequence[Point], most: int) -> tuple[Point, ...]:
    """At most so many of them and the last: of each stretch the one with the least left, unknown ones too."""
    each = math.ceil(len(points) / most) if points else 1
    if each == 1:
        return tuple(points)
    stretches = [points[n : n + each] for n in range(0, len(points) - 1, each)]
    kept = [min(one, key=lambda point: -1e9 if point.left_ratio is None else point.left_ratio)
            for one in stretches]  # fmt: skip
    return (*kept, points[-1]) if kept[-1] is not points[-1] else tuple(kept)


def _gate(service: str, policy: str, verdicts: Sequence[Verdict], step_s: float) -> GatePast:
    spells: list[Spell] = []
    for _, same in groupby(verdicts, lambda one: (one.kind, _why(one))):
        first, *more = same
        hours = (1 + len(more)) * step_s / 3600
        spells.append(Spell(since=first.at, kind=first.kind, hours=hours, sentence=first.sentence))
    count = len(verdicts) or 1

    def share(kind: VerdictKind, *rules: str) -> float:
        return sum(one.kind is kind and (not rules or _rule(one) in rules) for one in verdicts) / count

    return GatePast(
        service=service, policy=policy, go_ratio=share(VerdictKind.GO), slow_ratio=share(VerdictKind.SLOW),
        hold_ratio=share(VerdictKind.HOLD), bootstrap_ratio=share(VerdictKind.SLOW, "bootstrap"),
        unknown_ratio=share(VerdictKind.HOLD, *UNKNOWN_RULES), spells=tuple(spells),
    )  # fmt: skip


def _why(verdict: Verdict) -> str:
    """What tells two spells of one verdict apart: youth and ignorance are no budget."""
    rule = _rule(verdict)
    return "unknown" if rule in UNKNOWN_RULES else rule if rule == "bootstrap" else ""


def _rule(verdict: Verdict) -> str:
    return verdict.reasons[0].rule if verdict.reasons else ""
