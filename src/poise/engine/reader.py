"""Reads what users got, on a steady beat, into the signal store; and tells whoever waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog
from msgspec.structs import replace

from poise.model.errors import PoiseError
from poise.model.signal import Batch, Sample
from poise.ports.clock import Clock
from poise.ports.totals import Totals
from poise.ports.traffic import Traffic

log = structlog.get_logger()

PERIOD_S = 2.0


class Reader:
    """One reading per beat. No answer is no reading: the gap stays a gap, it is never filled.

    ``beside`` measures what else goes into each reading.
    """

    def __init__(
        self,
        traffic: Traffic,
        signals: Totals,
        clock: Clock,
        told: Callable[[Batch], None],
        period_s: float = PERIOD_S,
        beside: Callable[[], Awaitable[Sequence[Sample]]] | None = None,
    ) -> None:
        self._traffic = traffic
        self._signals = signals
        self._clock = clock
        self._told = told
        self._period_s = period_s
        self._beside = beside

    async def read_once(self) -> bool:
        """One reading, durable before anybody is told; whether there was one."""
        try:
            batch = await self._traffic.read()
            if batch is None:
                return False
            if self._beside is not None:
                batch = replace(batch, samples=(*batch.samples, *await self._beside()))
            await self._signals.append(batch)
        except (PoiseError, OSError) as error:
            log.warning("reading failed", error=str(error))
            return False
        self._told(batch)
        return True

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read_once()
            await self._clock.sleep(self._period_s)
