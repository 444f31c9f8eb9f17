"""What is forgotten, when, and what never is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.memory import MemoryStore
from poise.engine import limits
from poise.engine.housekeeping import ANSWERS, INTENTS, Housekeeping, place_of, spent_intents
from poise.engine.loop import Loop
from poise.model.access import Answer
from poise.model.acts import ApplyTraffic, RestartReplica, RunJob, SendPage, SpawnReplica, StopReplica
from poise.model.delivery import Run, RunState
from poise.model.fleet import Identity, Replica, Route
from poise.model.record import Intent, Write
from poise.ports.store import IntentState, StoredIntent, Transaction

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SERVICE = "shop/production/web"
ME = Identity(pid=7, start_ticks=70)
OTHER = Identity(pid=8, start_ticks=80)


class Clock:
    """Set by hand."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def ended(act: Struct, age_days: float, state: IntentState = IntentState.DONE) -> StoredIntent:
    return StoredIntent(
        sequence=1, intent=Intent(key="k", act=act), state=state, attempts=1,
        not_before=NOW - timedelta(days=age_days),
    )  # fmt: skip


def replica(asked_days_ago: float, identity: Identity | None = ME) -> Replica:
    asked_at = NOW - timedelta(days=asked_days_ago)
    return Replica(service=SERVICE, rollout=1, index=0, asked_at=asked_at, identity=identity)


def a_run(state: RunState) -> Run:
    return Run(
        project="shop", n=1, commit="c", branch="main", workflow="", state=state, jobs=(), created_at=NOW
    )


KEY = replica(8).key
SPAWN = SpawnReplica(replica=KEY, rollout=f"{SERVICE}/000001")
STOP = StopReplica(replica=KEY, drain_s=1.0)
HEAL = RestartReplica(replica=KEY, identity=ME, reason="hangs")
TRAFFIC = ApplyTraffic(service=SERVICE, version=3)
JOB = RunJob(run="shop/000001", job="build")


@pytest.mark.parametrize(
    ("act", "stands"),
    [
        (SPAWN, replica(8)),
        (STOP, replica(8)),
        (HEAL, replica(20)),
        (HEAL, replica(20, identity=None)),
        (TRAFFIC, Route(service=SERVICE, version=3)),
        (JOB, a_run(RunState.RUNNING)),
    ],
)
def test_what_a_room_may_still_ask_after_stays_however_old(act: Struct, stands: Struct) -> None:
    """A replica that the keeper lost would otherwise be spawned under its old key, and so on."""
    stored = ended(act, 8)
    place = place_of(stored)
    assert place is not None
    assert spent_intents([stored], {place: stands}, NOW) == ()
    assert spent_intents([stored], {place: None}, NOW) == ("k",)


@pytest.mark.parametrize(
    ("act", "moved_on"),
    [
        (SPAWN, replica(2)),
        (STOP, replica(2)),
        (HEAL, replica(20, identity=OTHER)),
        (TRAFFIC, Route(service=SERVICE, version=4)),
        (JOB, a_run(RunState.SUCCESS)),
    ],
)
def test_what_goes_by_another_key_by_now_is_forgotten(act: Struct, moved_on: Struct) -> None:
    stored = ended(act, 8)
    place = place_of(stored)
    assert place is not None
    assert spent_intents([stored], {place: moved_on}, NOW) == ("k",)


@pytest.mark.parametrize(
    ("state", "age_days", "goes"),
    [
        (IntentState.DONE, 6.9, False),
        (IntentState.DONE, 7.1, True),
        (IntentState.DROPPED, 7.1, True),
        (IntentState.FAILED, 29.0, False),
        (IntentState.FAILED, 30.1, True),
        (IntentState.PENDING, 400.0, False),
    ],
)
def test_failures_are_kept_a_month_and_the_rest_a_week(
    state: IntentState, age_days: float, goes: bool
) -> None:
    stored = ended(SendPage(page="shop/000001/000001"), age_days, state)
    assert (spent_intents([stored], {}, NOW) == ("k",)) is goes


async def _loop(store: MemoryStore, clock: Clock) -> Loop:
    loop = Loop(store, clock, [Housekeeping(store)], {}, "one")
    assert await loop.lead()
    return loop


def test_a_long_past_goes_in_small_batches_and_what_stands_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PRUNE_BATCH", 3)

    async def drive() -> tuple[int, list[str]]:
        store, clock, sizes = MemoryStore(), Clock(), []
        old = NOW - timedelta(days=8)
        kept = Intent(key="spawn", act=SPAWN)
        pages = [Intent(key=f"page/{n}", act=SendPage(page=f"{n}")) for n in range(10)]
        late = Intent(key="late", act=SendPage(page="late"))
        await store.commit(
            Transaction(
                at=old, intents=[kept, *pages, late], writes=[Write(kind="Replica", key=KEY, body=replica(8))]
            )
        )
        for one in (kept, *pages):
            await store.settle(one.key, IntentState.DONE, "")
        loop = await _loop(store, clock)
        before = len(await store.ended(NOW))
        for _ in range(8):
            await loop.tick(clock.now())
            sizes.append(before - (before := len(await store.ended(NOW))))
            clock.at += timedelta(seconds=limits.PRUNE_PAUSE_S)
        assert await store.intent("late") is not None
        return max(sizes), [stored.intent.key for stored in await store.ended(NOW)]

    assert anyio.run(drive) == (3, ["spawn"])


def test_an_answer_is_forgotten_after_a_day_and_the_next_round_is_in_an_hour() -> None:
    async def drive() -> list[list[str]]:
        store, clock, left = MemoryStore(), Clock(), []
        for key, hours in (("ana/new", 1.0), ("ana/nearly", 23.5), ("ana/old", 25.0)):
            at = NOW - timedelta(hours=hours)
            body = Answer(request_hash="", status=201, body=b"{}", at=at)
            await store.commit(Transaction(at=at, writes=[Write(kind="Answer", key=key, body=body)]))
        loop = await _loop(store, clock)
        for wait_s in (60.0, limits.PRUNE_EVERY_S, 0.0):
            await loop.lead()
            await loop.tick(clock.now())
            left.append([one.key for one in await store.objects("Answer", "")])
            clock.at += timedelta(seconds=wait_s)
        return left

    assert anyio.run(drive) == [["ana/nearly", "ana/new"], ["ana/nearly", "ana/new"], ["ana/new"]]


def test_a_round_that_found_nothing_writes_nothing() -> None:
    async def drive() -> bool:
        rooms = Housekeeping(MemoryStore())
        return all([(await rooms.look(key, NOW)).is_empty for key in (INTENTS, ANSWERS)])

    assert anyio.run(drive)


def test_a_replica_without_a_date_is_never_taken_for_another() -> None:
    stored = ended(SPAWN, 400)
    place = place_of(stored)
    assert place is not None
    assert spent_intents([stored], {place: replace(replica(8), asked_at=None)}, NOW) == ()
