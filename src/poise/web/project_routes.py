"""The pages of a whole project over HTTP: scorecard."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import MediaType, Request, Response, get
from litestar.datastructures import Cookie
from litestar.params import QueryParameter

from poise.api.params import Part
from poise.api.read import parts_of
from poise.web import compose, scorecard_compose, sign_in, views
from poise.web import scorecard as scorecard_page

Asked = Request[Any, Any, Any]
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


ROUTES = [scorecard]
