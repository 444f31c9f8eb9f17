"""Freeze windows as people write them."""

from __future__ import annotations

import pytest

from poise.model.service import FreezeWindow
from poise.spec.problems import Problems
from poise.spec.service import parse_project

FILE = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec: {command: x, port: 1}
---
apiVersion: poise.dev/v1
kind: FreezeWindow
metadata: {name: year-end}
spec: %s
"""


def test_a_freeze_window_is_of_the_project() -> None:
    """A date alone is the beginning of that day on the wall of the zone."""
    spec = (
        "{reason: the books close, firstEventStart: 2026-12-20, zone: Europe/Berlin, duration: 14d, "
        "rrule: FREQ=YEARLY, environments: production, services: [shop]}"
    )
    assert parse_project(FILE % spec, project="acme").project.freezes == (
        FreezeWindow(
            name="year-end", reason="the books close", starts="2026-12-20", duration_s=14 * 86_400.0,
            rrule="FREQ=YEARLY", zone="Europe/Berlin", environments=("production",), services=("shop",),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "place", "said"),
    [
        ("{reason: x, firstEventStart: 2026-12-20, duration: 1h, zone: Berlin}", "9:68", "IANA time zone"),
        ("{reason: x, firstEventStart: soon, duration: 1h}", "9:36", "'soon' is not an instant"),
        ("{reason: x, firstEventStart: 2026-12-20, duration: 1h, rrule: daily}", "9:69", "not read"),
        ("{reason: x, firstEventStart: 2026-12-20, duration: 1h, services: shpo}", "9:72", "'shop'"),
        ("{reason: x, firstEventStart: 2026-12-20, duration: 1h, environments: dev}", "9:76", "production"),
        ("{firstEventStart: 2026-12-20, duration: 1h}", "9:7", "has no 'reason'"),
    ],
)
def test_what_is_wrong_with_one_is_refused_at_its_place(spec: str, place: str, said: str) -> None:
    """Before the push is taken; a freeze that nobody reads would hold nothing."""
    with pytest.raises(Problems) as caught:
        parse_project(FILE % spec, project="acme")
    (problem,) = caught.value.problems
    assert problem.where == f"poise.yaml:{place}" and said in f"{problem.what} {problem.mend}"
