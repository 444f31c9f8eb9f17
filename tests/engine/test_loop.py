"""The loop's own promises, on the store in memory."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from poise.adapters.memory import MemoryStore
from poise.engine.limits import INTENT_CONCURRENCY_PER_ACT, MISTAKE_PAUSE_S, RESYNC_S
from poise.engine.loop import Loop, contain
from poise.model.acts import SendPage, StopReplica
from poise.model.record import Decision, Intent, Ref
from poise.ports.store import Transaction

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


class Wrong:
    """A room with a mistake: one key of two divides by zero."""

    name = "wrong"

    def __init__(self) -> None:
        self.looked: list[str] = []

    async def keys(self) -> Iterable[str]:
        return ["a-mistake", "well"]

    def wakes(self, ref: Ref) -> str | None:
        return None

    async def look(self, key: str, now: datetime) -> Decision:
        self.looked.append(key)
        if key == "a-mistake":
            raise ZeroDivisionError
        return Decision()


def test_a_mistake_in_one_key_stops_no_other_when_contained() -> None:
    """Nothing restarts the control process by itself; one room's fault must not end all healing."""

    async def drive() -> Wrong:
        clock, room = Clock(), Wrong()
        loop = Loop(MemoryStore(), clock, [room], {}, "one", on_mistake=contain)
        assert await loop.lead()
        for _ in range(2):
            await loop.tick(clock.now())
            clock.at += timedelta(seconds=MISTAKE_PAUSE_S)
        assert "wrong a-mistake" in loop.last_error
        return room

    assert sorted(anyio.run(drive).looked) == ["a-mistake", "a-mistake", "well"]


def test_a_mistake_ends_a_loop_that_does_not_contain_it() -> None:
    """The simulation must see it."""

    async def drive() -> None:
        loop = Loop(MemoryStore(), Clock(), [Wrong()], {}, "one")
        assert await loop.lead()
        await loop.tick(NOW)

    with pytest.raises(ZeroDivisionError):
        anyio.run(drive)


def test_no_kind_of_act_takes_every_place() -> None:
    """Fifty pages that wait for a hung receiver must not delay the start of one replica."""

    async def drive() -> list[str]:
        store = MemoryStore()
        pages = [Intent(key=f"page/{n:03d}", act=SendPage(page=f"p/{n}")) for n in range(50)]
        start = Intent(key="spawn/1", act=StopReplica(replica="a/b/c/1", drain_s=1.0))
        loop = Loop(store, Clock(), [], {}, "one")
        assert await loop.lead()
        assert loop.lease is not None
        await store.commit(Transaction(at=NOW, intents=(*pages, start), fence=loop.lease.token))
        first = [stored.intent.key for stored in await loop.claim(NOW)]
        assert await loop.claim(NOW) == [], "what is being done is not claimed again"
        return first

    claimed = anyio.run(drive)
    assert "spawn/1" in claimed
    assert len(claimed) == INTENT_CONCURRENCY_PER_ACT + 1


def test_an_intent_that_falls_due_after_the_claim_is_next() -> None:
    """It was not seen by the claim, so the loop must wake for it at once and not at the next renewal."""

    async def drive() -> datetime | None:
        store, clock = MemoryStore(), Clock()
        loop = Loop(store, clock, [], {}, "one")
        assert await loop.lead()
        assert loop.lease is not None
        due = NOW + timedelta(milliseconds=5)
        late = Intent(key="page/1", act=SendPage(page="p/1"), not_before=due)
        await store.commit(Transaction(at=NOW, intents=(late,), fence=loop.lease.token))
        assert await loop.claim(NOW) == []
        clock.at = NOW + timedelta(seconds=1)
        return await loop.next_at()

    assert anyio.run(drive) == NOW + timedelta(milliseconds=5)
