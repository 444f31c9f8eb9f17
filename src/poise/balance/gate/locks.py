"""Deploy locks, placed and lifted; the gate's room is their one writer. Each has a reason, and ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import structs

from poise.model.errors import Conflict, Invalid, NotFound
from poise.model.event_types import LOCK_LIFTED, LOCK_PLACED
from poise.model.lock import Lock
from poise.model.record import Decision, Event, Read, Write
from poise.model.service import Project, Service
from poise.ports.store import Store

LOCK_MAX_S: Final = 30 * 86_400.0
REASON_LIMIT: Final = 1000


async def place_lock(
    store: Store, *, place: str, by: str, reason: str, for_s: float, now: datetime
) -> Decision:
    """A lock on ``project/environment`` or ``project/environment/service``, as a decision to commit.

    ``NotFound`` for a place that is not declared, ``Invalid`` without a reason or for too long, ``Conflict``
    where one is in force: it is lifted first, so that nobody's lock is shortened unseen.
    """
    reads = [await _declared(store, place)]
    if not reason.strip() or len(reason) > REASON_LIMIT:
        raise Invalid(
            "POISE-B402", "a lock needs a reason", where=place,
            why=f"Everybody who waits for it reads it; 1 to {REASON_LIMIT} characters.",
            mend="Run it again with: --reason '...'",
        )  # fmt: skip
    if not 0 < for_s <= LOCK_MAX_S:
        raise Invalid(
            "POISE-B411", f"a lock of {for_s:g} s is not allowed", where=place,
            why=f"It ends by itself after at most {LOCK_MAX_S / 86_400:g} days.", mend="Use e.g. --for 2h.",
        )  # fmt: skip
    known, ref = await store.get(Lock, place)
    if known is not None and known.is_in_force(now):
        raise Conflict(
            "POISE-B412", f"{place} is locked already", where=place, why=f"{known.sentence}.",
            mend=f"Lift it first: {known.mend}",
        )  # fmt: skip
    lock = Lock(place=place, by=by, reason=reason.strip(), at=now, expires_at=now + timedelta(seconds=for_s))
    data = {"reason": lock.reason, "expires_at": lock.expires_at.isoformat()}
    event = Event(type=LOCK_PLACED, subject=place, actor=by, summary=lock.sentence, data=data)
    return Decision(reads=(*reads, ref), writes=(Write(kind="Lock", key=place, body=lock),), events=(event,))


async def lift_lock(store: Store, *, place: str, by: str, reason: str, now: datetime) -> Decision:
    """Somebody's word that rollouts may go again; ``NotFound`` where nothing is locked."""
    known, ref = await store.get(Lock, place)
    if known is None or not known.is_in_force(now):
        raise NotFound("POISE-B413", f"{place} is not locked", where=place, mend="Run: poise status")
    lifted = structs.replace(known, lifted_at=now, lifted_by=by)
    said = f"{by} lifts the lock of {known.by} on {place}" + (f": {reason.strip()}" if reason.strip() else "")
    data = {"placed_by": known.by, "placed_at": known.at.isoformat(), "reason": reason.strip()}
    event = Event(type=LOCK_LIFTED, subject=place, actor=by, summary=said, data=data)
    return Decision(reads=(ref,), writes=(Write(kind="Lock", key=place, body=lifted),), events=(event,))


async def _declared(store: Store, place: str) -> Read:
    """The reference to what shows that the place is declared."""
    project, environment, *service = place.split("/")
    if service:
        found, ref = await store.get(Service, place)
        if found is not None:
            return ref
    else:
        declared, ref = await store.get(Project, project)
        if declared is not None and environment in declared.environments:
            return ref
    what = "service" if service else "environment"
    raise NotFound("POISE-B401", f"there is no {what} '{place}'", where=place, mend="Run: poise status")
