"""The graduated policy at the gate: each clause, in both directions, and what lifts it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from poise.balance.gate.decide import judge, replay
from poise.balance.gate.facts import OpenIncident, Question
from poise.model.balance import Budget, Burn, Verdict, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.errors import Conflict
from poise.model.grant import Cause, Grant, GrantKind
from poise.model.pacing import PARALLEL_MAX, level_of
from poise.model.policy import DAY_S, BudgetPolicy, Checked, Condition, Duty, Level, PolicyState
from poise.model.service import Service
from poise.model.spend import Foresight

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POLICY = BudgetPolicy(escalate_to=("cto",))
SHOP = Service(project="acme", environment="production", name="shop", command="run", port=8000)
GO, SLOW, HOLD = VerdictKind.GO, VerdictKind.SLOW, VerdictKind.HOLD
DAY = timedelta(days=1)


def budget(left: float = 0.6, **changes: Any) -> Budget:
    fields: dict[str, Any] = {
        "service": SHOP.key, "objective": "availability", "target_ratio": 0.999, "window_s": 28 * DAY_S,
        "good": 1e6, "bad": 1000 * (1 - left), "allowed": 1000.0, "left_ratio": left, "burns": (),
        "coverage_ratio": 1.0, "bootstrap": False, "since": NOW - 30 * DAY, "measured_at": NOW, "at": NOW,
    }  # fmt: skip
    return Budget(**(fields | changes))


def ask(
    *budgets: Budget, kind: ChangeClass = ChangeClass.FEATURE, service: Service = SHOP, **more: Any
) -> Verdict:
    question = Question(change_class=kind, digest="sha256:1", first_release=more.pop("first", False))
    more.setdefault("policy", POLICY)
    return judge(question, service, budgets, objectives=[one.key for one in budgets], now=NOW, **more)


def state(level: Level, ago: timedelta = DAY, **changes: Any) -> PolicyState:
    fields: dict[str, Any] = {
        "service": SHOP.key,
        "policy": "default",
        "level": level,
        "since": NOW - ago,
        "at": NOW - ago,
    }
    return PolicyState(**(fields | changes))


def grant(kind: GrantKind, **changes: Any) -> Grant:
    fields: dict[str, Any] = {
        "kind": kind, "service": SHOP.key, "n": 4, "by": "ada", "reason": "the fair", "at": NOW - DAY / 24,
        "expires_at": NOW + DAY / 24, "decided_by": "bob", "decided_at": NOW - DAY / 48, "allowed": True,
    }  # fmt: skip
    return Grant(**(fields | changes))


def rules(verdict: Verdict) -> list[str]:
    return [one.rule for one in verdict.reasons]


@pytest.mark.parametrize(
    ("left", "kind", "level"),
    [
        (0.95, GO, Level.FAST),
        (0.6, GO, Level.NORMAL),
        (0.2, SLOW, Level.SLOW),
        (0.05, HOLD, Level.APPROVAL),
        (-0.1, HOLD, Level.FREEZE),
    ],
)
def test_less_budget_is_a_slower_level(left: float, kind: VerdictKind, level: Level) -> None:
    """One budget, five paces; the sizes follow."""
    verdict = ask(budget(left), state=state(Level.FAST))
    assert (verdict.kind, verdict.level) == (kind, level)
    assert verdict.bake_factor == {Level.FAST: 0.5, Level.NORMAL: 1.0}.get(level, 2.0)
    assert verdict.parallel_rollouts == {Level.FAST: 10, Level.NORMAL: 5, Level.SLOW: 2}.get(level, 1)


@pytest.mark.parametrize(("left", "factor"), [(0.95, 1.0), (0.6, 1.0), (0.2, 2.0), (0.05, 2.0), (-0.1, 2.0)])
def test_a_burdened_budget_tests_for_harm_more_readily(left: float, factor: float) -> None:
    """Whoever lets it in; by the level with its memory, and not because a budget is young."""
    remembered = state(level_of(left, POLICY))
    assert ask(budget(left), state=remembered).alpha_factor == factor
    assert ask(budget(left), kind=ChangeClass.FIX, state=remembered).alpha_factor == factor
    assert ask(budget(0.5), state=state(Level.SLOW, timedelta(minutes=5))).alpha_factor == 2.0
    young = ask(budget(0.95, bootstrap=True))
    assert (young.kind, young.alpha_factor) == (SLOW, 1.0)


def test_fast_needs_the_record_and_calm() -> None:
    """A full budget that nobody has watched, or an incident, is no reason to hurry."""
    assert ask(budget(0.95)).level is Level.NORMAL
    assert ask(budget(0.95), state=state(Level.NORMAL)).level is Level.NORMAL
    calm = ask(budget(0.95), state=state(Level.FAST), incidents=(OpenIncident(key="i/1", summary="503"),))
    assert calm.kind is HOLD


def test_a_level_that_was_entered_is_not_left_before_its_dwell() -> None:
    """Else a feature slips through whenever the budget peeks above zero."""
    held = ask(budget(0.5), state=state(Level.FREEZE, timedelta(minutes=5)))
    assert (held.kind, held.level, rules(held)[0]) == (HOLD, Level.FREEZE, "dwell")
    assert "kept until 2026-11-20 12:55 UTC" in held.reasons[0].text
    assert ask(budget(0.5), state=state(Level.FREEZE)).kind is GO
    narrow = ask(budget(0.42), state=state(Level.SLOW))
    assert (narrow.kind, rules(narrow)[0]) == (SLOW, "dwell")


def test_repairs_go_at_every_level_in_small_steps() -> None:
    """A freeze that also stops the fix prolongs the trouble."""
    for kind in (ChangeClass.FIX, ChangeClass.SECURITY):
        verdict = ask(budget(-0.1), kind=kind, state=state(Level.FREEZE))
        assert (verdict.kind, verdict.bake_factor) == (GO, 2.0)
        assert verdict.parallel_rollouts == PARALLEL_MAX, "else it waits for a feature that the gate holds"
    back = ask(budget(-9.0), kind=ChangeClass.ROLLBACK)
    assert (back.kind, back.parallel_rollouts) == (GO, PARALLEL_MAX)


def test_where_an_approval_is_needed_an_operators_word_lets_a_feature_go_slowly() -> None:
    """More approval, not less delivery."""
    verdict = ask(budget(0.05), grants=(grant(GrantKind.APPROVAL),))
    assert (verdict.kind, verdict.level, rules(verdict)[0]) == (SLOW, Level.APPROVAL, "approval")
    assert "bob approved it" in verdict.reasons[0].text and verdict.until == NOW + DAY / 24
    for changes in (
        {"digest": "sha256:2"}, {"expires_at": NOW}, {"allowed": None}, {"allowed": False},
        {"service": "acme/production/pay"},
    ):  # fmt: skip
        assert ask(budget(0.05), grants=(grant(GrantKind.APPROVAL, **changes),)).kind is HOLD
    alone = ask(budget(0.05), grants=(grant(GrantKind.APPROVAL, alone=True, decided_by="ada"),))
    assert "nobody else could approve it" in alone.reasons[0].text
    assert ask(budget(-0.1), grants=(grant(GrantKind.APPROVAL),)).kind is HOLD


def test_overspending_the_preceding_four_weeks_freezes_whatever_the_objectives_own_window() -> None:
    """SRE workbook, appendix B: a weekly budget that is whole again does not end the four-week freeze."""
    weekly = budget(
        0.9,
        window_s=7 * DAY_S,
        burns=(Burn(window_s=28 * DAY_S, rate=1.2, coverage_ratio=1, events=1e6, bad=1200),),
    )
    verdict = ask(weekly)
    assert (verdict.kind, verdict.level, rules(verdict)[0]) == (HOLD, Level.FREEZE, "overspend")
    assert ask(weekly, kind=ChangeClass.SECURITY).kind is GO
    young = structs.replace(weekly, since=NOW - 14 * DAY)
    assert ask(young).kind is GO  # half of the window at 1.2 is 60 % of what it allows


def test_a_duty_slows_features_until_it_is_done() -> None:
    """The 20 % clauses bind through what may be released, not through a reminder."""
    duty = Duty(rule="postmortem-due", text="incident 7 spent 30 %", level=Level.SLOW)
    verdict = ask(budget(), duties=(duty,))
    assert (verdict.kind, rules(verdict)) == (SLOW, ["postmortem-due", "healthy"])
    late = structs.replace(duty, level=Level.APPROVAL)
    assert rules(ask(budget(), duties=(late,)))[:2] == ["approval", "postmortem-due"]
    assert ask(budget(), duties=(late,), kind=ChangeClass.FIX).kind is GO


def test_a_cause_elsewhere_exempts_from_the_freeze_and_from_nothing_else() -> None:
    """SRE workbook, appendix B: the team goes on where the network of the whole company failed."""
    exempt = (grant(GrantKind.EXEMPTION, cause=Cause.NETWORK),)
    verdict = ask(budget(-0.5), grants=exempt)
    assert (verdict.kind, verdict.level, rules(verdict)[0]) == (SLOW, Level.SLOW, "exemption")
    assert "cause: network" in verdict.reasons[0].text
    incident = (OpenIncident(key="i/1", summary="503"),)
    assert ask(budget(-0.5), grants=exempt, incidents=incident).kind is HOLD
    assert ask(budget(-0.5, measured_at=None), grants=exempt).kind is HOLD
    assert ask(budget(-0.5), grants=(structs.replace(exempt[0], allowed=None),)).kind is HOLD


def test_a_disagreement_is_told_in_the_verdict_and_a_ruling_ends_it() -> None:
    """SRE workbook, appendix B: where people disagree, it is escalated and somebody decides."""
    wish = grant(GrantKind.RULING, allowed=None, decided_by="", decided_at=None)
    held = ask(budget(-0.5), grants=(wish,))
    assert held.kind is HOLD and "waits for cto" in held.reasons[-1].text
    ruled = ask(budget(-0.5), grants=(structs.replace(wish, allowed=True, decided_by="cto"),))
    assert (ruled.kind, rules(ruled)) == (SLOW, ["ruling"]) and "cto ruled" in ruled.reasons[0].text


def test_a_budget_that_will_probably_be_spent_slows_features() -> None:
    """The level tells what was, the forecast what comes; an old forecast tells nothing."""
    foresight = Foresight(
        at=NOW, until=NOW + DAY, left_low=-0.3, left_middle=-0.1, left_high=0.1, spent_chance=0.7,
        spent_chance_low=0.6, spent_chance_high=0.8, days=14,
    )  # fmt: skip
    key = f"{SHOP.key}/availability"
    verdict = ask(budget(), foresights={key: foresight})
    assert (verdict.kind, rules(verdict)[0]) == (SLOW, "exhaustion") and "70 %" in verdict.reasons[0].text
    assert replay(verdict.inputs) == verdict
    for changes in ({"spent_chance": 0.4}, {"at": NOW - DAY}, {"until": NOW}):
        assert ask(budget(), foresights={key: structs.replace(foresight, **changes)}).kind is GO
    assert ask(budget(), foresights={key: foresight}, kind=ChangeClass.FIX).kind is GO


OWN = Condition(name="evenings", when="hour > 16", level=Level.FREEZE, why="nobody is in")


@pytest.mark.parametrize(
    ("checked", "kind", "rule"),
    [
        (Checked(condition=OWN, holds=True), HOLD, "condition"),
        (Checked(condition=OWN), GO, "healthy"),
        (Checked(condition=OWN, problem="'hour' is not known"), HOLD, "condition-error"),
        (Checked(condition=structs.replace(OWN, level=Level.SLOW), holds=True), SLOW, "condition"),
        (Checked(condition=structs.replace(OWN, level=Level.APPROVAL), holds=True), HOLD, "approval"),
        (Checked(condition=structs.replace(OWN, classes=("fix",)), holds=True), GO, "healthy"),
    ],
)
def test_a_condition_of_the_teams_own_slows_and_one_that_cannot_be_told_holds(
    checked: Checked, kind: VerdictKind, rule: str
) -> None:
    """An error in a rule is never a pass."""
    verdict = ask(budget(), checked=(checked,))
    assert (verdict.kind, rules(verdict)[0]) == (kind, rule)


def test_a_condition_binds_the_classes_that_it_names_repairs_included() -> None:
    """A team may keep even fixes out of a night; an exemption does not lift its own rule."""
    checked = (Checked(condition=structs.replace(OWN, classes=("feature", "fix")), holds=True),)
    assert ask(budget(), checked=checked, kind=ChangeClass.FIX).kind is HOLD
    assert ask(budget(), checked=checked, kind=ChangeClass.SECURITY).kind is GO
    exempt = (grant(GrantKind.EXEMPTION, cause=Cause.NETWORK),)
    assert ask(budget(), checked=checked, grants=exempt).kind is HOLD


@given(
    st.floats(-3, 1), st.sampled_from(list(Level)), st.sampled_from(list(ChangeClass)), st.booleans(),
    st.sampled_from([None, *GrantKind]), st.floats(0, 48),
)  # fmt: skip
def test_every_verdict_is_replayed_from_its_inputs(
    left: float, level: Level, kind: ChangeClass, holds: bool, given_: GrantKind | None, hours: float
) -> None:
    """What cannot be re-derived cannot be audited."""
    verdict = ask(
        budget(left), kind=kind, state=state(level, timedelta(hours=hours)),
        checked=(Checked(condition=OWN, holds=holds),), grants=(grant(given_),) if given_ else (),
    )  # fmt: skip
    assert replay(verdict.inputs) == verdict


def test_a_verdict_of_other_rules_is_not_replayed_by_these() -> None:
    """A replay that differs because the rules changed would accuse the wrong one."""
    inputs = ask(budget()).inputs
    with pytest.raises(Conflict, match="rules 1"):
        replay({**inputs, "rules": 1})
