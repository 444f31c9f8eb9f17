"""Why a service has as many replicas as it has."""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from msgspec import Struct

from poise.api import queries
from poise.api.params import Part
from poise.api.read import parts_of
from poise.model.errors import NotFound
from poise.model.fleet import ScaleTarget
from poise.model.service import Scaling
from poise.reliability.scaling.controller import ScalingController
from poise.reliability.scaling.decide import Assessment


class ScaleView(Struct, frozen=True, kw_only=True):
    """What scaling decided last (``target``), and what it makes of the load at this instant (``now``)."""

    service: str
    target: ScaleTarget | None
    now: Assessment
    needed: int | None
    scaling: Scaling
    sentence: str


@get(
    "/api/v1/projects/{project:str}/environments/{environment:str}/services/{service:str}/scale",
    opt={"permission": "viewer"},
)
async def get_scale(
    request: Request[Any, Any, Any], project: Part, environment: Part, service: Part
) -> ScaleView:
    """How many replicas a service has and needs, by which rule and numbers."""
    parts = parts_of(request)
    declared = await queries.service_or_raise(parts, f"{project}/{environment}/{service}")
    found = await ScalingController(parts.store, parts.signals).assess(declared.key, parts.clock.now())
    if found is None:
        raise NotFound("POISE-E404", f"no service {declared.key}", mend="Run: poise status")
    target, _ = await parts.store.get(ScaleTarget, declared.key)
    return ScaleView(
        service=declared.key,
        target=target,
        now=found,
        needed=found.needed,
        scaling=declared.scaling,
        sentence=f"{declared.key} runs {found.current} replicas: {found.reason}.",
    )


ROUTES = [get_scale]
