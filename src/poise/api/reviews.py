"""Routes of reviews: who reads a post-mortem, and what people make of it.

What people say is written as a ReviewEdit, one after another; the review room folds it into the review.
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Annotated, Any, Final

from litestar import Request, Response, get, post, put
from litestar.params import HeaderParameter, JSONBody
from msgspec import Meta, Struct

from poise.api.asks import Name
from poise.api.idempotency import create_patiently
from poise.api.params import Cursor, Flag, Limit, Number, Part
from poise.api.parts import Parts
from poise.api.read import page_of, parts_of
from poise.api.views import Created, Page
from poise.model.errors import Conflict, Invalid, NotFound
from poise.model.record import Decision, PrefixRef, Ref, Write
from poise.model.review import Action, ActionKind, Priority, Review, ReviewEdit, ReviewState
from poise.ports.store import Stale, Transaction
from poise.reliability.review.decide import ACTIONS_MAX, folded, numbered
from poise.reliability.review.draft import plain

PENDING_MAX: Final = 1000  # edits that the room has not folded yet
_REVIEWS: Final = "/api/v1/projects/{project:str}/reviews"
_REVIEW: Final = _REVIEWS + "/{n:int}"
_DATE_LENGTH: Final = len("2026-12-07")

Asked = Request[Any, Any, Any]
IfMatch = Annotated[str, HeaderParameter(name="If-Match", required=False, max_length=80)]


class WriteText(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole text of a review, in Markdown."""

    text: Annotated[str, Meta(max_length=200_000)]


class SetAction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that will be done. ``n`` replaces that action; 0 adds one.

    ``due`` is a day (until its end, UTC) or an instant with its offset; ``verification`` is how one will know
    that it worked.
    """

    kind: ActionKind
    text: Annotated[str, Meta(max_length=1000)]
    owner: Annotated[str, Meta(max_length=100)]
    due: Annotated[str, Meta(max_length=40)]
    verification: Annotated[str, Meta(max_length=1000)]
    n: Annotated[int, Meta(ge=0, le=999_999)] = 0
    priority: Priority = Priority.P2


class NameClass(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What kind of outage it was, in the team's words; the budget policy adds each class up."""

    outage_class: Name


class Nothing(Struct, frozen=True):
    """An ask that needs no words."""


class _Now(Struct, frozen=True, kw_only=True):
    """A review with all that was said about it, and what was read to know."""

    review: Review
    is_behind: bool
    k: int
    ref: Ref
    reads: tuple[PrefixRef, ...]


@get(_REVIEWS, opt={"permission": "viewer"})
async def list_reviews(
    request: Asked, project: Part, cursor: Cursor = "", limit: Limit = 100
) -> Page[Review]:
    """Reviews by incident, the newest last."""
    return await page_of(parts_of(request), Review, f"{project}/", cursor, limit)


@get(_REVIEW, opt={"permission": "viewer"})
async def get_review(request: Asked, project: Part, n: Number) -> Response[Review]:
    """The review of incident ``n``."""
    review, ref = await _review(parts_of(request), project, n)
    return Response(review, headers={"ETag": _etag(ref)})


@get(_REVIEW + "/text", opt={"permission": "viewer"}, media_type="text/markdown")
async def get_text(request: Asked, project: Part, n: Number, actions: Flag = False) -> Response[str]:
    """Its text in Markdown, as people edit it; ``actions``: with the actions that were agreed on."""
    now = await _now(parts_of(request), project, n)
    text = f"{now.review.text.rstrip()}\n{agreed(now.review.actions)}" if actions else now.review.text
    return Response(text, media_type="text/markdown", headers={"ETag": _etag(now.ref)})


def agreed(actions: tuple[Action, ...]) -> str:
    """The actions as Markdown, one a line; empty without any. What people wrote is escaped."""
    if not actions:
        return ""
    lines = []
    for one in actions:
        until = f"done {one.done_at:%Y-%m-%d}" if one.done_at else f"due {one.due_at:%Y-%m-%d}"
        said = f"{plain(one.text)} Owner {plain(one.owner)}, {until}. Verified by: {plain(one.verification)}"
        lines.append(f"- [{'x' if one.done_at else ' '}] {one.n}, to {one.kind}: {said}")
    return "\n## Agreed actions\n\n" + "\n".join(lines) + "\n"


@put(_REVIEW + "/text", opt={"permission": "developer"})
async def write_text(
    request: Asked, project: Part, n: Number, data: JSONBody[WriteText], if_match: IfMatch = ""
) -> Created:
    """A new text; ``If-Match`` is the ETag of the one that was read. From now on no draft replaces it."""
    parts, where = parts_of(request), request.url.path
    now = await _now(parts, project, n)
    _check_match(if_match, now.ref, where)
    if now.is_behind:
        raise Conflict(
            "POISE-I412", "somebody edited it just now", where=where,
            why="What was read is not the newest.", mend=f"Read it again: poise postmortem show {n}",
        )  # fmt: skip
    if not data.text.strip():
        raise Invalid("POISE-I422", "the text is empty", where=where, mend=f"poise postmortem edit {n}")
    if "\0" in data.text:
        raise Invalid("POISE-I422", "the text has a NUL", where=where, mend="Remove it: tr -d '\\0'")
    decision, key = _edit(request, now, text=data.text)
    await parts.store.commit(
        Transaction(at=parts.clock.now(), reads=(now.ref, *decision.reads), writes=decision.writes)
    )
    return Created(key=key, sentence=f"{_asker(request)} edited the review of incident {n}.")


@post(_REVIEW + "/actions", opt={"permission": "developer", "once": True})
async def set_action(request: Asked, project: Part, n: Number, data: JSONBody[SetAction]) -> Created:
    """Add an action, or replace one by its number; ``key`` of the answer is the action's number."""
    parts = parts_of(request)

    async def make() -> tuple[Decision, Created]:
        now = await _now(parts, project, n)
        before = _action(now.review, data.n) if data.n else None
        action = _checked(parts, data, before, request.url.path)
        if before is None and len(now.review.actions) >= ACTIONS_MAX:
            raise Conflict(
                "POISE-I413", f"it has {ACTIONS_MAX} actions already", where=now.review.key,
                why="What is so long is done by nobody.", mend=f"Replace one: poise postmortem show {n}",
            )  # fmt: skip
        decision, _ = _edit(request, now, action=action)
        number = numbered(now.review.actions, action).n
        said = f"Action {number} of incident {n}: {action.owner} has until {action.due_at:%Y-%m-%d}."
        return decision, Created(key=str(number), sentence=said)

    return await create_patiently(request, parts, data, Created, make)


@post(_REVIEW + "/actions/{action:int}/done", opt={"permission": "developer", "once": True})
async def finish_action(request: Asked, project: Part, n: Number, action: Number) -> Created:
    """Say that an action is done."""
    parts = parts_of(request)

    async def make() -> tuple[Decision, Created]:
        now = await _now(parts, project, n)
        known = _action(now.review, action)
        if known.done_at is not None:
            raise Conflict(
                "POISE-I409", f"action {action} of incident {n} is done already", where=now.review.key,
                why=f"{known.done_by} said so.", mend=f"See: poise postmortem show {n}",
            )  # fmt: skip
        decision, _ = _edit(request, now, done=action)
        said = f"{_asker(request)} has done action {action} of incident {n}."
        return decision, Created(key=str(action), sentence=said)

    return await create_patiently(request, parts, Nothing(), Created, make)


@post(_REVIEW + "/outage-class", opt={"permission": "developer", "once": True})
async def name_class(request: Asked, project: Part, n: Number, data: JSONBody[NameClass]) -> Created:
    """Say what kind of outage it was."""
    parts = parts_of(request)

    async def make() -> tuple[Decision, Created]:
        now = await _now(parts, project, n)
        decision, key = _edit(request, now, outage_class=data.outage_class)
        said = f"{_asker(request)} says that incident {n} is of class {data.outage_class}."
        return decision, Created(key=key, sentence=said)

    return await create_patiently(request, parts, data, Created, make)


@post(_REVIEW + "/publish", opt={"permission": "operator", "once": True})
async def publish(request: Asked, project: Part, n: Number) -> Created:
    """Say that it may be read by all; no draft replaces it any more."""
    parts = parts_of(request)

    async def make() -> tuple[Decision, Created]:
        now = await _now(parts, project, n)
        if now.review.state is ReviewState.PUBLISHED:
            raise Conflict(
                "POISE-I409", f"the review of incident {n} is published already", where=now.review.key,
                why=f"{now.review.published_by} did so.", mend=f"See: poise postmortem show {n}",
            )  # fmt: skip
        decision, key = _edit(request, now, publish=True)
        return decision, Created(key=key, sentence=f"{_asker(request)} published the review of incident {n}.")

    return await create_patiently(request, parts, Nothing(), Created, make)


def _checked(parts: Parts, ask: SetAction, before: Action | None, where: str) -> Action:
    """The action that is asked for; ``Invalid`` for what nobody could do or check."""
    for name in ("text", "owner", "verification"):
        if not getattr(ask, name).strip():
            option = "verify" if name == "verification" else name
            raise Invalid(
                "POISE-I422", f"an action needs {'an' if name == 'owner' else 'a'} {name}", where=where,
                why="An action that nobody owns, or of which nobody can tell that it worked, is a wish.",
                mend="Name it" if name == "text" else f"Name it: --{option} '...'",
            )  # fmt: skip
    due_at, now = due(ask.due, where), parts.clock.now()
    if due_at <= now and (before is None or before.due_at != due_at):
        raise Invalid(
            "POISE-I422", f"{ask.due} is past", where=where, why=f"It is {now:%Y-%m-%d %H:%M} UTC.",
            mend="Name a day to come: --due 2030-01-31",
        )  # fmt: skip
    return Action(
        n=ask.n, kind=ask.kind, text=ask.text.strip(), owner=parts.masker.text(ask.owner.strip()),
        due_at=due_at, verification=ask.verification.strip(), priority=ask.priority,
        done_at=before.done_at if before else None, done_by=before.done_by if before else None,
    )  # fmt: skip


def due(text: str, where: str = "") -> datetime:
    """The instant until when something is due: of a day its last second, UTC. ``Invalid`` for another text.

    >>> due("2026-12-07").isoformat()
    '2026-12-07T23:59:59+00:00'
    """
    try:
        found = datetime.fromisoformat(text.strip())
        if len(text.strip()) <= _DATE_LENGTH:
            return datetime.combine(found.date(), time(23, 59, 59), UTC)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Invalid(
        "POISE-I422", f"{text!r} is no day", where=where,
        why="A day is 2026-12-07; an instant has its offset: 2026-12-07T18:00:00Z.", mend="--due 2026-12-07",
    )  # fmt: skip


def _action(review: Review, n: int) -> Action:
    found = next((one for one in review.actions if one.n == n), None)
    if found is None:
        known = ", ".join(str(one.n) for one in review.actions) or "none"
        raise NotFound(
            "POISE-I404", f"no action {n} in the review", where=review.key, why=f"There is {known}.",
            mend=f"poise postmortem show {int(review.key.rpartition('/')[2])}",
        )  # fmt: skip
    return found


async def _review(parts: Parts, project: str, n: int) -> tuple[Review, Ref]:
    review, ref = await parts.store.get(Review, f"{project}/{n:06d}")
    if review is None:
        raise NotFound(
            "POISE-I404", f"no review of an incident {n} of {project}",
            why="A review is drafted once its incident is resolved.", mend="Run: poise postmortem list",
        )  # fmt: skip
    return review, ref


async def _now(parts: Parts, project: str, n: int) -> _Now:
    """The review with what is not folded yet. What was read covers every edit, so that two never collide."""
    review, ref = await _review(parts, project, n)
    prefix, seen_to = f"{review.key}/", f"{review.key}/{review.edits_seen:06d}"
    edits, edits_ref = await parts.store.scan(ReviewEdit, prefix, after=seen_to, limit=PENDING_MAX)
    newest, newest_ref = await parts.store.scan(ReviewEdit, prefix, limit=1, last=True)
    return _Now(
        review=folded(review, edits),
        is_behind=bool(edits),
        k=max(review.edits_seen, newest[-1].k if newest else 0) + 1,
        ref=ref,
        reads=(edits_ref, newest_ref),
    )


def _edit(request: Asked, now: _Now, **what: Any) -> tuple[Decision, str]:
    at = parts_of(request).clock.now()
    edit = ReviewEdit(incident=now.review.incident, k=now.k, by=_asker(request), at=at, **what)
    return Decision(reads=now.reads, writes=(Write(kind="ReviewEdit", key=edit.key, body=edit),)), edit.key


def _check_match(given: str, ref: Ref, where: str) -> None:
    if not given.strip('"').isdecimal():
        raise Invalid(
            "POISE-E428", "an If-Match is needed", where=where,
            mend="Read it first; send its ETag as If-Match.",
        )  # fmt: skip
    if int(given.strip('"')) != ref.generation:
        raise Stale("POISE-E412", "it changed since you read it", where=where, mend="Read it again.")


def _etag(ref: Ref) -> str:
    return f'"{ref.generation}"'


def _asker(request: Asked) -> str:
    name: str = request.scope["user"].name
    return name


ROUTES = [
    list_reviews, get_review, get_text, write_text, set_action, finish_action, name_class, publish,
]  # fmt: skip
