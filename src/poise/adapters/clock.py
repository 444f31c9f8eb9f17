"""The machine's clock, made to never retreat."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio

CATCHING_UP: Final = 0.5  # of its pace, while the machine's clock is behind


def _utc() -> datetime:
    return datetime.now(UTC)


class SystemClock:
    """UTC now. After a step back it goes on at half pace until the machine's clock has caught up.

    So no instant comes twice and nothing that waits for one stands still, however large the step.
    """

    def __init__(
        self, utc: Callable[[], datetime] = _utc, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._utc, self._monotonic = utc, monotonic
        self._last, self._told_at = utc(), monotonic()

    def now(self) -> datetime:
        """Aware UTC, never before an instant that was told."""
        at = self._monotonic()
        elapsed = timedelta(seconds=(at - self._told_at) * CATCHING_UP)
        self._last, self._told_at = max(self._utc(), self._last + elapsed), at
        return self._last

    async def sleep(self, seconds: float) -> None:
        """Wait by the clock that no step touches."""
        await anyio.sleep(seconds)
