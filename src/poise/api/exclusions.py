"""Routes of exclusions: time that does not count for budgets, asked for by a person, with a reason."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from litestar import Request, delete, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta, Struct
from msgspec.structs import replace

from poise.api.asks import Name, Reason
from poise.api.idempotency import create_once
from poise.api.params import Cursor, Limit, Part
from poise.api.parts import Parts
from poise.api.read import page_of, parts_of
from poise.api.views import Created, Page
from poise.model.errors import Conflict, Invalid, NotFound
from poise.model.event_types import EXCLUSION_CREATED, EXCLUSION_REMOVED
from poise.model.exclusion import Exclusion
from poise.model.objective import Objective
from poise.model.record import Decision, Event, Write
from poise.ports.store import Transaction
from poise.spec.recurrence import NotARule, check

EXCLUSION_MAX_S: Final = 31 * 86_400.0
_EXCLUSIONS: Final = "/api/v1/projects/{project:str}/exclusions"

Asked = Request[Any, Any, Any]
Why = Annotated[str, QueryParameter(name="reason", max_length=500)]
Subject = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]*(/[a-z][a-z0-9-]*){1,2}$", max_length=130)]


class MakeExclusion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time that shall not count; it may lie in the past.

    ``starts`` is an instant with its offset, or wall time in ``zone``. ``objectives`` are
    ``environment/service`` or ``environment/service/objective``; none: every one of the project.
    """

    name: Name
    starts: Annotated[str, Meta(max_length=40)]
    duration_s: Annotated[float, Meta(ge=1, le=EXCLUSION_MAX_S)]
    reason: Reason
    rrule: Annotated[str, Meta(max_length=500)] = ""
    zone: Annotated[str, Meta(max_length=60)] = "UTC"
    objectives: Annotated[tuple[Subject, ...], Meta(max_length=100)] = ()


@get(_EXCLUSIONS, opt={"permission": "viewer"})
async def list_exclusions(
    request: Asked, project: Part, cursor: Cursor = "", limit: Limit = 100
) -> Page[Exclusion]:
    """Every exclusion of a project, declared or asked for, those that were taken back included."""
    return await page_of(parts_of(request), Exclusion, f"{project}/", cursor, limit)


@post(_EXCLUSIONS, opt={"permission": "operator", "once": True})
async def make_exclusion(request: Asked, project: Part, data: JSONBody[MakeExclusion]) -> Created:
    """Leave time out of budgets, for a reason that is kept in the journal."""
    parts, by = parts_of(request), request.scope["user"].name

    async def make() -> tuple[Decision, Created]:
        return await exclusion_decision(parts, project, data, by)

    return await create_once(request, parts, data, Created, make)


@delete(_EXCLUSIONS + "/{name:str}", opt={"permission": "operator"}, status_code=200)
async def take_back_exclusion(request: Asked, project: Part, name: Part, reason: Why = "") -> Created:
    """Take an exclusion back: the time counts as before. It stays on record."""
    parts, by = parts_of(request), request.scope["user"].name
    return await take_back(parts, project, name, reason, by)


async def exclusion_decision(
    parts: Parts, project: str, data: MakeExclusion, by: str
) -> tuple[Decision, Created]:
    """The exclusion to be committed; Invalid for a rule that cannot be, NotFound for an unknown objective."""
    made = Exclusion(
        project=project, name=data.name, starts=data.starts, duration_s=data.duration_s,
        reason=parts.masker.text(data.reason), by=by, rrule=data.rrule, zone=data.zone,
        objectives=tuple(f"{project}/{one}" for one in data.objectives), declared=False,
        at=parts.clock.now(),
    )  # fmt: skip
    try:
        check(made)
    except NotARule as error:
        raise Invalid("POISE-B432", error.what, where=error.key, mend=error.mend) from None
    known, ref = await parts.store.get(Exclusion, made.key)
    if known is not None:
        mend = "Give it another name."
        raise Conflict("POISE-B439", f"exclusion {data.name} is already there", where=made.key, mend=mend)
    for one in made.objectives:
        await _check_subject(parts, one)
    said = f"{by} excludes {_what(made)} from {_whose(made)}: {made.reason}"
    event = _event(EXCLUSION_CREATED, made, by, said)
    decision = Decision(
        reads=(ref,), writes=(Write(kind="Exclusion", key=made.key, body=made),), events=(event,)
    )
    return decision, Created(key=made.key, sentence=said)


async def take_back(parts: Parts, project: str, name: str, reason: str, by: str) -> Created:
    """Being told twice is harmless."""
    known, ref = await parts.store.get(Exclusion, f"{project}/asked/{name}")
    if known is None:
        declared, _ = await parts.store.get(Exclusion, f"{project}/declared/{name}")
        if declared is not None:
            mend = "Remove the document from poise.yaml and push."
            raise Conflict("POISE-B439", f"exclusion {name} is declared in poise.yaml", mend=mend)
        raise NotFound("POISE-B434", f"no exclusion {name} in {project}", mend="Run: poise slo exclusions")
    said = f"{by} takes exclusion {name} back" + (f": {parts.masker.text(reason)}" if reason else "")
    if known.removed_at is None:
        now = parts.clock.now()
        gone = replace(known, removed_at=now, removed_by=by)
        event = _event(EXCLUSION_REMOVED, gone, by, said)
        write = Write(kind="Exclusion", key=gone.key, body=gone)
        await parts.store.commit(Transaction(at=now, reads=[ref], writes=[write], events=[event]))
    return Created(key=known.key, sentence=said)


async def _check_subject(parts: Parts, key: str) -> None:
    found, _ = await parts.store.scan(Objective, f"{key}/", limit=1)
    exact, _ = await parts.store.get(Objective, key)
    if exact is None and not found:
        mend = "Name environment/service or environment/service/objective: poise slo SERVICE lists them."
        raise NotFound("POISE-B434", f"no service or objective {key}", mend=mend)


def _what(made: Exclusion) -> str:
    hours = f"{made.duration_s / 3600:g} h" if made.duration_s >= 3600 else f"{made.duration_s / 60:g} min"
    often = f", repeated by {made.rrule}" if made.rrule else ""
    return f"{hours} from {made.starts} ({made.zone}){often}"


def _whose(made: Exclusion) -> str:
    if not made.objectives:
        return f"every budget of {made.project}"
    return "the budgets of " + ", ".join(made.objectives)


def _event(type_: str, made: Exclusion, by: str, said: str) -> Event:
    facts: dict[str, Any] = {
        "name": made.name, "starts": made.starts, "duration_s": made.duration_s, "rrule": made.rrule,
        "zone": made.zone, "objectives": list(made.objectives), "reason": made.reason,
        "retroactive": _is_past(made),
    }  # fmt: skip
    return Event(type=type_, subject=made.project, summary=said, actor=by, data=facts)


def _is_past(made: Exclusion) -> bool:
    """Whether it begins before it was asked for."""
    starts = datetime.fromisoformat(made.starts)
    if starts.tzinfo is None or made.at is None:
        return made.at is not None and starts < made.at.replace(tzinfo=None)
    return starts < made.at


ROUTES = [list_exclusions, make_exclusion, take_back_exclusion]
