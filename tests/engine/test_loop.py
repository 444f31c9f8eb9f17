"""The loop's own promises, on the store in memory."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import anyio

from poise.adapters.memory import MemoryStore
from poise.engine.limits import RESYNC_S
from poise.engine.loop import Loop
from poise.model.record import Decision, Ref

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Clock:
    """Set by hand."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Deaf:
    """A room that is never told of anything and asks for no time to look again."""

    name = "deaf"

    def __init__(self) -> None:
        self.looks: list[datetime] = []

    async def keys(self) -> Iterable[str]:
        return ["a"]

    def wakes(self, ref: Ref) -> str | None:
        return None

    async def look(self, key: str, now: datetime) -> Decision:
        self.looks.append(now)
        return Decision()


def test_a_room_that_was_never_told_still_looks_again() -> None:
    """Level-triggered: a wake-up that was lost delays, and never loses, a decision."""

    async def drive() -> tuple[list[datetime], datetime | None]:
        clock, room = Clock(), Deaf()
        loop = Loop(MemoryStore(), clock, [room], {}, "one")
        for _ in range(2):
            assert await loop.lead()
            await loop.tick(clock.now())
            await loop.tick(clock.now())
            clock.at += timedelta(seconds=RESYNC_S)
        return room.looks, await loop.next_at()

    looks, next_at = anyio.run(drive)
    assert looks == [NOW, NOW + timedelta(seconds=RESYNC_S)]
    assert next_at == NOW + timedelta(seconds=2 * RESYNC_S)
