"""``git push`` over HTTP: the token is the password; to push takes the role developer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import unquote

import msgspec
from litestar import asgi
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from poise.adapters.git.http_backend import is_push, serve_git
from poise.adapters.git.standing import Standing
from poise.api.access import PUBLIC, Unauthenticated, authenticate, basic_password, check
from poise.api.errors import problem_of
from poise.api.parts import Parts
from poise.model.access import Principal, Role
from poise.model.errors import NotFound, PoiseError
from poise.model.service import Project

_PATH = re.compile(r"/git/(?P<project>[a-z0-9][a-z0-9-]{0,39})\.git(?P<rest>/.*)")


@asgi("/git", is_mount=True, opt={"permission": PUBLIC}, copy_scope=True)
async def git(scope: Scope, receive: Receive, send: Send) -> None:
    """Smart HTTP for every project. Authorised here: git speaks Basic and needs a 401 to try."""
    try:
        await _serve(scope, receive, send)
    except PoiseError as error:
        await _refuse(error, send)


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == ScopeType.HTTP, "mounted for HTTP alone"
    parts: Parts = scope["litestar_app"].state.parts
    path = unquote(scope["raw_path"].decode("latin-1").partition("?")[0])  # a mount's own path is rewritten
    match = _PATH.fullmatch(path)
    if match is None:
        raise NotFound("POISE-E404", "no such repository", where=path, mend="Run: poise up")
    project, rest = match["project"], match["rest"]
    query = scope["query_string"].decode("latin-1")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    pusher = await _pusher(parts, headers)
    check(pusher, Role.DEVELOPER if is_push(rest, query) else Role.VIEWER, project)

    def pushed() -> None:
        parts.source.pushed(project, pusher.name)
        parts.loop.wake("source", project)
        parts.loop.wake("branch_preview", project)  # a branch that is deleted is no change

    answer = await serve_git(
        parts.data / "repos",
        project=project,
        path_info=rest,
        query=query,
        method=scope["method"],
        headers=headers,
        body=_body(receive),
        user=pusher.name,
        on_push=pushed,
        standing=await _standing(parts, project),
    )
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    async for chunk in answer.body:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _standing(parts: Parts, project: str) -> Standing | None:
    known, _ = await parts.store.get(Project, project)
    return None if known is None else Standing(branch=known.branch, previews=known.previews)


async def _pusher(parts: Parts, headers: dict[str, str]) -> Principal:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    credential = basic_password(value) if scheme.lower() == "basic" else None
    if not credential:
        raise Unauthenticated("POISE-A401", "a token is needed as the password", mend="Run: poise up")
    principal, _ = await authenticate(parts.store, credential, parts.clock.now())
    return principal


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionError("the client went away")
        yield message["body"]
        if not message["more_body"]:
            return


async def _refuse(error: PoiseError, send: Send) -> None:
    headers = [(b"content-type", b"application/json")]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b'Basic realm="poise"'))
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send(
        {"type": "http.response.body", "body": msgspec.json.encode(problem_of(error)), "more_body": False}
    )


ROUTES = [git]
