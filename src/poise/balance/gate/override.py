"""Overrides: signed by the installation's key, so that editing the store grants nothing."""

from __future__ import annotations

import hmac
from datetime import datetime

import msgspec
from msgspec import structs

from poise.model.balance import Override


def sign(override: Override, key: bytes) -> Override:
    """The override with its signature: HMAC-SHA256 over the other fields as canonical JSON."""
    return structs.replace(override, signature=_seal(override, key))


def is_genuine(override: Override, key: bytes) -> bool:
    """Whether this installation signed exactly these fields; in constant time."""
    return bool(key) and hmac.compare_digest(override.signature, _seal(override, key))


def is_valid(override: Override, key: bytes, now: datetime) -> bool:
    """Genuine and not over."""
    return is_genuine(override, key) and override.at <= now < override.expires_at


def _seal(override: Override, key: bytes) -> str:
    body = msgspec.json.encode(structs.replace(override, signature=""), order="sorted")
    return hmac.new(key, body, "sha256").hexdigest()
