"""Unknown is never a go: broken inputs, the two exceptions by name, and where other gates fail open."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import structs
from tests.balance.gate.cases import BREAKS, NOW, SHOP, first_release, healthy, unsafe, young
from tests.balance.gate.test_decide import ask, budget

from poise.balance.gate.decide import replay
from poise.model.balance import VerdictKind
from poise.model.policy import BudgetPolicy

CASES = 20 * len(BREAKS)


@pytest.mark.parametrize("kind", list(BREAKS))
def test_broken_inputs_never_go(kind: str) -> None:
    """The whole point of a gate: what nobody knows does not pass, whatever the class of change."""
    place = list(BREAKS).index(kind)
    for seed in range(place, CASES, len(BREAKS)):
        case = unsafe(seed)
        verdict = case.verdict
        assert case.kind == kind and verdict.kind is VerdictKind.HOLD, (seed, verdict.sentence)
        assert verdict.max_weight_percent == 0 and verdict.reasons
        assert "nan" not in msgspec.json.encode(verdict.reasons).decode().lower()
        assert replay(verdict.inputs).kind is VerdictKind.HOLD


def test_healthy_inputs_go() -> None:
    """A gate that holds everything is safe and of no use."""
    kinds = [healthy(seed).verdict.kind for seed in range(200)]
    assert kinds.count(VerdictKind.GO) == len(kinds)


def test_the_two_exceptions_are_first_releases_and_young_objectives_and_say_so() -> None:
    """Missing history is not missing data, and the verdict tells which of the two it stands on."""
    for seed in range(100):
        first = first_release(seed).verdict
        assert first.kind is VerdictKind.GO and first.sentence.startswith("go (bootstrap)")
        fresh = young(seed).verdict
        assert fresh.kind is VerdictKind.SLOW and fresh.sentence.startswith("slow (bootstrap)")


def test_no_assessment_at_all_is_no_approval() -> None:
    """NthLayer 3.0.3 approves when nothing was assessed, and when the assessment's API fails."""
    verdict = ask(objectives=(f"{SHOP.key}/availability",))
    assert verdict.kind is VerdictKind.HOLD and verdict.reasons[0].rule == "no-budget"
    assert ask(objectives=()).kind is VerdictKind.HOLD


def test_no_data_and_an_error_are_not_a_hundred_percent() -> None:
    """NthLayer 3.0.3 drops objectives without data and then averages what is left: '100 % remaining'."""
    verdict = ask(budget(1.0), budget(1.0, "latency", measured_at=None))
    assert verdict.kind is VerdictKind.HOLD
    verdict = ask(budget(1.0), objectives=(budget().key, f"{SHOP.key}/latency"))
    assert verdict.kind is VerdictKind.HOLD


@pytest.mark.parametrize("consumed", [(1.0, 0.0, 0.0), (2.5, 0.0, 0.0, 0.0), (10.0,)])
def test_one_spent_objective_among_full_ones_holds(consumed: tuple[float, ...]) -> None:
    """NthLayer 3.0.3 averages 100/0/0 % consumed to 66.7 % left, and 250/0/0/0 to 37.5 %: approved."""
    budgets = [budget(1.0 - spent, name=f"o{n}") for n, spent in enumerate(consumed)]
    verdict = ask(*budgets)
    assert verdict.kind is VerdictKind.HOLD and verdict.reasons[0].numbers["objective"].endswith("/o0")


def test_no_tier_of_service_is_exempt_from_the_hold() -> None:
    """NthLayer 3.0.3 blocks nothing of tier standard or low; here a lax policy still has a freeze."""
    lax = BudgetPolicy(slow_below_ratio=0.0, approval_below_ratio=0.0, fast_above_ratio=0.0)
    assert ask(budget(-0.01), policy=lax).kind is VerdictKind.HOLD


def test_a_source_that_cannot_be_read_is_told_with_the_age_of_what_is_known() -> None:
    """The last known verdict stands for as long as the policy says, and says how old it is."""
    fresh = budget(0.9, problem="the metrics server cannot be reached")
    verdict = ask(fresh)
    assert verdict.kind is VerdictKind.GO and "as of 0 s ago; it cannot be read now" in verdict.sentence
    old = structs.replace(fresh, measured_at=NOW.replace(hour=11))
    assert ask(old).kind is VerdictKind.HOLD
