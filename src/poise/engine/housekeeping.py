"""What may be forgotten: intents that ended long ago, and answers past the life of their Idempotency-Key.

An intent stays while what it was decided for stands, however old it is: a room that finds its key gone would
have it performed again. Whether it stands only ever changes from yes to no, so nothing need be re-checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from poise.engine import limits
from poise.model.access import Answer
from poise.model.acts import (
    ApplyTraffic,
    PackRelease,
    RestartReplica,
    RunJob,
    SpawnReplica,
    StopReplica,
)
from poise.model.delivery import Run
from poise.model.fleet import Replica, Route
from poise.model.record import Decision, Ref
from poise.ports.store import IntentState, Object, Outbox, StoredIntent

Place = tuple[type[Struct], str]

INTENTS: Final = "intents"
ANSWERS: Final = "answers"


class Housekeeping:
    """Goes through one of the two lists a batch at a time, each from its start every ``PRUNE_EVERY_S``."""

    name = "housekeeping"

    def __init__(self, store: Outbox) -> None:
        self._store = store
        self._intent = 0  # how far the round has come
        self._answer = ""
        self._rested: dict[str, datetime] = {}  # when the next round begins

    async def keys(self) -> Iterable[str]:
        """The two lists."""
        return (INTENTS, ANSWERS)

    def wakes(self, ref: Ref) -> str | None:
        """Nothing that is written is old."""
        return None

    async def look(self, key: str, now: datetime) -> Decision:
        """Forget what may be of the next batch."""
        if (rested := self._rested.get(key)) is not None and now < rested:
            return Decision(wake_at=rested)
        return await (self._intents(now) if key == INTENTS else self._answers(now))

    async def _intents(self, now: datetime) -> Decision:
        before = now - timedelta(seconds=limits.ENDED_INTENT_KEPT_S)
        batch = await self._store.ended(before, after=self._intent, limit=limits.PRUNE_BATCH)
        decided_for: dict[Place, Struct | None] = {}
        for stored in batch:
            place = place_of(stored)
            if place is not None and place not in decided_for:
                decided_for[place] = (await self._store.get(*place))[0]
        self._intent = batch[-1].sequence if len(batch) == limits.PRUNE_BATCH else 0
        return Decision(
            forgets=spent_intents(batch, decided_for, now),
            wake_at=self._next(INTENTS, len(batch), now),
        )

    async def _answers(self, now: datetime) -> Decision:
        batch = await self._store.objects("Answer", "", after=self._answer, limit=limits.PRUNE_BATCH)
        self._answer = batch[-1].key if len(batch) == limits.PRUNE_BATCH else ""
        return Decision(erases=spent_answers(batch, now), wake_at=self._next(ANSWERS, len(batch), now))

    def _next(self, key: str, seen: int, now: datetime) -> datetime:
        if seen == limits.PRUNE_BATCH:
            self._rested.pop(key, None)
            return now + timedelta(seconds=limits.PRUNE_PAUSE_S)
        self._rested[key] = now + timedelta(seconds=limits.PRUNE_EVERY_S)
        return self._rested[key]


def spent_intents(
    batch: Sequence[StoredIntent], decided_for: Mapping[Place, Struct | None], now: datetime
) -> tuple[str, ...]:
    """The keys of those that ended long enough ago and that no room asks after any more."""
    keys = []
    for stored in batch:
        failed = stored.state is IntentState.FAILED
        kept_s = limits.FAILED_INTENT_KEPT_S if failed else limits.ENDED_INTENT_KEPT_S
        place = place_of(stored)
        old = (now - stored.not_before).total_seconds() > kept_s
        ended = stored.state is not IntentState.PENDING
        if ended and old and not (place and _stands(stored, decided_for.get(place))):
            keys.append(stored.intent.key)
    return tuple(keys)


def spent_answers(batch: Sequence[Object], now: datetime) -> tuple[Ref, ...]:
    """Those that no retry may ask for any more."""
    return tuple(
        one.ref
        for one in batch
        if isinstance(one.body, Answer) and (now - one.body.at).total_seconds() > limits.ANSWER_KEPT_S
    )


def place_of(stored: StoredIntent) -> Place | None:
    """The object that an intent was decided for; None where no room asks after it once it has ended."""
    match stored.intent.act:
        case SpawnReplica(replica=key) | StopReplica(replica=key) | RestartReplica(replica=key):
            return Replica, key
        case ApplyTraffic(service=key):
            return Route, key
        case RunJob(run=key) | PackRelease(run=key):
            return Run, key
    return None


def _stands(stored: StoredIntent, decided_for: Struct | None) -> bool:
    """Whether a room may still ask for exactly this intent."""
    match stored.intent.act, decided_for:
        case _, None:
            return False
        case RestartReplica(identity=identity), Replica():
            return decided_for.identity in (identity, None)
        case _, Replica():  # asked for anew since, it goes by another key
            return decided_for.asked_at is None or decided_for.asked_at <= stored.not_before
        case ApplyTraffic(version=version), Route():
            return decided_for.version <= version
        case _, Run():
            return not decided_for.state.is_final
    return True
