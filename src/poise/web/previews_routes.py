"""What the form of a branch's previews asks for, handed to the API's own route."""

from __future__ import annotations

from litestar import post
from litestar.response import Redirect

from poise.api import branch_previews as api
from poise.api.params import Part
from poise.web import forms, links
from poise.web.forms import Asked, Form


@post(
    "/services/{project:str}/{environment:str}/{service:str}/previews/{name:str}/stop",
    opt={"permission": "developer", "page": True},
)
async def stop(
    request: Asked, project: Part, environment: Part, service: Part, name: Part, data: Form
) -> Redirect:
    """The previews of a branch stop, of every service; back to the service whose page it was."""
    asked, reason = forms.once(request, data), forms.reason_of(data)
    await api.stop_preview.fn(asked, project, name, api.StopPreview(reason=reason))
    back = links.service(f"{project}/{environment}/{service}")
    return Redirect(f"{back}#previews", status_code=303)


ROUTES = [stop]
