"""The pages of post-mortems and of single events over HTTP, and what their forms ask for."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import MediaType, Response, get, post
from litestar.response import Redirect

from poise.api import access
from poise.api import reviews as api
from poise.api.params import After, Number, Part
from poise.api.read import parts_of
from poise.model.access import Role
from poise.model.errors import Conflict, Invalid, NotFound
from poise.model.review import Review
from poise.web import forms, incident_compose, incident_views, links, pages, views
from poise.web.forms import Asked, Form, around

PAGE: dict[str, Any] = {"media_type": MediaType.HTML, "opt": {"permission": "viewer", "page": True}}
ACT: dict[str, Any] = {"permission": "developer", "page": True}
VALUE_MAX = 2000
_REVIEW = "/projects/{project:str}/incidents/{n:int}/review"


@get(_REVIEW, **PAGE)
async def review(request: Asked, project: Part, n: Number) -> Response[str]:
    """The post-mortem of an incident, or that there is none yet."""
    return await _shown(request, project, n)


@post(_REVIEW + "/preview", opt=ACT, media_type=MediaType.HTML, status_code=200)
async def preview(request: Asked, project: Part, n: Number, data: Form) -> Response[str]:
    """The text as it would read. Changes nothing."""
    forms.once(request, data)
    ask = forms.asked(data, api.WriteText)
    return await _shown(request, project, n, draft=ask.text, etag=data.get("if_match", ""))


@post(_REVIEW + "/save", opt=ACT, media_type=MediaType.HTML, status_code=200)
async def save(request: Asked, project: Part, n: Number, data: Form) -> Response[Any]:
    """Keep the text; when somebody else was faster, show both the text and that."""
    asked, ask = forms.once(request, data), forms.asked(data, api.WriteText)
    etag = data.get("if_match", "")
    text = ask.text.replace("\r\n", "\n")  # as forms send what people wrote with \n
    try:
        await api.write_text.fn(asked, project, n, msgspec.structs.replace(ask, text=text), etag)
    except Conflict:
        said = "Somebody edited it after you began. Your text is below; the newest is on the review's page."
        shown = await _shown(request, project, n, draft=text, message=said)
        shown.status_code = 409
        return shown
    return _back(project, n)


@post(_REVIEW + "/action", opt=ACT)
async def action(request: Asked, project: Part, n: Number, data: Form) -> Redirect:
    """Add an action."""
    ask = forms.asked(data, api.SetAction)
    await api.set_action.fn(forms.once(request, data), project, n, ask)
    return _back(project, n, "#actions")


@post(_REVIEW + "/done", opt=ACT)
async def done(request: Asked, project: Part, n: Number, data: Form) -> Redirect:
    """An action is done."""
    number = data.get("action", "")
    if not number.isdecimal() or len(number) > 6:
        raise Invalid("POISE-E424", "the form names no action")
    await api.finish_action.fn(forms.once(request, data), project, n, int(number))
    return _back(project, n, "#actions")


@post(_REVIEW + "/publish", opt={"permission": "operator", "page": True})
async def publish(request: Asked, project: Part, n: Number, data: Form) -> Redirect:
    """Everybody may read it."""
    asked = forms.once(request, data)
    access.check(request.scope["user"], Role.OPERATOR, project)
    await api.publish.fn(asked, project, n)
    return _back(project, n)


@get("/projects/{project:str}/events/{sequence:int}", **PAGE)
async def event(request: Asked, project: Part, sequence: After) -> Response[str]:
    """One event of the journal."""
    chrome, cookies = await around(request, project)
    rows = await parts_of(request).store.journal(after=max(0, sequence - 1), limit=1)
    row = rows[0] if rows and rows[0].sequence == sequence else None
    if row is None or row.event.subject.split("/", 1)[0] != project:
        raise NotFound("POISE-E404", f"no event {sequence} of {project}", mend="Open the journal: /audit")
    told = row.event
    view = incident_views.EventView(
        chrome=chrome,
        sequence=sequence,
        at=row.at,
        type=told.type,
        subject=told.subject,
        summary=told.summary,
        actor=told.actor,
        href=links.about(told.subject, told.type),
        data=tuple((name, _plain(value)) for name, value in sorted(told.data.items())),
        hash=row.hash,
        previous_hash=row.previous_hash,
    )
    return Response(pages.event(view), cookies=cookies)


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_MAX else text[: VALUE_MAX - 1] + "…"


def _back(project: str, n: int, anchor: str = "") -> Redirect:
    return Redirect(links.review(project, n) + anchor, status_code=303)


async def _shown(
    request: Asked,
    project: str,
    n: int,
    *,
    draft: str | None = None,
    etag: str = "",
    message: str = "",
) -> Response[str]:
    parts = parts_of(request)
    chrome, cookies = await around(request, project)
    incident = await incident_compose.find(parts, project, n)
    found, ref = await parts.store.get(Review, incident.key)
    if found is None:
        none = incident_views.NoReviewView(
            chrome=chrome, project=project, n=n, title=incident.title, state=incident.state
        )
        return Response(pages.no_review(none), cookies=cookies)
    view = _view(found, chrome, draft, etag or f'"{ref.generation}"', message)
    return Response(pages.review(view), cookies=cookies)


def _view(
    found: Review, chrome: views.Chrome, draft: str | None, etag: str, message: str
) -> incident_views.ReviewPageView:
    project, _, n = found.key.partition("/")
    return incident_views.ReviewPageView(
        chrome=chrome,
        project=project,
        n=int(n),
        title=found.title,
        state=found.state,
        edited=found.edited,
        text=found.text,
        draft=draft,
        message=message,
        etag=etag,
        times=(
            ("detected", found.ttd_s),
            ("acknowledged", found.tta_s),
            ("mitigated", found.ttm_s),
            ("resolved", found.ttr_s),
        ),
        failed_requests=found.failed_requests,
        budget_spent_ratio=found.budget_spent_ratio,
        sentences=len(found.sentences),
        actions=found.actions,
        published_at=found.published_at,
        published_by=found.published_by or "",
        may_publish=chrome.may_act,
    )


ROUTES = [review, preview, save, action, done, publish, event]
