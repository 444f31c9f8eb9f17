"""Targets: what is scraped, how that went, and what was left out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter
from msgspec import Struct

from poise.api.target_views import NEVER, ActiveTarget, Targets
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of

_ORDER = {"down": 0, "unknown": 1, "up": 2}
_OWN = ("job", "instance", "project")


class _Answer(Struct, frozen=True):
    data: Targets


def targets(
    job: str = "",
    *,
    everywhere: Annotated[bool, Parameter(help="Of all projects, not only this folder's.")] = False,
    dropped: Annotated[bool, Parameter(help="Those that relabelling drops.")] = False,
    common: Common = COMMON,
) -> int:
    """What is scraped: health, last scrape, faults; exit 1 when a target is down.

    Parameters
    ----------
    job
        Of this scrape configuration alone.
    """
    with Client(common) as client:
        found = client.get("/api/v1/targets", _Answer, scrapePool=job or None).data
    if not everywhere:
        found = _of_project(found, project_of(common))
    if common.json:
        output.data(found)
    elif dropped:
        _show_dropped(found)
    else:
        _show(found)
    return int(any(one.health == "down" for one in found.activeTargets))


def _of_project(found: Targets, project: str) -> Targets:
    return Targets(
        activeTargets=tuple(one for one in found.activeTargets if one.project == project),
        droppedTargets=tuple(one for one in found.droppedTargets if one.project == project),
        droppedTargetCounts=found.droppedTargetCounts,
        faults={job: told for job, told in found.faults.items() if job.startswith(f"{project}/")},
    )


def _show(found: Targets) -> None:
    if not found.activeTargets:
        output.say("Nothing is scraped: name a prometheus.yml under scrapeConfigs of kind Project.")
    else:
        rows = sorted(found.activeTargets, key=lambda one: (_ORDER[one.health], one.scrapePool))
        output.table(
            ("job", "instance", "health", "last scrape", "took", "samples", "labels"), map(_row, rows)
        )
    for one in found.activeTargets:
        for said in ((one.lastError,) if one.lastError else ()) + one.faults:
            output.say(f"{one.scrapePool} {one.labels.get('instance', '')}: {said}")
    for job, said in found.faults.items():
        output.say(f"{job}: {said}")
    if found.droppedTargets:
        output.say(f"{len(found.droppedTargets)} more are dropped: poise targets --dropped")


def _row(one: ActiveTarget) -> tuple[str, ...]:
    rest = ", ".join(f"{name}={text}" for name, text in one.labels.items() if name not in _OWN)
    seen = one.lastScrape != NEVER
    return (
        one.scrapePool,
        one.labels.get("instance", ""),
        one.health,
        _ago(one.lastScrape) if seen else "never",
        f"{one.lastScrapeDuration * 1000:.0f} ms" if seen else "",
        str(one.samples),
        rest,
    )


def _ago(text: str) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    return f"{max(0.0, seconds):.0f} s ago"


def _show_dropped(found: Targets) -> None:
    rows = [
        (one.scrapePool, one.discoveredLabels.get("__address__", ""), one.why) for one in found.droppedTargets
    ]
    output.table(("job", "address", "why"), rows)
