"""What a service needs and who must approve it, as people write them."""

from __future__ import annotations

import pytest

from poise.model.access import Role
from poise.model.service import Approvals
from poise.spec.problems import Problems
from poise.spec.service import parse_project

FILE = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec:
  command: x
  port: 1
  %s
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: pay}
spec:
  command: x
  %s
"""


def test_needs_and_approvals_are_of_the_service_in_its_environment() -> None:
    """Staging lets in what nobody approved; a service without a port can be needed too."""
    over = "{name: production, overrides: {approvals: {required: 2, from: admin}, needs: pay}}"
    text = FILE % (f"environments: [{{name: staging}}, {over}]", "environments: [{name: production}]")
    by_key = {one.key: one for one in parse_project(text, project="acme").services}
    assert by_key["acme/staging/shop"].approvals == Approvals()
    shop = by_key["acme/production/shop"]
    assert (shop.approvals, shop.needs) == (Approvals(required=2, role=Role.ADMIN), ("pay",))


def test_a_number_is_enough() -> None:
    """Of operators."""
    (shop, _) = parse_project(FILE % ("approvals: 1", "replicas: 1"), project="acme").services
    assert shop.approvals == Approvals(required=1, role=Role.OPERATOR)


@pytest.mark.parametrize(
    ("first", "second", "place", "said"),
    [
        ("needs: [pya]", "replicas: 1", "7:11", "no service 'pya'"),
        ("needs: [pay]", "needs: [shop]", "14:11", "circle: shop -> pay -> shop"),
        ("needs: [shop]", "replicas: 1", "7:11", "circle: shop -> shop"),
        ("approvals: {from: operator}", "replicas: 1", "7:14", "has no 'required'"),
        ("approvals: {required: 1, from: viewer}", "replicas: 1", "7:34", "one of operator, admin"),
        ("approvals: many", "replicas: 1", "7:14", "whole number"),
    ],
)
def test_what_can_never_be_is_refused_at_its_place(first: str, second: str, place: str, said: str) -> None:
    """A circle would wait for ever, and an unknown name would hold nothing."""
    with pytest.raises(Problems) as caught:
        parse_project(FILE % (first, second), project="acme")
    (problem,) = caught.value.problems
    assert problem.where == f"poise.yaml:{place}" and said in f"{problem.what} {problem.mend}"
