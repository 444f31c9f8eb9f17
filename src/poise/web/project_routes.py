"""The pages of a whole project over HTTP: delivery, scorecard, on-call; and what their forms ask for."""

from __future__ import annotations

from typing import Annotated, Any, Final

import anyio.to_thread
from litestar import MediaType, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import QueryParameter
from litestar.response import Redirect

from poise.api import oncall as rota
from poise.api.oncall_views import MakeOnCallOverride
from poise.api.params import Part
from poise.api.read import parts_of
from poise.model.errors import NotFound
from poise.model.oncall import OnCallSchedule
from poise.ports.store import Transaction
from poise.web import (
    compose,
    delivery_compose,
    forms,
    links,
    oncall_compose,
    scorecard_compose,
    sign_in,
    views,
)
from poise.web import delivery as delivery_page
from poise.web import oncall as oncall_page
from poise.web import scorecard as scorecard_page
from poise.web.forms import Asked, Form

Choice = Annotated[str, QueryParameter(max_length=100)]
PAGE: Final[dict[str, Any]] = {
    "media_type": MediaType.HTML,
    "opt": {"permission": "viewer", "page": True},
}


async def _around(request: Asked, project: str) -> tuple[views.Chrome, list[Cookie]]:
    csrf, cookies = sign_in.csrf_of(request)
    return await compose.chrome(parts_of(request), request.scope["user"], csrf, project), cookies


@get("/projects/{project:str}/scorecard", **PAGE)
async def scorecard(
    request: Asked, project: Part, environment: Choice = "", service: Choice = "", window: Choice = "28d"
) -> Response[str]:
    """Five figures and the objectives that were met."""
    around, cookies = await _around(request, project)
    parts = parts_of(request)
    view = await scorecard_compose.scorecard(parts, project, environment, service, window, around)
    return Response(scorecard_page.scorecard(view), cookies=cookies)


@get("/projects/{project:str}/delivery", **PAGE)
async def delivery(request: Asked, project: Part, window: Choice = "") -> Response[str]:
    """Changes on their way to users."""
    around, cookies = await _around(request, project)
    view = await delivery_compose.delivery(parts_of(request), project, window, around)
    return Response(await anyio.to_thread.run_sync(delivery_page.delivery, view), cookies=cookies)


@get("/projects/{project:str}/oncall", **PAGE)
async def oncall(request: Asked, project: Part) -> Response[str]:
    """Who is on call, and who will be."""
    around, cookies = await _around(request, project)
    view = await oncall_compose.oncall(parts_of(request), project, around)
    return Response(oncall_page.oncall(view), cookies=cookies)


@post(
    "/projects/{project:str}/oncall/{schedule:str}/{verb:str}",
    opt={"permission": "developer", "page": True},
)
async def oncall_act(request: Asked, project: Part, schedule: Part, verb: Part, data: Form) -> Redirect:
    """What a form asks for: another person on call for a time, or the rotation back."""
    parts, by = parts_of(request), request.scope["user"].name
    sign_in.same_form(request, data)
    if verb == "cancel":
        n = data.get("n", "")
        if not (n.isascii() and n.isdigit() and len(n) <= 6):
            raise NotFound("POISE-O404", f"no override {n[:20]} of {schedule}")
        await rota.cancel(parts, project, schedule, int(n), by)
    elif verb == "override":
        await _override(request, await rota.schedule_or_raise(parts, project, schedule), data)
    else:
        raise NotFound("POISE-E404", f"no act {verb}", why="There are override and cancel.")
    return Redirect(links.oncall(project), status_code=303)


async def _override(request: Asked, schedule: OnCallSchedule, data: dict[str, str]) -> None:
    parts, reason = parts_of(request), forms.reason_of(data)
    asked = MakeOnCallOverride(
        person=data.get("person", ""),
        starts_at=oncall_compose.instant(data.get("starts", ""), schedule.zone, "from"),
        ends_at=oncall_compose.instant(data.get("ends", ""), schedule.zone, "until"),
        reason=parts.masker.text(reason),
    )
    decision, _ = await rota.override_decision(parts, schedule, asked, request.scope["user"].name)
    await parts.store.commit(
        Transaction(
            at=parts.clock.now(), reads=decision.reads, writes=decision.writes, events=decision.events
        )
    )


ROUTES = [delivery, scorecard, oncall, oncall_act]
