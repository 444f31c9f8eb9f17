"""The reader: a reading is durable before anybody is told, and a gap stays a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from poise.adapters.memory_totals import MemoryTotals
from poise.engine.reader import Reader
from poise.model.errors import Unreachable
from poise.model.signal import Batch, Sample, Series

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERIES = Series(name="requests_total", labels=(("service", "acme/production/shop"),))


class Traffic:
    """Answers with each of ``readings`` in turn; an exception is raised."""

    def __init__(self, *readings: Batch | Exception | None) -> None:
        self.readings = list(readings)

    async def read(self) -> Batch | None:
        reading = self.readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        return reading


class Clock:
    def now(self) -> datetime:
        return NOW

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(0)


def batch(second: int, total: float) -> Batch:
    return Batch(
        epoch="e1", at=NOW + timedelta(seconds=second), samples=(Sample(series=SERIES, value=total),)
    )


def read_all(traffic: Traffic, signals: Any) -> tuple[list[bool], list[Batch]]:
    async def work() -> tuple[list[bool], list[Batch]]:
        told: list[Batch] = []
        reader = Reader(traffic, signals, Clock(), told.append)  # type: ignore[arg-type]
        return [await reader.read_once() for _ in range(len(traffic.readings))], told

    return anyio.run(work)


@pytest.mark.parametrize("lost", [None, Unreachable("POISE-E701", "no Envoy"), OSError("reset")])
def test_no_answer_is_no_reading_and_the_gap_stays(lost: Exception | None) -> None:
    signals = MemoryTotals()
    were, told = read_all(Traffic(batch(0, 1), lost, batch(10, 5)), signals)
    assert were == [True, False, True]
    assert told == [batch(0, 1), batch(10, 5)]
    assert kept(signals) == [(0.0, 1.0), (10.0, 5.0)], "nothing was filled in"


def kept(signals: MemoryTotals) -> list[tuple[float, float]]:
    life = signals._lives["e1"]
    return [
        (at - NOW.timestamp(), values[SERIES]) for at, values in zip(life.instants, life.values, strict=True)
    ]


def test_nobody_is_told_of_what_was_not_kept() -> None:
    class Full(MemoryTotals):
        async def append(self, batch: Batch) -> None:
            raise Unreachable("POISE-E507", "the disk is full")

    were, told = read_all(Traffic(batch(0, 1)), Full())
    assert (were, told) == ([False], [])


def test_it_is_kept_before_anybody_is_told() -> None:
    signals = MemoryTotals()
    seen: list[list[tuple[float, float]]] = []

    async def work() -> None:
        traffic = Traffic(batch(0, 1))
        await Reader(traffic, signals, Clock(), lambda _: seen.append(kept(signals))).read_once()  # type: ignore[arg-type]

    anyio.run(work)
    assert seen == [[(0.0, 1.0)]]
