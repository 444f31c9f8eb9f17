"""Routes of deploy locks: placed and lifted by operators, seen by everybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from litestar import Request, get, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from poise.api.asks import Reason
from poise.api.idempotency import create_once
from poise.api.params import Cursor, Limit, Part
from poise.api.read import page_of, parts_of
from poise.api.views import Created, Page
from poise.balance.gate.locks import LOCK_MAX_S, lift_lock, place_lock
from poise.model.lock import Lock
from poise.model.record import Decision

_PROJECT: Final = "/api/v1/projects/{project:str}"
_ENVIRONMENT: Final = _PROJECT + "/environments/{environment:str}"
_SERVICE: Final = _ENVIRONMENT + "/services/{service:str}"
_OPERATOR: Final = {"permission": "operator", "once": True}

Asked = Request[Any, Any, Any]


class PlaceLock(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing shall be rolled out here for so long."""

    reason: Reason
    expires_s: Annotated[float, Meta(gt=0, le=LOCK_MAX_S)] = 28_800.0


class LiftLock(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rollouts may go again."""

    reason: Annotated[str, Meta(max_length=500)] = ""


@get(_PROJECT + "/locks", opt={"permission": "viewer"})
async def list_locks(request: Asked, project: Part, cursor: Cursor = "", limit: Limit = 100) -> Page[Lock]:
    """The newest lock of each place, those that are over included."""
    return await page_of(parts_of(request), Lock, f"{project}/", cursor, limit)


@post(_ENVIRONMENT + "/lock", opt=_OPERATOR)
async def lock_environment(
    request: Asked, project: Part, environment: Part, data: JSONBody[PlaceLock]
) -> Created:
    """Hold every rollout of an environment but rollbacks."""
    return await _locked(request, f"{project}/{environment}", data)


@post(_SERVICE + "/lock", opt=_OPERATOR)
async def lock_service(
    request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[PlaceLock]
) -> Created:
    """Hold every rollout of a service but rollbacks."""
    return await _locked(request, f"{project}/{environment}/{service}", data)


@post(_ENVIRONMENT + "/unlock", opt=_OPERATOR)
async def unlock_environment(
    request: Asked, project: Part, environment: Part, data: JSONBody[LiftLock]
) -> Created:
    """Lift the lock of an environment, whoever placed it."""
    return await _lifted(request, f"{project}/{environment}", data)


@post(_SERVICE + "/unlock", opt=_OPERATOR)
async def unlock_service(
    request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[LiftLock]
) -> Created:
    """Lift the lock of a service, whoever placed it."""
    return await _lifted(request, f"{project}/{environment}/{service}", data)


async def _locked(request: Asked, place: str, data: PlaceLock) -> Created:
    return await _decided(request, place, data, place_lock, for_s=data.expires_s)


async def _lifted(request: Asked, place: str, data: LiftLock) -> Created:
    return await _decided(request, place, data, lift_lock)


async def _decided(
    request: Asked,
    place: str,
    data: PlaceLock | LiftLock,
    decide: Callable[..., Awaitable[Decision]],
    **asked: Any,
) -> Created:
    parts, by = parts_of(request), request.scope["user"].name

    async def make() -> tuple[Decision, Created]:
        decision = await decide(
            parts.store, place=place, by=by, reason=parts.masker.text(data.reason), now=parts.clock.now(),
            **asked,
        )  # fmt: skip
        return decision, Created(key=place, sentence=decision.events[0].summary)

    return await create_once(request, parts, data, Created, make)


ROUTES = [list_locks, lock_environment, lock_service, unlock_environment, unlock_service]
