"""Keys of provenance over HTTP: which are trusted, a fresh one, one of others, one no more."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

from litestar import Request, delete, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta, Struct
from msgspec.structs import replace

from poise.adapters.signing import KeyFile, key_id_of, normal
from poise.api.idempotency import create_once
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.api.views import Created, Page
from poise.model.attestation import TrustedKey
from poise.model.errors import Conflict, Invalid, NotFound
from poise.model.event_types import KEY_MADE, KEY_REMOVED, KEY_TRUSTED
from poise.model.record import Decision, Event, Read, Write
from poise.model.seal import is_genuine, sign
from poise.ports.clock import Clock
from poise.ports.store import Store, Transaction

KEYS_MAX: Final = 500
PREFIX_MIN: Final = 8
SUBJECT: Final = "@key"
_KEYS: Final = "/api/v1/keys"
Asked = Request[Any, Any, Any]
KeyId = Annotated[str, PathParameter(min_length=1, max_length=100)]
Why = Annotated[str, Meta(min_length=3, max_length=1000)]
WhyQuery = Annotated[str, QueryParameter(max_length=1000)]


class TrustKey(Struct, frozen=True, kw_only=True):
    """A public key in PEM that shall be believed, for ``days`` or until it is removed."""

    public_pem: Annotated[str, Meta(min_length=1, max_length=4096)]
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    reason: Why
    days: Annotated[int, Meta(ge=1, le=36_500)] | None = None


class RotateKey(Struct, frozen=True, kw_only=True):
    """Why a fresh key shall sign from now on."""

    reason: Why


async def ensure_key(store: Store, clock: Clock, key_file: KeyFile, signing_key: bytes) -> None:
    """The key in force is on record and trusted; what it took the place of is retired. At each start."""
    known, ref = await store.scan(TrustedKey, limit=KEYS_MAX)
    decision = _in_force(known, (ref,), key_file, signing_key, clock, "poise", "made at the first start")
    if decision.writes:
        now = clock.now()
        await store.commit(
            Transaction(at=now, reads=decision.reads, writes=decision.writes, events=decision.events)
        )


@get(_KEYS, opt={"permission": "viewer"})
async def list_keys(request: Asked) -> Page[TrustedKey]:
    """Every key that is or was trusted; a record that this installation did not seal is none."""
    return Page(items=await _genuine(parts_of(request)))


@get(_KEYS + "/{key:str}", opt={"permission": "viewer"})
async def get_key(request: Asked, key: KeyId) -> TrustedKey:
    """One key, by its id or the first characters of it; ``current`` is the one that signs now."""
    return await _one(parts_of(request), key)


@post(_KEYS, opt={"permission": "admin", "once": True})
async def trust_key(request: Asked, data: JSONBody[TrustKey]) -> Created:
    """Believe a key: one of another installation, or one that was removed or has expired."""
    parts = parts_of(request)

    async def make() -> tuple[Decision, Created]:
        pem, now, by = normal(data.public_pem), parts.clock.now(), request.scope["user"].name
        key_id = key_id_of(pem)
        known, ref = await parts.store.get(TrustedKey, key_id)
        before = known if known is not None and is_genuine(known, parts.signing_key) else None
        if before is None and len(await _genuine(parts)) >= KEYS_MAX:
            raise Conflict("POISE-V404", f"{KEYS_MAX} keys are on record", mend="Run: poise key list")
        made = TrustedKey(
            key_id=key_id,
            public_pem=pem,
            name=parts.masker.text(data.name),
            own=before.own if before else False,
            made_at=before.made_at if before else now,
            made_by=by,
            expires_at=now + timedelta(days=data.days) if data.days else None,
            retired_at=before.retired_at if before else None,
            reason=parts.masker.text(data.reason),
        )
        until = f" until {made.expires_at:%Y-%m-%d}" if made.expires_at else ""
        said = f"{by} trusts the key {key_id[:12]} ({made.name}){until}: {made.reason}"
        event = Event(type=KEY_TRUSTED, subject=f"{SUBJECT}/{key_id}", summary=said, actor=by)
        write = Write(kind="TrustedKey", key=key_id, body=sign(made, parts.signing_key))
        return Decision(reads=(ref,), writes=(write,), events=(event,)), Created(key=key_id, sentence=said)

    return await create_once(request, parts, data, Created, make)


@post(_KEYS + "/rotations", opt={"permission": "admin", "once": True})
async def rotate_key(request: Asked, data: JSONBody[RotateKey]) -> Created:
    """A fresh key signs from now on. What the old one signed stays good until that one is removed."""
    parts, by = parts_of(request), request.scope["user"].name
    key_file = _key_file(parts)

    async def make() -> tuple[Decision, Created]:
        known, ref = await parts.store.scan(TrustedKey, limit=KEYS_MAX)
        key_file.rotate()
        reason = parts.masker.text(data.reason)
        decision = _in_force(known, (ref,), key_file, parts.signing_key, parts.clock, by, reason)
        return decision, Created(key=key_file.key_id, sentence=decision.events[0].summary)

    return await create_once(request, parts, data, Created, make)


@delete(_KEYS + "/{key:str}", opt={"permission": "admin"}, status_code=200)
async def remove_key(request: Asked, key: KeyId, reason: WhyQuery = "") -> Created:
    """Believe a key no more: nothing that it signed starts again. What runs goes on."""
    parts, by, now = parts_of(request), request.scope["user"].name, parts_of(request).clock.now()
    found = await _one(parts, key)
    if len(reason.strip()) < 3:
        raise Invalid("POISE-V403", "a reason is needed", why="It is kept in the journal.",
                      mend=f"Run: poise key remove {found.key_id[:12]} --reason '...'")  # fmt: skip
    if parts.key_file is not None and found.key_id == parts.key_file.key_id:
        raise Conflict("POISE-V402", "this key signs every release now", where=found.key_id,
                       why="Without it nothing new could start.",
                       mend="Run: poise key rotate --reason '...'; then remove it.")  # fmt: skip
    _, ref = await parts.store.get(TrustedKey, found.key_id)
    said = f"{by} removed the key {found.key_id[:12]} ({found.name}): {parts.masker.text(reason)}"
    gone = replace(found, removed_at=now, removed_by=by, reason=parts.masker.text(reason))
    event = Event(type=KEY_REMOVED, subject=f"{SUBJECT}/{found.key_id}", summary=said, actor=by)
    write = Write(kind="TrustedKey", key=found.key_id, body=sign(gone, parts.signing_key))
    await parts.store.commit(Transaction(at=now, reads=[ref], writes=[write], events=[event]))
    return Created(key=found.key_id, sentence=said)


def _in_force(
    known: list[TrustedKey],
    reads: tuple[Read, ...],
    key_file: KeyFile,
    signing_key: bytes,
    clock: Clock,
    by: str,
    reason: str,
) -> Decision:
    """The key of the file is trusted, every other own one retired."""
    now, current = clock.now(), key_file.key_id
    genuine = {key.key_id: key for key in known if is_genuine(key, signing_key)}
    after: list[TrustedKey] = []
    mine = genuine.get(current)
    if mine is None or mine.removed_at is not None or mine.retired_at is not None or not mine.own:
        after.append(
            TrustedKey(
                key_id=current,
                public_pem=key_file.public_pem,
                name="this installation",
                own=True,
                made_at=mine.made_at if mine else now,
                made_by=by,
                reason=reason,
            )
        )
    after += [
        replace(key, retired_at=now)
        for key in genuine.values()
        if key.own and key.key_id != current and key.retired_at is None
    ]
    said = f"the key {current[:12]} signs provenance from now on: {reason}"
    event = Event(type=KEY_MADE, subject=f"{SUBJECT}/{current}", summary=said, actor=by)
    writes = tuple(Write(kind="TrustedKey", key=one.key_id, body=sign(one, signing_key)) for one in after)
    return Decision(reads=reads, writes=writes, events=(event,) if writes else ())


async def _genuine(parts: Parts) -> list[TrustedKey]:
    known, _ = await parts.store.scan(TrustedKey, limit=KEYS_MAX)
    return [key for key in known if is_genuine(key, parts.signing_key)]


async def _one(parts: Parts, said: str) -> TrustedKey:
    """By its id, by at least ``PREFIX_MIN`` of its first characters, or ``current``."""
    wanted = _key_file(parts).key_id if said == "current" else said
    found = [one for one in await _genuine(parts) if one.key_id.startswith(wanted)]
    if len(wanted) < PREFIX_MIN or len(found) != 1:
        many = (
            f"{len(found)} keys begin so"
            if len(wanted) >= PREFIX_MIN
            else f"{PREFIX_MIN} characters at least"
        )
        raise NotFound("POISE-V401", f"no key {said[:64]!r}", why=f"{many}.", mend="Run: poise key list")
    return found[0]


def _key_file(parts: Parts) -> KeyFile:
    if parts.key_file is None:
        raise NotFound("POISE-V405", "this process has no key that signs", mend="Run: poise up")
    return parts.key_file


ROUTES = [list_keys, get_key, trust_key, rotate_key, remove_key]
