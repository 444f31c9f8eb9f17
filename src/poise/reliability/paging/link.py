"""The signed link that acknowledges: who, which incident, until when. Nothing of it is kept.

Source: HMAC-SHA-256 (RFC 2104) over a purpose and the claim, so that no other signature of the same key
can stand for it.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

LINK_TTL: Final = timedelta(hours=24)
TOKEN_CHARS: Final = 1000
_PURPOSE: Final = b"poise/acknowledge/1:"


class Claim(Struct, frozen=True, kw_only=True):
    """What a link says: ``person`` may acknowledge ``incident``, or ``dispute``, until ``expires_at``."""

    incident: str
    person: str
    expires_at: datetime
    dispute: str = ""


def sign(key: bytes, claim: Claim) -> str:
    """The token of a claim, fit for an address. The same claim gives the same token."""
    body = msgspec.json.encode(claim)
    return f"{_text(body)}.{_text(_seal(key, body))}"


def read(key: bytes, token: str) -> Claim | None:
    """The claim of a token; None when this key did not sign it. Whether it has expired is not looked at."""
    body, _, seal = token[:TOKEN_CHARS].partition(".")
    try:
        raw = _bytes(body)
        if not hmac.compare_digest(_seal(key, raw), _bytes(seal)):
            return None
        return msgspec.json.decode(raw, type=Claim)
    except (ValueError, msgspec.DecodeError):
        return None


def _seal(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, _PURPOSE + body, sha256).digest()


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
