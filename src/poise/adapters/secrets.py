"""Secrets that a document names as ``environment/service/NAME``; opened at each look, never kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from poise.model.config import Secret
from poise.model.errors import NotFound
from poise.ports.store import Store

Unseal = Callable[[Secret], Mapping[str, str]]


class NamedSecrets:
    """The newest value of a named secret."""

    def __init__(self, store: Store, unseal: Unseal) -> None:
        self._store, self._unseal = store, unseal

    async def value(self, project: str, reference: str) -> str:
        """Empty for an empty reference. Raises ``NotFound`` when it was never set."""
        if not reference:
            return ""
        service, _, name = f"{project}/{reference}".rpartition("/")
        found, _ = await self._store.scan(Secret, f"{service}/", last=True, limit=1)
        value = self._unseal(found[-1]).get(name) if found else None
        if value is None:
            raise NotFound("POISE-H162", f"no secret {name} of {service}", where=project,
                           mend=f"Run: poise secret set {service.rpartition('/')[2]} {name}")  # fmt: skip
        return value
