"""Headers that every answer carries, errors included: no script, style or frame but our own."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def secured(response: Response[Any]) -> Response[Any]:
    """The answer with the headers it lacks."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
