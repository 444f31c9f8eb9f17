"""Who was behind a credential a moment ago, so that a dashboard's every question need not look it up anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from msgspec import Struct

from poise.api.access import authenticate
from poise.model.access import Principal
from poise.model.record import Ref
from poise.ports.store import Store

KEPT: Final = timedelta(seconds=5)  # how late a token that another process revoked may still be taken
KEPT_MAX: Final = 1000
CONCERN: Final = ("Principal", "Token")


class _Known(Struct, frozen=True):
    principal: Principal
    until: datetime


class Credentials:
    """Principals by the hash of their credential. What this process writes of them is in force at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[bytes, _Known] = {}
        self._writes = 0
        store.subscribe(self._written)

    async def principal(self, credential: str, now: datetime) -> Principal:
        """The principal; raises ``Unauthenticated``, which is never remembered."""
        key = sha256(credential.encode()).digest()
        known = self._known.get(key)
        if known is not None and now < known.until:
            return known.principal
        writes = self._writes
        principal, expires_at = await authenticate(self._store, credential, now)
        if writes == self._writes:  # else what was read may have been revoked meanwhile
            if len(self._known) >= KEPT_MAX:
                self._known.clear()
            self._known[key] = _Known(principal, min(expires_at, now + KEPT))
        return principal

    def _written(self, refs: Sequence[Ref], _sequence: int) -> None:
        if any(ref.kind in CONCERN for ref in refs):
            self._writes += 1
            self._known.clear()
