"""What ``docs/gate.md`` shows works as it is shown."""

from __future__ import annotations

from pathlib import Path

from poise.model.policy import Level
from poise.spec.condition import VARIABLES
from poise.spec.service import parse_project

DOCUMENT = (Path(__file__).parents[2] / "docs" / "gate.md").read_text()
SERVICE = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec: {command: x, port: 80}
---
"""


def test_the_policy_of_the_document_is_accepted_and_its_defaults_are_the_real_ones() -> None:
    """A page that drifts from the code misleads everybody who trusts it."""
    example = DOCUMENT.split("```yaml\n")[1].split("```")[0]
    shown = parse_project(SERVICE + example, project="shop").project.policy
    bare = parse_project(SERVICE.removesuffix("---\n"), project="shop").project.policy
    own = ("name", "plan", "escalate_to", "conditions", "classes")
    differs = {
        name
        for name in type(shown).__struct_fields__
        if name not in own and getattr(shown, name) != getattr(bare, name)
    }
    assert differs == set()
    assert [one.level for one in shown.conditions] == [Level.APPROVAL] and len(shown.classes) == 2


def test_every_variable_of_a_condition_is_in_the_document() -> None:
    """What one may ask for is a list, not a guess."""
    assert not [name for name in VARIABLES if f"`{name}`" not in DOCUMENT]
