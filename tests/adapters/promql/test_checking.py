"""Whether an expression can be a rule's, known before any data is there."""

from __future__ import annotations

import pytest

from poise.adapters.promql.checking import expression_fault


@pytest.mark.parametrize(
    "expression",
    ["up == 0", "1", "sum by (job) (rate(x[5m]))", "absent(up)", "x @ 5 offset 1m", 'up{a=~"b.*"} > bool 1'],
)
def test_what_can_be_evaluated_passes(expression: str) -> None:
    assert expression_fault(expression) is None


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("sum(", "cannot parse"),
        ("x[5m]", "a scalar or an instant vector, this is a range"),
        ('"text"', "this is a string"),
        ('up{a=~"("}', "illegal regex"),
        ("rate(x)", "cannot parse"),
        ("nosuch(x)", "cannot parse"),
    ],
)
def test_what_cannot_is_told(expression: str, told: str) -> None:
    fault = expression_fault(expression)
    assert fault is not None and told in fault.what
