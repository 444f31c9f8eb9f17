"""Routes of branch previews: seen by everybody, stopped by developers."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import Request, get, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from poise.api import queries
from poise.api.idempotency import create_patiently
from poise.api.params import Cursor, Limit, Part
from poise.api.parts import Parts
from poise.api.read import page_of, parts_of
from poise.api.views import Created, Page, PreviewStatus
from poise.model.branch_preview import BranchPreview, PreviewOrder, PreviewState
from poise.model.errors import Conflict, NotFound
from poise.model.event_types import PREVIEW_STOP_ASKED
from poise.model.record import Decision, Event, Write

_PREVIEWS: Final = "/api/v1/projects/{project:str}/previews"
Asked = Request[Any, Any, Any]


class StopPreview(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The previews of a branch shall stop; the next push brings them back."""

    reason: Annotated[str, Meta(max_length=500)] = ""


@get(_PREVIEWS, opt={"permission": "viewer"})
async def list_previews(
    request: Asked, project: Part, cursor: Cursor = "", limit: Limit = 100
) -> Page[PreviewStatus]:
    """Branch previews of a project; those that stopped in the last days included."""
    parts = parts_of(request)
    page = await page_of(parts, BranchPreview, f"{project}/", cursor, limit)
    return Page(items=[queries.preview_status(parts, one) for one in page.items], next=page.next)


@post(_PREVIEWS + "/{name:str}/stop", opt={"permission": "developer", "once": True})
async def stop_preview(request: Asked, project: Part, name: Part, data: JSONBody[StopPreview]) -> Created:
    """Stop the previews of a branch, by its label (the first part of their host names).

    ``Conflict`` where all of them are stopped already.
    """
    parts = parts_of(request)
    return await create_patiently(
        request, parts, data, Created, lambda: _stop(parts, project, name, request.scope["user"].name, data)
    )


async def _stop(
    parts: Parts, project: str, label: str, by: str, data: StopPreview
) -> tuple[Decision, Created]:
    known, known_ref = await parts.store.scan(BranchPreview, f"{project}/")
    mine = [one for one in known if one.label == label]
    if not mine:
        raise NotFound(
            "POISE-E404", f"there is no branch preview {label!r} in {project}", where=project,
            mend="See: poise previews",
        )  # fmt: skip
    branch = mine[0].branch
    if all(one.state is PreviewState.STOPPED for one in mine):
        last = queries.preview_status(parts, max(mine, key=lambda one: one.changed_at))
        raise Conflict(
            "POISE-R411", f"the previews of {branch} cannot be stopped", where=project,
            why=last.told, mend="A new commit to the branch brings them back.",
        )  # fmt: skip
    reason = parts.masker.text(data.reason.strip())
    order = PreviewOrder(project=project, label=label, by=by, reason=reason, at=parts.clock.now())
    _, ref = await parts.store.get(PreviewOrder, order.key)
    said = f"{by} stops the previews of {branch}{f': {reason}' if reason else ''}"
    event = Event(
        type=PREVIEW_STOP_ASKED, subject=order.key, actor=by, summary=said,
        data={"branch": branch, "reason": reason},
    )  # fmt: skip
    decision = Decision(
        reads=(ref, known_ref),
        writes=(Write(kind="PreviewOrder", key=order.key, body=order),),
        events=(event,),
    )
    return decision, Created(key=order.key, sentence=said)


ROUTES = [list_previews, stop_preview]
