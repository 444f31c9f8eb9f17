"""Every error leaves the API in the same four parts."""

from __future__ import annotations

from collections.abc import Callable
from traceback import format_exception
from typing import Any

import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from msgspec import Struct

from poise.api.headers import secured
from poise.model.errors import PoiseError

log = structlog.get_logger()

RETRY_AFTER_S = 5  # before what was not reached is tried again
_EXIT_CODES = {400: 5, 404: 3, 409: 4, 412: 4, 413: 5, 415: 5, 422: 5}


class Problem(Struct, frozen=True, kw_only=True):
    """An error as data: a stable code, what happened, where, why, and what mends it."""

    code: str
    what: str
    where: str = ""
    why: str = ""
    mend: str = ""
    exit_code: int = 1
    problems: tuple[Problem, ...] = ()


Show = Callable[[Request[Any, Any, Any], Problem, int], Response[Any] | None]


def problem_of(error: PoiseError) -> Problem:
    """The error as data, with every problem of a file that has several."""
    several = getattr(error, "problems", ())
    return Problem(
        code=error.code,
        what=error.what,
        where=error.where,
        why=error.why,
        mend=error.mend,
        exit_code=error.exit_code,
        problems=tuple(problem_of(one) for one in several if one is not error),
    )


class Handlers:
    """What answers errors; ``show`` may answer instead, for who asked for a page."""

    def __init__(self, show: Show | None = None) -> None:
        self._show = show

    def on_poise_error(self, request: Request, error: PoiseError) -> Response[Any]:  # type: ignore[type-arg]
        """Our own errors carry their status."""
        answer = self._answer(request, problem_of(error), error.http_status)
        if error.http_status == 401:
            answer.headers.setdefault("WWW-Authenticate", 'Bearer realm="poise"')
        if error.http_status == 503:
            answer.headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        return answer

    def on_http_error(self, request: Request, error: HTTPException) -> Response[Any]:  # type: ignore[type-arg]
        """The framework's refusals (no such route, malformed body), in our four parts."""
        problem = Problem(
            code=f"POISE-H{error.status_code}",
            what=_what(error),
            where=_place(request),
            why=_why(error),
            mend="See /api/v1/openapi.json",
            exit_code=_EXIT_CODES.get(error.status_code, 1),
        )
        answer = self._answer(request, problem, error.status_code)
        for name, value in (error.headers or {}).items():
            answer.headers.setdefault(name, value)
        return answer

    def on_fault(self, request: Request, error: Exception) -> Response[Any]:  # type: ignore[type-arg]
        """Our own mistake: logged whole here, told without a stack trace."""
        trace = "".join(format_exception(error))  # plain: a rendering with locals would log credentials
        log.error("request failed", method=request.method, path=request.url.path, trace=trace)
        problem = Problem(
            code="POISE-E500",
            what="Poise made a mistake",
            where=_place(request),
            why=type(error).__name__,
            mend="See logs/poise.log; run: poise doctor",
        )
        return self._answer(request, problem, 500)

    def _answer(self, request: Request, problem: Problem, status: int) -> Response[Any]:  # type: ignore[type-arg]
        shown = self._show(request, problem, status) if self._show else None
        return secured(shown or Response(problem, status_code=status, media_type=MediaType.JSON))


def _place(request: Request) -> str:  # type: ignore[type-arg]
    return f"{request.method} {request.url.path}"


def _what(error: HTTPException) -> str:
    return f"HTTP {error.status_code}: {error.detail}" if error.detail else "the request was refused"


def _why(error: HTTPException) -> str:
    return str(error.extra) if isinstance(error, ValidationException) and error.extra else ""
