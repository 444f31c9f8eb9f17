"""What people grant is signed by the installation's key, so that editing the store grants nothing."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import structs

from poise.model.balance import Override
from poise.model.grant import Grant

Signed = TypeVar("Signed", Override, Grant)


def sign(granted: Signed, key: bytes) -> Signed:
    """The record with its signature: HMAC-SHA256 over the other fields as canonical JSON."""
    return structs.replace(granted, signature=_seal(granted, key))


def is_genuine(granted: Override | Grant, key: bytes) -> bool:
    """Whether this installation signed exactly these fields; in constant time."""
    return bool(key) and hmac.compare_digest(granted.signature, _seal(granted, key))


def is_valid(override: Override, key: bytes, now: datetime) -> bool:
    """Genuine, approved where somebody else could, and not over."""
    return is_genuine(override, key) and override.is_approved and override.at <= now < override.expires_at


def _seal(granted: Override | Grant, key: bytes) -> str:
    body = msgspec.json.encode(structs.replace(granted, signature=""), order="sorted")
    return hmac.new(key, type(granted).__name__.encode() + body, "sha256").hexdigest()
