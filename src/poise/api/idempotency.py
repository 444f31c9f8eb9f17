"""``Idempotency-Key``: a create asked for twice is made once and answered the same.

The answer is written in the transaction that creates, so no crash can separate them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import Final, TypeVar

import msgspec
from litestar import Request
from msgspec import Struct

from poise.api.parts import Parts
from poise.model.access import Answer
from poise.model.errors import Conflict, Invalid
from poise.model.record import Decision, Write
from poise.ports.store import Stale, Transaction

T = TypeVar("T", bound=Struct)
R = TypeVar("R")
ATTEMPTS: Final = 5
_KEY = re.compile(r"[!-~]{1,200}")  # what a header carries unchanged


async def create_once(
    request: Request,  # type: ignore[type-arg]
    parts: Parts,
    ask: Struct,
    answer: type[T],
    make: Callable[[], Awaitable[tuple[Decision, T]]],
) -> T:
    """``make``'s answer, made and recorded at most once per asker, route and key."""
    given = request.headers.get("idempotency-key", "")
    if not _KEY.fullmatch(given):
        raise Invalid(
            "POISE-E428",
            "an Idempotency-Key is needed",
            where=f"{request.method} {request.url.path}",
            why="A create that is sent twice must happen once.",
            mend="Send a header Idempotency-Key with a fresh UUID, and the same one on a retry.",
        )
    asker = request.scope["user"].name
    key = f"{asker}/{request.method} {request.url.path}/{given}"
    request_hash = sha256(msgspec.json.encode(ask, order="sorted")).hexdigest()
    known, ref = await parts.store.get(Answer, key)
    if known is not None:
        if known.request_hash != request_hash:
            raise Conflict("POISE-E409", "this Idempotency-Key was used for another request", where=given)
        return msgspec.json.decode(known.body, type=answer)
    decision, made = await make()
    now = parts.clock.now()
    kept = Answer(request_hash=request_hash, status=201, body=msgspec.json.encode(made), at=now)
    await parts.store.commit(
        Transaction(
            at=now,
            reads=(*decision.reads, ref),
            writes=(*decision.writes, Write(kind="Answer", key=key, body=kept)),
            events=decision.events,
            intents=decision.intents,
        )
    )
    return made


async def create_patiently(
    request: Request,  # type: ignore[type-arg]
    parts: Parts,
    ask: Struct,
    answer: type[T],
    make: Callable[[], Awaitable[tuple[Decision, T]]],
) -> T:
    """As ``create_once``; what somebody else wrote in the same instant is no reason to refuse."""
    return await patiently(lambda: create_once(request, parts, ask, answer, make))


async def patiently(attempt: Callable[[], Awaitable[R]]) -> R:
    """``attempt``'s result; decided again while something that it was decided from changes meanwhile."""
    for _ in range(ATTEMPTS - 1):
        with suppress(Stale):
            return await attempt()
    return await attempt()
