"""The shell of scaling over real stores in memory: what Envoy counted becomes readings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
from msgspec.structs import replace

from poise.adapters.memory import MemoryStore
from poise.adapters.memory_totals import MemoryTotals
from poise.model.fleet import ScaleTarget
from poise.model.record import Write
from poise.model.service import Replicas, Scaling, Service
from poise.model.signal import IN_FLIGHT, REQUESTS_TOTAL, Batch, Sample, Series
from poise.ports.store import Transaction
from poise.reliability.scaling.controller import ScalingController

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = "acme/production/shop"
SERVICE = Service(
    project="acme", environment="production", name="shop", command="run", port=8080,
    replicas=Replicas(min=2, max=12), scaling=Scaling(service_rate_per_s=20.0),
)  # fmt: skip


def batch(second: float, total: float, *in_flight: float) -> Batch:
    service = ("service", KEY)
    flights = [
        Sample(Series(IN_FLIGHT, (("rollout", str(n)), service)), value)
        for n, value in enumerate(in_flight, 1)
    ]
    samples = (Sample(Series(REQUESTS_TOTAL, (service,)), total), *flights)
    return Batch(at=NOW + timedelta(seconds=second), epoch="e1", samples=samples)


async def look(controller: ScalingController, store: MemoryStore, second: float) -> ScaleTarget | None:
    now = NOW + timedelta(seconds=second)
    decision = await controller.look(KEY, now)
    await store.commit(Transaction(at=now, reads=decision.reads, writes=decision.writes))
    return (await store.get(ScaleTarget, KEY))[0]


def test_the_rate_and_what_is_in_flight_to_all_rollouts_are_read_as_they_come() -> None:
    """Each look selects only what is new; requests in flight to canary and live one add up."""

    async def work() -> None:
        store, signals = MemoryStore(), MemoryTotals()
        controller = ScalingController(store, signals)
        await store.commit(Transaction(at=NOW, writes=(Write(kind="Service", key=KEY, body=SERVICE),)))
        assert await controller.keys() == [KEY]
        first = await look(controller, store, 0)
        assert first is not None and (first.replicas, first.rule) == (2, "no-data")
        for second in range(1, 8):
            await signals.append(batch(second, 100.0 * second, 1.0, 2.0))
            target = await look(controller, store, second)
        assert target is not None and target.replicas == 8
        found = await controller.assess(KEY, NOW + timedelta(seconds=7))
        assert found is not None and (found.rate_per_s, found.in_flight) == (100.0, 3.0)
        again = await ScalingController(store, signals).assess(KEY, NOW + timedelta(seconds=7))
        assert again == found, "what is kept in memory is only what was read"

    anyio.run(work)


def test_a_service_that_is_gone_has_no_target() -> None:
    async def work() -> None:
        store = MemoryStore()
        body = ScaleTarget(service=KEY, replicas=4)
        await store.commit(Transaction(at=NOW, writes=(Write(kind="ScaleTarget", key=KEY, body=body),)))
        assert await look(ScalingController(store, MemoryTotals()), store, 1) is None

    anyio.run(work)


def test_what_runs_elsewhere_is_scaled_by_whoever_runs_it() -> None:
    """A target would be a promise that nobody here keeps; one from before it moved away goes."""

    async def work() -> None:
        store = MemoryStore()
        target = ScaleTarget(service=KEY, replicas=4)
        service = replace(SERVICE, command="")
        writes = (
            Write(kind="Service", key=KEY, body=service),
            Write(kind="ScaleTarget", key=KEY, body=target),
        )
        await store.commit(Transaction(at=NOW, writes=writes))
        assert await look(ScalingController(store, MemoryTotals()), store, 1) is None

    anyio.run(work)
