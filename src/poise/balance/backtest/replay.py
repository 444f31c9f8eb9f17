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
from numpy.typing import NDArray

from poise.balance.backtest.alarms import Alarms
from poise.balance.backtest.budgets import Budgets
from poise.balance.backtest.decide import TARGETS, Counts, recommend
from poise.balance.backtest.report import (
    Backtest,
    GatePast,
    GroupPast,
    ObjectivePast,
    Point,
    Recommendation,
    Spell,
)
from poise.balance.gate.decide import judge
from poise.balance.gate.facts import Question
from poise.balance.gate.variables import values_of
from poise.balance.policy.decide import Seen as PolicySeen
from poise.balance.policy.decide import decide as level_decided
from poise.model.balance import Budget, Verdict, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.exclusion import Exclusion
from poise.model.increments import Increments
from poise.model.objective import Objective
from poise.model.policy import BudgetPolicy, Checked, PolicyState
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
    exclusions: tuple[Exclusion, ...] = ()


async def replayed(
    asked: Asked,
    past: Readings,
    told: Callable[[float], None] = lambda share: None,
    interpolated_of: Callable[[str], bool] = lambda _: False,
) -> Backtest:
    """Everything that would have been said. ``told`` of the share that is done.

    ``interpolated_of`` tells whether a histogram (an objective's, by key) was read between two bounds.
    """
    replay = await Replay.begun(asked, past, interpolated_of)
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

    def __init__(self, asked: Asked, kept: Budgets, interpolated_of: Callable[[str], bool]) -> None:
        self.asked, self.kept, self._interpolated_of = asked, kept, interpolated_of
        self._alarms = Alarms(kept, asked.objectives, asked.policy, asked.since)
        self._count = math.ceil((asked.until - asked.since).total_seconds() / STEP_S)
        self._minutes: dict[int, NDArray[np.float64]] = {}  # by place: good, bad, known seconds
        self._points: list[list[Point]] = [[] for _ in asked.objectives]
        self._states: dict[str, PolicyState] = {}
        self._verdicts: dict[str, list[Verdict]] = {}

    @classmethod
    async def begun(
        cls, asked: Asked, past: Readings, interpolated_of: Callable[[str], bool] = lambda _: False
    ) -> Replay:
        """With every objective declared when the history begins."""
        kept = await Budgets.begun(past, asked.objectives, asked.policy, asked.exclusions, asked.since)
        return cls(asked, kept, interpolated_of)

    async def step(self, past: Readings, now: datetime) -> None:
        """Count what was read up to ``now``, and run the detectors."""
        increments = await self.kept.follow(past, now)
        self._keep(increments)
        self._alarms.look(now, increments)

    def budgets(self, now: datetime) -> list[Budget]:
        """Every budget now, by the code that writes them live."""
        return self.kept.budgets(now, interpolated_of=self._interpolated_of)

    def judge(self, now: datetime) -> None:
        """Ask the gate for a feature of every service."""
        by_service: dict[str, list[Budget]] = {}
        for column, budget in enumerate(self.budgets(now)):
            self._alarms.allowed[budget.key] = budget.allowed
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

    def _keep(self, increments: Increments) -> None:
        """Events by the minute in which they were read, and how much of it was measured."""
        begin_s, last = self.asked.since.timestamp(), self._count - 1
        for k in range(len(increments)):
            minutes = self._of(int(increments.place[k]))
            at_s, from_s = float(increments.at_s[k]) - begin_s, float(increments.known_from_s[k]) - begin_s
            minute = min(last, max(0, math.ceil(at_s / STEP_S) - 1))
            minutes[0, minute] += increments.good[k]
            minutes[1, minute] += increments.bad[k]
            first = max(0, math.floor(from_s / STEP_S))
            for one in range(first, minute + 1):
                passed = min(at_s, (one + 1) * STEP_S) - max(from_s, one * STEP_S)
                minutes[2, one] += max(0.0, passed)

    def _of(self, place: int) -> NDArray[np.float64]:
        if place not in self._minutes:
            self._minutes[place] = np.zeros((3, self._count))
        return self._minutes[place]

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
        known = [one for one in points if one.left_ratio is not None]
        lowest = min(known, key=lambda one: one.left_ratio or 0.0, default=None)
        each = {one.group: self._counts([at]) for at in self._parts(column)
                for one in (self.kept.counting.sheet.objectives[at],)}  # fmt: skip
        counts = self._counts(self._parts(column))
        lasted_s = len(counts.known) * STEP_S
        known_s = float(counts.known.sum()) * STEP_S
        columns = [self.kept.counting.counter.columns[objective.key]]
        columns += [self.kept.counting.counter.columns[self.kept.counting.sheet.objectives[at].key]
                    for at in self._parts(column)]  # fmt: skip
        begun = [one.since_s for one in columns if one.has_begun]
        return ObjectivePast(
            key=objective.key, service=objective.service, name=objective.name,
            where=self.asked.places.get(objective.key, ""), target_ratio=objective.target_ratio,
            window_s=objective.window_s, good=float(counts.good.sum()), bad=float(counts.bad.sum()),
            left_ratio=points[-1].left_ratio if points else None,
            lowest_ratio=lowest.left_ratio if lowest else None, lowest_at=lowest.at if lowest else None,
            coverage_ratio=known_s / lasted_s if lasted_s else 0.0, unknown_s=lasted_s - known_s,
            since=datetime.fromtimestamp(min(begun), UTC) if begun else None,
            points=thinned(points, POINTS_MAX), alerts=self._alarms.of(column),
            recommendation=self._recommended(objective, counts, each),
            interpolated=any(one.interpolated for one in columns) or self._interpolated_of(objective.key),
            groups=tuple(
                GroupPast(group=group, good=float(one.good.sum()), bad=float(one.bad.sum()))
                for group, one in sorted(each.items()) if group
            ),
        )  # fmt: skip

    def _parts(self, column: int) -> list[int]:
        """The columns that an objective's events lie in: its own, its groups', or its parts'."""
        counting, composite = self.kept.counting, self.asked.objectives[column].composite
        if composite is None or self.asked.objectives[column].slicing is not None:
            return self.kept.columns_of(column)
        return [at for one in composite.components for at in self._parts(counting.columns[one.objective])]

    def _recommended(
        self, objective: Objective, counts: Counts, each: Mapping[str, Counts]
    ) -> Recommendation:
        """Of a grouped objective what its worst group supports; of OpenSLO's composites nothing."""
        if objective.composite is not None and objective.slicing is None:
            reason = "it burns as its parts do, and so their targets are what is set"
            return Recommendation(target_ratio=None, reason=reason, caveats=(), candidates=())
        made = [
            (recommend(one, objective.window_s, self.asked.targets), group) for group, one in each.items()
        ]
        if len(made) < 2:
            return recommend(counts, objective.window_s, self.asked.targets)
        worst, group = min(made, key=lambda one: one[0].target_ratio or 0.0)
        return structs.replace(worst, reason=f"{group} is the worst: {worst.reason}")

    def _counts(self, columns: Sequence[int]) -> Counts:
        """All of some columns, from the first minute on of which anything was read."""
        many = np.array([self._of(int(self.kept.counting.sheet.places[one])) for one in columns])
        some = np.flatnonzero(many.any(axis=(0, 1)))
        first = int(some[0]) if len(some) else self._count
        return Counts(
            step_s=STEP_S, good=many[:, 0, first:].sum(axis=0), bad=many[:, 1, first:].sum(axis=0),
            known=np.clip(many[:, 2, first:].max(axis=0) / STEP_S, 0.0, 1.0),
        )  # fmt: skip


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
