"""Scale: how many replicas a service has and needs, by which rule and numbers."""

from __future__ import annotations

from poise.api.scale import ScaleView
from poise.api.views import Page
from poise.cli import output
from poise.cli.client import Client
from poise.cli.observe import service_path
from poise.cli.place import COMMON, Common, project_of, service_key
from poise.model.service import Service


def scale(service: str | None = None, *, common: Common = COMMON) -> None:
    """How many replicas a service has and needs, and why. Without a service: all of the project."""
    with Client(common) as client:
        if service is None:
            project = project_of(common)
            declared = client.get(f"/api/v1/projects/{project}/services", Page[Service], limit=500).items
            wanted = common.named_environment
            keys = [one.key for one in declared if not wanted or one.environment == wanted]
        else:
            keys = [service_key(common, service)]
        found = [client.get(service_path(key) + "/scale", ScaleView) for key in keys]
    if common.json:
        return output.data(found if service is None else found[0])
    if service is None:
        headers = ("service", "replicas", "needed", "requests/s", "in flight", "min-max", "rule")
        return output.table(headers, map(_row, found))
    return _show(found[0])


def _row(one: ScaleView) -> tuple[str, ...]:
    now = one.now
    needed = "–" if one.needed is None else str(one.needed)
    bounds = f"{now.min}-{now.max}"
    return (
        one.service,
        str(now.current),
        needed,
        _number(now.rate_per_s),
        _number(now.in_flight),
        bounds,
        now.rule,
    )


def _show(one: ScaleView) -> None:
    now = one.now
    output.say(one.sentence)
    if now.withheld:
        output.say(f"  It does not go in: {now.withheld}.")
    by_rate, by_flight = _count(now.needed_by_rate), _count(now.needed_by_in_flight)
    rows = [
        ("offered rate", f"{_number(now.rate_per_s)}/s", f"{by_rate} replicas"),
        ("in flight", _number(now.in_flight), f"{by_flight} replicas"),
        ("bounds", f"{now.min} to {now.max}", f"{now.current} run"),
        ("reversals left today", str(now.reversals_left), f"of {one.scaling.reversals_per_day}"),
    ]
    output.table(("what", "now", "needs"), rows)
    if one.target is not None and one.target.changed_at is not None:
        output.say(f"  Last change {one.target.changed_at:%Y-%m-%d %H:%M:%S} UTC by {one.target.rule}.")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)
