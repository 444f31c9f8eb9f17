"""Whether what people were granted holds: signed by the installation's key, approved, and not over."""

from __future__ import annotations

from datetime import datetime

from poise.model.balance import Override
from poise.model.seal import is_genuine, sign

__all__ = ["is_genuine", "is_valid", "sign"]


def is_valid(override: Override, key: bytes, now: datetime) -> bool:
    """Genuine, approved where somebody else could, and not over."""
    return is_genuine(override, key) and override.is_approved and override.at <= now < override.expires_at
