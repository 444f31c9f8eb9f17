"""Signing in and being refused, in a browser: the login form, one-time links, errors as pages."""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from litestar import MediaType, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.params import Body, QueryParameter
from litestar.response import Redirect

from poise.api.access import PUBLIC, Unauthenticated, authenticate
from poise.api.errors import Problem
from poise.api.first import open_session
from poise.api.read import parts_of
from poise.model.errors import Forbidden
from poise.web import links, pages, views

CSRF_COOKIE = "poise_csrf"
NOT_PAGES = ("/api/", "/git/", "/static/")
Asked = Request[Any, Any, Any]
Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]
Link = Annotated[str, QueryParameter(max_length=300)]
SIGN_IN: dict[str, Any] = {"permission": PUBLIC, "page": True}


@get(links.LOGIN, opt=SIGN_IN, media_type=MediaType.HTML)
async def login(request: Asked, link: Link = "") -> Response[Any]:
    """The form; with a one-time ``link``, a session at once."""
    if not link:
        return _form(request, status=200)
    parts = parts_of(request)
    principal, _ = await authenticate(parts.store, link, parts.clock.now(), once=True)
    return Redirect(links.OVERVIEW, cookies=[await open_session(parts, principal)])


@post(links.LOGIN, opt=SIGN_IN)
async def sign_in(request: Asked, data: Form) -> Redirect:
    """A token, or the address of a one-time link, for a session."""
    same_form(request, data)
    parts, given = parts_of(request), data.get("token", "").strip()
    once = "link=" in given
    credential = parse_qs(urlsplit(given).query).get("link", [""])[0] if once else given
    principal, _ = await authenticate(parts.store, credential, parts.clock.now(), once=once)
    target = links.own(data.get("next", "")) or links.OVERVIEW
    return Redirect(target, status_code=303, cookies=[await open_session(parts, principal)])


def csrf_of(request: Asked) -> tuple[str, list[Cookie]]:
    """The secret of this browser's forms, and the cookie to set when it is new."""
    known = request.cookies.get(CSRF_COOKIE)
    if known:
        return known, []
    made = secrets.token_urlsafe(24)
    return made, [Cookie(key=CSRF_COOKIE, value=made, httponly=True, samesite="strict", path="/")]


def same_form(request: Asked, data: dict[str, str]) -> None:
    """The form's secret and the cookie's must be one: another site can send neither."""
    sent, kept = data.get("csrf", ""), request.cookies.get(CSRF_COOKIE, "")
    if not kept or not hmac.compare_digest(sent.encode(), kept.encode()):
        raise Forbidden("POISE-A405", "the form is not from this page", mend="Load the page again.")


def refused(request: Asked, problem: Problem, status: int) -> Response[Any] | None:
    """A problem as a page for whoever asked for a page; None for everybody else."""
    if not _wants_page(request):
        return None
    if status == Unauthenticated.http_status:
        tried = request.url.path == links.LOGIN
        return _form(request, status=status, message=f"Refused: {problem.what}." if tried else "")
    csrf, cookies = csrf_of(request)
    view = views.ErrorView(
        chrome=_chrome(request, csrf),
        status=status,
        code=problem.code,
        what=problem.what,
        where=problem.where,
        why=problem.why,
        mend=problem.mend,
    )
    return Response(pages.error(view), status_code=status, media_type=MediaType.HTML, cookies=cookies)


def _wants_page(request: Asked) -> bool:
    """A page's own route says so; where there is no route, a browser does."""
    handler = request.scope.get("route_handler")
    if handler is not None:
        return bool(handler.opt.get("page"))
    asks = "text/html" in request.headers.get("accept", "")
    return asks and not request.url.path.startswith(NOT_PAGES)


def _form(request: Asked, *, status: int, message: str = "") -> Response[Any]:
    csrf, cookies = csrf_of(request)
    wanted = request.url.path
    if request.method != "GET" or wanted == links.LOGIN:
        wanted = links.OVERVIEW
    view = views.LoginView(chrome=_chrome(request, csrf), message=message, next=wanted)
    return Response(pages.login(view), status_code=status, media_type=MediaType.HTML, cookies=cookies)


def _chrome(request: Asked, csrf: str) -> views.Chrome:
    """What surrounds a page whose reader may be nobody: no live updates, no acts."""
    user = request.scope.get("user")
    return views.Chrome(at=parts_of(request).clock.now(), principal=getattr(user, "name", None), csrf=csrf)


ROUTES = [login, sign_in]
