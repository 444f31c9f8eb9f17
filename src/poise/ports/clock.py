"""Time, as the loop sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """``now`` is aware UTC and never retreats; ``sleep`` waits without holding the loop."""

    def now(self) -> datetime: ...

    async def sleep(self, seconds: float) -> None: ...
