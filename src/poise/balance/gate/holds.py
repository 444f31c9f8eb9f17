"""What holds a change besides the budget: each rule says what holds it, until when, and what opens it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.balance.gate.facts import Facts
from poise.balance.gate.levels import reason
from poise.model.balance import Reason
from poise.model.lock import places_of
from poise.model.policy import Level


class Stop(Struct, frozen=True, kw_only=True):
    """Why a change waits, at which level the service is by it, and until when (None: nobody knows)."""

    reason: Reason
    level: Level
    until: datetime | None = None


def locked(facts: Facts) -> tuple[Stop, ...]:
    """What is locked waits, whatever it is but a rollback; no override opens a lock, whoever may lifts it."""
    found = []
    for one in facts.holds.locks:
        if one.place in places_of(facts.service) and one.is_in_force(facts.now):
            numbers = {"place": one.place, "by": one.by, "at": one.at.isoformat()}
            text = f"{one.sentence} ({one.mend})"
            found.append(Stop(reason=reason("lock", text, numbers), level=Level.FREEZE, until=one.expires_at))
    return tuple(found)


def stops(facts: Facts) -> tuple[Stop, ...]:
    """Every other rule that holds this change; an override opens them, a rollback passes them."""
    return _frozen(facts)


def _frozen(facts: Facts) -> tuple[Stop, ...]:
    """Features wait in a freeze window; what repairs goes, as in the policy's freeze."""
    if facts.repairs:
        return ()
    found = []
    for one in facts.holds.freezes:
        if not one.since <= facts.now < one.until:
            continue
        text = f"freeze window '{one.name}' until {one.until:%Y-%m-%d %H:%M} UTC: {one.reason}"
        numbers = {"freeze": one.name, "since": one.since.isoformat(), "until": one.until.isoformat()}
        found.append(Stop(reason=reason("freeze-window", text, numbers), level=Level.FREEZE, until=one.until))
    return tuple(found)
