"""Declared probes are looked at on their beat and recorded; one that hangs is not looked at twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from poise.adapters.blackbox.looks import Look
from poise.adapters.blackbox.prober import BlackboxProber, reading
from poise.adapters.memory import MemoryStore
from poise.model.record import Write
from poise.model.samples import NAME, Appended, Round
from poise.model.service import Probe, ProbeKind, Project
from poise.ports.store import Transaction

T0 = datetime(2026, 11, 1, tzinfo=UTC)
PROBE = Probe(name="site", kind=ProbeKind.TCP, target="127.0.0.1:1", every_s=30, timeout_s=1)


class Kept:
    def __init__(self) -> None:
        self.rounds: list[Round] = []

    async def append(self, round: Round) -> Appended:
        self.rounds.append(round)
        return Appended(kept=1)


class Clock:
    seconds = 0.0

    def now(self) -> datetime:
        return T0 + timedelta(seconds=self.seconds)


def test_a_probe_is_due_on_its_beat_and_never_twice_at_once() -> None:
    async def play() -> None:
        store, kept, clock = MemoryStore(), Kept(), Clock()
        project = Project(name="acme", probes=(PROBE,))
        await store.commit(Transaction(at=T0, writes=[Write(kind="Project", key="acme", body=project)]))
        prober = BlackboxProber(store, kept, clock)  # type: ignore[arg-type]
        assert await prober.due() == [("acme", PROBE)]
        clock.seconds = 31.0
        assert await prober.due() == []  # still being looked at
        await prober.once("acme", PROBE)
        assert await prober.due() == [("acme", PROBE)]
        await prober.once("acme", PROBE)
        clock.seconds = 45.0
        assert await prober.due() == []
        clock.seconds = -3600.0  # a clock that steps back keeps nobody waiting for an hour
        assert await prober.due() == [("acme", PROBE)]
        assert len(kept.rounds) == 2
        names = {dict(labels)[NAME] for labels in kept.rounds[0].readings[0].series}
        assert {"probe_success", "probe_duration_seconds"} <= names

    asyncio.run(play())


def test_samples_say_whose_probe_they_are() -> None:
    found = Look(figures={("probe_success", ""): 1.0, ("probe_http_duration_seconds", "tls"): 0.5})
    made = reading("acme", PROBE, found, 5)
    own = (("instance", "127.0.0.1:1"), ("job", "probe"), ("probe", "site"), ("project", "acme"))
    assert made.series == (
        ((NAME, "probe_success"), *own),
        ((NAME, "probe_http_duration_seconds"), *own[:2], ("phase", "tls"), *own[2:]),
    )
