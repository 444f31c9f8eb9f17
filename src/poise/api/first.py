"""The first minutes: an owner, a token in a 0600 file, and one-time login links."""

from __future__ import annotations

import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Any

from litestar import Request, post
from litestar.datastructures import Cookie

from poise.api.access import LOGIN_TTL, SESSION_COOKIE, SESSION_TTL, TOKEN_TTL, mint
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.api.views import Created
from poise.model.access import Principal, Role
from poise.model.record import Event, Write
from poise.ports.clock import Clock
from poise.ports.store import Store, Transaction

OWNER = "owner"


async def welcome(store: Store, clock: Clock, data: Path) -> None:
    """An owner with a token, made once. The file holds the only plain copy of the credential."""
    path = data / "token"
    owner, ref = await store.get(Principal, OWNER)
    if owner is not None and path.exists():
        return
    credential, token = mint(OWNER, clock.now(), TOKEN_TTL)
    write_secret(path, credential.encode())
    made = Principal(name=OWNER, roles={"*": Role.ADMIN})
    event = Event(
        type="dev.poise.access.token",
        subject=f"@principal/{OWNER}",
        summary="This machine's token was made.",
    )
    writes = [Write(kind="Token", key=token.key, body=token)]
    if owner is None:
        writes.append(Write(kind="Principal", key=OWNER, body=made))
    await store.commit(Transaction(at=clock.now(), reads=[ref], writes=writes, events=[event]))


def signing_key(data: Path) -> bytes:
    """The installation's key, made once; overrides are signed with it."""
    path = data / "signing.key"
    if not path.exists():
        write_secret(path, secrets.token_bytes(32))
    return path.read_bytes()


def installation(key: bytes) -> str:
    """This installation's name in what it sends: stable, and it tells nothing of the key."""
    return sha256(b"installation" + key).hexdigest()[:12]


def write_secret(path: Path, content: bytes) -> None:
    """Write beside with mode 0600, sync, rename: never half a secret, never readable by others."""
    beside = path.with_name(path.name + ".part")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


@post("/api/v1/logins", opt={"permission": "viewer"})
async def make_login(request: Request[Any, Any, Any]) -> Created:
    """A one-time link that logs the asker in to the pages, valid for 15 minutes."""
    parts = parts_of(request)
    asker = request.scope["user"].name
    now = parts.clock.now()
    credential, token = mint(asker, now, LOGIN_TTL, once=True)
    await parts.store.commit(Transaction(at=now, writes=[Write(kind="Token", key=token.key, body=token)]))
    host = request.headers.get("host", "127.0.0.1")
    return Created(key=f"http://{host}/login?link={credential}", sentence="It works once.")


async def open_session(parts: Parts, principal: Principal) -> Cookie:
    """A new session of a principal, as the cookie that carries it."""
    now = parts.clock.now()
    credential, token = mint(principal.name, now, SESSION_TTL, session=True)
    await parts.store.commit(Transaction(at=now, writes=[Write(kind="Token", key=token.key, body=token)]))
    return Cookie(
        key=SESSION_COOKIE,
        value=credential,
        httponly=True,
        samesite="lax",
        max_age=int(SESSION_TTL.total_seconds()),
        path="/",
    )


ROUTES = [make_login]
