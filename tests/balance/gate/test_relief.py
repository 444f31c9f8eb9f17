"""What may be asked for against a verdict: only what would help, and exactly what it would bring."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from poise.balance.gate.decide import facts_of, judge
from poise.balance.gate.facts import Approvers, Holds, OpenIncident, Question
from poise.balance.gate.relief import OVERRIDE, if_granted, reliefs
from poise.model.balance import Budget, Override, Verdict, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.grant import Grant, GrantKind
from poise.model.policy import DAY_S, BudgetPolicy
from poise.model.service import Approvals, Service

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SHOP = Service(project="acme", environment="production", name="shop", command="run", port=8000)
HELD, SLOWLY, WENT = VerdictKind.HOLD, VerdictKind.SLOW, VerdictKind.GO


def verdict(left: float, *incidents: OpenIncident, measured: bool = True, **question: Any) -> Verdict:
    budget = Budget(
        service=SHOP.key, objective="availability", target_ratio=0.999, window_s=28 * DAY_S, good=1e6,
        bad=1000 * (1 - left), allowed=1000.0, left_ratio=left, burns=(), coverage_ratio=1.0,
        bootstrap=False, since=NOW - timedelta(days=30), measured_at=NOW if measured else None, at=NOW,
    )  # fmt: skip
    asked = Question(**{"change_class": ChangeClass.FEATURE, "digest": "d2", "weight_percent": 5} | question)
    key = f"{SHOP.key}/availability"
    return judge(asked, SHOP, [budget], BudgetPolicy(), (), incidents, objectives=[key], now=NOW)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (verdict(0.9), {}),
        (verdict(0.2), {OVERRIDE: WENT}),
        (verdict(0.05), {"approval": SLOWLY, "ruling": SLOWLY, OVERRIDE: WENT}),
        (verdict(-0.2), {"exemption": SLOWLY, "ruling": SLOWLY, OVERRIDE: WENT}),
        (verdict(0.9, measured=False), {"ruling": SLOWLY, OVERRIDE: WENT}),
        (
            verdict(-0.2, OpenIncident(key="acme/000001", summary="1 is open")),
            {"ruling": SLOWLY, OVERRIDE: WENT},
        ),
        (verdict(-0.2, change_class=ChangeClass.ROLLBACK), {}),
    ],
    ids=["healthy", "slow", "needs approval", "spent", "unknown", "an incident", "a rollback"],
)
def test_only_what_would_help_is_offered(found: Verdict, expected: dict[str, VerdictKind]) -> None:
    """A form for a grant that changes nothing is a false promise."""
    assert {one.kind: one.verdict.kind for one in reliefs(found)} == expected


def test_what_it_would_bring_is_what_it_brings() -> None:
    """The sentence on the form is judged by the same rules as the grant itself."""
    held = verdict(-0.2)
    offered = {one.kind: one for one in reliefs(held)}
    policy = BudgetPolicy()
    assert {kind: one.most_s for kind, one in offered.items()} == {
        "exemption": policy.exemption_max_s, "ruling": policy.override_max_s, OVERRIDE: policy.override_max_s,
    }  # fmt: skip
    ruling = offered["ruling"].verdict
    assert (ruling.steps_percent, ruling.bake_factor) == (policy.slow_steps_percent, policy.slow_bake_factor)
    assert ruling.max_weight_percent < offered[OVERRIDE].verdict.max_weight_percent
    assert held.kind is HELD and replayable(held), "asking has granted something"


def replayable(found: Verdict) -> bool:
    return found.inputs["overrides"] == [] and found.inputs["grants"] == []


def test_a_wish_for_another_release_would_not_let_this_one_go() -> None:
    """Who decides sees that it helps nothing here."""
    found = verdict(-0.2)
    until = NOW + timedelta(hours=1)
    of_other = Override(
        service=SHOP.key, n=1, by="ada", reason="x", at=NOW, expires_at=until, signature="", digest="d9"
    )
    of_all = Grant(
        kind=GrantKind.RULING, service=SHOP.key, n=2, by="ada", reason="x", at=NOW, expires_at=until
    )
    assert if_granted(found, of_other).kind is HELD
    assert if_granted(found, of_all).kind is SLOWLY


def test_an_approval_at_the_door_is_offered_also_where_it_is_not_the_last() -> None:
    """Two people have to say yes, and the first of them has to start somewhere."""
    facts = facts_of(verdict(0.9).inputs)
    for required, expected in ((1, WENT), (2, HELD)):
        service = structs.replace(SHOP, approvals=Approvals(required=required))
        held = judge(
            facts.question, service, facts.budgets, facts.policy, objectives=facts.objectives, now=NOW,
            holds=Holds(approvers=Approvers(names=("ada", "bob", "eve"), author="ada")),
        )  # fmt: skip
        offered = {one.kind: one.verdict for one in reliefs(held)}
        assert held.kind is HELD and {kind: one.kind for kind, one in offered.items()} == {
            "approval": expected, OVERRIDE: WENT,
        }  # fmt: skip
    assert "1 of 2 approvals (bob); eve may" in offered["approval"].sentence


def test_no_approval_is_offered_that_nobody_can_give() -> None:
    """Whoever may approve is the author, or has done so."""
    facts = facts_of(verdict(0.9).inputs)
    held = judge(
        facts.question, structs.replace(SHOP, approvals=Approvals(required=2)), facts.budgets, facts.policy,
        objectives=facts.objectives, now=NOW, holds=Holds(approvers=Approvers(names=())),
    )  # fmt: skip
    assert held.kind is HELD and [one.kind for one in reliefs(held)] == [OVERRIDE]
