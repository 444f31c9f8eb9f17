"""Static files under names that carry a hash of their bytes, so they may be cached for ever."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).parent / "static"
PREFIX: Final = "/static/"
IMMUTABLE: Final = "public, max-age=31536000, immutable"
CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers that every page is sent with."""


def asset(name: str) -> str:
    """The address of a static file: ``asset("app.css")`` is ``/static/app.<hash>.css``.

    Raises KeyError for a file that does not exist.
    """
    return PREFIX + _served_names()[name]


def lookup(served_name: str) -> tuple[bytes, str] | None:
    """The bytes and content type of ``app.<hash>.css``; None if there is no such file or hash.

    Only names made by ``asset`` are known, so no path can lead out of the folder.
    """
    return _by_served_name().get(served_name)


@cache
def _served_names() -> dict[str, str]:
    names = {}
    for path in sorted(STATIC.iterdir()):
        if path.suffix in CONTENT_TYPES:
            digest = sha256(path.read_bytes()).hexdigest()[:12]
            names[path.name] = f"{path.stem}.{digest}{path.suffix}"
    return names


@cache
def _by_served_name() -> dict[str, tuple[bytes, str]]:
    return {
        served: ((STATIC / name).read_bytes(), CONTENT_TYPES[Path(name).suffix])
        for name, served in _served_names().items()
    }
