"""The verdict: worst objective, classes of change, and never a go on what nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from poise.balance.gate.decide import judge, replay, why, why_budgets
from poise.balance.gate.facts import OpenIncident, OverdueAction, Question
from poise.balance.gate.seal import is_genuine, is_valid, sign
from poise.model.balance import Budget, Burn, Override, Verdict, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.policy import DAY_S, BudgetPolicy, OnUnknown
from poise.model.service import Service, Strategy

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POLICY = BudgetPolicy()
SHOP = Service(project="acme", environment="production", name="shop", command="run", port=8000)
KEY = f"{SHOP.key}/availability"
GO, SLOW, HOLD = VerdictKind.GO, VerdictKind.SLOW, VerdictKind.HOLD


def budget(left: float = 0.9, name: str = "availability", **changes: Any) -> Budget:
    fields: dict[str, Any] = {
        "service": SHOP.key,
        "objective": name,
        "target_ratio": 0.999,
        "window_s": 28 * DAY_S,
        "good": 1e6,
        "bad": 1000 * (1 - left),
        "allowed": 1000.0,
        "left_ratio": left,
        "burns": (),
        "coverage_ratio": 1.0,
        "bootstrap": False,
        "since": NOW - timedelta(days=30),
        "measured_at": NOW,
        "at": NOW,
        "rate_per_s": 1.0,
    }
    return Budget(**(fields | changes))


def ask(
    *budgets: Budget,
    kind: ChangeClass = ChangeClass.FEATURE,
    policy: BudgetPolicy = POLICY,
    overrides: tuple[Override, ...] = (),
    incidents: tuple[OpenIncident, ...] = (),
    objectives: tuple[str, ...] | None = None,
    service: Service = SHOP,
    overdue: tuple[OverdueAction, ...] = (),
    **question: Any,
) -> Verdict:
    return judge(
        Question(change_class=kind, digest="sha256:1", **question),
        service,
        budgets,
        policy,
        overrides,
        incidents,
        objectives=[one.key for one in budgets] if objectives is None else objectives,
        now=NOW,
        overdue=overdue,
    )


BURNING = (
    Burn(window_s=3600, rate=20.0, coverage_ratio=1, events=1000, bad=20),
    Burn(window_s=300, rate=20.0, coverage_ratio=1, events=100, bad=2),
)


@pytest.mark.parametrize(
    ("change", "left", "burns", "kind"),
    [
        (ChangeClass.FEATURE, 0.9, (), GO),
        (ChangeClass.FEATURE, 0.3, (), SLOW),
        (ChangeClass.FEATURE, 0.0, (), HOLD),
        (ChangeClass.FEATURE, -3.0, (), HOLD),
        (ChangeClass.FEATURE, 0.9, BURNING, HOLD),
        (ChangeClass.FIX, 0.9, (), GO),
        (ChangeClass.FIX, 0.3, (), GO),
        (ChangeClass.FIX, -3.0, (), GO),
        (ChangeClass.FIX, 0.9, BURNING, SLOW),
        (ChangeClass.SECURITY, -3.0, (), GO),
        (ChangeClass.ROLLBACK, -3.0, BURNING, GO),
    ],
)
def test_what_a_class_of_change_may_do(
    change: ChangeClass, left: float, burns: tuple[Burn, ...], kind: VerdictKind
) -> None:
    assert ask(budget(left, burns=burns), kind=change).kind is kind


def test_a_repair_below_the_threshold_goes_in_the_policys_small_steps() -> None:
    verdict = ask(budget(-1.0), kind=ChangeClass.FIX)
    assert (verdict.steps_percent, verdict.bake_factor) == (POLICY.slow_steps_percent, 2.0)
    assert verdict.max_weight_percent == POLICY.slow_steps_percent[0]


@pytest.mark.parametrize(
    "broken",
    [
        {"measured_at": None},
        {"measured_at": NOW - timedelta(seconds=61)},
        {"measured_at": NOW + timedelta(seconds=60)},
        {"coverage_ratio": 0.5},
        {"left_ratio": float("nan")},
        {"left_ratio": float("inf")},
    ],
    ids=["never", "stale", "future", "partial", "nan", "inf"],
)
@pytest.mark.parametrize("change", [ChangeClass.FEATURE, ChangeClass.FIX, ChangeClass.SECURITY])
def test_unknown_data_is_never_a_go(broken: dict[str, Any], change: ChangeClass) -> None:
    verdict = ask(budget(**({"left": 0.9} | {})), structs.replace(budget(name="b"), **broken), kind=change)
    assert verdict.kind is HOLD
    assert verdict.max_weight_percent == 0


@pytest.mark.parametrize("choice", list(OnUnknown))
def test_partial_time_is_no_go_under_any_policy(choice: OnUnknown) -> None:
    assert ask(budget(coverage_ratio=0.5), policy=BudgetPolicy(on_unknown=choice)).kind is not GO


def test_no_assessment_is_not_an_approval() -> None:
    """Other gates approve when no objective reports."""
    assert ask(objectives=()).kind is HOLD
    assert ask(objectives=(KEY,)).kind is HOLD
    assert ask(budget(), objectives=(KEY, f"{SHOP.key}/latency")).kind is HOLD


def test_a_worker_without_traffic_goes_slowly() -> None:
    assert ask(service=structs.replace(SHOP, port=None), objectives=()).kind is SLOW


@pytest.mark.parametrize("consumed", [(1.0, 0.0, 0.0), (2.5, 0.0, 0.0, 0.0), (10.0,)])
def test_the_worst_objective_decides_not_the_average(consumed: tuple[float, ...]) -> None:
    budgets = [budget(1 - spent, name=f"slo{i}") for i, spent in enumerate(consumed)]
    verdict = ask(*budgets)
    assert verdict.kind is HOLD
    assert [reason.numbers["objective"] for reason in verdict.reasons] == [f"{SHOP.key}/slo0"]


def test_a_first_release_goes_and_says_that_it_is_an_exception() -> None:
    verdict = ask(objectives=(KEY,), first_release=True)
    assert (verdict.kind, verdict.max_weight_percent) == (GO, 100)
    assert "go (bootstrap)" in verdict.sentence


def test_what_was_stopped_for_a_release_is_not_held_half_way() -> None:
    """Its own outage opens incidents and burns; holding it would make that last."""
    incident = (OpenIncident(key="i/1", summary="no replica is ready"),)
    verdict = ask(budget(-1.0, burns=BURNING), incidents=incident, interrupted=True)
    assert (verdict.kind, verdict.max_weight_percent) == (GO, 100)
    assert verdict.sentence.startswith("go: nobody is served until it is")


def test_a_young_objective_is_slow_and_says_that_it_is_an_exception() -> None:
    verdict = ask(budget(bootstrap=True, coverage_ratio=0.2))
    assert verdict.kind is SLOW and "slow (bootstrap)" in verdict.sentence
    assert ask(budget(-0.1, bootstrap=True)).kind is HOLD
    assert ask(budget(bootstrap=True, measured_at=NOW - timedelta(hours=1))).kind is HOLD


def test_an_open_incident_holds_features_and_slows_fixes() -> None:
    incident = (OpenIncident(key="i/1", summary="checkout answers 503"),)
    assert ask(budget(), incidents=incident).kind is HOLD
    assert ask(budget(0.3), incidents=incident, kind=ChangeClass.FIX).kind is SLOW
    assert ask(budget(), incidents=incident, kind=ChangeClass.FIX).kind is SLOW


def test_an_open_incident_holds_the_features_of_a_worker_without_traffic() -> None:
    worker, incident = structs.replace(SHOP, port=None), (OpenIncident(key="i/1", summary="jobs fail"),)
    assert ask(service=worker).kind is SLOW
    assert ask(service=worker, incidents=incident).kind is HOLD
    assert ask(service=worker, incidents=incident, kind=ChangeClass.FIX).kind is SLOW


def late(n: int = 2, days: float = 3.0, incident: int = 7) -> OverdueAction:
    due_at = NOW - timedelta(days=days)
    return OverdueAction(incident=incident, n=n, text="refuse EURO", owner="ada", due_at=due_at)


@pytest.mark.parametrize(
    ("change", "left", "kind"),
    [
        (ChangeClass.FEATURE, 0.9, SLOW), (ChangeClass.FEATURE, 0.3, SLOW), (ChangeClass.FEATURE, -1.0, HOLD),
        (ChangeClass.FIX, 0.9, GO), (ChangeClass.SECURITY, 0.9, GO), (ChangeClass.ROLLBACK, -1.0, GO),
    ],
)  # fmt: skip
def test_an_overdue_action_slows_features_alone(change: ChangeClass, left: float, kind: VerdictKind) -> None:
    verdict = ask(budget(left), kind=change, overdue=(late(),))
    assert verdict.kind is kind
    if change is not ChangeClass.FEATURE:
        without = ask(budget(left), kind=change)
        assert structs.replace(verdict, inputs={}) == structs.replace(without, inputs={})


def test_an_overdue_action_is_named_with_its_owner_its_days_and_what_ends_it() -> None:
    verdict = ask(budget(), overdue=(late(),))
    assert verdict.reasons[0].rule == "overdue-action"
    assert verdict.reasons[0].text == (
        "action 2 of incident 7 (ada: refuse EURO) is overdue by 3 days; "
        "once it is done: poise postmortem action done 7 2"
    )
    assert verdict.steps_percent == POLICY.slow_steps_percent
    assert replay(verdict.inputs) == verdict


def test_of_many_overdue_actions_the_oldest_are_told_and_the_rest_counted() -> None:
    verdict = ask(budget(), overdue=tuple(late(n, days=n) for n in range(1, 6)))
    told = [one.numbers for one in verdict.reasons if one.rule == "overdue-action"]
    assert [one.get("action") for one in told] == [5, 4, 3, None]
    assert told[-1] == {"more": 2}


def test_an_action_that_is_due_later_slows_nothing() -> None:
    assert ask(budget(), overdue=(late(days=-0.1), late(days=0.0))).kind is GO


def test_an_override_passes_overdue_actions_and_incidents() -> None:
    override = Override(
        service=SHOP.key, n=1, by="ada", reason="the fair", at=NOW, expires_at=NOW + timedelta(hours=1),
        signature="", alone=True,
    )  # fmt: skip
    incident = (OpenIncident(key="i/1", summary="checkout answers 503"),)
    assert ask(budget(), overrides=(override,), overdue=(late(),), incidents=incident).kind is GO


def test_a_verdict_of_before_reviews_were_read_is_derived_again() -> None:
    verdict = ask(budget(0.3))
    older = structs.replace(
        verdict, inputs={name: one for name, one in verdict.inputs.items() if name != "overdue"}
    )
    assert replay(older.inputs) == older


def test_the_first_step_costs_at_most_its_share_even_if_every_request_fails() -> None:
    service = structs.replace(SHOP, strategy=Strategy(budget_risk_share=0.1, step_s=100))
    verdict = ask(budget(0.5, rate_per_s=10.0), service=service)
    assert verdict.max_weight_percent == 5  # 0.1 x 500 events left / (10/s x 100 s)
    worst = ask(budget(0.5, rate_per_s=10.0), budget(0.5, "b", rate_per_s=25.0), service=service)
    assert worst.max_weight_percent == 2
    assert ask(budget(0.5, rate_per_s=1e6), service=service).max_weight_percent == 1
    assert ask(budget(0.5, rate_per_s=0.0), service=service).max_weight_percent == 100
    assert ask(budget(0.5, rate_per_s=1e6), service=service, from_percent=5).max_weight_percent == 100


def test_a_slow_verdict_allows_the_policys_next_step_and_no_more() -> None:
    caps = [ask(budget(0.3), from_percent=weight).max_weight_percent for weight in (0, 2, 7, 25, 50)]
    assert caps == [2, 5, 10, 50, 100]


def override(**changes: Any) -> Override:
    fields: dict[str, Any] = {
        "service": SHOP.key,
        "n": 3,
        "by": "ada",
        "reason": "the fair opens at noon",
        "at": NOW - timedelta(hours=1),
        "expires_at": NOW + timedelta(hours=1),
        "signature": "",
        "approved_by": "bob",
    }
    return Override(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, GO),
        ({"digest": "sha256:1"}, GO),
        ({"digest": "sha256:2"}, HOLD),
        ({"expires_at": NOW}, HOLD),
        ({"at": NOW + timedelta(seconds=1)}, HOLD),
        ({"service": "acme/production/pay"}, HOLD),
    ],
)
def test_an_override_counts_for_its_service_digest_and_time(
    changes: dict[str, Any], kind: VerdictKind
) -> None:
    verdict = ask(budget(-1.0), overrides=(override(**changes),))
    assert verdict.kind is kind
    if kind is GO:
        assert (verdict.override, verdict.reasons[0].rule) == (3, "override")
        assert "the fair opens at noon" in verdict.sentence


def test_an_override_that_was_edited_is_not_genuine() -> None:
    signed = sign(override(), b"key")
    assert is_genuine(signed, b"key") and is_valid(signed, b"key", NOW)
    assert not is_genuine(structs.replace(signed, expires_at=NOW + timedelta(days=9)), b"key")
    assert not is_genuine(structs.replace(signed, service="acme/production/pay"), b"key")
    assert not is_genuine(signed, b"other") and not is_genuine(signed, b"")
    assert not is_valid(signed, b"key", NOW + timedelta(hours=1))


def test_a_hold_says_until_when_where_the_numbers_tell() -> None:
    back = NOW + timedelta(days=2)
    assert ask(budget(-1.0, recovers_at=back)).until == back
    assert ask(budget(burns=BURNING)).until == NOW + timedelta(seconds=300)
    assert ask(budget(-1.0, recovers_at=back), budget(name="b", measured_at=None)).until is None


def test_why_is_one_paragraph_with_the_numbers() -> None:
    text = why(ask(budget(0.3)))
    assert text.startswith("Slow for a feature on acme/production/shop:")
    assert "30 % of availability's budget is left, below 40 %" in text and "\n" not in text
    assert "spent" in why_budgets([budget(-1.0), budget(name="b")], POLICY, NOW)


FINITE = st.floats(-1e6, 1e6)
MOMENTS = st.integers(-(10**6), 10**6).map(lambda second: NOW + timedelta(milliseconds=second))
BURNS = st.builds(
    Burn,
    window_s=st.sampled_from([300.0, 1800.0, 3600.0, 21_600.0]),
    rate=st.none() | st.floats(0, 1000),
    coverage_ratio=st.floats(0, 1),
    events=st.floats(0, 1e6),
    bad=st.floats(0, 1e6),
)
BUDGETS = st.builds(
    budget,
    st.floats(-10, 1),
    st.sampled_from(["a", "b", "c"]),
    allowed=st.floats(0, 1e6),
    coverage_ratio=st.floats(0, 1),
    bootstrap=st.booleans(),
    measured_at=st.none() | MOMENTS,
    burns=st.lists(BURNS, max_size=4).map(tuple),
    rate_per_s=st.floats(0, 1e5),
    recovers_at=st.none() | MOMENTS,
)
ASKS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(ChangeClass),
        "policy": st.builds(BudgetPolicy, on_unknown=st.sampled_from(OnUnknown)),
        "overrides": st.lists(
            st.builds(override, n=st.integers(1, 9), at=MOMENTS, expires_at=MOMENTS), max_size=2
        ).map(tuple),
        "from_percent": st.integers(0, 100),
        "first_release": st.booleans(),
        "objectives": st.just((KEY,)) | st.just(()),
    }
)


@given(st.lists(BUDGETS, max_size=3), ASKS)
def test_a_verdict_is_derived_again_from_its_stored_inputs_byte_for_byte(
    budgets: list[Budget], question: dict[str, Any]
) -> None:
    verdict = ask(*budgets, **question)
    stored = msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict)
    again = replay(stored.inputs)
    assert msgspec.json.encode(again) == msgspec.json.encode(verdict)
    assert 0 <= verdict.max_weight_percent <= 100


@given(st.lists(BUDGETS, max_size=3), ASKS)
def test_missing_data_is_never_a_go(budgets: list[Budget], question: dict[str, Any]) -> None:
    missing = structs.replace(budget(name="gone"), measured_at=None)
    question |= {"overrides": (), "first_release": False}
    verdict = ask(*budgets, missing, **question)
    allowed = {GO} if question["kind"] is ChangeClass.ROLLBACK else {HOLD}
    assert verdict.kind in allowed


@given(st.lists(BUDGETS, max_size=3), ASKS)
def test_a_rollback_is_always_allowed(budgets: list[Budget], question: dict[str, Any]) -> None:
    verdict = ask(*budgets, **(question | {"kind": ChangeClass.ROLLBACK}))
    assert (verdict.kind, verdict.max_weight_percent) == (GO, 100)
