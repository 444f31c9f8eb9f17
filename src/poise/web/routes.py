"""The pages over HTTP: read, compose, render; and the acts that their forms ask for."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import MediaType, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import QueryParameter
from litestar.response import Redirect

from poise.api.access import PUBLIC, SESSION_COOKIE, revoke_session
from poise.api.act import order_decision
from poise.api.asks import GiveOrder
from poise.api.idempotency import patiently
from poise.api.params import Number, Part, Subject
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.model.access import Principal
from poise.model.delivery import Verb
from poise.model.errors import Invalid, NotFound
from poise.ports.store import Transaction
from poise.web import (
    ack,
    assets,
    compose,
    forms,
    incident_compose,
    incident_routes,
    links,
    objective_compose,
    output_routes,
    pages,
    permits_routes,
    previews_routes,
    project_routes,
    review_routes,
    rollout_compose,
    sign_in,
    traces_routes,
    views,
)
from poise.web.forms import Asked, Form
from poise.web.series import CHART_WINDOWS

Window = Annotated[str, QueryParameter(max_length=10)]
PAGE: dict[str, Any] = {"media_type": MediaType.HTML, "opt": {"permission": "viewer", "page": True}}


async def _around(request: Asked, project: str = "") -> tuple[views.Chrome, list[Cookie]]:
    """The chrome for this reader, and the cookie that pairs with its forms."""
    csrf, cookies = sign_in.csrf_of(request)
    return await compose.chrome(parts_of(request), request.scope["user"], csrf, project), cookies


@get("/", **PAGE)
async def overview(request: Asked) -> Response[str]:
    """Every service, those in need first."""
    around, cookies = await _around(request)
    parts, asker = parts_of(request), request.scope["user"]
    opened = await incident_compose.open_incidents(parts, asker)
    view = await compose.overview(parts, asker, around, opened)
    return Response(pages.overview(view), cookies=cookies)


@get("/services/{project:str}/{environment:str}/{service:str}", **PAGE)
async def service(
    request: Asked, project: Part, environment: Part, service: Part, window: Window = "1h"
) -> Response[str]:
    """One service."""
    if window not in CHART_WINDOWS:
        raise Invalid("POISE-E423", f"no window {window}", why=f"There are {', '.join(CHART_WINDOWS)}.")
    around, cookies = await _around(request, project)
    key = f"{project}/{environment}/{service}"
    view = await compose.service(parts_of(request), key, window, around)
    return Response(pages.service(view), cookies=cookies)


@get("/services/{project:str}/{environment:str}/{service:str}/objectives/{objective:str}", **PAGE)
async def objective(
    request: Asked, project: Part, environment: Part, service: Part, objective: Part
) -> Response[str]:
    """One objective: what is left of its budget, what it was spent on, and why."""
    around, cookies = await _around(request, project)
    key = f"{project}/{environment}/{service}/{objective}"
    view = await objective_compose.objective(parts_of(request), key, around)
    return Response(pages.objective(view), cookies=cookies)


@get("/runs/{project:str}/{n:int}", **PAGE)
async def run(request: Asked, project: Part, n: Number) -> Response[str]:
    """One pipeline run with its log."""
    around, cookies = await _around(request, project)
    return Response(pages.run(await compose.run(parts_of(request), project, n, around)), cookies=cookies)


@get("/rollouts/{project:str}/{environment:str}/{service:str}/{n:int}", **PAGE)
async def rollout(
    request: Asked, project: Part, environment: Part, service: Part, n: Number
) -> Response[str]:
    """One rollout."""
    around, cookies = await _around(request, project)
    view = await rollout_compose.rollout(parts_of(request), f"{project}/{environment}/{service}", n, around)
    return Response(pages.rollout(view), cookies=cookies)


@get(links.AUDIT, **PAGE)
async def audit(request: Asked, subject: Subject = "") -> Response[str]:
    """The journal."""
    around, cookies = await _around(request)
    view = await compose.audit(parts_of(request), request.scope["user"], subject, around)
    return Response(pages.audit(view), cookies=cookies)


@post(
    "/act/{verb:str}/{project:str}/{environment:str}/{service:str}",
    opt={"permission": "operator", "page": True},
)
async def act(
    request: Asked, verb: Part, project: Part, environment: Part, service: Part, data: Form
) -> Redirect:
    """What a form asks for: an order to a room."""
    parts, asker = parts_of(request), request.scope["user"]
    sign_in.same_form(request, data)
    key, reason = f"{project}/{environment}/{service}", forms.reason_of(data)
    if verb not in set(Verb):
        raise NotFound("POISE-E404", f"no act {verb}", why=f"There are {', '.join(Verb)}.")
    number = int(data["rollout"]) if data.get("rollout", "").isdigit() else None
    asked = GiveOrder(verb=Verb(verb), reason=reason, rollout=number)
    await patiently(lambda: _give(parts, asker, key, asked))
    back = links.service(key) if number is None else links.rollout(key, number)
    return Redirect(back, status_code=303)


async def _give(parts: Parts, asker: Principal, key: str, asked: GiveOrder) -> None:
    decision, _ = await order_decision(parts, asker, key, asked)
    now = parts.clock.now()
    await parts.store.commit(
        Transaction(at=now, reads=decision.reads, writes=decision.writes, events=decision.events)
    )


@post(links.LOGOUT, opt={"permission": "viewer", "page": True})
async def logout(request: Asked, data: Form) -> Redirect:
    """End the session: its cookie opens nothing any more, wherever it was copied to."""
    sign_in.same_form(request, data)
    await revoke_session(parts_of(request), request.cookies.get(SESSION_COOKIE, ""))
    gone = Cookie(key=SESSION_COOKIE, value="", max_age=0, path="/")
    return Redirect(links.OVERVIEW, status_code=303, cookies=[gone])


@get("/static/{name:str}", opt={"permission": PUBLIC}, sync_to_thread=False)
def static(name: Part) -> Response[bytes]:
    """A file named by its hash: kept for ever by browsers."""
    found = assets.lookup(name)
    if found is None:
        raise NotFound("POISE-E404", f"no file {name}")
    body, content_type = found
    return Response(body, media_type=content_type, headers={"cache-control": assets.IMMUTABLE})


ROUTES = [
    overview,
    service,
    objective,
    run,
    rollout,
    audit,
    act,
    logout,
    static,
    *sign_in.ROUTES,
    *ack.ROUTES,
    *output_routes.ROUTES,
    *permits_routes.ROUTES,
    *previews_routes.ROUTES,
    *project_routes.ROUTES,
    *incident_routes.ROUTES,
    *traces_routes.ROUTES,
    *review_routes.ROUTES,
]
