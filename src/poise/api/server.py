"""The Litestar application: every route guarded, every error in four parts, strict headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from litestar import Litestar, MediaType, Request, Response, Router, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ControllerRouterHandler

from poise import __version__
from poise.api import (
    act,
    analysis,
    branch_previews,
    exclusions,
    forges,
    gate,
    hooks,
    inbound,
    incidents,
    ingest,
    locks,
    oncall,
    otlp,
    output,
    own_metrics,
    preview,
    prometheus,
    read,
    releases,
    reviews,
    scale,
    scorecard,
    settings,
    stream,
    targets,
    telemetry,
)
from poise.api.access import authorise
from poise.api.credentials import Credentials
from poise.api.description import Structs, describe
from poise.api.errors import Handlers, Show
from poise.api.headers import secured
from poise.api.masked import Front
from poise.api.parts import Parts
from poise.model.errors import PoiseError

BODY_LIMIT = 1_048_576


@get("/api/v1/openapi.json", opt={"permission": "viewer"}, media_type=MediaType.JSON, sync_to_thread=False)
def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """This API as OpenAPI 3.1."""
    return describe(request.app)


async def _finish(response: Response[Any]) -> Response[Any]:
    return secured(response)


ROUTES: Final[Sequence[ControllerRouterHandler]] = (
    *read.ROUTES,
    *analysis.ROUTES,
    *act.ROUTES,
    *gate.ROUTES,
    *branch_previews.ROUTES,
    *locks.ROUTES,
    *preview.ROUTES,
    *stream.ROUTES,
    *output.ROUTES,
    *settings.ROUTES,
    *scale.ROUTES,
    *forges.ROUTES,
    *hooks.ROUTES,
    *inbound.ROUTES,
    *incidents.ROUTES,
    *reviews.ROUTES,
    *exclusions.ROUTES,
    *oncall.ROUTES,
    *scorecard.ROUTES,
    *prometheus.ROUTES,
    *targets.ROUTES,
    *ingest.ROUTES,
    *otlp.ROUTES,
    *telemetry.ROUTES,
    *own_metrics.ROUTES,
    *releases.ROUTES,
)


def make_server(
    parts: Parts, faces: Sequence[ControllerRouterHandler] = (), show: Show | None = None
) -> Litestar:
    """The application over ``parts``; ``faces`` are the routes of pages and git.

    ``show`` turns an error into a page for who asked for one; it answers None for everybody else.
    """
    handlers = Handlers(show)
    return Front(
        route_handlers=[*ROUTES, openapi, *faces],
        guards=[authorise],
        exception_handlers={
            PoiseError: handlers.on_poise_error,
            HTTPException: handlers.on_http_error,
            Exception: handlers.on_fault,
        },
        after_request=_finish,
        request_max_body_size=BODY_LIMIT,
        openapi_config=OpenAPIConfig(
            title="Poise",
            version=__version__,
            render_plugins=[JsonRenderPlugin()],
            create_examples=False,
            openapi_router=Router(
                "/api/v1/schema", route_handlers=[], include_in_schema=False, opt={"permission": "viewer"}
            ),
        ),
        plugins=[Structs()],
        state=State({"parts": parts, "credentials": Credentials(parts.store)}),
        debug=False,
        logging_config=None,
    )
