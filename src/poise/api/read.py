"""Routes that read: status, lists with cursors, one object with its ETag, logs."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from poise.api import queries
from poise.api.access import PUBLIC
from poise.api.logs import lines_of
from poise.api.params import After, Cursor, Flag, Limit, Lines, Number, OfProject, Part, Subject
from poise.api.parts import Parts
from poise.api.views import LogLine, Page, ServiceStatus, Status
from poise.engine.journal import ChainReport, verify
from poise.model.balance import Budget, Override, Verdict
from poise.model.delivery import Change, Release, Rollout, Run
from poise.model.drift import Drift
from poise.model.errors import NotFound, Unreachable
from poise.model.fleet import Replica
from poise.model.grant import Grant
from poise.model.objective import Objective
from poise.model.record import Recorded
from poise.model.service import Project, Service
from poise.model.spend import Outlook, SpendLedger
from poise.ports.store import Body


def parts_of(request: Request[Any, Any, Any]) -> Parts:
    """The house behind a request."""
    parts: Parts = request.app.state.parts
    return parts


async def page_of(parts: Parts, body: type[Body], prefix: str, cursor: str, limit: int) -> Page[Body]:
    """One page of a kind under a prefix, ascending by key."""
    rows = await parts.store.objects(body.__name__, prefix, after=cursor, limit=limit + 1)
    more = rows[limit - 1].key if len(rows) > limit else None
    return Page(items=[row.body for row in rows[:limit]], next=more)  # type: ignore[misc]


async def one_of(parts: Parts, body: type[Body], key: str) -> Response[Body]:
    """One object; its generation is the ETag."""
    found, ref = await parts.store.get(body, key)
    if found is None:
        raise NotFound("POISE-E404", f"no {body.__name__.lower()} {key}", mend="Run: poise status")
    return Response(found, headers={"ETag": f'"{ref.generation}"'})


@get("/healthz", opt={"permission": PUBLIC}, sync_to_thread=False)
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@get("/readyz", opt={"permission": PUBLIC}, sync_to_thread=False)
def readyz(request: Request[Any, Any, Any]) -> dict[str, bool]:
    """The loop leads: what is asked for will be done. 503 until then."""
    if parts_of(request).loop.lease is None:
        raise Unreachable("POISE-E705", "not ready: this process does not lead yet", mend="Run: poise doctor")
    return {"ready": True}


@get("/api/v1/status", opt={"permission": "viewer"})
async def get_status(request: Request[Any, Any, Any], project: OfProject = None) -> Status:
    """Everything at one instant, what needs somebody first."""
    return await queries.status(parts_of(request), request.scope["user"], project)


@get("/api/v1/projects", opt={"permission": "viewer"})
async def list_projects(
    request: Request[Any, Any, Any], cursor: Cursor = "", limit: Limit = 100
) -> Page[Project]:
    """Projects that the asker may see."""
    asker, seen, more = request.scope["user"], list[Project](), cursor
    while len(seen) <= limit:  # a cursor names only what the asker may see
        page = await page_of(parts_of(request), Project, "", more, 500)
        seen += [one for one in page.items if queries.may_see(asker, one.name)]
        if page.next is None:
            break
        more = page.next
    return Page(items=seen[:limit], next=seen[limit - 1].name if len(seen) > limit else None)


@get("/api/v1/projects/{project:str}", opt={"permission": "viewer"})
async def get_project(request: Request[Any, Any, Any], project: Part) -> Response[Project]:
    """One project: its policy, and its environments in order."""
    return await one_of(parts_of(request), Project, project)


@get("/api/v1/projects/{project:str}/runs/{n:int}", opt={"permission": "viewer"})
async def get_run(request: Request[Any, Any, Any], project: Part, n: Number) -> Response[Run]:
    """One run with its jobs, steps and test counts."""
    return await one_of(parts_of(request), Run, f"{project}/{n:06d}")


@get("/api/v1/projects/{project:str}/runs/{n:int}/log", opt={"permission": "viewer"})
async def get_run_log(
    request: Request[Any, Any, Any],
    project: Part,
    n: Number,
    after: After = 0,
    limit: Lines = 1000,
) -> Page[LogLine]:
    """A run's output, step after step."""
    parts = parts_of(request)
    run, _ = await parts.store.get(Run, f"{project}/{n:06d}")
    if run is None:
        raise NotFound("POISE-E404", f"no run {n} of {project}", mend="Run: poise status")
    lines = await lines_of(parts.data, run, after, limit, parts.masker)
    return Page(items=lines, next=str(after + len(lines)) if len(lines) == limit else None)


@get(
    "/api/v1/projects/{project:str}/environments/{environment:str}/services/{service:str}",
    opt={"permission": "viewer"},
)
async def get_service(
    request: Request[Any, Any, Any], project: Part, environment: Part, service: Part
) -> ServiceStatus:
    """One service now."""
    parts = parts_of(request)
    declared = await queries.service_or_raise(parts, f"{project}/{environment}/{service}")
    return await queries.service_status(parts, declared, parts.clock.now())


_PROJECT = "/api/v1/projects/{project:str}"
_SERVICE = "/api/v1/projects/{project:str}/environments/{environment:str}/services/{service:str}"


@get(_SERVICE + "/rollouts/{n:int}", opt={"permission": "viewer"})
async def get_rollout(
    request: Request[Any, Any, Any], project: Part, environment: Part, service: Part, n: Number
) -> Response[Rollout]:
    """One rollout with its trial."""
    return await one_of(parts_of(request), Rollout, f"{project}/{environment}/{service}/{n:06d}")


@get("/api/v1/projects/{project:str}/events", opt={"permission": "viewer"})
async def list_events(
    request: Request[Any, Any, Any],
    project: Part,
    after: After = 0,
    limit: Limit = 100,
    subject: Subject = "",
    newest: Flag = False,
) -> Page[Recorded]:
    """The journal of a project, ascending by sequence."""
    under = subject if subject.startswith(f"{project}/") else project
    rows = await parts_of(request).store.journal(after=after, limit=limit, subject=under, last=newest)
    more = str(rows[-1].sequence) if len(rows) == limit and not newest else None
    mine = [row for row in rows if row.event.subject.split("/", 1)[0] == project]  # not shop2's, for shop
    return Page(items=mine, next=more)


@get("/api/v1/audit", opt={"permission": "admin"})
async def audit(request: Request[Any, Any, Any]) -> ChainReport:
    """Walk the hash chain of the whole journal."""
    return await verify(parts_of(request).store)


def _list_in_project(name: str, body: type[Body], said: str) -> HTTPRouteHandler:
    """The route that lists a project's objects of one kind, with cursors."""

    async def handler(
        request: Request[Any, Any, Any], project: Part, cursor: Cursor = "", limit: Limit = 100
    ) -> Any:
        return await page_of(parts_of(request), body, f"{project}/", cursor, limit)

    return _route(f"{_PROJECT}/{name}", name, handler, body, said)


def _list_in_service(name: str, body: type[Body], said: str) -> HTTPRouteHandler:
    """The route that lists a service's objects of one kind, with cursors."""

    async def handler(
        request: Request[Any, Any, Any],
        project: Part,
        environment: Part,
        service: Part,
        cursor: Cursor = "",
        limit: Limit = 100,
    ) -> Any:
        under = f"{project}/{environment}/{service}/"
        return await page_of(parts_of(request), body, under, cursor, limit)

    return _route(f"{_SERVICE}/{name}", name, handler, body, said)


def _route(path: str, name: str, handler: Any, body: type[Body], said: str) -> HTTPRouteHandler:
    handler.__name__, handler.__doc__ = f"list_{name}", said
    handler.__annotations__["return"] = Page[body]  # type: ignore[valid-type]
    return get(path, opt={"permission": "viewer"})(handler)


LISTS = [
    _list_in_project("services", Service, "Declared services."),
    _list_in_project("changes", Change, "Pushed commits."),
    _list_in_project("runs", Run, "Pipeline runs, by number."),
    _list_in_project("drift", Drift, "What was changed outside, by whom and when."),
    _list_in_service("rollouts", Rollout, "Rollouts of a service, by number."),
    _list_in_service("replicas", Replica, "What runs."),
    _list_in_service("objectives", Objective, "SLOs in force."),
    _list_in_service("budgets", Budget, "Error budgets now."),
    _list_in_service("outlooks", Outlook, "Whether budgets burn, since when, and what will be left of them."),
    _list_in_service("ledgers", SpendLedger, "What budgets were spent on, and who spent it."),
    _list_in_service("overrides", Override, "Decisions of people against the gate."),
    _list_in_service("grants", Grant, "Approvals, exemptions and rulings."),
    _list_in_service("verdicts", Verdict, "What the gate answered, with the inputs that re-derive it."),
]


@get(_PROJECT + "/releases/{service:str}", opt={"permission": "viewer"})
async def list_releases(
    request: Request[Any, Any, Any], project: Part, service: Part, cursor: Cursor = "", limit: Limit = 100
) -> Page[Release]:
    """Immutable releases of a service."""
    return await page_of(parts_of(request), Release, f"{project}/{service}/", cursor, limit)


ROUTES = [
    healthz, readyz, get_status, list_projects, get_project, get_run, get_run_log, list_releases,
    get_service, get_rollout, list_events, audit, *LISTS,
]  # fmt: skip
