"""What a person is told when something goes wrong.

PoiseError
├── Invalid (ValueError)          bad input; exit 5, HTTP 422
├── NotFound (LookupError)        exit 3, HTTP 404
├── Conflict                      changed meanwhile, locked, already there; exit 4, HTTP 409
├── Held                          the gate says hold; exit 6, HTTP 409
├── Forbidden (PermissionError)   exit 1, HTTP 403
├── Unreachable (ConnectionError) exit 7, HTTP 503
├── TimedOut (TimeoutError)       exit 8, HTTP 504
└── TooLarge (ValueError)         a body or list over its limit; exit 5, HTTP 413
"""

from __future__ import annotations

from typing import ClassVar


class PoiseError(Exception):
    """An error in four parts: what happened, where, why, and a command or edit that mends it."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, code: str, what: str, *, where: str = "", why: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.where = where
        self.why = why
        self.mend = mend

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        tail = "".join(f" {part}" for part in (self.why, self.mend) if part)
        return f"{self.code} {self.what}{place}.{tail}"


class Invalid(PoiseError, ValueError):
    """The input cannot be accepted as it stands; nothing was applied."""

    exit_code = 5
    http_status = 422


class NotFound(PoiseError, LookupError):
    """The named thing does not exist."""

    exit_code = 3
    http_status = 404


class Conflict(PoiseError):
    """The thing changed meanwhile, is locked, or is already there."""

    exit_code = 4
    http_status = 409


class Held(PoiseError):
    """The gate says hold."""

    exit_code = 6
    http_status = 409


class Forbidden(PoiseError, PermissionError):
    """The principal's role does not allow this."""

    http_status = 403


class Unreachable(PoiseError, ConnectionError):
    """A part or a server did not answer."""

    exit_code = 7
    http_status = 503


class TimedOut(PoiseError, TimeoutError):
    """It did not finish within its limit."""

    exit_code = 8
    http_status = 504


class TooLarge(PoiseError, ValueError):
    """A body, list or file is over its named limit."""

    exit_code = 5
    http_status = 413


def told(error: Exception) -> str:
    """What happened and why, for a line beside the thing that it is about."""
    if isinstance(error, PoiseError):
        return ": ".join(part for part in (error.what, error.why) if part)
    return str(error) or type(error).__name__
