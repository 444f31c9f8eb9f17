"""Conditions in CEL: refused with a place when they are wrong, and never a pass when they cannot be told."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.model.policy import Condition, Level
from poise.spec.condition import VARIABLES, NotACondition, check_condition, evaluate
from poise.spec.problems import Problems
from poise.spec.service import parse_project

HEAD = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec: {command: x, port: 80}
---
apiVersion: poise.dev/v1
kind: BudgetPolicy
metadata: {name: own}
spec:
  conditions:
"""


def condition(when: str) -> Condition:
    return Condition(name="own", when=when, level=Level.FREEZE)


def refused(when: str) -> tuple[str, str]:
    text = f'{HEAD}    - {{name: own, level: freeze, when: "{when}"}}\n'
    with pytest.raises(Problems) as caught:
        parse_project(text, project="acme")
    (problem,) = caught.value.problems
    assert problem.code == "POISE-S130" and problem.mend
    return problem.where, problem.what


@pytest.mark.parametrize(
    "when",
    [
        "left < 0.2",
        "weekday > 5 || hour < 7",
        "burn_1h > 2.0 && change_class == 'feature'",
        "service.startsWith('pay') && now.getMonth() == 11",
        "from_percent == 0 ? incidents > 0 : overdue > 3",
    ],
)
def test_a_condition_over_what_is_declared_is_accepted(when: str) -> None:
    """What the documentation shows must work."""
    check_condition(when)


@pytest.mark.parametrize(
    ("when", "column", "says"),
    [
        ("left < ", 48, "no CEL expression"),
        ("lft < 0.2", 41, "unknown variable 'lft'"),
        ("left < 0.2 && now.getHour() > 3", 59, "unknown function 'getHour'"),
        ("left", 41, "neither true nor false"),
        ("service + 1 == 'x'", 41, "cannot be evaluated"),
        ("[1, 2].exists(left, left > 1)", 48, "exists() is not allowed"),
    ],
)
def test_a_mistyped_condition_is_refused_at_its_column(when: str, column: int, says: str) -> None:
    """A policy that is wrong must not become a policy that is silent."""
    where, what = refused(when)
    assert where == f"poise.yaml:11:{column}" and says in what


def test_a_condition_that_is_too_long_is_refused() -> None:
    """Its length is what bounds its time."""
    with pytest.raises(NotACondition, match="at most 500"):
        check_condition(" || ".join(["left < 0.2"] * 50))


def test_what_is_not_known_is_a_problem_and_never_false() -> None:
    """A gate that takes an error for 'no' lets through what nobody could judge."""
    for values in ({}, {"left": None}, {"left": math.nan}, {"left": math.inf}):
        found = evaluate(condition("left < 0.2"), values)
        assert not found.holds and found.problem == "'left' is not known"
    assert evaluate(condition("left < 0.2"), {"left": 0.1}).holds
    assert evaluate(condition("left < 0.2"), {"left": 0.3}).problem == ""
    assert evaluate(condition("left"), {"left": 0.3}).problem


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_is_refused(text: str) -> None:
    """What people type ends as an answer, never as a stack trace."""
    try:
        check_condition(text)
    except NotACondition as error:
        assert error.what and error.mend and 0 <= error.offset <= len(text)


def test_every_variable_has_samples_and_a_sentence() -> None:
    """The check on push is only as good as its samples."""
    for name, (low, high, about) in VARIABLES.items():
        assert type(low) is type(high) and about.endswith("."), name
    assert evaluate(
        condition("now > timestamp('2026-01-01T00:00:00Z')"), {"now": datetime(2026, 2, 1, tzinfo=UTC)}
    ).holds
