"""Makes metrics of what the reader reads, on a slower beat, so that PromQL can ask about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import structlog

from poise.model.errors import PoiseError
from poise.model.samples import NAME, STALE, Labels, Reading, Round
from poise.model.signal import Batch, Series
from poise.ports.clock import Clock
from poise.ports.signals import SignalStore

log = structlog.get_logger()

PERIOD_S: Final = 15.0
TARGET: Final = "poise/traffic"


class Recorder:
    """One sample of each series per beat, from the newest reading.

    A series that is no longer read gets a stale marker, and so do all when nothing was read since the last
    beat: a gap is never a flat line.
    """

    def __init__(
        self, metrics: SignalStore, clock: Clock, period_s: float = PERIOD_S, target: str = TARGET
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._period_s = period_s
        self._target = target
        self._newest: Batch | None = None
        self._read: tuple[Series, ...] = ()
        self._series: tuple[Labels, ...] = ()

    def took(self, batch: Batch) -> None:
        """A reading is durable."""
        self._newest = batch

    async def run(self) -> None:
        """Record until cancelled."""
        while True:
            await self._clock.sleep(self._period_s)
            try:
                await self.record()
            except (PoiseError, OSError) as error:
                log.warning("recording failed", error=str(error))

    async def record(self) -> None:
        """One beat."""
        batch, self._newest = self._newest, None
        before = self._series
        if batch is None:
            if before:
                self._read, self._series = (), ()
                await self._metrics.append(Round(readings=(self._reading(before, self._now_ms()),)))
            return
        at_ms = round(batch.at.timestamp() * 1000)
        read = tuple(sample.series for sample in batch.samples)
        if read != self._read:
            self._read, self._series = read, tuple(map(_labels, read))
        readings = [self._reading(self._series, at_ms, [sample.value for sample in batch.samples])]
        if self._series is not before:
            gone = tuple(sorted(set(before) - set(self._series)))
            readings += [self._reading(gone, at_ms)] if gone else []
        await self._metrics.append(Round(readings=tuple(readings)))

    def _now_ms(self) -> int:
        return round(self._clock.now().timestamp() * 1000)

    def _reading(
        self, series: tuple[Labels, ...], at_ms: int, values: Sequence[float] | None = None
    ) -> Reading:
        """These values, or stale markers."""
        row = np.full(len(series), STALE) if values is None else np.array(values, np.float64)
        at = np.array([at_ms], np.int64)
        return Reading(target=self._target, series=series, at_ms=at, values=row[:, None])


def _labels(series: Series) -> Labels:
    return tuple(sorted(((NAME, series.name), *series.labels)))
