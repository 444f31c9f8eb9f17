"""Who asks, and whether they may.

A credential is ``poise_<id>_<secret>``; only SHA-256 of the secret is kept (256 random bits need no slow
hash). Every route declares its permission; a route that declares none is refused to everybody.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from msgspec.structs import replace

from poise.api.parts import Parts
from poise.model.access import Principal, Role, Token
from poise.model.errors import Forbidden
from poise.model.record import Event, Write
from poise.ports.store import Store, Transaction

SESSION_COOKIE: Final = "poise_session"
SESSION_TTL: Final = timedelta(days=7)
TOKEN_TTL: Final = timedelta(days=90)
LOGIN_TTL: Final = timedelta(minutes=15)
PUBLIC: Final = "public"


class Unauthenticated(Forbidden):
    """Nobody is known by this credential."""

    http_status = 401


def mint(
    principal: str, now: datetime, ttl: timedelta, *, once: bool = False, session: bool = False
) -> tuple[str, Token]:
    """A new credential in plain, to be shown once, and the token to keep."""
    token_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    token = Token(
        id=token_id,
        principal=principal,
        hash=_hash(secret),
        expires_at=now + ttl,
        once=once,
        session=session,
    )
    return f"poise_{token_id}_{secret}", token


async def authenticate(
    store: Store, credential: str, now: datetime, *, once: bool = False
) -> tuple[Principal, datetime]:
    """The principal behind a credential and when it expires; ``Unauthenticated`` when there is none.

    ``once`` spends a login link: the second use finds it revoked.
    """
    prefix, _, rest = credential.partition("_")
    token_id, _, secret = rest.partition("_")
    token, ref = await store.get(Token, token_id)
    good = (
        prefix == "poise"
        and token is not None
        and hmac.compare_digest(token.hash, _hash(secret))
        and not token.revoked
        and token.expires_at > now
        and token.once == once
    )
    if not good or token is None:
        raise Unauthenticated("POISE-A401", "the credential is not known", mend="Run: poise login")
    principal, _ = await store.get(Principal, token.principal)
    if principal is None:
        raise Unauthenticated("POISE-A401", "the credential's owner is gone", mend="Run: poise login")
    if once:
        spent = Write(kind="Token", key=token.key, body=replace(token, revoked=True))
        event = Event(
            type="dev.poise.access.login",
            subject=f"@principal/{principal.name}",
            summary=f"{principal.name} logged in by a one-time link.",
            actor=principal.name,
        )
        await store.commit(Transaction(at=now, reads=[ref], writes=[spent], events=[event]))
    return principal, token.expires_at


async def revoke_session(parts: Parts, credential: str) -> None:
    """Forget a session's token; nothing when the credential is no session's."""
    token_id = credential.partition("_")[2].partition("_")[0]
    token, ref = await parts.store.get(Token, token_id)
    if token is not None and token.session and hmac.compare_digest(token.hash, _hash(credential[-64:])):
        gone = Write(kind="Token", key=token.key, body=None)
        await parts.store.commit(Transaction(at=parts.clock.now(), reads=[ref], writes=[gone]))


def credential_of(connection: ASGIConnection) -> str | None:  # type: ignore[type-arg]
    """The credential that a request carries: bearer, basic (git) or the session cookie."""
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        return basic_password(value)
    return connection.cookies.get(SESSION_COOKIE)


def basic_password(value: str) -> str | None:
    """The password of a Basic credential; None when it is not one."""
    try:
        return b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return None


async def authorise(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg]
    """The guard of every route: deny unless the route declares a permission and the asker has it."""
    permission = handler.opt.get("permission")
    if permission == PUBLIC:
        return
    if permission is None:
        raise Forbidden("POISE-A403", "this route declares no permission, so nobody may use it")
    state = connection.app.state
    credential = credential_of(connection)
    if credential is None:
        raise Unauthenticated("POISE-A401", "a token is needed", mend="Run: poise login")
    principal = await state.credentials.principal(credential, state.parts.clock.now())
    _refuse_cross_site(connection)
    project = str(connection.path_params.get("project", "*"))
    check(principal, Role(permission), project)
    connection.scope["user"] = principal


def check(principal: Principal, needed: Role, project: str) -> None:
    """Raise ``Forbidden`` unless ``principal`` has ``needed`` or more in ``project``."""
    held = principal.role_in(project)
    if project == "*" and needed is Role.VIEWER and principal.roles:
        return  # lists over all projects show each asker only their own
    if held is None or held.rank < needed.rank:
        raise Forbidden(
            "POISE-A403",
            f"{principal.name} may not do this",
            where=project,
            why=f"it needs the role {needed.value}; {principal.name} has {held.value if held else 'none'}.",
            mend="Ask an admin of the project.",
        )


def _refuse_cross_site(connection: ASGIConnection) -> None:  # type: ignore[type-arg]
    """A browser's session acts only from our own pages (a cookie travels by itself; a header does not)."""
    scheme = connection.headers.get("authorization", "").partition(" ")[0].lower()
    if scheme in ("bearer", "basic") or connection.scope.get("method") in ("GET", "HEAD"):
        return
    site = connection.headers.get("sec-fetch-site", "same-origin")
    origin = connection.headers.get("origin")
    host = connection.headers.get("host", "")
    if site not in ("same-origin", "none") or (origin and origin.split("://", 1)[-1] != host):
        raise Forbidden("POISE-A404", "a page of another site may not act here")


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
