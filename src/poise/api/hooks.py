"""Hooks of forges and sinks of events: made, listed and removed by an admin."""

from __future__ import annotations

import secrets
from base64 import b64encode
from datetime import datetime
from typing import Annotated, Any, Final

from litestar import Request, delete, get, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from poise.adapters.git.remotes import checked_remote
from poise.adapters.sinks import sink_secret
from poise.api.params import Cursor, Limit, Part
from poise.api.parts import Parts
from poise.api.read import page_of, parts_of
from poise.api.seals import sealed
from poise.api.views import Created, Page
from poise.delivery.source.forges import SECRET_PREFIX
from poise.model.errors import NotFound
from poise.model.event_types import HOOK_CHANGED
from poise.model.exchange import Announcement, Forge, Hook
from poise.model.record import Event, Write
from poise.model.service import Project
from poise.ports.store import Transaction

_HOOKS: Final = "/api/v1/projects/{project:str}/hooks"
Asked = Request[Any, Any, Any]


class MakeHook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which forge tells of pushes, and where its code is fetched from (nowhere: pushes are recorded)."""

    forge: Forge
    remote: Annotated[str, Meta(max_length=500)] = ""
    credential: Annotated[str, Meta(max_length=300, pattern="^([!-9;-~]+:[!-~]+)?$")] = ""
    branch: Annotated[str, Meta(max_length=200, pattern=r"^[A-Za-z0-9_./+@#-]*$")] = ""


class HookMade(Struct, frozen=True, kw_only=True):
    """A hook with its secret, which is shown this once."""

    key: str
    url: str
    secret: str
    sentence: str


class HookShown(Struct, frozen=True, kw_only=True):
    """A hook without its secrets."""

    key: str
    forge: Forge
    remote: str
    branch: str
    has_credential: bool
    by: str
    at: datetime


class SinkShown(Struct, frozen=True, kw_only=True):
    """A sink: the journal's sequence up to which it was told, and how many events are under way to it."""

    url: str
    secret: str
    told_up_to: int
    under_way: int


@post(_HOOKS, opt={"permission": "admin"})
async def make_hook(request: Asked, project: Part, data: JSONBody[MakeHook]) -> HookMade:
    """A hook with a fresh secret, shown once; it takes the place of the forge's hook before.

    A retry makes a new secret: a secret is never kept to repeat.
    """
    parts = parts_of(request)
    known, project_ref = await parts.store.get(Project, project)
    if known is None:
        raise NotFound("POISE-E404", f"no project {project}", mend="Run: poise up")
    if data.remote:
        checked_remote(data.remote)
    key, asker = f"{project}/{data.forge.value}", request.scope["user"].name
    before, ref = await parts.store.get(Hook, key)
    secret = _fresh(data.forge)
    hook = Hook(
        project=project,
        forge=data.forge,
        sealed=sealed(parts.sealer, key, secret),
        remote=data.remote,
        credential=sealed(parts.sealer, f"{key}/credential", data.credential) if data.credential else "",
        branch=data.branch,
        by=asker,
        at=parts.clock.now(),
    )
    done = "made anew" if before else "made"
    event = _event(project, asker, f"{asker} {done} the hook of {data.forge.value}.", data.remote)
    await parts.store.commit(
        Transaction(
            at=hook.at,
            reads=[ref, project_ref],
            writes=[Write(kind="Hook", key=key, body=hook)],
            events=[event],
        )
    )
    url = f"{str(request.base_url).rstrip('/')}/api/v1/projects/{project}/webhooks/{data.forge.value}"
    return HookMade(key=key, url=url, secret=secret, sentence="The secret is shown this once.")


@get(_HOOKS, opt={"permission": "admin"})
async def list_hooks(
    request: Asked, project: Part, cursor: Cursor = "", limit: Limit = 100
) -> Page[HookShown]:
    """The hooks of a project, without their secrets."""
    page = await page_of(parts_of(request), Hook, f"{project}/", cursor, limit)
    return Page(items=[_shown(hook) for hook in page.items], next=page.next)


@delete(_HOOKS + "/{name:str}", opt={"permission": "admin"}, status_code=200)
async def remove_hook(request: Asked, project: Part, name: Part) -> Created:
    """A forge that is believed no more."""
    parts, asker = parts_of(request), request.scope["user"].name
    hook, ref = await parts.store.get(Hook, f"{project}/{name}")
    if hook is None:
        raise NotFound("POISE-E404", f"no hook {name} in {project}", mend="Run: poise webhook list")
    event = _event(project, asker, f"{asker} removed the hook of {name}.", hook.remote)
    gone = Write(kind="Hook", key=hook.key, body=None)
    await parts.store.commit(Transaction(at=parts.clock.now(), reads=[ref], writes=[gone], events=[event]))
    return Created(key=hook.key, sentence=event.summary)


@get("/api/v1/projects/{project:str}/sinks", opt={"permission": "admin"})
async def list_sinks(request: Asked, project: Part) -> Page[SinkShown]:
    """Where events go (``events:`` of poise.yaml), how far each has been told, and its receiver's secret."""
    parts = parts_of(request)
    known, _ = await parts.store.get(Project, project)
    if known is None:
        raise NotFound("POISE-E404", f"no project {project}", mend="Run: poise up")
    told, _ = await parts.store.scan(Announcement, f"{project}/")
    by_url = {one.sink: one for one in told}
    return Page(items=[_sink(parts, project, url, by_url.get(url)) for url in known.sinks])


def _sink(parts: Parts, project: str, url: str, told: Announcement | None) -> SinkShown:
    return SinkShown(
        url=url,
        secret=sink_secret(parts.signing_key, project, url),
        told_up_to=told.sequence if told else 0,
        under_way=len(told.open) if told else 0,
    )


def _fresh(forge: Forge) -> str:
    """GitLab takes its secret as a plain token or, in this form, as a key to sign with."""
    if forge is Forge.GITLAB:
        return SECRET_PREFIX + b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(32)


def _shown(hook: Hook) -> HookShown:
    return HookShown(
        key=hook.key,
        forge=hook.forge,
        remote=hook.remote,
        branch=hook.branch,
        has_credential=bool(hook.credential),
        by=hook.by,
        at=hook.at,
    )


def _event(project: str, asker: str, said: str, remote: str) -> Event:
    return Event(type=HOOK_CHANGED, subject=project, summary=said, actor=asker, data={"remote": remote})


ROUTES = [make_hook, list_hooks, remove_hook, list_sinks]
