"""How long the control process keeps its own tasks waiting: lag of the event loop's scheduler."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

PERIOD_S: Final = 0.02
KEPT: Final = 3000  # samples: the last minute


class Lag(Struct, frozen=True, kw_only=True):
    """Lag over the last samples, in milliseconds; zeros where there is none yet."""

    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    samples: int = 0  # since the start; the figures are over the last ``KEPT`` of them


class LoopLag:
    """Sleeps for a fixed time, over and over, and keeps how much too late it woke."""

    def __init__(self, period_s: float = PERIOD_S, kept: int = KEPT) -> None:
        self._period_s = period_s
        self._late_s: deque[float] = deque(maxlen=kept)
        self._count = 0

    async def run(self, now: Callable[[], float] | None = None) -> None:
        """Measure until cancelled."""
        now = now or asyncio.get_running_loop().time
        while True:
            began = now()
            await asyncio.sleep(self._period_s)
            self.note(now() - began - self._period_s)

    def note(self, late_s: float) -> None:
        """One more sample."""
        self._late_s.append(max(0.0, late_s))
        self._count += 1

    def seen(self) -> Lag:
        """The figures over what is kept; O(n log n) in that."""
        if not self._late_s:
            return Lag()
        ordered = sorted(self._late_s)
        return Lag(
            p50_ms=ordered[len(ordered) // 2] * 1000,
            p99_ms=ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000,
            max_ms=ordered[-1] * 1000,
            samples=self._count,
        )
