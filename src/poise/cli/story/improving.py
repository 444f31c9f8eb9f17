"""The stage improve: DORA's five figures of what was just played, each with its evidence."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from poise.balance.scorecard.decide import Scorecard
from poise.cli.story.scene import Scene
from poise.cli.story.shipping import must

FIGURES: Final = {  # by a name that carries its unit
    "deployment_frequency": "deployment_frequency",
    "change_lead_time_s": "change_lead_time",
    "change_fail_ratio": "change_fail_ratio",
    "failed_deployment_recovery_s": "failed_deployment_recovery_time",
    "rework_ratio": "rework_ratio",
}


async def improve(scene: Scene, facts: dict[str, Any]) -> None:
    """How the team did, from the record alone."""
    scene.view.doing("poise dora")
    done = await scene.poise("dora", "--window", "1d", "--json")
    told = msgspec.json.decode(done.out, type=Scorecard)
    found = {figure.name: figure for figure in told.figures}
    evidence: dict[str, list[int]] = {}
    for fact, name in FIGURES.items():
        figure = found[name]
        facts[fact] = figure.value
        evidence[fact] = list(figure.evidence)
        must(figure.value is not None and bool(figure.evidence), f"{name} is not known: {figure.sentence}")
    facts["evidence"] = evidence
