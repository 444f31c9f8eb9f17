"""Where every page and act lives, so that no address is written twice."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import asdict

from poise.model.delivery import Verb

OVERVIEW = "/"
AUDIT = "/audit"
INCIDENTS = "/incidents"
LOGIN = "/login"
LOGOUT = "/logout"
RECORDS = "/records"
TRACES = "/traces"
EVENTS = "/api/v1/stream"

_OF_INCIDENTS = (
    "dev.cdevents.incident.", "dev.poise.incident.", "dev.poise.page.", "dev.poise.escalation.",
    "dev.poise.cause.", "dev.poise.review.", "dev.poise.action.",
)  # fmt: skip
_BY_SERVICE = (
    "dev.poise.config.", "dev.poise.secret.", "dev.poise.override.", "dev.poise.grant.",
    "dev.poise.order.given", "dev.poise.alert.", "dev.poise.budget.", "dev.poise.scale.", "dev.poise.page.",
)  # fmt: skip
_TYPES = {  # an event type that is about an object of this kind
    "Incident": "dev.poise.incident.",
    "Diagnosis": "dev.poise.cause.",
    "Review": "dev.poise.review.",
    "Config": "dev.poise.config.",
    "Secret": "dev.poise.secret.",
    "Override": "dev.poise.override.",
    "Grant": "dev.poise.grant.",
    "Objective": "dev.poise.budget.",
    "Budget": "dev.poise.budget.",
    "Alert": "dev.poise.alert.",
}


def service(key: str) -> str:
    """The page of a service; ``key`` is project/environment/service."""
    return f"/services/{quote(key)}"


def objective(key: str) -> str:
    """The page of an objective; ``key`` is project/environment/service/objective."""
    of, _, name = key.rpartition("/")
    return f"{service(of)}/objectives/{quote(name, safe='')}"


def rollout(key: str, n: int) -> str:
    """The page of rollout ``n`` of a service."""
    return f"/rollouts/{quote(key)}/{n}"


def digest(project: str, digest: str, what: str) -> str:
    """A document about a release: ``provenance`` or ``sbom``."""
    return f"/api/v1/projects/{quote(project, safe='')}/digests/{quote(digest, safe='')}/{what}"


def run(project: str, n: int) -> str:
    """The page of a run."""
    return f"/runs/{quote(project, safe='')}/{n}"


def run_log(project: str, n: int) -> str:
    """The live log of a run (Server-Sent Events)."""
    return f"/api/v1/projects/{quote(project, safe='')}/runs/{n}/stream"


def logs(key: str) -> str:
    """What the replicas of a service print."""
    return f"/logs/{quote(key)}"


def log_stream(key: str) -> str:
    """The same as it comes (Server-Sent Events)."""
    project, environment, service = (quote(part, safe="") for part in key.split("/"))
    return f"/api/v1/projects/{project}/environments/{environment}/services/{service}/log/stream"


def run_logs(project: str, n: int) -> str:
    """The searchable log of a run."""
    return f"{run(project, n)}/logs"


def run_log_stream(project: str, n: int) -> str:
    """What a run's steps print as it comes (Server-Sent Events)."""
    return f"/api/v1/projects/{quote(project, safe='')}/runs/{n}/log/stream"


def audit_of(subject: str) -> str:
    """The journal of one subject."""
    return f"{AUDIT}?{urlencode({'subject': subject})}"


def act(verb: Verb | str, key: str) -> str:
    """Where a form asks for an act on a service: a Verb."""
    return f"/act/{verb}/{quote(key)}"


def permits(key: str, verb: str) -> str:
    """Where a form asks for an override or a grant ("ask"), or decides one ("decide")."""
    return f"/permits/{quote(key)}/{verb}"


def stop_previews(key: str, label: str) -> str:
    """Where a form on the page of service ``key`` stops the previews of the branch with this label."""
    return f"{service(key)}/previews/{quote(label, safe='')}/stop"


def delivery(project: str) -> str:
    """A project's way from commits to users."""
    return f"/projects/{quote(project, safe='')}/delivery"


def scorecard(project: str) -> str:
    """A project's figures."""
    return f"/projects/{quote(project, safe='')}/scorecard"


def oncall(project: str) -> str:
    """Who is on call, and who will be."""
    return f"/projects/{quote(project, safe='')}/oncall"


def oncall_act(project: str, schedule: str, verb: str) -> str:
    """Where a form adds ("override") or cancels ("cancel") an override."""
    return f"{oncall(project)}/{quote(schedule, safe='')}/{verb}"


def incidents(project: str) -> str:
    """The incidents of a project."""
    return f"/projects/{quote(project, safe='')}/incidents"


def incident(project: str, n: int) -> str:
    """The room of an incident."""
    return f"{incidents(project)}/{n}"


def incident_say(project: str, n: int) -> str:
    """Where a form says a person's word in an incident."""
    return f"{incident(project, n)}/say"


def review(project: str, n: int) -> str:
    """The post-mortem of an incident."""
    return f"{incident(project, n)}/review"


def review_act(project: str, n: int, act: str) -> str:
    """Where a form of the post-mortem goes: save, preview, action, done or publish."""
    return f"{review(project, n)}/{act}"


def traces(service: str = "") -> str:
    """The traces in which a service takes part, or all."""
    return f"{TRACES}?{urlencode({'service': service})}" if service else TRACES


def trace(trace_id: str, span_id: str = "") -> str:
    """One trace, with a span's details."""
    here = f"{TRACES}/{quote(trace_id, safe='')}"
    return f"{here}?{urlencode({'span': span_id})}#span" if span_id else here


def records(service: str = "", template: str = "") -> str:
    """The log records of a service, or all; perhaps of one template."""
    asked = {name: value for name, value in (("service", service), ("template", template)) if value}
    return f"{RECORDS}?{urlencode(asked)}" if asked else RECORDS


def older(page: str, wanted: Struct, cursor: str) -> str:
    """The same list from a cursor on."""
    asked = {name: value for name, value in asdict(wanted).items() if value}
    asked = {name: "true" if value is True else value for name, value in asked.items()}
    return f"{page}?{urlencode({**asked, 'cursor': cursor})}"


def event(project: str, sequence: int) -> str:
    """One event of the journal."""
    return f"/projects/{quote(project, safe='')}/events/{sequence}"


def about(subject: str, type_: str = "") -> str:
    """The page of what an event is about; empty where there is none.

    A fourth part that is a number is a rollout's, unless the event is of settings, overrides, grants or
    orders, which are numbered by service; a pair is an incident or a run.

    >>> about("a/p/s/000007"), about("a/p/s/000007", "dev.poise.config.changed")
    ('/rollouts/a/p/s/7', '/services/a/p/s')
    >>> about("a/000003"), about("a/000003", "dev.poise.page.sent")
    ('/runs/a/3', '/projects/a/incidents/3')
    """
    parts = subject.split("/")
    service_key = "/".join(parts[:3])
    if len(parts) >= 2 and parts[1].isdecimal():
        of_incident = type_.startswith(_OF_INCIDENTS)
        return (incident if of_incident else run)(parts[0], int(parts[1]))
    if len(parts) >= 4 and parts[3].isdecimal() and not type_.startswith(_BY_SERVICE):
        return rollout(service_key, int(parts[3]))
    return service(service_key) if len(parts) >= 3 and parts[2] != "-" else ""


def evidence(place: str, project: str) -> str:
    """Where ``event/<sequence>`` or ``<Kind>/<key>`` is shown; empty for what has no page."""
    kind, _, key = place.partition("/")
    if kind == "event":
        return event(project, int(key)) if key.isdecimal() else ""
    return about(key, _TYPES.get(kind, "")) if key and kind[:1].isupper() else ""


def own(href: str) -> str | None:
    """``href`` if it is a path or fragment on this server, else None.

    >>> own("/audit"), own("//evil.example"), own("javascript:alert(1)")
    ('/audit', None, None)
    """
    if href.startswith("#"):
        return href
    is_path = href.startswith("/") and not href.startswith(("//", "/\\"))
    return href if is_path and href.isprintable() else None
