"""The store port's contract, on every adapter."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poise.adapters.memory import MemoryStore
from poise.adapters.sqlite.store import SqliteStore
from poise.engine.journal import verify
from poise.model.access import Principal, Role
from poise.model.acts import StopReplica
from poise.model.record import Event, Intent, Ref, Write
from poise.ports.store import IntentState, Outbox, Stale, Store, Transaction

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYS = ("a", "a/1", "a/2", "ab", "b/1")


@pytest.fixture(params=["memory", "sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    opened: list[Any] = []

    def make() -> Any:
        name = f"poise-{len(opened)}.db"
        opened.append(MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / name))
        return opened[-1]

    yield make
    for store in opened:
        anyio.run(store.close)


@pytest.fixture
def store(make_store: Callable[[], Any]) -> Any:
    return make_store()


def write(key: str, name: str | None = "ana") -> Write:
    body = None if name is None else Principal(name=name, roles={"shop": Role.VIEWER})
    return Write(kind="Principal", key=key, body=body)


def intent(key: str) -> Intent:
    return Intent(key=key, act=StopReplica(replica=key, drain_s=1.0), guards=(Ref("Principal", "a", 1),))


def run(work: Callable[..., Any], *args: Any) -> Any:
    return anyio.run(work, *args)


def test_what_is_committed_is_read_back(store: Store) -> None:
    async def work() -> None:
        await store.commit(Transaction(at=T0, writes=[write("a")]))
        body, ref = await store.get(Principal, "a")
        assert body == Principal(name="ana", roles={"shop": Role.VIEWER})
        assert ref == Ref("Principal", "a", 1)
        assert await store.get(Principal, "b") == (None, Ref("Principal", "b", 0))

    run(work)


def test_a_stale_read_refuses_the_whole_transaction(store: Store) -> None:
    """A freeze written in between must stop the step, its events and its intents alike."""

    async def work() -> None:
        await store.commit(Transaction(at=T0, writes=[write("a")]))
        _, seen = await store.get(Principal, "a")
        await store.commit(Transaction(at=T0, writes=[write("a", "ben")]))
        with pytest.raises(Stale):
            await store.commit(
                Transaction(
                    at=T0,
                    reads=[seen],
                    writes=[write("b")],
                    events=[Event(type="t", subject="b", summary="no")],
                    intents=[intent("i")],
                )
            )
        assert (await store.get(Principal, "b"))[0] is None
        assert await store.journal() == []
        assert await store.intent("i") is None

    run(work)


@pytest.mark.parametrize("change", [write("a/3"), write("a/1", None), write("a/1", "ben")])
def test_a_prefix_read_notices_new_deleted_and_changed_objects(store: Store, change: Write) -> None:
    async def work() -> None:
        await store.commit(Transaction(at=T0, writes=[write(key) for key in KEYS]))
        found, seen = await store.scan(Principal, "a/")
        assert len(found) == 2
        await store.commit(Transaction(at=T0, reads=[seen], writes=[write("b/1", "eve")]))
        await store.commit(Transaction(at=T0, writes=[change]))
        with pytest.raises(Stale):
            await store.commit(Transaction(at=T0, reads=[seen], writes=[write("c")]))

    run(work)


def test_scan_is_ordered_bounded_and_pages(store: Store) -> None:
    async def work() -> None:
        await store.commit(Transaction(at=T0, writes=[write(key, key) for key in reversed(KEYS)]))
        await store.commit(Transaction(at=T0, writes=[write("ab", None)]))
        names = [body.name for body in (await store.scan(Principal, ""))[0]]
        assert names == ["a", "a/1", "a/2", "b/1"]
        assert [b.name for b in (await store.scan(Principal, "a", limit=2))[0]] == ["a", "a/1"]
        assert [b.name for b in (await store.scan(Principal, "a", after="a/1"))[0]] == ["a/2"]
        assert [b.name for b in (await store.scan(Principal, "", limit=2, last=True))[0]] == ["a/2", "b/1"]
        assert [o.key for o in await store.objects("Principal", "a/")] == ["a/1", "a/2"]

    run(work)


def test_generations_go_on_over_a_deletion(store: Store) -> None:
    async def work() -> None:
        for name in ("ana", None, "ben"):
            await store.commit(Transaction(at=T0, writes=[write("a", name)]))
        _, ref = await store.get(Principal, "a")
        assert ref.generation == 3

    run(work)


def test_an_intent_asked_for_twice_is_one(store: Store) -> None:
    async def work() -> None:
        await store.commit(Transaction(at=T0, intents=[intent("i")]))
        await store.commit(Transaction(at=T0, intents=[intent("i")]))
        assert [stored.intent for stored in await store.pending(T0)] == [intent("i")]
        await store.settle("i", IntentState.DONE, "done")
        await store.commit(Transaction(at=T0, intents=[intent("i")]))
        assert await store.pending(T0) == []

    run(work)


@pytest.mark.parametrize("state", [IntentState.DROPPED, IntentState.FAILED])
def test_a_dropped_or_failed_intent_may_be_asked_for_again(store: Store, state: IntentState) -> None:
    async def work() -> None:
        await store.commit(Transaction(at=T0, intents=[intent("i")]))
        await store.settle("i", state, "no")
        assert await store.pending(T0) == []
        await store.commit(Transaction(at=T0, intents=[intent("i")]))
        assert len(await store.pending(T0)) == 1

    run(work)


def test_a_retried_intent_waits_for_its_time(store: Store) -> None:
    async def work() -> None:
        await store.commit(Transaction(at=T0, intents=[intent("i")]))
        later = T0 + timedelta(seconds=5)
        await store.settle("i", IntentState.PENDING, "busy", retry_at=later)
        assert await store.pending(T0) == []
        assert await store.next_intent_at(T0) == later
        assert await store.next_intent_at(later) is None
        (stored,) = await store.pending(later)
        assert (stored.attempts, stored.outcome) == (1, "busy")

    run(work)


def test_a_paused_leader_can_no_longer_write(store: Store) -> None:
    """Fencing: who lost the lease while paused must not act on its old decisions."""

    async def work() -> None:
        old = await store.acquire("leader", "one", T0, 15)
        assert old is not None
        assert await store.acquire("leader", "two", T0 + timedelta(seconds=14), 15) is None
        new = await store.acquire("leader", "two", T0 + timedelta(seconds=16), 15)
        assert new is not None and new.token > old.token
        with pytest.raises(Stale):
            await store.commit(Transaction(at=T0, writes=[write("a")], fence=old.token))
        await store.commit(Transaction(at=T0, intents=[intent("i")], fence=new.token))
        with pytest.raises(Stale):
            await store.settle("i", IntentState.DONE, "zombie", fence=old.token)

    run(work)


def test_renewing_keeps_the_token_and_releasing_frees_it(store: Store) -> None:
    async def work() -> None:
        first = await store.acquire("leader", "one", T0, 15)
        again = await store.acquire("leader", "one", T0 + timedelta(seconds=5), 15)
        assert first is not None and again is not None and again.token == first.token
        await store.release(again)
        other = await store.acquire("leader", "two", T0 + timedelta(seconds=6), 15)
        assert other is not None and other.token == first.token + 1

    run(work)


def test_events_form_a_whole_chain_and_are_found_by_subject_and_type(store: Store) -> None:
    async def work() -> None:
        for n in range(5):
            event = Event(
                type=f"t{n % 2}",
                subject=f"shop/{n}",
                summary="s",
                data={"n": n, "pair": (1, 2.5), "m": {3: 4}},
            )
            await store.commit(Transaction(at=T0 + timedelta(microseconds=n), events=[event]))
        report = await verify(store)
        assert report.ok and report.events == 5
        assert [row.sequence for row in await store.journal(after=3)] == [4, 5]
        assert [row.sequence for row in await store.journal(types=["t1"])] == [2, 4]
        assert [row.sequence for row in await store.journal(subject="shop/3")] == [4]
        assert [row.sequence for row in await store.journal(limit=2, last=True)] == [4, 5]
        assert not (await verify(store, expected_head="f" * 64)).ok

    run(work)


def test_listeners_hear_of_each_commit_after_it(store: Store) -> None:
    async def work() -> None:
        heard: list[Any] = []
        stop = store.subscribe(lambda refs, last: heard.append((list(refs), last)))
        await store.commit(
            Transaction(at=T0, writes=[write("a")], events=[Event(type="t", subject="a", summary="s")])
        )
        stop()
        await store.commit(Transaction(at=T0, writes=[write("a")]))
        assert heard == [([Ref("Principal", "a", 1)], 1)]

    run(work)


def test_a_forgotten_intent_leaves_nothing_and_a_pending_one_stays(store: Store) -> None:
    """What is still to be done is never lost to tidiness, whoever asks."""

    async def work() -> None:
        await store.commit(Transaction(at=T0, intents=[intent("done"), intent("open")]))
        await store.settle("done", IntentState.DONE, "done")
        await store.commit(Transaction(at=T0, forgets=["done", "open", "unknown"]))
        assert await store.intent("done") is None
        assert [stored.intent.key for stored in await store.pending(T0)] == ["open"]
        await store.commit(Transaction(at=T0, intents=[intent("done")]))
        assert [stored.intent.key for stored in await store.pending(T0)] == ["open", "done"]

    run(work)


def test_the_past_of_the_outbox_is_read_in_pages(store: Outbox) -> None:
    async def work() -> None:
        later = T0 + timedelta(days=1)
        await store.commit(Transaction(at=T0, intents=[intent(key) for key in "abc"]))
        await store.commit(Transaction(at=later, intents=[intent("new")]))
        for key, state in (("a", IntentState.DONE), ("c", IntentState.FAILED), ("new", IntentState.DONE)):
            await store.settle(key, state, "")
        (first,) = await store.ended(later, limit=1)
        rest = await store.ended(later, after=first.sequence)
        assert [first.intent.key, *(stored.intent.key for stored in rest)] == ["a", "c"]

    run(work)


def test_an_erased_object_leaves_no_tombstone_and_only_as_it_was_read(store: Store) -> None:
    async def work() -> None:
        await store.commit(Transaction(at=T0, writes=[write("a"), write("b"), write("ab")]))
        await store.commit(Transaction(at=T0, writes=[write("b", "ben"), write("z")]))
        await store.commit(
            Transaction(at=T0, erases=[Ref("Principal", "a", 1), Ref("Principal", "b", 1), Ref("x", "y", 1)])
        )
        assert [found.key for found in await store.objects("Principal", "")] == ["ab", "b", "z"]
        assert await store.get(Principal, "a") == (None, Ref("Principal", "a", 0))
        _, before = await store.scan(Principal, "a")
        await store.commit(Transaction(at=T0, writes=[write("a")]))
        _, after = await store.scan(Principal, "a")
        assert after.sequence > before.sequence

    run(work)


def test_a_deposed_leader_forgets_nothing(store: Store) -> None:
    async def work() -> None:
        await store.commit(Transaction(at=T0, intents=[intent("i")]))
        await store.settle("i", IntentState.DONE, "")
        old = await store.acquire("leader", "one", T0, 1)
        await store.acquire("leader", "two", T0 + timedelta(seconds=2), 1)
        assert old is not None
        with pytest.raises(Stale):
            await store.commit(Transaction(at=T0, forgets=["i"], fence=old.token))
        assert await store.intent("i") is not None

    run(work)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(KEYS), st.sampled_from(["ana", "ben", None]), st.booleans()), max_size=12
    )
)
def test_both_adapters_agree_with_a_plain_dictionary(
    make_store: Callable[[], Any], steps: list[tuple[str, str | None, bool]]
) -> None:
    async def work() -> None:
        store, model, seen_at = make_store(), {}, {}
        for key, name, stale in steps:
            _, ref = await store.get(Principal, key)
            reads = [Ref("Principal", key, ref.generation + 1)] if stale else [ref]
            try:
                await store.commit(Transaction(at=T0, reads=reads, writes=[write(key, name)]))
                model[key] = name
            except Stale:
                assert stale
            seen_at[key] = (await store.get(Principal, key))[1].generation
        found = {o.key: o.body.name for o in await store.objects("Principal", "")}
        assert found == {key: name for key, name in model.items() if name is not None}

    run(work)


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE event SET body = replace(body, 'one', 'two') WHERE sequence = 3",
        "DELETE FROM event WHERE sequence = 2",
        "UPDATE event SET at = '2026-03-01T13:00:00.000000' WHERE sequence = 4",
        "UPDATE event SET sequence = 9 WHERE sequence = 5",
    ],
)
def test_tampering_with_the_journal_is_found(tmp_path: Path, tamper: str) -> None:
    async def work() -> bool:
        store = SqliteStore(tmp_path / "poise.db")
        for n in range(5):
            await store.commit(Transaction(at=T0, events=[Event(type="t", subject=f"{n}", summary="one")]))
        assert (await verify(store)).ok
        with sqlite3.connect(tmp_path / "poise.db") as raw:
            raw.execute(tamper)
        raw.close()
        report = await verify(store)
        await store.close()
        return report.ok

    assert run(work) is False


def test_the_database_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "poise.db")
    assert (tmp_path / "poise.db").stat().st_mode & 0o077 == 0
    run(store.close)
