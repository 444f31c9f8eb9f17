"""Routes that write: what people ask for. Each leaves an event with the asker's name."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

import anyio.to_thread
from litestar import Request, Response, delete, post, put
from litestar.params import HeaderParameter, JSONBody
from msgspec.structs import replace

from poise.adapters.promql.checking import expression_fault
from poise.api import queries
from poise.api.access import mint
from poise.api.asks import (
    ApplySpec,
    GiveOrder,
    MakePrincipal,
    MakeProject,
    MakeToken,
)
from poise.api.idempotency import create_once, create_patiently
from poise.api.params import Part
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.api.views import Created, Difference, Minted, Plan
from poise.delivery.infrastructure.controller import apply as apply_declared
from poise.delivery.infrastructure.controller import declarations, on_record
from poise.delivery.infrastructure.decide import plan as differences_between
from poise.delivery.rollout.controller import RELEASES_SEEN, ROLLOUTS_SEEN, environment_before
from poise.delivery.rollout.facts import Seen, was_live
from poise.delivery.rollout.orders import refusal
from poise.model.access import Principal, Token
from poise.model.delivery import Order, Release, Rollout, Verb
from poise.model.errors import Conflict, Invalid, NotFound
from poise.model.record import Decision, Event, Write
from poise.model.service import Project
from poise.ports.store import Stale, Transaction
from poise.spec.rules import read_rule_files
from poise.spec.service import Declared, parse_project

_SERVICE = "/api/v1/projects/{project:str}/environments/{environment:str}/services/{service:str}"
Asked = Request[Any, Any, Any]
IfMatch = Annotated[str, HeaderParameter(name="If-Match", required=False, max_length=80)]


@post("/api/v1/projects", opt={"permission": "admin", "once": True})
async def make_project(request: Asked, data: JSONBody[MakeProject]) -> Created:
    """A project with its bare repository."""
    parts = parts_of(request)

    async def make() -> tuple[Decision, Created]:
        known, ref = await parts.store.get(Project, data.name)
        if known is not None:
            raise Conflict("POISE-E409", f"project {data.name} is already there", mend="Use it: poise up")
        await anyio.to_thread.run_sync(parts.repositories.ensure, data.name)
        event = _event(request, "project.created", data.name, f"made project {data.name}")
        decision = Decision(
            reads=(ref,),
            writes=(Write(kind="Project", key=data.name, body=Project(name=data.name)),),
            events=(event,),
        )
        return decision, Created(key=data.name, sentence=event.summary)

    return await create_once(request, parts, data, Created, make)


@post(_SERVICE + "/orders", opt={"permission": "operator", "once": True})
async def give_order(
    request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[GiveOrder]
) -> Created:
    """Deploy, roll back, promote, abort, pause, resume or restart, with a reason."""
    parts = parts_of(request)
    key = f"{project}/{environment}/{service}"
    await queries.service_or_raise(parts, key)
    return await create_patiently(
        request, parts, data, Created, lambda: order_decision(parts, request.scope["user"], key, data)
    )


async def order_decision(
    parts: Parts, asker: Principal, key: str, data: JSONBody[GiveOrder]
) -> tuple[Decision, Created]:
    """The next order of a service, to be committed while what it is about is as it was looked at.

    ``Conflict`` for one that comes too late: what is taken is done.
    """
    if data.verb is Verb.DEPLOY:
        await _may_deploy(parts, key, data.release)
    orders, ref = await parts.store.scan(Order, f"{key}/", limit=1, last=True)
    rollouts, rollouts_ref = await parts.store.scan(Rollout, f"{key}/", limit=ROLLOUTS_SEEN, last=True)
    order = Order(
        service=key,
        n=orders[-1].n + 1 if orders else 1,
        verb=data.verb,
        by=asker.name,
        reason=data.reason,
        at=parts.clock.now(),
        release=data.release,
        rollout=data.rollout,
    )
    refused = refusal(Seen(key=key, rollouts=tuple(rollouts)), order)
    if refused is not None:
        why, mend = refused
        raise Conflict("POISE-R410", f"{data.verb} of {key} was refused", why=f"{why}.", mend=mend)
    event = Event(
        type="dev.poise.order.given",
        subject=order.key,
        summary=f"{asker.name} asked to {data.verb} {key}: {data.reason}",
        actor=asker.name,
        data={"verb": data.verb, "reason": data.reason},
    )
    decision = Decision(
        reads=(ref, rollouts_ref), writes=(Write(kind="Order", key=order.key, body=order),), events=(event,)
    )
    return decision, Created(key=order.key, sentence=event.summary)


async def _may_deploy(parts: Parts, key: str, n: int | None) -> None:
    """Refuse what the rollout room would: a release that was not live in the environment before."""
    project, _, name = key.split("/")
    before, rollouts = await environment_before(parts.store, key, [])
    releases, _ = await parts.store.scan(Release, f"{project}/{name}/", limit=RELEASES_SEEN, last=True)
    release = next((one for one in reversed(releases) if n in (None, one.n)), None)
    if rollouts is None or release is None or was_live(rollouts, release.digest):
        return
    raise Conflict(
        "POISE-R409", f"release {release.n} of {name} was not live in {before}", where=key,
        why="A release moves through the environments by its digest, one after the other.",
        mend=f"poise deploy {name} --environment {before} --release {release.n} --reason '...'",
    )  # fmt: skip


@post("/api/v1/projects/{project:str}/plan", opt={"permission": "viewer"}, status_code=200)
async def plan(request: Asked, project: Part, data: JSONBody[ApplySpec]) -> Response[Plan]:
    """What applying this text would change; nothing is written."""
    parts = parts_of(request)
    declared = await anyio.to_thread.run_sync(_declared, data, project)
    known, ref = await parts.store.get(Project, project)
    if known is None:
        raise NotFound("POISE-E404", f"no project {project}", mend="Run: poise up")
    current, _ = await on_record(parts.store, project)
    differences = [
        Difference(
            action=one.act.value,
            kind=one.kind,
            key=one.key,
            fields={field.field: (str(field.before), str(field.after)) for field in one.fields},
        )
        for one in differences_between(current, declarations(declared))
    ]
    sentence = f"{len(differences)} changes." if differences else "Nothing to change."
    made = Plan(
        etag=f'"{ref.generation}"', differences=tuple(differences), sentence=sentence, notes=declared.notes
    )
    return Response(made, headers={"ETag": made.etag})


def _declared(data: ApplySpec, project: str) -> Declared:
    """What is sent, the files that it names included."""
    declared = parse_project(data.text, project=project, filename=data.filename, file=data.files.get)
    files = read_rule_files(
        declared.rule_globs,
        project=project,
        filename=data.filename,
        listed=lambda folder: [path for path in data.files if path.rpartition("/")[0] == folder],
        read=data.files.__getitem__,
        check=expression_fault,
    )
    return replace(declared, rule_files=files)


@put("/api/v1/projects/{project:str}/spec", opt={"permission": "developer"})
async def apply(request: Asked, project: Part, data: JSONBody[ApplySpec], if_match: IfMatch = "") -> Created:
    """Make what is declared be so; ``If-Match`` is the ETag of the plan that was read."""
    parts = parts_of(request)
    declared = await anyio.to_thread.run_sync(_declared, data, project)
    known, ref = await parts.store.get(Project, project)
    if known is None:
        raise NotFound("POISE-E404", f"no project {project}", mend="Run: poise up")
    _require_match(if_match, ref.generation, f"/api/v1/projects/{project}/plan")
    now = parts.clock.now()
    decision = await apply_declared(parts.store, declared, request.scope["user"].name, now)
    changed = len(decision.writes)
    if not decision.is_empty:
        await parts.store.commit(
            Transaction(at=now, reads=(*decision.reads, ref), writes=decision.writes, events=decision.events)
        )
    return Created(key=project, sentence=f"{changed} things changed." if changed else "Nothing to change.")


@put("/api/v1/principals/{name:str}", opt={"permission": "admin"})
async def set_principal(
    request: Asked, name: Part, data: JSONBody[MakePrincipal], if_match: IfMatch = ""
) -> Response[Principal]:
    """A principal and its roles; ``If-Match: "0"`` makes a new one."""
    parts = parts_of(request)
    if name != data.name:
        raise Invalid("POISE-E422", "the name in the path and in the body differ", where=name)
    _, ref = await parts.store.get(Principal, name)
    _require_match(if_match, ref.generation, f"/api/v1/principals/{name}")
    principal = Principal(name=name, roles=data.roles)
    event = _event(request, "access.principal", f"@principal/{name}", f"set the roles of {name}")
    await parts.store.commit(
        Transaction(
            at=parts.clock.now(),
            reads=[ref],
            writes=[Write(kind="Principal", key=name, body=principal)],
            events=[event],
        )
    )
    return Response(principal, headers={"ETag": f'"{ref.generation + 1}"'})


@post("/api/v1/tokens", opt={"permission": "admin"})
async def make_token(request: Asked, data: JSONBody[MakeToken]) -> Minted:
    """A token for a principal, shown once. A retry makes a new one: a secret is never kept to repeat."""
    parts = parts_of(request)
    principal, ref = await parts.store.get(Principal, data.principal)
    if principal is None:
        raise NotFound("POISE-E404", f"no principal {data.principal}", mend="PUT /api/v1/principals/NAME")
    now = parts.clock.now()
    credential, token = mint(data.principal, now, timedelta(seconds=data.expires_s))
    event = _event(
        request, "access.token", f"@principal/{data.principal}", f"made a token for {data.principal}"
    )
    await parts.store.commit(
        Transaction(
            at=now, reads=[ref], writes=[Write(kind="Token", key=token.key, body=token)], events=[event]
        )
    )
    return Minted(id=token.id, credential=credential, expires_at=token.expires_at)


@delete("/api/v1/tokens/{token:str}", opt={"permission": "admin"})
async def revoke_token(request: Asked, token: Part) -> None:
    """A token that opens nothing any more."""
    parts = parts_of(request)
    known, ref = await parts.store.get(Token, token)
    if known is None:
        raise NotFound("POISE-E404", f"no token {token}")
    event = _event(request, "access.token", f"@principal/{known.principal}", f"revoked token {token}")
    await parts.store.commit(
        Transaction(
            at=parts.clock.now(),
            reads=[ref],
            writes=[Write(kind="Token", key=token, body=None)],
            events=[event],
        )
    )


@post("/api/v1/stop", opt={"permission": "admin"}, status_code=202, sync_to_thread=False)
def stop(request: Asked) -> dict[str, str]:
    """End the control process; workloads go on."""
    parts_of(request).stop()
    return {"status": "stopping"}


def _require_match(given: str, generation: int, where: str) -> None:
    if not re.fullmatch(r'"?\d+"?', given):
        raise Invalid(
            "POISE-E428",
            "an If-Match is needed",
            where=where,
            mend="Read it first; send its ETag as If-Match.",
        )
    if int(given.strip('"')) != generation:
        raise Stale("POISE-E412", "it changed since you read it", where=where, mend="Read it again.")


def _event(request: Asked, kind: str, subject: str, said: str, **data: Any) -> Event:
    name = request.scope["user"].name
    return Event(type=f"dev.poise.{kind}", subject=subject, summary=f"{name} {said}.", actor=name, data=data)


ROUTES = [
    make_project, give_order, plan, apply, set_principal, make_token,
    revoke_token, stop,
]  # fmt: skip
