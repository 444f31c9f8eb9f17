"""What is read becomes metrics; what is no longer read is told, not drawn on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import numpy as np

from poise.engine.recorder import Recorder
from poise.model.samples import NAME, STALE_BITS, Appended, Round
from poise.model.signal import Batch, Sample, Series

T0 = datetime(2026, 11, 1, tzinfo=UTC)


class Kept:
    """A store that remembers what it was given."""

    def __init__(self) -> None:
        self.rounds: list[Round] = []

    async def append(self, round: Round) -> Appended:
        self.rounds.append(round)
        return Appended(kept=1)


class Clock:
    def now(self) -> datetime:
        return T0 + timedelta(seconds=100)

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


def batch(seconds: float, **values: float) -> Batch:
    samples = tuple(Sample(Series(name, (("service", "a/b/c"),)), value) for name, value in values.items())
    return Batch(at=T0 + timedelta(seconds=seconds), epoch="1", samples=samples)


def recorded(*beats: Batch | None) -> list[list[tuple[str, int, float | str]]]:
    """Per beat: (metric, second, value or "stale")."""
    kept = Kept()
    recorder = Recorder(kept, Clock())  # type: ignore[arg-type]

    async def play() -> list[int]:
        bounds = []
        for one in beats:
            if one is not None:
                recorder.took(one)
            await recorder.record()
            bounds.append(len(kept.rounds))
        return bounds

    found, begin = [], 0
    for end in anyio.run(play):
        rows: list[tuple[str, int, float | str]] = []
        for round_ in kept.rounds[begin:end]:
            for reading in round_.readings:
                stale = reading.values.view(np.uint64) == STALE_BITS
                second = (int(reading.at_ms[0]) - round(T0.timestamp() * 1000)) // 1000
                for labels, value, gone in zip(
                    reading.series, reading.values[:, 0], stale[:, 0], strict=True
                ):
                    rows.append((dict(labels)[NAME], second, "stale" if gone else float(value)))
        found.append(rows)
        begin = end
    return found


def test_the_newest_reading_of_each_beat_is_recorded_once() -> None:
    assert recorded(batch(1, hits=5, errors=1), batch(16, hits=9, errors=1)) == [
        [("hits", 1, 5), ("errors", 1, 1)],
        [("hits", 16, 9), ("errors", 16, 1)],
    ]


def test_a_series_that_is_no_longer_read_is_marked_stale_once() -> None:
    told = recorded(batch(1, hits=5, canary=1), batch(16, hits=6), batch(31, hits=7))
    assert told[1:] == [[("hits", 16, 6), ("canary", 16, "stale")], [("hits", 31, 7)]]


def test_when_nothing_is_read_everything_is_stale_until_it_is_read_again() -> None:
    told = recorded(batch(1, hits=5), None, None, batch(46, hits=1))
    assert told[1:] == [[("hits", 100, "stale")], [], [("hits", 46, 1)]]


def test_series_that_did_not_change_are_handed_over_as_the_same_object() -> None:
    kept = Kept()
    recorder = Recorder(kept, Clock())  # type: ignore[arg-type]

    async def play() -> None:
        for second in (1, 16):
            recorder.took(batch(second, hits=second))
            await recorder.record()

    anyio.run(play)
    assert kept.rounds[0].readings[0].series is kept.rounds[1].readings[0].series
