"""Every error leaves the API in the same four parts."""

from __future__ import annotations

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from msgspec import Struct

from poise.model.errors import PoiseError

log = structlog.get_logger()


class Problem(Struct, frozen=True, kw_only=True):
    """An error as data: a stable code, what happened, where, why, and what mends it."""

    code: str
    what: str
    where: str = ""
    why: str = ""
    mend: str = ""
    exit_code: int = 1
    problems: tuple[Problem, ...] = ()


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


def on_poise_error(_: Request, error: PoiseError) -> Response[Problem]:  # type: ignore[type-arg]
    """Our own errors carry their status."""
    headers = {"WWW-Authenticate": 'Basic realm="poise"'} if error.http_status == 401 else {}
    return Response(problem_of(error), status_code=error.http_status, headers=headers)


def on_http_error(request: Request, error: HTTPException) -> Response[Problem]:  # type: ignore[type-arg]
    """The framework's refusals (no such route, malformed body), in our four parts."""
    details = error.extra if isinstance(error, ValidationException) else None
    return Response(
        Problem(
            code=f"POISE-H{error.status_code}",
            what=error.detail or "the request was refused",
            where=f"{request.method} {request.url.path}",
            why=str(details) if details else "",
            mend="See /api/v1/openapi.json",
        ),
        status_code=error.status_code,
    )


def on_fault(request: Request, error: Exception) -> Response[Problem]:  # type: ignore[type-arg]
    """Our own mistake: logged whole here, told without a stack trace."""
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    return Response(
        Problem(
            code="POISE-E500",
            what="Poise made a mistake",
            where=f"{request.method} {request.url.path}",
            why=type(error).__name__,
            mend="See logs/poise.log; run: poise doctor",
        ),
        status_code=500,
    )
