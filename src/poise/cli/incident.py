"""Incidents: list, show, timeline, and what a person says in one."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from poise.api.incidents import IncidentView
from poise.api.timeline import Entry
from poise.api.views import Created, Page
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of
from poise.model.incident import Incident, IncidentVerb, Severity

incident = App(name="incident", help="Trouble: what is open, what happened, who is on it.")

N = Annotated[int, Parameter(help="The incident's number.")]
Why = Annotated[str, Parameter(help="A word about it; kept in the timeline.")]


def _path(common: Common, rest: str = "") -> str:
    return f"/api/v1/projects/{project_of(common)}/incidents{rest}"


@incident.command(name="list")
def list_all(
    *,
    state: Annotated[str, Parameter(help="open, or one state; empty: all.")] = "",
    last: int = 50,
    common: Common = COMMON,
) -> None:
    """Incidents, the open ones first."""
    with Client(common) as client:
        found = client.get(_path(common), Page[Incident], state=state, limit=min(max(last, 1), 500)).items
    if common.json:
        return output.data(found)
    if not found:
        return output.say("No incident." if not state else f"No incident is {state}.")
    output.table(("n", "severity", "state", "since", "alerts", "what"), map(_row, found))
    return None


def _row(one: Incident) -> tuple[str, ...]:
    since = f"{one.onset_at:%Y-%m-%d %H:%M:%S}"
    return str(one.n), one.severity, one.state, since, str(one.alert_count), one.title


@incident.command
def show(n: N, *, common: Common = COMMON) -> None:
    """One incident: how it stands, its alerts, what is suspected, who was paged."""
    with Client(common) as client:
        found = client.get(_path(common, f"/{n}"), IncidentView)
    if common.json:
        return output.data(found)
    output.say(found.sentence)
    one = found.incident
    output.say(f"  service {one.service}; {one.alert_count} alerts; began {one.onset_at:%Y-%m-%d %H:%M:%SZ}")
    for service, rollout in sorted(one.rollouts.items()):
        output.say(f"  {service} ran rollout {rollout} then")
    for alert in found.alerts:
        output.say(f"  {alert.state} {alert.severity} {alert.key.split('/', 2)[2]}: {alert.summary}")
    if found.diagnosis is not None:
        output.say(f"  {found.diagnosis.sentence}")
    for page in found.pages:
        how = "sent" if page.sent_at is not None else page.problem or "not sent yet"
        output.say(f"  {page.person} was paged by {page.contact.kind}: {how}")
    if one.state == "open":
        output.say(f"  To say that you are on it: poise incident ack {n}")
    return None


@incident.command
def timeline(n: N, *, last: int = 100, common: Common = COMMON) -> None:
    """What happened, in order, from an hour before."""
    with Client(common) as client:
        rows = client.get(
            _path(common, f"/{n}/timeline"), Page[Entry], newest=True, limit=min(max(last, 1), 500)
        ).items
    if common.json:
        return output.data(rows)
    for row in rows:
        output.say(f"{row.at:%Y-%m-%dT%H:%M:%SZ} {row.kind}: {row.sentence} [{row.sequence}]")
    return None


def _order(n: int, verb: IncidentVerb, text: str, common: Common) -> None:
    with Client(common) as client:
        done = client.post(_path(common, f"/{n}/orders"), {"verb": verb, "text": text}, Created)
    output.data(done) if common.json else output.say(done.sentence)


@incident.command
def ack(n: N, text: Why = "", *, common: Common = COMMON) -> None:
    """Say that you are on it; nobody else is paged."""
    _order(n, IncidentVerb.ACKNOWLEDGE, text, common)


@incident.command
def mitigate(n: N, text: Why = "", *, common: Common = COMMON) -> None:
    """Say that users are well again, though the cause is still there."""
    _order(n, IncidentVerb.MITIGATE, text, common)


@incident.command
def resolve(n: N, text: Why = "", *, common: Common = COMMON) -> None:
    """Say that it is over."""
    _order(n, IncidentVerb.RESOLVE, text, common)


@incident.command
def reopen(n: N, text: Why = "", *, common: Common = COMMON) -> None:
    """Say that it is not over after all."""
    _order(n, IncidentVerb.REOPEN, text, common)


@incident.command
def note(n: N, text: Why, *, common: Common = COMMON) -> None:
    """Write a line into the timeline."""
    _order(n, IncidentVerb.NOTE, text, common)


@incident.command
def rate(n: N, severity: Severity, *, common: Common = COMMON) -> None:
    """Set the severity; it is raised again only by something new that is worse."""
    _order(n, IncidentVerb.SEVERITY, severity.value, common)


@incident.command
def merge(n: N, into: N, *, common: Common = COMMON) -> None:
    """Make it part of another incident."""
    _order(n, IncidentVerb.MERGE, str(into), common)


@incident.command(name="open")
def open_by_hand(
    service: Annotated[str, Parameter(help="The service that shows it.")],
    title: Annotated[str, Parameter(help="What is wrong, in a sentence.")],
    *,
    severity: Severity = Severity.SEV2,
    common: Common = COMMON,
) -> None:
    """Open one by hand, before any alert did."""
    body = {
        "service": service, "title": title, "severity": severity, "environment": common.environment,
    }  # fmt: skip
    with Client(common) as client:
        done = client.post(_path(common), body, Created)
    output.data(done) if common.json else output.say(done.sentence)
