"""Drift: what was changed outside, by whom and when."""

from __future__ import annotations

from poise.api.views import Page
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of
from poise.model.drift import Drift

SHOWN = 500


def drift(*, common: Common = COMMON) -> None:
    """What differs from what was declared and recorded: who changed it, and when. Repairs nothing."""
    found = standing(common)
    if common.json:
        return output.data(found)
    return show(found)


def standing(common: Common) -> list[Drift]:
    """Every finding that stands in the project."""
    with Client(common) as client:
        return client.get(f"/api/v1/projects/{project_of(common)}/drift", Page[Drift], limit=SHOWN).items


def show(found: list[Drift]) -> None:
    """One sentence, then a line for each."""
    if not found:
        output.say("No drift: what is equals what was declared and recorded.")
        return
    output.say(f"{len(found)} drift{'s' if len(found) > 1 else ''}:")
    output.table(("kind", "what", "by", "at"), map(_row, found))


def _row(one: Drift) -> tuple[str, ...]:
    finding = one.finding
    at = f"{finding.at:%Y-%m-%dT%H:%M:%SZ}" if finding.at else "unknown"
    return finding.kind.value, finding.what, finding.by or "unknown", at
