"""What a rollout would do now, over HTTP: the gate's verdict, the steps, what stands in the way."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.params import QueryParameter

from poise.api import queries
from poise.api.params import Part
from poise.api.read import parts_of
from poise.balance.gate.controller import check
from poise.delivery.rollout.controller import RolloutController
from poise.delivery.rollout.preview import Preview, preview
from poise.model.delivery import Release
from poise.model.errors import NotFound

_SERVICE: Final = "/api/v1/projects/{project:str}/environments/{environment:str}/services/{service:str}"
Which = Annotated[int, QueryParameter(ge=0, le=999_999)]


@get(_SERVICE + "/preview", opt={"permission": "viewer"})
async def get_preview(
    request: Request[Any, Any, Any], project: Part, environment: Part, service: Part, release: Which = 0
) -> Preview:
    """What deploying a release (0: the newest) would do now; nothing is written."""
    parts, key = parts_of(request), f"{project}/{environment}/{service}"
    await queries.service_or_raise(parts, key)
    under = f"{project}/{service}/"
    newest, _ = await parts.store.scan(Release, under, limit=1, last=True)
    named, _ = await parts.store.get(Release, f"{under}{release:06d}")
    found = named if release else next(iter(newest), None)
    if found is None:
        raise NotFound(
            "POISE-E404",
            f"no release {release} of {service}" if release else f"{service} has no release yet",
            where=key,
            mend="Push a commit, and see: poise status",
        )
    now = parts.clock.now()
    seen = await RolloutController(parts.store, parts.signals).see(key, now)
    verdict = await check(
        parts.store, key, found.change_class, found.digest, now, signing_key=parts.signing_key
    )
    return preview(seen, found, verdict)


ROUTES = [get_preview]
