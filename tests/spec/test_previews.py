"""Branch previews as people declare them."""

from __future__ import annotations

import pytest

from poise.model.service import Previews
from poise.spec.explain import explain
from poise.spec.previews import gets_preview
from poise.spec.problems import Problems
from poise.spec.service import parse_project

FILE = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec: {command: x, port: 1}
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: jobs}
spec: {command: x}
---
apiVersion: poise.dev/v1
kind: Project
metadata: {name: acme}
spec:
  previews: %s
"""


def test_one_pattern_is_enough_and_the_rest_has_defaults() -> None:
    """Opt-in: without the key no branch has one."""
    found = parse_project(FILE % "{branches: feature/*}", project="acme").project.previews
    assert found == Previews(branches=("feature/*",), life_s=86_400.0, max=5)
    assert gets_preview(found, "feature/a") and not gets_preview(found, "feature/a/b")
    assert not gets_preview(Previews(), "feature/a")
    whole = "{branches: [feature/**, fix-*], life: 2h, max: 3, services: shop}"
    found = parse_project(FILE % whole, project="acme").project.previews
    assert (found.life_s, found.max, found.services) == (7200.0, 3, ("shop",))


def test_what_is_in_force_is_explained_with_the_service() -> None:
    """Only where there are any: most projects have none."""
    declared = parse_project(FILE % "{branches: feature/*, max: 3}", project="acme")
    web, project = declared.services[0], declared.project
    rows = {field: said for field, *said in explain(web, (), project.policy, project.previews)}
    assert rows["previews.max"] == ["3", "declared"] and rows["previews.life"] == ["1d", "default"]
    assert rows["previews.services"] == ["every service with a port", "default"]
    worker = explain(declared.services[1], (), project.policy, project.previews)
    assert not [field for field, _, _ in worker if field.startswith("previews")], "nobody could look at it"
    assert not [field for field, _, _ in explain(web, (), project.policy) if field.startswith("previews")]


@pytest.mark.parametrize(
    ("spec", "place", "said"),
    [
        ("{branches: [a, main]}", "15:24", "branch 'main' is the one that is released"),
        ("{branches: '..'}", "15:24", "'..' is not allowed"),
        ("{life: 2h}", "15:13", "has no 'branches'"),
        ("{branches: a, life: 1s}", "15:33", "out of range"),
        ("{branches: a, max: 0}", "15:32", "out of range"),
        ("{branches: a, lifetime: 2h}", "15:27", "'life'"),
        ("{branches: a, services: shpo}", "15:37", "Did you mean 'shop'?"),
        ("{branches: a, services: [jobs]}", "15:37", "'jobs' has no port"),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(spec: str, place: str, said: str) -> None:
    """Before the push is taken, with what mends it."""
    with pytest.raises(Problems) as caught:
        parse_project(FILE % spec, project="acme")
    (problem,) = caught.value.problems
    assert said in f"{problem.what} {problem.why} {problem.mend}" and problem.mend
    assert problem.where == f"poise.yaml:{place}"
