"""Scorecard: DORA's five figures of a service or a project, each with what it is made of."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from poise.api.scorecard import DeploymentView
from poise.api.views import Page
from poise.balance.scorecard.decide import Figure, Scorecard, duration
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of

EVIDENCE_SHOWN = 500


def dora(
    service: str | None = None,
    *,
    window: Annotated[str, Parameter(help="How far back, e.g. 7d.")] = "28d",
    evidence: Annotated[str | None, Parameter(help="List the deployments behind a figure.")] = None,
    common: Common = COMMON,
) -> None:
    """Deployment frequency, lead time, failures, recovery, rework; and objectives met. No grades.

    Parameters
    ----------
    service
        One service; all of the environment by default.
    """
    path = f"/api/v1/projects/{project_of(common)}/scorecard"
    asked = {"service": service, "environment": common.named_environment, "window": window}
    query = {name: value for name, value in asked.items() if value}
    with Client(common) as client:
        if evidence is not None:
            where = f"{path}/{evidence}/evidence"
            rows = client.get(where, Page[DeploymentView], limit=EVIDENCE_SHOWN, **query)
            return output.data(rows) if common.json else _list(rows)
        card = client.get(path, Scorecard, **query)
    return output.data(card) if common.json else _show(card)


def _show(card: Scorecard) -> None:
    output.say(f"{card.scope}: {card.sentence}")
    rows = [
        (now.name, shown(now), shown(before), str(now.count), now.sentence)
        for now, before in zip(card.figures, card.previous, strict=True)
    ]
    met = card.objectives
    rows.append(("objectives_met", output.percent(met.ratio), "–", str(len(met.met)), met.sentence))
    output.table(("figure", "now", "before", "of", ""), rows)


def shown(figure: Figure) -> str:
    """A figure with its unit; a dash where there is none."""
    if figure.value is None:
        return "–"
    match figure.unit:
        case "per_day":
            return f"{figure.value:.2g} a day" if figure.value >= 1 else f"{7 * figure.value:.2g} a week"
        case "ratio":
            return output.percent(figure.value)
        case _:
            return duration(figure.value)


def _list(rows: Page[DeploymentView]) -> None:
    if not rows.items:
        output.say("No deployment in this window.")
        return
    headers = ("event", "service", "release", "finished", "trigger", "commits", "failed", "recovered in")
    output.table(headers, map(_row, rows.items))
    if rows.next is not None:
        output.say(f"More: the first {EVIDENCE_SHOWN} are shown; take a shorter --window.")


def _row(one: DeploymentView) -> tuple[str, ...]:
    failed = ", ".join(f"{why} (guessed)" if why in one.guessed else why for why in one.failures)
    trigger = f"{one.trigger.value} (guessed)" if "rework" in one.guessed else one.trigger.value
    return (
        str(one.event),
        one.service,
        "elsewhere" if one.external else f"r{one.release}",
        f"{one.finished_at:%Y-%m-%dT%H:%M:%SZ}",
        "baseline" if one.first else trigger,
        "unknown" if one.commit_count is None else str(one.commit_count),
        f"{failed} {' '.join(one.incidents)}".strip() or "no",
        "–" if one.recovery_s is None else duration(one.recovery_s),
    )
