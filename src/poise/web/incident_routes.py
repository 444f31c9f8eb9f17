"""The pages of incidents over HTTP, and what their forms say."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import MediaType, Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from poise.api import incidents as api
from poise.api.params import After, Number, Part
from poise.api.queries import may_see
from poise.api.read import parts_of
from poise.model.service import Project
from poise.web import forms, incident_compose, links, pages
from poise.web.forms import Asked, Form, around

PAGE: dict[str, Any] = {"media_type": MediaType.HTML, "opt": {"permission": "viewer", "page": True}}
ACT: dict[str, Any] = {"permission": "developer", "page": True}
Kind = Annotated[str, QueryParameter(max_length=20)]
_INCIDENTS = "/projects/{project:str}/incidents"
_INCIDENT = _INCIDENTS + "/{n:int}"


@get(links.INCIDENTS, opt={"permission": "viewer", "page": True})
async def which(request: Asked) -> Redirect:
    """To the project whose open incident is the worst, else to the first that the asker may see."""
    parts, asker = parts_of(request), request.scope["user"]
    opened = await incident_compose.open_incidents(parts, asker)
    if opened:
        return Redirect(links.incidents(opened[0].project))
    projects, _ = await parts.store.scan(Project)
    seen = (one.name for one in projects if may_see(asker, one.name))
    first = next(seen, None)
    return Redirect(links.incidents(first) if first else links.OVERVIEW)


@get(_INCIDENTS, **PAGE)
async def incidents(request: Asked, project: Part, before: After = 0) -> Response[str]:
    """The incidents of a project, open ones first."""
    chrome, cookies = await around(request, project)
    view = await incident_compose.incidents(parts_of(request), project, before, chrome)
    return Response(pages.incidents(view), cookies=cookies)


@get(_INCIDENT, **PAGE)
async def incident(
    request: Asked, project: Part, n: Number, kind: Kind = "", before: After = 0
) -> Response[str]:
    """The room of one incident; ``before`` shows earlier lines of its timeline."""
    chrome, cookies = await around(request, project)
    view = await incident_compose.incident(parts_of(request), project, n, kind, before, chrome)
    return Response(pages.incident(view), cookies=cookies)


@post(_INCIDENT + "/say", opt=ACT)
async def say(request: Asked, project: Part, n: Number, data: Form) -> Redirect:
    """A person's word in an incident, as the API takes it."""
    ask = forms.asked(data, api.SayInIncident)
    await api.say_in_incident.fn(forms.once(request, data), project, n, ask)
    return Redirect(links.incident(project, n), status_code=303)


ROUTES = [which, incidents, incident, say]
