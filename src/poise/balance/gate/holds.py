"""What holds a change besides the budget: each rule says what holds it, until when, and what opens it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.balance.gate.facts import Facts
from poise.balance.gate.levels import reason
from poise.model.balance import Reason
from poise.model.policy import Level


class Stop(Struct, frozen=True, kw_only=True):
    """Why a change waits, at which level the service is by it, and until when (None: nobody knows)."""

    reason: Reason
    level: Level
    until: datetime | None = None


def stops(facts: Facts) -> tuple[Stop, ...]:
    """Every rule that holds this change; an override opens them all, a rollback passes them."""
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
