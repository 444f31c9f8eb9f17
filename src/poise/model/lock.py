"""Deploy locks: nothing is rolled out here for a while, by somebody's word. A rollback is always allowed."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.service import Service


class Lock(Struct, frozen=True, kw_only=True):
    """Somebody's word that nothing is rolled out here now. Written by gate.

    Key: ``project/environment`` for every service there, or ``project/environment/service``. It ends at
    ``expires_at``, or earlier once somebody lifts it; the newest of a place takes the place of an older one.
    """

    place: str
    by: str
    reason: str
    at: datetime
    expires_at: datetime
    lifted_at: datetime | None = None
    lifted_by: str = ""

    @property
    def key(self) -> str:
        """``project/environment`` or ``project/environment/service``."""
        return self.place

    def is_in_force(self, now: datetime) -> bool:
        """Whether it holds anything at ``now``."""
        return self.lifted_at is None and self.at <= now < self.expires_at

    @property
    def mend(self) -> str:
        """The command that lifts it."""
        _, environment, *service = self.place.split("/")
        return f"poise unlock {self.place if service else environment}"

    @property
    def sentence(self) -> str:
        """Who, what, why and until when.

        >>> from datetime import UTC
        >>> day = datetime(2026, 11, 27, 9, tzinfo=UTC)
        >>> Lock(place="acme/production", by="ada", reason="moving the database", at=day,
        ...      expires_at=day.replace(hour=11)).sentence
        'ada locked acme/production until 2026-11-27 11:00 UTC: moving the database'
        """
        return f"{self.by} locked {self.place} until {self.expires_at:%Y-%m-%d %H:%M} UTC: {self.reason}"


def places_of(service: Service) -> tuple[str, str]:
    """Where a lock concerns a service: at its environment, and at itself."""
    return f"{service.project}/{service.environment}", service.key
