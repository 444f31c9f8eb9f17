"""Webhooks of forges, pushes and labels: public routes, each request proven by the forge's signature.

Order: size, signature, replay, kind, body. Whatever is refused has changed nothing; an unknown project and a
forged signature get the same answer.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

import structlog
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from poise.api.access import PUBLIC, Unauthenticated
from poise.api.params import Part
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.api.seals import opened
from poise.delivery.source.decide import Head, Push, Seen, decide, relabelled
from poise.delivery.source.forges import (
    Headers,
    Ignored,
    Labelled,
    Malformed,
    Pushed,
    event_of,
    identities,
    read_labels,
    read_push,
    verify,
)
from poise.model.acts import FetchBranch
from poise.model.delivery import Change
from poise.model.errors import Conflict, Invalid, PoiseError
from poise.model.exchange import Delivery, Forge, Hook, Labels
from poise.model.policy import ClassRule
from poise.model.record import Decision, Event, Intent, Read, Ref, Write
from poise.model.service import Project
from poise.ports.store import Stale, Store, Transaction
from poise.spec.commits import classified

log = structlog.get_logger()

REMEMBERED: Final = timedelta(days=30)
PRUNED_AT_ONCE: Final = 4
ATTEMPTS: Final = 5
SUMMARY_CHARS: Final = 200


class Taken(Struct, frozen=True, kw_only=True):
    """What became of a message: ``fetching``, ``recorded``, ``ignored`` or ``pong``."""

    outcome: str
    sentence: str


class Unusable(Invalid):
    """An authentic message that is not what its sender documents."""

    http_status = 400


async def receive(request: Request[Any, Any, Any], project: str, forge: Forge) -> Response[Taken]:
    """Prove the sender, drop a repeat, then act on the push."""
    parts = parts_of(request)
    body = await request.body()  # over the limit of the app: 413
    headers = headers_of(request)
    hook = await _proven(parts, project, forge, headers, body)
    if headers.get("content-type", ("",))[0].partition(";")[0].strip().lower() != "application/json":
        raise _unusable(project, "the content type is not application/json", "Choose JSON in the forge.")
    for _ in range(ATTEMPTS):
        try:
            return await _take(parts, hook, headers, body)
        except Stale:  # told twice at once: the second look finds the first's record
            continue
    raise Stale("POISE-E401", "it changed meanwhile", where=hook.key, mend="Deliver it again.")


async def _proven(parts: Parts, project: str, forge: Forge, headers: Headers, body: bytes) -> Hook:
    """The hook that the message was signed for. The work is the same whether or not there is one."""
    hook, _ = await parts.store.get(Hook, f"{project}/{forge.value}")
    secret = b64encode(sha256(parts.signing_key + b"no hook").digest()).decode()
    if hook is not None:
        try:
            secret = opened(parts.sealer, hook.key, hook.sealed)
        except PoiseError as error:
            log.warning("a hook's secret does not open", hook=hook.key, error=str(error))
            hook = None
    proven = verify(forge, secret, headers, body, parts.clock.now())
    if hook is None or not proven:
        raise Unauthenticated(
            "POISE-A410", "the message is not signed with the hook's secret",
            mend=f"Make a new secret and give it to the forge: poise webhook add {forge.value}",
        )  # fmt: skip
    return hook


async def _take(parts: Parts, hook: Hook, headers: Headers, body: bytes) -> Response[Taken]:
    digests = identities(hook.forge, headers, body)
    reads = await unseen(parts.store, hook.project, hook.forge.value, digests)
    kind = event_of(hook.forge, headers)
    if kind == "ping":
        return _told("pong", "The hook is known here.", 200)
    if not kind:
        raise _unusable(hook.key, "no header says which event this is", "Send it from the forge.")
    labels = kind == "pull_request"
    if kind != "push" and not labels:
        return _told("ignored", "Only pushes are followed, and labels of pull requests.", 202)
    try:
        told = read_labels(hook.forge, body) if labels else read_push(hook.forge, body)
    except Ignored as reason:
        return _told("ignored", f"Nothing to do: {reason}.", 202)
    except Malformed as problem:
        what = f"the {kind.replace('_', ' ')} cannot be read: {problem}"
        raise _unusable(hook.key, what, "See the forge's log.") from None
    if hook.branch and hook.branch != (told.base if isinstance(told, Labelled) else told.branch):
        return _told("ignored", f"Nothing to do: only {hook.branch} is followed.", 202)
    if isinstance(told, Labelled):
        decision, taken = await _labelled(parts, hook, told)
    else:
        decision, taken = await _decided(parts, hook, told, digests)
    await _commit(parts, hook, decision, reads, digests)
    return Response(taken, status_code=202)


async def _labelled(parts: Parts, hook: Hook, told: Labelled) -> tuple[Decision, Taken]:
    """Put the labels on record for its commits. A hosted one is classified anew by source, the rest here."""
    now, source = parts.clock.now(), f"pull request {told.number} at {hook.forge.value}"
    rules = await _rules(parts, hook.project)
    reads, writes, events = list[Read](), list[Write](), list[Event]()
    for sha in told.commits:
        known, ref = await parts.store.get(Labels, f"{hook.project}/{sha}")
        if known is not None and known.labels == told.labels:
            continue
        after = Labels(project=hook.project, commit=sha, labels=told.labels, source=source, at=now)
        reads.append(ref)
        writes.append(Write(kind="Labels", key=after.key, body=after))
        change, change_ref = await parts.store.get(Change, after.key)
        reads.append(change_ref)
        if change is not None and not change.hosted and not change.class_why.startswith("trailer"):
            found = classified(change.summary, (), rules, told.labels)
            again = relabelled(change, told.labels, found.change_class, found.why)
            writes += again.writes
            events += again.events
    names = ", ".join(told.labels) or "none"
    said = Taken(outcome="recorded", sentence=f"Labels of {source}: {names}.")
    return Decision(reads=tuple(reads), writes=tuple(writes), events=tuple(events)), said


async def _rules(parts: Parts, project: str) -> tuple[ClassRule, ...]:
    known, _ = await parts.store.get(Project, project)
    return known.policy.classes if known else ()


async def _decided(
    parts: Parts, hook: Hook, pushed: Pushed, digests: tuple[str, ...]
) -> tuple[Decision, Taken]:
    """With a remote: fetch it, later. Without: the change is recorded for the record's sake."""
    if hook.remote:
        act = FetchBranch(hook=hook.key, branch=pushed.branch, pushed_by=pushed.by)
        intent = Intent(key=f"fetch/{hook.key}/{digests[0]}", act=act)
        return Decision(intents=(intent,)), Taken(
            outcome="fetching", sentence=f"{pushed.branch} is fetched from the remote."
        )
    project, _ = await parts.store.get(Project, hook.project)
    known, ref = await parts.store.get(Change, f"{hook.project}/{pushed.commit}")
    told, labels_ref = await parts.store.get(Labels, f"{hook.project}/{pushed.commit}")
    labels = told.labels if told is not None else ()
    found = classified(pushed.message, (), await _rules(parts, hook.project), labels)
    now = parts.clock.now()
    head = Head(
        branch=pushed.branch,
        commit=pushed.commit,
        summary=(pushed.message.splitlines() or [""])[0][:SUMMARY_CHARS],
        author=pushed.author,
        committed_at=pushed.committed_at or now,
        change_class=found.change_class,
        known=known,
        ref=ref,
        class_why=found.why,
        labels=labels,
        labels_ref=labels_ref,
    )
    seen = Seen(
        project=hook.project,
        branch=project.branch if project else "main",
        heads=(head,),
        pushes={pushed.branch: Push(by=pushed.by)},
        hosted=False,
    )
    said = f"{pushed.commit[:8]} on {pushed.branch} is on record."
    return decide(seen, now), Taken(outcome="recorded", sentence=said)


async def _commit(
    parts: Parts, hook: Hook, decision: Decision, reads: list[Ref], digests: tuple[str, ...]
) -> None:
    now = parts.clock.now()
    origin = hook.forge.value
    await parts.store.commit(
        Transaction(
            at=now,
            reads=(*decision.reads, *reads),
            writes=(
                *decision.writes,
                *remembered(hook.project, origin, digests, now + REMEMBERED),
                *await forgotten(parts, hook.project, origin, digests[0]),
            ),
            events=decision.events,
            intents=decision.intents,
        )
    )


async def unseen(store: Store, project: str, origin: str, digests: tuple[str, ...]) -> list[Ref]:
    """References to the absence of each delivery; ``Conflict`` when one was taken before."""
    reads = []
    for digest in digests:
        known, ref = await store.get(Delivery, f"{project}/{origin}/{digest}")
        if known is not None:
            raise Conflict(
                "POISE-E420", "this delivery was taken before", where=f"{project}/{origin}",
                mend="Nothing to do: it changed nothing.",
            )  # fmt: skip
        reads.append(ref)
    return reads


def remembered(project: str, origin: str, digests: tuple[str, ...], until: Any) -> list[Write]:
    """The deliveries, to be known again."""
    made = [Delivery(project=project, origin=origin, digest=digest, expires_at=until) for digest in digests]
    return [Write(kind="Delivery", key=one.key, body=one) for one in made]


async def forgotten(parts: Parts, project: str, origin: str, digest: str) -> list[Write]:
    """Some expired deliveries, to be deleted: each new one looks at the few that come next by digest.

    Digests are evenly spread, so every record is looked at again and again, and none needs a sweep.
    """
    under = f"{project}/{origin}/"
    found, _ = await parts.store.scan(Delivery, under, after=under + digest, limit=PRUNED_AT_ONCE)
    now = parts.clock.now()
    return [Write(kind="Delivery", key=one.key, body=None) for one in found if one.expires_at <= now]


def headers_of(request: Request[Any, Any, Any]) -> Headers:
    """Every header by lower-case name, with every value that was sent."""
    found: dict[str, tuple[str, ...]] = {}
    for raw, value in request.scope["headers"]:
        name = raw.decode("latin-1").lower()
        found[name] = (*found.get(name, ()), value.decode("latin-1"))
    return found


def _told(outcome: str, sentence: str, status: int) -> Response[Taken]:
    return Response(Taken(outcome=outcome, sentence=sentence), status_code=status)


def _unusable(where: str, what: str, mend: str) -> Unusable:
    return Unusable("POISE-E422", what, where=where, mend=mend)


def _route(forge: Forge) -> HTTPRouteHandler:
    async def handler(request: Request[Any, Any, Any], project: Part) -> Response[Taken]:
        return await receive(request, project, forge)

    handler.__name__ = f"receive_{forge.value}"
    handler.__doc__ = f"A push, as {forge.value} tells of it. The signature is the permission."
    path = "/api/v1/projects/{project:str}/webhooks/" + forge.value
    return post(path, opt={"permission": PUBLIC}, status_code=202)(handler)


ROUTES = [_route(forge) for forge in Forge]
