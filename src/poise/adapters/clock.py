"""The machine's clock, made to never retreat."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio


class SystemClock:
    """UTC now; a step back holds the last instant until real time has caught up."""

    def __init__(self) -> None:
        self._last = datetime.now(UTC)

    def now(self) -> datetime:
        self._last = max(self._last, datetime.now(UTC))
        return self._last

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
