"""On-call: who is paged, when, and what happens when nobody answers."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from msgspec import Struct


class ContactKind(StrEnum):
    """How a person is reached."""

    WEBHOOK = "webhook"  # address: a URL that takes a POST
    EMAIL = "email"  # address: a mailbox, by SMTP


class Contact(Struct, frozen=True, kw_only=True):
    """One way to reach a person."""

    kind: ContactKind
    address: str


class Person(Struct, frozen=True, kw_only=True):
    """Somebody who can be on call; ``name`` is also the owner in actions and timelines."""

    name: str
    contacts: tuple[Contact, ...]


class ShiftUnit(StrEnum):
    """What a shift's length is counted in; days and weeks are wall-clock: a day may last 23 or 25 hours."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"


class Rotation(Struct, frozen=True, kw_only=True):
    """People who take turns: ``every`` units each, from ``starts`` at ``handoff`` (``HH:MM`` in the zone).

    ``until_hour``/``from_hour`` restrict a rotation to hours of the day (``HH:MM``); outside them it covers
    nobody, which is a hole unless another rotation of the schedule covers it.
    """

    people: tuple[str, ...]
    unit: ShiftUnit = ShiftUnit.WEEKLY
    every: int = 1
    starts: date
    handoff: str = "09:00"
    from_hour: str | None = None
    until_hour: str | None = None


class OnCallSchedule(Struct, frozen=True, kw_only=True):
    """Who is on call when; key ``project/name``. Declared in ``poise.yaml``; ``zone`` is an IANA name.

    The first rotation that covers an instant says who. Written by infrastructure.
    """

    project: str
    name: str
    zone: str
    people: tuple[Person, ...]
    rotations: tuple[Rotation, ...]

    @property
    def key(self) -> str:
        """``project/name``."""
        return f"{self.project}/{self.name}"


class OnCallOverride(Struct, frozen=True, kw_only=True):
    """For a time another person is on call; key ``project/schedule/n``; the newest that covers wins.

    Half-open: [starts_at, ends_at). Written by the API.
    """

    project: str
    schedule: str
    n: int
    person: str
    starts_at: datetime
    ends_at: datetime
    by: str
    reason: str
    at: datetime
    cancelled: bool = False

    @property
    def key(self) -> str:
        """``project/schedule/n``, zero-padded."""
        return f"{self.project}/{self.schedule}/{self.n:06d}"


class EscalationStep(Struct, frozen=True, kw_only=True):
    """Page whoever ``schedule`` names now, or ``person``; wait ``wait_s`` for an acknowledgement."""

    schedule: str | None = None
    person: str | None = None
    wait_s: float = 300.0


class EscalationPolicy(Struct, frozen=True, kw_only=True):
    """The steps of paging, in order, ``rounds`` times over; key ``project/name``. Written by infrastructure.

    After the last round the last step repeats every ``remind_s`` until somebody answers: an unanswered
    incident is never forgotten.
    """

    project: str
    name: str
    steps: tuple[EscalationStep, ...]
    rounds: int = 3
    remind_s: float = 1800.0

    @property
    def key(self) -> str:
        """``project/name``."""
        return f"{self.project}/{self.name}"
