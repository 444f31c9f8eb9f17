"""What the keeper and Envoy are asked: settings of exactly one rollout, gentle stops, allowed splits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from poise.adapters.memory import MemoryStore
from poise.engine.controller import Dropped
from poise.fleet.decide import traffic_key
from poise.fleet.deeds import SpawnPerformer, TrafficPerformer, drained
from poise.model.acts import ApplyTraffic, SpawnReplica
from poise.model.balance import Verdict, VerdictKind, verdict_key
from poise.model.config import Config, Secret
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.errors import Invalid
from poise.model.fleet import Replica, Route
from poise.model.lock import Lock
from poise.model.record import Intent, Write
from poise.ports.runtime import Process, Runtime, Workload
from poise.ports.store import IntentState, Transaction
from poise.ports.traffic import TrafficPlan

from .conftest import KEY, rollout

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Asked(Runtime):
    """A runtime that keeps what it was asked to run."""

    def __init__(self) -> None:
        self.workloads: list[Workload] = []

    async def spawn(self, token: int, workload: Workload) -> Process:
        self.workloads.append(workload)
        return Process(key=workload.key, spec_hash="", state="running", pid=1, start_time=1)


class Folder:
    def pack(self, workspace: Path, path: str) -> str:
        raise NotImplementedError

    def open(self, digest: str) -> Path:
        return Path("/releases") / digest

    def measure(self, digest: str) -> str:
        return digest


def unseal(secret: Secret) -> Mapping[str, str]:
    return {name: value.removeprefix("sealed ") for name, value in secret.sealed.items()}


async def house(base: Rollout) -> tuple[MemoryStore, Replica]:
    store, replica = MemoryStore(), Replica(service=KEY, rollout=base.n, index=0)
    bodies: list[tuple[str, str, object]] = [
        ("Rollout", base.key, base),
        ("Replica", replica.key, replica),
        *((kind, f"{KEY}/{n:06d}", body) for n in (1, 2) for kind, body in settings(n).items()),
        ("Route", "acme/production/stock", Route(service="acme/production/stock", port=18001)),
        ("Route", "acme/staging/stock", Route(service="acme/staging/stock", port=18002)),
    ]
    writes = [Write(kind=kind, key=key, body=body) for kind, key, body in bodies]  # type: ignore[arg-type]
    await store.commit(Transaction(at=NOW, writes=writes))
    return store, replica


def settings(n: int) -> dict[str, Config | Secret]:
    return {
        "Config": Config(service=KEY, n=n, values={"LEVEL": f"l{n}"}, by="anna", reason="why", at=NOW),
        "Secret": Secret(
            service=KEY, n=n, sealed={"TOKEN": f"sealed t{n}"}, marks={"TOKEN": "m"}, by="anna", reason="why",
            at=NOW,
        ),
    }  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("config", "secret", "env"),
    [(0, 0, {}), (1, 0, {"LEVEL": "l1"}), (1, 2, {"LEVEL": "l1", "TOKEN": "t2"})],
)
async def test_a_replica_gets_the_versions_of_its_rollout(
    config: int, secret: int, env: dict[str, str]
) -> None:
    """A replica of the live rollout that restarts must not pick up what its canary is still judged for."""
    base = replace(rollout(1, RolloutState.LIVE), config=config, secret=secret)
    store, replica = await house(base)
    runtime = Asked()
    performer = SpawnPerformer(store, runtime, Folder(), Path("/data"), unseal)
    said = await performer.perform(SpawnReplica(replica=replica.key, rollout=base.key), "k", 1, NOW)
    (workload,) = runtime.workloads
    assert {name: workload.env[name] for name in ("LEVEL", "TOKEN") if name in workload.env} == env
    assert "t2" not in said + repr(workload.argv)


@pytest.mark.anyio
async def test_a_replica_reaches_the_services_of_its_own_environment() -> None:
    """Staging that writes into production's stock would be worse than no staging."""
    base = rollout(1, RolloutState.LIVE)
    base = replace(base, spec=replace(base.spec, depends_on=("stock",)))
    store, replica = await house(base)
    runtime = Asked()
    performer = SpawnPerformer(store, runtime, Folder(), Path("/data"), unseal)
    await performer.perform(SpawnReplica(replica=replica.key, rollout=base.key), "k", 1, NOW)
    assert runtime.workloads[0].env["STOCK_URL"] == "http://127.0.0.1:18001"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("base", "refusal"),
    [({"config": 9}, Dropped), ({"secret": 9}, Dropped), ({"secret": 1}, Invalid)],
)
async def test_without_its_settings_nothing_starts(base: dict[str, int], refusal: type[Exception]) -> None:
    """An app that runs without its secret is worse than one that says why it does not run."""
    store, replica = await house(replace(rollout(1, RolloutState.LIVE), **base))
    runtime = Asked()
    performer = SpawnPerformer(store, runtime, Folder(), Path("/data"))
    act = SpawnReplica(replica=replica.key, rollout=f"{KEY}/000001")
    with pytest.raises(refusal):
        await performer.perform(act, "k", 1, NOW)
    assert runtime.workloads == []


class Letting:
    """Envoy that lets go of a port only at its ``after``-th look; None stands for one that is silent."""

    def __init__(self, after: int, silent: bool = False) -> None:
        self.after, self.silent, self.looks = after, silent, 0

    async def members(self) -> frozenset[int] | None:
        self.looks += 1
        if self.silent:
            return None
        return frozenset() if self.looks > self.after else frozenset({20_001})


@pytest.mark.anyio
async def test_a_replica_without_connections_is_not_drained_before_envoy_has_let_go_of_it() -> None:
    """Between two requests there are none: the next one would meet a process that is being stopped."""
    traffic = Letting(after=10)
    await drained(traffic, lambda port: 0, 20_001, 20.0)  # type: ignore[arg-type]
    assert traffic.looks > 10


@pytest.mark.anyio
async def test_where_envoy_is_silent_the_drain_takes_its_whole_time() -> None:
    traffic = Letting(after=0, silent=True)
    began = anyio.current_time()
    await drained(traffic, lambda port: 0, 20_001, 0.5)  # type: ignore[arg-type]
    assert anyio.current_time() - began >= 0.5


class Planned:
    """Envoy and the keeper as far as a plan needs them; keeps the last plan."""

    plan: TrafficPlan

    async def observe(self) -> None:
        return None

    async def template(self, fence: int, templates: object) -> None: ...

    async def apply(self, plan: TrafficPlan) -> None:
        self.plan = plan


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("verdict", "weights"),
    [(None, {1: 100}), (VerdictKind.HOLD, {1: 100}), (VerdictKind.GO, {1: 90, 2: 10})],
)
async def test_another_services_plan_raises_nothing_that_is_not_allowed_now(
    verdict: VerdictKind | None, weights: dict[int, int]
) -> None:
    """A split on record as done may never have reached Envoy; carried along, it would rise unasked."""
    store, place = MemoryStore(), Planned()
    live, canary = rollout(1, RolloutState.LIVE), rollout(2, RolloutState.STEPPING, weight=10, ask=1)
    ask = verdict_key(canary.key, 1)
    mine = Route(
        service=KEY,
        port=18001,
        weights={1: 90, 2: 10},
        version=5,
        acked={1: 100},
        acked_version=4,
        verdict=ask,
    )
    other = Route(service="acme/production/cart", port=18002, weights={1: 100}, acked={1: 100}, version=6)
    bodies = [live, canary, replace(live, service="cart")]
    writes = [Write(kind="Rollout", key=one.key, body=one) for one in bodies]
    writes += [Write(kind="Route", key=one.service, body=one) for one in (mine, other)]
    if verdict is not None:
        said = Verdict(
            kind=verdict, service=KEY, digest=canary.digest, step=1, at=NOW, weight_percent=10,
            max_weight_percent=10, change_class=canary.change_class, bake_factor=1.0, steps_percent=(10,),
            reasons=(), until=None,
        )  # fmt: skip
        writes.append(Write(kind="Verdict", key=ask, body=said))
    done = Intent(key=traffic_key(mine), act=ApplyTraffic(service=KEY, version=5))
    await store.commit(Transaction(at=NOW, writes=writes, intents=(done,)))
    await store.settle(done.key, IntentState.DONE, "said to be done")
    performer = TrafficPerformer(store, place, place, 8080, lambda name: Path("/x") / name)  # type: ignore[arg-type]
    await performer.perform(ApplyTraffic(service=other.service, version=6), "k", 1, NOW)
    (host,) = (one for one in place.plan.hosts if one.service == KEY)
    assert dict(host.weights) == {f"{KEY}.{n}": weight for n, weight in weights.items()}


@pytest.mark.anyio
async def test_another_services_plan_raises_nobody_who_fell_a_moment_ago() -> None:
    """Envoy may have taken the fall though nothing of it is on record; what was acknowledged is a rise."""
    store, place = MemoryStore(), Planned()
    live, canary = rollout(1, RolloutState.LIVE), rollout(2, RolloutState.STEPPING, weight=10, ask=1)
    mine = Route(
        service=KEY, port=18001, weights={1: 100}, version=5, acked={1: 90, 2: 10}, acked_version=4
    )  # fmt: skip
    other = Route(service="acme/production/cart", port=18002, weights={1: 100}, acked={1: 100}, version=6)
    bodies = [live, canary, replace(live, service="cart")]
    writes = [Write(kind="Rollout", key=one.key, body=one) for one in bodies]
    writes += [Write(kind="Route", key=one.service, body=one) for one in (mine, other)]
    await store.commit(Transaction(at=NOW, writes=writes))
    performer = TrafficPerformer(store, place, place, 8080, lambda name: Path("/x") / name)  # type: ignore[arg-type]
    await performer.perform(ApplyTraffic(service=other.service, version=6), "k", 1, NOW)
    (host,) = (one for one in place.plan.hosts if one.service == KEY)
    assert dict(host.weights) == {f"{KEY}.1": 100}


SOON = timedelta(seconds=5)


def lock(place: str, at: datetime, lifted: bool = False) -> Lock:
    return Lock(
        place=place, by="ada", reason="moving the database", at=at, expires_at=NOW + timedelta(hours=1),
        lifted_at=at if lifted else None,
    )  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("locked", "kind", "lapses_at", "refusal"),
    [
        (None, ChangeClass.FEATURE, None, ""),
        (lock("acme/production", NOW), ChangeClass.FEATURE, None, "ada locked acme/production"),
        (lock(KEY, NOW), ChangeClass.FIX, None, f"ada locked {KEY}"),
        (lock(KEY, NOW), ChangeClass.ROLLBACK, None, ""),
        (lock(KEY, NOW, lifted=True), ChangeClass.FEATURE, None, ""),
        (lock("acme/staging", NOW), ChangeClass.FEATURE, None, ""),
        (None, ChangeClass.FEATURE, NOW + SOON, ""),
        (None, ChangeClass.FEATURE, NOW, "a freeze window opened at 00:00:00 UTC"),
    ],
)
async def test_what_was_granted_waits_for_a_lock_or_a_freeze_that_came_after(
    locked: Lock | None, kind: ChangeClass, lapses_at: datetime | None, refusal: str
) -> None:
    """A verdict is good for half a minute; who locks something means now, and a calendar does too."""
    store, place = MemoryStore(), Planned()
    live = rollout(1, RolloutState.LIVE)
    canary = replace(rollout(2, RolloutState.STEPPING, weight=10, ask=1), change_class=kind)
    ask = verdict_key(canary.key, 1)
    route = Route(
        service=KEY, port=18001, weights={1: 90, 2: 10}, version=5, acked={1: 100}, acked_version=4,
        verdict=ask,
    )  # fmt: skip
    said = Verdict(
        kind=VerdictKind.GO, service=KEY, digest=canary.digest, step=1, at=NOW - SOON, weight_percent=10,
        max_weight_percent=10, change_class=kind, bake_factor=1.0, steps_percent=(10,), reasons=(),
        until=None, lapses_at=lapses_at,
    )  # fmt: skip
    writes = [Write(kind="Rollout", key=one.key, body=one) for one in (live, canary)]
    writes += [Write(kind="Route", key=KEY, body=route), Write(kind="Verdict", key=ask, body=said)]
    writes += [Write(kind="Lock", key=locked.key, body=locked)] if locked else []
    await store.commit(Transaction(at=NOW, writes=writes))
    performer = TrafficPerformer(store, place, place, 8080, lambda name: Path("/x") / name)  # type: ignore[arg-type]
    act = ApplyTraffic(service=KEY, version=5, raises=2, verdict=ask)
    if refusal:
        with pytest.raises(Dropped, match=refusal):
            await performer.perform(act, "k", 1, NOW)
    else:
        await performer.perform(act, "k", 1, NOW)
        assert dict(place.plan.hosts[0].weights) == {f"{KEY}.1": 90, f"{KEY}.2": 10}
