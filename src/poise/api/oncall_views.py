"""What the routes of on-call take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from poise.api.asks import Name, Reason
from poise.model.oncall import OnCallOverride
from poise.model.roster import Hole, Shift


class OnCallNow(Struct, frozen=True, kw_only=True):
    """One schedule now: who, until when, and who comes after; ``person`` None is a hole."""

    schedule: str
    zone: str
    at: datetime
    person: str | None
    override: bool = False
    until: datetime | None = None
    next_person: str | None = None
    contacts: tuple[str, ...] = ()


class Calendar(Struct, frozen=True, kw_only=True):
    """Shifts of a stretch; what no shift covers is a hole. ``next`` goes on where it had to stop."""

    schedule: str
    zone: str
    starts_at: datetime
    ends_at: datetime
    shifts: tuple[Shift, ...]
    holes: tuple[Hole, ...]
    overrides: tuple[OnCallOverride, ...]
    next: datetime | None = None


class MakeOnCallOverride(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For a time another person is on call; instants carry their offset."""

    person: Name
    starts_at: Annotated[datetime, Meta(tz=True)]
    ends_at: Annotated[datetime, Meta(tz=True)]
    reason: Reason


class SendTest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Page a person's contacts as a test; whoever is on call now when nobody is named."""

    person: Name | None = None


class Tested(Struct, frozen=True, kw_only=True):
    """What came of one contact. ``problem`` is empty when it was reached."""

    person: str
    kind: str
    address: str
    receipt: str = ""
    problem: str = ""
