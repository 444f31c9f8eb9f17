"""The pages of traces and log records over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
from litestar import MediaType, Response, get
from litestar.params import PathParameter, QueryParameter

from poise.api.params import Cursor, Flag
from poise.web import links, pages, traces_compose
from poise.web.forms import Asked, around
from poise.web.telemetry_views import Wanted

PAGE: dict[str, Any] = {"media_type": MediaType.HTML, "opt": {"permission": "viewer", "page": True}}
Name = Annotated[str, QueryParameter(max_length=300)]
TraceId = Annotated[str, PathParameter(min_length=1, max_length=64)]


@get(links.TRACES, **PAGE)
async def traces(
    request: Asked, service: Name = "", since: Name = "1h", min_duration: Name = "", errors: Flag = False,
    cursor: Cursor = "",
) -> Response[str]:  # fmt: skip
    """Traces, the newest first."""
    chrome, cookies = await around(request)
    wanted = Wanted(service=service, since=since or "1h", min_duration=min_duration, errors=errors)
    view = await traces_compose.traces(request, wanted, cursor, chrome)
    return Response(await anyio.to_thread.run_sync(pages.traces, view), cookies=cookies)


@get(links.TRACES + "/{trace_id:str}", **PAGE)
async def trace(request: Asked, trace_id: TraceId, span: Name = "") -> Response[str]:
    """One trace with its waterfall; ``span`` is the one whose details are shown."""
    chrome, cookies = await around(request)
    view = await traces_compose.trace(request, trace_id, span, chrome)
    return Response(await anyio.to_thread.run_sync(pages.trace, view), cookies=cookies)


@get(links.RECORDS, **PAGE)
async def records(
    request: Asked, service: Name = "", since: Name = "1h", severity: Name = "", text: Name = "",
    template: Name = "", cursor: Cursor = "",
) -> Response[str]:  # fmt: skip
    """Log records, the newest first."""
    chrome, cookies = await around(request)
    wanted = Wanted(service=service, since=since or "1h", severity=severity, text=text, template=template)
    view = await traces_compose.records(request, wanted, cursor, chrome)
    return Response(await anyio.to_thread.run_sync(pages.records, view), cookies=cookies)


ROUTES = [traces, trace, records]
