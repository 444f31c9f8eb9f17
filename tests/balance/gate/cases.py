"""Seeded questions to the gate: healthy ones, and ones whose data is missing, stale, no number or a lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from msgspec import Struct, structs

from poise.balance.gate.decide import judge
from poise.balance.gate.facts import Question
from poise.model.balance import Budget, Burn, Override, Verdict
from poise.model.delivery import ChangeClass
from poise.model.grant import Grant, GrantKind
from poise.model.policy import DAY_S, BudgetPolicy, Checked, Condition, Level, PolicyState
from poise.model.service import Service

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SHOP = Service(project="acme", environment="production", name="shop", command="run", port=8000)
POLICY = BudgetPolicy()
NAMES = ("availability", "latency", "freshness", "checkout")
NUMBERS = ("good", "bad", "allowed", "left_ratio", "coverage_ratio", "rate_per_s", "target_ratio")


class Case(Struct, frozen=True, kw_only=True):
    """One question: ``kind`` says what is wrong with it, empty for a healthy one."""

    kind: str
    question: Question
    budgets: tuple[Budget, ...]
    objectives: tuple[str, ...]
    more: dict[str, Any] = {}

    @property
    def verdict(self) -> Verdict:
        """What the gate says."""
        return judge(
            self.question, SHOP, self.budgets, POLICY, objectives=self.objectives, now=NOW, **self.more
        )


def healthy(seed: int) -> Case:
    """One to four objectives, measured just now, each with more left than the policy calls slow."""
    chance = Random(seed)
    names = chance.sample(NAMES, chance.randint(1, len(NAMES)))
    budgets = tuple(_budget(chance, name) for name in names)
    change = chance.choice(list(ChangeClass))
    question = Question(
        change_class=change, digest="sha256:1", step=chance.randint(0, 3), weight_percent=5,
        from_percent=chance.choice((0, 0, 5, 20)),
    )  # fmt: skip
    level = chance.choice((None, Level.FAST, Level.NORMAL))
    state = level and PolicyState(
        service=SHOP.key, policy="default", level=level, since=NOW - timedelta(hours=3), at=NOW
    )
    return Case(
        kind="", question=question, budgets=budgets, objectives=tuple(one.key for one in budgets),
        more={"state": state},
    )  # fmt: skip


def unsafe(seed: int) -> Case:
    """A healthy question of a feature, fix or security change with one thing of it broken."""
    chance = Random(f"unsafe/{seed}")
    case = healthy(chance.randrange(10**9))
    change = chance.choice((ChangeClass.FEATURE, ChangeClass.FIX, ChangeClass.SECURITY))
    case = structs.replace(case, question=structs.replace(case.question, change_class=change))
    kind = list(BREAKS)[seed % len(BREAKS)]
    return structs.replace(BREAKS[kind](case, chance), kind=kind)


def first_release(seed: int) -> Case:
    """The first of the two exceptions: nothing is live, so nothing was measured."""
    case = unsafe(seed)
    return structs.replace(case, question=structs.replace(case.question, first_release=True))


def young(seed: int) -> Case:
    """The second: an objective without a history, measured well so far."""
    chance = Random(f"young/{seed}")
    case = healthy(chance.randrange(10**9))
    question = structs.replace(case.question, change_class=ChangeClass.FEATURE)
    since = NOW - timedelta(seconds=chance.uniform(60, DAY_S))
    budgets = tuple(structs.replace(one, bootstrap=True, since=since) for one in case.budgets)
    return structs.replace(case, question=question, budgets=budgets)


def _budget(chance: Random, name: str) -> Budget:
    left, allowed = chance.uniform(0.45, 1.0), chance.uniform(10, 1e5)
    burns = tuple(
        Burn(window_s=window_s, rate=chance.uniform(0, 0.9), coverage_ratio=1.0, events=1e4, bad=5)
        for window_s in (300.0, 1800.0, 3600.0, 21_600.0)
    )
    return Budget(
        service=SHOP.key, objective=name, target_ratio=0.999, window_s=28 * DAY_S, good=allowed * 1e3,
        bad=allowed * (1 - left), allowed=allowed, left_ratio=left, burns=burns,
        coverage_ratio=chance.uniform(0.9, 1.0), bootstrap=False,
        since=NOW - timedelta(days=chance.uniform(2, 90)),
        measured_at=NOW - timedelta(seconds=chance.uniform(0, 55)), at=NOW, rate_per_s=chance.uniform(0, 1e3),
    )  # fmt: skip


def _changed(case: Case, chance: Random, **changes: Any) -> Case:
    """One of the budgets, changed; the others stay healthy, so that an average would let it pass."""
    place = chance.randrange(len(case.budgets))
    budgets = list(case.budgets)
    budgets[place] = structs.replace(budgets[place], **changes)
    return structs.replace(case, budgets=tuple(budgets))


def _without(case: Case, chance: Random) -> Case:
    gone = chance.choice(case.budgets)
    return structs.replace(case, budgets=tuple(one for one in case.budgets if one is not gone))


def _no_number(case: Case, chance: Random) -> Case:
    value = chance.choice((math.nan, math.inf, -math.inf))
    return _changed(case, chance, **{chance.choice(NUMBERS): value})


def _burn_is_no_number(case: Case, chance: Random) -> Case:
    burns = (Burn(window_s=3600.0, rate=chance.choice((math.nan, math.inf, -1.0)), coverage_ratio=1.0),)
    return _changed(case, chance, burns=burns)


def _contradictory(case: Case, chance: Random) -> Case:
    changes: tuple[dict[str, Any], ...] = (
        {"left_ratio": chance.uniform(1.01, 50)},
        {"bad": -chance.uniform(1, 1e6)},
        {"good": -1.0},
        {"allowed": -5.0},
        {"coverage_ratio": chance.choice((-0.1, 1.5, 7.0))},
        {"target_ratio": chance.choice((0.0, 1.0, 1.2, -3.0))},
        {"bad": 1e12},
        {"since": NOW + timedelta(days=1)},
    )
    return _changed(case, chance, **chance.choice(changes))


def _counters_contradict(case: Case, chance: Random) -> Case:
    """A source with more good events than events: clipped, its budget is a full one."""
    return _changed(case, chance, bad=0.0, left_ratio=1.0, excess=chance.choice((2.0, 1e3, 1e9)))


def _elsewhere(case: Case, chance: Random) -> Case:
    """The budget of another service or objective stands where this one's should."""
    change = chance.choice(({"service": "acme/production/pay"}, {"objective": "other"}))
    return _changed(case, chance, **change)


def _unreadable(case: Case, chance: Random) -> Case:
    key = chance.choice(case.budgets).key
    return structs.replace(case, more={"problems": {key: "the server answers with another series"}})


def _condition_error(case: Case, chance: Random) -> Case:
    own = Condition(name="own", when="left < 0.2", level=Level.SLOW, classes=("feature", "fix", "security"))
    return structs.replace(case, more={"checked": (Checked(condition=own, problem="'left' is not known"),)})


def _lapsed_permit(case: Case, chance: Random) -> Case:
    """Stale data, and a permit that has expired, is of another digest, or was approved by nobody."""
    stale = _stale(case, chance)
    permit = Override(
        service=SHOP.key, n=1, by="ada", reason="x", at=NOW - timedelta(hours=2),
        expires_at=NOW + timedelta(hours=1), signature="",
    )  # fmt: skip
    lapsed = chance.choice(
        (
            permit,
            structs.replace(permit, approved_by="bob", expires_at=NOW),
            structs.replace(permit, approved_by="bob", digest="sha256:2"),
            structs.replace(permit, alone=True, at=NOW + timedelta(minutes=1)),
        )
    )
    grants = tuple(
        Grant(
            kind=kind, service=SHOP.key, n=1, by="ada", reason="x", at=NOW - timedelta(hours=2),
            decided_by="bob", decided_at=NOW, expires_at=NOW + timedelta(hours=1),
            allowed=None if kind is GrantKind.RULING else True,
        )
        for kind in GrantKind
    )  # fmt: skip
    return structs.replace(stale, more={"overrides": (lapsed,), "grants": grants})


def _stale(case: Case, chance: Random) -> Case:
    age_s = chance.choice((chance.uniform(61, 600), chance.uniform(600, 1e7)))
    return _changed(case, chance, measured_at=NOW - timedelta(seconds=age_s))


Break = Callable[[Case, Random], Case]
BREAKS: dict[str, Break] = {
    "no budget": _without,
    "no objective": lambda case, chance: structs.replace(case, budgets=(), objectives=()),
    "never measured": lambda case, chance: _changed(case, chance, measured_at=None),
    "stale": _stale,
    "from the future": lambda case, chance: _changed(
        case, chance, measured_at=NOW + timedelta(seconds=chance.uniform(6, 1e6))
    ),
    "no number": _no_number,
    "burn is no number": _burn_is_no_number,
    "partial": lambda case, chance: _changed(case, chance, coverage_ratio=chance.uniform(0.0, 0.899)),
    "contradictory": _contradictory,
    "counters contradict": _counters_contradict,
    "of another": _elsewhere,
    "unreadable": _unreadable,
    "condition error": _condition_error,
    "lapsed permit": _lapsed_permit,
}
