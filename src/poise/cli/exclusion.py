"""Exclusions: time that does not count for budgets. ``poise slo exclude``, ``exclusions``, ``include``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from cyclopts import Parameter

from poise.api.views import Created, Page
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of
from poise.model.errors import Invalid
from poise.model.exclusion import Exclusion


def exclude(
    name: Annotated[str, Parameter(help="A name for it, as database-move.")],
    *subjects: Annotated[str, Parameter(help="service or service/objective; every one when left out.")],
    reason: Annotated[str, Parameter(help="Why; kept in the journal.")],
    start: Annotated[
        str, Parameter(name="--from", help="Instant with offset, or wall time in --zone; now. May be past.")
    ] = "",
    duration: Annotated[str, Parameter(name="--for", help="How long, as 90m or 2h.")] = "1h",
    rrule: Annotated[str, Parameter(help="How it repeats (RFC 5545), as FREQ=WEEKLY;BYDAY=MO.")] = "",
    zone: Annotated[str, Parameter(help="The IANA time zone of wall time.")] = "UTC",
    common: Common = COMMON,
) -> None:
    """Leave time out of budgets, such as maintenance; the budget is shown with and without it."""
    from poise.spec.durations import parse_duration

    duration_s = parse_duration(duration)
    if duration_s is None:
        raise Invalid("POISE-B432", f"{duration!r} is not a duration", where="--for", mend="Use e.g. 90m.")
    body = {
        "name": name,
        "starts": start or datetime.now(UTC).replace(microsecond=0).isoformat(),
        "duration_s": duration_s,
        "reason": reason,
        "rrule": rrule,
        "zone": zone,
        "objectives": [f"{common.environment}/{one}" for one in subjects],
    }
    with Client(common) as client:
        done = client.post(_path(common), body, Created)
    output.data(done) if common.json else output.say(done.sentence)


def exclusions(*, common: Common = COMMON) -> None:
    """Every exclusion of the project, those that were taken back included."""
    with Client(common) as client:
        found = client.get(_path(common), Page[Exclusion], limit=500).items
    if common.json:
        return output.data(found)
    rows = [
        (one.name, one.starts, f"{one.duration_s / 60:g} min", one.rrule or "once", one.zone,
         ", ".join(one.objectives) or "all", one.by, one.reason,
         f"taken back by {one.removed_by}" if one.removed_at else "")
        for one in found
    ]  # fmt: skip
    if not rows:
        return output.talk(common, "Nothing is excluded.")
    return output.table(("name", "from", "for", "repeats", "zone", "what", "by", "reason", ""), rows)


def include(
    name: Annotated[str, Parameter(help="Which exclusion (poise slo exclusions).")],
    *,
    reason: Annotated[str, Parameter(help="Why; kept in the journal.")] = "",
    common: Common = COMMON,
) -> None:
    """Take an exclusion back: its time counts as before."""
    with Client(common) as client:
        path = f"{_path(common)}/{quote(name, safe='')}"
        done = client.delete(path, Created, reason=reason)
    output.data(done) if common.json else output.say(done.sentence)


def _path(common: Common) -> str:
    return f"/api/v1/projects/{quote(project_of(common), safe='')}/exclusions"
