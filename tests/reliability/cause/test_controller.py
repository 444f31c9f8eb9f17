"""Cause on a store and counters: a bad config version among innocents is found from the record alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
from msgspec import Struct

from poise.adapters.memory import MemoryStore
from poise.adapters.memory_totals import MemoryTotals
from poise.model.anomaly import GoldenSignal, Stretch, Usual
from poise.model.config import Config
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.event_types import CAUSE_DIAGNOSED, ROLLOUT_STEPPED, SCALE_CHANGED, SERVICE_UPGRADED
from poise.model.incident import Diagnosis, Incident, Severity, SuspectKind
from poise.model.record import Event, Ref, Write
from poise.model.service import Service
from poise.model.signal import FAILURES_TOTAL, TRIALS_TOTAL, Batch, Sample, Series
from poise.ports.store import Transaction
from poise.reliability.cause.controller import CauseController

ONSET = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW = ONSET + timedelta(seconds=60)
SHOP, PAY = (
    Service(
        project="acme", environment="production", name=name, command="run", port=8000, depends_on=depends_on
    )
    for name, depends_on in (("shop", ("pay",)), ("pay", ()))
)
INCIDENT = Incident(
    project="acme", environment="production", n=1, title="pay fails", severity=Severity.SEV1,
    service=PAY.key, services=(PAY.key, SHOP.key), onset_at=ONSET, opened_at=ONSET,
)  # fmt: skip


def rollout(service: Service, n: int, **changes: object) -> Rollout:
    fields: dict[str, object] = {
        "project": "acme", "environment": "production", "service": service.name, "n": n, "release": n,
        "digest": f"d{n}", "revision": f"r{n}", "commit": "c", "summary": f"work {n}",
        "change_class": ChangeClass.FEATURE, "spec": service, "state": RolloutState.LIVE,
        "baseline": n - 1, "created_at": ONSET,
    }  # fmt: skip
    return Rollout(**(fields | changes))  # type: ignore[arg-type]


def config(n: int, **values: str) -> Config:
    return Config(service=PAY.key, n=n, values=values, by="ada", reason="r", at=ONSET)


async def put(store: MemoryStore, at: datetime, *bodies: Struct, events: tuple[Event, ...] = ()) -> None:
    writes = [Write(kind=type(one).__name__, key=one.key, body=one) for one in bodies]  # type: ignore[attr-defined]
    await store.commit(Transaction(at=at, writes=writes, events=events))


async def world() -> tuple[MemoryStore, MemoryTotals]:
    store, signals = MemoryStore(), MemoryTotals()
    bad = rollout(PAY, 3, release=2, config=2, changes=("config",), summary="config 2")
    await put(store, ONSET - timedelta(hours=1), SHOP, PAY, config(1, URL="a", TTL="9"))
    told = Event(type=SERVICE_UPGRADED, subject=rollout(SHOP, 5).key, summary="shop 5 is live")
    await put(store, ONSET - timedelta(minutes=5), rollout(SHOP, 5), events=(told,))
    told = Event(type=SCALE_CHANGED, subject=PAY.key, summary="up", data={"from": 2, "to": 3})
    await put(store, ONSET - timedelta(minutes=9), events=(told,))
    told = Event(type=ROLLOUT_STEPPED, subject=bad.key, summary="pay goes from 0 % to 100 %")
    await put(store, ONSET - timedelta(seconds=8), bad, config(2, URL="b", TTL="9"), events=(told,))
    for second in range(-600, 61, 2):
        await signals.append(reading(second))
    return store, signals


def reading(second: int) -> Batch:
    """20 requests a second to each service; pay's rollout 3 fails four in ten, and shop passes it on."""
    totals: dict[tuple[str, int], tuple[float, float]] = {}
    before, after = float(min(second, -8) + 600) * 20, float(max(0, second + 8)) * 20
    totals[PAY.key, 2] = (before, before * 0.001)
    totals[SHOP.key, 5] = (before + after, after * 0.4)
    if after:
        totals[PAY.key, 3] = (after, after * 0.4)
    samples = []
    for (service, n), (trials, failures) in totals.items():
        labels = (("rollout", str(n)), ("service", service))
        samples += [
            Sample(Series(TRIALS_TOTAL, labels), trials),
            Sample(Series(FAILURES_TOTAL, labels), failures),
        ]
    return Batch(at=ONSET + timedelta(seconds=second), epoch="envoy-1", samples=tuple(samples))


async def look(store: MemoryStore, signals: MemoryTotals) -> Diagnosis | None:
    decision = await CauseController(store, signals).look(INCIDENT.key, NOW)
    await store.commit(
        Transaction(at=NOW, reads=decision.reads, writes=decision.writes, events=decision.events)
    )
    return (await store.get(Diagnosis, INCIDENT.key))[0]


def test_a_bad_config_is_found_and_named_without_its_values() -> None:
    async def scene() -> None:
        store, signals = await world()
        await put(store, ONSET, INCIDENT)
        made = await look(store, signals)
        assert made is not None and made.explained
        top = made.suspects[0]
        assert (top.kind, top.subject) == (SuspectKind.CONFIG, f"{PAY.key}/000003")
        assert "config 2 (URL)" in top.summary and "b" not in top.summary.split()
        assert {one.subject for one in made.cleared} == {f"{SHOP.key}/000005", PAY.key}
        (told,) = await store.journal(types=[CAUSE_DIAGNOSED])
        assert told.event.subject == INCIDENT.key
        stepped = await store.journal(types=[ROLLOUT_STEPPED])
        assert top.evidence[0].events == (stepped[0].sequence,)

    anyio.run(scene)


def test_looked_at_again_nothing_is_written() -> None:
    async def scene() -> None:
        store, signals = await world()
        await put(store, ONSET, INCIDENT)
        await look(store, signals)
        assert (await CauseController(store, signals).look(INCIDENT.key, NOW)).is_empty

    anyio.run(scene)


def test_its_keys_are_incidents_and_a_gone_one_is_nothing() -> None:
    async def scene() -> None:
        store, signals = await world()
        cause = CauseController(store, signals)
        assert (await cause.look(INCIDENT.key, NOW)).is_empty
        await put(store, ONSET, INCIDENT)
        assert list(await cause.keys()) == [INCIDENT.key]
        assert cause.wakes(Ref("Incident", INCIDENT.key, 1)) == INCIDENT.key
        assert cause.wakes(Ref("Rollout", INCIDENT.key, 1)) is None

    anyio.run(scene)


def test_what_was_unusual_around_the_onset_is_evidence_and_silence_is_none() -> None:
    async def scene() -> None:
        store, signals = await world()
        await put(store, ONSET, INCIDENT)
        asked: list[tuple[str, datetime, datetime]] = []

        async def how_usual(service: str, since: datetime, until: datetime) -> Usual | None:
            asked.append((service, since, until))
            if service != PAY.key:
                return None
            found = Stretch(signal=GoldenSignal.ERRORS, since=ONSET, until=NOW, score=0.998)
            return Usual(known=(GoldenSignal.ERRORS,), stretches=(found,))

        decision = await CauseController(store, signals, how_usual).look(INCIDENT.key, NOW)
        (made,) = [write.body for write in decision.writes]
        assert isinstance(made, Diagnosis)
        assert [(one.rule, one.text, one.numbers) for one in made.unusual] == [
            (
                "unusual",
                "errors of pay unusual for this time from 12:00 UTC: further out than 99.8% of earlier "
                "values",
                {"score": 0.998},
            )
        ]
        assert asked == [(key, ONSET - timedelta(minutes=5), NOW) for key in (PAY.key, SHOP.key)]
        without = await CauseController(store, signals).look(INCIDENT.key, NOW)
        (same,) = [write.body for write in without.writes]
        assert isinstance(same, Diagnosis) and same.unusual == () and same.sentence == made.sentence

    anyio.run(scene)
