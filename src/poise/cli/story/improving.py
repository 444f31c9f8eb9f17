"""The stage improve: DORA's five figures of what was just played, each with its evidence."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from poise.cli.story.scene import Scene
from poise.cli.story.shipping import must

FIGURES: Final = (
    "deployment_frequency",
    "change_lead_time_s",
    "change_fail_ratio",
    "failed_deployment_recovery_s",
    "rework_ratio",
)


async def improve(scene: Scene, facts: dict[str, Any]) -> None:
    """How the team did, from the record alone."""
    scene.view.doing("poise dora")
    done = await scene.poise("dora", "--window", "1d", "--json")
    told = msgspec.json.decode(done.out, type=dict[str, Any])
    for name in FIGURES:
        figure = told[name]
        facts[name] = figure["value"]
        facts.setdefault("evidence", {})[name] = figure["evidence"]
        must(figure["value"] is not None and figure["evidence"], f"{name} is not known: {figure}")
