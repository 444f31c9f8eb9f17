"""The shell: it reads everything that the decision leans on, and refers to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.memory import MemoryStore
from poise.adapters.memory_totals import MemoryTotals
from poise.delivery.rollout.controller import RolloutController
from poise.model.attestation import Outcome, Verification
from poise.model.balance import Override, Reason, Verdict, VerdictKind, verdict_key
from poise.model.delivery import ChangeClass, Order, Release, Rollout, RolloutState, Verb
from poise.model.fleet import Replica, Route
from poise.model.record import Ref, Write
from poise.model.service import Project, Service
from poise.model.signal import FAILURES_TOTAL, TRIALS_TOTAL, Batch, Sample, Series
from poise.ports.store import Stale, Transaction

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "acme/production/shop"
BOTH = (KEY, "acme/staging/shop")
SERVICE = Service(project="acme", environment="production", name="shop", command="run")
RELEASE = Release(
    project="acme", service="shop", n=1, digest="sha256:a", run=1, commit="c1", summary="v1",
    change_class=ChangeClass.FEATURE, committed_at=NOW, created_at=NOW, specs=(SERVICE,),
)  # fmt: skip


async def put(store: MemoryStore, body: Struct, key: str) -> None:
    await store.commit(Transaction(at=NOW, writes=[Write(kind=type(body).__name__, key=key, body=body)]))


async def rollout_of(store: MemoryStore, n: int = 1) -> Rollout:
    found, _ = await store.get(Rollout, f"{KEY}/{n:06d}")
    assert found is not None
    return found


async def step(store: MemoryStore, controller: RolloutController, now: datetime = NOW) -> None:
    decision = await controller.look(KEY, now)
    await store.commit(
        Transaction(at=now, reads=decision.reads, writes=decision.writes, events=decision.events)
    )


def go_for(rollout: Rollout) -> Verdict:
    assert rollout.ask is not None
    return Verdict(
        kind=VerdictKind.GO, service=KEY, digest=rollout.digest, step=rollout.ask.step,
        weight_percent=rollout.ask.weight_percent, max_weight_percent=100, change_class=rollout.change_class,
        bake_factor=1.0, steps_percent=(), reasons=(Reason(rule="bootstrap", text="first release"),),
        until=None, at=NOW,
    )  # fmt: skip


async def first_live(store: MemoryStore, controller: RolloutController) -> None:
    await put(store, SERVICE, KEY)
    await put(store, RELEASE, RELEASE.key)
    await step(store, controller)  # created
    await step(store, controller)  # asks
    rollout = await rollout_of(store)
    assert rollout.ask is not None
    await put(store, go_for(rollout), verdict_key(rollout.key, rollout.ask.n))
    await step(store, controller)  # has it verified
    assert (await rollout_of(store)).state is RolloutState.WAITING
    verified = Verification(
        rollout=rollout.key, release=1, digest=rollout.digest, outcome=Outcome.VERIFIED, rule="verified",
        text="it is what was built", at=NOW,
    )  # fmt: skip
    await put(store, verified, verified.key)
    await step(store, controller)  # starts
    for index in range(2):
        replica = Replica(service=KEY, rollout=1, index=index, ready=True)
        await put(store, replica, replica.key)
    await step(store, controller)  # ready
    await step(store, controller)  # promotes
    await put(store, Route(service=KEY, weights={1: 100}, acked={1: 100}), KEY)
    await step(store, controller)  # live


def test_a_first_release_becomes_live_through_the_store() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        controller = RolloutController(store, MemoryTotals())
        await first_live(store, controller)
        assert (await rollout_of(store)).state is RolloutState.LIVE
        assert list(await controller.keys()) == [KEY]

    anyio.run(scenario)


def test_a_decision_made_before_an_override_came_is_refused() -> None:
    """Everything it was decided from is referred to: what is written in between stops it."""

    async def scenario() -> None:
        store = MemoryStore()
        controller = RolloutController(store, MemoryTotals())
        await put(store, SERVICE, KEY)
        await put(store, RELEASE, RELEASE.key)
        decision = await controller.look(KEY, NOW)
        override = Override(service=KEY, n=1, by="ann", reason="r", at=NOW, expires_at=NOW, signature="s")
        await put(store, override, override.key)
        with pytest.raises(Stale):
            await store.commit(Transaction(at=NOW, reads=decision.reads, writes=decision.writes))

    anyio.run(scenario)


def test_the_counters_of_canary_and_baseline_are_read_with_their_age() -> None:
    async def scenario() -> None:
        store, signals = MemoryStore(), MemoryTotals()
        controller = RolloutController(store, signals)
        await first_live(store, controller)
        canary = Rollout(
            project="acme", environment="production", service="shop", n=2, release=2, digest="sha256:b",
            revision="b", commit="c2", summary="v2", change_class=ChangeClass.FEATURE, spec=SERVICE,
            state=RolloutState.STEPPING, baseline=1, step=1, weight_percent=5, created_at=NOW,
        )  # fmt: skip
        await put(store, canary, canary.key)
        read_at = NOW + timedelta(seconds=4)
        samples = [
            Sample(Series(name, (("rollout", str(n)), ("service", KEY))), value)
            for n, name, value in [
                (1, TRIALS_TOTAL, 900.0), (1, FAILURES_TOTAL, 3.0),
                (2, TRIALS_TOTAL, 40.0), (2, FAILURES_TOTAL, 8.0),
                (7, TRIALS_TOTAL, 1.0), (7, FAILURES_TOTAL, 1.0),
            ]
        ]  # fmt: skip
        await signals.append(Batch(at=read_at, epoch="e1", samples=tuple(samples)))
        seen = await controller.see(KEY, NOW)
        assert seen.measured_at == read_at
        assert {(t.rollout, t.epoch, t.trials, t.failures) for t in seen.totals} == {
            (1, "e1", 900.0, 3.0),
            (2, "e1", 40.0, 8.0),
        }
        await step(store, controller, read_at)
        trial = (await rollout_of(store, 2)).trial
        assert (trial.canary_requests, trial.canary_errors, trial.baseline_requests) == (40, 8, 0)

    anyio.run(scenario)


@pytest.mark.parametrize(
    ("kind", "key", "woken"),
    [
        ("Release", "acme/shop/000003", BOTH),
        ("Service", KEY, KEY),
        ("Route", KEY, KEY),
        ("Rollout", f"{KEY}/000002", BOTH),
        ("Config", f"{KEY}/000002", KEY),
        ("Secret", f"{KEY}/000002", KEY),
        ("RollbackRequest", KEY, KEY),
        ("Verdict", f"{KEY}/000002/ask/000001", KEY),
        ("Replica", f"{KEY}/000002/001", KEY),
        ("Order", f"{KEY}/000001", KEY),
        ("Override", f"{KEY}/000001", KEY),
        ("Run", "acme/000001", None),
        ("Project", "acme", BOTH),
        ("Release", "acme/other/000003", ()),
        ("Project", "other", ()),
        ("Budget", f"{KEY}/availability", None),
    ],
)
def test_what_concerns_a_service_wakes_it(kind: str, key: str, woken: str | tuple[str, ...] | None) -> None:
    """A release, and how another environment judged it, concern every environment."""
    controller = RolloutController(MemoryStore(), MemoryTotals())
    for declared in BOTH:
        controller.wakes(Ref("Service", declared, 1))
    assert controller.wakes(Ref(kind, key, 1)) == woken


@pytest.mark.parametrize(
    ("environments", "declared", "before"),
    [
        (("staging", "production"), ("staging",), "staging"),
        (("dev", "staging", "production"), ("dev", "staging"), "staging"),
        (("dev", "staging", "production"), ("dev",), "dev"),
        (("staging", "production"), (), ""),
        (("production", "staging"), ("staging",), ""),
        (("production",), ("staging",), ""),
    ],
)
def test_the_environment_before_is_the_nearest_that_declares_the_service(
    environments: tuple[str, ...], declared: tuple[str, ...], before: str
) -> None:
    """A service that leaves an environment out must not wait for it for ever."""

    async def scenario() -> None:
        store = MemoryStore()
        await put(store, Project(name="acme", environments=environments), "acme")
        for name in declared:
            await put(store, replace(SERVICE, environment=name), f"acme/{name}/shop")
        await put(store, SERVICE, KEY)
        await put(store, RELEASE, RELEASE.key)
        controller = RolloutController(store, MemoryTotals())
        seen = await controller.see(KEY, NOW)
        assert (seen.environment_before, seen.before) == (before, () if before else None)
        assert bool((await controller.look(KEY, NOW)).writes) is not bool(before)

    anyio.run(scenario)


def test_a_decision_made_before_staging_rejected_the_release_is_refused() -> None:
    """Live in staging when it was read, rolled back when it was to be written."""

    async def scenario() -> None:
        store = MemoryStore()
        await put(store, Project(name="acme", environments=("staging", "production")), "acme")
        await put(store, replace(SERVICE, environment="staging"), "acme/staging/shop")
        await put(store, SERVICE, KEY)
        await put(store, RELEASE, RELEASE.key)
        staged = Rollout(
            project="acme", environment="staging", service="shop", n=1, release=1, digest=RELEASE.digest,
            revision="r", commit="c1", summary="v1", change_class=ChangeClass.FEATURE, spec=SERVICE,
            state=RolloutState.LIVE, created_at=NOW,
        )  # fmt: skip
        await put(store, staged, staged.key)
        controller = RolloutController(store, MemoryTotals())
        decision = await controller.look(KEY, NOW)
        assert decision.writes
        await put(store, replace(staged, state=RolloutState.ROLLED_BACK), staged.key)
        with pytest.raises(Stale):
            await store.commit(Transaction(at=NOW, reads=decision.reads, writes=decision.writes))

    anyio.run(scenario)


def test_an_order_is_handled_once() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        controller = RolloutController(store, MemoryTotals())
        await first_live(store, controller)
        order = Order(service=KEY, n=1, verb=Verb.ROLLBACK, by="ann", reason="r", at=NOW)
        await put(store, order, order.key)
        await step(store, controller)
        assert (await rollout_of(store)).orders_seen == 1
        assert (await controller.look(KEY, NOW)).is_empty

    anyio.run(scenario)


def test_what_moves_elsewhere_in_the_environment_is_counted_before_a_start() -> None:
    """The verdict's bound on rollouts at once holds over services; nobody reads it while nothing waits."""

    async def scenario() -> None:
        store = MemoryStore()
        controller = RolloutController(store, MemoryTotals())
        await first_live(store, controller)
        live = await rollout_of(store)
        for name, state in (("pay", RolloutState.STEPPING), ("cart", RolloutState.RETIRED)):
            other = replace(live, service=name, state=state)
            await put(store, replace(SERVICE, name=name), other.service_key)
            await put(store, other, other.key)
        assert (await controller.see(KEY, NOW)).moving_elsewhere == 0
        await put(store, replace(RELEASE, n=2, digest="sha256:b"), f"{RELEASE.key[:-1]}2")
        await step(store, controller)  # created
        await step(store, controller)  # asks
        waiting = await rollout_of(store, 2)
        assert waiting.ask is not None
        answer = replace(go_for(waiting), parallel_rollouts=1)
        await put(store, answer, verdict_key(waiting.key, waiting.ask.n))
        assert (await controller.see(KEY, NOW)).moving_elsewhere == 1
        await step(store, controller)
        held = await rollout_of(store, 2)
        assert held.state is RolloutState.WAITING and "the policy allows 1" in held.reason

    anyio.run(scenario)
