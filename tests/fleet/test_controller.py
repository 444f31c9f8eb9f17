"""What fleet's shell believes of the world it reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest

from poise.adapters.memory import MemoryStore
from poise.fleet.controller import FleetController, _process
from poise.fleet.decide import spawn_key
from poise.fleet.prober import Target
from poise.model.acts import SpawnReplica
from poise.model.delivery import RolloutState
from poise.model.fleet import Replica
from poise.model.record import Intent, Write
from poise.ports.runtime import ExitRecord, Process, RuntimeEvent
from poise.ports.store import IntentState, Transaction

from .conftest import KEY, NOW, SERVICE, rollout

REPLICA = Replica(service=KEY, rollout=1, index=0, asked_at=NOW)


class _Unheard:
    def watch(self, owner: str, targets: list[Target]) -> None: ...

    def latest(self, key: str) -> None:
        return None


class _NoEnvoy:
    async def observe(self) -> None:
        return None


class _SpawnsWhileListing:
    """A keeper whose first list is taken just before the replica starts."""

    def __init__(self, store: MemoryStore, starts: bool) -> None:
        self.store, self.starts, self.lists = store, starts, 0

    async def list(self) -> list[Process]:
        self.lists += 1
        if self.lists == 1:
            await self.store.settle(spawn_key(REPLICA), IntentState.DONE, "runs")
            return []
        process = Process(key=REPLICA.key, spec_hash="h", state="running", pid=7, start_time=9, port=20_001)
        return [process] if self.starts else []


async def _told(starts: bool) -> list[str]:
    store = MemoryStore()
    live = rollout(1, RolloutState.LIVE)
    one = SERVICE.replicas.__class__(min=1, max=1)
    service = SERVICE.__class__(
        project="acme", environment="production", name="shop", command="run", port=8080, replicas=one
    )
    spawn = Intent(key=spawn_key(REPLICA), act=SpawnReplica(replica=REPLICA.key, rollout=live.key))
    writes = [
        Write(kind="Service", key=KEY, body=service),
        Write(kind="Rollout", key=live.key, body=live),
        Write(kind="Replica", key=REPLICA.key, body=REPLICA),
    ]
    await store.commit(Transaction(at=NOW, writes=writes, intents=[spawn]))
    runtime: Any = _SpawnsWhileListing(store, starts)
    traffic: Any = _NoEnvoy()
    fleet = FleetController(store, runtime, traffic, _Unheard(), lambda key, taken: 18_001)
    decision = await fleet.look(KEY, NOW + timedelta(seconds=1))
    return [event.summary for event in decision.events if "asked for anew" in event.summary]


def test_a_replica_is_gone_only_when_a_list_taken_after_its_start_lacks_it() -> None:
    """Else each first start would look like a loss, and the journal would tell of one that never was."""
    assert anyio.run(_told, True) == []
    assert len(anyio.run(_told, False)) == 1


@pytest.mark.parametrize(
    ("end", "crashed", "words"),
    [
        (ExitRecord(at=1.0, code=7), True, "exit code 7"),
        (ExitRecord(at=1.0, signal=9), False, "signal 9"),
        (ExitRecord(at=1.0, signal=9, oom=True), True, "killed by the kernel: over its memory limit"),
        (ExitRecord(at=1.0, unknown=True), False, "an end that nobody saw"),
    ],
)
def test_how_a_replica_ended_is_told_in_words(end: ExitRecord, crashed: bool, words: str) -> None:
    """A leak is its own doing, though the kernel is who killed it; a kill by hand is not."""
    seen = _process(Process(key="k", spec_hash="h", state="backoff", last_exit=end))
    assert (seen.crashed, seen.ended) == (crashed, words)


class _Tells:
    """A keeper that tells these events, and then nothing more."""

    def __init__(self, *events: RuntimeEvent) -> None:
        self.events = events

    async def hello(self) -> Any:
        return self.events[0]

    @asynccontextmanager
    async def watch(self, after: int) -> AsyncIterator[AsyncIterator[RuntimeEvent]]:
        async def told() -> AsyncIterator[RuntimeEvent]:
            for event in self.events:
                yield event
            await anyio.sleep_forever()

        yield told()


@pytest.mark.parametrize(("again", "killed"), [(False, True), (True, False)])
def test_a_replica_that_comes_back_under_its_key_was_not_killed(again: bool, killed: bool) -> None:
    """Scaled in with force and out again: its next end is its own."""
    stop = RuntimeEvent(seq=1, at=1.0, kind="stopped", key=REPLICA.key, exit=ExitRecord(at=1.0, signal=9))
    events = (stop, RuntimeEvent(seq=2, at=2.0, kind="spawned", key=REPLICA.key)) if again else (stop,)

    async def followed() -> frozenset[str]:
        runtime: Any = _Tells(*events)
        fleet = FleetController(MemoryStore(), runtime, _NoEnvoy(), _Unheard(), lambda *_: None)  # type: ignore[arg-type]
        woken: list[str] = []
        async with anyio.create_task_group() as group:
            group.start_soon(fleet.follow, woken.append)
            while len(woken) < len(events):
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        return fleet._killed_of([REPLICA])

    assert (REPLICA.key in anyio.run(followed)) is killed
