"""What a budget was spent on: entries with dates and a cause, which add up to all that was spent."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class SpendCause(StrEnum):
    """What an entry is charged to."""

    DEPLOY = "deploy"
    CONFIG = "configuration"
    DEPENDENCY = "dependency"
    INCIDENT = "incident"
    UNKNOWN = "unknown"


class Spend(Struct, frozen=True, kw_only=True):
    """One episode in which the budget was spent faster than it can bear.

    ``since`` is its likeliest start, ``until`` its end (None while it goes on); ``bad`` of ``events`` failed.
    ``subject`` is the key of the rollout, service or incident that it is charged to, ``name`` how people call
    it, and ``chance`` (0..1) how likely that is. ``why`` is one sentence of evidence.
    """

    since: datetime
    until: datetime | None
    events: float
    bad: float
    cause: SpendCause
    subject: str = ""
    name: str = ""
    chance: float = 1.0
    why: str = ""
