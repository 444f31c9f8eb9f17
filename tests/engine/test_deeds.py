"""From decision to deed: conflicts, leases, guards, retries, and a store that does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from poise.adapters.memory import MemoryStore
from poise.engine import limits
from poise.engine.controller import Again, Dropped
from poise.engine.loop import Loop
from poise.model.access import Principal, Role
from poise.model.acts import StopReplica
from poise.model.errors import Invalid, Unreachable
from poise.model.record import Decision, Event, Intent, Ref, Write
from poise.ports.store import IntentState, Transaction

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACT = StopReplica(replica="acme/production/shop/1", drain_s=1.0)
ASKED = "stop/1"


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        await anyio.sleep(0)


class Room:
    """Counts the objects that it sees and writes the count; ``between`` happens after each look."""

    name = "room"

    def __init__(self, store: MemoryStore, between: Callable[[], Any] | None = None) -> None:
        self.store, self.between, self.looks = store, between, 0

    async def keys(self) -> Iterable[str]:
        return ["count"]

    def wakes(self, ref: Ref) -> str | None:
        return "count" if ref.kind == "Principal" and ref.key != "count" else None

    async def look(self, key: str, now: datetime) -> Decision:
        self.looks += 1
        seen, ref = await self.store.scan(Principal, "p/")
        if self.between is not None:
            await self.between()
        return Decision(
            reads=(ref,),
            writes=(person("count", str(len(seen))),),
            events=(Event(type="dev.poise.test", subject="count", summary=f"{len(seen)} are here"),),
        )


class Deed:
    """Plays what each attempt comes to: an exception to raise, or a sentence."""

    def __init__(self, *attempts: Exception | str) -> None:
        self.attempts, self.fences = list(attempts), list[int]()

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        self.fences.append(fence)
        outcome = self.attempts.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def person(key: str, name: str = "ana") -> Write:
    return Write(kind="Principal", key=key, body=Principal(name=name, roles={"x": Role.VIEWER}))


async def put(store: MemoryStore, *writes: Write) -> None:
    await store.commit(Transaction(at=NOW, writes=writes))


async def ask(store: MemoryStore, *guards: Ref) -> None:
    await store.commit(Transaction(at=NOW, intents=[Intent(key=ASKED, act=ACT, guards=guards)]))


async def perform_due(loop: Loop, clock: Clock) -> IntentState:
    """Do what is due; how the intent stands."""
    for stored in await loop.claim(clock.now()):
        await loop.perform(stored)
    stored = await loop._store.intent(ASKED)
    assert stored is not None
    return stored.state


async def counted(store: MemoryStore) -> str | None:
    found, _ = await store.get(Principal, "count")
    return found.name if found else None


def test_what_changes_under_a_look_is_decided_again() -> None:
    async def work() -> None:
        store, clock, late = MemoryStore(), Clock(), [person("p/1"), person("p/2")]

        async def between() -> None:
            if late:
                await put(store, late.pop())

        room = Room(store, between)
        loop = Loop(store, clock, [room], {}, "me")
        await loop.lead()
        assert await loop.tick(NOW) == 1
        assert (await counted(store), room.looks) == ("2", 3)
        assert len(await store.journal()) == 1, "a refused decision leaves no event"

    anyio.run(work)


def test_endless_conflict_pauses_and_writes_nothing() -> None:
    async def work() -> None:
        store, clock = MemoryStore(), Clock()

        async def between() -> None:
            await put(store, person(f"p/{room.looks}"))

        room = Room(store, between)
        loop = Loop(store, clock, [room], {}, "me")
        await loop.lead()
        assert await loop.tick(NOW) == 0
        assert room.looks == limits.CONFLICT_RETRIES
        assert await counted(store) is None
        room.between = None
        clock.at += timedelta(seconds=limits.CONFLICT_PAUSE_S)
        assert await loop.tick(clock.at) == 1
        assert await counted(store) == str(limits.CONFLICT_RETRIES)

    anyio.run(work)


def test_a_leader_that_lost_its_lease_writes_nothing() -> None:
    async def work() -> None:
        store, clock = MemoryStore(), Clock()
        old, new = Loop(store, clock, [Room(store)], {}, "old"), Loop(store, clock, [], {}, "new")
        await old.lead()
        clock.at += timedelta(seconds=limits.LEASE_TTL_S + 1)
        assert await new.lead()
        assert await old.tick(clock.at) == 0, "it still believes that it leads; the store knows better"
        assert (await counted(store), await store.journal()) == (None, [])
        assert not await old.lead()
        assert old.lease is None

    anyio.run(work)


def test_a_leader_that_lost_its_lease_leaves_the_outcome_to_the_next() -> None:
    async def work() -> None:
        store, clock, deed = MemoryStore(), Clock(), Deed("done", "done again")
        old = Loop(store, clock, [], {StopReplica: deed}, "old")
        new = Loop(store, clock, [], {StopReplica: deed}, "new")
        await old.lead()
        await ask(store)
        clock.at += timedelta(seconds=limits.LEASE_TTL_S + 1)
        await new.lead()
        assert await perform_due(old, clock) is IntentState.PENDING
        assert await perform_due(new, clock) is IntentState.DONE
        assert deed.fences == [1, 2], "whoever is served can refuse the lower token"

    anyio.run(work)


def test_a_new_leader_looks_at_everything() -> None:
    async def work() -> None:
        store, clock = MemoryStore(), Clock()
        await put(store, person("p/1"))
        room = Room(store)
        loop = Loop(store, clock, [room], {}, "me")
        assert await loop.tick(NOW) == 0
        await loop.lead()
        await loop.tick(NOW)
        assert (room.looks, await counted(store)) == (1, "1")
        await loop.lead()
        await loop.tick(NOW)
        assert room.looks == 1, "renewing is not taking over"

    anyio.run(work)


def test_again_is_tried_later_however_often() -> None:
    async def work() -> None:
        times = limits.INTENT_ATTEMPTS + 3
        store, clock = MemoryStore(), Clock()
        deed = Deed(*[Again("not yet", delay_s=2.0)] * times, "done")
        loop = Loop(store, clock, [], {StopReplica: deed}, "me")
        await loop.lead()
        await ask(store)
        for _ in range(times):
            assert await perform_due(loop, clock) is IntentState.PENDING
            tried = len(deed.fences)
            clock.at += timedelta(seconds=1)
            await perform_due(loop, clock)
            assert len(deed.fences) == tried, "not before its time"
            clock.at += timedelta(seconds=1)
        assert await perform_due(loop, clock) is IntentState.DONE

    anyio.run(work)


@pytest.mark.parametrize(
    "error", [Unreachable("POISE-E701", "away"), Invalid("POISE-E1", "no"), OSError("gone")]
)
def test_an_error_is_retried_with_growing_pauses_and_then_given_up(error: Exception) -> None:
    async def work() -> None:
        store, clock = MemoryStore(), Clock()
        deed = Deed(*[error] * limits.INTENT_ATTEMPTS)
        loop = Loop(store, clock, [], {StopReplica: deed}, "me")
        await loop.lead()
        await ask(store)
        pauses = []
        while await perform_due(loop, clock) is IntentState.PENDING:
            at = await store.next_intent_at(clock.at)
            assert at is not None
            pauses.append((at - clock.at).total_seconds())
            clock.at = at
        assert (len(deed.fences), deed.attempts) == (limits.INTENT_ATTEMPTS, [])
        assert pauses == sorted(pauses)
        assert max(pauses) <= 30.0

    anyio.run(work)


def test_what_was_dropped_may_be_asked_for_again() -> None:
    async def work() -> None:
        store, clock = MemoryStore(), Clock()
        deed = Deed(Dropped("the verdict is old"), "done")
        loop = Loop(store, clock, [], {StopReplica: deed}, "me")
        await loop.lead()
        await ask(store)
        assert await perform_due(loop, clock) is IntentState.DROPPED
        assert await loop.claim(clock.at) == []
        await ask(store)
        assert await perform_due(loop, clock) is IntentState.DONE
        await ask(store)
        assert await loop.claim(clock.at) == [], "what is done is done once"

    anyio.run(work)


def test_a_deed_whose_guard_has_changed_is_not_done() -> None:
    async def work() -> None:
        store, clock, deed = MemoryStore(), Clock(), Deed("done")
        loop = Loop(store, clock, [], {StopReplica: deed}, "me")
        await loop.lead()
        await put(store, person("p/1"))
        await ask(store, Ref("Principal", "p/1", 1))
        await put(store, person("p/1", "ben"))
        assert await perform_due(loop, clock) is IntentState.DROPPED
        assert deed.fences == []

    anyio.run(work)


def test_one_deed_is_never_done_twice_at_once() -> None:
    async def work() -> None:
        store, clock = MemoryStore(), Clock()
        loop = Loop(store, clock, [], {StopReplica: Deed("done")}, "me")
        await loop.lead()
        await ask(store)
        first = await loop.claim(NOW)
        assert (len(first), await loop.claim(NOW)) == (1, [])
        await loop.perform(first[0])

    anyio.run(work)


class Full(MemoryStore):
    """A store whose disk fills and empties."""

    full = False

    async def commit(self, transaction: Transaction) -> int:
        self._refuse()
        return await super().commit(transaction)

    async def acquire(self, *given: Any) -> Any:
        self._refuse()
        return await super().acquire(*given)

    async def settle(self, *given: Any, **named: Any) -> None:
        self._refuse()
        await super().settle(*given, **named)

    def _refuse(self) -> None:
        if self.full:
            raise Unreachable("POISE-E507", "the disk is full")


def test_a_full_disk_stops_decisions_and_not_the_loop() -> None:
    async def work() -> None:
        store, clock = Full(), Clock()
        deed = Deed(*["done"] * 1000)
        loop = Loop(store, clock, [Room(store)], {StopReplica: deed}, "me")
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(loop.run)
                while await counted(store) is None:
                    await anyio.sleep(0)
                await ask(store)
                store.full = True
                while "POISE-E507" not in loop.last_error:
                    loop.wake("room", "count")
                    await anyio.sleep(0)
                store.full = False
                await put(store, person("p/1"))
                while await counted(store) != "1" or await perform_state(store) is not IntentState.DONE:
                    await anyio.sleep(0)
                group.cancel_scope.cancel()

    anyio.run(work)


async def perform_state(store: MemoryStore) -> IntentState | None:
    stored = await store.intent(ASKED)
    return stored.state if stored else None
